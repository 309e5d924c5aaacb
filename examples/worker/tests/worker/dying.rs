//! How workers end, and that nothing is lost by it.

use std::time::{Duration, Instant};

use evalx_service::Status;
use evalx_testkit::{Hook, RedisServer};
use nix::sys::signal::Signal;

use crate::process::{PATIENCE, Process};
use crate::submissions::Client;

/// Prints what it reads, but not at once.
const SLOW_ECHO: &str = "import time; time.sleep(0.2); print(input())";
/// How many submissions three workers have while they are killed; `EVALX_KILL_JOBS` sets another number.
const JOBS: usize = 60;

/// Waits until something is so.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "in {PATIENCE:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn worker(redis: &RedisServer) -> Result<Process, String> {
    Process::start(&[("EVALX_QUEUE", &redis.url()), ("EVALX_WEBHOOK_ALLOW_PRIVATE", "true")])
}

pub(crate) fn a_stopped_worker_hands_back(redis: &mut RedisServer) -> Result<(), String> {
    let mut first = Process::start(&[("EVALX_QUEUE", &redis.url()), ("EVALX_DRAIN", "1s")])?;
    let client = Client::new(&redis.url());
    // Of each, some run when the worker is stopped; the long ones outlast its patience.
    let echoes = client.submit(SLOW_ECHO, (0..20).map(|number| number.to_string()));
    let long = client.submit("import time; time.sleep(15); print(input())", ["0".to_owned()]);
    eventually("a worker has something", || client.running() > 0);
    let began = Instant::now();
    first.signal(Signal::SIGTERM);
    assert!(first.ended(Duration::from_secs(30)).success(), "{}", first.said());
    let took = began.elapsed();
    let said = first.said();
    assert!(said.contains("the worker has ended"), "{said}");
    // What was handed back waits again at once, without a lease that must run out.
    assert_eq!(client.running(), 0, "after {took:?}: {said}");
    assert!(client.waiting() > 0, "it ran all in {took:?}: {said}");
    let _second = worker(redis)?;
    client.expect_echoes(&echoes);
    client.expect_echoes(&long);
    Ok(())
}

pub(crate) fn workers_outlive_redis(redis: &mut RedisServer) -> Result<(), String> {
    let worker = worker(redis)?;
    let client = Client::new(&redis.url());
    let before = client.submit(SLOW_ECHO, (0..10).map(|number| number.to_string()));
    eventually("a worker has something", || client.running() > 0);
    // What is written each second is on disk after two.
    client.result(before[4]);
    std::thread::park_timeout(Duration::from_millis(1500));
    redis.restart()?;
    client.expect_echoes(&before);
    let after = client.submit(SLOW_ECHO, (0..4).map(|number| number.to_string()));
    client.expect_echoes(&after);
    drop(worker);
    Ok(())
}

pub(crate) fn a_delivery_outlives_its_worker(redis: &mut RedisServer) -> Result<(), String> {
    let victim = worker(redis)?;
    let client = Client::new(&redis.url());
    let hook = Hook::listen().unwrap();
    let id = client.submit_with_webhook("print(1)", &hook.url("/"));
    // The result is there, and its delivery under way: it is not answered.
    let first = hook.next_within(PATIENCE).unwrap().expect("it is delivered");
    assert_eq!(client.document(id).status, Status::Finished);
    victim.kill();
    let body = first.body.clone();
    drop(first);
    let heir = worker(redis)?;
    let second = hook.next_within(PATIENCE).unwrap().expect("it is delivered by another");
    assert_eq!(second.body, body);
    second.answer("200 OK").unwrap();
    eventually("the delivery is in the log", || client.deliveries(id) == [Some(200)]);
    // It comes once.
    heir.signal(Signal::SIGTERM);
    drop(heir);
    assert!(hook.next_within(Duration::ZERO).unwrap().is_none());
    Ok(())
}

pub(crate) fn workers_killed_at_random_lose_nothing(redis: &mut RedisServer) -> Result<(), String> {
    let jobs = match std::env::var("EVALX_KILL_JOBS") {
        Ok(text) => text.parse().map_err(|_| format!("EVALX_KILL_JOBS={text} is no number"))?,
        Err(_) => JOBS,
    };
    let client = Client::new(&redis.url());
    let ids = client.submit(SLOW_ECHO, (0..jobs).map(|number| number.to_string()));
    let mut workers = [worker(redis)?, worker(redis)?, worker(redis)?];
    let mut killed = 0;
    // Until most is done; each that is killed has another in its place.
    while client.waiting() > jobs as u64 / 10 {
        std::thread::park_timeout(Duration::from_millis(fastrand::u64(200..1500)));
        let victim = fastrand::usize(..workers.len());
        let heir = worker(redis)?;
        std::mem::replace(&mut workers[victim], heir).kill();
        killed += 1;
    }
    // A submission that two workers have died of is taken for their murderer.
    // None of these is, and so none is any more once the killing has ended.
    client.requeue_the_dead(&ids);
    client.expect_echoes(&ids);
    assert!(killed > 0);
    Ok(())
}
