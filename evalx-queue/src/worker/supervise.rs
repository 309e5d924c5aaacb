//! One job on a worker, from its claim to how it ended.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use super::handler::{Handler, JobContext};
use super::roster::{Order, Roster, Standing};
use crate::{Claimed, DynQueue, Lease, NewEvent, Outcome};

/// How long an answer may have been on its way.
const ANSWERED: Duration = Duration::from_secs(1);

/// How a job ended on this worker.
pub(super) struct Ended {
    pub(super) lease: Lease,
    pub(super) end: End,
    /// What is to be told with its end.
    pub(super) events: Vec<NewEvent>,
}

pub(super) enum End {
    /// It is to be settled so.
    Settle(Outcome),
    /// It was killed at shutdown, and is to be handed back.
    HandBack,
    /// It is somebody else's by now; there is nothing to say.
    Lost,
}

/// A task that ends with whoever waits for it.
struct Owned(JoinHandle<Outcome>);

impl Owned {
    /// Kills the handler, and waits until all that it held is dropped.
    async fn kill(&mut self) -> Option<Outcome> {
        self.0.abort();
        (&mut self.0).await.ok()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs a job in a task of its own; kills it when it is lost, late, cancelled
/// or to be handed back.
pub(super) async fn supervise(
    queue: DynQueue,
    handler: Arc<dyn Handler>,
    roster: Arc<Roster>,
    job: Claimed,
    mut standing: watch::Receiver<Standing>,
    cancel_grace: Duration,
) -> Ended {
    let (lease, max_run) = (job.lease, job.max_run);
    let (cancel, cancelled) = watch::channel(false);
    let context = JobContext::new(Arc::clone(&queue), &job, cancelled);
    let mut cancellation = queue.watch_cancellation(lease.id);
    let span =
        tracing::debug_span!("job", job.id = %lease.id, job.token = lease.token, job.attempt = job.attempt);
    // A task, so that a panic is caught, and so that a handler that blocks its
    // thread blocks no heartbeat.
    let told = context.clone();
    let run = async move { handler.handle(job, context).await }.instrument(span);
    let mut task = Owned(tokio::spawn(run));
    let overdue = Instant::now() + max_run;
    // No heartbeat makes a lease longer than that.
    let longest = overdue + queue.config().grace;
    let mut give_up: Option<Instant> = None;
    let end = loop {
        let Standing { relied_until, valid_until, order } = *standing.borrow_and_update();
        match order {
            Order::Run => {}
            Order::Cancel if give_up.is_some() => {}
            Order::Cancel => {
                cancel.send_replace(true);
                give_up = Some(Instant::now() + cancel_grace);
            }
            Order::HandBack => break killed(&mut task, End::HandBack).await,
            Order::Abandon => {
                task.kill().await;
                break End::Lost;
            }
        }
        // All branches may be dropped at any time: they hold no state but the task's.
        tokio::select! {
            biased;
            result = &mut task.0 => break End::Settle(result.unwrap_or_else(panicked)),
            changed = standing.changed() => if changed.is_err() {
                task.kill().await;
                break End::Lost;
            },
            () = cancellation.changed() => roster.hurry.notify_one(),
            () = sleep_until(give_up.unwrap_or(overdue)), if give_up.is_some() => {
                break killed(&mut task, End::Settle(Outcome::Cancelled)).await;
            }
            () = sleep_until(overdue) => {
                break late(&mut task, lease, format!("the job ran for longer than {max_run:?}")).await;
            }
            () = sleep_until(relied_until) => {
                if standing.borrow().relied_until > Instant::now() {
                    continue;
                }
                // Killing begins before the end of a lease, also of one that is as long as may be.
                if valid_until + ANSWERED >= longest {
                    let error = format!("the job ran for {max_run:?}, but for what its grace lacks to kill it");
                    break late(&mut task, lease, error).await;
                }
                // Told when the queue can be reached again. If the lease holds still, the
                // job need not wait for its end, and no worker counts as lost.
                let error = "no heartbeat came through in time: the job was given up";
                tracing::warn!(job.id = %lease.id, "{error}");
                break killed(&mut task, End::Settle(Outcome::retry(error))).await;
            }
        }
    };
    Ended { lease, end, events: told.take_at_end() }
}

/// Kills the handler: the job ended as `end`, unless it was done just before.
async fn killed(task: &mut Owned, end: End) -> End {
    task.kill().await.map_or(end, End::Settle)
}

/// Kills the handler since it ran for too long.
async fn late(task: &mut Owned, lease: Lease, error: String) -> End {
    tracing::warn!(job.id = %lease.id, "{error}");
    killed(task, End::Settle(Outcome::Crashed { error })).await
}

fn panicked(error: JoinError) -> Outcome {
    match error.try_into_panic() {
        Ok(panic) => Outcome::retry(format!("the handler panicked: {}", message(panic.as_ref()))),
        Err(_) => Outcome::retry("the handler was aborted"),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it did not say why")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemoryQueue, NewJob, Queue as _, WorkerId, handler_fn};

    #[tokio::test(start_paused = true)]
    async fn a_job_without_heartbeats_is_given_up_before_its_lease_ends() {
        let queue: DynQueue = Arc::new(MemoryQueue::default());
        queue.enqueue(vec![NewJob::new("x")]).await.unwrap();
        let job = queue.claim(&WorkerId::unique(), 1, Duration::ZERO).await.unwrap().remove(0);
        let (began, lease) = (Instant::now(), queue.config().lease);
        let roster = Arc::new(Roster::default());
        let standing = roster.add(&job);
        let never = handler_fn(|_, _| std::future::pending());
        let ended =
            supervise(Arc::clone(&queue), Arc::new(never), roster, job, standing, Duration::ZERO).await;
        let End::Settle(Outcome::Retry { error, .. }) = ended.end else { panic!("it is to be tried again") };
        assert!(error.contains("no heartbeat"), "{error}");
        assert!(began.elapsed() > lease / 2 && began.elapsed() < lease * 9 / 10, "{:?}", began.elapsed());
    }
}
