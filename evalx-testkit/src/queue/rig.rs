//! How cases are run, and what they do all the time.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evalx_queue::{
    Claimed, DynQueue, JobId, JobState, JobView, NewJob, Outcome, QueueConfig, QueueExt, Result, Settled,
    Settlement, WorkerId,
};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::harness::{message, required};

/// How long a case may take before it counts as hung.
const CASE_TIME: Duration = Duration::from_secs(90);
/// How long something that must happen may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

type Starting = Pin<Box<dyn Future<Output = Result<DynQueue>> + Send>>;
type Factory = dyn Fn(QueueConfig) -> Starting + Send + Sync;
type CaseFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where a case gets its queues, and what it does with them all the time.
#[derive(Clone)]
pub struct QueueRig {
    factory: Arc<Factory>,
    worker: WorkerId,
}

impl QueueRig {
    /// A rig whose queues are made by `factory`: each empty, and apart from all others.
    pub fn new<F, S>(factory: F) -> Self
    where
        F: Fn(QueueConfig) -> S + Send + Sync + 'static,
        S: Future<Output = Result<DynQueue>> + Send + 'static,
    {
        Self { factory: Arc::new(move |config| Box::pin(factory(config))), worker: WorkerId::unique() }
    }

    /// An empty queue with this configuration.
    pub(crate) async fn queue(&self, config: QueueConfig) -> DynQueue {
        (self.factory)(config).await.expect("the queue could be made a moment ago")
    }

    /// An empty queue with leases that run out soon.
    pub(crate) async fn hasty_queue(&self) -> DynQueue {
        self.queue(QueueConfig::default().with_lease(Duration::from_millis(300))).await
    }

    /// An empty queue.
    pub(crate) async fn plain_queue(&self) -> DynQueue {
        self.queue(QueueConfig::default()).await
    }

    /// Claims up to `most` jobs that are there.
    pub(crate) async fn claim(&self, queue: &DynQueue, most: usize) -> Vec<Claimed> {
        queue.claim(&self.worker, most, Duration::ZERO).await.unwrap()
    }

    /// Claims the one job that is there, or will be soon.
    pub(crate) async fn claim_one(&self, queue: &DynQueue) -> Claimed {
        let mut claimed = queue.claim(&self.worker, 1, PATIENCE).await.unwrap();
        claimed.pop().expect("there is a job to claim")
    }

    /// Settles a job.
    pub(crate) async fn settle(&self, queue: &DynQueue, job: &Claimed, outcome: Outcome) -> Settled {
        let done = vec![Settlement::new(job.lease, outcome)];
        queue.finish(&self.worker, done, 0).await.unwrap().settled[0]
    }

    pub(crate) fn worker(&self) -> &WorkerId {
        &self.worker
    }
}

impl fmt::Debug for QueueRig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueRig").finish_non_exhaustive()
    }
}

/// Puts jobs in that must be accepted.
pub(crate) async fn submit(queue: &DynQueue, job: NewJob) -> JobId {
    queue.submit(job).await.unwrap()
}

/// A job as it is now.
pub(crate) async fn view(queue: &DynQueue, id: JobId) -> JobView {
    queue.get(id).await.unwrap().expect("the job is known")
}

/// The state of a job now.
pub(crate) async fn state(queue: &DynQueue, id: JobId) -> JobState {
    view(queue, id).await.state
}

/// Waits until `condition` holds, asking again and again.
pub(crate) async fn until<F, R>(what: &str, mut condition: F)
where
    F: FnMut() -> R,
    R: Future<Output = bool>,
{
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "it never came that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One behaviour of a queue.
pub struct QueueCase {
    name: &'static str,
    run: fn(QueueRig) -> CaseFuture,
}

impl QueueCase {
    pub(super) fn new(name: &'static str, run: fn(QueueRig) -> CaseFuture) -> Self {
        Self { name, run }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs it; it panics if the queue does not do what it must.
    pub async fn run(&self, rig: QueueRig) {
        (self.run)(rig).await;
    }
}

impl fmt::Debug for QueueCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QueueCase({})", self.name)
    }
}

/// All cases as trials, for the queue of this name. If `factory` gives an
/// error at first, this host can't have the queue: its cases are ignored, or
/// fail if `EVALX_REQUIRE` names it.
pub fn trials<F, S>(name: &str, factory: F) -> Vec<Trial>
where
    F: Fn(QueueConfig) -> S + Send + Sync + 'static,
    S: Future<Output = Result<DynQueue>> + Send + 'static,
{
    let rig = QueueRig::new(factory);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = Arc::new(runtime.expect("a runtime can be started"));
    // The word before the first `_` is what is required: `redis` for `redis_cluster`.
    let word = name.split('_').next().unwrap_or(name).to_owned();
    let mut trials = Vec::new();
    for case in super::cases() {
        let (rig, runtime, word) = (rig.clone(), Arc::clone(&runtime), word.clone());
        trials.push(Trial::ignorable_test(format!("{name}::{}", case.name), move || {
            perform(&case, rig, &runtime, &word)
        }));
    }
    trials
}

fn perform(case: &QueueCase, rig: QueueRig, runtime: &Runtime, word: &str) -> Result<Completion, Failed> {
    runtime.block_on(async {
        if let Err(error) = (rig.factory)(QueueConfig::default()).await {
            let reason = error.chain();
            return if required(word) { Err(reason.into()) } else { Ok(Completion::ignored_with(reason)) };
        }
        let mut task = tokio::spawn((case.run)(rig));
        match timeout(CASE_TIME, &mut task).await {
            Ok(Ok(())) => Ok(Completion::Completed),
            Ok(Err(error)) => Err(message(error).into()),
            Err(_) => {
                task.abort();
                Err(format!("{} hung: it was not done in {CASE_TIME:?}", case.name).into())
            }
        }
    })
}

/// Runs all cases on the queue of this name: the whole of a test with `harness = false`.
pub fn main_with<F, S>(name: &str, factory: F) -> ExitCode
where
    F: Fn(QueueConfig) -> S + Send + Sync + 'static,
    S: Future<Output = Result<DynQueue>> + Send + 'static,
{
    libtest_mimic::run(&Arguments::from_args(), trials(name, factory)).exit_code()
}
