//! How jobs end.

use std::time::Duration;

use evalx_queue::{
    Beat, Cancellation, ErrorKind, JobState, NewJob, Outcome, Queue as _, QueueConfig, Settled, Settlement,
};

use super::QueueRig;
use super::rig::{state, submit, until, view};

/// A result is there for its time, and then it is gone with its job.
pub async fn a_result_is_kept_for_its_time(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let short = submit(&queue, NewJob::new("x").with_result_ttl(Duration::from_millis(300))).await;
    let long = submit(&queue, NewJob::new("y")).await;
    for _ in 0..2 {
        let job = rig.claim_one(&queue).await;
        rig.settle(&queue, &job, Outcome::done("r")).await;
    }
    let seen = view(&queue, long).await;
    assert_eq!((seen.state, seen.result.as_deref()), (JobState::Done, Some(&b"r"[..])));
    assert!(seen.kept_until.unwrap().since(seen.finished_at.unwrap()) == Duration::from_secs(24 * 3600));
    let queue_ref = &queue;
    until("the result is forgotten", || async { queue_ref.get(short).await.unwrap().is_none() }).await;
    assert_eq!(queue.payload(short).await.unwrap(), None);
    assert_eq!(queue.events(short, 0).await.unwrap(), None);
    until("it is no longer counted", || async {
        queue_ref.sweep().await.unwrap();
        queue_ref.stats().await.unwrap().done == 1
    })
    .await;
}

/// One call settles and brings the next.
pub async fn finishing_brings_the_next(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    for n in 0..3 {
        submit(&queue, NewJob::new(n.to_string())).await;
    }
    let first = rig.claim_one(&queue).await;
    let done = vec![Settlement::new(first.lease, Outcome::done(""))];
    let finished = queue.finish(rig.worker(), done, 5).await.unwrap();
    assert_eq!((finished.settled, finished.claimed.len()), (vec![Settled::Applied], 2));
    let finished = queue.finish(rig.worker(), Vec::new(), 5).await.unwrap();
    assert!(finished.settled.is_empty() && finished.claimed.is_empty());
}

/// An infrastructure fault is tried again, as often as allowed; then it is dead.
pub async fn retries_wait_and_end(rig: QueueRig) {
    let config = QueueConfig::default().with_backoff(Duration::from_millis(20)).with_max_attempts(3);
    let queue = rig.queue(config).await;
    let id = submit(&queue, NewJob::new("x")).await;
    for attempt in 1..=3 {
        let job = rig.claim_one(&queue).await;
        assert_eq!((job.id(), job.attempt), (id, attempt));
        rig.settle(&queue, &job, Outcome::retry(format!("fault {attempt}"))).await;
    }
    let dead = view(&queue, id).await;
    assert_eq!((dead.state, dead.attempt, dead.crashes), (JobState::Dead, 3, 0));
    let errors: Vec<_> = dead.errors.iter().map(|error| (error.attempt, error.error.as_str())).collect();
    assert_eq!(errors, [(1, "fault 1"), (2, "fault 2"), (3, "fault 3")]);
    // Not after it has expired.
    let id = submit(&queue, NewJob::new("y").with_expires_after(Duration::from_secs(10))).await;
    let job = rig.claim_one(&queue).await;
    let outcome = Outcome::Retry { error: "fault".into(), after: Some(Duration::from_secs(11)) };
    rig.settle(&queue, &job, outcome).await;
    assert_eq!(state(&queue, id).await, JobState::Dead);
}

/// Retries wait for a random time whose limit doubles, up to a cap.
pub async fn retries_wait_at_random_up_to_a_limit(rig: QueueRig) {
    let (backoff, cap) = (Duration::from_secs(40), Duration::from_secs(60));
    let queue = rig.queue(QueueConfig::default().with_backoff(backoff).with_backoff_cap(cap)).await;
    queue.enqueue((0..200).map(|_| NewJob::new("x")).collect()).await.unwrap();
    // All are claimed first: a claim would bring back those whose wait was short.
    let mut jobs = rig.claim(&queue, 100).await;
    jobs.extend(rig.claim(&queue, 100).await);
    let mut waits = Vec::new();
    for job in jobs {
        rig.settle(&queue, &job, Outcome::retry("fault")).await;
        let seen = view(&queue, job.id()).await;
        let noticed = seen.errors[0].at;
        waits.push(seen.due_at.unwrap_or(noticed).since(noticed));
    }
    assert_eq!(waits.len(), 200);
    assert!(waits.iter().all(|wait| *wait <= backoff), "{:?}", waits.iter().max());
    // Of 200 random ones, some are in each half: the chance that not is 2 in 2^200.
    assert!(waits.iter().any(|wait| *wait < backoff / 2) && waits.iter().any(|wait| *wait > backoff / 2));
}

/// What no attempt can do better is dead at once; the error is cut.
pub async fn rejected_is_dead_at_once(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let id = submit(&queue, NewJob::new("x")).await;
    let job = rig.claim_one(&queue).await;
    let long = "ü".repeat(Outcome::LONGEST_ERROR);
    rig.settle(&queue, &job, Outcome::rejected(format!("\0{long}"))).await;
    let dead = view(&queue, id).await;
    assert_eq!(dead.state, JobState::Dead);
    let kept = dead.last_error().unwrap();
    assert!(
        long.starts_with(kept.strip_prefix('\0').unwrap())
            && kept.len() > 1000
            && kept.len() <= Outcome::LONGEST_ERROR
    );
}

