//! Several processes over one Redis: any of them may die.

use std::time::{Duration, Instant};

use evalx_testkit::{RedisOptions, RedisServer};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::server::Server;

/// Submissions that are handed in while a worker is killed.
const SUBMISSIONS: usize = 30;

/// Why this can't be tried here, if it can't.
pub(crate) fn redis() -> Result<RedisServer, String> {
    RedisServer::start(RedisOptions::every_second())
}

pub(crate) fn a_killed_worker_loses_nothing(redis: &RedisServer) -> Result<(), String> {
    let url = redis.url();
    let worker = || {
        let settings =
            [("EVALX_QUEUE", url.as_str()), ("EVALX_SANDBOX", "native"), ("EVALX_ONLY_LANGUAGES", "python")];
        Server::start(&settings)?.ready()
    };
    let front = Server::start(&[("EVALX_QUEUE", &url), ("EVALX_WORKERS", "0")])?.ready()?;
    let mut victim = worker()?;
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
    let _heir = worker()?;
    for (number, token) in tokens.iter().enumerate() {
        let document = front.result(token);
        assert_eq!(document["verdict"], "accepted", "{document}");
        assert_eq!(document["tests"][0]["report"]["stdout"], format!("{number}\n"));
    }
    Ok(())
}
