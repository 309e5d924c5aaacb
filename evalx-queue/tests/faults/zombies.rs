//! F7 and F8: who comes back from the dead, and who does the same twice.

use std::time::Duration;

use evalx_queue::{
    JobState, NewJob, Outcome, Queue as _, QueueConfig, QueueExt as _, Settled, Settlement, WorkerId,
};
use evalx_testkit::RedisOptions;
use tokio::task::JoinSet;

use super::child::{Part, Process, begins};
use super::ledger::result_of;
use super::stage::{PATIENCE, Stage, patient_config, queue, server, until};

/// A worker that is frozen past its lease finishes too late, changes nothing,
/// and works on.
pub(crate) async fn frozen_worker(_: Stage) {
    let server = server(RedisOptions::volatile());
    let config = patient_config().with_lease(Duration::from_millis(800));
    let (queue, name) = queue(&server, config.clone()).await;
    let (url, folder) = (server.url(), tempfile::tempdir().unwrap());
    let log = folder.path().join("begins");
    let part = Part { role: "worker", url: &url, name: &name, config: &config, number: 300, log: Some(&log) };
    let mut zombie = Process::start(&part);
    for round in 0..3 {
        // On a machine that is busy it can be done before anybody sees that it has begun.
        let id = loop {
            let id = queue.submit(NewJob::new(format!("job {round}"))).await.unwrap();
            let has_begun = async || begins(&log).iter().any(|begin| begin.id == id);
            until("the worker has begun", PATIENCE, has_begun).await;
            zombie.freeze();
            if queue.get(id).await.unwrap().unwrap().state == JobState::Active {
                break id;
            }
            zombie.thaw();
        };
        let me = WorkerId::unique();
        let mut claimed = queue.claim(&me, 1, PATIENCE).await.unwrap();
        let Some(job) = claimed.pop() else { panic!("the job of the frozen worker never came back") };
        assert_eq!((job.id(), job.lease.token), (id, 2));
        let done = vec![Settlement::new(job.lease, Outcome::done("mine"))];
        assert_eq!(queue.finish(&me, done, 0).await.unwrap().settled, [Settled::Applied]);
        let before = queue.get(id).await.unwrap().unwrap();
        zombie.thaw();
        // It has come to itself when it does the next job.
        let next = queue.submit(NewJob::new("next")).await.unwrap();
        let next = queue.wait(next, PATIENCE).await.unwrap();
        assert_eq!((next.state, next.result.as_deref()), (JobState::Done, Some(&result_of(b"next")[..])));
        assert!(!zombie.has_ended());
        assert_eq!(queue.get(id).await.unwrap().unwrap(), before, "nothing of the job has changed");
        assert_eq!(before.result.as_deref(), Some(&b"mine"[..]));
    }
}

/// However many tidy at once, each lost worker counts once.
pub(crate) async fn sweepers(_: Stage) {
    let server = server(RedisOptions::volatile());
    let config = QueueConfig::default().with_lease(Duration::from_millis(200)).with_max_crashes(100);
    let (queue, _) = queue(&server, config).await;
    queue.enqueue((0..90).map(|_| NewJob::new("x")).collect()).await.unwrap();
    assert_eq!(queue.claim(&WorkerId::unique(), 90, Duration::ZERO).await.unwrap().len(), 90);
    let mut sweepers = JoinSet::new();
    for _ in 0..8 {
        let queue = std::sync::Arc::clone(&queue);
        sweepers.spawn(async move {
            until("all are taken back", PATIENCE, || async {
                queue.sweep().await.unwrap();
                queue.stats().await.unwrap().active == 0
            })
            .await;
        });
    }
    sweepers.join_all().await;
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.ready, stats.crashes, stats.retries), (90, 90, 90));
}
