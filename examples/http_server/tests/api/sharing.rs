//! Several processes over one Redis: any of them may die.

use std::time::{Duration, Instant};

use evalx_testkit::{Hook, RedisOptions, RedisServer};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::server::Server;

/// How long a webhook may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Submissions that are handed in while a worker is killed.
const SUBMISSIONS: usize = 30;

/// Why this can't be tried here, if it can't.
pub(crate) fn redis() -> Result<RedisServer, String> {
    RedisServer::start(RedisOptions::every_second())
}

/// A server that runs programs itself.
fn with_workers(redis: &RedisServer) -> Result<Server, String> {
    Server::start(&[
        ("EVALX_QUEUE", &redis.url()),
        ("EVALX_SANDBOX", "native"),
        ("EVALX_ONLY_LANGUAGES", "python"),
        ("EVALX_WEBHOOK_ALLOW_PRIVATE", "true"),
    ])?
    .ready()
}

pub(crate) fn a_killed_worker_loses_nothing(redis: &RedisServer) -> Result<(), String> {
    let url = redis.url();
    let front = Server::start(&[("EVALX_QUEUE", &url), ("EVALX_WORKERS", "0")])?.ready()?;
    let mut victim = with_workers(redis)?;
    let source = "import time; time.sleep(0.2); print(input())";
    let tokens: Vec<String> = (0..SUBMISSIONS)
        .map(|number| {
            front.submit(&json!({ "language": "python", "source": source, "stdin": number.to_string() }))
        })
        .collect();
    let deadline = Instant::now() + Duration::from_secs(60);
    while front.get("/v1/queue").json()["running"] == 0 {
        assert!(Instant::now() < deadline, "no worker took anything");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    victim.signal(Signal::SIGKILL);
    victim.ended(Duration::from_secs(10));
    let _heir = with_workers(redis)?;
    for (number, token) in tokens.iter().enumerate() {
        let document = front.result(token);
        assert_eq!(document["verdict"], "accepted", "{document}");
        assert_eq!(document["tests"][0]["report"]["stdout"], format!("{number}\n"));
    }
    Ok(())
}

pub(crate) fn a_killed_server_loses_no_delivery(redis: &RedisServer) -> Result<(), String> {
    let mut victim = with_workers(redis)?;
    let hook = Hook::listen().unwrap();
    let token = victim
        .submit(&json!({ "language": "python", "source": "print(1)", "webhook_url": hook.url("/done") }));
    // The result is there, and its delivery under way: it is not answered.
    let first = hook.next_within(PATIENCE).unwrap().expect("it is delivered");
    assert_eq!(victim.get(&format!("/v1/submissions/{token}")).json()["status"], "finished");
    victim.signal(Signal::SIGKILL);
    victim.ended(Duration::from_secs(10));
    let body = first.body.clone();
    drop(first);
    let mut heir = with_workers(redis)?;
    let second = hook.next_within(PATIENCE).unwrap().expect("it is delivered by another");
    assert_eq!(second.body, body);
    second.answer("200 OK").unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let log = heir.get(&format!("/v1/submissions/{token}/deliveries")).expect(200).json();
        if log["attempts"].as_array().is_some_and(|attempts| attempts.len() == 1) {
            assert_eq!(log["attempts"][0]["status"], 200, "{log}");
            break;
        }
        assert!(Instant::now() < deadline, "{log}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    // It comes once.
    heir.signal(Signal::SIGTERM);
    heir.ended(Duration::from_secs(60));
    assert!(hook.next_within(Duration::ZERO).unwrap().is_none());
    Ok(())
}
