//! How jobs are handed out.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evalx_queue::{BlobId, Control, JobState, NewJob, Outcome, Priority, Queue as _, QueueConfig, WorkerId};
use tokio::task::JoinSet;

use super::QueueRig;
use super::rig::{submit, until, view};

/// Of one tenant and priority, first come, first served.
pub async fn gives_in_order(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(submit(&queue, NewJob::new(n.to_string())).await);
    }
    let claimed: Vec<_> = rig.claim(&queue, 20).await.iter().map(|job| job.id()).collect();
    assert_eq!(claimed, ids);
}

/// No more than asked for, and none twice.
pub async fn gives_no_more_than_asked(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    for _ in 0..5 {
        submit(&queue, NewJob::new("x")).await;
    }
    assert!(rig.claim(&queue, 0).await.is_empty());
    assert_eq!(rig.claim(&queue, 2).await.len(), 2);
    assert_eq!(rig.claim(&queue, 100).await.len(), 3);
    assert!(rig.claim(&queue, 100).await.is_empty());
    assert_eq!(queue.stats().await.unwrap().active, 5);
}

/// What a worker gets is what was enqueued.
pub async fn says_what_was_enqueued(rig: QueueRig) {
    let config = QueueConfig::default().with_lease(Duration::from_secs(7));
    let queue = rig.queue(config).await;
    let blob = queue.put_blob("big".into(), Duration::from_secs(60)).await.unwrap();
    let job = NewJob::new("payload")
        .with_tenant("t")
        .with_language("l")
        .with_priority(Priority::High)
        .with_max_run(Duration::from_secs(3))
        .with_result_ttl(Duration::from_secs(77))
        .with_trace("00-abc-def-01")
        .with_blob(blob);
    submit(&queue, job.clone()).await;
    let before = Instant::now();
    let claimed = rig.claim_one(&queue).await;
    assert_eq!((claimed.id(), claimed.lease.token, claimed.attempt, claimed.crashes), (job.id, 1, 1, 0));
    assert_eq!((claimed.tenant.as_str(), claimed.language.as_str()), ("t", "l"));
    assert_eq!((claimed.priority, claimed.payload.as_ref()), (Priority::High, &b"payload"[..]));
    assert_eq!(claimed.max_run, Duration::from_secs(3));
    assert_eq!(claimed.result_ttl, Duration::from_secs(77));
    assert_eq!(claimed.trace.as_deref(), Some("00-abc-def-01"));
    assert_eq!(claimed.blobs, [blob] as [BlobId; 1]);
    assert!(claimed.valid_until >= before && claimed.valid_until <= Instant::now() + Duration::from_secs(7));
    let seen = view(&queue, job.id).await;
    assert_eq!((seen.state, seen.worker.as_deref()), (JobState::Active, Some(rig.worker().as_str())));
    assert!(seen.started_at.unwrap() >= seen.enqueued_at);
}

/// Who waits is woken by a job, long before the wait is over.
pub async fn wakes_who_waits(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    for _ in 0..3 {
        let waiter = Arc::clone(&queue);
        let claim = tokio::spawn(async move {
            waiter.claim(&WorkerId::unique(), 1, Duration::from_secs(60)).await.unwrap()
        });
        // Whether it comes before the wait has begun or after, it is found.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let began = Instant::now();
        let id = submit(&queue, NewJob::new("x")).await;
        assert_eq!(claim.await.unwrap()[0].id(), id);
        assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    }
}

/// A wait ends by itself, with nothing.
pub async fn waits_no_longer_than_asked(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let began = Instant::now();
    assert!(queue.claim(rig.worker(), 1, Duration::from_millis(80)).await.unwrap().is_empty());
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(80) && took < Duration::from_secs(10), "it took {took:?}");
    // That nobody can wait so long is no reason to fail.
    let claim = queue.claim(rig.worker(), 1, Duration::MAX);
    assert!(tokio::time::timeout(Duration::from_millis(20), claim).await.is_err());
}

