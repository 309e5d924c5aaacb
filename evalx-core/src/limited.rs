//! [`Limited`]: a permit for each running step.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use crate::{
    Artifact, ByteSize, Capabilities, Error, ErrorKind, FileContents, Result, Sandbox, SandboxPath, Session,
    SessionSpec, Stdio, Step, StepIo, StepReport,
};

/// Runs at most so many steps at once; others wait, first come first served.
///
/// A permit belongs to a running step and not to a session, because an open
/// session uses memory but no processor. Two
/// [connected](crate::SandboxExt::connect) steps have one permit together:
/// they mostly wait for each other, and were each to wait for a permit of its
/// own, as many pairs as there are permits would wait for ever.
///
/// ```
/// use std::num::NonZeroUsize;
/// use evalx_core::Limited;
/// use evalx_testkit::{FakeRun, FakeSandbox};
///
/// let sandbox = Limited::new(FakeSandbox::new(|_| FakeRun::exited(0)), NonZeroUsize::MIN);
/// assert_eq!(sandbox.to_string(), "fake, at most 1 step at once");
/// ```
#[derive(Debug)]
pub struct Limited<S> {
    inner: S,
    permits: Arc<Permits>,
}

impl<S: Sandbox> Limited<S> {
    /// Lets at most `steps` steps of `inner` run at once.
    ///
    /// # Panics
    ///
    /// If `steps` is over 2⁶¹, more than tokio's semaphores can count.
    pub fn new(inner: S, steps: NonZeroUsize) -> Self {
        let semaphore = Arc::new(Semaphore::new(steps.get()));
        Self { inner, permits: Arc::new(Permits { steps, semaphore, pairs: Mutex::default() }) }
    }
}

impl<S: fmt::Display> fmt::Display for Limited<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.permits.steps;
        write!(f, "{}, at most {steps} step{} at once", self.inner, if steps.get() == 1 { "" } else { "s" })
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Sandbox> Sandbox for Limited<S> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn check(&self) -> Result<()> {
        self.inner.check().await
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>> {
        let inner = self.inner.open(spec).await?;
        Ok(Box::new(LimitedSession { inner, permits: Arc::clone(&self.permits) }))
    }

    async fn shutdown(&self) -> Result<()> {
        self.inner.shutdown().await
    }
}

#[derive(Debug)]
struct LimitedSession {
    inner: Box<dyn Session>,
    permits: Arc<Permits>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Session for LimitedSession {
    async fn write_file(&mut self, path: &SandboxPath, contents: FileContents) -> Result<()> {
        self.inner.write_file(path, contents).await
    }

    async fn run(&mut self, step: Step, io: &mut dyn StepIo) -> Result<StepReport> {
        let _permit = self.permits.acquire(&step.stdio).await?;
        self.inner.run(step, io).await
    }

    async fn read_file(&mut self, path: &SandboxPath, max: ByteSize) -> Result<Bytes> {
        self.inner.read_file(path, max).await
    }

    async fn keep(&mut self, path: &SandboxPath) -> Result<Artifact> {
        self.inner.keep(path).await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.inner.close().await
    }
}

/// A permit, which the two steps of a pair share; empty while it is waited for.
type Permit = Arc<OnceCell<OwnedSemaphorePermit>>;

#[derive(Debug)]
struct Permits {
    steps: NonZeroUsize,
    semaphore: Arc<Semaphore>,
    /// The permits of the pairs that run or wait.
    pairs: Mutex<HashMap<PairId, Weak<OnceCell<OwnedSemaphorePermit>>>>,
}

impl Permits {
    async fn acquire(&self, stdio: &Stdio) -> Result<Permit> {
        let permit = match PairId::of(stdio).map_err(|error| {
            Error::new(ErrorKind::Unavailable, "could not inspect the pipes of a joined step")
                .with_source(error)
        })? {
            Some(pair) => self.shared(pair),
            None => Permit::default(),
        };
        // If the step that waits first is cancelled, the cell lets its partner
        // wait in its place.
        permit
            .get_or_try_init(|| Arc::clone(&self.semaphore).acquire_owned())
            .await
            .map_err(|_| Error::new(ErrorKind::Internal, "the semaphore of running steps was closed"))?;
        Ok(permit)
    }

    /// The permit of this pair: its partner's, if the partner is there already.
    fn shared(&self, pair: PairId) -> Permit {
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        pairs.retain(|_, permit| permit.strong_count() > 0);
        if let Some(permit) = pairs.get(&pair).and_then(Weak::upgrade) {
            return permit;
        }
        let permit = Permit::default();
        pairs.insert(pair, Arc::downgrade(&permit));
        permit
    }
}

/// What two joined steps have in common and no others: the inodes of their
/// two pipes, the lower first.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PairId(u64, u64);

impl PairId {
    fn of(stdio: &Stdio) -> io::Result<Option<Self>> {
        let Stdio::Joined { stdin, stdout } = stdio else { return Ok(None) };
        let stdin = File::from(OwnedFd::from(stdin.try_clone()?)).metadata()?.ino();
        let stdout = File::from(OwnedFd::from(stdout.try_clone()?)).metadata()?.ino();
        Ok(Some(Self(stdin.min(stdout), stdin.max(stdout))))
    }
}
