//! [`Admission`]: what became of a job that was to be enqueued.

use std::time::Duration;

use serde::Serialize;

use crate::{BlobId, Error, ErrorKind, JobId, JobState, Result};

/// What became of one job that was to be enqueued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Admission {
    /// It will be run, or end among the dead with a reason.
    Accepted {
        /// The job.
        id: JobId,
        /// About how many jobs will have been begun when it is, with itself;
        /// `None` while it is delayed.
        position: Option<u64>,
    },
    /// It is there already, by its id or its idempotency key: nothing was added.
    Duplicate {
        /// The job that is there.
        id: JobId,
        /// How far that one is.
        state: JobState,
    },
    /// Its idempotency key belongs to a job with another payload.
    Conflict {
        /// That job.
        id: JobId,
    },
    /// As many jobs wait as may.
    Full {
        /// Whose limit was met.
        scope: Scope,
        /// How many jobs wait.
        depth: u64,
        /// When there is likely to be room.
        retry_after: Duration,
    },
    /// A blob that it needs is gone.
    BlobGone {
        /// Which.
        blob: BlobId,
    },
    /// The queue takes no new jobs: it is being drained.
    Draining,
}

/// Whose limit was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// That of the queue.
    Queue,
    /// That of the job's tenant.
    Tenant,
}

impl Admission {
    /// The job that is in the queue now, new or old.
    ///
    /// # Errors
    /// `Full`, `Conflict`, `InvalidRequest` if a blob is gone, or `Unavailable`
    /// while the queue is drained.
    pub fn into_id(self) -> Result<JobId> {
        match self {
            Self::Accepted { id, .. } | Self::Duplicate { id, .. } => Ok(id),
            Self::Conflict { id } => Err(Error::new(
                ErrorKind::Conflict,
                format!("the idempotency key was used for job {id}, whose payload is another"),
            )),
            Self::Full { scope, depth, retry_after } => {
                let whose = match scope {
                    Scope::Queue => "the queue is full",
                    Scope::Tenant => "the tenant's share of the queue is full",
                };
                let message = format!("{whose}: {depth} jobs are waiting");
                Err(Error::new(ErrorKind::Full, message).with_retry_after(retry_after))
            }
            Self::BlobGone { blob } => {
                Err(Error::invalid(format!("the blob {blob} does not exist, or no longer")))
            }
            Self::Draining => {
                Err(Error::new(ErrorKind::Unavailable, "the queue takes no new jobs: it is drained"))
            }
        }
    }

    /// The job that is in the queue now, if one is.
    #[must_use]
    pub fn id(&self) -> Option<JobId> {
        match self {
            Self::Accepted { id, .. } | Self::Duplicate { id, .. } => Some(*id),
            _ => None,
        }
    }
}

/// When there is likely to be room: as long as `depth` jobs take at this pace,
/// between a second and a minute.
pub(crate) fn retry_after(depth: u64, in_flight: u64, average_run_ms: u64) -> Duration {
    Duration::from_millis(expected_wait_ms(depth, in_flight, average_run_ms).clamp(1_000, 60_000))
}

/// How long `depth` jobs take if `in_flight` run at once.
pub(crate) fn expected_wait_ms(depth: u64, in_flight: u64, average_run_ms: u64) -> u64 {
    depth.saturating_mul(average_run_ms) / in_flight.max(1)
}
