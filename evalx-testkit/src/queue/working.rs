//! Whether a [`Worker`] over the queue does what it must.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use evalx_queue::{
    Cancellation, DynQueue, Handler, JobState, NewEvent, NewJob, Outcome, Queue as _, QueueConfig,
    QueueExt as _, Worker, WorkerConfig, handler_fn, json_fn,
};
use tokio::sync::Semaphore;

use super::QueueRig;
use super::rig::{state, submit, until, view};

const LONG: Duration = Duration::from_secs(60);

fn start(queue: &DynQueue, slots: usize, handler: impl Handler) -> Worker {
    let config = WorkerConfig::default().with_slots(slots).with_drain(Duration::from_millis(300));
    Worker::start(Arc::clone(queue), handler, config).unwrap()
}

/// Notes when it is dropped: what a sandbox would do then, is end.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A handler that runs for ever, and the number of jobs that it runs just now.
fn endless() -> (impl Handler, Arc<AtomicUsize>) {
    let running = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&running);
    let handler = handler_fn(move |_, _| {
        let running = Running::new(&count);
        async move {
            let _running = running;
            std::future::pending::<Outcome>().await
        }
    });
    (handler, running)
}

async fn runs(count: &Arc<AtomicUsize>, expected: usize) {
    until(&format!("{expected} jobs run"), || async { count.load(Ordering::SeqCst) == expected }).await;
}

/// Jobs that were there, and jobs that come, are run; their events are told.
pub async fn runs_what_comes(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let early = queue.submit_json(&20).await.unwrap();
    let worker = start(
        &queue,
        2,
        json_fn(|n: u64, context: evalx_queue::JobContext| async move {
            context.emit("doubling", n.to_string()).await.map_err(|error| Outcome::retry(error.chain()))?;
            context.emit_at_end(vec![NewEvent::new("doubled", "").unwrap()]);
            Ok(2 * n)
        }),
    );
    let late = queue.submit_json(&21).await.unwrap();
    for (id, result) in [(early, 40), (late, 42)] {
        let job = queue.wait(id, LONG).await.unwrap();
        assert_eq!(job.decode_result::<u64>().unwrap(), Some(result));
        let events = queue.events(id, 0).await.unwrap().unwrap();
        let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(names, ["queued", "started", "doubling", "doubled", "done"]);
    }
    let drained = worker.shutdown().await;
    assert_eq!((drained.finished, drained.released, drained.lost), (2, 0, 0));
}

/// As many jobs as slots, never more, and all slots are used.
pub async fn takes_no_more_than_its_slots(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    queue.enqueue((0..40).map(|_| NewJob::new("x")).collect()).await.unwrap();
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(Semaphore::new(0));
    let handler = {
        let (running, most, gate) = (Arc::clone(&running), Arc::clone(&most), Arc::clone(&gate));
        handler_fn(move |_, _| {
            let running = Running::new(&running);
            most.fetch_max(running.0.load(Ordering::SeqCst), Ordering::SeqCst);
            let gate = Arc::clone(&gate);
            async move {
                let _running = running;
                gate.acquire().await.unwrap().forget();
                Outcome::done("")
            }
        })
    };
    let worker = start(&queue, 3, handler);
    runs(&running, 3).await;
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.active, stats.ready), (3, 37), "a job that waited here would waste its lease");
    gate.add_permits(40);
    let queue_ref = &queue;
    until("all are done", || async { queue_ref.stats().await.unwrap().completed == 40 }).await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert_eq!(worker.shutdown().await.finished, 40);
}

/// A panic is an attempt; the worker goes on.
pub async fn survives_panics(rig: QueueRig) {
    let queue = rig.queue(QueueConfig::default().with_backoff(Duration::from_millis(1))).await;
    let worker = start(
        &queue,
        1,
        json_fn(|text: String, _| async move {
            assert!(text != "bad", "a bad text");
            Ok(text)
        }),
    );
    let bad = queue.submit_json("bad").await.unwrap();
    let good = queue.submit_json("good").await.unwrap();
    assert_eq!(queue.wait(good, LONG).await.unwrap().state, JobState::Done);
    let dead = queue.wait(bad, LONG).await.unwrap();
    assert_eq!((dead.state, dead.attempt, dead.crashes), (JobState::Dead, 4, 0));
    assert!(dead.last_error().unwrap().contains("panicked: a bad text"), "{:?}", dead.errors);
    worker.shutdown().await;
}

