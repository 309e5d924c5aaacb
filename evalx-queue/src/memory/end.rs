//! How jobs are given back, taken back, ended and forgotten.

use std::time::Duration;

use bytes::Bytes;

use super::machine::{Job, MOST_AT_ONCE, Machine, drawer};
use crate::settle::cut;
use crate::time::millis;
use crate::{AttemptError, Beat, JobId, JobState, Lease, NewEvent, Outcome, Settled, Timestamp};

/// What is said of a job whose worker was lost.
pub(crate) const WORKER_LOST: &str = "worker lost: its lease ran out";
/// What is said of a job that was not begun in time.
pub(crate) const EXPIRED: &str = "the job expired before it could be begun";

impl Job {
    fn fail(&mut self, error: &str, now: u64) {
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
}

impl Machine {
    /// The job of a lease that still holds; otherwise what is to be answered.
    fn held(&mut self, lease: Lease, now: u64) -> Result<&mut Job, Settled> {
        match self.jobs.get_mut(&lease.id) {
            Some(job) if job.is_gone(now) => Err(Settled::Stale),
            Some(job) if job.token != lease.token => Err(Settled::Stale),
            Some(job) if job.state == JobState::Active && job.settled != lease.token => Ok(job),
            Some(job) if job.settled == lease.token => Err(Settled::Applied),
            _ => Err(Settled::Stale),
        }
    }

