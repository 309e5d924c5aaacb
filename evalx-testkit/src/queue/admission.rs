//! What is taken in, and what is refused.

use std::time::Duration;

use bytes::Bytes;
use evalx_queue::{
    Admission, BlobId, Control, ErrorKind, JobId, JobState, Limits, ListQuery, NewJob, Outcome, Priority,
    Queue as _, QueueConfig, QueueExt as _, Scope,
};

use super::QueueRig;
use super::rig::{state, submit, until, view};

/// A job is accepted, told its place, and is as it was enqueued.
pub async fn accepts_and_says_the_position(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let (first, second) = (NewJob::new("a"), NewJob::new("b"));
    let ids = [first.id, second.id];
    let delayed = NewJob::new("c").with_delay(Duration::from_secs(60));
    let admissions = queue.enqueue(vec![first, second, delayed.clone()]).await.unwrap();
    assert_eq!(admissions[0], Admission::Accepted { id: ids[0], position: Some(1) });
    assert_eq!(admissions[1], Admission::Accepted { id: ids[1], position: Some(2) });
    assert_eq!(admissions[2], Admission::Accepted { id: delayed.id, position: None });
    assert_eq!(state(&queue, delayed.id).await, JobState::Delayed);
    let job = view(&queue, ids[1]).await;
    assert_eq!((job.state, job.position, job.attempt, job.payload_bytes), (JobState::Ready, Some(2), 0, 1));
    assert_eq!(queue.payload(ids[1]).await.unwrap(), Some(Bytes::from("b")));
    // Another tenant's first job comes before this one's second.
    let other = NewJob::new("d").with_tenant("other");
    queue.enqueue(vec![other.clone()]).await.unwrap();
    assert!(view(&queue, other.id).await.position.unwrap() <= 2);
    rig.claim_one(&queue).await;
    assert_eq!(view(&queue, ids[0]).await.position, None, "it runs");
}

/// The same id a second time is no second job, whatever became of the first.
pub async fn repeats_nothing(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let job = NewJob::new("once");
    submit(&queue, job.clone()).await;
    for expected in [JobState::Ready, JobState::Active, JobState::Done] {
        let again = queue.enqueue(vec![job.clone(), job.clone()]).await.unwrap();
        assert_eq!(again, vec![Admission::Duplicate { id: job.id, state: expected }; 2]);
        match expected {
            JobState::Ready => drop(rig.claim_one(&queue).await),
            JobState::Active => {
                let lease = evalx_queue::Lease { id: job.id, token: view(&queue, job.id).await.token };
                let done = vec![evalx_queue::Settlement::new(lease, Outcome::done("r"))];
                queue.finish(rig.worker(), done, 0).await.unwrap();
            }
            _ => {}
        }
    }
    assert_eq!(queue.stats().await.unwrap().depth(), 0);
}