/// What runs longer than it may is killed, and dead after the second time.
pub async fn kills_what_runs_too_long(rig: QueueRig) {
    let queue = rig.queue(QueueConfig::default().with_backoff(Duration::from_millis(1))).await;
    let (handler, running) = endless();
    let worker = start(&queue, 1, handler);
    let id = submit(&queue, NewJob::new("x").with_max_run(Duration::from_millis(50))).await;
    let dead = queue.wait(id, LONG).await.unwrap();
    assert_eq!((dead.state, dead.crashes), (JobState::Dead, 2));
    assert!(dead.last_error().unwrap().contains("longer than 50ms"), "{:?}", dead.errors);
    assert_eq!(running.load(Ordering::SeqCst), 0);
    worker.shutdown().await;
}

/// A running job that is cancelled is killed long before the next heartbeat.
pub async fn kills_what_is_cancelled(rig: QueueRig) {
    let queue = rig.queue(QueueConfig::default().with_lease(Duration::from_secs(90))).await;
    let (handler, running) = endless();
    let worker = start(&queue, 1, handler);
    let id = submit(&queue, NewJob::new("x")).await;
    runs(&running, 1).await;
    let began = Instant::now();
    assert_eq!(queue.cancel(id).await.unwrap(), Cancellation::Requested);
    let job = queue.wait(id, LONG).await.unwrap();
    assert_eq!(job.state, JobState::Cancelled);
    assert!(
        began.elapsed() < Duration::from_secs(25),
        "a heartbeat is after 30 s; it took {:?}",
        began.elapsed()
    );
    assert_eq!(running.load(Ordering::SeqCst), 0);
    worker.shutdown().await;
}

/// With a grace, a handler hears of its cancellation and has the last word.
pub async fn a_cancelled_handler_may_say_how_it_ended(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let config = WorkerConfig::default().with_slots(1).with_cancel_grace(LONG);
    let handler = handler_fn(|_, mut context| async move {
        context.cancelled().await;
        Outcome::done("as far as it came")
    });
    let worker = Worker::start(Arc::clone(&queue), handler, config).unwrap();
    let id = submit(&queue, NewJob::new("x")).await;
    let queue_ref = &queue;
    until("it runs", || async { state(queue_ref, id).await == JobState::Active }).await;
    queue.cancel(id).await.unwrap();
    let job = queue.wait(id, LONG).await.unwrap();
    assert_eq!((job.state, job.result.as_deref()), (JobState::Done, Some(&b"as far as it came"[..])));
    worker.shutdown().await;
}

/// A payload that is nothing the handler knows is dead at once.
pub async fn buries_what_can_not_be_decoded(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let worker = start(&queue, 1, json_fn(|n: u64, _| async move { Ok(n) }));
    for payload in ["\"text\"", "", "{", "\u{0}", "-1"] {
        let id = submit(&queue, NewJob::new(payload)).await;
        let dead = queue.wait(id, LONG).await.unwrap();
        assert_eq!((dead.state, dead.attempt), (JobState::Dead, 1));
        assert!(dead.last_error().unwrap().contains("can't be decoded"), "{:?}", dead.errors);
    }
    worker.shutdown().await;
}

/// A handler that blocks its thread can't be killed, and the others are handed back all the same.
pub async fn hands_back_beside_what_blocks(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let (blocks, other) =
        (submit(&queue, NewJob::new("blocks")).await, submit(&queue, NewJob::new("x")).await);
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let receiver = std::sync::Mutex::new(receiver);
    let receiver = Arc::new(receiver);
    let worker = start(
        &queue,
        2,
        handler_fn(move |job, _| {
            let receiver = Arc::clone(&receiver);
            async move {
                if job.payload == "blocks" {
                    let _ = receiver.lock().unwrap().recv_timeout(LONG);
                }
                std::future::pending().await
            }
        }),
    );
    let queue_ref = &queue;
    until("both run", || async { queue_ref.stats().await.unwrap().active == 2 }).await;
    let drained = worker.shutdown().await;
    assert_eq!(drained.released, 1, "{drained:?}");
    let other = view(&queue, other).await;
    assert_eq!((other.state, other.attempt, other.crashes), (JobState::Ready, 0, 0));
    assert_eq!(state(&queue, blocks).await, JobState::Active);
    drop(sender);
}

