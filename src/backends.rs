//! [`Backends`]: every backend that can be chosen, how each is started, and
//! which of them a [`Choice`] takes on this machine.
//!
//! This is the one place where that is decided: the `evalx` command, its
//! doctor, and services ask here.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use evalx_core::{DynSandbox, Error, ErrorKind, Fallback, Result, Sandbox, SessionSpec};

use crate::choice::Choice;
use crate::deferred::Deferred;

/// Names that this crate knows, whether they are built in or not.
const KNOWN: [&str; 3] = ["native", "isolate", "docker"];

/// How long a broken backend is left alone before it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The image of `docker` as it comes; `examples/images/make.sh` makes it.
#[cfg(feature = "docker")]
pub const DOCKER_IMAGE: &str = "evalx/base";

/// A future of a backend that was started.
pub(crate) type Starting = Pin<Box<dyn Future<Output = Result<DynSandbox>> + Send>>;

pub(crate) type Start = Arc<dyn Fn(Chosen) -> Starting + Send + Sync>;

/// Who wants a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// The operator, by its name, and so with what it is known not to hold.
    ByName,
    /// Nobody in particular: the best that there is, with nothing accepted.
    ByRank,
}

/// Backends by name, in the order in which `auto` takes them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> evalx::Result<()> {
/// use std::sync::Arc;
/// use evalx::{Backends, Choice, DynSandbox, Error, ErrorKind, Sandbox, SessionSpec};
/// use evalx_testkit::{FakeRun, FakeSandbox};
///
/// let backends = Backends::none()
///     .with("absent", || async { Err(Error::new(ErrorKind::Unavailable, "it is not installed")) })
///     .with("fake", || async { Ok(Arc::new(FakeSandbox::new(|_| FakeRun::exited(0))) as DynSandbox) });
/// let sandbox = backends.choose(&Choice::Auto).await?;
/// sandbox.open(SessionSpec::default()).await?.close().await?;
/// sandbox.shutdown().await
/// # }
/// ```
#[derive(Clone)]
pub struct Backends {
    known: Vec<(String, Start)>,
    retry_after: Duration,
}

impl Default for Backends {
    /// What is built in, by its feature, as it comes.
    fn default() -> Self {
        let backends = Self::none();
        #[cfg(feature = "native")]
        let backends = backends.with_native(evalx_sandbox_native::NativeConfig::default());
        #[cfg(feature = "isolate")]
        let backends = backends.with_isolate(evalx_sandbox_isolate::IsolateConfig::default());
        #[cfg(feature = "docker")]
        let backends = backends.with_docker(evalx_sandbox_docker::DockerConfig::new(
            evalx_sandbox_docker::Image::new(DOCKER_IMAGE, 1),
        ));
        backends
    }
}

impl Backends {
    /// No backend yet.
    #[must_use]
    pub const fn none() -> Self {
        Self { known: Vec::new(), retry_after: RETRY_AFTER }
    }

    /// Adds `native`, or sets how it is started.
    #[cfg(feature = "native")]
    #[must_use]
    pub fn with_native(self, config: evalx_sandbox_native::NativeConfig) -> Self {
        self.with("native", move || {
            let config = config.clone();
            async move {
                let sandbox = evalx_sandbox_native::NativeSandbox::start(config).await?;
                Ok(Arc::new(sandbox) as DynSandbox)
            }
        })
    }

    /// Adds `isolate`, or sets how it is started.
    ///
    /// It filters few system calls or none, so that it refuses every session
    /// until that is accepted by name. Who [starts](Self::start) it by its
    /// name, or names it in a [`Choice`], accepts that; `auto` does not, and
    /// passes it over unless `config` says so.
    #[cfg(feature = "isolate")]
    #[must_use]
    pub fn with_isolate(self, config: evalx_sandbox_isolate::IsolateConfig) -> Self {
        self.add("isolate", move |chosen| {
            let mut config = config.clone();
            if chosen == Chosen::ByName {
                config = config.with_accepted_weak_isolation(evalx_core::Isolation::Syscalls);
            }
            async move {
                let sandbox = evalx_sandbox_isolate::IsolateSandbox::start(config).await?;
                Ok(Arc::new(sandbox) as DynSandbox)
            }
        })
    }

    /// Adds `docker`, or sets how it is started.
    #[cfg(feature = "docker")]
    #[must_use]
    pub fn with_docker(self, config: evalx_sandbox_docker::DockerConfig) -> Self {
        self.with("docker", move || {
            let config = config.clone();
            async move {
                let sandbox = evalx_sandbox_docker::DockerSandbox::start(config).await?;
                Ok(Arc::new(sandbox) as DynSandbox)
            }
        })
    }

    /// Adds a backend behind the others, or sets how one of this name is started.
    #[must_use]
    pub fn with<F, S>(self, name: impl Into<String>, start: F) -> Self
    where
        F: Fn() -> S + Send + Sync + 'static,
        S: Future<Output = Result<DynSandbox>> + Send + 'static,
    {
        self.add(name, move |_| start())
    }

