//! F11, F13 and F14: what is large, and what is full; and what an idle worker costs.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use evalx_queue::{
    Control, Durability, DynQueue, ErrorKind, JobState, NewJob, Outcome, Queue as _, QueueConfig,
    QueueExt as _, RedisConfig, RedisQueue, Settled, Settlement, Worker, WorkerConfig, WorkerId, handler_fn,
};
use evalx_testkit::{RedisOptions, RedisServer};

use super::ledger::{Ledger, jobs};
use super::stage::{
    PATIENCE, Stage, connect, figure, patient_config, queue, server, until, until_idle, until_it_follows,
};

/// Many at once, with nobody there; then workers; all due at the same instant; all retried at once.
pub(crate) async fn bursts(stage: Stage) {
    let count = stage.scale(10_000, 100_000);
    let options = RedisOptions::every_second().with_arguments(["--slowlog-log-slower-than", "5000"]);
    let server = server(options);
    let (queue, _) = queue(&server, patient_config()).await;
    let began = Instant::now();
    let ledger = Ledger::default();
    ledger.enqueue(&queue, jobs(0..count)).await;
    let accepted = began.elapsed();
    let delayed = |job: NewJob| job.with_delay(Duration::from_millis(500));
    ledger.enqueue(&queue, jobs(count..count + 2_000).into_iter().map(delayed).collect()).await;
    let began = Instant::now();
    let worker = WorkerId::unique();
    let (mut claims, mut done) = (Vec::new(), 0);
    let mut failed = 0;
    while done < count + 2_000 {
        let before = Instant::now();
        let claimed = queue.claim(&worker, 50, Duration::from_secs(5)).await.unwrap();
        claims.push(before.elapsed());
        assert!(!claimed.is_empty(), "{done} of {} came", count + 2_000);
        let settle = |job: &evalx_queue::Claimed| {
            // A thousand of them fail together, and are due together.
            let retries = failed < 1_000 && job.attempt == 1;
            failed += usize::from(retries);
            done += usize::from(!retries);
            let outcome = if retries {
                Outcome::Retry { error: "fault".into(), after: Some(Duration::from_millis(200)) }
            } else {
                Outcome::done(super::ledger::result_of(&job.payload))
            };
            Settlement::new(job.lease, outcome)
        };
        let settlements = claimed.iter().map(settle).collect();
        queue.finish(&worker, settlements, 0).await.unwrap();
    }
    let worked_off = began.elapsed();
    until_idle(&queue, PATIENCE).await;
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.completed, stats.retries, stats.dead), (count as u64 + 2_000, 1_000, 0));
    claims.sort_unstable();
    let p99 = claims[claims.len() * 99 / 100];
    let slow = server.ask(&["SLOWLOG", "LEN"]).unwrap();
    let slow = slow.lines().next().unwrap_or_default();
    figure(&format!(
        "{count} jobs accepted in {accepted:?}, worked off in {worked_off:?}; claim p99 {p99:?}; commands over 5 ms {slow}"
    ));
    if stage.is_full() {
        assert!(p99 <= Duration::from_millis(5), "claim p99 {p99:?}");
    }
}