/// At shutdown, what can end in time does, and nothing new is taken.
pub async fn finishes_what_runs_at_shutdown(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let gate = Arc::new(Semaphore::new(0));
    let (running, passed) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&gate));
    let count = Arc::clone(&running);
    let handler = handler_fn(move |_, _| {
        let (running, gate) = (Running::new(&count), Arc::clone(&passed));
        async move {
            let _running = running;
            gate.acquire().await.unwrap().forget();
            Outcome::done("")
        }
    });
    let config = WorkerConfig::default().with_slots(1).with_drain(LONG);
    let worker = Worker::start(Arc::clone(&queue), handler, config).unwrap();
    let (first, second) = (submit(&queue, NewJob::new("x")).await, submit(&queue, NewJob::new("y")).await);
    runs(&running, 1).await;
    let shutdown = tokio::spawn(worker.shutdown());
    tokio::time::sleep(Duration::from_millis(30)).await;
    gate.add_permits(1);
    let drained = shutdown.await.unwrap();
    assert_eq!((drained.finished, drained.released), (1, 0));
    assert_eq!(state(&queue, first).await, JobState::Done);
    assert_eq!(state(&queue, second).await, JobState::Ready);
}

/// At shutdown, what takes too long is killed and handed back, and no attempt is counted.
pub async fn hands_back_what_takes_too_long(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let ids: Vec<_> = [submit(&queue, NewJob::new("x")).await, submit(&queue, NewJob::new("y")).await].into();
    for _ in 0..3 {
        let (handler, running) = endless();
        let worker = start(&queue, 2, handler);
        runs(&running, 2).await;
        let drained = worker.shutdown().await;
        assert_eq!((drained.finished, drained.released), (0, 2));
        assert_eq!(running.load(Ordering::SeqCst), 0, "they were killed");
        for id in &ids {
            let job = view(&queue, *id).await;
            assert_eq!((job.state, job.attempt, job.crashes), (JobState::Ready, 0, 0));
        }
    }
}

/// A result that the queue would refuse makes the job dead with the reason, and the worker goes on.
pub async fn refuses_results_that_are_too_large(rig: QueueRig) {
    let queue = rig.queue(QueueConfig::default().with_max_payload(100)).await;
    let worker = start(&queue, 1, json_fn(|n: usize, _| async move { Ok("x".repeat(n)) }));
    let (large, small) = (queue.submit_json(&101).await.unwrap(), queue.submit_json(&10).await.unwrap());
    let dead = queue.wait(large, LONG).await.unwrap();
    assert_eq!(dead.state, JobState::Dead);
    assert!(dead.last_error().unwrap().contains("at most 100"), "{:?}", dead.errors);
    assert_eq!(queue.wait(small, LONG).await.unwrap().state, JobState::Done);
    worker.shutdown().await;
}

/// Two workers share the work, and each job is done once.
pub async fn two_workers_share(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let count = Arc::new(AtomicUsize::new(0));
    let handler = |count: &Arc<AtomicUsize>| {
        let count = Arc::clone(count);
        handler_fn(move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            async { Outcome::done("") }
        })
    };
    let workers = [start(&queue, 4, handler(&count)), start(&queue, 4, handler(&count))];
    for _ in 0..5 {
        queue.enqueue((0..200).map(|_| NewJob::new("x")).collect()).await.unwrap();
    }
    let queue_ref = &queue;
    until("all are done", || async { queue_ref.stats().await.unwrap().completed == 1000 }).await;
    assert_eq!(count.load(Ordering::SeqCst), 1000);
    for worker in workers {
        assert_eq!(worker.shutdown().await.lost, 0);
    }
}
