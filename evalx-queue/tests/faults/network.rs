//! F6: networks that lose, cut, delay and trickle.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use evalx_queue::{
    Admission, Claimed, DynQueue, JobState, NewEvent, NewJob, Outcome, Queue as _, RedisConfig, RedisQueue,
    Settled, Settlement, Worker, WorkerConfig, WorkerId, handler_fn,
};
use evalx_testkit::{RedisOptions, RedisServer};
use tokio::sync::Notify;

use super::ledger::{Ledger, jobs};
use super::proxy::{Proxy, Weather};
use super::stage::{PATIENCE, Stage, figure, patient_config, queue, server, until, until_idle};

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

/// A queue behind a proxy whose answers are not waited for long, the same without
/// it, and the proxy.
async fn impatient(server: &RedisServer) -> (Arc<RedisQueue>, DynQueue, Proxy) {
    let (direct, name) = queue(server, patient_config()).await;
    let proxy = Proxy::start(server.port()).await;
    let behind = RedisConfig::new(proxy.url())
        .with_name(name)
        .with_queue(patient_config())
        .with_response_timeout(Duration::from_millis(300))
        .with_patience(PATIENCE);
    (Arc::new(RedisQueue::connect(behind).await.unwrap()), direct, proxy)
}

/// A connection that is dead without a word is given up for another.
pub(crate) async fn silent_connections(_: Stage) {
    let server = server(RedisOptions::volatile());
    let (behind, direct, proxy) = impatient(&server).await;
    let ledger = Ledger::default();
    let handler = ledger.handler(Duration::ZERO);
    let worker =
        Worker::start(Arc::clone(&behind) as DynQueue, handler, WorkerConfig::default().with_slots(1))
            .unwrap();
    for number in 0..3 {
        ledger.enqueue(&(Arc::clone(&behind) as DynQueue), jobs(number..number + 1)).await;
        until_idle(&direct, PATIENCE).await;
        proxy.forget_connections();
    }
    worker.shutdown().await;
    ledger.assert_all_done(&direct).await;
}

/// A claim that arrives when its repetition was answered takes nothing: nobody
/// would run it.
pub(crate) async fn late_claims(_: Stage) {
    let server = server(RedisOptions::volatile());
    let (behind, direct, proxy) = impatient(&server).await;
    direct.enqueue(jobs(0..8)).await.unwrap();
    let worker = WorkerId::unique();
    let calls = || {
        let stats = server.ask(&["INFO", "commandstats"]).unwrap();
        let line = stats.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap_or_default();
        line.split(['=', ',']).nth(1).and_then(|calls| calls.parse::<u64>().ok()).unwrap_or_default()
    };
    assert!(behind.heartbeat(&[]).await.unwrap().is_empty());
    let mut taken = 0;
    // The late call can be the worker's last, or one before that.
    for (finishes, goes_on) in [(false, false), (true, false), (false, true), (true, true)] {
        proxy.forget_connections();
        let claimed = if finishes {
            behind.finish(&worker, Vec::new(), 1).await.unwrap().claimed
        } else {
            behind.claim(&worker, 1, Duration::ZERO).await.unwrap()
        };
        assert_eq!(claimed.len(), 1);
        taken += 1;
        if goes_on {
            taken += behind.claim(&worker, 1, Duration::ZERO).await.unwrap().len() as u64;
        }
        let before = calls();
        proxy.remember_connections();
        until("the late call has arrived", PATIENCE, async || calls() > before).await;
        let stats = direct.stats().await.unwrap();
        assert_eq!((stats.active, stats.ready), (taken, 8 - taken), "{stats:?}");
    }
}

/// What a claim has brought that nobody looked at is handed back at once.
pub(crate) async fn dropped_answers(_: Stage) {
    let server = server(RedisOptions::volatile());
    let (queue, _) = queue(&server, patient_config()).await;
    let id = queue.enqueue(jobs(0..1)).await.unwrap()[0].id().unwrap();
    let worker = WorkerId::unique();
    for _ in 0..3 {
        let mut claim = Box::pin(queue.claim(&worker, 1, Duration::from_secs(60)));
        let is_sent = poll_fn(|context| Poll::Ready(claim.as_mut().poll(context).is_pending())).await;
        assert!(is_sent, "no answer can have come yet");
        until("the job is taken", PATIENCE, async || queue.stats().await.unwrap().active == 1).await;
        drop(claim);
        until("the job is handed back", PATIENCE / 30, async || queue.stats().await.unwrap().ready == 1)
            .await;
    }
    let view = queue.get(id).await.unwrap().unwrap();
    assert_eq!((view.attempt, view.crashes), (0, 0));
}

/// What comes with an answer that was on its way when the worker was told to stop
/// is handed back too.
pub(crate) async fn answers_at_shutdown(_: Stage) {
    let server = server(RedisOptions::volatile());
    let (direct, name) = queue(&server, patient_config()).await;
    let proxy = Proxy::start(server.port()).await;
    let behind = RedisConfig::new(proxy.url()).with_name(name).with_queue(patient_config());
    let behind: DynQueue = Arc::new(RedisQueue::connect(behind.with_patience(PATIENCE)).await.unwrap());
    let (ends, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (end, at_end) = (Arc::clone(&ends), Arc::clone(&ended));
    let handler = handler_fn(move |job: Claimed, _| {
        let (end, at_end) = (Arc::clone(&end), Arc::clone(&at_end));
        async move {
            if job.payload == "long" {
                std::future::pending::<()>().await;
            }
            end.notified().await;
            at_end.notify_one();
            Outcome::done("")
        }
    });
    let config = WorkerConfig::default().with_slots(1).with_drain(Duration::ZERO);
    direct.enqueue(vec![NewJob::new("short")]).await.unwrap();
    let worker = Worker::start(behind, handler, config).unwrap();
    until("the short one runs", PATIENCE, async || direct.stats().await.unwrap().active == 1).await;
    let long = direct.enqueue(vec![NewJob::new("long")]).await.unwrap()[0].id().unwrap();
    // So that the server knows the script: it could not say so.
    direct.finish(&WorkerId::unique(), Vec::new(), 0).await.unwrap();
    proxy.set(Weather::Deaf);
    ends.notify_one();
    ended.notified().await;
    until("the long one is claimed", PATIENCE, async || direct.stats().await.unwrap().completed == 1).await;
    let fair = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.set(Weather::Fair);
    };
    let (drained, ()) = tokio::join!(worker.shutdown(), fair);
    assert_eq!((drained.finished, drained.released), (1, 1), "{drained:?}");
    let view = direct.get(long).await.unwrap().unwrap();
    assert_eq!((view.state, view.attempt, view.crashes), (JobState::Ready, 0, 0));
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
        let is_accepted = |admission: &Admission| matches!(admission, Admission::Accepted { .. });
        assert!(admissions.iter().all(is_accepted), "{admissions:?}");
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
        let left = [first.id, second.id];
        cut!(behind.remove(&left));
        assert_eq!((direct.get(first.id).await.unwrap(), direct.get(second.id).await.unwrap()), (None, None));
    }
    let stats = direct.stats().await.unwrap();
    assert_eq!((stats.completed, stats.crashes, stats.active, stats.depth()), (5, 0, 0, 0));
}