    fn add<F, S>(mut self, name: impl Into<String>, start: F) -> Self
    where
        F: Fn(Chosen) -> S + Send + Sync + 'static,
        S: Future<Output = Result<DynSandbox>> + Send + 'static,
    {
        let (name, start): (String, Start) = (name.into(), Arc::new(move |chosen| Box::pin(start(chosen))));
        match self.known.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = start,
            None => self.known.push((name, start)),
        }
        self
    }

    /// Sets how long a broken backend is left alone before it is tried again;
    /// half a minute by default.
    #[must_use]
    pub const fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// The names of all that there are, in the order in which `auto` takes them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.iter().map(|(name, _)| name.as_str())
    }

    /// Starts one backend, and sees whether this machine can run it.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` for a name that nobody has, `Unsupported` for one that
    /// is not built in, else what the backend itself says.
    pub async fn start(&self, name: &str) -> Result<DynSandbox> {
        let start = self.find(name)?;
        let sandbox = fit(&start, Chosen::ByName).await?;
        tell_what_is_accepted(name, &sandbox);
        Ok(sandbox)
    }

    /// Starts the first backend of the choice that is fit, and says in the log
    /// why it was taken and the others were not.
    ///
    /// If the choice is of several, the others are what it falls back on:
    /// where the first turns out broken, or can't give what a session asks,
    /// the next is started then and there. The broken one is tried again after
    /// a while.
    ///
    /// `auto` takes none that would refuse a plain session for what it can't
    /// hold here: an operator who is content with that names it. In no case is
    /// a session moved to a backend that does not hold what it needs: that one
    /// refuses it.
    ///
    /// # Errors
    ///
    /// For a choice of one, what [`start`](Self::start) says. For one of
    /// several, `Unavailable` if none of them is fit; it says why of each.
    pub async fn choose(&self, choice: &Choice) -> Result<DynSandbox> {
        let (names, chosen): (Vec<&str>, Chosen) = match choice {
            Choice::Auto => (self.names().collect(), Chosen::ByRank),
            Choice::Named(names) => (names.iter().map(String::as_str).collect(), Chosen::ByName),
        };
        if let [name] = names[..] {
            let sandbox = fit(&self.find(name)?, chosen).await?;
            tell_what_is_accepted(name, &sandbox);
            tracing::info!(backend = name, %choice, "a backend is chosen: there is no other");
            return Ok(sandbox);
        }
        let mut candidates: Vec<DynSandbox> = Vec::new();
        let mut taken = None;
        let mut refusals = Vec::new();
        for name in names {
            let start = match self.find(name) {
                Ok(start) => start,
                // A list may name what another build of this program has.
                Err(error) if error.kind() == ErrorKind::Unsupported => {
                    tracing::info!(backend = name, reason = %error.chain(), "a backend is passed over");
                    refusals.push(format!("{name}: {}", error.chain()));
                    continue;
                }
                Err(error) => return Err(error),
            };
            if taken.is_some() {
                candidates.push(Arc::new(Deferred::new(name, start, chosen)));
                continue;
            }
            match fit(&start, chosen).await {
                Ok(sandbox) => {
                    tell_what_is_accepted(name, &sandbox);
                    let reason =
                        if refusals.is_empty() { "the first of the choice" } else { "the first that is fit" };
                    tracing::info!(backend = name, %choice, reason, "a backend is chosen");
                    taken = Some(name);
                    candidates.insert(0, sandbox);
                }
                Err(error) => {
                    tracing::warn!(backend = name, reason = %error.chain(), "a backend is passed over");
                    refusals.push(format!("{name}: {}", error.chain()));
                    // It may be fit later: a daemon that is not up yet.
                    candidates.push(Arc::new(Deferred::new(name, start, chosen)));
                }
            }
        }
        if taken.is_none() {
            return Err(none_fit(choice, &refusals));
        }
        Ok(Arc::new(Fallback::new(candidates).with_retry_after(self.retry_after)))
    }

    fn find(&self, name: &str) -> Result<Start> {
        if let Some((_, start)) = self.known.iter().find(|(known, _)| known == name) {
            return Ok(Arc::clone(start));
        }
        if KNOWN.contains(&name) {
            let message = format!("the backend `{name}` is not built into this program");
            return Err(Error::new(ErrorKind::Unsupported, message).with_help(format!(
                "build it with the feature `{name}` of the crate `evalx`, or choose another"
            )));
        }
        let allowed: Vec<&str> = std::iter::once("auto").chain(self.names()).collect();
        Err(Error::new(
            ErrorKind::InvalidRequest,
            format!("no backend is called `{}`: there are {}", name.escape_default(), allowed.join(", ")),
        ))
    }
}

/// Starts a backend and sees whether it works; of one that nobody has named,
/// also whether it holds what every session is promised.
pub(crate) async fn fit(start: &Start, chosen: Chosen) -> Result<DynSandbox> {
    let sandbox = start(chosen).await?;
    let mut checked = sandbox.check().await;
    if chosen == Chosen::ByRank {
        checked = checked.and_then(|()| sandbox.capabilities().admit(&SessionSpec::default()));
    }
    if let Err(error) = checked {
        // What it says of its shutdown would not help anybody.
        let _ = sandbox.shutdown().await;
        return Err(error);
    }
    Ok(sandbox)
}

/// Says once, where a sandbox is taken, what its operator does without.
pub(crate) fn tell_what_is_accepted(name: &str, sandbox: &DynSandbox) {
    let capabilities = sandbox.capabilities();
    for kind in &capabilities.accepted_weak_isolation {
        let why = capabilities.isolation.get(kind).map_or("nothing holds it", |held| &held.mechanism);
        tracing::info!(backend = name, isolation = %kind, why, "an isolation that is not held is accepted");
    }
}

fn none_fit(choice: &Choice, refusals: &[String]) -> Error {
    let why = if refusals.is_empty() { "none is built in".to_owned() } else { refusals.join("; ") };
    Error::new(ErrorKind::Unavailable, format!("no backend of `{choice}` is fit here: {why}"))
        .with_help(
            "run `evalx doctor` to see what each of them needs; who names one, as in EVALX_SANDBOX=isolate, accepts what it is known not to hold",
        )
}

impl fmt::Debug for Backends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