/// A key is one job of its tenant: the same for the same payload, a conflict for another.
pub async fn knows_idempotency_keys(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let job = |payload: &str, tenant: &str| {
        NewJob::new(payload.to_owned()).with_tenant(tenant).with_idempotency_key("homework: 3")
    };
    let id = submit(&queue, job("a", "ada")).await;
    let admissions = queue.enqueue(vec![job("a", "ada"), job("b", "ada")]).await.unwrap();
    assert_eq!(admissions[0], Admission::Duplicate { id, state: JobState::Ready });
    assert_eq!(admissions[1], Admission::Conflict { id });
    assert_eq!(queue.submit(job("b", "ada")).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_ne!(submit(&queue, job("a", "bob")).await, id, "another tenant's key is another key");
    // Names that run into each other are still different.
    let odd = |tenant: &str, key: &str| NewJob::new("x").with_tenant(tenant).with_idempotency_key(key);
    let first = submit(&queue, odd("a:b", "c")).await;
    assert_ne!(submit(&queue, odd("a", "b:c")).await, first);
    // A fingerprint says what the same request is.
    let own = |payload: &str| NewJob::new(payload.to_owned()).with_idempotency("k", "same");
    assert_eq!(submit(&queue, own("1")).await, submit(&queue, own("2")).await);
    // Once the job is forgotten, so is its key.
    queue.cancel(id).await.unwrap();
    assert_eq!(queue.remove(&[id]).await.unwrap(), 1);
    assert_ne!(submit(&queue, job("b", "ada")).await, id);
}

/// Beyond its depth the queue refuses, and says when to come again.
pub async fn is_full_at_its_depth(rig: QueueRig) {
    let queue = rig.queue(QueueConfig::default().with_max_depth(3)).await;
    let jobs = |n: usize| (0..n).map(|_| NewJob::new("x")).collect::<Vec<_>>();
    let admissions = queue.enqueue(jobs(4)).await.unwrap();
    assert_eq!(admissions.iter().filter(|admission| admission.id().is_some()).count(), 3);
    let Admission::Full { scope: Scope::Queue, depth: 3, retry_after } = admissions[3] else {
        panic!("{admissions:?}")
    };
    assert!(retry_after >= Duration::from_secs(1) && retry_after <= Duration::from_secs(60));
    let error = queue.submit(NewJob::new("x")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Full, Some(retry_after)));
    assert!(error.is_retryable());
    // What runs does not count, what is delayed does.
    rig.claim_one(&queue).await;
    submit(&queue, NewJob::new("x").with_delay(Duration::from_secs(60))).await;
    assert_eq!(queue.submit(NewJob::new("x")).await.unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(queue.stats().await.unwrap().depth(), 3);
}

/// A tenant's share is its own limit.
pub async fn is_full_for_one_tenant(rig: QueueRig) {
    let queue = rig.queue(QueueConfig::default().with_tenant_depth(Some(2))).await;
    let job = |tenant: &str| NewJob::new("x").with_tenant(tenant);
    let jobs = vec![job("a"), job("a"), job("a"), job("b")];
    let admissions = queue.enqueue(jobs).await.unwrap();
    assert!(
        matches!(admissions[2], Admission::Full { scope: Scope::Tenant, depth: 2, .. }),
        "{admissions:?}"
    );
    assert!(admissions[3].id().is_some());
}

/// Limits are changed while the queue runs, and back to what the configuration says.
pub async fn limits_can_be_changed(rig: QueueRig) {
    let queue = rig.queue(QueueConfig::default().with_max_depth(2)).await;
    queue.control(Control::Limits(Limits::default().with_max_depth(1))).await.unwrap();
    submit(&queue, NewJob::new("x")).await;
    assert_eq!(queue.submit(NewJob::new("x")).await.unwrap_err().kind(), ErrorKind::Full);
    queue.control(Control::Limits(Limits::default())).await.unwrap();
    submit(&queue, NewJob::new("x")).await;
    assert_eq!(queue.submit(NewJob::new("x")).await.unwrap_err().kind(), ErrorKind::Full);
    let zero = Control::Limits(Limits::default().with_max_depth(0));
    assert_eq!(queue.control(zero).await.unwrap_err().kind(), ErrorKind::InvalidRequest);
}

/// A queue that is drained takes nothing new, and gives what it has.
pub async fn takes_nothing_while_it_drains(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let job = NewJob::new("x");
    submit(&queue, job.clone()).await;
    queue.control(Control::Drain).await.unwrap();
    let admissions = queue.enqueue(vec![NewJob::new("y"), job.clone()]).await.unwrap();
    assert_eq!(admissions[0], Admission::Draining);
    assert!(matches!(admissions[1], Admission::Duplicate { .. }), "what was accepted stays accepted");
    assert!(queue.stats().await.unwrap().draining);
    assert_eq!(rig.claim_one(&queue).await.id(), job.id);
    queue.control(Control::Open).await.unwrap();
    submit(&queue, NewJob::new("y")).await;
}

/// Nonsense is refused with what is allowed, and nothing of the call is written.
pub async fn refuses_nonsense_and_writes_nothing(rig: QueueRig) {
    let queue = rig.queue(QueueConfig::default().with_max_payload(100)).await;
    let long = "x".repeat(NewJob::LONGEST_NAME + 1);
    let forever = Duration::MAX;
    let nonsense = [
        (NewJob::new(vec![0; 101]), "101 bytes"),
        (NewJob::new("x").with_tenant(""), "empty"),
        (NewJob::new("x").with_tenant("a\nb"), "control"),
        (NewJob::new("x").with_language(long.clone()), "257 bytes"),
        (NewJob::new("x").with_idempotency_key("\0"), "control"),
        (NewJob::new("x").with_idempotency("k", long), "257 bytes"),
        (NewJob::new("x").with_trace("\r\n"), "control"),
        (NewJob::new("x").with_delay(forever), "ten years"),
        (NewJob::new("x").with_expires_after(Duration::ZERO), "expires_after"),
        (NewJob::new("x").with_max_run(Duration::ZERO), "max_run"),
        (NewJob::new("x").with_max_run(forever), "max_run"),
        (NewJob::new("x").with_result_ttl(forever), "result_ttl"),
        (NewJob::new("x").with_max_attempts(0), "max_attempts"),
        ((0..65).fold(NewJob::new("x"), |job, _| job.with_blob(BlobId::new())), "65 blobs"),
    ];
    for (job, complaint) in nonsense {
        let (good, id) = (NewJob::new("good"), job.id);
        let error = queue.enqueue(vec![good.clone(), job]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.chain().contains(complaint), "{error:?} does not say {complaint}");
        assert_eq!(queue.get(good.id).await.unwrap(), None, "the others of the call are not taken either");
        assert_eq!(queue.get(id).await.unwrap(), None);
    }
    let blob = BlobId::new();
    let admissions = queue.enqueue(vec![NewJob::new("x").with_blob(blob)]).await.unwrap();
    assert_eq!(admissions[0], Admission::BlobGone { blob });
    assert_eq!(queue.stats().await.unwrap().depth(), 0);
    assert!(rig.claim(&queue, 10).await.is_empty());
    assert_eq!(queue.list(&ListQuery::new(JobState::Ready)).await.unwrap().total, 0);
}

/// Names may have any characters that can be seen, and come back as they were.
pub async fn takes_odd_names(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    for name in ["{a}", "a:b:c", "C++ (GCC 9.2)", "名前 ñ", "*", "a\\b'\"%s", " ", "-1", "\u{202e}x"] {
        let job = NewJob::new(vec![0, 255, 10, 13])
            .with_tenant(name)
            .with_language(name)
            .with_idempotency_key(name)
            .with_trace(name)
            .with_priority(Priority::Low);
        let id = submit(&queue, job.clone()).await;
        assert_eq!(submit(&queue, job.with_id(JobId::new())).await, id, "by its key");
        assert_eq!(queue.stats().await.unwrap().depth_by_language.get(name), Some(&1));
        let seen = view(&queue, id).await;
        assert_eq!((seen.tenant.as_str(), seen.language.as_str()), (name, name));
        let claimed = rig.claim_one(&queue).await;
        assert_eq!((claimed.id(), claimed.tenant.as_str(), claimed.language.as_str()), (id, name, name));
        assert_eq!((claimed.trace.as_deref(), claimed.priority), (Some(name), Priority::Low));
        assert_eq!(claimed.payload, vec![0, 255, 10, 13]);
        rig.settle(&queue, &claimed, Outcome::done(vec![0, 255])).await;
        assert_eq!(view(&queue, id).await.result, Some(Bytes::from(vec![0, 255])));
        assert!(queue.stats().await.unwrap().depth_by_language.is_empty());
    }
}

/// A burst of any size is taken in one call, in its order.
pub async fn takes_a_burst(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let jobs: Vec<_> = (0..1_234).map(|n| NewJob::new(n.to_string())).collect();
    let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
    let admissions = queue.enqueue(jobs).await.unwrap();
    assert_eq!(admissions.iter().map(|a| a.id().unwrap()).collect::<Vec<_>>(), ids);
    assert_eq!(queue.stats().await.unwrap().ready, 1_234);
    let mut claimed = Vec::new();
    while claimed.len() < ids.len() {
        let more = rig.claim(&queue, 100).await;
        assert!(!more.is_empty());
        claimed.extend(more.iter().map(evalx_queue::Claimed::id));
    }
    assert_eq!(claimed, ids);
    // Neither number nor size of the jobs of a call has a limit of its own.
    let large: Vec<_> = (0..12).map(|n| NewJob::new(vec![n; 1 << 20])).collect();
    let admissions = queue.enqueue(large.clone()).await.unwrap();
    for (job, admission) in large.iter().zip(admissions) {
        assert_eq!(admission.id(), Some(job.id));
        assert_eq!(rig.claim_one(&queue).await.payload, job.payload);
    }
    assert!(queue.enqueue(Vec::new()).await.unwrap().is_empty());
}

/// A job that waited longer than it may is dead when its turn comes.
pub async fn expires_what_waited_too_long(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let late = submit(&queue, NewJob::new("x").with_expires_after(Duration::from_millis(1))).await;
    let good = submit(&queue, NewJob::new("y").with_expires_after(Duration::from_secs(60))).await;
    let expires = view(&queue, late).await.expires_at.unwrap();
    let queue_ref = &queue;
    // The queue's own clock is seen in what it writes.
    until("the queue's time is past that", || async {
        let probe = queue_ref.submit(NewJob::new("z").with_tenant("probe")).await.unwrap();
        let now = view(queue_ref, probe).await.enqueued_at;
        queue_ref.cancel(probe).await.unwrap();
        now > expires
    })
    .await;
    assert_eq!(rig.claim_one(&queue).await.id(), good);
    let dead = view(&queue, late).await;
    assert_eq!((dead.state, dead.attempt), (JobState::Dead, 0));
    assert!(dead.last_error().unwrap().contains("expired"));
}
