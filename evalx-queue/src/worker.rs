//! [`Worker`]: takes jobs from a queue, and has a handler run them.
//!
//! ```text
//! Worker
//! ├── dispatcher        claims, starts and settles; owns the roster's entries
//! │   └── supervisor    one for each running job: its deadline, its lease, its cancellation
//! │       └── handler   the application's code, so that a panic or a block stays in it
//! ├── heartbeat         renews all leases in one call, and passes on what comes back
//! └── sweeper           has the queue tidied from time to time
//! ```
//!
//! All of them end with the worker. The only thing that two of them share is
//! the roster, which says what is to be done about each job.

mod dispatch;
mod handler;
mod roster;
mod supervise;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use crate::config::check_duration;
use crate::memory::MOST_AT_ONCE;
use crate::{DynQueue, Error, Result, WorkerId};
use dispatch::Dispatcher;
pub use handler::{Handler, JobContext, handler_fn, json_fn};
use roster::Roster;

/// How often each worker has its queue tidied, about.
const SWEEP: Duration = Duration::from_secs(5);
/// How long it waits between two rounds of that, if one was not enough.
const BREATH: Duration = Duration::from_millis(5);

/// How a worker works.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerConfig {
    /// Its name, by default one that no other has.
    pub id: WorkerId,
    /// How many jobs it runs at once, and so the most that it has; as many as
    /// there are processors.
    pub slots: usize,
    /// How long at shutdown jobs may go on before they are killed and handed back; 20 s.
    pub drain: Duration,
    /// How long a handler may take to end by itself once its job was cancelled;
    /// none: it is dropped at once.
    pub cancel_grace: Duration,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            id: WorkerId::unique(),
            slots: std::thread::available_parallelism().map_or(1, usize::from),
            drain: Duration::from_secs(20),
            cancel_grace: Duration::ZERO,
        }
    }
}

impl WorkerConfig {
    /// Sets its name.
    #[must_use]
    pub fn with_id(mut self, id: WorkerId) -> Self {
        self.id = id;
        self
    }

    /// Sets how many jobs it runs at once.
    #[must_use]
    pub fn with_slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// Sets how long at shutdown jobs may go on.
    #[must_use]
    pub fn with_drain(mut self, drain: Duration) -> Self {
        self.drain = drain;
        self
    }

    /// Sets how long a cancelled handler may take to end by itself.
    #[must_use]
    pub fn with_cancel_grace(mut self, grace: Duration) -> Self {
        self.cancel_grace = grace;
        self
    }
}

/// What a worker has done, told at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Jobs that it settled.
    pub finished: u64,
    /// Jobs that it handed back at its end.
    pub released: u64,
    /// Jobs that became somebody else's while it had them.
    pub lost: u64,
}

/// Takes jobs from a queue and has a handler run them, until it is shut down.
///
/// It takes as many jobs as it has free slots, never more. It renews their
/// leases; kills what it runs the moment a lease is lost, or can no longer be
/// relied on; catches panics; kills what runs too long. No error of the queue
/// ends it: it tries again.
///
/// A worker that is dropped kills what it runs and says nothing: the leases run
/// out. [`shutdown`](Self::shutdown) is the kind way.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> evalx_queue::Result<()> {
/// use std::sync::Arc;
/// use std::time::Duration;
/// use evalx_queue::{DynQueue, MemoryQueue, QueueExt, Worker, WorkerConfig, json_fn};
///
/// let queue: DynQueue = Arc::new(MemoryQueue::default());
/// let double = json_fn(|number: i64, _context| async move { Ok(2 * number) });
/// let worker = Worker::start(Arc::clone(&queue), double, WorkerConfig::default().with_slots(4))?;
///
/// let id = queue.submit_json(&21).await?;
/// let job = queue.wait(id, Duration::from_secs(10)).await?;
/// assert_eq!(job.decode_result()?, Some(42));
/// worker.shutdown().await;
/// # Ok(())
/// # }
/// ```
pub struct Worker {
    id: WorkerId,
    stop: Option<oneshot::Sender<()>>,
    dispatcher: JoinHandle<Drained>,
    /// Heartbeat and sweeper; they end when this is dropped.
    helpers: JoinSet<()>,
}

impl Worker {
    /// Starts to take jobs. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// `InvalidRequest` if there are no slots, or a duration makes no sense.
    pub fn start(queue: DynQueue, handler: impl Handler, config: WorkerConfig) -> Result<Self> {
        if config.slots == 0 {
            return Err(Error::invalid("a worker has 0 slots; it must have 1 or more"));
        }
        check_duration("the drain time", config.drain, Duration::ZERO)?;
        check_duration("the grace after a cancellation", config.cancel_grace, Duration::ZERO)?;
        let roster = Arc::new(Roster::default());
        let mut helpers = JoinSet::new();
        helpers.spawn(keep_alive(Arc::clone(&queue), Arc::clone(&roster)));
        helpers.spawn(tidy(Arc::clone(&queue)));
        let (stop, stopped) = oneshot::channel();
        let id = config.id.clone();
        let dispatcher = Dispatcher::new(queue, Arc::new(handler), roster, config);
        Ok(Self { id, stop: Some(stop), dispatcher: tokio::spawn(dispatcher.run(stopped)), helpers })
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &WorkerId {
        &self.id
    }

    /// Takes no more jobs, waits up to the drain time for those that run, kills
    /// and hands back the rest without counting an attempt.
    ///
    /// # Panics
    /// If the dispatcher has, which is a defect.
    pub async fn shutdown(mut self) -> Drained {
        drop(self.stop.take());
        let drained = (&mut self.dispatcher).await.expect("the dispatcher does not panic");
        self.helpers.shutdown().await;
        drained
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.dispatcher.abort();
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Renews all leases three times in the length of one, or at once when asked.
async fn keep_alive(queue: DynQueue, roster: Arc<Roster>) {
    let interval = queue.config().lease / 3;
    loop {
        tokio::select! {
            () = sleep(interval) => {}
            () = roster.hurry.notified() => {}
        }
        let leases = roster.leases();
        if leases.is_empty() {
            continue;
        }
        let sent = Instant::now();
        match timeout(interval, queue.heartbeat(&leases)).await {
            Ok(Ok(beats)) => {
                for (lease, beat) in leases.into_iter().zip(beats) {
                    roster.apply(lease, beat, sent);
                }
            }
            Ok(Err(error)) => {
                tracing::warn!("a heartbeat failed: {}", error.chain());
                sleep(interval / 8).await;
                roster.hurry.notify_one();
            }
            Err(_) => {
                tracing::warn!("a heartbeat took longer than {interval:?}");
                roster.hurry.notify_one();
            }
        }
    }
}

async fn tidy(queue: DynQueue) {
    loop {
        sleep(SWEEP.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        loop {
            match queue.sweep().await {
                // One round is bounded, so that it is quick: there may be more.
                Ok(swept) if swept.most() >= MOST_AT_ONCE as u64 => sleep(BREATH).await,
                Ok(_) => break,
                Err(error) => {
                    tracing::debug!("the queue could not be tidied: {}", error.chain());
                    break;
                }
            }
        }
    }
}
