//! Processes that are there to be killed.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use evalx_queue::{
    DynQueue, JobId, NewJob, Outcome, Queue as _, QueueConfig, Settlement, Worker, WorkerConfig, WorkerId,
    handler_fn,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::ledger::result_of;
use super::stage::connect;

/// Names the role that a child plays.
pub(crate) const ROLE: &str = "EVALX_QUEUE_TEST_ROLE";
const URL: &str = "EVALX_QUEUE_TEST_URL";
const NAME: &str = "EVALX_QUEUE_TEST_NAME";
const CONFIG: &str = "EVALX_QUEUE_TEST_CONFIG";
const NUMBER: &str = "EVALX_QUEUE_TEST_NUMBER";
const LOG: &str = "EVALX_QUEUE_TEST_LOG";

/// How a child is started.
pub(crate) struct Part<'a> {
    pub(crate) role: &'a str,
    pub(crate) url: &'a str,
    pub(crate) name: &'a str,
    pub(crate) config: &'a QueueConfig,
    /// What it means is up to the role.
    pub(crate) number: u64,
    pub(crate) log: Option<&'a PathBuf>,
}

/// A child, which is killed when this is dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(part: &Part<'_>) -> Self {
        Self::start_with(part, &[])
    }

    pub(crate) fn start_with(part: &Part<'_>, environment: &[(&str, &Path)]) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(program);
        command
            .env(ROLE, part.role)
            .env(URL, part.url)
            .env(NAME, part.name)
            .env(CONFIG, serde_json::to_string(part.config).expect("a configuration has JSON"))
            .env(NUMBER, part.number.to_string());
        command.envs(environment.iter().copied());
        if let Some(log) = part.log {
            command.env(LOG, log);
        }
        // It ends when its standard input does: no child outlives this process.
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(child.expect("this program can be started"))
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).expect("a process id is a small number");
        kill(Pid::from_raw(pid), signal).expect("a child can be signalled");
    }

    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_some())
    }

    pub(crate) async fn ended(&mut self) {
        super::stage::until("the child has ended", super::stage::PATIENCE, || {
            let ended = self.has_ended();
            async move { ended }
        })
        .await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Milliseconds of the day's time, the same in all processes of one machine.
pub(crate) fn wall() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    u64::try_from(since.as_millis()).expect("it is before the year 500 million")
}

/// One begin of a job by a child.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begin {
    pub(crate) id: JobId,
    pub(crate) token: u64,
    pub(crate) at: u64,
}

/// What children have written down.
pub(crate) fn begins(log: &PathBuf) -> Vec<Begin> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let begin = |line: &str| {
        let mut words = line.split(' ');
        Some(Begin {
            id: words.next()?.parse().ok()?,
            token: words.next()?.parse().ok()?,
            at: words.next()?.parse().ok()?,
        })
    };
    text.lines().filter_map(begin).collect()
}

/// What a child does, until it is killed.
pub(crate) fn play(role: &str) {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        die();
    });
    let variable = |name: &str| std::env::var(name).expect("the parent has set it");
    let config: QueueConfig = serde_json::from_str(&variable(CONFIG)).expect("the parent has written it");
    let number: u64 = variable(NUMBER).parse().expect("the parent has written it");
    let log = std::env::var_os(LOG).map(|path| {
        Arc::new(Mutex::new(
            OpenOptions::new().append(true).create(true).open(path).expect("a log can be written"),
        ))
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be started").block_on(async {
        let queue: DynQueue = Arc::new(connect(&variable(URL), &variable(NAME), config).await);
        match role {
            "worker" => work(queue, number, log).await,
            "producer" => produce(queue, number).await,
            "greeter" => drop(queue.enqueue(produced(number)).await.expect("it is accepted")),
            window => fall(queue, window, number).await,
        }
    });
}

#[expect(clippy::exit, reason = "a child that is to be gone")]
fn die() -> ! {
    let _ = kill(Pid::this(), Signal::SIGKILL);
    std::process::exit(1)
}

/// A worker whose jobs take up to `number` milliseconds, and whose poison kills.
async fn work(queue: DynQueue, number: u64, log: Option<Arc<Mutex<File>>>) {
    let handler = handler_fn(move |job, _| {
        let log = log.clone();
        async move {
            if let Some(log) = log {
                let line = format!("{} {} {}\n", job.id(), job.lease.token, wall());
                log.lock().unwrap().write_all(line.as_bytes()).expect("a log can be written");
            }
            if job.payload == "poison" {
                die();
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..=number))).await;
            Outcome::done(result_of(&job.payload))
        }
    });
    let _worker =
        Worker::start(queue, handler, WorkerConfig::default().with_slots(4)).expect("it can be started");
    std::future::pending::<()>().await;
}

/// The jobs of a producer of this number.
pub(crate) fn produced(number: u64) -> Vec<NewJob> {
    let id = |n: u64| JobId::from_u128(u128::from(number) << 64 | u128::from(n));
    (0..50).map(|n| NewJob::new(format!("{number}: {n}").repeat(4_000)).with_id(id(n))).collect()
}

/// Enqueues, and is killed some time after it has begun to.
async fn produce(queue: DynQueue, number: u64) {
    let enqueue = queue.enqueue(produced(number));
    let _ = tokio::time::timeout(Duration::from_micros(fastrand::u64(0..3_000)), enqueue).await;
    die();
}

/// Claims a job, and is killed around the call that `window` names.
async fn fall(queue: DynQueue, window: &str, number: u64) {
    let worker = WorkerId::unique();
    let soon = Duration::from_micros(number);
    if window == "claim" {
        let _ = tokio::time::timeout(soon, queue.claim(&worker, 1, Duration::from_secs(60))).await;
        die();
    }
    let Some(job) =
        queue.claim(&worker, 1, Duration::from_secs(60)).await.expect("the server is there").pop()
    else {
        die();
    };
    let done = || vec![Settlement::new(job.lease, Outcome::done(result_of(&job.payload)))];
    match window {
        "run" => {}
        "finish" => drop(tokio::time::timeout(soon, queue.finish(&worker, done(), 1)).await),
        "heartbeat" => drop(tokio::time::timeout(soon, queue.heartbeat(&[job.lease])).await),
        "release" => drop(tokio::time::timeout(soon, queue.release(&[job.lease])).await),
        other => panic!("there is no role {other}"),
    }
    die();
}
