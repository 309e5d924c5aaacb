//! [`Deferred`]: a backend that is started when it is first needed.

use std::fmt;

use async_trait::async_trait;
use evalx_core::{Capabilities, DynSandbox, Error, ErrorKind, Result, Sandbox, Session, SessionSpec};
use tokio::sync::Mutex;

use crate::backends::{Chosen, Start, fit, tell_what_is_accepted};

/// What others fall back on: a pool of its own costs nothing until then.
pub(crate) struct Deferred {
    name: String,
    start: Start,
    chosen: Chosen,
    state: Mutex<State>,
}

enum State {
    Waiting,
    Started(DynSandbox),
    ShutDown,
}

impl Deferred {
    pub(crate) fn new(name: &str, start: Start, chosen: Chosen) -> Self {
        Self { name: name.to_owned(), start, chosen, state: Mutex::new(State::Waiting) }
    }

    /// The backend, which is started if it was not yet. If it can't be, that
    /// is a broken backend, whatever it says: it is not asked again for a while.
    async fn started(&self) -> Result<DynSandbox> {
        let mut state = self.state.lock().await;
        match &*state {
            State::Started(sandbox) => Ok(DynSandbox::clone(sandbox)),
            State::ShutDown => Err(Error::new(ErrorKind::Unavailable, format!("{} is shut down", self.name))),
            State::Waiting => match fit(&self.start, self.chosen).await {
                Ok(sandbox) => {
                    tracing::info!(backend = self.name, "a backend is started for others to fall back on");
                    tell_what_is_accepted(&self.name, &sandbox);
                    *state = State::Started(DynSandbox::clone(&sandbox));
                    Ok(sandbox)
                }
                Err(error) => {
                    let help = error.help().map(ToOwned::to_owned);
                    let broken =
                        Error::new(ErrorKind::Unavailable, format!("{} can't be started", self.name))
                            .with_source(error);
                    Err(help.into_iter().fold(broken, Error::with_help))
                }
            },
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Sandbox for Deferred {
    /// Not known before it was started: nothing is promised until then.
    fn capabilities(&self) -> Capabilities {
        match self.state.try_lock().as_deref() {
            Ok(State::Started(sandbox)) => sandbox.capabilities(),
            _ => Capabilities::new(self.name.clone()),
        }
    }

    async fn check(&self) -> Result<()> {
        self.started().await?.check().await
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>> {
        self.started().await?.open(spec).await
    }

    async fn shutdown(&self) -> Result<()> {
        match std::mem::replace(&mut *self.state.lock().await, State::ShutDown) {
            State::Started(sandbox) => sandbox.shutdown().await,
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").field("name", &self.name).finish_non_exhaustive()
    }
}