    /// `luck`, below 1, is what a retry without a time of its own waits by.
    pub(super) fn settle(&mut self, lease: Lease, outcome: Outcome, luck: f64, now: u64) -> Settled {
        let id = lease.id;
        match self.held(lease, now) {
            Ok(job) => job.settled = lease.token,
            Err(answer) => return answer,
        }
        self.take_back(id);
        match outcome {
            Outcome::Done { result, blobs } => {
                let blobs: Vec<_> =
                    blobs.into_iter().filter(|blob| self.blobs.is_there(*blob, now)).collect();
                blobs.iter().for_each(|blob| self.blobs.pin(*blob));
                let Some(job) = self.jobs.get_mut(&id) else { return Settled::Stale };
                job.result = Some(result);
                job.blobs.extend(blobs);
                let ran = now.saturating_sub(job.started_at.unwrap_or(now));
                self.average_run = if self.average_run == 0 { ran } else { (self.average_run * 7 + ran) / 8 };
                self.completed += 1;
                self.end(id, JobState::Done, now);
            }
            Outcome::Retry { error, after } => self.fail_for_now(id, &error, after, luck, now),
            Outcome::Crashed { error } => {
                self.crashes += 1;
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.crashes += 1;
                }
                self.fail_for_now(id, &error, None, luck, now);
            }
            Outcome::Rejected { error } => {
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.fail(cut(&error), now);
                }
                self.end(id, JobState::Dead, now);
            }
            Outcome::Cancelled => self.end(id, JobState::Cancelled, now),
        }
        Settled::Applied
    }

    /// The end of an attempt that may be followed by another.
    fn fail_for_now(&mut self, id: JobId, error: &str, after: Option<Duration>, luck: f64, now: u64) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.fail(cut(error), now);
        let delay = after.map_or_else(|| self.config.backoff_for(job.attempt, luck), millis);
        let due = now + delay;
        let is_late = job.expires_at.is_some_and(|at| at <= due);
        if let Some(state) = job.verdict(self.config.max_crashes, is_late) {
            return self.end(id, state, now);
        }
        job.note(now, "retrying", Bytes::copy_from_slice(cut(error).as_bytes()));
        self.retries += 1;
        self.enter(id);
        if delay == 0 { self.make_ready(id, now) } else { self.put_off(id, due) }
    }

    /// Takes back what lost workers had.
    pub(super) fn reap(&mut self, now: u64) -> u64 {
        let over = |(until, _): &(u64, JobId)| *until <= now;
        let ids: Vec<_> =
            self.leases.iter().take_while(|entry| over(entry)).take(MOST_AT_ONCE).copied().collect();
        for (_, id) in &ids {
            self.take_back(*id);
            self.crashes += 1;
            let Some(job) = self.jobs.get_mut(id) else { continue };
            job.crashes += 1;
            job.fail(WORKER_LOST, now);
            let is_late = job.expires_at.is_some_and(|at| at <= now);
            if let Some(state) = job.verdict(self.config.max_crashes, is_late) {
                self.end(*id, state, now);
                continue;
            }
            job.note(now, "lost", WORKER_LOST);
            self.retries += 1;
            self.enter(*id);
            self.make_ready(*id, now);
        }
        ids.len() as u64
    }

    pub(super) fn release(&mut self, lease: Lease, now: u64) -> Settled {
        let id = lease.id;
        match self.held(lease, now) {
            Ok(job) => {
                job.settled = lease.token;
                job.attempt -= 1;
            }
            Err(answer) => return answer,
        }
        self.take_back(id);
        let Some(job) = self.jobs.get_mut(&id) else { return Settled::Stale };
        if job.cancel {
            self.end(id, JobState::Cancelled, now);
        } else {
            job.note(now, "released", Bytes::new());
            self.enter(id);
            self.make_ready(id, now);
        }
        Settled::Applied
    }

    pub(super) fn heartbeat(&mut self, lease: Lease, now: u64) -> Beat {
        let (length, grace) = (millis(self.config.lease), millis(self.config.grace));
        let Ok(job) = self.held(lease, now) else { return Beat::Lost };
        let most = job.started_at.unwrap_or(now) + job.max_run + grace;
        if now >= most {
            return Beat::Lost;
        }
        let (before, until) = (job.until, most.min(now + length));
        job.until = until;
        let cancel = job.cancel;
        self.leases.remove(&(before, lease.id));
        self.leases.insert((until, lease.id));
        let valid_for = Duration::from_millis(until - now);
        if cancel { Beat::Cancel { valid_for } } else { Beat::Renewed { valid_for } }
    }

    pub(super) fn emit(&mut self, lease: Lease, events: Vec<NewEvent>, now: u64) -> Settled {
        let (most, most_bytes) = (self.config.max_events as usize, self.config.max_event_bytes);
        let job = match self.held(lease, now) {
            Ok(job) => job,
            // What was told before the job was settled came too late, but it is no longer needed.
            Err(_) => return Settled::Stale,
        };
        for NewEvent { name, data } in events {
            let bytes = job.event_bytes + data.len() as u64;
            if job.events.len() >= most || bytes > most_bytes {
                job.events_dropped += 1;
            } else {
                job.event_bytes = bytes;
                job.events.push((now, lease.token, name, data));
            }
        }
        Settled::Applied
    }

    /// Ends a job that nobody has, and that no longer counts as waiting.
    pub(super) fn end(&mut self, id: JobId, state: JobState, now: u64) {
        let (Some(drawer), Some(job)) = (drawer(state), self.jobs.get_mut(&id)) else { return };
        let ttl = if state == JobState::Dead { millis(self.config.dead_ttl) } else { job.result_ttl };
        job.state = state;
        job.finished_at = Some(now);
        job.until = now + ttl;
        for blob in &job.blobs {
            self.blobs.unpin(*blob, job.until);
        }
        let until = job.until;
        self.ended[drawer].insert((until, id));
        if state == JobState::Dead && self.ended[drawer].len() as u64 > self.config.max_dead {
            let oldest = self.ended[drawer].first().map(|(_, id)| *id);
            oldest.into_iter().for_each(|id| self.forget(id));
        }
    }

    pub(super) fn end_expired(&mut self, id: JobId, now: u64) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.fail(EXPIRED, now);
        }
        self.end(id, JobState::Dead, now);
    }

    pub(super) fn requeue(&mut self, id: JobId, now: u64) -> bool {
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        if job.state != JobState::Dead || job.is_gone(now) {
            return false;
        }
        if let Some(drawer) = drawer(JobState::Dead) {
            self.ended[drawer].remove(&(job.until, id));
        }
        for blob in &job.blobs {
            self.blobs.pin(*blob);
        }
        self.ordinal += 1;
        let why = job.errors.last().map(|error| error.error.clone()).unwrap_or_default();
        job.note(job.finished_at.unwrap_or(now), "dead", why);
        job.note(now, "requeued", Bytes::new());
        job.ordinal = self.ordinal;
        job.attempt = 0;
        job.crashes = 0;
        job.cancel = false;
        job.expires_at = None;
        job.finished_at = None;
        self.enter(id);
        self.make_ready(id, now);
        true
    }

    /// Forgets an ended job, if the caller wants that and it is one.
    pub(super) fn remove(&mut self, id: JobId, now: u64) -> bool {
        let ended = self.job(id, now).is_some_and(|job| job.state.is_terminal());
        if ended {
            self.forget(id);
        }
        ended
    }

    /// Forgets an ended job, with all that is kept of it.
    pub(super) fn forget(&mut self, id: JobId) {
        let Some((drawer, job)) = self
            .jobs
            .get(&id)
            .and_then(|job| drawer(job.state))
            .and_then(|d| Some((d, self.jobs.remove(&id)?)))
        else {
            return;
        };
        self.ended[drawer].remove(&(job.until, id));
        for blob in job.blobs {
            self.blobs.remove_unpinned(blob);
        }
        if let Some(key) = job.key {
            let key = (job.tenant, key);
            if self.keys.get(&key).is_some_and(|used| used.job == id) {
                self.keys.remove(&key);
            }
        }
    }
}

impl Job {
    /// How a job whose attempt failed ends; `None` if it gets another.
    fn verdict(&self, max_crashes: u32, is_late: bool) -> Option<JobState> {
        if self.cancel {
            Some(JobState::Cancelled)
        } else if self.crashes >= max_crashes || self.attempt >= self.max_attempts || is_late {
            Some(JobState::Dead)
        } else {
            None
        }
    }
}
