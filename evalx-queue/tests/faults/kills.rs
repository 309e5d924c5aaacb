//! F1, F2 and F10: processes that are killed, and jobs that kill.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use evalx_queue::{
    JobId, JobState, NewJob, Outcome, Queue as _, QueueConfig, QueueExt as _, Worker, WorkerConfig,
    handler_fn,
};
use evalx_testkit::RedisOptions;

use super::child::{Begin, Part, Process, begins, produced, wall};
use super::ledger::{Ledger, jobs, result_of};
use super::stage::{PATIENCE, Stage, connect, figure, patient_config, queue, server, until, until_idle};

/// Workers are killed at random times while they work; all jobs are done once,
/// and those whose worker was killed begin again soon.
pub(crate) async fn workers_at_random(stage: Stage) {
    let (count, kills) = stage.scale((600, 12), (10_000, 200));
    let lease = stage.scale(Duration::from_secs(2), Duration::from_secs(10));
    let server = server(RedisOptions::every_second());
    let config = patient_config().with_lease(lease);
    let (queue, name) = queue(&server, config.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("begins");
    let url = server.url();
    // Together they take a little longer for what is enqueued in a round than the round lasts.
    let part = Part { role: "worker", url: &url, name: &name, config: &config, number: 150, log: Some(&log) };
    let mut workers: Vec<_> = (0..3).map(|_| Process::start(&part)).collect();
    let ledger = Ledger::default();
    let mut killed = Vec::new();
    let mut next = 0;
    for round in 0..kills {
        // Enqueued bit by bit, so that workers are busy at every kill.
        let upto = count * (round + 1) / kills;
        ledger.enqueue(&queue, jobs(next..upto)).await;
        next = upto;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(100..400))).await;
        let victim = fastrand::usize(..workers.len());
        workers[victim].kill();
        killed.push(wall());
        workers[victim] = Process::start(&part);
    }
    until_idle(&queue, lease * 4 + Duration::from_secs(120)).await;
    drop(workers);
    let views = ledger.assert_all_done(&queue).await;
    assert_eq!(views.len(), count);
    let crashes: u32 = views.iter().map(|view| view.crashes).sum();
    let slowest = slowest_rerun(&begins(&log), &killed);
    figure(&format!(
        "{count} jobs, {kills} kills: {crashes} runs lost, slowest re-run {slowest} ms after its kill"
    ));
    assert!(crashes > 0, "no kill has hit a job: the test proves nothing");
    // The promise is 1.5 s beyond the lease; a machine that is shared gets more.
    let most = lease + stage.scale(Duration::from_secs(20), Duration::from_millis(1_500));
    assert!(
        u128::from(slowest) <= most.as_millis(),
        "a re-run took {slowest} ms, at most {most:?} is allowed"
    );
}

/// The longest time between the kill that ended a run and the next begin of its job.
fn slowest_rerun(begins: &[Begin], kills: &[u64]) -> u64 {
    let mut by_job = HashMap::<JobId, Vec<Begin>>::new();
    begins.iter().for_each(|begin| by_job.entry(begin.id).or_default().push(*begin));
    let mut slowest = 0;
    for runs in by_job.values_mut() {
        runs.sort_unstable_by_key(|begin| begin.token);
        for pair in runs.windows(2) {
            // The first kill after a run has begun is the earliest that can have ended it.
            let ended = kills.iter().find(|at| **at >= pair[0].at).copied().unwrap_or(pair[0].at);
            slowest = slowest.max(pair[1].at.saturating_sub(ended));
        }
    }
    slowest
}

/// Workers are killed around each call that they make.
pub(crate) async fn workers_in_each_window(stage: Stage) {
    let rounds = stage.scale(4, 40);
    let server = server(RedisOptions::every_second());
    let config = patient_config().with_lease(Duration::from_millis(500));
    let (queue, name) = queue(&server, config.clone()).await;
    let ledger = Ledger::default();
    let (url, mut number) = (server.url(), 0);
    let mut fallen = Vec::new();
    for round in 0..rounds {
        for role in ["claim", "run", "finish", "heartbeat", "release"] {
            ledger.enqueue(&queue, jobs(number..number + 1)).await;
            number += 1;
            let part = Part { role, url: &url, name: &name, config: &config, number: round * 150, log: None };
            fallen.push(Process::start(&part));
        }
        for mut process in fallen.drain(..) {
            process.ended().await;
        }
    }
    let worker =
        Worker::start(Arc::clone(&queue), ledger.handler(Duration::ZERO), WorkerConfig::default()).unwrap();
    until_idle(&queue, PATIENCE).await;
    worker.shutdown().await;
    let views = ledger.assert_all_done(&queue).await;
    let crashes: u32 = views.iter().map(|view| view.crashes).sum();
    figure(&format!("{number} workers killed around a call: {crashes} of their jobs were taken back"));
    assert!(crashes > 0);
}

