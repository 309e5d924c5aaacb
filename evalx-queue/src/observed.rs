//! [`Observed`]: a queue that tells the `metrics` facade how it is.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Admission, Beat, BlobId, Cancellation, Claimed, Control, Durability, Event, Finished, JobId, JobView,
    Lease, ListQuery, NewEvent, NewJob, Page, Queue, QueueConfig, Result, Settled, Settlement, Stats, Swept,
    Watch, WorkerId,
};

/// A queue that tells the `metrics` facade how it is.
///
/// | Metric | What it is |
/// |---|---|
/// | `evalx_queue_depth{language}` | jobs that wait; rises when one is enqueued here, falls when one is claimed here, and is exact after [`refresh`](Self::refresh) |
/// | `evalx_queue_ready`, `_delayed`, `_active`, `_dead` | jobs in those states, at the last refresh |
/// | `evalx_queue_oldest_seconds` | since when the oldest ready job waits, at the last refresh |
/// | `evalx_queue_enqueued_total{result}` | what became of jobs that were to be enqueued |
///
/// [`Worker`](crate::Worker)s add `evalx_queue_wait_seconds{language}`,
/// `evalx_queue_jobs_total{outcome}`, `evalx_queue_retries_total` and
/// `evalx_queue_leases_lost_total`.
///
/// Where several processes share a queue, each knows only what it did itself
/// until it is refreshed: an exporter refreshes before it is read.
pub struct Observed<Q> {
    queue: Q,
    /// Those whose depth was told, and so has to be told to be zero.
    languages: Mutex<BTreeSet<String>>,
}

impl<Q: Queue> Observed<Q> {
    /// `queue`, observed.
    pub fn new(queue: Q) -> Self {
        Self { queue, languages: Mutex::default() }
    }

    /// The queue itself.
    pub fn inner(&self) -> &Q {
        &self.queue
    }

    /// Tells the figures of the whole queue, as they are now.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn refresh(&self) -> Result<Stats> {
        let stats = self.queue.stats().await?;
        let mut languages = self.languages.lock().unwrap_or_else(PoisonError::into_inner);
        languages.extend(stats.depth_by_language.keys().cloned());
        for language in languages.iter() {
            let depth = stats.depth_by_language.get(language).copied().unwrap_or_default();
            depth_of(language).set(float(depth));
        }
        drop(languages);
        metrics::gauge!("evalx_queue_ready").set(float(stats.ready));
        metrics::gauge!("evalx_queue_delayed").set(float(stats.delayed));
        metrics::gauge!("evalx_queue_active").set(float(stats.active));
        metrics::gauge!("evalx_queue_dead").set(float(stats.dead));
        metrics::gauge!("evalx_queue_oldest_seconds").set(stats.oldest_ready.as_secs_f64());
        Ok(stats)
    }

    fn know(&self, language: &str) {
        let mut languages = self.languages.lock().unwrap_or_else(PoisonError::into_inner);
        if !languages.contains(language) {
            languages.insert(language.to_owned());
        }
    }

    fn tell_enqueued(&self, languages: &[String], admissions: &[Admission]) {
        for (language, admission) in languages.iter().zip(admissions) {
            let result = match admission {
                Admission::Accepted { .. } => {
                    self.know(language);
                    depth_of(language).increment(1.0);
                    "accepted"
                }
                Admission::Duplicate { .. } => "duplicate",
                Admission::Conflict { .. } => "conflict",
                Admission::Full { .. } => "full",
                Admission::BlobGone { .. } => "blob_gone",
                Admission::Draining => "draining",
            };
            metrics::counter!("evalx_queue_enqueued_total", "result" => result).increment(1);
        }
    }

    fn tell_claimed(&self, jobs: &[Claimed]) {
        for job in jobs {
            self.know(&job.language);
            depth_of(&job.language).decrement(1.0);
        }
    }
}

fn depth_of(language: &str) -> metrics::Gauge {
    metrics::gauge!("evalx_queue_depth", "language" => language.to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "no queue holds 2^53 jobs")]
fn float(count: u64) -> f64 {
    count as f64
}

impl<Q: fmt::Debug> fmt::Debug for Observed<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observed").field(&self.queue).finish()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<Q: Queue> Queue for Observed<Q> {
    fn config(&self) -> &QueueConfig {
        self.queue.config()
    }

    fn durability(&self) -> Durability {
        self.queue.durability()
    }

    async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<Admission>> {
        let languages: Vec<_> = jobs.iter().map(|job| job.language.clone()).collect();
        let admissions = self.queue.enqueue(jobs).await?;
        self.tell_enqueued(&languages, &admissions);
        Ok(admissions)
    }

    async fn claim(&self, worker: &WorkerId, most: usize, wait: Duration) -> Result<Vec<Claimed>> {
        let claimed = self.queue.claim(worker, most, wait).await?;
        self.tell_claimed(&claimed);
        Ok(claimed)
    }

    async fn finish(&self, worker: &WorkerId, done: Vec<Settlement>, claim: usize) -> Result<Finished> {
        let finished = self.queue.finish(worker, done, claim).await?;
        self.tell_claimed(&finished.claimed);
        Ok(finished)
    }

    async fn heartbeat(&self, leases: &[Lease]) -> Result<Vec<Beat>> {
        self.queue.heartbeat(leases).await
    }

    async fn release(&self, leases: &[Lease]) -> Result<Vec<Settled>> {
        self.queue.release(leases).await
    }

    async fn emit(&self, lease: &Lease, events: Vec<NewEvent>) -> Result<Settled> {
        self.queue.emit(lease, events).await
    }

    async fn cancel(&self, id: JobId) -> Result<Cancellation> {
        self.queue.cancel(id).await
    }

    async fn get(&self, id: JobId) -> Result<Option<JobView>> {
        self.queue.get(id).await
    }

    async fn payload(&self, id: JobId) -> Result<Option<Bytes>> {
        self.queue.payload(id).await
    }

    async fn events(&self, id: JobId, after: u64) -> Result<Option<Vec<Event>>> {
        self.queue.events(id, after).await
    }

    fn watch(&self, id: JobId) -> Watch {
        self.queue.watch(id)
    }

    fn watch_cancellation(&self, id: JobId) -> Watch {
        self.queue.watch_cancellation(id)
    }

    async fn list(&self, query: &ListQuery) -> Result<Page> {
        self.queue.list(query).await
    }

    async fn requeue(&self, ids: &[JobId]) -> Result<u64> {
        self.queue.requeue(ids).await
    }

    async fn remove(&self, ids: &[JobId]) -> Result<u64> {
        self.queue.remove(ids).await
    }

    async fn control(&self, control: Control) -> Result<()> {
        self.queue.control(control).await
    }

    async fn stats(&self) -> Result<Stats> {
        self.queue.stats().await
    }

    async fn sweep(&self) -> Result<Swept> {
        self.queue.sweep().await
    }

    async fn put_blob(&self, bytes: Bytes, ttl: Duration) -> Result<BlobId> {
        self.queue.put_blob(bytes, ttl).await
    }

    async fn get_blob(&self, id: BlobId) -> Result<Option<Bytes>> {
        self.queue.get_blob(id).await
    }

    async fn remove_blob(&self, id: BlobId) -> Result<()> {
        self.queue.remove_blob(id).await
    }
}
