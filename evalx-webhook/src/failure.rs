//! [`Failure`]: why an attempt did not deliver, in words that its sender may read.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why an attempt did not deliver.
///
/// Whoever named the URL may be shown this: it holds nothing of the answer but
/// its status, and no address that a host name led to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Failure {
    /// The URL may not be delivered to.
    Refused {
        /// Why, and what is allowed.
        reason: String,
    },
    /// The host name leads to no address.
    Unresolved,
    /// No connection came about.
    Unreachable {
        /// What the operating system said.
        reason: String,
    },
    /// The connection could not be encrypted, or its other end not be trusted.
    Tls {
        /// What is wrong with the encryption or the certificate.
        reason: String,
    },
    /// The time was up.
    TimedOut {
        /// What was being waited for.
        waiting_for: Waiting,
    },
    /// The connection broke, or what came was not HTTP.
    Broken,
    /// The answer was that of a redirect, and those are not followed.
    Redirected,
    /// The answer was not one of success.
    Answered,
}

/// What an attempt was waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Waiting {
    /// A connection: the host name's addresses, and one of them.
    Connection,
    /// The head of the answer.
    Answer,
}

impl Failure {
    /// Whether there was no answer for reasons that may pass.
    #[must_use]
    pub const fn is_of_the_network(&self) -> bool {
        match self {
            Self::Unresolved
            | Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::TimedOut { .. }
            | Self::Broken => true,
            Self::Refused { .. } | Self::Redirected | Self::Answered => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { reason } => write!(f, "not delivered to this URL: {reason}"),
            Self::Unresolved => f.write_str("the host name could not be resolved"),
            Self::Unreachable { reason } => write!(f, "no connection: {reason}"),
            Self::Tls { reason } => write!(f, "no encrypted connection: {reason}"),
            Self::TimedOut { waiting_for: Waiting::Connection } => {
                f.write_str("no connection within the time allowed")
            }
            Self::TimedOut { waiting_for: Waiting::Answer } => {
                f.write_str("no answer within the time allowed")
            }
            Self::Broken => f.write_str("the connection broke, or what came was not HTTP"),
            Self::Redirected => f.write_str("the answer was a redirect, and those are not followed"),
            Self::Answered => f.write_str("the answer was not one of success"),
        }
    }
}

impl std::error::Error for Failure {}
