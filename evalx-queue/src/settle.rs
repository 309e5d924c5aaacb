//! How a job is given back: what a worker says of it, and what the queue answers.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::config::check_duration;
use crate::job::{check_blobs, check_size};
use crate::{BlobId, Claimed, Lease, NewEvent, QueueConfig, Result};

/// How the run of a job ended.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It ran. A program that fails, does not compile or meets a limit has run
    /// too: what the result says is the application's.
    Done {
        /// What is kept for whoever asks.
        result: Bytes,
        /// The blobs that belong to the result, and live as long as it.
        blobs: Vec<BlobId>,
    },
    /// The machinery failed, and may do better at the next attempt.
    Retry {
        /// Why.
        error: String,
        /// When to try again; by default after a random time whose limit doubles.
        after: Option<Duration>,
    },
    /// It took its worker along, or would have: the next time it is dead.
    Crashed {
        /// Why.
        error: String,
    },
    /// No attempt can do better: it is dead at once.
    Rejected {
        /// Why.
        error: String,
    },
    /// It was stopped as [`Queue::cancel`](crate::Queue::cancel) had asked.
    Cancelled,
}

impl Outcome {
    /// The longest error that is kept, in bytes; what is beyond is cut.
    pub const LONGEST_ERROR: usize = 2048;

    /// It ran, with this result.
    pub fn done(result: impl Into<Bytes>) -> Self {
        Self::Done { result: result.into(), blobs: Vec::new() }
    }

    /// The machinery failed so.
    pub fn retry(error: impl Into<String>) -> Self {
        Self::Retry { error: error.into(), after: None }
    }

    /// No attempt can do better, because of this.
    pub fn rejected(error: impl Into<String>) -> Self {
        Self::Rejected { error: error.into() }
    }

    /// The outcome in snake case, as in metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::Retry { .. } => "retry",
            Self::Crashed { .. } => "crashed",
            Self::Rejected { .. } => "rejected",
            Self::Cancelled => "cancelled",
        }
    }

    /// Refuses what is too large or too late.
    pub(crate) fn check(&self, config: &QueueConfig) -> Result<()> {
        match self {
            Self::Done { result, blobs } => {
                check_blobs("the result", blobs)?;
                check_size("a result", result.len(), config)
            }
            Self::Retry { after: Some(after), .. } => {
                check_duration("the delay of a retry", *after, Duration::ZERO)
            }
            _ => Ok(()),
        }
    }
}

/// `error` cut to what is kept of it.
pub(crate) fn cut(error: &str) -> &str {
    let mut end = error.len().min(Outcome::LONGEST_ERROR);
    while !error.is_char_boundary(end) {
        end -= 1;
    }
    &error[..end]
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done { result, .. } => write!(f, "Done({} bytes)", result.len()),
            Self::Retry { error, after } => write!(f, "Retry({error:?}, {after:?})"),
            Self::Crashed { error } => write!(f, "Crashed({error:?})"),
            Self::Rejected { error } => write!(f, "Rejected({error:?})"),
            Self::Cancelled => f.write_str("Cancelled"),
        }
    }
}

/// One job given back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settlement {
    /// The proof that it is the worker's.
    pub lease: Lease,
    /// How it ended.
    pub outcome: Outcome,
    /// What is told of it in the same step, before its end; none by default.
    pub events: Vec<NewEvent>,
}

impl Settlement {
    /// The job of `lease` ended so.
    #[must_use]
    pub fn new(lease: Lease, outcome: Outcome) -> Self {
        Self { lease, outcome, events: Vec::new() }
    }

    /// Sets what is told of it before its end.
    #[must_use]
    pub fn with_events(mut self, events: Vec<NewEvent>) -> Self {
        self.events = events;
        self
    }

    /// About how much of it is kept.
    #[cfg(feature = "redis")]
    pub(crate) fn bytes(&self) -> usize {
        let result = if let Outcome::Done { result, .. } = &self.outcome { result.len() } else { 0 };
        self.events.iter().fold(result, |sum, event| sum + event.data.len())
    }

    /// Refuses what is too large, too late or too much.
    pub(crate) fn check(&self, config: &QueueConfig) -> Result<()> {
        self.outcome.check(config)?;
        NewEvent::check(&self.events, config)
    }
}

/// Whether what was done by a lease counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settled {
    /// It did, now or when the same call came before.
    Applied,
    /// The job is somebody else's by now, or gone; nothing was changed.
    Stale,
}

/// What [`Queue::finish`](crate::Queue::finish) answers.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Finished {
    /// What became of each job, in the order of the call.
    pub settled: Vec<Settled>,
    /// The jobs claimed by the same call.
    pub claimed: Vec<Claimed>,
}

impl Finished {
    /// What became of each job, and what was claimed by the same call.
    #[must_use]
    pub const fn new(settled: Vec<Settled>, claimed: Vec<Claimed>) -> Self {
        Self { settled, claimed }
    }
}

/// What a heartbeat brings back about one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Beat {
    /// It stays the worker's for so long, from when the heartbeat was sent.
    Renewed {
        /// How long.
        valid_for: Duration,
    },
    /// Somebody asked for it to be cancelled: stop it, and finish with
    /// [`Outcome::Cancelled`], or with its result if it was faster.
    Cancel {
        /// How long it stays the worker's, to do that.
        valid_for: Duration,
    },
    /// It is no longer the worker's: kill it, and say nothing.
    Lost,
}

/// What became of a wish to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cancellation {
    /// It was not running, and never will.
    Done,
    /// It runs; its worker is told.
    Requested,
    /// It had ended before.
    TooLate,
    /// There is no such job.
    NotFound,
}
