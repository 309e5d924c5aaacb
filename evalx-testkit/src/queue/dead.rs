//! What failed for good.

use std::time::Duration;

use evalx_queue::{JobId, JobState, ListQuery, NewJob, Outcome, Queue as _, QueueConfig, QueueExt as _};

use super::QueueRig;
use super::rig::{state, submit, until, view};

async fn dead(rig: &QueueRig, queue: &evalx_queue::DynQueue, payload: &str) -> JobId {
    let id = submit(queue, NewJob::new(payload.to_owned()).with_language("l")).await;
    let job = rig.claim_one(queue).await;
    rig.settle(queue, &job, Outcome::rejected(format!("{payload} is bad"))).await;
    id
}

/// The dead are listed, the latest first, with why, and with what was enqueued.
pub async fn is_listed_with_its_errors(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(dead(&rig, &queue, &n.to_string()).await);
    }
    let page = queue.list(&ListQuery::new(JobState::Dead)).await.unwrap();
    assert_eq!((page.total, page.jobs.len()), (3, 3));
    for job in &page.jobs {
        let payload = queue.payload(job.id).await.unwrap().unwrap();
        let payload = std::str::from_utf8(&payload).unwrap();
        assert_eq!(job.last_error(), Some(format!("{payload} is bad").as_str()));
        assert_eq!((job.state, job.errors[0].worker.as_str()), (JobState::Dead, rig.worker().as_str()));
    }
    let finished: Vec<_> = page.jobs.iter().map(|job| job.finished_at.unwrap()).collect();
    assert!(finished.is_sorted_by(|a, b| a >= b), "{finished:?}");
}

/// The dead are put back one by one or all, and begin anew, with what they had to say.
pub async fn is_requeued(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let first = dead(&rig, &queue, "a").await;
    let others = [dead(&rig, &queue, "b").await, dead(&rig, &queue, "c").await];
    assert_eq!(queue.requeue(&[first, JobId::new()]).await.unwrap(), 1);
    assert_eq!(queue.requeue(&[first]).await.unwrap(), 0, "it is dead no more");
    let seen = view(&queue, first).await;
    assert_eq!(
        (seen.state, seen.attempt, seen.finished_at, seen.errors.len()),
        (JobState::Ready, 0, None, 1)
    );
    assert_eq!(queue.stats().await.unwrap().depth_by_language["l"], 1);
    let job = rig.claim_one(&queue).await;
    assert_eq!((job.id(), job.attempt, job.payload.as_ref()), (first, 1, &b"a"[..]));
    rig.settle(&queue, &job, Outcome::done("good")).await;
    assert_eq!(state(&queue, first).await, JobState::Done);
    assert_eq!(queue.requeue_all_dead().await.unwrap(), 2);
    for id in others {
        assert_eq!(state(&queue, id).await, JobState::Ready);
    }
    assert_eq!(queue.stats().await.unwrap().dead, 0);
}

/// The dead are forgotten when somebody says so, when there are too many, and in time.
pub async fn is_removed_and_capped(rig: QueueRig) {
    let config = QueueConfig::default().with_max_dead(2).with_dead_ttl(Duration::from_millis(1500));
    let queue = rig.queue(config).await;
    let oldest = dead(&rig, &queue, "a").await;
    // Two that ended in the same millisecond have no order.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let second = dead(&rig, &queue, "b").await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let third = dead(&rig, &queue, "c").await;
    assert_eq!(queue.get(oldest).await.unwrap(), None, "there is room for two");
    assert_eq!(queue.remove(&[second, JobId::new()]).await.unwrap(), 1);
    assert_eq!(queue.get(second).await.unwrap(), None);
    let running = submit(&queue, NewJob::new("d")).await;
    assert_eq!(queue.remove(&[running]).await.unwrap(), 0, "only what has ended");
    let queue_ref = &queue;
    until("the last is forgotten", || async { queue_ref.get(third).await.unwrap().is_none() }).await;
    assert_eq!(queue.purge(JobState::Dead).await.unwrap(), 0);
    assert!(queue.purge(JobState::Ready).await.is_err());
}
