//! [`Machine`]: what a queue is, as plain data and single steps.
//!
//! There is no clock, no lock and no waiting here: each method is one step at a
//! time that it is given. [`MemoryQueue`](crate::MemoryQueue) puts a lock
//! around it; the scripts of the queue on Redis do the same steps, and a model
//! test compares them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::blobs::Blobs;
use super::lanes::{Lanes, Place};
use crate::admission::{Scope, retry_after};
use crate::time::millis;
use crate::{
    Admission, AttemptError, BlobId, Cancellation, Claimed, Control, JobId, JobState, Lease, Limits, NewJob,
    Priority, QueueConfig, Swept, Timestamp, WorkerId,
};

/// The most jobs of one claim, and of one round of tidying.
pub(crate) const MOST_AT_ONCE: usize = 100;

/// Everything that is known of one job.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) tenant: Arc<str>,
    pub(super) language: Arc<str>,
    pub(super) priority: Priority,
    pub(super) payload: Bytes,
    pub(super) max_run: u64,
    pub(super) max_attempts: u32,
    pub(super) result_ttl: u64,
    pub(super) expires_at: Option<u64>,
    pub(super) trace: Option<String>,
    pub(super) blobs: Vec<BlobId>,
    pub(super) key: Option<String>,
    pub(super) ordinal: u64,
    pub(super) state: JobState,
    pub(super) attempt: u32,
    pub(super) crashes: u32,
    pub(super) token: u64,
    /// The token by which it was last settled, so that a repeat is known.
    pub(super) settled: u64,
    pub(super) enqueued_at: u64,
    pub(super) ready_since: u64,
    pub(super) started_at: Option<u64>,
    pub(super) finished_at: Option<u64>,
    /// Until when the lease holds, the job is put off, or it is kept: by its state.
    pub(super) until: u64,
    pub(super) worker: Option<WorkerId>,
    pub(super) cancel: bool,
    pub(super) result: Option<Bytes>,
    pub(super) errors: Vec<AttemptError>,
    pub(super) events: Vec<(u64, u64, String, Bytes)>,
    pub(super) event_bytes: u64,
    pub(super) events_dropped: u64,
}

impl Job {
    pub(super) fn place(&self) -> Place {
        Place {
            level: self.priority.level(),
            tenant: Arc::clone(&self.tenant),
            ordinal: self.ordinal,
            since: self.ready_since,
        }
    }

    pub(super) fn is_gone(&self, now: u64) -> bool {
        self.state.is_terminal() && self.until <= now
    }

    /// Notes an event of the queue's own.
    pub(super) fn note(&mut self, at: u64, name: &str, data: impl Into<Bytes>) {
        self.events.push((at, self.token, name.to_owned(), data.into()));
    }
}

/// An idempotency key that was used.
#[derive(Debug)]
pub(super) struct UsedKey {
    pub(super) job: JobId,
    pub(super) fingerprint: String,
    pub(super) until: u64,
}

/// The whole queue.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) config: QueueConfig,
    pub(super) jobs: HashMap<JobId, Job>,
    pub(super) lanes: Lanes,
    pub(super) leases: BTreeSet<(u64, JobId)>,
    pub(super) delayed: BTreeSet<(u64, JobId)>,
    /// Done, dead and cancelled ones, by until when they are kept.
    pub(super) ended: [BTreeSet<(u64, JobId)>; 3],
    pub(super) depth_by_language: BTreeMap<Arc<str>, u64>,
    pub(super) waiting_by_tenant: HashMap<Arc<str>, u64>,
    pub(super) in_flight_by_tenant: HashMap<Arc<str>, u64>,
    pub(super) keys: HashMap<(Arc<str>, String), UsedKey>,
    pub(super) blobs: Blobs,
    pub(super) limits: Limits,
    pub(super) paused: bool,
    pub(super) draining: bool,
    pub(super) ordinal: u64,
    pub(super) average_run: u64,
    pub(super) retries: u64,
    pub(super) crashes: u64,
    pub(super) completed: u64,
}

