//! Whose turn it is.

use std::time::Duration;

use evalx_queue::{Claimed, NewJob, Outcome, Priority, Queue as _, QueueConfig, Settlement};

use super::QueueRig;

fn of(tenant: &str, n: usize) -> Vec<NewJob> {
    (0..n).map(|_| NewJob::new("x").with_tenant(tenant)).collect()
}

fn tenants(jobs: &[Claimed]) -> Vec<&str> {
    jobs.iter().map(|job| job.tenant.as_str()).collect()
}

/// A higher priority goes first, and the others have their turns all the same.
pub async fn high_goes_first_but_none_starves(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    let jobs = |priority, n| (0..n).map(move |_| NewJob::new("x").with_priority(priority));
    let all = jobs(Priority::Low, 40).chain(jobs(Priority::Normal, 40)).chain(jobs(Priority::High, 100));
    queue.enqueue(all.collect()).await.unwrap();
    let claimed = rig.claim(&queue, 64).await;
    let count = |priority| claimed.iter().filter(|job| job.priority == priority).count();
    let counts = [Priority::High, Priority::Normal, Priority::Low].map(count);
    assert_eq!(counts, [56, 4, 4], "of sixteen one each");
    assert_eq!(claimed[0].priority, Priority::High);
}

/// Each tenant gets one job in a round, however many it has.
pub async fn tenants_take_turns(rig: QueueRig) {
    let queue = rig.plain_queue().await;
    queue.enqueue(of("greedy", 1000)).await.unwrap();
    queue.enqueue(of("modest", 10)).await.unwrap();
    let claimed = rig.claim(&queue, 20).await;
    assert_eq!(tenants(&claimed).iter().filter(|tenant| **tenant == "modest").count(), 10);
    // Who comes late waits for one round, not for all that came before.
    queue.enqueue(of("late", 1)).await.unwrap();
    assert!(tenants(&rig.claim(&queue, 2).await).contains(&"late"));
}

/// A tenant at its cap is passed over, and has its turn when one of its jobs ends.
pub async fn a_tenant_has_a_cap(rig: QueueRig) {
    let queue = rig.queue(QueueConfig::default().with_tenant_in_flight(Some(2))).await;
    queue.enqueue(of("a", 10)).await.unwrap();
    let first = rig.claim(&queue, 10).await;
    assert_eq!(first.len(), 2);
    queue.enqueue(of("b", 1)).await.unwrap();
    assert_eq!(tenants(&rig.claim(&queue, 10).await), ["b"]);
    let waiter = std::sync::Arc::clone(&queue);
    let worker = rig.worker().clone();
    let claim =
        tokio::spawn(async move { waiter.claim(&worker, 10, Duration::from_secs(60)).await.unwrap() });
    let done = vec![Settlement::new(first[0].lease, Outcome::done(""))];
    queue.finish(&evalx_queue::WorkerId::unique(), done, 0).await.unwrap();
    assert_eq!(tenants(&claim.await.unwrap()), ["a"]);
}

/// What is behind many that can't be begun is found soon: tenants at their cap,
/// and jobs that have expired.
pub async fn who_waits_looks_on(rig: QueueRig) {
    const SOON: Duration = Duration::from_secs(3);
    let queue = rig.queue(QueueConfig::default().with_tenant_in_flight(Some(1))).await;
    for tenant in 0..200 {
        queue.enqueue(of(&format!("tenant {tenant}"), 2)).await.unwrap();
    }
    assert_eq!(rig.claim(&queue, 100).await.len(), 100);
    assert_eq!(rig.claim(&queue, 100).await.len(), 100);
    queue.enqueue(of("free", 1)).await.unwrap();
    assert_eq!(tenants(&queue.claim(rig.worker(), 1, SOON).await.unwrap()), ["free"]);
    let queue = rig.plain_queue().await;
    let expired = |_| NewJob::new("x").with_tenant("late").with_expires_after(Duration::from_millis(1));
    for _ in 0..4 {
        queue.enqueue((0..100).map(expired).collect()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    queue.enqueue(of("late", 1)).await.unwrap();
    assert_eq!(tenants(&queue.claim(rig.worker(), 1, SOON).await.unwrap()), ["late"]);
}
