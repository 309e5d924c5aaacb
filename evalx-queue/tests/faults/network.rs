//! F6: networks that lose, cut, delay and trickle.

use std::sync::Arc;
use std::time::Duration;

use evalx_queue::{
    DynQueue, JobState, NewEvent, NewJob, Outcome, Queue as _, RedisConfig, RedisQueue, Settled, Settlement,
    Worker, WorkerConfig, WorkerId,
};
use evalx_testkit::RedisOptions;

use super::ledger::{Ledger, jobs};
use super::proxy::{Proxy, Weather};
use super::stage::{PATIENCE, Stage, figure, patient_config, queue, server, until_idle};

/// In all kinds of weather in turn, nothing is lost, finished twice or left in flight.
pub(crate) async fn all_kinds(stage: Stage) {
    let rounds = stage.scale(2, 15);
    let server = server(RedisOptions::volatile());
    let (direct, name) = queue(&server, patient_config()).await;
    let proxy = Proxy::start(server.port()).await;
    let behind = RedisConfig::new(proxy.url())
        .with_name(name)
        .with_queue(patient_config())
        .with_response_timeout(Duration::from_millis(300))
        .with_patience(Duration::from_secs(1));
    let behind: DynQueue = Arc::new(RedisQueue::connect(behind).await.unwrap());
    let ledger = Ledger::default();
    let handler = || ledger.handler(Duration::from_millis(5));
    let config = || WorkerConfig::default().with_slots(4);
    let workers = [
        Worker::start(Arc::clone(&behind), handler(), config()).unwrap(),
        Worker::start(Arc::clone(&behind), handler(), config()).unwrap(),
    ];
    let weathers = [
        Weather::Reset,
        Weather::Lost,
        Weather::CutAnswer,
        Weather::Deaf,
        Weather::Late(Duration::from_millis(500)),
        Weather::Trickle,
    ];
    let mut number = 0;
    for weather in weathers.into_iter().cycle().take(rounds * weathers.len()) {
        proxy.set(weather);
        let foul = Duration::from_millis(fastrand::u64(100..700));
        let fair = async {
            tokio::time::sleep(foul).await;
            proxy.set(Weather::Fair);
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        // What is enqueued in foul weather is repeated until it is fair.
        tokio::join!(ledger.enqueue(&behind, jobs(number..number + 20)), fair);
        number += 20;
        assert_eq!(proxy.weather(), Weather::Fair);
    }
    until_idle(&direct, PATIENCE).await;
    for worker in workers {
        worker.shutdown().await;
    }
    ledger.assert_apart();
    let done = ledger.assert_all_done(&direct).await.len();
    let reruns = ledger.reruns();
    figure(&format!(
        "{done} jobs in {} storms of 6 kinds: 0 lost, 0 finished twice, {reruns} re-runs",
        rounds * 6
    ));
}

/// A call that the server has done, and whose answer was cut off, is repeated
/// by itself and counts once: no attempt is burnt, no job is there twice.
pub(crate) async fn cut_answers(_: Stage) {
    let server = server(RedisOptions::volatile());
    let (direct, name) = queue(&server, patient_config()).await;
    let proxy = Proxy::start(server.port()).await;
    let behind = RedisConfig::new(proxy.url()).with_name(name).with_queue(patient_config());
    let behind = RedisQueue::connect(behind.with_patience(PATIENCE)).await.unwrap();
    let worker = WorkerId::unique();
    // The weather turns fair again as soon as one answer was cut: only then can the call succeed.
    macro_rules! cut {
        ($call:expr) => {{
            proxy.set(Weather::CutAnswer);
            let fair = async {
                tokio::time::sleep(Duration::from_millis(60)).await;
                proxy.set(Weather::Fair);
            };
            tokio::join!($call, fair).0.unwrap()
        }};
    }
    for _ in 0..5 {
        let (first, second) = (NewJob::new("a").with_idempotency_key("k"), NewJob::new("b"));
        let admissions = cut!(behind.enqueue(vec![first.clone(), second.clone()]));
        assert!(admissions.iter().all(|admission| admission.id().is_some()), "{admissions:?}");
        assert_eq!(direct.stats().await.unwrap().ready, 2);
        let claimed = cut!(behind.claim(&worker, 1, Duration::ZERO));
        assert_eq!((claimed.len(), claimed[0].id(), claimed[0].lease.token), (1, first.id, 1));
        assert_eq!(claimed[0].payload, "a");
        let event = vec![NewEvent::new("told", "").unwrap()];
        assert_eq!(cut!(behind.emit(&claimed[0].lease, event)), Settled::Applied);
        let done = vec![Settlement::new(claimed[0].lease, Outcome::done("r"))];
        let finished = cut!(behind.finish(&worker, done, 1));
        assert_eq!((finished.settled, finished.claimed.len()), (vec![Settled::Applied], 1));
        let next = finished.claimed[0].lease;
        assert_eq!((next.id, next.token), (second.id, 1));
        let handed_back = [next];
        assert_eq!(cut!(behind.release(&handed_back)), [Settled::Applied]);
        let events = direct.events(first.id, 0).await.unwrap().unwrap();
        let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
        assert_eq!(names, ["queued", "started", "told", "done"]);
        cut!(behind.cancel(second.id));
        let view = direct.get(second.id).await.unwrap().unwrap();
        assert_eq!((view.state, view.attempt, view.crashes), (JobState::Cancelled, 0, 0));
        assert_eq!(direct.remove(&[first.id, second.id]).await.unwrap(), 2);
    }
    let stats = direct.stats().await.unwrap();
    assert_eq!((stats.completed, stats.crashes, stats.active, stats.depth()), (5, 0, 0, 0));
}
