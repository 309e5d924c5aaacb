//! [`MemoryQueue`]: a queue in the memory of one process.

mod blobs;
mod books;
mod end;
mod job;
mod lanes;
mod machine;
mod names;
mod read;

use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::config::{LONGEST, check_duration};
use crate::time::millis;
use crate::watch::Watchers;
use crate::{
    Admission, Beat, BlobId, Cancellation, Claimed, Clock, Control, Durability, Error, Event, Finished,
    JobId, JobView, Lease, ListQuery, NewEvent, NewJob, Page, Queue, QueueConfig, Result, Settled,
    Settlement, Stats, SteadyClock, Swept, Watch, WorkerId,
};
pub(crate) use end::EXPIRED;
#[cfg(feature = "redis")]
pub(crate) use end::WORKER_LOST;
pub(crate) use machine::MOST_AT_ONCE;
use machine::Machine;
#[cfg(feature = "redis")]
pub(crate) use read::MOST_EVENTS;

/// A queue in the memory of one process. **It is not durable**: what it holds
/// is gone with the process, and [`durability`](Queue::durability) says so.
///
/// It does all that the queue on Redis does, and is the model that that one is
/// tested against. It suits tests, single machines, and applications whose
/// callers submit again after a restart.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> evalx_queue::Result<()> {
/// use std::time::Duration;
/// use evalx_queue::{JobState, MemoryQueue, NewJob, Outcome, Queue, QueueExt, Settlement, WorkerId};
///
/// let queue = MemoryQueue::default();
/// let id = queue.submit(NewJob::new("2 + 2").with_tenant("ada")).await?;
///
/// let worker = WorkerId::unique();
/// let jobs = queue.claim(&worker, 1, Duration::ZERO).await?;
/// assert_eq!(jobs[0].payload, "2 + 2");
/// queue.finish(&worker, vec![Settlement::new(jobs[0].lease, Outcome::done("4"))], 0).await?;
///
/// let job = queue.wait(id, Duration::from_secs(1)).await?;
/// assert_eq!(job.state, JobState::Done);
/// assert_eq!(job.result.as_deref(), Some(&b"4"[..]));
/// # Ok(())
/// # }
/// ```
pub struct MemoryQueue {
    config: QueueConfig,
    machine: Mutex<Machine>,
    clock: Arc<dyn Clock>,
    /// Told when there may be something to claim; whoever claims and leaves some tells on.
    ready: Notify,
    changes: Arc<Watchers>,
    cancellations: Arc<Watchers>,
}

impl MemoryQueue {
    /// An empty queue.
    ///
    /// # Errors
    /// `InvalidRequest` if the configuration makes no sense.
    pub fn new(config: QueueConfig) -> Result<Self> {
        Self::with_clock(config, Arc::new(SteadyClock::new()))
    }

    /// An empty queue that reads its time from `clock`. Only how long a
    /// [`claim`](Queue::claim) waits is real time.
    ///
    /// # Errors
    /// `InvalidRequest` if the configuration makes no sense.
    pub fn with_clock(config: QueueConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        config.check()?;
        Ok(Self::of(config, clock))
    }

    fn of(config: QueueConfig, clock: Arc<dyn Clock>) -> Self {
        Self {
            machine: Mutex::new(Machine::new(config.clone())),
            config,
            clock,
            ready: Notify::new(),
            changes: Arc::default(),
            cancellations: Arc::default(),
        }
    }

    /// The machine, and the time of this step.
    fn step(&self) -> (MutexGuard<'_, Machine>, u64) {
        // A step that panics is a defect of the machine; the others go on.
        let machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        (machine, self.clock.now())
    }

    /// Tells one who waits, if there is something to claim.
    fn tell_ready(&self, machine: &Machine) {
        if machine.books.lanes.count() > 0 {
            self.ready.notify_one();
        }
    }

    fn changed(&self, ids: impl IntoIterator<Item = JobId>) {
        if !self.changes.is_empty() {
            ids.into_iter().for_each(|id| self.changes.wake(id));
        }
    }

    fn claim_now(&self, worker: &WorkerId, most: usize) -> (Vec<Claimed>, Option<u64>) {
        let (mut machine, now) = self.step();
        // Promoted and reaped jobs have changed too; whoever watches them looks again by itself.
        let claimed = machine.claim(worker, most, now, std::time::Instant::now());
        let next = machine.next_change(now);
        if !claimed.is_empty() {
            self.tell_ready(&machine);
        }
        drop(machine);
        self.changed(claimed.iter().map(Claimed::id));
        (claimed, next)
    }
}

impl Default for MemoryQueue {
    /// An empty queue with the default configuration.
    fn default() -> Self {
        Self::of(QueueConfig::default(), Arc::new(SteadyClock::new()))
    }
}

