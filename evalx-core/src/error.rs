//! [`Error`]: the sandbox could not do its job. A program that fails is never one.

use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What this crate and the backends return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn StdError + Send + Sync + 'static>;

/// What kind of failure an [`Error`] is; decides what the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is wrong; the message says what, and what is allowed.
    InvalidRequest,
    /// This backend, or this machine, can't enforce or do what was asked.
    Unsupported,
    /// The backend is broken, absent, or shutting down.
    Unavailable,
    /// No capacity just now; the same call may succeed later.
    Busy,
    /// A defect of evalx.
    Internal,
}

impl ErrorKind {
    /// The kind in snake case, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Unsupported => "unsupported",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The sandbox could not do its job.
///
/// An exit code, a time-out or an exceeded limit is not an error: those are
/// [outcomes](crate::Outcome) of a run that went as it should. The message is
/// a lower-case fragment without its source; [`Error::chain`] prints both.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    help: Option<String>,
    source: Option<Source>,
}

impl Error {
    /// An error of `kind`; `message` says what was attempted and on what.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), help: None, source: None }))
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds what the operator can do about it: a command, or a setting.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// What kind of failure this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What the operator can do about it, if that is known.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.0.help.as_deref()
    }

    /// Whether the same call may succeed later or elsewhere.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Busy | ErrorKind::Unavailable)
    }

    /// The [chain](Self::chain), and what the operator can do about it: for a log.
    #[must_use]
    pub fn report(&self) -> String {
        match self.help() {
            Some(help) => format!("{}; help: {help}", self.chain()),
            None => self.chain(),
        }
    }

    /// The message and those of all its sources, joined by `: `.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(source) = next {
            text.push_str(": ");
            text.push_str(&source.to_string());
            next = source.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind, self.chain())?;
        if let Some(help) = &self.0.help {
            write!(f, " (help: {help})")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

const _: () = {
    const fn assert_send_sync<T: Send + Sync + 'static>() {}
    assert_send_sync::<Error>();
    assert!(size_of::<Error>() == size_of::<usize>());
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_printed_once() {
        let error = Error::new(ErrorKind::Unavailable, "could not make a slot")
            .with_source(std::io::Error::from_raw_os_error(1))
            .with_help("run as root");
        assert_eq!(error.to_string(), "could not make a slot");
        assert_eq!(error.chain(), "could not make a slot: Operation not permitted (os error 1)");
        assert!(error.is_retryable());
    }
}
