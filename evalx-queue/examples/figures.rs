//! How fast the queue is: on this machine, against the floor of its own server.
//!
//! ```text
//! cargo run --release -p evalx-queue --all-features --example figures [memory] [redis] [million]
//! ```
//!
//! `redis` is `off`, `everysec` and `always`, each a way in which the server
//! keeps its file, and each by itself too. They run in turns with
//! `redis-benchmark`, so that noise of the machine falls on both. What other work
//! on the machine changes least is the processor time that the server took.
//! `benches/broccoli` has another queue in the same run.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints figures")]

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use evalx_queue::{
    DynQueue, JobId, MemoryQueue, NewJob, Outcome, Queue, QueueConfig, RedisConfig, RedisQueue, Settlement,
    Worker, WorkerConfig, WorkerId, handler_fn,
};
use evalx_testkit::{RedisOptions, RedisServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Jobs of one run, of this many bytes, by so many workers at once.
const JOBS: usize = 10_000;
const BYTES: usize = 1_000;
const WORKERS: usize = 8;
/// Calls of which the latency is measured.
const COUNT: usize = 1_000;
/// Runs of each kind; the median counts.
const RUNS: usize = 5;

fn main() {
    let chosen: Vec<_> = std::env::args().skip(1).collect();
    let wants = |name: &str| chosen.is_empty() && name != "million" || chosen.iter().any(|word| word == name);
    if wants("memory") {
        memory();
    }
    let levels = [
        ("off", RedisOptions::volatile()),
        ("everysec", RedisOptions::every_second()),
        ("always", RedisOptions::always()),
    ];
    for (name, options) in levels {
        if wants("redis") || wants(name) {
            redis(name, options);
        }
    }
    if wants("million") {
        million();
    }
}

fn jobs(count: usize) -> Vec<NewJob> {
    let payload = bytes::Bytes::from(vec![b'x'; BYTES]);
    (0..count).map(|_| NewJob::new(payload.clone())).collect()
}

fn rate(count: usize, began: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let count = count as f64;
    count / began.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn at(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

/// Claims and finishes all there is, `batch` at a time; gives how many.
async fn drain(queue: DynQueue, batch: usize) -> usize {
    let worker = WorkerId::unique();
    let (mut done, mut count) = (Vec::new(), 0);
    loop {
        let finished = queue.finish(&worker, std::mem::take(&mut done), batch).await.unwrap();
        if finished.claimed.is_empty() {
            return count;
        }
        count += finished.claimed.len();
        done.extend(finished.claimed.iter().map(|job| Settlement::new(job.lease, Outcome::done("result"))));
    }
}

fn roomy() -> QueueConfig {
    QueueConfig::default().with_max_depth(10_000_000).with_result_ttl(Duration::from_secs(600))
}

fn memory() {
    println!("memory, one core, {BYTES} bytes a job");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for batch in [1, 10, 100] {
        let mut rates = Vec::new();
        for _ in 0..RUNS {
            let queue: DynQueue = Arc::new(MemoryQueue::new(roomy()).unwrap());
            runtime.block_on(queue.enqueue(jobs(200_000))).unwrap();
            let began = Instant::now();
            let count = runtime.block_on(drain(queue, batch));
            rates.push(rate(count, began));
        }
        println!("  claim and finish, {batch:>3} at a time  {:>9.0} jobs/s", median(rates));
    }
    let mut bursts = Vec::new();
    for _ in 0..RUNS {
        let queue = MemoryQueue::new(roomy()).unwrap();
        let burst = jobs(JOBS);
        let began = Instant::now();
        runtime.block_on(queue.enqueue(burst)).unwrap();
        bursts.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    println!("  a burst of {JOBS} accepted in {:.1} ms", median(bursts));
}

async fn connect(server: &RedisServer) -> DynQueue {
    let config = RedisConfig::new(server.url()).with_name(JobId::new().to_string()).with_queue(roomy());
    Arc::new(RedisQueue::connect(config).await.unwrap())
}

/// What the server does without any queue: BRPOPLPUSH, one at a time, requests a second.
fn floor(server: &RedisServer) -> f64 {
    let port = server.port().to_string();
    let ask = |test: &[&str]| {
        let output = Command::new("redis-benchmark")
            .args(["-p", &port, "-c", "8", "-n", "60000", "-d", "1000", "--csv"])
            .args(test)
            .output()
            .expect("redis-benchmark is installed with redis-server");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    ask(&["-t", "lpush"]);
    let text = ask(&["BRPOPLPUSH", "mylist", "other", "1"]);
    server.ask(&["DEL", "mylist", "other"]).unwrap();
    let line = text.lines().last().unwrap_or_default();
    line.split("\",\"")
        .nth(1)
        .and_then(|number| number.trim_matches('"').parse().ok())
        .expect("it prints CSV")
}

async fn enqueue_all(queue: &DynQueue) -> f64 {
    let began = Instant::now();
    let mut producers = JoinSet::new();
    for _ in 0..WORKERS {
        let queue = Arc::clone(queue);
        producers.spawn(async move {
            for job in jobs(JOBS / WORKERS) {
                queue.enqueue(vec![job]).await.unwrap();
            }
        });
    }
    producers.join_all().await;
    rate(JOBS, began)
}

async fn drain_all(queue: &DynQueue, batch: usize) -> f64 {
    let began = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(drain(Arc::clone(queue), batch));
    }
    let count = workers.join_all().await.iter().sum();
    assert_eq!(count, JOBS);
    rate(count, began)
}

/// What the server says of itself under this name.
fn info(server: &RedisServer, section: &str, name: &str) -> f64 {
    let text = server.ask(&["INFO", section]).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|number| number.trim().parse().ok()).expect("the server says so")
}

/// A kind of run: jobs a second, and microseconds of the server's processor a job.
#[derive(Default)]
struct Runs(Vec<f64>, Vec<f64>);

impl Runs {
    async fn add(&mut self, server: &RedisServer, run: impl Future<Output = f64>) {
        let used = || info(server, "cpu", "used_cpu_user") + info(server, "cpu", "used_cpu_sys");
        let before = used();
        self.0.push(run.await);
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        self.1.push((used() - before) * 1e6 / JOBS as f64);
    }

    fn print(self, what: &str, floor: f64) {
        let (rate, cpu) = (median(self.0), median(self.1));
        let share = rate / floor;
        println!(
            "  {what:<27} {rate:>7.0} jobs/s  {cpu:>5.1} us of the server each  {share:.2} of the floor"
        );
    }
}

fn redis(name: &str, options: RedisOptions) {
    let server = RedisServer::start(options).unwrap();
    let runtime = Runtime::new().unwrap();
    let mut floors = Vec::new();
    let [mut enqueued, mut single, mut batched] = <[Runs; 3]>::default();
    for _ in 0..RUNS {
        floors.push(floor(&server));
        runtime.block_on(async {
            let queue = connect(&server).await;
            enqueued.add(&server, enqueue_all(&queue)).await;
            single.add(&server, drain_all(&queue, 1)).await;
            enqueue_all(&queue).await;
            batched.add(&server, drain_all(&queue, 50)).await;
        });
        server.ask(&["FLUSHALL"]).unwrap();
    }
    let floor = median(floors);
    println!("redis, {name}: BRPOPLPUSH {floor:.0}/s, {WORKERS} clients, {BYTES} bytes");
    enqueued.print("enqueue", floor);
    single.print("claim and finish, 1 by 1", floor);
    batched.print("claim and finish, 50 by 50", floor);
    runtime.block_on(async {
        plain_latency(&server).await;
        latency(&server).await;
    });
}

/// At 200 a second: how long a plain `SET` of as many bytes takes, which is the
/// floor of what follows.
async fn plain_latency(server: &RedisServer) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let command = format!("*3\r\n$3\r\nSET\r\n$5\r\nplain\r\n${BYTES}\r\n{}\r\n", "x".repeat(BYTES));
    let mut times = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    for _ in 0..COUNT {
        ticks.tick().await;
        let began = Instant::now();
        stream.write_all(command.as_bytes()).await.unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.unwrap();
        times.push(began.elapsed());
    }
    println!("  a plain SET at 200/s        p50 {:.2?}, p99 {:.2?}", at(&mut times, 50), at(&mut times, 99));
}

/// At 200 jobs a second: how long enqueueing takes, and how long until the handler runs.
async fn latency(server: &RedisServer) {
    let queue = connect(server).await;
    let begun = Arc::new(std::sync::Mutex::new(Vec::with_capacity(COUNT)));
    let handler = {
        let begun = Arc::clone(&begun);
        handler_fn(move |job, _| {
            begun.lock().unwrap().push((job.id(), Instant::now()));
            async { Outcome::done("") }
        })
    };
    let worker =
        Worker::start(Arc::clone(&queue), handler, WorkerConfig::default().with_slots(WORKERS)).unwrap();
    let (mut accepting, mut sent) = (Vec::new(), std::collections::HashMap::new());
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    for job in jobs(COUNT) {
        ticks.tick().await;
        let began = Instant::now();
        sent.insert(job.id, began);
        queue.enqueue(vec![job]).await.unwrap();
        accepting.push(began.elapsed());
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while begun.lock().unwrap().len() < COUNT && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    worker.shutdown().await;
    let mut starting: Vec<_> = begun.lock().unwrap().iter().map(|(id, at)| *at - sent[id]).collect();
    let accepting = &mut accepting[..];
    println!("  enqueue at 200/s            p50 {:.2?}, p99 {:.2?}", at(accepting, 50), at(accepting, 99));
    println!(
        "  enqueue to handler          p50 {:.2?}, p99 {:.2?}",
        at(&mut starting, 50),
        at(&mut starting, 99)
    );
}

/// A million jobs of one kilobyte in the queue.
fn million() {
    const COUNT: usize = 1_000_000;
    let slow = ["--slowlog-log-slower-than", "5000", "--slowlog-max-len", "1000"];
    let server = RedisServer::start(RedisOptions::volatile().with_arguments(slow)).unwrap();
    let is_preferred = server.prefer();
    let used = || info(&server, "memory", "used_memory");
    let before = used();
    let done = Arc::new(AtomicUsize::new(0));
    Runtime::new().unwrap().block_on(async {
        let queue = connect(&server).await;
        let began = Instant::now();
        let mut producers = JoinSet::new();
        for tenant in 0..4 {
            let queue = Arc::clone(&queue);
            producers.spawn(async move {
                for _ in 0..COUNT / 400 {
                    let batch = jobs(100).into_iter().map(|job| job.with_tenant(format!("tenant {tenant}")));
                    queue.enqueue(batch.collect()).await.unwrap();
                }
            });
        }
        producers.join_all().await;
        println!("redis, {COUNT} jobs of {BYTES} bytes: enqueued at {:.0} jobs/s", rate(COUNT, began));
        #[expect(clippy::cast_precision_loss, reason = "a million is exact")]
        let each = (used() - before) / COUNT as f64;
        println!("  memory of the server        {each:.0} bytes a job");
        let timed = async |what: &str, call: &dyn Fn() -> Call| {
            let mut times = Vec::new();
            for _ in 0..200 {
                let began = Instant::now();
                call().await;
                times.push(began.elapsed());
            }
            println!("  {what:<27} p50 {:.2?}, p99 {:.2?}", at(&mut times, 50), at(&mut times, 99));
        };
        let worker = WorkerId::unique();
        let job = jobs(1).remove(0);
        queue.enqueue(vec![job.clone()]).await.unwrap();
        timed("stats", &|| call(&queue, |queue| async move { drop(queue.stats().await.unwrap()) })).await;
        let id = job.id;
        timed("get, with its position", &|| {
            call(&queue, move |queue| async move { drop(queue.get(id).await.unwrap()) })
        })
        .await;
        timed("claim and finish of 50", &|| {
            let (worker, done) = (worker.clone(), Arc::clone(&done));
            call(&queue, move |queue| async move {
                let claimed = queue.claim(&worker, 50, Duration::ZERO).await.unwrap();
                done.fetch_add(claimed.len(), Ordering::SeqCst);
                let settle = |job: &evalx_queue::Claimed| Settlement::new(job.lease, Outcome::done("result"));
                queue.finish(&worker, claimed.iter().map(settle).collect(), 0).await.unwrap();
            })
        })
        .await;
        timed("cancel", &|| {
            call(&queue, |queue| async move {
                let page = queue
                    .list(&evalx_queue::ListQuery::new(evalx_queue::JobState::Ready).with_limit(1))
                    .await;
                queue.cancel(page.unwrap().jobs[0].id).await.unwrap();
            })
        })
        .await;
    });
    let slow = server.ask(&["SLOWLOG", "LEN"]).unwrap();
    println!(
        "  calls over 5 ms             {}{}",
        slow.lines().next().unwrap_or_default().trim_start_matches(':'),
        if is_preferred { "" } else { " (clients take the processor from the server; root can prefer it)" }
    );
}

/// A call that is measured.
type Call = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn call<F, R>(queue: &DynQueue, run: F) -> Call
where
    F: FnOnce(DynQueue) -> R,
    R: Future<Output = ()> + Send + 'static,
{
    Box::pin(run(Arc::clone(queue)))
}
