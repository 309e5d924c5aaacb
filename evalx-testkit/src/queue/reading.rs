//! What can be seen from outside.

use std::sync::Arc;
use std::time::{Duration, Instant};

use evalx_queue::{
    Cancellation, ErrorKind, JobId, JobState, ListQuery, NewJob, Outcome, Priority, Queue as _, QueueConfig,
    QueueExt as _,
};

use super::QueueRig;
use super::blobs::BRIEF;
use super::rig::{submit, until, view};

/// Jobs in each state are listed, in pages.
pub async fn lists_every_state_in_pages(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let later = Duration::from_secs(60);
    queue.enqueue((0..25).map(|_| NewJob::new("x")).collect()).await.unwrap();
    queue.enqueue((0..3).map(|_| NewJob::new("x").with_delay(later)).collect()).await.unwrap();
    let urgent = submit(&queue, NewJob::new("x").with_priority(Priority::High).with_tenant("u")).await;
    let page = queue.list(&ListQuery::new(JobState::Ready).with_limit(10)).await.unwrap();
    assert_eq!((page.total, page.jobs.len(), page.jobs[0].id), (26, 10, urgent));
    let mut all = Vec::new();
    for offset in [0, 10, 20, 30] {
        let page =
            queue.list(&ListQuery::new(JobState::Ready).with_offset(offset).with_limit(10)).await.unwrap();
        all.extend(page.jobs.into_iter().map(|job| job.id));
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 26);
    let jobs = rig.claim(&queue, 6).await;
    rig.settle(&queue, &jobs[0], Outcome::done("")).await;
    rig.settle(&queue, &jobs[1], Outcome::rejected("")).await;
    queue.cancel(jobs[2].id()).await.unwrap();
    rig.settle(&queue, &jobs[2], Outcome::Cancelled).await;
    for (state, total) in [
        (JobState::Delayed, 3),
        (JobState::Ready, 20),
        (JobState::Active, 3),
        (JobState::Done, 1),
        (JobState::Dead, 1),
        (JobState::Cancelled, 1),
    ] {
        let page = queue.list(&ListQuery::new(state)).await.unwrap();
        assert_eq!((page.total, page.jobs.len() as u64), (total, total), "{state}");
        assert!(page.jobs.iter().all(|job| job.state == state));
    }
    for limit in [0, 201, u64::MAX] {
        let error = queue.list(&ListQuery::new(JobState::Done).with_limit(limit)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
    let beyond = ListQuery::new(JobState::Done).with_offset(u64::MAX);
    assert!(queue.list(&beyond).await.unwrap().jobs.is_empty());
}

/// Depth rises when a job is enqueued and falls when it is claimed, by language.
pub async fn says_its_figures(rig: QueueRig) {
    let queue = rig.queue(QueueConfig::default().with_backoff(Duration::from_secs(60))).await;
    let of = |language: &str| NewJob::new("x").with_language(language);
    let jobs = vec![of("c"), of("python"), of("python"), of("c").with_delay(Duration::from_secs(60))];
    queue.enqueue(jobs).await.unwrap();
    queue.enqueue(vec![of("c").with_priority(Priority::Low).with_tenant("two")]).await.unwrap();
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.ready, stats.delayed, stats.active, stats.depth()), (4, 1, 0, 5));
    assert_eq!((stats.depth_by_language["c"], stats.depth_by_language["python"]), (3, 2));
    assert_eq!((stats.ready_by_priority, stats.tenants_waiting), ([0, 3, 1], 2));
    let first = rig.claim_one(&queue).await;
    assert_eq!(queue.stats().await.unwrap().depth_by_language[&first.language], 2);
    let others = rig.claim(&queue, 10).await;
    assert_eq!(others.len(), 3);
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.depth_by_language.len(), stats.depth_by_language["c"]), (1, 1), "the delayed one");
    assert_eq!((stats.active, stats.oldest_ready), (4, Duration::ZERO));
    let outcome = Outcome::Retry { error: "fault".into(), after: Some(Duration::from_secs(60)) };
    rig.settle(&queue, &first, outcome).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    for job in others {
        rig.settle(&queue, &job, Outcome::done("")).await;
    }
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.delayed, stats.active, stats.done, stats.retries, stats.completed), (2, 0, 3, 1, 3));
    assert!(stats.average_run >= Duration::from_millis(4));
    submit(&queue, of("c")).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(queue.stats().await.unwrap().oldest_ready >= Duration::from_millis(25));
}

