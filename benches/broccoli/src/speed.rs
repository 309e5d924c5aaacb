//! How many jobs a second are claimed and finished, in turns on one server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use broccoli_queue::brokers::broker::BrokerMessage;
use broccoli_queue::queue::BroccoliQueue;
use evalx_queue::{
    DynQueue, JobId, NewJob, Outcome, Queue, QueueConfig, RedisConfig, RedisQueue, Settlement, Worker,
    WorkerConfig, WorkerId, handler_fn,
};
use evalx_testkit::{RedisOptions, RedisServer};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Jobs of one run, of this many bytes, by so many workers at once.
const JOBS: usize = 10_000;
const BYTES: usize = 1_000;
const WORKERS: usize = 8;
/// Turns; the median counts.
const TURNS: usize = 5;

/// Prints what both do on a server of these options.
pub fn compare(name: &str, options: RedisOptions) {
    let server = RedisServer::start(options).expect("redis-server starts");
    let mut turns: [Vec<Figures>; 5] = Default::default();
    for _ in 0..TURNS {
        let turn = [
            run(broccoli_workers(&server)),
            run(broccoli_loop(&server)),
            run(evalx_workers(&server)),
            run(evalx_loop(&server, 1)),
            run(evalx_loop(&server, 50)),
        ];
        for (all, figures) in turns.iter_mut().zip(turn) {
            all.push(figures);
        }
        server.ask(&["FLUSHALL"]).expect("it forgets");
    }
    println!("{name}: {JOBS} jobs of {BYTES} bytes, {WORKERS} at once, median of {TURNS} turns");
    let names = [
        "broccoli, process_messages",
        "broccoli, consume and acknowledge in a loop",
        "evalx, Worker",
        "evalx, finish and claim in one call",
        "the same, 50 jobs a call",
    ];
    let mut first = None;
    for (name, turns) in names.iter().zip(turns) {
        let rate = median(turns.iter().map(|figures| figures.rate).collect());
        let server = median(turns.iter().map(|figures| figures.server).collect());
        let ratio = rate / *first.get_or_insert(rate);
        println!("  {name:<44} {rate:>7.0} jobs/s  {ratio:>5.2} x  {server:>6.1} us of the server each");
    }
}

/// Runs it with threads of its own: tasks that it leaves end with them.
fn run(work: impl Future<Output = Figures>) -> Figures {
    let runtime = Runtime::new().expect("threads");
    let figures = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_secs(5));
    figures
}

/// What one run showed.
struct Figures {
    /// Jobs a second.
    rate: f64,
    /// Processor time of the server, in microseconds a job.
    server: f64,
}

/// Measures one run.
struct Meter<'a> {
    server: &'a RedisServer,
    used: f64,
    began: Instant,
}

impl<'a> Meter<'a> {
    fn start(server: &'a RedisServer) -> Self {
        Self { server, used: used(server), began: Instant::now() }
    }

    fn stop(self) -> Figures {
        let rate = JOBS as f64 / self.began.elapsed().as_secs_f64();
        Figures { rate, server: (used(self.server) - self.used) * 1e6 / JOBS as f64 }
    }
}

/// Seconds of processor time that the server has used.
fn used(server: &RedisServer) -> f64 {
    let text = server.ask(&["INFO", "cpu"]).expect("it answers");
    let of = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        value.expect("it says so")
    };
    of("used_cpu_user:") + of("used_cpu_sys:")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Counts jobs, and tells when all are done.
#[derive(Clone, Default)]
struct Count(Arc<(AtomicUsize, Notify)>);

impl Count {
    fn add(&self) {
        if self.0.0.fetch_add(1, Ordering::SeqCst) + 1 == JOBS {
            self.0.1.notify_one();
        }
    }

    async fn all(&self) {
        self.0.1.notified().await;
    }
}

async fn broccoli(server: &RedisServer) -> BroccoliQueue {
    let queue = BroccoliQueue::builder(server.url()).pool_connections(16).build().await.expect("it connects");
    queue.publish_batch("speed", None, vec!["x".repeat(BYTES); JOBS], None).await.expect("it accepts");
    queue
}

async fn broccoli_workers(server: &RedisServer) -> Figures {
    let queue = broccoli(server).await;
    let count = Count::default();
    let meter = Meter::start(server);
    let handler = {
        let count = count.clone();
        move |_: BrokerMessage<String>| {
            count.add();
            async { Ok(()) }
        }
    };
    let serving =
        tokio::spawn(async move { queue.process_messages("speed", Some(WORKERS), None, handler).await });
    count.all().await;
    serving.abort();
    meter.stop()
}

async fn broccoli_loop(server: &RedisServer) -> Figures {
    let queue = broccoli(server).await;
    let meter = Meter::start(server);
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let queue = queue.clone();
        workers.spawn(async move {
            while let Some(job) = queue.try_consume::<String>("speed", None).await.expect("it answers") {
                queue.acknowledge("speed", job).await.expect("it answers");
            }
        });
    }
    workers.join_all().await;
    meter.stop()
}

async fn evalx(server: &RedisServer) -> DynQueue {
    let limits = QueueConfig::default().with_max_depth(10 * JOBS as u64);
    let config = RedisConfig::new(server.url()).with_name(JobId::new().to_string()).with_queue(limits);
    let queue = RedisQueue::connect(config).await.expect("it connects");
    for _ in 0..JOBS / 100 {
        let batch = (0..100).map(|_| NewJob::new(vec![b'x'; BYTES])).collect();
        queue.enqueue(batch).await.expect("it accepts");
    }
    Arc::new(queue)
}

async fn evalx_workers(server: &RedisServer) -> Figures {
    let queue = evalx(server).await;
    let count = Count::default();
    let meter = Meter::start(server);
    let handler = {
        let count = count.clone();
        handler_fn(move |_, _| {
            count.add();
            async { Outcome::done("result") }
        })
    };
    let config = WorkerConfig::default().with_slots(WORKERS);
    let worker = Worker::start(queue, handler, config).expect("it starts");
    count.all().await;
    let figures = meter.stop();
    worker.shutdown().await;
    figures
}

async fn evalx_loop(server: &RedisServer, batch: usize) -> Figures {
    let queue = evalx(server).await;
    let meter = Meter::start(server);
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let queue = Arc::clone(&queue);
        workers.spawn(async move {
            let worker = WorkerId::unique();
            let mut done = Vec::new();
            loop {
                let finished =
                    queue.finish(&worker, std::mem::take(&mut done), batch).await.expect("it answers");
                if finished.claimed.is_empty() {
                    return;
                }
                let settle = |job: &evalx_queue::Claimed| Settlement::new(job.lease, Outcome::done("result"));
                done.extend(finished.claimed.iter().map(settle));
            }
        });
    }
    workers.join_all().await;
    meter.stop()
}
