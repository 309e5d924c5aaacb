//! Measures the server as a crowd sees it, and says what was aimed at.
//!
//! ```sh
//! cargo build --release -p http_server
//! cargo run --release -p http_server --example load -- --help
//! ```
//!
//! It starts a server of its own, on a free port, with the settings of the
//! environment: `EVALX_QUEUE=redis://…` measures one over Redis. Everything
//! shares this machine, the clients too; figures of different machines, or of a
//! busy one, can't be compared, but those of one run can.
#![expect(clippy::print_stdout, reason = "its purpose")]

mod connection;
mod program;
mod server;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use connection::Connection;
use program::{PROGRAMS, Program};
use server::Server;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Measures the server as a crowd sees it.
#[derive(Debug, Parser)]
struct Arguments {
    /// Submissions of the crowd.
    #[arg(long, default_value = "10000")]
    submissions: usize,
    /// Connections of the crowd.
    #[arg(long, default_value = "64")]
    connections: usize,
    /// Submissions, one after the other, whose latency is measured.
    #[arg(long, default_value = "500")]
    latencies: usize,
    /// What is submitted: c, counting (for about a millisecond), or python.
    #[arg(long, default_value = "counting", value_parser = find)]
    program: Program,
}

fn find(name: &str) -> Result<Program, String> {
    let names = || PROGRAMS.map(|program| program.name).join(", ");
    PROGRAMS.into_iter().find(|program| program.name == name).ok_or_else(|| format!("there are {}", names()))
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let over_redis = std::env::var("EVALX_QUEUE").is_ok_and(|queue| queue.starts_with("redis"));
    let bare_before = arguments.program.bare_rate()?;
    let server = Server::start()?;
    println!("ready after                 {:>9.2} s      aim 3", server.ready.as_secs_f64());

    let latencies = latencies(server.address, arguments.latencies)?;
    let aims = if over_redis { [10, 40] } else { [5, 25] };
    for (share, aim) in [50.0, 99.0].into_iter().zip(aims) {
        let found = percentile(&latencies, share);
        println!("a C hello, to its result, p{share} {:>9.2} ms     aim {aim}", millis(found));
    }

    let crowd = Crowd::run(server.address, &arguments)?;
    let Crowd { accepted, posting, drained, refusals } = &crowd;
    for (share, aim) in [(50.0, ""), (99.0, "aim 50")] {
        println!(
            "accepting, p{share}              {:>9.2} ms     {aim}",
            millis(percentile(accepted, share))
        );
    }
    println!(
        "accepted                    {:>9} of {} in {:.2} s, {refusals} refusals on the way",
        accepted.len(),
        arguments.submissions,
        posting.as_secs_f64()
    );
    // Before and after, so that what else the machine does falls on both.
    let bare = (bare_before + arguments.program.bare_rate()?) / 2.0;
    let rate = accepted.len() as f64 / drained.as_secs_f64();
    println!(
        "run and right               {:>9} in {:.2} s: {rate:.0} in a second",
        accepted.len(),
        drained.as_secs_f64()
    );
    println!("bare, `{}`{:22}{bare:>9.0} in a second", arguments.program.name, "");
    println!("of bare                     {:>9.0} %      aim 50", 100.0 * rate / bare);
    println!(
        "memory of the server, peak  {:>9.0} MiB    aim 300",
        server.memory_peak()? as f64 / f64::from(1 << 20)
    );
    Ok(())
}

/// How long a program that is compiled already takes from its submission to its result.
fn latencies(address: SocketAddr, count: usize) -> Result<Vec<Duration>, Failure> {
    /// What is not measured: the compiler, and a server that has just started.
    const WARM_UP: usize = 50;
    let hello = serde_json::json!({ "language": "c",
        "source": "#include <stdio.h>\nint main(void) { puts(\"Hello, world!\"); }\n" });
    let mut connection = Connection::open(address)?;
    let mut latencies = Vec::with_capacity(count);
    for number in 0..count + WARM_UP {
        let began = Instant::now();
        let answer = connection.post("/v1/submissions?wait=30s", &hello)?;
        if number >= WARM_UP {
            latencies.push(began.elapsed());
        }
        if answer.status != 200 || answer.body["tests"][0]["report"]["stdout"] != "Hello, world!\n" {
            return Err(format!("{}: {}", answer.status, answer.body).into());
        }
    }
    latencies.sort();
    Ok(latencies)
}

/// What became of many submissions over many connections.
struct Crowd {
    /// How long each took to be accepted, sorted.
    accepted: Vec<Duration>,
    /// Until the last was accepted.
    posting: Duration,
    /// Until the last result was there.
    drained: Duration,
    /// How often one was told to come again.
    refusals: u64,
}

impl Crowd {
    fn run(address: SocketAddr, arguments: &Arguments) -> Result<Self, Failure> {
        let began = Instant::now();
        let (next, refusals) = (AtomicUsize::new(0), AtomicU64::new(0));
        let posted = Mutex::new(Vec::with_capacity(arguments.submissions));
        at_once(arguments.connections, || {
            let mut connection = Connection::open(address)?;
            let mut own = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= arguments.submissions {
                    break;
                }
                let body = arguments.program.submission(number);
                loop {
                    let sent = Instant::now();
                    let answer = connection.post("/v1/submissions", &body)?;
                    match (answer.status, answer.retry_after) {
                        (202, _) => {
                            let token = answer.body["token"].as_str().ok_or("no token")?.to_owned();
                            own.push((sent.elapsed(), number, token));
                            break;
                        }
                        (503 | 429, Some(seconds)) => {
                            refusals.fetch_add(1, Ordering::Relaxed);
                            std::thread::park_timeout(Duration::from_secs(seconds));
                        }
                        (status, _) => return Err(format!("{status}: {}", answer.body).into()),
                    }
                }
            }
            posted.lock().map_err(|_| "a thread panicked")?.extend(own);
            Ok(())
        })?;
        let posting = began.elapsed();
        let posted = posted.into_inner()?;
        let drained = wait_until_empty(address)? - began;
        let next = AtomicUsize::new(0);
        at_once(arguments.connections, || {
            let mut connection = Connection::open(address)?;
            while let Some((_, number, token)) = posted.get(next.fetch_add(1, Ordering::Relaxed)) {
                let answer = connection.get(&format!("/v1/submissions/{token}?wait=30s"))?;
                let stdout = &answer.body["tests"][0]["report"]["stdout"];
                if *stdout != format!("{}\n", 2 * number) {
                    return Err(format!("submission {number} is lost or wrong: {}", answer.body).into());
                }
            }
            Ok(())
        })?;
        let mut accepted: Vec<Duration> = posted.into_iter().map(|(took, ..)| took).collect();
        accepted.sort();
        Ok(Self { accepted, posting, drained, refusals: refusals.into_inner() })
    }
}

/// When nothing waits and nothing runs any more.
fn wait_until_empty(address: SocketAddr) -> Result<Instant, Failure> {
    let mut connection = Connection::open(address)?;
    loop {
        let queue = connection.get("/v1/queue")?.body;
        if queue["waiting"] == 0 && queue["running"] == 0 {
            return Ok(Instant::now());
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Runs the same on so many threads.
fn at_once(threads: usize, one: impl Fn() -> Result<(), Failure> + Sync) -> Result<(), Failure> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(&one)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })
}

/// The time within which this share of all was, of a sorted list.
fn percentile(sorted: &[Duration], share: f64) -> Duration {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the length")]
    let index = (sorted.len() as f64 * share / 100.0) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
