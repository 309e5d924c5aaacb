//! What each fault test has: a size, servers, queues, and patience.

use std::sync::Arc;
use std::time::{Duration, Instant};

use evalx_queue::{DynQueue, JobId, Queue as _, QueueConfig, RedisConfig, RedisQueue};
use evalx_testkit::{RedisOptions, RedisServer};

/// How long something that must happen may take on a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn required() -> bool {
    evalx_testkit::required("redis")
}

pub(crate) struct Stage {
    full: bool,
}

impl Stage {
    /// Whether there is a server at all is found out by starting one.
    pub(crate) fn new() -> Result<Self, String> {
        RedisServer::start(RedisOptions::volatile())?;
        Ok(Self { full: std::env::var("EVALX_QUEUE_SCALE").is_ok_and(|scale| scale == "full") })
    }

    /// The one or the other, by the size of the test.
    pub(crate) fn scale<T>(&self, small: T, full: T) -> T {
        if self.full { full } else { small }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full
    }
}

pub(crate) fn server(options: RedisOptions) -> RedisServer {
    RedisServer::start(options).expect("a server could be started a moment ago")
}

/// Jobs are lost by no fault of theirs here, and must not be dead for it.
pub(crate) fn patient_config() -> QueueConfig {
    QueueConfig::default()
        .with_lease(Duration::from_secs(2))
        .with_max_crashes(1_000)
        .with_max_attempts(1_000)
        .with_backoff(Duration::from_millis(10))
        .with_max_depth(10_000_000)
}

pub(crate) async fn connect(url: &str, name: &str, config: QueueConfig) -> RedisQueue {
    let config =
        RedisConfig::new(url).with_name(name).with_queue(config).with_patience(Duration::from_secs(20));
    RedisQueue::connect(config).await.expect("the server is there")
}

/// A queue that no other test has.
pub(crate) async fn queue(server: &RedisServer, config: QueueConfig) -> (DynQueue, String) {
    let name = JobId::new().to_string();
    (Arc::new(connect(&server.url(), &name, config).await), name)
}

/// Waits until `condition` holds, asking again and again.
pub(crate) async fn until<R: Future<Output = bool>>(
    what: &str,
    most: Duration,
    mut condition: impl FnMut() -> R,
) {
    let deadline = Instant::now() + most;
    while !condition().await {
        assert!(Instant::now() < deadline, "it never came that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a replica has all that its primary has.
pub(crate) async fn until_it_follows(replica: &RedisServer) {
    until("the replica follows", PATIENCE, async || {
        replica.ask(&["INFO", "replication"]).unwrap().contains("master_link_status:up")
    })
    .await;
}

/// Waits until nothing waits and nothing runs.
pub(crate) async fn until_idle(queue: &DynQueue, most: Duration) {
    let deadline = Instant::now() + most;
    loop {
        let stats = queue.stats().await;
        if stats.as_ref().is_ok_and(|stats| stats.depth() + stats.active == 0) {
            return;
        }
        assert!(Instant::now() < deadline, "not all jobs have ended: {stats:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Says a figure, for those who look.
#[expect(clippy::print_stderr, reason = "figures of a test are for who runs it")]
pub(crate) fn figure(text: &str) {
    eprintln!("    {text}");
}
