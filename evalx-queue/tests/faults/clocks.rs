//! F9: clocks that are wrong.

use std::sync::Arc;
use std::time::Duration;

use evalx_queue::{Beat, NewJob, Queue as _, QueueExt as _, Timestamp, Worker, WorkerConfig, WorkerId};
use evalx_testkit::RedisOptions;

use super::ledger::{Ledger, jobs};
use super::stage::{PATIENCE, Stage, connect, patient_config, server, until_idle};

/// The clock of the server jumps by half a minute, forwards and back: that
/// costs runs, and no job.
pub(crate) async fn jumps(_: Stage) {
    let server = server(RedisOptions::volatile());
    let redis = Arc::new(connect(&server.url(), "jumps", patient_config()).await);
    let ledger = Ledger::default();
    let mut now = super::child::wall();
    redis.set_time(Some(Timestamp::from_millis(now))).await.unwrap();
    let worker = Worker::start(
        Arc::clone(&redis) as _,
        ledger.handler(Duration::from_millis(30)),
        WorkerConfig::default().with_slots(4),
    )
    .unwrap();
    let queue = Arc::clone(&redis) as evalx_queue::DynQueue;
    for (round, jump) in [30_000_i64, -30_000, 3_600_000, -3_600_000, 1, 30_000].into_iter().enumerate() {
        ledger.enqueue(&queue, jobs(round * 30..round * 30 + 30)).await;
        tokio::time::sleep(Duration::from_millis(40)).await;
        now = now.checked_add_signed(jump).unwrap();
        redis.set_time(Some(Timestamp::from_millis(now))).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A clock that stands still would keep a lease that was lost meanwhile for ever.
    redis.set_time(None).await.unwrap();
    until_idle(&queue, PATIENCE).await;
    worker.shutdown().await;
    ledger.assert_all_done(&queue).await;
    // A lease holds by the server's clock alone: a stopped one never runs out.
    redis.set_time(Some(Timestamp::from_millis(now))).await.unwrap();
    redis.submit(NewJob::new("x")).await.unwrap();
    let job = &redis.claim(&WorkerId::unique(), 1, PATIENCE).await.unwrap()[0];
    assert!(redis.claim(&WorkerId::unique(), 1, Duration::from_millis(2_500)).await.unwrap().is_empty());
    assert!(matches!(redis.heartbeat(&[job.lease]).await.unwrap()[0], Beat::Renewed { .. }));
}

/// That the clocks of workers decide nothing is seen in the sources: the time
/// of day is read in one place, for the queue in memory.
pub(crate) async fn sources(_: Stage) {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            seen += 1;
            let reads = std::fs::read_to_string(&path).unwrap().contains("SystemTime::now");
            assert!(!reads || path.ends_with("src/time.rs"), "{} reads the time of day", path.display());
        }
    }
    assert!(seen > 20, "the sources were not found");
}
