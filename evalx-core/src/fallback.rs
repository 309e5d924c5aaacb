//! [`Fallback`]: the first of several sandboxes that is fit.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::{Capabilities, DynSandbox, Error, ErrorKind, Result, Sandbox, Session, SessionSpec};

/// How long a broken sandbox is left alone before it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Opens each session in the first of a list of sandboxes that can give it.
///
/// One that is [`Unavailable`](ErrorKind::Unavailable) is set aside and tried
/// again half a minute later. One that is [`Busy`](ErrorKind::Busy), or does
/// not [support](ErrorKind::Unsupported) what this session asks, is passed over
/// for this session alone. Other errors are the caller's or a defect, and are
/// handed on: no other sandbox would do better. If all were set aside, all are
/// tried.
///
/// Each of them [admits](Capabilities::admit) a session by itself, so that none
/// is moved to a sandbox that does not hold what it is promised or
/// [requires](SessionSpec::required): it is then refused.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> evalx_core::Result<()> {
/// use std::sync::Arc;
/// use evalx_core::{Error, ErrorKind, Fallback, Sandbox, SessionSpec};
/// use evalx_testkit::{FakeRun, FakeSandbox};
///
/// let broken = FakeSandbox::new(|_| FakeRun::exited(0));
/// broken.fail_open(Error::new(ErrorKind::Unavailable, "the daemon is gone"));
/// let sound = FakeSandbox::new(|_| FakeRun::exited(0));
///
/// let sandbox = Fallback::new([Arc::new(broken) as _, Arc::new(sound.clone()) as _]);
/// let session = sandbox.open(SessionSpec::default()).await?;
/// assert_eq!(sound.open_sessions(), 1);
/// # session.close().await
/// # }
/// ```
#[derive(Debug)]
pub struct Fallback {
    candidates: Vec<Candidate>,
    retry_after: Duration,
}

#[derive(Debug)]
struct Candidate {
    sandbox: DynSandbox,
    /// Until when it is passed over. Held for an assignment only.
    aside_until: Mutex<Option<Instant>>,
}

impl Candidate {
    fn is_aside(&self) -> bool {
        let until = *self.aside_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Sets it aside until then, or back; whether that is a change.
    fn set_aside(&self, until: Option<Instant>) -> bool {
        let mut aside = self.aside_until.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = aside.is_some() != until.is_some();
        *aside = until;
        changed
    }
}

impl Fallback {
    /// Tries these sandboxes in this order.
    pub fn new(sandboxes: impl IntoIterator<Item = DynSandbox>) -> Self {
        let candidates = sandboxes
            .into_iter()
            .map(|sandbox| Candidate { sandbox, aside_until: Mutex::new(None) })
            .collect();
        Self { candidates, retry_after: RETRY_AFTER }
    }

    /// Sets how long a broken sandbox is left alone before it is tried again.
    #[must_use]
    pub const fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = retry_after;
        self
    }

    async fn try_open(&self, candidate: &Candidate, spec: SessionSpec) -> Result<Box<dyn Session>> {
        let opened = candidate.sandbox.open(spec).await;
        match &opened {
            Ok(_) => {
                if candidate.set_aside(None) {
                    tracing::info!(backend = %candidate.sandbox, "a sandbox works again");
                }
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                candidate.set_aside(Some(Instant::now() + self.retry_after));
                tracing::warn!(
                    backend = %candidate.sandbox,
                    retry_after_seconds = self.retry_after.as_secs_f64(),
                    error = %error.chain(),
                    "a sandbox is broken and set aside"
                );
            }
            Err(error) => tracing::debug!(
                backend = %candidate.sandbox, error = %error.chain(), "a sandbox refused a session"
            ),
        }
        opened
    }

    fn empty() -> Error {
        Error::new(ErrorKind::Unavailable, "no sandbox was configured to fall back on")
    }
}

impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, candidate) in self.candidates.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { ", else " }, candidate.sandbox)?;
        }
        Ok(())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Sandbox for Fallback {
    /// What the sandbox that is tried first enforces: the first that is not set aside.
    fn capabilities(&self) -> Capabilities {
        self.candidates
            .iter()
            .find(|candidate| !candidate.is_aside())
            .or(self.candidates.first())
            .map_or_else(|| Capabilities::new("none"), |candidate| candidate.sandbox.capabilities())
    }

    /// Whether one of them can run here; else the error of the first.
    async fn check(&self) -> Result<()> {
        let mut first_error = None;
        for candidate in &self.candidates {
            match candidate.sandbox.check().await {
                Ok(()) => return Ok(()),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(Self::empty))
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>> {
        let all_aside = self.candidates.iter().all(Candidate::is_aside);
        let mut first_error = None;
        for candidate in self.candidates.iter().filter(|candidate| all_aside || !candidate.is_aside()) {
            match self.try_open(candidate, spec.clone()).await {
                Ok(session) => return Ok(session),
                Err(error) => match error.kind() {
                    ErrorKind::Unavailable | ErrorKind::Unsupported | ErrorKind::Busy => {
                        first_error = first_error.or(Some(error));
                    }
                    _ => return Err(error),
                },
            }
        }
        // The first is the one that was wanted most, and its mend the best.
        Err(first_error.unwrap_or_else(Self::empty))
    }

    /// Shuts all of them down, and returns the first error once all have tried.
    async fn shutdown(&self) -> Result<()> {
        let mut result = Ok(());
        for candidate in &self.candidates {
            result = result.and(candidate.sandbox.shutdown().await);
        }
        result
    }
}
