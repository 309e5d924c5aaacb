//! What can be seen of a job from outside.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};

use crate::{BlobId, Error, JobId, Priority, Result, Timestamp};

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits until it is due: put off by whoever enqueued it, or by a retry.
    Delayed,
    /// It waits for a worker.
    Ready,
    /// A worker has it.
    Active,
    /// It ran, and has a result.
    Done,
    /// It failed for good; its errors say why.
    Dead,
    /// It was cancelled.
    Cancelled,
}

impl JobState {
    /// All, in the order of a job's life.
    pub const ALL: [Self; 6] =
        [Self::Delayed, Self::Ready, Self::Active, Self::Done, Self::Dead, Self::Cancelled];

    /// The state in snake case, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delayed => "delayed",
            Self::Ready => "ready",
            Self::Active => "active",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more will happen to the job by itself.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Done | Self::Dead | Self::Cancelled)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for JobState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            Error::invalid(format!(
                "a state is delayed, ready, active, done, dead or cancelled, not {text:?}"
            ))
        })
    }
}

/// Why one attempt at a job failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AttemptError {
    /// Which attempt, from 1.
    pub attempt: u32,
    /// When that was noticed.
    #[serde(rename = "at_ms")]
    pub at: Timestamp,
    /// Who had the job.
    pub worker: String,
    /// What went wrong.
    pub error: String,
}

impl AttemptError {
    /// How many of a job's errors are kept: the last ones.
    pub const MOST: usize = 16;
}

/// A job, seen from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JobView {
    /// Its name.
    pub id: JobId,
    /// How far it is.
    pub state: JobState,
    /// On whose behalf it is.
    pub tenant: String,
    /// What depth is counted by.
    pub language: String,
    /// Its priority.
    pub priority: Priority,
    /// How often it was begun.
    pub attempt: u32,
    /// How many workers it has lost.
    pub crashes: u32,
    /// The token of its last lease.
    pub token: u64,
    /// When it was accepted.
    #[serde(rename = "enqueued_at_ms")]
    pub enqueued_at: Timestamp,
    /// When it was last begun.
    #[serde(rename = "started_at_ms")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(rename = "finished_at_ms")]
    pub finished_at: Option<Timestamp>,
    /// When it may be begun, while it is delayed.
    #[serde(rename = "due_at_ms")]
    pub due_at: Option<Timestamp>,
    /// When it may no longer be begun.
    #[serde(rename = "expires_at_ms")]
    pub expires_at: Option<Timestamp>,
    /// Until when it is kept, once it has ended.
    #[serde(rename = "kept_until_ms")]
    pub kept_until: Option<Timestamp>,
    /// Who has it, or had it last.
    pub worker: Option<String>,
    /// Whether it is to be cancelled, or was.
    pub cancel_requested: bool,
    /// About how many jobs will have been begun when it is, with itself, while it is ready.
    pub position: Option<u64>,
    /// What its worker left for whoever asks. Not in a list: two hundred of them might be large.
    #[serde(serialize_with = "as_text")]
    pub result: Option<Bytes>,
    /// Why attempts have failed: the last [`AttemptError::MOST`] errors.
    pub errors: Vec<AttemptError>,
    /// Who follows it.
    pub trace: Option<String>,
    /// The blobs of its input, and of its result.
    pub blobs: Vec<BlobId>,
    /// The size of its payload, in bytes.
    pub payload_bytes: u64,
    /// How many events were dropped because it had too many.
    pub events_dropped: u64,
}

impl JobView {
    /// The result, read as JSON; `None` if there is none.
    ///
    /// # Errors
    /// `InvalidRequest` if the result is no JSON of that shape.
    pub fn decode_result<T: serde::de::DeserializeOwned>(&self) -> Result<Option<T>> {
        let Some(result) = &self.result else { return Ok(None) };
        serde_json::from_slice(result)
            .map(Some)
            .map_err(|error| Error::invalid("the result can't be decoded").with_source(error))
    }

    /// Why it is dead: the last error.
    #[must_use]
    pub fn last_error(&self) -> Option<&str> {
        self.errors.last().map(|error| error.error.as_str())
    }
}

#[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
fn as_text<S: Serializer>(result: &Option<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
    match result {
        Some(result) => serializer.serialize_some(&String::from_utf8_lossy(result)),
        None => serializer.serialize_none(),
    }
}

/// Which jobs to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListQuery {
    /// In which state.
    pub state: JobState,
    /// How many to pass over.
    pub offset: u64,
    /// How many to give; at most [`MOST`](Self::MOST).
    pub limit: u64,
}

impl ListQuery {
    /// The most jobs of one page.
    pub const MOST: u64 = 200;

    /// The first 50 jobs in this state.
    #[must_use]
    pub const fn new(state: JobState) -> Self {
        Self { state, offset: 0, limit: 50 }
    }

    /// Sets how many to pass over.
    #[must_use]
    pub const fn with_offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// Sets how many to give.
    #[must_use]
    pub const fn with_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.limit == 0 || self.limit > Self::MOST {
            return Err(Error::invalid(format!(
                "the limit is {}; it must be 1 to {}",
                self.limit,
                Self::MOST
            )));
        }
        Ok(())
    }
}

/// A page of jobs. Ended ones come latest first, active ones by the end of
/// their leases, delayed ones by when they are due, and ready ones by priority
/// and since when they are. They come without their results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Page {
    /// The jobs.
    pub jobs: Vec<JobView>,
    /// How many there are in that state, all told.
    pub total: u64,
}