/// A server without memory refuses new jobs, wholly; those that it has are run.
pub(crate) async fn memory(_: Stage) {
    let options =
        RedisOptions::volatile().with_arguments(["--maxmemory", "12mb", "--maxmemory-policy", "noeviction"]);
    let server = server(options);
    let (queue, _) = queue(&server, patient_config()).await;
    queue.control(Control::Pause).await.unwrap();
    let mut accepted = Vec::new();
    let refused = loop {
        let job = NewJob::new(vec![b'x'; 20_000]);
        let id = job.id;
        match queue.submit(job.clone()).await {
            Ok(id) => accepted.push(id),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                assert!(error.help().unwrap().contains("maxmemory"), "{error:?}");
                assert_eq!(queue.get(id).await.unwrap(), None, "a refused job is there");
                break job;
            }
        }
        assert!(accepted.len() < 10_000, "the memory is never full");
    };
    assert!(accepted.len() > 10);
    let stats = queue.stats().await.unwrap();
    assert_eq!(
        (stats.ready, stats.depth_by_language["none"]),
        (accepted.len() as u64, accepted.len() as u64)
    );
    // Somebody waits, so that to resume is to wake him too.
    let worker = WorkerId::unique();
    assert!(queue.claim(&worker, 1, Duration::ZERO).await.unwrap().is_empty());
    queue.control(Control::Resume).await.unwrap();
    // What it has can be claimed, renewed, finished, cancelled, put off and removed.
    let claimed = queue.claim(&worker, 5, Duration::ZERO).await.unwrap();
    let leases: Vec<_> = claimed.iter().map(|job| job.lease).collect();
    queue.heartbeat(&leases).await.unwrap();
    let outcomes =
        [Outcome::done("r"), Outcome::retry("fault"), Outcome::rejected("bad"), Outcome::done("r")];
    let done = leases.iter().zip(outcomes).map(|(lease, outcome)| Settlement::new(*lease, outcome)).collect();
    assert_eq!(queue.finish(&worker, done, 1).await.unwrap().settled, [Settled::Applied; 4]);
    queue.release(&leases[4..]).await.unwrap();
    queue.cancel(accepted[20]).await.unwrap();
    queue.sweep().await.unwrap();
    let handler = handler_fn(|_, _| async { Outcome::done("") });
    let worker = Worker::start(Arc::clone(&queue), handler, WorkerConfig::default()).unwrap();
    until_idle(&queue, PATIENCE).await;
    for state in [JobState::Done, JobState::Dead, JobState::Cancelled] {
        assert!(queue.purge(state).await.unwrap() > 0);
    }
    // And then there is room.
    let id = queue.submit(refused).await.unwrap();
    assert_eq!(queue.wait(id, PATIENCE).await.unwrap().state, JobState::Done);
    worker.shutdown().await;
}

/// A server whose disk is full refuses what it can't keep, and goes on when there is room.
pub(crate) async fn disk(_: Stage) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "evalx-test"])
        .arg(&disk)
        .stderr(std::process::Stdio::null())
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        return Err("a small disk of its own can't be mounted here: that takes root".to_owned());
    }
    let result = tokio::spawn(on_disk(disk.clone())).await;
    let _ = std::process::Command::new("umount").arg("-l").arg(&disk).status();
    result.unwrap();
    Ok(())
}

async fn on_disk(disk: std::path::PathBuf) {
    let ballast = disk.join("ballast");
    std::fs::write(&ballast, vec![0; 700_000]).unwrap();
    let path = disk.to_str().unwrap();
    let server = server(RedisOptions::every_second().with_arguments(["--dir", path]));
    let (queue, _) = queue(&server, patient_config()).await;
    let mut accepted = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    let refused = loop {
        let job = NewJob::new(vec![b'x'; 5_000]);
        match queue.submit(job.clone()).await {
            Ok(id) => accepted.push(id),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                assert!(error.help().unwrap().contains("disk"), "{error:?}");
                assert_eq!(queue.get(job.id).await.unwrap(), None);
                break job;
            }
        }
        assert!(Instant::now() < deadline, "the disk is never full");
    };
    assert_eq!(queue.stats().await.unwrap().ready, accepted.len() as u64);
    std::fs::remove_file(&ballast).unwrap();
    until("there is room again", PATIENCE, || async { queue.submit(refused.clone()).await.is_ok() }).await;
    let handler = handler_fn(|_, _| async { Outcome::done("") });
    let worker = Worker::start(Arc::clone(&queue), handler, WorkerConfig::default()).unwrap();
    until_idle(&queue, PATIENCE).await;
    assert_eq!(queue.stats().await.unwrap().completed, accepted.len() as u64 + 1);
    worker.shutdown().await;
}