/// Who waits for the end of a job is told, whenever it began to wait.
pub async fn wakes_who_waits_for_the_end(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let id = submit(&queue, NewJob::new("x")).await;
    let early = queue.wait(id, Duration::from_millis(30)).await.unwrap();
    assert_eq!(early.state, JobState::Ready, "as it is when the time is up");
    let mut waits = Vec::new();
    for _ in 0..10 {
        let queue = Arc::clone(&queue);
        waits.push(tokio::spawn(async move { queue.wait(id, Duration::from_secs(60)).await.unwrap() }));
    }
    let job = rig.claim_one(&queue).await;
    let began = Instant::now();
    rig.settle(&queue, &job, Outcome::done("r")).await;
    for wait in waits {
        assert_eq!(wait.await.unwrap().result.as_deref(), Some(&b"r"[..]));
    }
    assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
    assert_eq!(queue.wait(id, Duration::MAX).await.unwrap().state, JobState::Done);
}

/// What was removed is forgotten, with all that was kept of it.
pub async fn forgets_what_was_removed(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let blob = queue.put_blob("in".into(), BRIEF).await.unwrap();
    let job = NewJob::new("x").with_idempotency_key("k").with_blob(blob);
    let id = submit(&queue, job.clone()).await;
    let claimed = rig.claim_one(&queue).await;
    let out = queue.put_blob("out".into(), BRIEF).await.unwrap();
    rig.settle(&queue, &claimed, Outcome::Done { result: "r".into(), blobs: vec![out] }).await;
    assert_eq!(view(&queue, id).await.blobs, [blob, out]);
    assert_eq!(queue.remove(&[id]).await.unwrap(), 1);
    assert_eq!(queue.remove(&[id]).await.unwrap(), 0);
    assert_eq!(queue.get(id).await.unwrap(), None);
    assert_eq!(queue.payload(id).await.unwrap(), None);
    assert_eq!(queue.events(id, 0).await.unwrap(), None);
    let queue_ref = &queue;
    for blob in [blob, out] {
        until("the blob is gone", || async move { queue_ref.get_blob(blob).await.unwrap().is_none() }).await;
    }
    assert_eq!(queue.stats().await.unwrap().done, 0);
    let again = queue.put_blob("in".into(), Duration::from_secs(60)).await.unwrap();
    assert_eq!(
        submit(&queue, NewJob::new("y").with_id(id).with_idempotency_key("k").with_blob(again)).await,
        id
    );
}

/// Whatever is asked of a job that is not there has an answer.
pub async fn unknown_jobs_are_unknown(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let id = JobId::new();
    assert_eq!(queue.get(id).await.unwrap(), None);
    assert_eq!(queue.payload(id).await.unwrap(), None);
    assert_eq!(queue.events(id, 0).await.unwrap(), None);
    assert_eq!(queue.cancel(id).await.unwrap(), Cancellation::NotFound);
    assert_eq!(queue.requeue(&[id]).await.unwrap(), 0);
    assert_eq!(queue.remove(&[id]).await.unwrap(), 0);
    assert_eq!(queue.wait(id, Duration::from_secs(1)).await.unwrap_err().kind(), ErrorKind::NotFound);
    let events = queue.next_events(id, 0, Duration::from_secs(1)).await;
    assert_eq!(events.unwrap_err().kind(), ErrorKind::NotFound);
}
