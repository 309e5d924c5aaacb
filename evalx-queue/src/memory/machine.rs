//! [`Machine`]: what a queue is, as plain data and single steps.
//!
//! There is no clock, no lock and no waiting here: each method is one step at a
//! time that it is given. [`MemoryQueue`](crate::MemoryQueue) puts a lock
//! around it; the scripts of the queue on Redis do the same steps, and a model
//! test compares them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;

use super::books::{Books, UsedKey, due};
use super::job::Job;
use crate::time::millis;
use crate::{
    Admission, Cancellation, Claimed, Control, JobId, JobState, NewJob, QueueConfig, Swept, WorkerId,
};

/// The most jobs of one claim, and of one round of tidying.
pub(crate) const MOST_AT_ONCE: usize = 100;

/// How long after it gave up a claim is to look on, in milliseconds.
const LOOK_ON: u64 = 50;

/// The whole queue.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) jobs: HashMap<JobId, Box<Job>, RandomState>,
    pub(super) books: Books,
}

impl Machine {
    pub(super) fn new(config: QueueConfig) -> Self {
        Self { jobs: HashMap::default(), books: Books::new(config) }
    }

    /// A job, unless its time is up.
    pub(super) fn job(&self, id: JobId, now: u64) -> Option<&Job> {
        self.jobs.get(&id).map(AsRef::as_ref).filter(|job| !job.is_gone(now))
    }

    pub(super) fn enqueue(&mut self, new: NewJob, now: u64) -> Admission {
        let id = new.id;
        if let Some(job) = self.job(id, now) {
            return Admission::Duplicate { id, state: job.state };
        }
        if let Some(refusal) = self.known(&new, now).or_else(|| self.refusal(&new, now)) {
            return refusal;
        }
        let books = &mut self.books;
        new.blobs.iter().for_each(|blob| books.blobs.pin(*blob));
        // One of this id whose time is up, and which may have had the same blobs.
        if let Some(old) = self.jobs.remove(&id) {
            books.forget(id, *old);
        }
        let (tenant, language) = (books.tenants.adopt(&new.tenant), books.languages.adopt(&new.language));
        let key = new.idempotency.map(|idempotency| {
            let until = now + millis(books.config.idempotency_ttl);
            let used = UsedKey { job: id, fingerprint: idempotency.fingerprint, until };
            let name = Arc::clone(&books.tenants[tenant].name);
            books.keys.insert((name, idempotency.key.clone()), used);
            idempotency.key
        });
        books.ordinal += 1;
        let job = Job {
            tenant,
            language,
            priority: new.priority,
            payload: new.payload,
            max_run: millis(new.max_run.unwrap_or(books.config.max_run)),
            max_attempts: new.max_attempts.unwrap_or(books.config.max_attempts),
            result_ttl: millis(new.result_ttl.unwrap_or(books.config.result_ttl)),
            expires_at: new.expires_after.map(|after| now + millis(after)),
            trace: new.trace,
            blobs: new.blobs,
            key,
            ordinal: books.ordinal,
            state: JobState::Delayed,
            attempt: 0,
            crashes: 0,
            token: 0,
            settled: 0,
            noted: 0,
            enqueued_at: now,
            ready_since: now,
            started_at: 0,
            finished_at: None,
            until: 0,
            worker: None,
            cancel: false,
            result: None,
            errors: Vec::new(),
            events: Vec::new(),
            event_bytes: 0,
            events_dropped: 0,
        };
        let job = self.jobs.entry(id).or_insert(Box::new(job));
        books.enter(job);
        let delay = millis(new.delay);
        if delay > 0 {
            books.put_off(id, job, now + delay);
            return Admission::Accepted { id, position: None };
        }
        books.make_ready(id, job, now);
        Admission::Accepted { id, position: Some(books.lanes.position(&books.tenants, job)) }
    }

    /// What is known by the job's idempotency key.
    fn known(&self, new: &NewJob, now: u64) -> Option<Admission> {
        let idempotency = new.idempotency.as_ref()?;
        let used = self.books.keys.get(&(Arc::from(new.tenant.as_str()), idempotency.key.clone()))?;
        if used.until <= now {
            return None;
        }
        let job = self.job(used.job, now)?;
        Some(if used.fingerprint == idempotency.fingerprint {
            Admission::Duplicate { id: used.job, state: job.state }
        } else {
            Admission::Conflict { id: used.job }
        })
    }

