//! What can go wrong with an engine and its containers, and how it reads as an
//! [`evalx_core::Error`].

use std::io;

use bollard::errors::Error as EngineError;
use evalx_core::{Error, ErrorKind};

/// Why the engine or a container could not do its part.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DockerError {
    #[error("the engine at {endpoint} can't be reached")]
    Endpoint { endpoint: String, source: EngineError },
    #[error("the engine could not {what}")]
    Engine { what: &'static str, source: EngineError },
    #[error("the engine did not {what} in time")]
    Slow { what: &'static str },
    #[error("the image {0} is not at the engine")]
    NoImage(String),
    #[error("the container was lost: {0}")]
    Lost(String),
    #[error("the agent refused: {0}")]
    Agent(String),
    #[error("no agent was found: {0}")]
    NoAgent(String),
    #[error("{what}")]
    Group { what: &'static str, source: io::Error },
    #[error("the sandbox is shut down")]
    ShutDown,
}

impl DockerError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoAgent(_) => ErrorKind::Unsupported,
            _ => ErrorKind::Unavailable,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Endpoint { .. } => Some(
                "start the engine, let this user talk to its socket (group `docker`), or name another by \
                 DOCKER_HOST"
                    .to_owned(),
            ),
            Self::NoImage(name) => Some(format!(
                "make it by `examples/images/make.sh`, or bring it: `docker pull {name}` (images are never \
                 pulled while programs run)"
            )),
            Self::NoAgent(_) => Some(
                "build one (`cargo build --release -p evalx-agent`) and name it by EVALX_AGENT, or have \
                 `evalx` on the PATH, or let steps be started by `Way::Exec`"
                    .to_owned(),
            ),
            Self::Agent(text) | Self::Lost(text) if text.contains("user namespace") => Some(
                "allow user namespaces on the engine's machine: sysctl -w user.max_user_namespaces=65536, on \
                 Debian and Ubuntu also kernel.unprivileged_userns_clone=1 and \
                 kernel.apparmor_restrict_unprivileged_userns=0; or let steps be started by `Way::Exec`"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

impl From<DockerError> for Error {
    fn from(error: DockerError) -> Self {
        let (kind, help) = (error.kind(), error.help());
        let error = Self::new(kind, "docker sandbox").with_source(error);
        match help {
            Some(help) => error.with_help(help),
            None => error,
        }
    }
}
