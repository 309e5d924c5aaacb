//! Whose a job is.

use std::time::Duration;

use evalx_queue::{
    Beat, JobState, Lease, NewEvent, NewJob, Outcome, Queue as _, QueueConfig, Settled, Settlement, WorkerId,
};

use super::QueueRig;
use super::rig::{submit, view};

/// When a lease has run out, the job is given to another, by a later token.
pub async fn a_lease_that_ran_out_is_another_s(rig: QueueRig) {
    let queue = rig.hasty_queue().await;
    let id = submit(&queue, NewJob::new("x")).await;
    let first = rig.claim_one(&queue).await;
    // Nobody enqueues or sweeps: the wait itself must notice.
    let second = rig.claim_one(&queue).await;
    assert_eq!((second.id(), second.attempt, second.crashes), (id, 2, 1));
    assert!(second.lease.token > first.lease.token);
    let seen = view(&queue, id).await;
    assert!(seen.last_error().unwrap().contains("worker lost"), "{:?}", seen.errors);
    assert_eq!(seen.errors[0].worker, rig.worker().as_str());
}

/// Heartbeats keep a job for far longer than a lease.
pub async fn heartbeats_renew(rig: QueueRig) {
    let lease = Duration::from_millis(1500);
    let queue = rig.queue(QueueConfig::default().with_lease(lease)).await;
    submit(&queue, NewJob::new("x")).await;
    let job = rig.claim_one(&queue).await;
    let end = std::time::Instant::now() + lease * 2;
    while std::time::Instant::now() < end {
        let beats = queue.heartbeat(&[job.lease]).await.unwrap();
        let Beat::Renewed { valid_for } = beats[0] else { panic!("{beats:?}") };
        assert!(valid_for <= lease && valid_for > Duration::ZERO);
        assert!(queue.claim(&WorkerId::unique(), 1, Duration::from_millis(50)).await.unwrap().is_empty());
    }
    assert_eq!(rig.settle(&queue, &job, Outcome::done("")).await, Settled::Applied);
    assert_eq!(queue.heartbeat(&[job.lease]).await.unwrap(), [Beat::Lost]);
    assert!(queue.heartbeat(&[]).await.unwrap().is_empty());
}

/// A job that runs too long is lost, however faithfully its worker reports.
pub async fn heartbeats_end_with_the_time_of_the_job(rig: QueueRig) {
    let config =
        QueueConfig::default().with_lease(Duration::from_secs(5)).with_grace(Duration::from_millis(100));
    let queue = rig.queue(config).await;
    submit(&queue, NewJob::new("x").with_max_run(Duration::from_millis(200))).await;
    let job = rig.claim_one(&queue).await;
    let began = std::time::Instant::now();
    while queue.heartbeat(&[job.lease]).await.unwrap() != [Beat::Lost] {
        assert!(began.elapsed() < Duration::from_secs(20), "it is renewed for ever");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let again = rig.claim_one(&queue).await;
    assert_eq!((again.id(), again.crashes), (job.id(), 1));
}

/// What comes by an old lease, or by a made-up one, changes nothing.
pub async fn what_is_stale_changes_nothing(rig: QueueRig) {
    let queue = rig.hasty_queue().await;
    let id = submit(&queue, NewJob::new("x")).await;
    let old = rig.claim_one(&queue).await;
    let new = rig.claim_one(&queue).await;
    let unknown = Lease { id: evalx_queue::JobId::new(), token: 1 };
    let ahead = Lease { id, token: new.lease.token + 1 };
    // One that nobody has begun: no token is its own.
    let delayed = submit(&queue, NewJob::new("y").with_delay(Duration::from_secs(60))).await;
    let [never, beyond] = [0, u64::MAX].map(|token| Lease { id: delayed, token });
    for lease in [old.lease, unknown, ahead, never, beyond] {
        for outcome in
            [Outcome::done("stale"), Outcome::rejected("stale"), Outcome::retry("stale"), Outcome::Cancelled]
        {
            let done = vec![Settlement::new(lease, outcome)];
            assert_eq!(queue.finish(rig.worker(), done, 0).await.unwrap().settled, [Settled::Stale]);
        }
        assert_eq!(queue.release(&[lease]).await.unwrap(), [Settled::Stale]);
        assert_eq!(queue.heartbeat(&[lease]).await.unwrap(), [Beat::Lost]);
        let event = vec![NewEvent::new("stale", "").unwrap()];
        assert_eq!(queue.emit(&lease, event).await.unwrap(), Settled::Stale);
    }
    let seen = view(&queue, id).await;
    assert_eq!((seen.token, seen.errors.len(), seen.result), (new.lease.token, 1, None));
    assert_eq!(view(&queue, delayed).await.state, JobState::Delayed);
    assert_eq!(rig.settle(&queue, &new, Outcome::done("new")).await, Settled::Applied);
    assert_eq!(rig.settle(&queue, &old, Outcome::done("old")).await, Settled::Stale);
    let seen = view(&queue, id).await;
    assert_eq!((seen.state, seen.result.as_deref()), (JobState::Done, Some(&b"new"[..])));
    assert_eq!(queue.stats().await.unwrap().active, 0);
}

/// A call that is repeated since its answer was lost answers the same, and counts once.
pub async fn finishing_again_is_finishing_once(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let id = submit(&queue, NewJob::new("x")).await;
    let job = rig.claim_one(&queue).await;
    for result in ["first", "second", "third"] {
        assert_eq!(rig.settle(&queue, &job, Outcome::done(result)).await, Settled::Applied);
    }
    assert_eq!(view(&queue, id).await.result.as_deref(), Some(&b"first"[..]));
    let retried = submit(&queue, NewJob::new("y")).await;
    let job = rig.claim_one(&queue).await;
    for _ in 0..3 {
        let outcome = Outcome::Retry { error: "no slot".into(), after: Some(Duration::from_secs(60)) };
        assert_eq!(rig.settle(&queue, &job, outcome).await, Settled::Applied);
    }
    let seen = view(&queue, retried).await;
    assert_eq!((seen.state, seen.errors.len()), (JobState::Delayed, 1));
    // Even if another has the job by now, whom it does not touch.
    let at_once = submit(&queue, NewJob::new("w")).await;
    let job = rig.claim_one(&queue).await;
    let outcome = Outcome::Retry { error: "no slot".into(), after: Some(Duration::ZERO) };
    assert_eq!(rig.settle(&queue, &job, outcome.clone()).await, Settled::Applied);
    let again = rig.claim_one(&queue).await;
    assert_eq!((again.id(), again.lease.token), (at_once, job.lease.token + 1));
    assert_eq!(rig.settle(&queue, &job, outcome).await, Settled::Applied);
    assert_eq!(view(&queue, at_once).await.state, JobState::Active);
    assert_eq!(rig.settle(&queue, &again, Outcome::done("")).await, Settled::Applied);
    // Several in one call, some of them twice.
    queue.enqueue((0..3).map(|_| NewJob::new("z")).collect()).await.unwrap();
    let jobs = rig.claim(&queue, 3).await;
    let twice: Vec<_> =
        jobs.iter().chain(&jobs).map(|job| Settlement::new(job.lease, Outcome::done(""))).collect();
    assert_eq!(queue.finish(rig.worker(), twice, 0).await.unwrap().settled, [Settled::Applied; 6]);
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.active, stats.completed, stats.retries, stats.delayed), (0, 5, 2, 1));
}

