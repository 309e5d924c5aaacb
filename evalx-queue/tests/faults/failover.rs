//! F14: a server whose place is taken by another, and a queue that moves to
//! another node of a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use evalx_queue::{
    Durability, DynQueue, ErrorKind, NewJob, Queue as _, RedisConfig, RedisQueue, Worker, WorkerConfig,
};
use evalx_testkit::{RedisOptions, RedisServer};
use tokio::task::{JoinHandle, JoinSet};

use super::ledger::{Ledger, jobs};
use super::proxy::{Proxy, Weather};
use super::stage::{
    PATIENCE, Stage, connect, figure, patient_config, server, until, until_idle, until_it_follows,
};

/// Jobs that come and go, without an error that reaches anybody.
struct Load {
    ledger: Ledger,
    worker: Worker,
    stop: Arc<AtomicBool>,
    producer: JoinHandle<Vec<(NewJob, Instant)>>,
}

impl Load {
    fn start(queue: &DynQueue) -> Self {
        let (ledger, stop) = (Ledger::default(), Arc::new(AtomicBool::new(false)));
        let handler = ledger.handler(Duration::from_millis(1));
        let worker = Worker::start(Arc::clone(queue), handler, WorkerConfig::default()).unwrap();
        let (queue, stopped) = (Arc::clone(queue), Arc::clone(&stop));
        let producer = tokio::spawn(async move {
            let mut accepted = Vec::new();
            while !stopped.load(Ordering::SeqCst) {
                let from = accepted.len();
                let batch = jobs(from..from + 5);
                let admissions = queue.enqueue(batch.clone()).await.expect("no error reaches the caller");
                assert_eq!(admissions.len(), batch.len());
                accepted.extend(batch.into_iter().map(|job| (job, Instant::now())));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            accepted
        });
        Self { ledger, worker, stop, producer }
    }

    /// No more jobs; gives those that were accepted, and when.
    async fn stop(self, queue: &DynQueue) -> (Ledger, Vec<(NewJob, Instant)>) {
        self.stop.store(true, Ordering::SeqCst);
        let accepted = self.producer.await.unwrap();
        until_idle(queue, PATIENCE).await;
        assert!(self.worker.shutdown().await.finished > 0);
        (self.ledger, accepted)
    }
}

/// Sentinels make a replica the primary, because the primary was killed or
/// because they are asked to. Only what was accepted in the last moment can be
/// lost, and submitting it again mends that; nothing is that replicas must have.
pub(crate) async fn by_sentinel(_: Stage) {
    tokio::join!(fail_over(true, 0), fail_over(false, 0), fail_over(true, 1), fail_over(false, 1));
}

async fn fail_over(by_kill: bool, must_have: u32) {
    let mut primary = server(RedisOptions::volatile());
    let from = primary.port().to_string();
    let replica = |_| server(RedisOptions::volatile().with_arguments(["--replicaof", "127.0.0.1", &from]));
    // Of two that one must have a job, one that had it not could be told to take over.
    let replicas: Vec<_> = (0..=if by_kill { must_have } else { 0 }).map(replica).collect();
    let sentinel = server(RedisOptions::sentinel("judge", primary.port()));
    until("the sentinel knows the replicas", PATIENCE, async || {
        let known = sentinel.ask(&["SENTINEL", "REPLICAS", "judge"]).unwrap();
        replicas.iter().all(|replica| {
            let replication = replica.ask(&["INFO", "replication"]).unwrap();
            known.contains(&replica.port().to_string()) && replication.contains("master_link_status:up")
        })
    })
    .await;
    let url = format!("redis-sentinel://127.0.0.1:{}/?master=judge", sentinel.port());
    let config = RedisConfig::new(url).with_queue(patient_config()).with_patience(PATIENCE);
    let queue: DynQueue = Arc::new(RedisQueue::connect(config.with_replicas(must_have)).await.unwrap());
    let load = Load::start(&queue);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    if by_kill {
        primary.kill();
    } else {
        let answer = sentinel.ask(&["SENTINEL", "FAILOVER", "judge"]).unwrap();
        assert!(answer.starts_with("+OK"), "{answer}");
    }
    // Who asks at the moment is cut off too: a sentinel cuts all connections of
    // a server that it gives another part.
    let says = |replica: &RedisServer, question: &[&str], what| {
        replica.ask(question).is_ok_and(|answer| answer.contains(what))
    };
    until("a replica is the primary, and is used", PATIENCE, async || {
        replicas.iter().any(|replica| {
            says(replica, &["INFO", "commandstats"], "cmdstat_evalsha") && says(replica, &["ROLE"], "master")
        })
    })
    .await;
    let pause = began.elapsed();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (ledger, accepted) = load.stop(&queue).await;
    let mut lost = 0;
    for (job, at) in &accepted {
        if queue.get(job.id).await.unwrap().is_none() {
            lost += 1;
            let age = began.saturating_duration_since(*at);
            assert!(age < Duration::from_secs(1), "{} was accepted {age:?} before, and is lost", job.id);
            assert_eq!(must_have, 0, "{} is lost, which a replica had", job.id);
        }
    }
    let (count, why) = (accepted.len(), if by_kill { "killed" } else { "told to step down" });
    figure(&format!(
        "{count} jobs, {must_have} replicas must have them, the primary {why}: back after {pause:.1?}, {lost} lost"
    ));
    let handler = ledger.handler(Duration::ZERO);
    let worker = Worker::start(Arc::clone(&queue), handler, WorkerConfig::default()).unwrap();
    for batch in accepted.chunks(50) {
        ledger.enqueue(&queue, batch.iter().map(|(job, _)| job.clone()).collect()).await;
    }
    until_idle(&queue, PATIENCE).await;
    worker.shutdown().await;
    assert_eq!(ledger.assert_all_done(&queue).await.len(), count);
}

/// Sentinels and servers are logged in to, each with a password of its own.
pub(crate) async fn by_sentinel_with_passwords(_: Stage) {
    let judge = ["--user", "judge", "on", ">server%", "~*", "&*", "+@all"];
    let mut primary = server(RedisOptions::volatile().with_arguments(judge));
    let from = primary.port().to_string();
    let replica =
        RedisOptions::volatile().with_arguments(judge).with_arguments(["--replicaof", "127.0.0.1", &from]);
    let replica = server(replica);
    let sentinel = RedisOptions::sentinel("judge", primary.port());
    let sentinel = server(sentinel.with_arguments(["--user", "watcher", "on", ">sentinel%", "&*", "+@all"]));
    until("the sentinel knows the replica", PATIENCE, async || {
        let known = sentinel.ask(&["SENTINEL", "REPLICAS", "judge"]).unwrap();
        known.contains(&replica.port().to_string())
    })
    .await;
    let connect = async |server: &str, watcher: &str| {
        let hosts = format!("redis-sentinel://judge:{server}@127.0.0.1:{}/?master=judge", sentinel.port());
        let config = RedisConfig::new(format!("{hosts}&sentinel_user=watcher&sentinel_password={watcher}"));
        RedisQueue::connect(config.with_patience(PATIENCE)).await
    };
    for (server, watcher) in [("server%25", "wrong"), ("wrong", "sentinel%25")] {
        let began = Instant::now();
        let error = connect(server, watcher).await.unwrap_err();
        assert!(began.elapsed() < PATIENCE / 2, "a wrong password is not tried again and again");
        assert!(error.chain().contains("password"), "{}", error.chain());
    }
    let queue: DynQueue = Arc::new(connect("server%25", "sentinel%25").await.unwrap());
    let no_sentinel = format!("redis-sentinel://127.0.0.1:{}/?master=judge", replica.port());
    let error = RedisQueue::connect(RedisConfig::new(no_sentinel)).await.unwrap_err();
    assert!(error.chain().contains("no sentinel"), "{}", error.chain());
    queue.enqueue(jobs(0..1)).await.unwrap();
    until_it_follows(&replica).await;
    primary.kill();
    // Only the replica is left, and is found by asking the sentinel again.
    queue.enqueue(jobs(1..2)).await.unwrap();
    assert!(replica.ask(&["ROLE"]).unwrap().contains("master"));
}

/// Sentinels that say nothing take no queue down whose primary lives.
pub(crate) async fn by_silent_sentinels(_: Stage) {
    let primary = server(RedisOptions::volatile());
    let sentinel = server(RedisOptions::sentinel("judge", primary.port()));
    let mut proxies = Vec::new();
    for _ in 0..3 {
        proxies.push(Proxy::start(sentinel.port()).await);
    }
    let hosts: Vec<_> = proxies.iter().map(|proxy| proxy.address.to_string()).collect();
    let config = RedisConfig::new(format!("redis-sentinel://{}/?master=judge", hosts.join(",")));
    let queue = RedisQueue::connect(config).await.unwrap();
    queue.enqueue(jobs(0..1)).await.unwrap();
    proxies.iter().for_each(|proxy| proxy.set(Weather::Lost));
    for number in 1..3 {
        primary.freeze();
        let thaw = async {
            // Longer than an answer is waited for.
            tokio::time::sleep(Duration::from_millis(3_200)).await;
            primary.thaw();
        };
        tokio::join!(queue.enqueue(jobs(number..number + 1)), thaw).0.unwrap();
    }
    // One that knows of a later change is believed, though another answers first.
    proxies[2].set(Weather::Fair);
    assert_eq!(queue.stats().await.unwrap().ready, 3);
}

/// What a node of a cluster calls itself.
fn id(node: &RedisServer) -> String {
    words(&node.ask(&["CLUSTER", "MYID"]).unwrap()).concat()
}

/// The words of an answer that is a list of texts.
fn words(answer: &str) -> Vec<&str> {
    answer.lines().filter(|line| !line.starts_with(['*', '$', '+'])).map(str::trim).collect()
}

/// Nodes that know each other, of which the first has all slots.
async fn cluster<const N: usize>(options: [RedisOptions; N]) -> [RedisServer; N] {
    let nodes = options.map(|options| server(options.with_arguments(["--cluster-enabled", "yes"])));
    for node in &nodes[1..] {
        nodes[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string()]).unwrap();
    }
    let slots: Vec<_> = (0..16384).map(|slot| slot.to_string()).collect();
    let mut add = vec!["CLUSTER", "ADDSLOTS"];
    add.extend(slots.iter().map(String::as_str));
    nodes[0].ask(&add).unwrap();
    until("the nodes know each other", PATIENCE, async || {
        nodes.iter().all(|node| {
            let info = node.ask(&["CLUSTER", "INFO"]).unwrap();
            info.contains("cluster_state:ok") && info.contains(&format!("cluster_known_nodes:{N}"))
        })
    })
    .await;
    nodes
}

