//! F15 and F16: workers that come and go, and what is left in the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use evalx_queue::{DynQueue, JobState, QueueExt as _, RedisConfig, RedisQueue, Worker, WorkerConfig};
use evalx_testkit::RedisOptions;

use super::child::{Part, Process};
use super::ledger::{Ledger, jobs};
use super::proxy::{Proxy, Weather};
use super::stage::{PATIENCE, Stage, figure, patient_config, queue, server, until_idle};

/// Workers are shut down and started again under load: no attempt is counted,
/// no job is lost, and none takes longer than it may.
pub(crate) async fn restarts(stage: Stage) {
    let rounds = stage.scale(10, 100);
    let server = server(RedisOptions::volatile());
    let (queue, _) = queue(&server, patient_config()).await;
    let ledger = Ledger::default();
    let start = |queue: &DynQueue| {
        let config = WorkerConfig::default().with_slots(4).with_drain(Duration::from_millis(20));
        Worker::start(Arc::clone(queue), ledger.handler(Duration::from_millis(40)), config).unwrap()
    };
    let mut workers = [start(&queue), start(&queue)];
    let (mut released, mut slowest) = (0, Duration::ZERO);
    for round in 0..rounds {
        // More than they do in the time, so that each is busy when it is shut down.
        ledger.enqueue(&queue, jobs(round * 16..round * 16 + 16)).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let old = std::mem::replace(&mut workers[round % 2], start(&queue));
        let began = Instant::now();
        let drained = old.shutdown().await;
        slowest = slowest.max(began.elapsed());
        released += drained.released;
        assert_eq!(drained.lost, 0);
    }
    until_idle(&queue, PATIENCE).await;
    for worker in workers {
        worker.shutdown().await;
    }
    let views = ledger.assert_all_done(&queue).await;
    assert!(views.iter().all(|view| (view.attempt, view.crashes) == (1, 0)), "an attempt was counted");
    figure(&format!("{rounds} restarts: {released} jobs handed back, slowest shutdown {slowest:?}"));
    assert!(released > 0, "no restart has hit a job: the test proves nothing");
    assert!(slowest < Duration::from_secs(15), "a shutdown took {slowest:?}");
}

/// Killed workers, a killed server and a bad network together; then nothing is
/// left in the server but what is kept of the results, and at last nothing.
pub(crate) async fn soak(stage: Stage) {
    let time = std::env::var("EVALX_QUEUE_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let time = Duration::from_secs(time.unwrap_or(stage.scale(6, 60)));
    let mut server = server(RedisOptions::always());
    let config = patient_config();
    let (direct, name) = queue(&server, config.clone()).await;
    let proxy = Proxy::start(server.port()).await;
    let url = proxy.url();
    let behind = RedisConfig::new(&url).with_name(&name).with_queue(config.clone());
    let behind = behind.with_response_timeout(Duration::from_millis(500));
    let behind: DynQueue = Arc::new(RedisQueue::connect(behind).await.unwrap());
    let part = Part { role: "worker", url: &url, name: &name, config: &config, number: 20, log: None };
    let mut workers: Vec<_> = (0..2).map(|_| Process::start(&part)).collect();
    let ledger = Ledger::default();
    let end = Instant::now() + time;
    let (mut number, mut rounds) = (0, 0);
    while Instant::now() < end {
        proxy.set(Weather::Fair);
        ledger.enqueue(&behind, jobs(number..number + 40)).await;
        number += 40;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(50..400))).await;
        match rounds % 3 {
            0 => {
                let victim = fastrand::usize(..workers.len());
                workers[victim] = Process::start(&part);
            }
            1 => tokio::task::block_in_place(|| server.restart()).unwrap(),
            _ => {
                let weathers = [Weather::Reset, Weather::Lost, Weather::Deaf, Weather::CutAnswer];
                proxy.set(weathers[fastrand::usize(..weathers.len())]);
                tokio::time::sleep(Duration::from_millis(fastrand::u64(50..400))).await;
            }
        }
        rounds += 1;
    }
    proxy.set(Weather::Fair);
    until_idle(&direct, PATIENCE * 2).await;
    drop(workers);
    ledger.assert_all_done(&direct).await;
    assert_eq!(direct.purge(JobState::Done).await.unwrap(), number as u64);
    // The records of claims go by themselves, a lease after the last.
    let kept = [":book", ":ev", ":cx", ":sig"].map(|rest| format!("{{evalx:{name}}}{rest}"));
    let left = || {
        let keys = server.ask(&["KEYS", "{*"]).unwrap();
        let lines = keys.lines().map(str::trim).filter(|line| line.starts_with('{'));
        lines.filter(|key| !kept.iter().any(|kept| kept == key)).map(str::to_owned).collect::<Vec<_>>()
    };
    let deadline = Instant::now() + PATIENCE;
    while !left().is_empty() {
        assert!(Instant::now() < deadline, "left over: {:?}", left());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let memory = server.ask(&["INFO", "memory"]).unwrap();
    let used = memory.lines().find(|line| line.starts_with("used_memory_human")).unwrap_or_default();
    figure(&format!("{number} jobs in {rounds} rounds of faults: 0 lost, no key left, {}", used.trim()));
}
