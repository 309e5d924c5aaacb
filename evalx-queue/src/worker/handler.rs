//! [`Handler`]: what runs a job; and what it gets along with it.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::config::LONGEST;
use crate::{BlobId, Claimed, DynQueue, Lease, NewEvent, Outcome, Result, Settled};

/// What runs a job.
///
/// The future is dropped when the job is no longer its worker's, when it has
/// run too long, and when it is cancelled. Whatever the job started must end
/// with it, as a session of a sandbox does. What it writes elsewhere should
/// carry the token of [`JobContext::lease`], since another worker may have the
/// job by then.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Runs a job to its end, and says how it went.
    ///
    /// A panic is caught, and counts as [`Outcome::Retry`].
    async fn handle(&self, job: Claimed, context: JobContext) -> Outcome;
}

/// What a handler can do about its job while it runs.
#[derive(Clone)]
pub struct JobContext {
    queue: DynQueue,
    lease: Lease,
    /// Until the job is settled, and the blob is its result's.
    blob_ttl: Duration,
    cancelled: watch::Receiver<bool>,
    at_end: Arc<Mutex<Vec<NewEvent>>>,
}

impl JobContext {
    pub(super) fn new(queue: DynQueue, job: &Claimed, cancelled: watch::Receiver<bool>) -> Self {
        let blob_ttl = (job.max_run + queue.config().grace).min(LONGEST);
        Self { queue, lease: job.lease, blob_ttl, cancelled, at_end: Arc::default() }
    }

    /// Takes what is to be told with the end of the job.
    pub(super) fn take_at_end(&self) -> Vec<NewEvent> {
        std::mem::take(&mut self.at_end.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The proof that the job is this worker's.
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.lease
    }

    /// The queue that the job is from.
    #[must_use]
    pub fn queue(&self) -> &DynQueue {
        &self.queue
    }

    /// Tells those who follow the job of an event.
    ///
    /// # Errors
    /// `InvalidRequest` for a name or a size that is not allowed, `Unavailable`.
    pub async fn emit(&self, name: &str, data: impl Into<Bytes> + Send) -> Result<Settled> {
        let event = NewEvent::new(name, data)?;
        self.queue.emit(&self.lease, vec![event]).await
    }

    /// Tells those who follow the job of events, in the same step as of its end:
    /// that costs no call, and who sees the end has seen them. At most
    /// [`NewEvent::MOST`] all told; with more, or with one that is too large, the
    /// job is rejected.
    pub fn emit_at_end(&self, events: Vec<NewEvent>) {
        self.at_end.lock().unwrap_or_else(PoisonError::into_inner).extend(events);
    }

    /// Keeps something that is too large for a result, as long as the result:
    /// name it in [`Outcome::Done`].
    ///
    /// # Errors
    /// `InvalidRequest` if it is larger than allowed, `Unavailable`.
    pub async fn put_blob(&self, bytes: Bytes) -> Result<BlobId> {
        self.queue.put_blob(bytes, self.blob_ttl).await
    }

    /// Waits until somebody asks for the job to be cancelled. The handler then
    /// has the worker's `cancel_grace` to end by itself.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn cancelled(&mut self) {
        if self.cancelled.wait_for(|cancelled| *cancelled).await.is_err() {
            // The worker is gone, and this future will be too.
            std::future::pending::<()>().await;
        }
    }
}

impl fmt::Debug for JobContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobContext").field("lease", &self.lease).finish_non_exhaustive()
    }
}

/// A handler made of a function.
struct Function<F>(F);

/// A handler that calls `run` for each job.
///
/// ```
/// use evalx_queue::{Outcome, handler_fn};
///
/// let echo = handler_fn(|job, _context| async move { Outcome::done(job.payload) });
/// # let _ = echo;
/// ```
pub fn handler_fn<F, R>(run: F) -> impl Handler
where
    F: Fn(Claimed, JobContext) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    Function(run)
}

#[async_trait]
impl<F, R> Handler for Function<F>
where
    F: Fn(Claimed, JobContext) -> R + Send + Sync + 'static,
    R: Future<Output = Outcome> + Send + 'static,
{
    async fn handle(&self, job: Claimed, context: JobContext) -> Outcome {
        (self.0)(job, context).await
    }
}

/// A handler of jobs and results in JSON. A job that can't be decoded is dead
/// at once; what else goes wrong, `run` says as an [`Outcome`].
///
/// ```
/// use evalx_queue::{Outcome, json_fn};
///
/// let add = json_fn(|numbers: Vec<i64>, _context| async move {
///     if numbers.is_empty() { Err(Outcome::rejected("no numbers")) } else { Ok(numbers.iter().sum::<i64>()) }
/// });
/// # let _ = add;
/// ```
pub fn json_fn<F, R, T, S>(run: F) -> impl Handler
where
    F: Fn(T, JobContext) -> R + Send + Sync + 'static,
    R: Future<Output = std::result::Result<S, Outcome>> + Send + 'static,
    T: DeserializeOwned + Send + 'static,
    S: Serialize + Send + 'static,
{
    let run = Arc::new(run);
    handler_fn(move |job, context| {
        let run = Arc::clone(&run);
        async move {
            let value = match job.decode() {
                Ok(value) => value,
                Err(error) => return Outcome::rejected(error.chain()),
            };
            match run(value, context).await {
                Ok(result) => match serde_json::to_vec(&result) {
                    Ok(bytes) => Outcome::done(bytes),
                    Err(error) => Outcome::rejected(format!("the result can't be written as JSON: {error}")),
                },
                Err(outcome) => outcome,
            }
        }
    })
}
