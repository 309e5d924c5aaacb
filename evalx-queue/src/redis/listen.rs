//! What waits at the server: for jobs to be ready, and for changes of jobs. And
//! at the sentinels: for another server to become the primary.
//!
//! Each waits on a connection of its own, since a call that waits holds up all
//! that come after it on the same; and only while somebody in this process
//! waits for it, so that an idle process is quiet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use redis::Value;
use redis::aio::MultiplexedConnection;
use redis::streams::StreamReadReply;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::link::Link;
use super::place::CONNECT;
use super::reply::Reader;
use super::script;
use crate::time::millis;
use crate::watch::Watchers;
use crate::{JobId, Result};

/// How long one call waits at the server.
const BLOCK: Duration = Duration::from_secs(5);
/// How long a stream counts as followed once that was said.
const FOLLOWED: Duration = Duration::from_secs(15);
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
    let mut hand_on = redis::cmd("RPUSH");
    hand_on.arg(link.key(":sig")).arg(1);
    loop {
        waiting.occupied().await;
        let found = link.found();
        let Ok(mut connection) = link.waiting_connection(BLOCK).await else {
            sleep(PAUSE).await;
            continue;
        };
        while link.found() == found {
            waiting.occupied().await;
            match signal.query_async::<Value>(&mut connection).await {
                Ok(Value::Nil) => {}
                Ok(_) if waiting.claimers.load(Ordering::SeqCst) > 0 => waiting.ready.notify_one(),
                // Who waited here has got jobs in another way: it is for another process.
                Ok(_) => drop(hand_on.query_async::<Value>(&mut connection).await),
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
    loop {
        watchers.occupied().await;
        let Ok(mut connection) = link.waiting_connection(BLOCK).await else {
            sleep(PAUSE).await;
            continue;
        };
        if let Err(error) = follow_on(&link, &mut connection, stream, &watchers).await {
            tracing::debug!("following changes broke off: {}", error.chain());
            sleep(PAUSE).await;
        }
    }
}

/// Says that the stream is followed, without which nothing is written to it;
/// gives whether nobody had said so, and the id of its last entry.
async fn announce(link: &Link, stream: &str) -> Result<(bool, String)> {
    let mut arguments = link.arguments();
    arguments.text(stream).number(millis(FOLLOWED));
    let mut answer = Reader::of(link.call(&script::WATCH, arguments).await?)?;
    Ok((answer.integer()? == 1, answer.text()?))
}

async fn follow_on(
    link: &Link,
    connection: &mut MultiplexedConnection,
    stream: &str,
    watchers: &Watchers,
) -> Result<()> {
    let (key, found) = (link.key(stream), link.found());
    loop {
        watchers.occupied().await;
        let mut announced = Instant::now();
        let (_, mut last) = announce(link, stream).await?;
        // What happened before is not told: who watches looks once more.
        watchers.wake_all();
        while !watchers.is_empty() {
            if link.found() != found {
                return Ok(());
            }
            if announced.elapsed() >= BLOCK {
                announced = Instant::now();
                if announce(link, stream).await?.0 {
                    watchers.wake_all();
                }
            }
            let mut read = redis::cmd("XREAD");
            read.arg("COUNT").arg(MOST_CHANGES).arg("BLOCK").arg(BLOCK.as_millis().to_string());
            read.arg("STREAMS").arg(&key).arg(&last);
            let reply = read.query_async::<Option<StreamReadReply>>(connection).await;
            let reply = reply.map_err(|error| link.unavailable(error))?;
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

/// How long a sentinel may say nothing before another is asked.
const SILENCE: Duration = Duration::from_secs(30);

/// Has the server looked for anew as soon as another is the primary: the old one
/// may take jobs for seconds yet, and they would be lost.
pub(super) async fn follow_primary(link: Arc<Link>) {
    let (sentinels, primary) = link.place().sentinels();
    for sentinel in sentinels.iter().cycle() {
        let subscribed = timeout(CONNECT, async {
            let mut subscription = sentinel.get_async_pubsub().await?;
            subscription.subscribe("+switch-master").await?;
            Ok::<_, redis::RedisError>(subscription)
        });
        if let Ok(Ok(subscription)) = subscribed.await {
            let mut changes = subscription.into_on_message();
            loop {
                // Nobody may have listened when it changed.
                link.look_anew().await;
                match timeout(SILENCE, changes.next()).await {
                    Ok(Some(change)) => {
                        let change: String = change.get_payload().unwrap_or_default();
                        // They may watch others too.
                        if change.split(' ').next() == Some(primary) {
                            tracing::info!(change, "a sentinel names another primary");
                        }
                    }
                    Ok(None) | Err(_) => break,
                }
            }
        }
        sleep(PAUSE).await;
    }
}
