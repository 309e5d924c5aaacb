//! What waits at the server: for jobs to be ready, and for changes of jobs.
//!
//! Each waits on a connection of its own, since a call that waits holds up all
//! that come after it on the same; and only while somebody in this process
//! waits for it, so that an idle process is quiet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamRangeReply, StreamReadReply};
use redis::{RedisError, Value};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::link::Link;
use crate::JobId;
use crate::watch::Watchers;

/// How long one call waits at the server.
const BLOCK: Duration = Duration::from_secs(5);
/// How long is waited before another attempt to connect.
const PAUSE: Duration = Duration::from_millis(200);
/// The most changes of one answer. If there are as many, some may be lost
/// before they are read.
const MOST_CHANGES: usize = 1000;

/// Those in this process who wait for jobs.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) ready: Notify,
    claimers: AtomicUsize,
    arrival: Notify,
}

/// One who waits for jobs.
pub(super) struct Claimer<'a>(&'a Waiting);

impl Waiting {
    pub(super) fn enter(&self) -> Claimer<'_> {
        if self.claimers.fetch_add(1, Ordering::SeqCst) == 0 {
            self.arrival.notify_one();
        }
        Claimer(self)
    }

    async fn occupied(&self) {
        while self.claimers.load(Ordering::SeqCst) == 0 {
            self.arrival.notified().await;
        }
    }
}

impl Drop for Claimer<'_> {
    fn drop(&mut self) {
        self.0.claimers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits for jobs to be ready, as long as somebody claims.
pub(super) async fn wait_for_jobs(link: Arc<Link>, waiting: Arc<Waiting>) {
    let mut signal = redis::cmd("BLPOP");
    signal.arg(link.key(":sig")).arg(BLOCK.as_secs());
    loop {
        waiting.occupied().await;
        let Ok(mut connection) = link.waiting_connection(BLOCK).await else {
            sleep(PAUSE).await;
            continue;
        };
        loop {
            waiting.occupied().await;
            match signal.query_async::<Value>(&mut connection).await {
                Ok(Value::Nil) => {}
                Ok(_) => waiting.ready.notify_one(),
                Err(error) => {
                    tracing::debug!("the wait for jobs broke off: {error}");
                    sleep(PAUSE).await;
                    break;
                }
            }
        }
    }
}

/// Follows a stream of changes, as long as somebody watches.
pub(super) async fn follow(link: Arc<Link>, stream: &'static str, watchers: Arc<Watchers>) {
    let key = link.key(stream);
    loop {
        watchers.occupied().await;
        let Ok(mut connection) = link.waiting_connection(BLOCK).await else {
            sleep(PAUSE).await;
            continue;
        };
        if let Err(error) = follow_on(&mut connection, &key, &watchers).await {
            tracing::debug!("following changes broke off: {error}");
            sleep(PAUSE).await;
        }
    }
}

async fn follow_on(
    connection: &mut MultiplexedConnection,
    key: &str,
    watchers: &Watchers,
) -> Result<(), RedisError> {
    loop {
        watchers.occupied().await;
        let mut newest = redis::cmd("XREVRANGE");
        newest.arg(key).arg("+").arg("-").arg("COUNT").arg(1);
        let last: StreamRangeReply = newest.query_async(connection).await?;
        let mut last = last.ids.first().map_or_else(|| "0-0".to_owned(), |entry| entry.id.clone());
        // What happened before is not told: who watches looks once more.
        watchers.wake_all();
        while !watchers.is_empty() {
            let mut read = redis::cmd("XREAD");
            read.arg("COUNT").arg(MOST_CHANGES).arg("BLOCK").arg(BLOCK.as_millis().to_string());
            let reply: Option<StreamReadReply> =
                read.arg("STREAMS").arg(key).arg(&last).query_async(connection).await?;
            let entries = reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids);
            let mut count = 0;
            for entry in entries {
                count += 1;
                let ids: String = entry.get("i").unwrap_or_default();
                ids.split(' ').filter_map(|id| id.parse::<JobId>().ok()).for_each(|id| watchers.wake(id));
                last = entry.id;
            }
            if count >= MOST_CHANGES {
                watchers.wake_all();
            }
        }
    }
}
