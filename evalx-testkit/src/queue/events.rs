//! What is told of a job.

use std::time::Duration;

use evalx_queue::{
    Claimed, DynQueue, ErrorKind, Event, EventKind, JobState, NewEvent, NewJob, Outcome, Queue as _,
    QueueConfig, QueueExt as _, Settled, Settlement, WorkerId,
};

use super::QueueRig;
use super::rig::{submit, view};

async fn tell(queue: &DynQueue, job: &Claimed, name: &str, data: &str) -> Settled {
    queue.emit(&job.lease, vec![NewEvent::new(name, data.to_owned()).unwrap()]).await.unwrap()
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

/// Events have numbers without gaps, and can be had from any of them on.
pub async fn are_numbered_and_replayed(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let id = submit(&queue, NewJob::new("x")).await;
    assert_eq!(names(&queue.events(id, 0).await.unwrap().unwrap()), ["queued"]);
    let job = rig.claim_one(&queue).await;
    tell(&queue, &job, "compiled", "ok").await;
    let two = vec![NewEvent::new("test", "1\n2").unwrap(), NewEvent::new("test", vec![0, 255]).unwrap()];
    assert_eq!(queue.emit(&job.lease, two).await.unwrap(), Settled::Applied);
    rig.settle(&queue, &job, Outcome::done("r")).await;
    assert_eq!(tell(&queue, &job, "late", "").await, Settled::Stale);
    let all = queue.events(id, 0).await.unwrap().unwrap();
    assert_eq!(names(&all), ["queued", "started", "compiled", "test", "test", "done"]);
    assert_eq!(all.iter().map(|event| event.sequence).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!((all[3].data.as_ref(), all[4].data.as_ref()), (&b"1\n2"[..], &[0, 255][..]));
    assert_eq!((all[0].token, all[3].token, all[3].kind), (0, job.lease.token, EventKind::Told));
    assert_eq!(all[5].kind, EventKind::Ended(JobState::Done));
    assert!(all[5].is_last() && !all[4].is_last() && all.is_sorted_by_key(|event| event.at));
    for after in 0..=7 {
        let rest = queue.events(id, after as u64).await.unwrap().unwrap();
        assert_eq!(rest, all[after.min(6)..]);
    }
    assert!(queue.events(id, u64::MAX).await.unwrap().unwrap().is_empty());
    assert_eq!(names(&queue.next_events(id, 5, Duration::ZERO).await.unwrap()), ["done"]);
}

/// Too many, too long, or of a bad name: refused, or dropped and counted; the end is never dropped.
pub async fn are_bounded(rig: QueueRig) {
    let config = QueueConfig::default().with_max_payload(100).with_max_events(5).with_max_event_bytes(150);
    let queue = rig.queue(config).await;
    let id = submit(&queue, NewJob::new("x")).await;
    let job = rig.claim_one(&queue).await;
    for name in ["", "Upper", "with space", "a\nb", "started", "done", &"x".repeat(65)] {
        assert_eq!(NewEvent::new(name, "").unwrap_err().kind(), ErrorKind::InvalidRequest, "{name:?}");
    }
    let large = vec![NewEvent::new("e", vec![0; 101]).unwrap()];
    assert_eq!(queue.emit(&job.lease, large).await.unwrap_err().kind(), ErrorKind::InvalidRequest);
    let many = (0..101).map(|_| NewEvent::new("e", "").unwrap()).collect();
    assert_eq!(queue.emit(&job.lease, many).await.unwrap_err().kind(), ErrorKind::InvalidRequest);
    tell(&queue, &job, "e", &"x".repeat(100)).await;
    tell(&queue, &job, "dropped", &"x".repeat(51)).await;
    for _ in 0..5 {
        tell(&queue, &job, "e", "x").await;
    }
    rig.settle(&queue, &job, Outcome::rejected("why")).await;
    let all = queue.events(id, 0).await.unwrap().unwrap();
    assert_eq!(names(&all), ["queued", "started", "e", "e", "e", "e", "dead"]);
    assert_eq!(all[6].data, "why");
    assert_eq!(view(&queue, id).await.events_dropped, 3);
}

/// What is told with the end of an attempt comes before it, and only if the end counts.
pub async fn come_with_the_end(rig: QueueRig) {
    let config = QueueConfig::default().with_max_payload(100).with_max_events(4).with_backoff(Duration::ZERO);
    let queue = rig.queue(config).await;
    let id = submit(&queue, NewJob::new("x")).await;
    let told = |data: &str| vec![NewEvent::new("test", data.to_owned()).unwrap(); 2];
    let finish = async |settlement| {
        let finished = queue.finish(&WorkerId::unique(), vec![settlement], 0).await?;
        Ok::<_, evalx_queue::Error>(finished.settled[0])
    };
    let first = rig.claim_one(&queue).await;
    for (data, count) in [("x".repeat(101), 1), (String::new(), 101)] {
        let event = NewEvent::new("test", data).unwrap();
        let settlement = Settlement::new(first.lease, Outcome::done("")).with_events(vec![event; count]);
        assert_eq!(finish(settlement).await.unwrap_err().kind(), ErrorKind::InvalidRequest);
    }
    let failed = Settlement::new(first.lease, Outcome::retry("why")).with_events(told("1\n\0"));
    for _ in 0..2 {
        assert_eq!(finish(failed.clone()).await.unwrap(), Settled::Applied);
    }
    let second = rig.claim_one(&queue).await;
    let done = Settlement::new(second.lease, Outcome::done("r")).with_events(told("2"));
    assert_eq!(finish(done).await.unwrap(), Settled::Applied);
    let late = Settlement::new(first.lease, Outcome::done("")).with_events(told("late"));
    assert_eq!(finish(late).await.unwrap(), Settled::Stale);
    let all = queue.events(id, 0).await.unwrap().unwrap();
    // Started twice, retrying and two tests are five already: of the second attempt's none is kept.
    assert_eq!(names(&all), ["queued", "started", "test", "test", "retrying", "started", "done"]);
    assert_eq!((&all[3].data[..], all[3].token), (&b"1\n\0"[..], first.lease.token));
    assert_eq!(view(&queue, id).await.events_dropped, 2);
}

/// What is told says to which attempt it belongs.
pub async fn begin_anew_with_each_attempt(rig: QueueRig) {
    let queue = rig.hasty_queue().await;
    let id = submit(&queue, NewJob::new("x")).await;
    let first = rig.claim_one(&queue).await;
    tell(&queue, &first, "test", "1").await;
    let second = rig.claim_one(&queue).await;
    assert_eq!(tell(&queue, &first, "test", "2").await, Settled::Stale);
    let outcome = Outcome::Retry { error: "fault".into(), after: Some(Duration::ZERO) };
    rig.settle(&queue, &second, outcome).await;
    let third = rig.claim_one(&queue).await;
    queue.release(&[third.lease]).await.unwrap();
    let fourth = rig.claim_one(&queue).await;
    rig.settle(&queue, &fourth, Outcome::rejected("why")).await;
    queue.requeue(&[id]).await.unwrap();
    queue.cancel(id).await.unwrap();
    let all = queue.events(id, 0).await.unwrap().unwrap();
    let expected = [
        "queued",
        "started",
        "test",
        "lost",
        "started",
        "retrying",
        "started",
        "released",
        "started",
        "dead",
        "requeued",
        "cancelled",
    ];
    assert_eq!(names(&all), expected);
    assert_eq!((all[5].data.as_ref(), all[9].data.as_ref()), (&b"fault"[..], &b"why"[..]));
    let tokens: Vec<_> = all.iter().map(|event| event.token).collect();
    assert!(tokens.is_sorted(), "{tokens:?}");
    assert_eq!(all.iter().map(|event| event.sequence).collect::<Vec<_>>(), (1..=12).collect::<Vec<_>>());
}

/// Who follows a job gets each event as it comes.
pub async fn wake_who_follows(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let id = submit(&queue, NewJob::new("x")).await;
    let follower = std::sync::Arc::clone(&queue);
    let follow = tokio::spawn(async move {
        let mut seen = Vec::<Event>::new();
        while !seen.last().is_some_and(Event::is_last) {
            let after = seen.last().map_or(0, |event| event.sequence);
            seen.extend(follower.next_events(id, after, Duration::from_secs(60)).await.unwrap());
        }
        seen
    });
    let job = rig.claim_one(&queue).await;
    for n in 0..20 {
        tell(&queue, &job, "test", &n.to_string()).await;
        tokio::task::yield_now().await;
    }
    rig.settle(&queue, &job, Outcome::done("")).await;
    let seen = tokio::time::timeout(Duration::from_secs(30), follow).await.expect("it is told").unwrap();
    assert_eq!(seen.len(), 23);
    assert_eq!(seen, queue.events(id, 0).await.unwrap().unwrap());
}
