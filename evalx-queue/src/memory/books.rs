//! [`Books`]: all that is kept beside the jobs, by which they are found and counted.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::blobs::Blobs;
use super::job::Job;
use super::lanes::{Lanes, Tenants};
use super::names::Names;
use crate::admission::{Scope, retry_after};
use crate::time::millis;
use crate::{Admission, JobId, JobState, Limits, QueueConfig};

/// An idempotency key that was used.
#[derive(Debug)]
pub(super) struct UsedKey {
    pub(super) job: JobId,
    pub(super) fingerprint: String,
    pub(super) until: u64,
}

/// Jobs by a time, and by their names where that is the same.
pub(super) type ByTime = BTreeSet<(u64, JobId)>;

/// By what jobs are found, and what is counted of them.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) config: QueueConfig,
    pub(super) tenants: Tenants,
    /// How many tenants have jobs that wait.
    pub(super) tenants_waiting: u64,
    /// Languages, and how many of their jobs wait.
    pub(super) languages: Names<u64>,
    pub(super) lanes: Lanes,
    pub(super) leases: ByTime,
    pub(super) delayed: ByTime,
    /// Done, dead and cancelled ones, by until when they are kept.
    pub(super) ended: [ByTime; 3],
    pub(super) keys: HashMap<(Arc<str>, String), UsedKey, RandomState>,
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

/// Where ended jobs of this state are kept in [`Books::ended`].
pub(super) fn drawer(state: JobState) -> Option<usize> {
    match state {
        JobState::Done => Some(0),
        JobState::Dead => Some(1),
        JobState::Cancelled => Some(2),
        JobState::Delayed | JobState::Ready | JobState::Active => None,
    }
}

/// The first so many that are due.
pub(super) fn due(set: &ByTime, now: u64, most: usize) -> Vec<JobId> {
    set.iter().take_while(|(at, _)| *at <= now).take(most).map(|(_, id)| *id).collect()
}

impl Books {
    pub(super) fn new(config: QueueConfig) -> Self {
        Self {
            config,
            tenants: Tenants::default(),
            tenants_waiting: 0,
            languages: Names::default(),
            lanes: Lanes::default(),
            leases: ByTime::new(),
            delayed: ByTime::new(),
            ended: <[ByTime; 3]>::default(),
            keys: HashMap::default(),
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

    /// Why no job of this tenant can be taken, if so.
    pub(super) fn full(&self, tenant: &str) -> Option<Admission> {
        let depth = self.lanes.count() + self.delayed.len() as u64;
        let of_tenant = || self.tenants.get(tenant).map_or(0, |number| self.tenants[number].data.waiting);
        let (scope, depth) = if depth >= self.limits.max_depth.unwrap_or(self.config.max_depth) {
            (Scope::Queue, depth)
        } else {
            let most = self.limits.tenant_depth.or(self.config.tenant_depth)?;
            (Scope::Tenant, Some(of_tenant()).filter(|depth| *depth >= most)?)
        };
        let retry_after = retry_after(depth, self.leases.len() as u64, self.average_run);
        Some(Admission::Full { scope, depth, retry_after })
    }

    /// Counts a job among those that wait.
    pub(super) fn enter(&mut self, job: &Job) {
        let tenant = &mut self.tenants[job.tenant].data;
        self.tenants_waiting += u64::from(tenant.waiting == 0);
        tenant.waiting += 1;
        self.languages[job.language].data += 1;
    }

    /// No longer counts a job among those that wait.
    pub(super) fn leave(&mut self, job: &Job) {
        let tenant = &mut self.tenants[job.tenant].data;
        tenant.waiting -= 1;
        self.tenants_waiting -= u64::from(tenant.waiting == 0);
        self.languages[job.language].data -= 1;
    }

    pub(super) fn make_ready(&mut self, id: JobId, job: &mut Job, now: u64) {
        job.state = JobState::Ready;
        job.ready_since = now;
        self.lanes.insert(&mut self.tenants, id, job);
    }

    pub(super) fn put_off(&mut self, id: JobId, job: &mut Job, until: u64) {
        job.state = JobState::Delayed;
        job.until = until;
        self.delayed.insert((until, id));
    }

    /// Takes a job from its worker.
    pub(super) fn take_back(&mut self, id: JobId, job: &Job) {
        self.leases.remove(&(job.until, id));
        self.tenants[job.tenant].data.in_flight -= 1;
    }

    /// Ends a job that nobody has, and that no longer counts as waiting. Gives
    /// the one that must be forgotten since there are too many dead.
    pub(super) fn end(&mut self, id: JobId, job: &mut Job, state: JobState, now: u64) -> Option<JobId> {
        let drawer = drawer(state)?;
        let ttl = if state == JobState::Dead { millis(self.config.dead_ttl) } else { job.result_ttl };
        job.state = state;
        job.finished_at = Some(now);
        job.until = now + ttl;
        let ended = &mut self.ended[drawer];
        ended.insert((job.until, id));
        let too_many = state == JobState::Dead && ended.len() as u64 > self.config.max_dead;
        ended.first().filter(|_| too_many).map(|(_, oldest)| *oldest)
    }

    /// Ends an attempt that failed, and that is followed by another at `due` if
    /// there may be one. Gives what [`end`](Self::end) gives.
    pub(super) fn fail(
        &mut self,
        id: JobId,
        job: &mut Job,
        event: &'static str,
        error: &str,
        now: u64,
        due: u64,
    ) -> Option<JobId> {
        job.fail(error, now);
        if let Some(state) = job.verdict(self.config.max_crashes, due) {
            return self.end(id, job, state, now);
        }
        job.note(now, job.token, event, error.as_bytes().to_vec());
        self.retries += 1;
        self.enter(job);
        if due <= now {
            self.make_ready(id, job, now);
        } else {
            self.put_off(id, job, due);
        }
        None
    }

    /// Forgets by what a job that has ended is found, with all that is kept of it.
    pub(super) fn forget(&mut self, id: JobId, job: Job) {
        if let Some(drawer) = drawer(job.state) {
            self.ended[drawer].remove(&(job.until, id));
        }
        for blob in job.blobs {
            self.blobs.unpin(blob);
        }
        if let Some(key) = job.key {
            let key = (Arc::clone(&self.tenants[job.tenant].name), key);
            if self.keys.get(&key).is_some_and(|used| used.job == id) {
                self.keys.remove(&key);
            }
        }
        self.tenants.drop_one(job.tenant);
        self.languages.drop_one(job.language);
    }
}