impl fmt::Debug for MemoryQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (machine, _) = self.step();
        f.debug_struct("MemoryQueue")
            .field("jobs", &machine.jobs.len())
            .field("active", &machine.books.leases.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    fn config(&self) -> &QueueConfig {
        &self.config
    }

    fn durability(&self) -> Durability {
        Durability::None
    }

    async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<Admission>> {
        jobs.iter().try_for_each(|job| job.check(&self.config))?;
        let (mut machine, now) = self.step();
        let admissions = jobs.into_iter().map(|job| machine.enqueue(job, now)).collect();
        self.tell_ready(&machine);
        Ok(admissions)
    }

    async fn claim(&self, worker: &WorkerId, most: usize, wait: Duration) -> Result<Vec<Claimed>> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + wait.min(LONGEST);
        loop {
            let mut ready = pin!(self.ready.notified());
            ready.as_mut().enable();
            let (claimed, next) = self.claim_now(worker, most);
            let now = Instant::now();
            if !claimed.is_empty() || now >= deadline {
                return Ok(claimed);
            }
            // Not in a tight loop where a clock stands still.
            let next = next.map_or(LONGEST, |next| Duration::from_millis(next.max(1)));
            tokio::select! {
                () = ready => {}
                () = sleep_until(deadline.min(now + next)) => {}
            }
        }
    }

    async fn finish(&self, worker: &WorkerId, done: Vec<Settlement>, claim: usize) -> Result<Finished> {
        done.iter().try_for_each(|settlement| settlement.check(&self.config))?;
        let watched =
            if self.changes.is_empty() { Vec::new() } else { done.iter().map(|s| s.lease.id).collect() };
        let (mut machine, now) = self.step();
        let settled = done.into_iter().map(|one| machine.settle(one, fastrand::f64, now)).collect();
        let claimed =
            if claim > 0 { machine.claim(worker, claim, now, std::time::Instant::now()) } else { Vec::new() };
        self.tell_ready(&machine);
        drop(machine);
        self.changed(watched.into_iter().chain(claimed.iter().map(Claimed::id)));
        Ok(Finished { settled, claimed })
    }

    async fn heartbeat(&self, leases: &[Lease]) -> Result<Vec<Beat>> {
        let (mut machine, now) = self.step();
        Ok(leases.iter().map(|lease| machine.heartbeat(*lease, now)).collect())
    }

    async fn release(&self, leases: &[Lease]) -> Result<Vec<Settled>> {
        let (mut machine, now) = self.step();
        let settled = leases.iter().map(|lease| machine.release(*lease, now)).collect();
        self.tell_ready(&machine);
        drop(machine);
        self.changed(leases.iter().map(|lease| lease.id));
        Ok(settled)
    }

    async fn emit(&self, lease: &Lease, events: Vec<NewEvent>) -> Result<Settled> {
        NewEvent::check(&events, &self.config)?;
        let (mut machine, now) = self.step();
        let settled = machine.emit(*lease, events, now);
        drop(machine);
        self.changed([lease.id]);
        Ok(settled)
    }

    async fn cancel(&self, id: JobId) -> Result<Cancellation> {
        let (mut machine, now) = self.step();
        let cancellation = machine.cancel(id, now);
        drop(machine);
        self.changed([id]);
        self.cancellations.wake(id);
        Ok(cancellation)
    }

    async fn get(&self, id: JobId) -> Result<Option<JobView>> {
        let (machine, now) = self.step();
        Ok(machine.view(id, now))
    }

    async fn payload(&self, id: JobId) -> Result<Option<Bytes>> {
        let (machine, now) = self.step();
        Ok(machine.payload(id, now))
    }

    async fn events(&self, id: JobId, after: u64) -> Result<Option<Vec<Event>>> {
        let (machine, now) = self.step();
        Ok(machine.events(id, after, now))
    }

    fn watch(&self, id: JobId) -> Watch {
        self.changes.watch(id)
    }

    fn watch_cancellation(&self, id: JobId) -> Watch {
        self.cancellations.watch(id)
    }

    async fn list(&self, query: &ListQuery) -> Result<Page> {
        query.check()?;
        let (machine, now) = self.step();
        Ok(machine.list(query, now))
    }

    async fn requeue(&self, ids: &[JobId]) -> Result<u64> {
        let (mut machine, now) = self.step();
        let requeued = ids.iter().filter(|id| machine.requeue(**id, now)).count();
        self.tell_ready(&machine);
        drop(machine);
        self.changed(ids.iter().copied());
        Ok(requeued as u64)
    }

    async fn remove(&self, ids: &[JobId]) -> Result<u64> {
        let (mut machine, now) = self.step();
        let removed = ids.iter().filter(|id| machine.remove(**id, now)).count();
        drop(machine);
        self.changed(ids.iter().copied());
        Ok(removed as u64)
    }

    async fn control(&self, control: Control) -> Result<()> {
        if let Control::Limits(limits) = &control {
            limits.check()?;
        }
        let (mut machine, _) = self.step();
        machine.control(&control);
        self.tell_ready(&machine);
        Ok(())
    }

    async fn stats(&self) -> Result<Stats> {
        let (machine, now) = self.step();
        Ok(machine.stats(now))
    }

    async fn sweep(&self) -> Result<Swept> {
        let (mut machine, now) = self.step();
        let swept = machine.sweep(now);
        self.tell_ready(&machine);
        Ok(swept)
    }

    async fn put_blob(&self, bytes: Bytes, ttl: Duration) -> Result<BlobId> {
        check_blob(&bytes, ttl, &self.config)?;
        let id = BlobId::new();
        let (mut machine, now) = self.step();
        machine.books.blobs.put(id, bytes, now + millis(ttl));
        Ok(id)
    }

    async fn get_blob(&self, id: BlobId) -> Result<Option<Bytes>> {
        let (machine, now) = self.step();
        Ok(machine.books.blobs.get(id, now).cloned())
    }

    async fn remove_blob(&self, id: BlobId) -> Result<()> {
        let (mut machine, _) = self.step();
        machine.books.blobs.remove(id);
        Ok(())
    }
}

/// Refuses what is too large, or kept too long.
pub(crate) fn check_blob(bytes: &Bytes, ttl: Duration, config: &QueueConfig) -> Result<()> {
    let (size, most) = (bytes.len(), config.max_blob);
    if size > most {
        return Err(Error::invalid(format!("the blob has {size} bytes; at most {most} are allowed")));
    }
    check_duration("the time to keep a blob", ttl, Duration::from_millis(1))
}