/// Where ended jobs of this state are kept in [`Machine::ended`].
pub(super) fn drawer(state: JobState) -> Option<usize> {
    match state {
        JobState::Done => Some(0),
        JobState::Dead => Some(1),
        JobState::Cancelled => Some(2),
        JobState::Delayed | JobState::Ready | JobState::Active => None,
    }
}

fn raise<K: std::hash::Hash + Eq + Clone>(counts: &mut HashMap<K, u64>, key: &K) {
    match counts.get_mut(key) {
        Some(count) => *count += 1,
        None => drop(counts.insert(key.clone(), 1)),
    }
}

fn lower<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u64>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Machine {
    pub(super) fn new(config: QueueConfig) -> Self {
        Self {
            config,
            jobs: HashMap::new(),
            lanes: Lanes::default(),
            leases: BTreeSet::new(),
            delayed: BTreeSet::new(),
            ended: [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()],
            depth_by_language: BTreeMap::new(),
            waiting_by_tenant: HashMap::new(),
            in_flight_by_tenant: HashMap::new(),
            keys: HashMap::new(),
            blobs: Blobs::default(),
            limits: Limits::default(),
            paused: false,
            draining: false,
            ordinal: 0,
            average_run: 0,
            retries: 0,
            crashes: 0,
            completed: 0,
        }
    }

    pub(super) fn job(&self, id: JobId, now: u64) -> Option<&Job> {
        self.jobs.get(&id).filter(|job| !job.is_gone(now))
    }

    pub(super) fn enqueue(&mut self, new: NewJob, now: u64) -> Admission {
        let id = new.id;
        if let Some(job) = self.job(id, now) {
            return Admission::Duplicate { id, state: job.state };
        }
        let tenant: Arc<str> = self.name(&new.tenant);
        if let Some(admission) = self.known(&tenant, &new, now) {
            return admission;
        }
        if self.draining {
            return Admission::Draining;
        }
        if let Some(full) = self.full(&tenant) {
            return full;
        }
        if let Some(blob) = new.blobs.iter().find(|blob| !self.blobs.is_there(**blob, now)) {
            return Admission::BlobGone { blob: *blob };
        }
        new.blobs.iter().for_each(|blob| self.blobs.pin(*blob));
        // One of this id whose time is up, and which may have had the same blobs.
        self.forget(id);
        let language = self.label(&new.language);
        let key = new.idempotency.map(|idempotency| {
            let until = now + millis(self.config.idempotency_ttl);
            let used = UsedKey { job: id, fingerprint: idempotency.fingerprint, until };
            self.keys.insert((Arc::clone(&tenant), idempotency.key.clone()), used);
            idempotency.key
        });
        self.ordinal += 1;
        let job = Job {
            tenant,
            language,
            priority: new.priority,
            payload: new.payload,
            max_run: millis(new.max_run.unwrap_or(self.config.max_run)),
            max_attempts: new.max_attempts.unwrap_or(self.config.max_attempts),
            result_ttl: millis(new.result_ttl.unwrap_or(self.config.result_ttl)),
            expires_at: new.expires_after.map(|after| now + millis(after)),
            trace: new.trace,
            blobs: new.blobs,
            key,
            ordinal: self.ordinal,
            state: JobState::Delayed,
            attempt: 0,
            crashes: 0,
            token: 0,
            settled: 0,
            enqueued_at: now,
            ready_since: now,
            started_at: None,
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
        self.jobs.insert(id, job);
        self.enter(id);
        let delay = millis(new.delay);
        if delay > 0 {
            self.put_off(id, now + delay);
            return Admission::Accepted { id, position: None };
        }
        self.make_ready(id, now);
        let position = self.jobs.get(&id).map(|job| self.lanes.position(&job.place()));
        Admission::Accepted { id, position }
    }

    /// What is known by the job's idempotency key.
    fn known(&self, tenant: &Arc<str>, new: &NewJob, now: u64) -> Option<Admission> {
        let idempotency = new.idempotency.as_ref()?;
        let used = self.keys.get(&(Arc::clone(tenant), idempotency.key.clone()))?;
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

    fn full(&self, tenant: &Arc<str>) -> Option<Admission> {
        let depth = self.lanes.count() + self.delayed.len() as u64;
        let of_tenant = self.waiting_by_tenant.get(tenant).copied().unwrap_or_default();
        let tenant_most = self.limits.tenant_depth.or(self.config.tenant_depth).unwrap_or(u64::MAX);
        let (scope, depth) = if depth >= self.limits.max_depth.unwrap_or(self.config.max_depth) {
            (Scope::Queue, depth)
        } else if of_tenant >= tenant_most {
            (Scope::Tenant, of_tenant)
        } else {
            return None;
        };
        let retry_after = retry_after(depth, self.leases.len() as u64, self.average_run);
        Some(Admission::Full { scope, depth, retry_after })
    }

    /// One allocation for all jobs of a tenant.
    fn name(&self, tenant: &str) -> Arc<str> {
        self.waiting_by_tenant
            .get_key_value(tenant)
            .map_or_else(|| tenant.into(), |(name, _)| Arc::clone(name))
    }

    fn label(&self, language: &str) -> Arc<str> {
        let known = self.depth_by_language.get_key_value(language);
        known.map_or_else(|| language.into(), |(label, _)| Arc::clone(label))
    }

    /// Counts a job among those that wait.
    pub(super) fn enter(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        raise(&mut self.waiting_by_tenant, &job.tenant);
        *self.depth_by_language.entry(Arc::clone(&job.language)).or_default() += 1;
    }

    /// No longer counts a job among those that wait.
    pub(super) fn leave(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        lower(&mut self.waiting_by_tenant, &job.tenant);
        if let Some(depth) = self.depth_by_language.get_mut(&job.language) {
            *depth -= 1;
            if *depth == 0 {
                self.depth_by_language.remove(&job.language);
            }
        }
    }

    /// Takes a job from its worker.
    pub(super) fn take_back(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        self.leases.remove(&(job.until, id));
        lower(&mut self.in_flight_by_tenant, &job.tenant);
    }

    pub(super) fn put_off(&mut self, id: JobId, until: u64) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.state = JobState::Delayed;
        job.until = until;
        self.delayed.insert((until, id));
    }

    pub(super) fn make_ready(&mut self, id: JobId, now: u64) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.state = JobState::Ready;
        job.ready_since = now;
        let place = job.place();
        self.lanes.insert(&place, id);
    }

    /// Hands out up to `most` jobs; `real` is when `now` is by the clock of the process.
    pub(super) fn claim(&mut self, worker: &WorkerId, most: usize, now: u64, real: Instant) -> Vec<Claimed> {
        self.promote(now);
        self.reap(now);
        let mut claimed = Vec::with_capacity(most.min(MOST_AT_ONCE));
        if self.paused {
            return claimed;
        }
        let cap = self.limits.tenant_in_flight.or(self.config.tenant_in_flight).unwrap_or(u64::MAX);
        let mut expired = 0;
        while claimed.len() < most.min(MOST_AT_ONCE) && expired < MOST_AT_ONCE {
            let in_flight = &self.in_flight_by_tenant;
            let may = |tenant: &str| in_flight.get(tenant).is_none_or(|count| *count < cap);
            let Some(id) = self.lanes.pop(may) else { break };
            let Some(job) = self.jobs.get(&id) else { continue };
            self.lanes.left(job.priority.level(), job.ready_since, id);
            let is_late = job.expires_at.is_some_and(|at| at <= now);
            self.leave(id);
            if is_late {
                self.end_expired(id, now);
                expired += 1;
            } else {
                claimed.extend(self.begin(id, worker, now, real));
            }
        }
        claimed
    }

    fn begin(&mut self, id: JobId, worker: &WorkerId, now: u64, real: Instant) -> Option<Claimed> {
        let lease = millis(self.config.lease);
        let grace = millis(self.config.grace);
        let job = self.jobs.get_mut(&id)?;
        job.state = JobState::Active;
        job.attempt += 1;
        job.token += 1;
        job.started_at = Some(now);
        job.until = now + lease.min(job.max_run + grace);
        job.worker = Some(worker.clone());
        job.note(now, "started", Bytes::new());
        raise(&mut self.in_flight_by_tenant, &job.tenant);
        self.leases.insert((job.until, id));
        Some(Claimed {
            lease: Lease { id, token: job.token },
            valid_until: real + Duration::from_millis(job.until.saturating_sub(now)),
            tenant: job.tenant.as_ref().to_owned(),
            language: job.language.as_ref().to_owned(),
            priority: job.priority,
            payload: job.payload.clone(),
            attempt: job.attempt,
            crashes: job.crashes,
            max_run: Duration::from_millis(job.max_run),
            result_ttl: Duration::from_millis(job.result_ttl),
            enqueued_at: Timestamp::from_millis(job.enqueued_at),
            waited: Duration::from_millis(now.saturating_sub(job.ready_since)),
            trace: job.trace.clone(),
            blobs: job.blobs.clone(),
        })
    }

    /// Makes ready what is due.
    pub(super) fn promote(&mut self, now: u64) -> u64 {
        let due = |(at, _): &(u64, JobId)| *at <= now;
        let ids: Vec<_> =
            self.delayed.iter().take_while(|entry| due(entry)).take(MOST_AT_ONCE).copied().collect();
        for entry in &ids {
            self.delayed.remove(entry);
            self.make_ready(entry.1, now);
        }
        ids.len() as u64
    }

    pub(super) fn sweep(&mut self, now: u64) -> Swept {
        let (promoted, reaped) = (self.promote(now), self.reap(now));
        let over = |(until, _): &(u64, JobId)| *until <= now;
        let mut forgotten = 0;
        for state in 0..self.ended.len() {
            let entries = self.ended[state].iter().take_while(|entry| over(entry)).take(MOST_AT_ONCE);
            for (_, id) in entries.copied().collect::<Vec<_>>() {
                self.forget(id);
                forgotten += 1;
            }
        }
        self.keys.retain(|_, used| used.until > now);
        self.blobs.sweep(now);
        Swept { promoted, reaped, forgotten }
    }

    pub(super) fn cancel(&mut self, id: JobId, now: u64) -> Cancellation {
        let Some(job) = self.job(id, now) else { return Cancellation::NotFound };
        let (state, until, place) = (job.state, job.until, job.place());
        match state {
            JobState::Done | JobState::Dead | JobState::Cancelled => return Cancellation::TooLate,
            JobState::Ready => self.lanes.remove(&place, id),
            JobState::Delayed => drop(self.delayed.remove(&(until, id))),
            JobState::Active => {}
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            job.cancel = true;
        }
        if state == JobState::Active {
            return Cancellation::Requested;
        }
        self.leave(id);
        self.end(id, JobState::Cancelled, now);
        Cancellation::Done
    }

    pub(super) fn control(&mut self, control: &Control) {
        match control {
            Control::Pause => self.paused = true,
            Control::Resume => self.paused = false,
            Control::Drain => self.draining = true,
            Control::Open => self.draining = false,
            Control::Limits(limits) => self.limits = *limits,
        }
    }

    /// How long until something happens by itself: a job is due, or a lease runs out.
    pub(super) fn next_change(&self, now: u64) -> Option<u64> {
        let next = [self.delayed.first(), self.leases.first()];
        next.into_iter().flatten().map(|(at, _)| at.saturating_sub(now)).min()
    }
}
