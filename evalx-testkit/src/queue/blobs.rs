//! What is too large for a job.

use std::time::Duration;

use bytes::Bytes;
use evalx_queue::{BlobId, ErrorKind, NewJob, Outcome, Queue as _, QueueConfig};

use super::QueueRig;
use super::rig::{submit, until};

/// Soon over, and long enough for a job to be enqueued on a machine that is busy.
pub(super) const BRIEF: Duration = Duration::from_secs(2);

/// A blob is what was put, and gone after its time.
pub async fn are_kept_for_their_time(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let bytes = Bytes::from((0..3_000_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    let id = queue.put_blob(bytes.clone(), Duration::from_secs(60)).await.unwrap();
    assert!(queue.get_blob(id).await.unwrap() == Some(bytes), "it is what was put");
    queue.remove_blob(id).await.unwrap();
    assert_eq!(queue.get_blob(id).await.unwrap(), None);
    queue.remove_blob(BlobId::new()).await.unwrap();
    let brief = queue.put_blob("brief".into(), Duration::from_millis(50)).await.unwrap();
    let queue_ref = &queue;
    until("the blob is forgotten", || async { queue_ref.get_blob(brief).await.unwrap().is_none() }).await;
}

/// A blob is kept as long as there is a job that names it.
pub async fn are_kept_as_long_as_a_job_needs_them(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let needed = queue.put_blob("needed".into(), BRIEF).await.unwrap();
    let other = queue.put_blob("other".into(), BRIEF).await.unwrap();
    let job = || NewJob::new("x").with_blob(needed).with_result_ttl(Duration::from_millis(300));
    submit(&queue, job()).await;
    submit(&queue, job()).await;
    let queue_ref = &queue;
    until("the other is forgotten", || async { queue_ref.get_blob(other).await.unwrap().is_none() }).await;
    for _ in 0..2 {
        assert_eq!(queue.get_blob(needed).await.unwrap(), Some("needed".into()));
        let job = rig.claim_one(&queue).await;
        rig.settle(&queue, &job, Outcome::done("")).await;
    }
    until("the needed is forgotten", || async {
        queue_ref.sweep().await.unwrap();
        queue_ref.get_blob(needed).await.unwrap().is_none()
    })
    .await;
}

/// What jobs share is there when the first of them is forgotten; and a blob is
/// there for its own time when all are.
pub async fn are_not_gone_with_the_first_job(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let shared = queue.put_blob("shared".into(), BRIEF).await.unwrap();
    let alone = queue.put_blob("alone".into(), BRIEF).await.unwrap();
    let lasting = queue.put_blob("lasting".into(), Duration::from_secs(60)).await.unwrap();
    let job = |ttl| NewJob::new("x").with_blob(shared).with_blob(lasting).with_result_ttl(ttl);
    let brief = submit(&queue, job(Duration::from_millis(50))).await;
    let other = submit(&queue, job(Duration::from_secs(60))).await;
    for _ in 0..2 {
        let job = rig.claim_one(&queue).await;
        rig.settle(&queue, &job, Outcome::done("")).await;
    }
    let queue_ref = &queue;
    until("the first job is forgotten", || async {
        queue_ref.sweep().await.unwrap();
        queue_ref.get(brief).await.unwrap().is_none()
    })
    .await;
    until("its own time is over", || async { queue_ref.get_blob(alone).await.unwrap().is_none() }).await;
    assert_eq!(queue.get_blob(shared).await.unwrap(), Some("shared".into()));
    assert_eq!(queue.remove(&[other]).await.unwrap(), 1);
    until("what they shared is gone", || async { queue_ref.get_blob(shared).await.unwrap().is_none() }).await;
    assert_eq!(queue.get_blob(lasting).await.unwrap(), Some("lasting".into()));
}

/// A blob over the limit, or for ever, is refused.
pub async fn have_a_limit(rig: QueueRig) {
    let queue = rig.queue(QueueConfig::default().with_max_blob(1000)).await;
    let minute = Duration::from_secs(60);
    queue.put_blob(vec![0; 1000].into(), minute).await.unwrap();
    let refused = [(1001, minute, "1001 bytes"), (1, Duration::ZERO, "0ns"), (1, Duration::MAX, "ten years")];
    for (size, ttl, complaint) in refused {
        let error = queue.put_blob(vec![0; size].into(), ttl).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.to_string().contains(complaint), "{error}");
    }
}