/// The slot of a queue moves to another node while it is in use. While it does
/// all wait; nobody is given an error, and nothing is lost or run twice.
pub(crate) async fn by_moving_a_slot(_: Stage) {
    let [from, to] = &cluster([(); 2].map(|()| RedisOptions::volatile())).await;
    let queue: DynQueue = Arc::new(connect(&from.url(), "moves", patient_config()).await);
    let load = Load::start(&queue);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let slot = from.ask(&["CLUSTER", "KEYSLOT", "{evalx:moves}"]).unwrap();
    let slot = slot.lines().next().unwrap().trim_start_matches(':');
    let ids = [from, to].map(id);
    let set = |node: &RedisServer, how: &[&str]| {
        let answer = node.ask(&[&["CLUSTER", "SETSLOT", slot], how].concat()).unwrap();
        assert!(answer.starts_with("+OK"), "{answer}");
    };
    let began = Instant::now();
    set(to, &["IMPORTING", &ids[0]]);
    set(from, &["MIGRATING", &ids[1]]);
    // A slot of many keys is long on its way.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut moved = 0;
    loop {
        let keys = from.ask(&["CLUSTER", "GETKEYSINSLOT", slot, "100"]).unwrap();
        let keys = words(&keys);
        if keys.is_empty() {
            break;
        }
        let port = to.port().to_string();
        let migrate = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        let answer = from.ask(&[&migrate, &keys[..]].concat()).unwrap();
        assert!(answer.starts_with("+OK"), "{answer}");
        moved += keys.len();
    }
    set(to, &["NODE", &ids[1]]);
    set(from, &["NODE", &ids[1]]);
    let took = began.elapsed();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (ledger, accepted) = load.stop(&queue).await;
    assert_eq!(ledger.reruns(), 0);
    figure(&format!("{} jobs, {moved} keys moved in {took:.1?}: 0 lost", accepted.len()));
    // Who asks the node that no longer has it is led to the other.
    let other: DynQueue = Arc::new(connect(&from.url(), "moves", patient_config()).await);
    for (job, _) in &accepted {
        assert!(other.get(job.id).await.unwrap().is_some(), "{} was accepted and is lost", job.id);
    }
    let stats = other.stats().await.unwrap();
    assert_eq!((stats.completed, stats.done), (accepted.len() as u64, accepted.len() as u64), "{stats:?}");
    assert!(from.ask(&["DBSIZE"]).unwrap().starts_with(":0"));
}