/// A replica refuses, and says where to go.
pub(crate) async fn replica(_: Stage) {
    let primary = server(RedisOptions::volatile());
    let of = primary.port().to_string();
    let replica = server(RedisOptions::volatile().with_arguments(["--replicaof", "127.0.0.1", &of]));
    until_it_follows(&replica).await;
    let config = RedisConfig::new(replica.url()).with_patience(Duration::from_millis(300));
    let queue = RedisQueue::connect(config).await.unwrap();
    let error = queue.submit(NewJob::new("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.help().unwrap().contains("primary"), "{error:?}");
    // When it becomes the primary, the same queue goes on.
    replica.ask(&["REPLICAOF", "NO", "ONE"]).unwrap();
    queue.submit(NewJob::new("x")).await.unwrap();
}

/// What a server promises is read from it, and less than required is refused.
pub(crate) async fn durability(_: Stage) {
    let cases = [
        (RedisOptions::volatile(), Durability::None),
        (RedisOptions::every_second(), Durability::EverySecond),
        (RedisOptions::always(), Durability::Fsync),
        (RedisOptions::always().with_arguments(["--min-replicas-to-write", "1"]), Durability::Replicated),
        (
            RedisOptions::always().with_arguments([
                "--maxmemory",
                "100mb",
                "--maxmemory-policy",
                "allkeys-lru",
            ]),
            Durability::None,
        ),
    ];
    for (options, level) in cases {
        let server = server(options);
        let config = |least| RedisConfig::new(server.url()).with_require_durability(least);
        assert_eq!(RedisQueue::connect(config(Durability::None)).await.unwrap().durability(), level);
        for least in [Durability::EverySecond, Durability::Fsync, Durability::Replicated] {
            let connected = RedisQueue::connect(config(least)).await;
            assert_eq!(connected.is_ok(), level >= least, "{level} where {least} is required");
            if let Err(error) = connected {
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                assert!(error.to_string().contains(level.as_str()) && error.help().is_some(), "{error:?}");
            }
        }
    }
}

/// A server that forgets its scripts is told them again, and nobody notices.
pub(crate) async fn scripts(_: Stage) {
    let server = server(RedisOptions::volatile());
    let (queue, _) = queue(&server, patient_config()).await;
    let ledger = Ledger::default();
    let worker =
        Worker::start(Arc::clone(&queue), ledger.handler(Duration::from_millis(1)), WorkerConfig::default())
            .unwrap();
    for round in 0..20 {
        server.ask(&["SCRIPT", "FLUSH"]).unwrap();
        ledger.enqueue(&queue, jobs(round * 10..round * 10 + 10)).await;
    }
    until_idle(&queue, PATIENCE).await;
    worker.shutdown().await;
    assert_eq!(ledger.reruns(), 0);
    ledger.assert_all_done(&queue).await;
}

/// A process whose workers have nothing to do asks less than twice a second.
pub(crate) async fn idle(stage: Stage) {
    let server = server(RedisOptions::volatile());
    let (queue, _) = queue(&server, QueueConfig::default()).await;
    let handler = handler_fn(|_, _| async { Outcome::done("") });
    let worker = Worker::start(Arc::clone(&queue), handler, WorkerConfig::default().with_slots(8)).unwrap();
    let id = queue.submit(NewJob::new("x")).await.unwrap();
    assert_eq!(queue.wait(id, PATIENCE).await.unwrap().state, JobState::Done);
    let window = stage.scale(Duration::from_secs(10), Duration::from_secs(60));
    let calls = |server: &RedisServer| {
        let text = server.ask(&["INFO", "commandstats"]).unwrap();
        // What scripts call by themselves is not asked for by anybody.
        let sent =
            ["cmdstat_evalsha:calls=", "cmdstat_blpop:calls=", "cmdstat_xread:calls=", "cmdstat_eval:calls="];
        let count = |line: &str| {
            let rest = sent.iter().find_map(|name| line.strip_prefix(name))?;
            rest.split(',').next()?.parse::<f64>().ok()
        };
        text.lines().filter_map(count).sum::<f64>()
    };
    tokio::time::sleep(Duration::from_secs(6)).await;
    let before = calls(&server);
    tokio::time::sleep(window).await;
    let rate = (calls(&server) - before) / window.as_secs_f64();
    figure(&format!("an idle worker sends {rate:.2} commands a second"));
    assert!(rate > 0.0 && rate <= 2.0, "{rate} commands a second");
    worker.shutdown().await;
}

/// What can't be spoken to is an error that says so, in good time, and shows no password.
pub(crate) async fn no_server(_: Stage) {
    let patience = Duration::from_millis(300);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf = format!("redis://user:secret@{}/", listener.local_addr().unwrap());
    let gone = server(RedisOptions::volatile()).url();
    for (url, kind) in [
        ("no address".to_owned(), ErrorKind::InvalidRequest),
        ("http://127.0.0.1/".to_owned(), ErrorKind::InvalidRequest),
        (gone, ErrorKind::Unavailable),
        (deaf, ErrorKind::Unavailable),
    ] {
        let config = RedisConfig::new(url.clone()).with_patience(patience).with_response_timeout(patience);
        let began = Instant::now();
        let error = RedisQueue::connect(config).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{url}: {error:?}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        assert!(began.elapsed() < PATIENCE);
    }
    let locked = server(RedisOptions::volatile().with_arguments(["--requirepass", "right"]));
    let with = |password: &str| RedisConfig::new(format!("redis://:{password}@127.0.0.1:{}/", locked.port()));
    RedisQueue::connect(with("right").with_patience(PATIENCE)).await.unwrap();
    let error = RedisQueue::connect(with("wrong").with_patience(patience)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!format!("{error:?}").contains("wrong@"), "{error:?}");
    // Keys of another version, or of somebody else, are an error and are left alone.
    let odd = server(RedisOptions::volatile());
    let queue = connect(&odd.url(), "default", QueueConfig::default()).await;
    for (book, kind) in [("a book of another version", ErrorKind::Unsupported), ("\x01", ErrorKind::Internal)]
    {
        odd.ask(&["SET", "{evalx:default}:book", book]).unwrap();
        let error = queue.submit(NewJob::new("x")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(odd.ask(&["GET", "{evalx:default}:book"]).unwrap().contains(book));
        assert!(odd.ask(&["DBSIZE"]).unwrap().starts_with(":1"));
    }
}

/// Where somebody removed a job's key, the jobs that are claimed with it are not lost.
pub(crate) async fn removed(_: Stage) {
    let server = server(RedisOptions::volatile());
    let (queue, name) = queue(&server, patient_config()).await;
    let all = jobs(0..4);
    queue.enqueue(all.clone()).await.unwrap();
    let key = format!("{{evalx:{name}}}:j:{}", all[1].id);
    assert!(server.ask(&["DEL", &key]).unwrap().starts_with(":1"));
    let claimed = queue.claim(&WorkerId::unique(), 4, Duration::ZERO).await.unwrap();
    let ids: Vec<_> = claimed.iter().map(evalx_queue::Claimed::id).collect();
    assert_eq!(ids, [all[0].id, all[2].id, all[3].id]);
    let done = claimed.iter().map(|job| Settlement::new(job.lease, Outcome::done(""))).collect();
    queue.finish(&WorkerId::unique(), done, 0).await.unwrap();
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.ready, stats.active, stats.done, stats.tenants_waiting), (0, 0, 3, 0), "{stats:?}");
}

/// A process that has just become full does not take the signal that is for an idle one.
pub(crate) async fn wakes(_: Stage) {
    let server = server(RedisOptions::volatile());
    let (direct, name) = queue(&server, patient_config()).await;
    let began = Arc::new(Mutex::new(Vec::new()));
    let start = async || {
        let notes = Arc::clone(&began);
        let handler = handler_fn(move |_, _| {
            notes.lock().unwrap().push(Instant::now());
            std::future::pending()
        });
        let queue: DynQueue = Arc::new(connect(&server.url(), &name, patient_config()).await);
        let config = WorkerConfig::default().with_slots(4).with_drain(Duration::ZERO);
        Worker::start(queue, handler, config).unwrap()
    };
    let blocked = || {
        let clients = server.ask(&["INFO", "clients"]).unwrap();
        let line = clients.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
        line.and_then(|count| count.parse::<u64>().ok()).unwrap_or_default()
    };
    let run_one = async || {
        let (accepted, number) = (Instant::now(), began.lock().unwrap().len());
        direct.enqueue(jobs(number..number + 1)).await.unwrap();
        until("it begins", PATIENCE, async || began.lock().unwrap().len() > number).await;
        began.lock().unwrap()[number] - accepted
    };
    let mut soonest = Duration::MAX;
    for _ in 0..3 {
        let full = start().await;
        for _ in 0..4 {
            run_one().await;
        }
        let before = blocked();
        let idle = start().await;
        until("the other waits", PATIENCE, async || blocked() > before).await;
        soonest = soonest.min(run_one().await);
        full.shutdown().await;
        idle.shutdown().await;
        let left = direct.claim(&WorkerId::unique(), 100, Duration::ZERO).await.unwrap();
        let done = left.iter().map(|job| Settlement::new(job.lease, Outcome::done(""))).collect();
        direct.finish(&WorkerId::unique(), done, 0).await.unwrap();
    }
    figure(&format!("a job for the one of two workers that is free began after {soonest:.1?}"));
    assert!(soonest < Duration::from_millis(150), "{soonest:?}");
}
