//! [`Job`]: everything that is known of one job.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    AttemptError, BlobId, Claimed, JobId, JobState, Lease, NewEvent, Priority, QueueConfig, Timestamp,
    WorkerId,
};

/// Something that happened to a job.
#[derive(Debug)]
pub(super) struct Happening {
    pub(super) at: u64,
    pub(super) token: u64,
    pub(super) name: Cow<'static, str>,
    pub(super) data: Bytes,
}

/// Everything that is known of one job.
#[derive(Debug)]
pub(super) struct Job {
    /// The number of its tenant's name, and that of its language's.
    pub(super) tenant: usize,
    pub(super) language: usize,
    pub(super) priority: Priority,
    pub(super) payload: Bytes,
    pub(super) max_run: u64,
    pub(super) max_attempts: u32,
    pub(super) result_ttl: u64,
    pub(super) expires_at: Option<u64>,
    pub(super) trace: Option<String>,
    pub(super) blobs: Vec<BlobId>,
    pub(super) key: Option<String>,
    /// The order in which jobs were accepted.
    pub(super) ordinal: u64,
    pub(super) state: JobState,
    pub(super) attempt: u32,
    pub(super) crashes: u32,
    pub(super) token: u64,
    /// The token by which it was last settled, so that a repeat is known.
    pub(super) settled: u64,
    /// The token of the last start that is among its events.
    pub(super) noted: u64,
    pub(super) enqueued_at: u64,
    pub(super) ready_since: u64,
    pub(super) started_at: u64,
    pub(super) finished_at: Option<u64>,
    /// Until when the lease holds, the job is put off, or it is kept: by its state.
    pub(super) until: u64,
    pub(super) worker: Option<WorkerId>,
    pub(super) cancel: bool,
    pub(super) result: Option<Bytes>,
    pub(super) errors: Vec<AttemptError>,
    pub(super) events: Vec<Happening>,
    pub(super) event_bytes: u64,
    pub(super) events_dropped: u64,
}

impl Job {
    pub(super) fn level(&self) -> usize {
        self.priority.level()
    }

    pub(super) fn is_gone(&self, now: u64) -> bool {
        self.state.is_terminal() && self.until <= now
    }

    /// Whether it may no longer be begun at this time.
    pub(super) fn is_late(&self, at: u64) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= at)
    }

    /// Whether its last start is not among its events: it is put there only
    /// when another follows it.
    pub(super) fn tells_start(&self) -> bool {
        self.token > self.noted
    }

    /// Notes an event.
    pub(super) fn note(
        &mut self,
        at: u64,
        token: u64,
        name: impl Into<Cow<'static, str>>,
        data: impl Into<Bytes>,
    ) {
        if self.tells_start() {
            self.noted = self.token;
            let started = Happening {
                at: self.started_at,
                token: self.token,
                name: "started".into(),
                data: Bytes::new(),
            };
            self.events.push(started);
        }
        self.events.push(Happening { at, token, name: name.into(), data: data.into() });
    }

    /// Notes what its worker tells. What is beyond what is kept is counted.
    pub(super) fn tell(&mut self, events: Vec<NewEvent>, config: &QueueConfig, now: u64) {
        for NewEvent { name, data } in events {
            let bytes = self.event_bytes + data.len() as u64;
            let kept = self.events.len() + usize::from(self.tells_start());
            if kept >= config.max_events as usize || bytes > config.max_event_bytes {
                self.events_dropped += 1;
            } else {
                self.event_bytes = bytes;
                self.note(now, self.token, name, data);
            }
        }
    }

    /// Notes why an attempt failed; the last ones are kept.
    pub(super) fn fail(&mut self, error: &str, now: u64) {
        if self.errors.len() == AttemptError::MOST {
            self.errors.remove(0);
        }
        self.errors.push(AttemptError {
            attempt: self.attempt,
            at: Timestamp::from_millis(now),
            worker: self.worker.as_ref().map(ToString::to_string).unwrap_or_default(),
            error: error.to_owned(),
        });
    }

    /// How a job whose attempt failed ends, if it gets no other before `due`.
    pub(super) fn verdict(&self, max_crashes: u32, due: u64) -> Option<JobState> {
        if self.cancel {
            Some(JobState::Cancelled)
        } else if self.crashes >= max_crashes || self.attempt >= self.max_attempts || self.is_late(due) {
            Some(JobState::Dead)
        } else {
            None
        }
    }

    /// Gives it to a worker until then.
    pub(super) fn begin(&mut self, worker: &WorkerId, now: u64, until: u64) {
        self.state = JobState::Active;
        self.attempt += 1;
        self.token += 1;
        self.started_at = now;
        self.until = until;
        self.worker = Some(worker.clone());
    }

    /// What its worker is given; `real` is when `now` is by the clock of the process.
    pub(super) fn claimed(
        &self,
        id: JobId,
        tenant: &str,
        language: &str,
        now: u64,
        real: Instant,
    ) -> Claimed {
        Claimed {
            lease: Lease { id, token: self.token },
            valid_until: real + Duration::from_millis(self.until.saturating_sub(now)),
            tenant: tenant.to_owned(),
            language: language.to_owned(),
            priority: self.priority,
            payload: self.payload.clone(),
            attempt: self.attempt,
            crashes: self.crashes,
            max_run: Duration::from_millis(self.max_run),
            result_ttl: Duration::from_millis(self.result_ttl),
            enqueued_at: Timestamp::from_millis(self.enqueued_at),
            waited: Duration::from_millis(now.saturating_sub(self.ready_since)),
            trace: self.trace.clone(),
            blobs: self.blobs.clone(),
        }
    }
}
