//! F3, F4 and F5: servers that are killed, and servers that are frozen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use evalx_queue::{DynQueue, JobState, Queue as _, Worker, WorkerConfig};
use evalx_testkit::{RedisOptions, RedisServer};

use super::ledger::{Ledger, jobs, result_of};
use super::stage::{PATIENCE, Stage, figure, patient_config, queue, server, until_idle};

/// Enqueues a few jobs again and again, until it is told to stop; gives the
/// longest time in which none was accepted.
async fn load(queue: DynQueue, ledger: Ledger, stop: Arc<AtomicBool>) -> Duration {
    let (mut number, mut longest) = (0, Duration::ZERO);
    while !stop.load(Ordering::SeqCst) {
        let began = Instant::now();
        ledger.enqueue(&queue, jobs(number..number + 5)).await;
        longest = longest.max(began.elapsed());
        number += 5;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    longest
}

struct Outage {
    queue: DynQueue,
    ledger: Ledger,
    kills: Vec<Instant>,
    longest: Duration,
}

/// Kills the server every two seconds while jobs come and go.
async fn kill_again_and_again(server: &mut RedisServer, rounds: usize) -> Outage {
    let (queue, _) = queue(server, patient_config()).await;
    let ledger = Ledger::default();
    let worker = |queue: &DynQueue| {
        let handler = ledger.handler(Duration::from_millis(3));
        Worker::start(Arc::clone(queue), handler, WorkerConfig::default().with_slots(4)).unwrap()
    };
    let workers = [worker(&queue), worker(&queue)];
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(load(Arc::clone(&queue), ledger.clone(), Arc::clone(&stop)));
    let mut kills = Vec::new();
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_secs(2)).await;
        kills.push(Instant::now());
        tokio::task::block_in_place(|| server.restart()).expect("it starts again");
    }
    stop.store(true, Ordering::SeqCst);
    let longest = load.await.unwrap();
    until_idle(&queue, PATIENCE).await;
    for worker in workers {
        // It panics if a worker has not survived.
        assert!(worker.shutdown().await.finished > 0);
    }
    Outage { queue, ledger, kills, longest }
}

/// Nothing that was accepted is lost, as often as the server is killed.
pub(crate) async fn killed_and_synced_always(stage: Stage) {
    let rounds = stage.scale(3, 30);
    let mut server = server(RedisOptions::always());
    let outage = kill_again_and_again(&mut server, rounds).await;
    let done = outage.ledger.assert_all_done(&outage.queue).await.len();
    let (reruns, longest) = (outage.ledger.reruns(), outage.longest);
    figure(&format!(
        "{done} jobs, {rounds} kills of the server: 0 lost, {reruns} re-runs, longest pause {longest:?}"
    ));
    assert!(
        longest < stage.scale(Duration::from_secs(20), Duration::from_secs(3)),
        "a pause took {longest:?}"
    );
}

/// At most what was accepted in the last two seconds is lost, and the level says so.
pub(crate) async fn killed_and_synced_every_second(stage: Stage) {
    let rounds = stage.scale(2, 30);
    let mut server = server(RedisOptions::every_second());
    let outage = kill_again_and_again(&mut server, rounds).await;
    assert_eq!(outage.queue.durability(), evalx_queue::Durability::EverySecond);
    let (mut lost, mut done) = (0, 0);
    for (id, accepted) in outage.ledger.accepted() {
        if let Some(view) = outage.queue.get(id).await.unwrap() {
            assert_eq!(view.state, JobState::Done, "{view:?}");
            let payload = outage.queue.payload(id).await.unwrap().unwrap();
            assert!(view.result.as_deref() == Some(&result_of(&payload)[..]));
            done += 1;
        } else {
            lost += 1;
            let soon = Duration::from_secs(2);
            let just_before = outage.kills.iter().any(|kill| accepted <= *kill && *kill - accepted <= soon);
            assert!(just_before, "{id} was accepted long before the server was killed, and is lost");
        }
    }
    figure(&format!("{done} jobs done, {rounds} kills of the server: {lost} lost, all within 2 s of a kill"));
}

/// While the server is frozen, jobs whose lease runs out are killed here before
/// they can be begun elsewhere; in the end each has its one result.
pub(crate) async fn frozen(stage: Stage) {
    let server = server(RedisOptions::volatile());
    let second = stage.scale(Duration::from_millis(200), Duration::from_secs(1));
    let config = patient_config().with_lease(second * 10);
    let (queue, _) = queue(&server, config.clone()).await;
    let (ledger, other) = (Ledger::default(), queue);
    // Two processes' worth of clients, so that the one does not know of the other.
    let queues = [Arc::clone(&other), Arc::clone(&other)];
    let workers = queues.map(|queue| {
        let handler = ledger.handler(second * 2);
        Worker::start(queue, handler, WorkerConfig::default().with_slots(3)).unwrap()
    });
    for (round, freeze) in [second, second * 5, second * 15].into_iter().enumerate() {
        ledger.enqueue(&other, jobs(round * 20..round * 20 + 20)).await;
        tokio::time::sleep(second / 2).await;
        server.freeze();
        tokio::time::sleep(freeze).await;
        server.thaw();
        tokio::time::sleep(second).await;
    }
    until_idle(&other, PATIENCE * 2).await;
    for worker in workers {
        worker.shutdown().await;
    }
    ledger.assert_apart();
    ledger.assert_all_done(&other).await;
    let reruns = ledger.reruns();
    figure(&format!("frozen for 1, 5 and 15 tenths of a lease: {reruns} re-runs, never two at once"));
}