/// Any node of a cluster leads to the one that has the queue, and to its replicas;
/// and when that other node is gone, the connection is found again without it.
pub(crate) async fn by_the_death_of_another_node(_: Stage) {
    let [owner, mut seed, replica] = cluster([(); 3].map(|()| RedisOptions::volatile())).await;
    replica.ask(&["CLUSTER", "REPLICATE", &id(&owner)]).unwrap();
    until_it_follows(&replica).await;
    let config = RedisConfig::new(seed.url()).with_patience(PATIENCE).with_replicas(1);
    let queue: DynQueue = Arc::new(RedisQueue::connect(config).await.unwrap());
    let load = Load::start(&queue);
    until("jobs are accepted", PATIENCE, async || queue.stats().await.unwrap().completed > 0).await;
    seed.kill();
    for _ in 0..3 {
        owner.ask(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let (ledger, accepted) = load.stop(&queue).await;
    assert_eq!(ledger.reruns(), 0);
    assert_eq!(queue.stats().await.unwrap().completed, accepted.len() as u64);
}

/// It is the node that has the queue that is asked what jobs survive on it.
pub(crate) async fn by_the_word_of_another_node(_: Stage) {
    let [_owner, seed] = cluster([RedisOptions::every_second(), RedisOptions::always()]).await;
    let config = RedisConfig::new(seed.url()).with_patience(PATIENCE);
    let queue = RedisQueue::connect(config.clone()).await.unwrap();
    assert_eq!(queue.durability(), Durability::EverySecond);
    let error = RedisQueue::connect(config.with_require_durability(Durability::Fsync)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
}

/// What a replica must have is not accepted while it does not answer: not the
/// first time, not again, and not over another connection.
pub(crate) async fn with_a_replica_that_hangs(_: Stage) {
    let primary = server(RedisOptions::volatile());
    let from = primary.port().to_string();
    let replica = server(RedisOptions::volatile().with_arguments(["--replicaof", "127.0.0.1", &from]));
    until_it_follows(&replica).await;
    let connect = async |patience| {
        let config = RedisConfig::new(primary.url()).with_replicas(1).with_patience(patience);
        Arc::new(RedisQueue::connect(config.with_response_timeout(Duration::from_secs(1))).await.unwrap())
    };
    let queue = connect(PATIENCE).await;
    queue.enqueue(jobs(0..1)).await.unwrap();
    replica.freeze();
    let hasty = connect(Duration::from_millis(500)).await;
    let hung = jobs(1..2);
    for queue in [&hasty, &hasty, &connect(Duration::from_millis(500)).await] {
        let error = queue.enqueue(hung.clone()).await.unwrap_err();
        assert!(error.is_retryable() && error.chain().contains("replicas"), "{error:?}");
    }
    let began = Instant::now();
    let mut several = JoinSet::new();
    for n in 10..18 {
        let queue = Arc::clone(&hasty);
        several.spawn(async move { queue.enqueue(jobs(n..n + 1)).await.unwrap_err() });
    }
    let several = several.join_all().await;
    assert!(several.iter().all(|error| error.is_retryable()), "{several:?}");
    assert!(began.elapsed() < PATIENCE / 4, "it took {:?}", began.elapsed());
    replica.thaw();
    let admission = queue.enqueue(hung.clone()).await.unwrap().remove(0);
    assert_eq!(admission.id(), Some(hung[0].id));
}