/// A crash that the worker survived counts like one that it didn't.
pub async fn a_crash_counts(rig: QueueRig) {
    let queue = rig.queue(QueueConfig::default().with_backoff(Duration::ZERO)).await;
    let id = submit(&queue, NewJob::new("x").with_max_attempts(10)).await;
    for crashes in 0..2 {
        let job = rig.claim_one(&queue).await;
        assert_eq!(job.crashes, crashes);
        rig.settle(&queue, &job, Outcome::Crashed { error: "overran".into() }).await;
    }
    let dead = view(&queue, id).await;
    assert_eq!((dead.state, dead.crashes, dead.attempt), (JobState::Dead, 2, 2));
}

/// A result over the limit is refused before anything is written.
pub async fn too_large_a_result_changes_nothing(rig: QueueRig) {
    let queue = rig.queue(QueueConfig::default().with_max_payload(100)).await;
    queue.enqueue(vec![NewJob::new("x"), NewJob::new("y")]).await.unwrap();
    let jobs = rig.claim(&queue, 2).await;
    let done = |n: usize, job: &evalx_queue::Claimed| Settlement::new(job.lease, Outcome::done(vec![0; n]));
    let error =
        queue.finish(rig.worker(), vec![done(1, &jobs[0]), done(101, &jobs[1])], 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(error.help().unwrap().contains("blob"), "{error:?}");
    assert_eq!(state(&queue, jobs[0].id()).await, JobState::Active, "the others of the call neither");
    let forever = Outcome::Retry { error: String::new(), after: Some(Duration::MAX) };
    let retry = vec![Settlement::new(jobs[0].lease, forever)];
    assert_eq!(queue.finish(rig.worker(), retry, 0).await.unwrap_err().kind(), ErrorKind::InvalidRequest);
    assert_eq!(rig.settle(&queue, &jobs[0], Outcome::done(vec![0; 100])).await, Settled::Applied);
}

/// What waits is cancelled at once, and never run.
pub async fn cancels_what_waits(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let ready = submit(&queue, NewJob::new("x").with_language("l")).await;
    let delayed = submit(&queue, NewJob::new("y").with_delay(Duration::from_secs(60))).await;
    let stays = submit(&queue, NewJob::new("z").with_tenant("other")).await;
    for id in [ready, delayed] {
        assert_eq!(queue.cancel(id).await.unwrap(), Cancellation::Done);
        assert_eq!(queue.cancel(id).await.unwrap(), Cancellation::TooLate);
        let seen = view(&queue, id).await;
        assert_eq!((seen.state, seen.cancel_requested), (JobState::Cancelled, true));
    }
    let claimed = rig.claim(&queue, 10).await;
    assert_eq!(claimed.iter().map(|job| job.id()).collect::<Vec<_>>(), [stays]);
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.ready, stats.delayed, stats.cancelled), (0, 0, 2));
    assert!(stats.depth_by_language.is_empty());
}

/// What runs is cancelled through its worker, and if that is lost, all the same.
pub async fn cancels_what_runs(rig: QueueRig) {
    let queue = rig.hasty_queue().await;
    let ids: Vec<_> = [0, 1, 2].map(|_| NewJob::new("x").with_max_attempts(9)).map(|job| job.id).into();
    let jobs = ids.iter().map(|id| NewJob::new("x").with_id(*id)).collect();
    queue.enqueue(jobs).await.unwrap();
    let jobs = rig.claim(&queue, 3).await;
    let mut watch = queue.watch_cancellation(ids[0]);
    for id in &ids {
        assert_eq!(queue.cancel(*id).await.unwrap(), Cancellation::Requested);
    }
    tokio::time::timeout(Duration::from_secs(20), watch.changed()).await.expect("the worker is told");
    let beats = queue.heartbeat(&[jobs[0].lease]).await.unwrap();
    assert!(matches!(beats[0], Beat::Cancel { .. }), "{beats:?}");
    rig.settle(&queue, &jobs[0], Outcome::Cancelled).await;
    // A retry would not be wanted any more either.
    rig.settle(&queue, &jobs[1], Outcome::retry("fault")).await;
    let queue_ref = &queue;
    until("the third is taken back from its worker", || async {
        queue_ref.sweep().await.unwrap();
        state(queue_ref, ids[2]).await == JobState::Cancelled
    })
    .await;
    for id in ids {
        assert_eq!(state(&queue, id).await, JobState::Cancelled);
    }
}

/// Of a cancellation and a result, the first stands.
pub async fn the_first_end_stands(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let id = submit(&queue, NewJob::new("x")).await;
    let job = rig.claim_one(&queue).await;
    queue.cancel(id).await.unwrap();
    assert_eq!(rig.settle(&queue, &job, Outcome::done("faster")).await, Settled::Applied);
    assert_eq!(queue.cancel(id).await.unwrap(), Cancellation::TooLate);
    let seen = view(&queue, id).await;
    assert_eq!((seen.state, seen.result.as_deref()), (JobState::Done, Some(&b"faster"[..])));
    // And what is handed back after it was to be cancelled is.
    let id = submit(&queue, NewJob::new("y")).await;
    let job = rig.claim_one(&queue).await;
    queue.cancel(id).await.unwrap();
    queue.release(&[job.lease]).await.unwrap();
    assert_eq!(state(&queue, id).await, JobState::Cancelled);
}