    /// Why a job can't be taken, if so.
    fn refusal(&self, new: &NewJob, now: u64) -> Option<Admission> {
        if self.books.draining {
            return Some(Admission::Draining);
        }
        self.books.full(&new.tenant).or_else(|| {
            let gone = new.blobs.iter().find(|blob| !self.books.blobs.is_there(**blob, now))?;
            Some(Admission::BlobGone { blob: *gone })
        })
    }

    /// Hands out up to `most` jobs; `real` is when `now` is by the clock of the process.
    pub(super) fn claim(&mut self, worker: &WorkerId, most: usize, now: u64, real: Instant) -> Vec<Claimed> {
        self.promote(now);
        self.reap(now);
        let most = most.min(MOST_AT_ONCE);
        self.books.lanes.gave_up = false;
        if self.books.paused {
            return Vec::new();
        }
        let books = &mut self.books;
        let cap = books.limits.tenant_in_flight.or(books.config.tenant_in_flight).unwrap_or(u64::MAX);
        let (lease, grace) = (millis(books.config.lease), millis(books.config.grace));
        let (mut claimed, mut expired) = (Vec::new(), 0);
        while claimed.len() < most && expired < MOST_AT_ONCE {
            let books = &mut self.books;
            let picked = books.lanes.pick(&mut books.tenants, most - claimed.len(), cap);
            if picked.is_empty() {
                break;
            }
            claimed.reserve(picked.len());
            for id in picked {
                let books = &mut self.books;
                let Some(job) = self.jobs.get_mut(&id) else { continue };
                books.lanes.left(id, job);
                books.leave(job);
                if job.is_late(now) {
                    expired += 1;
                    books.tenants[job.tenant].data.in_flight -= 1;
                    job.fail(super::EXPIRED, now);
                    let oldest = books.end(id, job, JobState::Dead, now);
                    self.forget(oldest);
                    continue;
                }
                job.begin(worker, now, now + lease.min(job.max_run + grace));
                books.leases.insert((job.until, id));
                let (tenant, language) =
                    (&books.tenants[job.tenant].name, &books.languages[job.language].name);
                claimed.push(job.claimed(id, tenant, language, now, real));
            }
        }
        self.books.lanes.gave_up |= expired >= MOST_AT_ONCE;
        claimed
    }

    /// Makes ready what is due.
    pub(super) fn promote(&mut self, now: u64) -> u64 {
        let ids = due(&self.books.delayed, now, MOST_AT_ONCE);
        for id in &ids {
            let Some(job) = self.jobs.get_mut(id) else { continue };
            self.books.delayed.remove(&(job.until, *id));
            self.books.make_ready(*id, job, now);
        }
        ids.len() as u64
    }

    pub(super) fn sweep(&mut self, now: u64) -> Swept {
        let (promoted, reaped) = (self.promote(now), self.reap(now));
        let mut forgotten = 0;
        for drawer in 0..self.books.ended.len() {
            let over = due(&self.books.ended[drawer], now, MOST_AT_ONCE);
            forgotten += over.len() as u64;
            over.into_iter().for_each(|id| self.forget(Some(id)));
        }
        self.books.keys.retain(|_, used| used.until > now);
        self.books.blobs.sweep(now);
        Swept { promoted, reaped, forgotten }
    }

    pub(super) fn cancel(&mut self, id: JobId, now: u64) -> Cancellation {
        let books = &mut self.books;
        let Some(job) = self.jobs.get_mut(&id).filter(|job| !job.is_gone(now)) else {
            return Cancellation::NotFound;
        };
        match job.state {
            JobState::Done | JobState::Dead | JobState::Cancelled => return Cancellation::TooLate,
            JobState::Active => {
                job.cancel = true;
                return Cancellation::Requested;
            }
            JobState::Ready => books.lanes.remove(&mut books.tenants, id, job),
            JobState::Delayed => drop(books.delayed.remove(&(job.until, id))),
        }
        job.cancel = true;
        books.leave(job);
        books.end(id, job, JobState::Cancelled, now);
        Cancellation::Done
    }

    pub(super) fn control(&mut self, control: &Control) {
        let books = &mut self.books;
        match control {
            Control::Pause => books.paused = true,
            Control::Resume => books.paused = false,
            Control::Drain => books.draining = true,
            Control::Open => books.draining = false,
            Control::Limits(limits) => books.limits = *limits,
        }
    }

    /// How long until something happens by itself: a job is due, or a lease runs
    /// out; or until a claim that gave up is to look on.
    pub(super) fn next_change(&self, now: u64) -> Option<u64> {
        if self.books.lanes.gave_up {
            return Some(LOOK_ON);
        }
        let next = [self.books.delayed.first(), self.books.leases.first()];
        next.into_iter().flatten().map(|(at, _)| at.saturating_sub(now)).min()
    }
}