/// A producer that is killed has enqueued a batch wholly or not at all, and
/// whoever repeats it gets no second job.
pub(crate) async fn producers(stage: Stage) {
    let rounds: u64 = stage.scale(15, 150);
    let server = server(RedisOptions::every_second());
    let config = QueueConfig::default();
    let (queue, name) = queue(&server, config.clone()).await;
    let url = server.url();
    let (mut whole, mut absent) = (0, 0);
    for number in 1..=rounds {
        let part = Part { role: "producer", url: &url, name: &name, config: &config, number, log: None };
        Process::start(&part).ended().await;
        let mut there = 0;
        for job in produced(number) {
            let Some(view) = queue.get(job.id).await.unwrap() else { continue };
            assert_eq!((view.state, view.payload_bytes), (JobState::Ready, job.payload.len() as u64));
            assert_eq!(queue.payload(job.id).await.unwrap(), Some(job.payload));
            there += 1;
        }
        assert!(there == 0 || there == 50, "{there} of 50 jobs of one batch are there");
        if there == 0 {
            absent += 1;
        } else {
            whole += 1;
        }
        queue.enqueue(produced(number)).await.unwrap();
        assert_eq!(queue.stats().await.unwrap().ready, number * 50);
    }
    figure(&format!("{rounds} producers killed: {whole} batches whole, {absent} absent, none in between"));
}

/// A job that kills its workers is dead after two, and the others are done.
pub(crate) async fn poison(_: Stage) {
    let server = server(RedisOptions::volatile());
    let config = QueueConfig::default().with_lease(Duration::from_millis(700)).with_max_attempts(100);
    let (queue, name) = queue(&server, config.clone()).await;
    let (url, folder) = (server.url(), tempfile::tempdir().unwrap());
    let log = folder.path().join("begins");
    let poison = queue.submit(NewJob::new("poison").with_tenant("mallory")).await.unwrap();
    let part = Part { role: "worker", url: &url, name: &name, config: &config, number: 5, log: Some(&log) };
    let mut workers: Vec<_> = (0..2).map(|_| Process::start(&part)).collect();
    // What a supervisor does: start again what has died.
    until("the poison is dead", PATIENCE, || {
        for worker in &mut workers {
            if worker.has_ended() {
                *worker = Process::start(&part);
            }
        }
        let queue = Arc::clone(&queue);
        async move { queue.get(poison).await.unwrap().is_some_and(|job| job.state == JobState::Dead) }
    })
    .await;
    let dead = queue.get(poison).await.unwrap().unwrap();
    assert_eq!((dead.crashes, dead.attempt), (2, 2), "{dead:?}");
    assert_eq!(begins(&log).iter().filter(|begin| begin.id == poison).count(), 2, "it has toured the fleet");
    let good: Vec<_> = (0..50).map(|n| NewJob::new(format!("good {n}"))).collect();
    let ids: Vec<_> = good.iter().map(|job| job.id).collect();
    queue.enqueue(good).await.unwrap();
    if workers.iter_mut().any(Process::has_ended) {
        workers.push(Process::start(&part));
    }
    for id in ids {
        assert_eq!(queue.wait(id, PATIENCE).await.unwrap().state, JobState::Done);
    }
    // A handler that never returns, and gives no way to stop it, blocks one slot and no more.
    let blocked = connect(&url, &name, config).await;
    let handler = handler_fn(|job, _| async move {
        if job.payload == "block" {
            std::thread::park_timeout(Duration::from_secs(3));
        }
        Outcome::done(result_of(&job.payload))
    });
    drop(workers);
    let worker = Worker::start(Arc::new(blocked), handler, WorkerConfig::default().with_slots(2)).unwrap();
    queue.submit(NewJob::new("block")).await.unwrap();
    let other = queue.submit(NewJob::new("other")).await.unwrap();
    assert_eq!(queue.wait(other, PATIENCE).await.unwrap().state, JobState::Done);
    worker.shutdown().await;
}