/// A job that loses two workers is dead, whatever attempts remain.
pub async fn poison_is_dead_after_two_workers(rig: QueueRig) {
    let queue = rig.hasty_queue().await;
    let id = submit(&queue, NewJob::new("x").with_max_attempts(100)).await;
    let good = submit(&queue, NewJob::new("y").with_tenant("other")).await;
    for _ in 0..2 {
        loop {
            let job = rig.claim_one(&queue).await;
            if job.id() == id {
                break;
            }
            assert_eq!(job.id(), good);
            rig.settle(&queue, &job, Outcome::done("")).await;
        }
    }
    let queue_ref = &queue;
    super::rig::until("the poison is dead", || async {
        queue_ref.sweep().await.unwrap();
        view(queue_ref, id).await.state == JobState::Dead
    })
    .await;
    let dead = view(&queue, id).await;
    assert_eq!((dead.attempt, dead.crashes, dead.errors.len()), (2, 2, 2));
    assert!(rig.claim(&queue, 10).await.iter().all(|job| job.id() != id));
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.dead, stats.crashes), (1, 2));
}

/// What is handed back comes first again, and its attempt never was.
pub async fn releasing_counts_no_attempt(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(submit(&queue, NewJob::new("x").with_max_attempts(1)).await);
    }
    for round in 0..5 {
        let jobs = rig.claim(&queue, 2).await;
        assert_eq!(jobs.iter().map(|job| job.id()).collect::<Vec<_>>(), ids[..2], "round {round}");
        assert!(jobs.iter().all(|job| job.attempt == 1 && job.crashes == 0));
        let leases: Vec<_> = jobs.iter().map(|job| job.lease).collect();
        assert_eq!(queue.release(&leases).await.unwrap(), [Settled::Applied; 2]);
        assert_eq!(queue.release(&leases).await.unwrap(), [Settled::Applied; 2], "repeated");
        let late = Settlement::new(leases[0], Outcome::done("late"));
        queue.finish(rig.worker(), vec![late], 0).await.unwrap();
        let seen = view(&queue, ids[0]).await;
        assert_eq!((seen.state, seen.attempt, seen.result), (JobState::Ready, 0, None));
    }
    assert!(queue.release(&[]).await.unwrap().is_empty());
}
