//! What becomes of a job whose worker is killed by SIGKILL while it runs.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use broccoli_queue::brokers::broker::BrokerMessage;
use broccoli_queue::queue::BroccoliQueue;
use evalx_queue::{NewJob, Outcome, Queue, RedisConfig, RedisQueue, Worker, WorkerConfig, handler_fn};
use evalx_testkit::{RedisOptions, RedisServer};
use tokio::runtime::Runtime;

/// How long a second worker waits for the job of the first: longer than a lease.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a worker prints when a job begins, or a queue when it has one.
const BEGUN: &str = "begun";

/// Kills a worker of each queue, and prints whether another gets its job.
pub fn compare() {
    for name in ["broccoli", "evalx"] {
        let server = RedisServer::start(RedisOptions::always()).expect("redis-server starts");
        Runtime::new().expect("threads").block_on(enqueue(name, &server.url()));
        let (mut first, begins) = start(name, &server.url());
        begins.recv_timeout(PATIENCE).expect("the job begins");
        first.kill().expect("it can be killed");
        first.wait().expect("it is dead");
        let killed = Instant::now();
        let (mut second, begins) = start(name, &server.url());
        match begins.recv_timeout(PATIENCE) {
            Ok(()) => println!("{name}: the job began again {:.1} s after", killed.elapsed().as_secs_f64()),
            Err(_) => println!("{name}: the job did not begin again within {PATIENCE:?}"),
        }
        second.kill().expect("it can be killed");
        second.wait().expect("it is dead");
    }
}

/// A worker in a process of its own, and a word for each job that it begins.
fn start(name: &str, url: &str) -> (Child, Receiver<()>) {
    let program = std::env::current_exe().expect("it has a path");
    let mut child =
        Command::new(program).args(["crash", name, url]).stdout(Stdio::piped()).spawn().expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let (told, begins) = channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if line == BEGUN && told.send(()).is_err() {
                return;
            }
        }
    });
    (child, begins)
}

async fn evalx(url: &str) -> RedisQueue {
    RedisQueue::connect(RedisConfig::new(url)).await.expect("it connects")
}

async fn broccoli(url: &str) -> BroccoliQueue {
    BroccoliQueue::builder(url).build().await.expect("it connects")
}

async fn enqueue(name: &str, url: &str) {
    if name == "evalx" {
        evalx(url).await.enqueue(vec![NewJob::new("job")]).await.expect("it accepts");
    } else {
        broccoli(url).await.publish("crash", None, &"job".to_owned(), None).await.expect("it accepts");
    }
}

/// Begins jobs, and never ends one.
pub fn work(name: &str, url: &str) {
    Runtime::new().expect("threads").block_on(async {
        if name == "evalx" {
            let handler = handler_fn(|_, _| async {
                println!("{BEGUN}");
                std::future::pending::<Outcome>().await
            });
            let _worker = Worker::start(Arc::new(evalx(url).await), handler, WorkerConfig::default());
            std::future::pending().await
        } else {
            let handler = |_: BrokerMessage<String>| async {
                println!("{BEGUN}");
                std::future::pending().await
            };
            broccoli(url).await.process_messages("crash", Some(1), None, handler).await.expect("it serves");
        }
    });
}