/// While it is paused, workers get nothing; then they are woken.
pub async fn gives_nothing_while_paused(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    queue.control(Control::Pause).await.unwrap();
    let id = submit(&queue, NewJob::new("x")).await;
    assert!(rig.claim(&queue, 1).await.is_empty());
    assert!(queue.stats().await.unwrap().paused);
    let waiter = Arc::clone(&queue);
    let claim =
        tokio::spawn(
            async move { waiter.claim(&WorkerId::unique(), 1, Duration::from_secs(60)).await.unwrap() },
        );
    queue.control(Control::Resume).await.unwrap();
    assert_eq!(claim.await.unwrap()[0].id(), id);
}

/// What is delayed comes when it is due, and not before.
pub async fn puts_off_what_is_delayed(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let delay = Duration::from_millis(150);
    let id = submit(&queue, NewJob::new("x").with_delay(delay)).await;
    let longest = Duration::from_secs(10 * 366 * 24 * 3600);
    let far = submit(&queue, NewJob::new("y").with_delay(longest)).await;
    let due = view(&queue, id).await.due_at.unwrap();
    assert!(rig.claim(&queue, 1).await.is_empty());
    // Nobody enqueues anything: the wait itself must know when something is due.
    let claimed = rig.claim_one(&queue).await;
    assert_eq!(claimed.id(), id);
    assert!(view(&queue, id).await.started_at.unwrap() >= due);
    let far = view(&queue, far).await;
    assert_eq!((far.state, far.due_at.unwrap().since(far.enqueued_at)), (JobState::Delayed, longest));
    // All at the same instant.
    let jobs: Vec<_> = (0..300).map(|_| NewJob::new("z").with_delay(Duration::from_millis(50))).collect();
    queue.enqueue(jobs).await.unwrap();
    let (rig_ref, queue_ref) = (&rig, &queue);
    let mut got = 0;
    while got < 300 {
        let more = queue_ref.claim(rig_ref.worker(), 100, Duration::from_secs(10)).await.unwrap();
        assert!(!more.is_empty(), "{got} of 300 came");
        got += more.len();
    }
}

/// Among many workers at once, each job is one's.
pub async fn gives_each_job_once(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let jobs: Vec<_> = (0..400).map(|n| NewJob::new("x").with_tenant(format!("t{}", n % 7))).collect();
    queue.enqueue(jobs).await.unwrap();
    let mut workers = JoinSet::new();
    for n in 0..8 {
        let queue = Arc::clone(&queue);
        workers.spawn(async move {
            let id = WorkerId::new(format!("worker {n}")).unwrap();
            let mut ids = Vec::new();
            loop {
                let jobs = queue.claim(&id, 3, Duration::ZERO).await.unwrap();
                if jobs.is_empty() {
                    return ids;
                }
                let done = jobs.iter().map(|job| evalx_queue::Settlement::new(job.lease, Outcome::done("")));
                ids.extend(jobs.iter().map(|job| job.id()));
                queue.finish(&id, done.collect(), 0).await.unwrap();
            }
        });
    }
    let all: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    assert_eq!((all.len(), all.iter().collect::<HashSet<_>>().len()), (400, 400));
}

/// A claim whose caller goes away has lost no job.
pub async fn a_dropped_claim_loses_nothing(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    for round in 0..30 {
        let id = submit(&queue, NewJob::new("x")).await;
        let claim = queue.claim(rig.worker(), 1, Duration::from_secs(60));
        // Dropped at some point of its way, sooner or later.
        let claimed = tokio::time::timeout(Duration::from_micros(round * 40), claim).await;
        let job = match claimed {
            Ok(jobs) => jobs.unwrap().pop().unwrap(),
            Err(_) => rig.claim_one(&queue).await,
        };
        assert_eq!((job.id(), job.attempt, job.crashes), (id, 1, 0), "round {round}");
        rig.settle(&queue, &job, Outcome::done("")).await;
    }
    let queue_ref = &queue;
    until("nothing is left", || async { queue_ref.stats().await.unwrap().active == 0 }).await;
}
