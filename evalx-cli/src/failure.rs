//! [`Status`] and [`Failure`]: what the command's exit status is made of.

use std::fmt;
use std::io;
use std::process::ExitCode;

use evalx_core::ErrorKind;

/// How a command that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// The program, or every test, did well.
    Well,
    /// It did not.
    Badly,
    /// The sandbox failed a part of the work, as the result says.
    Broken,
}

impl Status {
    /// [`Status::Well`] if `good`.
    pub(crate) fn of(good: bool) -> Self {
        if good { Self::Well } else { Self::Badly }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        match status {
            Status::Well => Self::SUCCESS,
            Status::Badly => Self::from(1),
            Status::Broken => Self::from(3),
        }
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line asks for what can't be: a missing file, a limit of nothing.
    Usage {
        /// What is wrong, and what is allowed.
        message: String,
    },
    /// The sandbox could not do its job, or refused the request.
    Sandbox(evalx_core::Error),
    /// The queue can't be reached, or refused the request.
    Queue(evalx_queue::Error),
    /// The machine refused something that has nothing to do with sandboxes.
    Host {
        /// What was attempted.
        message: String,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into() }
    }

    pub(crate) fn host(message: impl Into<String>, source: io::Error) -> Self {
        Self::Host { message: message.into(), source }
    }

    /// The kind, as in JSON.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Usage { .. } => ErrorKind::InvalidRequest,
            Self::Sandbox(error) => error.kind(),
            Self::Queue(error) => match error.kind() {
                evalx_queue::ErrorKind::InvalidRequest | evalx_queue::ErrorKind::NotFound => {
                    ErrorKind::InvalidRequest
                }
                evalx_queue::ErrorKind::Unsupported => ErrorKind::Unsupported,
                evalx_queue::ErrorKind::Internal => ErrorKind::Internal,
                _ => ErrorKind::Unavailable,
            },
            Self::Host { .. } | Self::Interrupted => ErrorKind::Unavailable,
        }
    }

    /// What can be done about it, if that is known.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::Sandbox(error) => error.help(),
            Self::Queue(error) => error.help(),
            Self::Usage { .. } | Self::Host { .. } | Self::Interrupted => None,
        }
    }

    /// 2 where the request is wrong, 3 where the sandbox failed, 1 where it was stopped.
    pub(crate) fn exit_code(&self) -> ExitCode {
        if matches!(self, Self::Interrupted) {
            return ExitCode::from(1);
        }
        match self.kind() {
            ErrorKind::InvalidRequest => ExitCode::from(2),
            _ => ExitCode::from(3),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage { message } => f.write_str(message),
            Self::Sandbox(error) => f.write_str(&error.chain()),
            Self::Queue(error) => f.write_str(&error.chain()),
            Self::Host { message, source } => write!(f, "{message}: {source}"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl From<evalx_core::Error> for Failure {
    fn from(error: evalx_core::Error) -> Self {
        Self::Sandbox(error)
    }
}

impl From<evalx_queue::Error> for Failure {
    fn from(error: evalx_queue::Error) -> Self {
        Self::Queue(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_it_is_decides_the_exit_status() {
        let code = |failure: Failure| format!("{:?}", failure.exit_code());
        let sandbox = |kind| Failure::from(evalx_core::Error::new(kind, "no"));
        assert_eq!(code(Failure::usage("no")), format!("{:?}", ExitCode::from(2)));
        assert_eq!(code(sandbox(ErrorKind::InvalidRequest)), format!("{:?}", ExitCode::from(2)));
        assert_eq!(code(sandbox(ErrorKind::Unsupported)), format!("{:?}", ExitCode::from(3)));
        assert_eq!(code(sandbox(ErrorKind::Unavailable)), format!("{:?}", ExitCode::from(3)));
    }
}
