//! How jobs are given back, taken back, ended and forgotten.

use std::time::Duration;

use super::books::{Books, drawer, due};
use super::job::Job;
use super::machine::{MOST_AT_ONCE, Machine};
use crate::settle::cut;
use crate::time::millis;
use crate::{Beat, JobId, JobState, Lease, NewEvent, Outcome, Settled, Settlement};

/// What is said of a job whose worker was lost.
pub(crate) const WORKER_LOST: &str = "worker lost: its lease ran out";
/// What is said of a job that was not begun in time.
pub(crate) const EXPIRED: &str = "the job expired before it could be begun";

impl Machine {
    /// The job of a lease that still holds, and the books; otherwise what is to be answered.
    fn held(&mut self, lease: Lease, now: u64) -> Result<(&mut Job, &mut Books), Settled> {
        match self.jobs.get_mut(&lease.id) {
            Some(job) if job.is_gone(now) || lease.token == 0 => Err(Settled::Stale),
            Some(job) if job.settled == lease.token => Err(Settled::Applied),
            Some(job) if job.token == lease.token && job.state == JobState::Active => {
                Ok((job, &mut self.books))
            }
            _ => Err(Settled::Stale),
        }
    }

    /// `luck` gives something below 1, by which a retry without a time of its own waits.
    pub(super) fn settle(&mut self, settlement: Settlement, luck: impl FnOnce() -> f64, now: u64) -> Settled {
        let Settlement { lease, outcome, events } = settlement;
        let id = lease.id;
        let (job, books) = match self.held(lease, now) {
            Ok(held) => held,
            Err(answer) => return answer,
        };
        job.tell(events, &books.config, now);
        job.settled = lease.token;
        books.take_back(id, job);
        let too_old = match outcome {
            Outcome::Done { result, blobs } => {
                for blob in
                    blobs.into_iter().filter(|blob| books.blobs.is_there(*blob, now)).collect::<Vec<_>>()
                {
                    books.blobs.pin(blob);
                    job.blobs.push(blob);
                }
                job.result = Some(result);
                let ran = now.saturating_sub(job.started_at);
                books.average_run =
                    if books.average_run == 0 { ran } else { (books.average_run * 7 + ran) / 8 };
                books.completed += 1;
                books.end(id, job, JobState::Done, now)
            }
            Outcome::Retry { error, after } => {
                let delay = after.map_or_else(|| books.config.backoff_for(job.attempt, luck()), millis);
                books.fail(id, job, "retrying", cut(&error), now, now + delay)
            }
            Outcome::Crashed { error } => {
                books.crashes += 1;
                job.crashes += 1;
                let delay = books.config.backoff_for(job.attempt, luck());
                books.fail(id, job, "retrying", cut(&error), now, now + delay)
            }
            Outcome::Rejected { error } => {
                job.fail(cut(&error), now);
                books.end(id, job, JobState::Dead, now)
            }
            Outcome::Cancelled => books.end(id, job, JobState::Cancelled, now),
        };
        self.forget(too_old);
        Settled::Applied
    }

    /// Takes back what lost workers had.
    pub(super) fn reap(&mut self, now: u64) -> u64 {
        let ids = due(&self.books.leases, now, MOST_AT_ONCE);
        for id in &ids {
            let Some(job) = self.jobs.get_mut(id) else { continue };
            self.books.take_back(*id, job);
            self.books.crashes += 1;
            job.crashes += 1;
            let too_old = self.books.fail(*id, job, "lost", WORKER_LOST, now, now);
            self.forget(too_old);
        }
        ids.len() as u64
    }

    pub(super) fn release(&mut self, lease: Lease, now: u64) -> Settled {
        let (job, books) = match self.held(lease, now) {
            Ok(held) => held,
            Err(answer) => return answer,
        };
        job.settled = lease.token;
        job.attempt -= 1;
        books.take_back(lease.id, job);
        if job.cancel {
            books.end(lease.id, job, JobState::Cancelled, now);
        } else {
            // A job can be handed back as often as one likes, and its events are not to grow with it.
            if job.events.len() < books.config.max_events as usize + 100 {
                job.note(now, lease.token, "released", "");
            }
            books.enter(job);
            books.make_ready(lease.id, job, now);
        }
        Settled::Applied
    }

    pub(super) fn heartbeat(&mut self, lease: Lease, now: u64) -> Beat {
        let Ok((job, books)) = self.held(lease, now) else { return Beat::Lost };
        let most = job.started_at + job.max_run + millis(books.config.grace);
        if now >= most {
            return Beat::Lost;
        }
        let until = most.min(now + millis(books.config.lease));
        books.leases.remove(&(job.until, lease.id));
        books.leases.insert((until, lease.id));
        job.until = until;
        let valid_for = Duration::from_millis(until - now);
        if job.cancel { Beat::Cancel { valid_for } } else { Beat::Renewed { valid_for } }
    }

    pub(super) fn emit(&mut self, lease: Lease, events: Vec<NewEvent>, now: u64) -> Settled {
        // What was told before the job was settled came too late, but it is no longer needed.
        let Ok((job, books)) = self.held(lease, now) else { return Settled::Stale };
        job.tell(events, &books.config, now);
        Settled::Applied
    }

    pub(super) fn requeue(&mut self, id: JobId, now: u64) -> bool {
        let books = &mut self.books;
        let is_dead = |job: &&mut Box<Job>| job.state == JobState::Dead && !job.is_gone(now);
        let Some(job) = self.jobs.get_mut(&id).filter(is_dead) else { return false };
        if let Some(drawer) = drawer(JobState::Dead) {
            books.ended[drawer].remove(&(job.until, id));
        }
        books.ordinal += 1;
        let why = job.errors.last().map(|error| error.error.clone()).unwrap_or_default();
        job.note(job.finished_at.unwrap_or(now), job.token, "dead", why);
        job.note(now, job.token, "requeued", "");
        job.ordinal = books.ordinal;
        job.attempt = 0;
        job.crashes = 0;
        job.cancel = false;
        job.expires_at = None;
        job.finished_at = None;
        books.enter(job);
        books.make_ready(id, job, now);
        true
    }

    /// Forgets an ended job, if the caller wants that and it is one.
    pub(super) fn remove(&mut self, id: JobId, now: u64) -> bool {
        let ended = self.job(id, now).is_some_and(|job| job.state.is_terminal());
        self.forget(Some(id).filter(|_| ended));
        ended
    }

    /// Forgets a job that has ended.
    pub(super) fn forget(&mut self, id: Option<JobId>) {
        if let Some((id, job)) = id.and_then(|id| self.jobs.remove_entry(&id)) {
            self.books.forget(id, *job);
        }
    }
}
