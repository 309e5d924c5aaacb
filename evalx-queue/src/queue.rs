//! [`Queue`]: the contract of a queue.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Admission, Beat, BlobId, Cancellation, Claimed, Control, Durability, Event, Finished, JobId, JobView,
    Lease, ListQuery, NewEvent, NewJob, Page, QueueConfig, Result, Settled, Settlement, Stats, Swept, Watch,
    WorkerId,
};

/// A queue that is shared.
pub type DynQueue = Arc<dyn Queue>;

/// A queue of jobs that loses none.
///
/// # For callers
///
/// A job for which [`enqueue`](Self::enqueue) answered `Accepted` will be run,
/// or end among the dead with a reason. It may be begun more than once, if its
/// worker is lost; it has one result. [`QueueExt`](crate::QueueExt) has the
/// conveniences, and [`Worker`](crate::Worker) does all that a worker must.
///
/// # For implementors
///
/// | From | To | When |
/// |---|---|---|
/// | none | ready, or delayed | `enqueue`, of a job without a delay or with one |
/// | delayed | ready | it is due |
/// | ready | active | `claim` |
/// | ready | dead | `claim`, if it has expired by then |
/// | active | done | `finish`: it ran |
/// | active | delayed | `finish`: it is to be tried again, later |
/// | active | ready | `release`, the loss of its worker, or a retry without a delay |
/// | active | dead | `finish`: no attempt can do better. Or it failed or lost its worker, and this was its last attempt, it has lost `max_crashes` workers, or it would have expired by the next |
/// | active | cancelled | `finish`: it was stopped as asked. Or it is to be cancelled, and failed, was released or lost its worker |
/// | ready, delayed | cancelled | `cancel`, which of one that is active is told to its worker |
/// | dead | ready | `requeue` |
/// | done, dead, cancelled | none | `remove`; it was kept long enough, or too many were dead |
///
/// - Each call is one step: it happens wholly or not at all, and in some order
///   with all others. One that is about many jobs may be several, of whole jobs:
///   `RedisQueue` makes one of each 100, or of each 4 MiB of payloads.
/// - Each call may be repeated, since its answer may have been lost: the second
///   time changes nothing and answers the same, but that what is counted is only
///   what it changed itself. So ids are made by who enqueues, and a claim that is
///   repeated by the implementation gets the same jobs.
/// - A lease is the only proof of ownership. What comes by a token that is not
///   the job's last, or after the job was settled by another call, is
///   [`Settled::Stale`] and changes nothing.
/// - Time is the queue's own, never the caller's.
///
/// `evalx-testkit` has the suite that decides whether something is a queue.
///
/// # Cancel safety
///
/// The future of any method may be dropped. What it had begun happens or
/// doesn't; jobs that a dropped [`claim`](Self::claim) or
/// [`finish`](Self::finish) would have brought are handed back.
#[async_trait]
pub trait Queue: fmt::Debug + Send + Sync + 'static {
    /// What holds for every job.
    fn config(&self) -> &QueueConfig;

    /// What an accepted job survives.
    fn durability(&self) -> Durability;

    /// Puts jobs in; the answers are in the order of the jobs.
    ///
    /// Each job is taken or refused by itself.
    ///
    /// # Errors
    /// `InvalidRequest` if a job makes no sense: then none was taken.
    /// `Unavailable` if the queue can't be reached: then it is unknown which
    /// were taken, and the same call with the same jobs may be repeated.
    async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<Admission>>;

    /// Takes up to `most` jobs, and waits up to `wait` for the first.
    ///
    /// Take only as many as can be started now: a lease is running for each.
    ///
    /// # Errors
    /// `Unavailable`. That there are no jobs is none.
    async fn claim(&self, worker: &WorkerId, most: usize, wait: Duration) -> Result<Vec<Claimed>>;

    /// Gives jobs back, and takes up to `claim` others in the same step.
    ///
    /// # Errors
    /// `InvalidRequest` if an outcome is too large: then none was settled.
    /// `Unavailable`: then the same call may be repeated.
    async fn finish(&self, worker: &WorkerId, done: Vec<Settlement>, claim: usize) -> Result<Finished>;

    /// Renews leases, and brings back what their worker must know.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn heartbeat(&self, leases: &[Lease]) -> Result<Vec<Beat>>;

    /// Hands jobs back that are to be begun anew by somebody else: the attempt
    /// doesn't count, and they come before those that were enqueued later.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn release(&self, leases: &[Lease]) -> Result<Vec<Settled>>;

    /// Tells events of a running job, for those who follow it.
    ///
    /// # Errors
    /// `InvalidRequest` if they are too many or too large, `Unavailable`.
    async fn emit(&self, lease: &Lease, events: Vec<NewEvent>) -> Result<Settled>;

    /// Cancels a job: at once if it waits, through its worker if it runs.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn cancel(&self, id: JobId) -> Result<Cancellation>;

    /// A job as it is now.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn get(&self, id: JobId) -> Result<Option<JobView>>;

    /// What was enqueued, as long as the job is known.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn payload(&self, id: JobId) -> Result<Option<Bytes>>;

    /// The events of a job whose number is greater than `after`, up to a
    /// thousand; `None` if there is no such job.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn events(&self, id: JobId, after: u64) -> Result<Option<Vec<Event>>>;

    /// Begins to watch a job: any change of its state, and any event.
    fn watch(&self, id: JobId) -> Watch;

    /// Begins to watch for a wish to cancel a job: what its worker needs, at
    /// far less traffic than [`watch`](Self::watch). A hint that makes a
    /// cancellation quick; the heartbeat brings it in any case.
    fn watch_cancellation(&self, id: JobId) -> Watch;

    /// A page of the jobs in one state.
    ///
    /// # Errors
    /// `InvalidRequest` for a limit out of range, `Unavailable`.
    async fn list(&self, query: &ListQuery) -> Result<Page>;

    /// Puts dead jobs back, as if they had just been enqueued; gives how many.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn requeue(&self, ids: &[JobId]) -> Result<u64>;

    /// Forgets jobs that have ended, with all that is kept of them; gives how
    /// many. Jobs that have not ended stay.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn remove(&self, ids: &[JobId]) -> Result<u64>;

    /// Changes what all processes that share the queue do.
    ///
    /// # Errors
    /// `InvalidRequest` for limits out of range, `Unavailable`.
    async fn control(&self, control: Control) -> Result<()>;

    /// Figures of the queue.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn stats(&self) -> Result<Stats>;

    /// Tidies a little: promotes what is due, takes back what lost workers had,
    /// forgets what was kept long enough. Bounded, so that it is quick;
    /// [`Worker`](crate::Worker)s do it all the time.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn sweep(&self) -> Result<Swept>;

    /// Keeps something that is too large for a job, for so long, or longer if
    /// a job needs it.
    ///
    /// # Errors
    /// `InvalidRequest` if it is larger than allowed, `Unavailable`.
    async fn put_blob(&self, bytes: Bytes, ttl: Duration) -> Result<BlobId>;

    /// What was kept; `None` if it is gone.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn get_blob(&self, id: BlobId) -> Result<Option<Bytes>>;

    /// Forgets a blob.
    ///
    /// # Errors
    /// `Unavailable`.
    async fn remove_blob(&self, id: BlobId) -> Result<()>;
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Queue + ?Sized> Queue for $pointer {
            fn config(&self) -> &QueueConfig {
                (**self).config()
            }
            fn durability(&self) -> Durability {
                (**self).durability()
            }
            async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<Admission>> {
                (**self).enqueue(jobs).await
            }
            async fn claim(&self, worker: &WorkerId, most: usize, wait: Duration) -> Result<Vec<Claimed>> {
                (**self).claim(worker, most, wait).await
            }
            async fn finish(&self, worker: &WorkerId, done: Vec<Settlement>, claim: usize) -> Result<Finished> {
                (**self).finish(worker, done, claim).await
            }
            async fn heartbeat(&self, leases: &[Lease]) -> Result<Vec<Beat>> {
                (**self).heartbeat(leases).await
            }
            async fn release(&self, leases: &[Lease]) -> Result<Vec<Settled>> {
                (**self).release(leases).await
            }
            async fn emit(&self, lease: &Lease, events: Vec<NewEvent>) -> Result<Settled> {
                (**self).emit(lease, events).await
            }
            async fn cancel(&self, id: JobId) -> Result<Cancellation> {
                (**self).cancel(id).await
            }
            async fn get(&self, id: JobId) -> Result<Option<JobView>> {
                (**self).get(id).await
            }
            async fn payload(&self, id: JobId) -> Result<Option<Bytes>> {
                (**self).payload(id).await
            }
            async fn events(&self, id: JobId, after: u64) -> Result<Option<Vec<Event>>> {
                (**self).events(id, after).await
            }
            fn watch(&self, id: JobId) -> Watch {
                (**self).watch(id)
            }
            fn watch_cancellation(&self, id: JobId) -> Watch {
                (**self).watch_cancellation(id)
            }
            async fn list(&self, query: &ListQuery) -> Result<Page> {
                (**self).list(query).await
            }
            async fn requeue(&self, ids: &[JobId]) -> Result<u64> {
                (**self).requeue(ids).await
            }
            async fn remove(&self, ids: &[JobId]) -> Result<u64> {
                (**self).remove(ids).await
            }
            async fn control(&self, control: Control) -> Result<()> {
                (**self).control(control).await
            }
            async fn stats(&self) -> Result<Stats> {
                (**self).stats().await
            }
            async fn sweep(&self) -> Result<Swept> {
                (**self).sweep().await
            }
            async fn put_blob(&self, bytes: Bytes, ttl: Duration) -> Result<BlobId> {
                (**self).put_blob(bytes, ttl).await
            }
            async fn get_blob(&self, id: BlobId) -> Result<Option<Bytes>> {
                (**self).get_blob(id).await
            }
            async fn remove_blob(&self, id: BlobId) -> Result<()> {
                (**self).remove_blob(id).await
            }
        }
    )*};
}

forward!(Arc<T>, Box<T>);

const _: () = {
    const fn assert_send_sync<T: Send + Sync + 'static + ?Sized>() {}
    assert_send_sync::<dyn Queue>();
};
