//! [`RedisQueue`]: a queue on a Redis or Valkey server, for any number of processes.

mod claiming;
mod config;
mod durability;
mod link;
mod listen;
mod packed;
mod place;
mod record;
mod replicas;
mod reply;
mod request;
mod script;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::config::LONGEST;
use crate::memory::{MOST_AT_ONCE, MOST_EVENTS, check_blob};
use crate::time::millis;
use crate::watch::Watchers;
use crate::{
    Admission, Beat, BlobId, Cancellation, Claimed, Control, Durability, Event, Finished, JobId, JobView,
    Lease, ListQuery, NewEvent, NewJob, Page, Queue, QueueConfig, Result, Settled, Settlement, Stats, Swept,
    Timestamp, Watch, WorkerId,
};
pub use config::RedisConfig;
use link::Link;
use listen::Waiting;
use packed::Packed as _;
use record::Book;
use reply::Reader;
use script::Arguments;

/// How long an idle claim relies on being woken, before it looks by itself.
const LOOK: Duration = Duration::from_secs(2);

/// A queue on a Redis or Valkey server, for any number of processes.
///
/// Each call is one script that runs in one piece, on the server's time. A call
/// whose answer was lost is repeated, and changes nothing the second time, so a
/// server that restarts is noticed as a delay of [`RedisConfig::patience`] at
/// most. What accepted jobs survive is up to the server's settings;
/// [`durability`](Queue::durability) says what was found, and
/// [`RedisConfig::require_durability`] refuses less.
///
/// All keys of a queue have one hash tag, so in a cluster they are in one slot:
/// a queue is as fast as one core. Several queues are in several slots.
///
/// ```no_run
/// # async fn connect() -> evalx_queue::Result<()> {
/// use evalx_queue::{Durability, NewJob, QueueExt, RedisConfig, RedisQueue};
///
/// let config = RedisConfig::new("redis://127.0.0.1/").with_require_durability(Durability::Fsync);
/// let queue = RedisQueue::connect(config).await?;
/// queue.submit(NewJob::new("2 + 2")).await?;
/// # Ok(())
/// # }
/// ```
///
/// # What the server needs
///
/// Redis 6.2 or later, or any Valkey; `appendonly yes`, `appendfsync always` and
/// `maxmemory-policy noeviction`. It may be a node of a cluster, or one that
/// sentinels know ([`RedisConfig::url`]). Replication is asynchronous: a failover
/// can lose what was accepted last, unless [replicas](RedisConfig::replicas) must
/// have it; that the caller submits it again (with the same [id](NewJob::id))
/// mends that.
pub struct RedisQueue {
    config: RedisConfig,
    durability: Durability,
    link: Arc<Link>,
    /// For what is enqueued: the same, unless replicas are waited for.
    accepting: Arc<Link>,
    /// For what is so large that it would hold up all others, heartbeats too.
    hauling: Link,
    waiting: Arc<Waiting>,
    changes: Arc<Watchers>,
    cancellations: Arc<Watchers>,
    /// What waits at the server; ends with the queue.
    _listeners: JoinSet<()>,
}

impl RedisQueue {
    /// The queue of this configuration, once its server was reached.
    ///
    /// # Errors
    /// `InvalidRequest` if the configuration makes no sense, `Unavailable` if
    /// the server can't be reached, `Unsupported` if it promises too little.
    pub async fn connect(config: RedisConfig) -> Result<Self> {
        config.check()?;
        let link = Arc::new(Link::new(&config)?);
        let durability = durability::check(&link, &config).await?;
        if durability < Durability::Fsync {
            tracing::warn!(
                queue = config.name,
                "accepted jobs survive only `{durability}` on {}",
                config.server()
            );
        }
        let (waiting, changes, cancellations) = <(Arc<Waiting>, Arc<Watchers>, Arc<Watchers>)>::default();
        let mut listeners = JoinSet::new();
        listeners.spawn(listen::wait_for_jobs(Arc::clone(&link), Arc::clone(&waiting)));
        listeners.spawn(listen::follow(Arc::clone(&link), ":ev", Arc::clone(&changes)));
        listeners.spawn(listen::follow(Arc::clone(&link), ":cx", Arc::clone(&cancellations)));
        listeners.spawn(listen::follow_primary(Arc::clone(&link)));
        let mut accepting = Arc::clone(&link);
        if config.replicas > 0 {
            accepting = Arc::new(Link::new(&config)?.with_replicas(config.replicas));
            listeners.spawn(listen::follow_primary(Arc::clone(&accepting)));
        }
        let hauling = Link::new(&config)?.for_blobs(config.queue.max_blob);
        Ok(Self {
            config,
            durability,
            link,
            accepting,
            hauling,
            waiting,
            changes,
            cancellations,
            _listeners: listeners,
        })
    }

    /// Stops the time of all processes that share the queue at `time`, or lets
    /// it go on. For tests, which can then say what is due.
    ///
    /// # Errors
    /// `Unavailable`.
    #[doc(hidden)]
    pub async fn set_time(&self, time: Option<Timestamp>) -> Result<()> {
        let mut arguments = self.link.arguments();
        arguments.text("now").number(time.map(Timestamp::as_millis).unwrap_or_default());
        self.link.call(&script::CONTROL, arguments).await.map(drop)
    }

    async fn claim_now(&self, worker: &WorkerId, most: usize) -> Result<(Vec<Claimed>, Option<u64>)> {
        let arguments = claiming::arguments(&self.link, worker, most);
        claiming::call(&self.link, &script::CLAIM, arguments, |value, sent| {
            let mut answer = Reader::of(value)?;
            let next = u64::try_from(answer.integer()?).ok();
            let claimed = reply::claimed(answer, sent)?;
            let leases = claimed.iter().map(|job| job.lease).collect();
            Ok(((claimed, next), leases))
        })
        .await
    }

    async fn number(&self, script: &script::Script, arguments: Arguments) -> Result<u64> {
        let value = self.link.call(script, arguments).await?;
        Ok(u64::try_from(reply::integer(&value)?).unwrap_or_default())
    }
}

#[async_trait]
impl Queue for RedisQueue {
    fn config(&self) -> &QueueConfig {
        &self.config.queue
    }

    fn durability(&self) -> Durability {
        self.durability
    }

    async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<Admission>> {
        let config = &self.config.queue;
        jobs.iter().try_for_each(|job| job.check(config))?;
        let mut admissions = Vec::with_capacity(jobs.len());
        let mut jobs = jobs.into_iter().peekable();
        while jobs.peek().is_some() {
            let mut arguments = self.link.arguments();
            arguments.since();
            for job in request::next_batch(&mut jobs, |job| job.payload.len()) {
                request::new_job(&mut arguments, job, config);
            }
            let answers = Reader::of(self.accepting.call(&script::ENQUEUE, arguments).await?)?;
            for answer in answers.rest() {
                admissions.push(reply::admission(answer)?);
            }
        }
        Ok(admissions)
    }

    async fn claim(&self, worker: &WorkerId, most: usize, wait: Duration) -> Result<Vec<Claimed>> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + wait.min(LONGEST);
        loop {
            let mut ready = pin!(self.waiting.ready.notified());
            ready.as_mut().enable();
            let (claimed, next) = self.claim_now(worker, most).await?;
            let now = Instant::now();
            if !claimed.is_empty() || now >= deadline {
                return Ok(claimed);
            }
            // Something that is due sooner may have come by then: all look again.
            let next = next.map_or(LOOK, |next| Duration::from_millis(next + 1).min(LOOK));
            let _claimer = self.waiting.enter();
            tokio::select! {
                () = ready => {}
                () = sleep_until(deadline.min(now + next)) => {}
            }
        }
    }

    async fn finish(&self, worker: &WorkerId, done: Vec<Settlement>, claim: usize) -> Result<Finished> {
        done.iter().try_for_each(|settlement| settlement.check(&self.config.queue))?;
        let mut finished = Finished::default();
        let mut done = done.into_iter().peekable();
        while done.peek().is_some() || finished.settled.is_empty() {
            let batch = request::next_batch(&mut done, Settlement::bytes);
            let most = if done.peek().is_none() { claim } else { 0 };
            let mut arguments = claiming::arguments(&self.link, worker, most);
            let is_empty = batch.is_empty();
            batch.into_iter().for_each(|one| request::settlement(&mut arguments, one));
            let read = |value, sent| {
                let mut answer = Reader::of(value)?;
                let answers = reply::settled(answer.next()?)?;
                let claimed = reply::claimed(answer, sent)?;
                let leases = claimed.iter().map(|job| job.lease).collect();
                Ok(((claimed, answers), leases))
            };
            let (claimed, answers) = claiming::call(&self.link, &script::FINISH, arguments, read).await?;
            finished.claimed.extend(claimed);
            finished.settled.extend(answers);
            if is_empty {
                break;
            }
        }
        Ok(finished)
    }

    async fn heartbeat(&self, leases: &[Lease]) -> Result<Vec<Beat>> {
        let mut beats = Vec::with_capacity(leases.len());
        for leases in leases.chunks(MOST_AT_ONCE) {
            let mut arguments = self.link.arguments();
            arguments.leases(leases);
            let mut answers = Reader::of(self.link.call(&script::HEARTBEAT, arguments).await?)?;
            for _ in leases {
                let (valid, cancel) = (answers.integer()?, answers.integer()? == 1);
                beats.push(match u64::try_from(valid).map(Duration::from_millis) {
                    Err(_) => Beat::Lost,
                    Ok(valid_for) if cancel => Beat::Cancel { valid_for },
                    Ok(valid_for) => Beat::Renewed { valid_for },
                });
            }
        }
        Ok(beats)
    }

    async fn release(&self, leases: &[Lease]) -> Result<Vec<Settled>> {
        let mut answers = Vec::with_capacity(leases.len());
        for leases in leases.chunks(MOST_AT_ONCE) {
            let mut arguments = self.link.arguments();
            arguments.leases(leases);
            answers.extend(reply::settled(self.link.call(&script::RELEASE, arguments).await?)?);
        }
        Ok(answers)
    }

    async fn emit(&self, lease: &Lease, events: Vec<NewEvent>) -> Result<Settled> {
        NewEvent::check(&events, &self.config.queue)?;
        let mut arguments = self.link.arguments();
        arguments.text(&lease.id).number(lease.token).text(&format_args!("{:016x}", fastrand::u64(..)));
        arguments.bytes(request::events(&events));
        let answers = reply::settled(self.link.call(&script::EMIT, arguments).await?)?;
        answers.first().copied().ok_or_else(packed::nonsense)
    }

    async fn cancel(&self, id: JobId) -> Result<Cancellation> {
        let mut arguments = self.link.arguments();
        arguments.text(&id).since();
        let answer = reply::text(self.link.call(&script::CANCEL, arguments).await?)?;
        Ok(match answer.as_str() {
            "done" => Cancellation::Done,
            "requested" => Cancellation::Requested,
            "too_late" => Cancellation::TooLate,
            _ => Cancellation::NotFound,
        })
    }

    async fn get(&self, id: JobId) -> Result<Option<JobView>> {
        let mut arguments = self.link.arguments();
        arguments.text(&id);
        reply::view(self.link.call(&script::GET, arguments).await?)
    }

    async fn payload(&self, id: JobId) -> Result<Option<Bytes>> {
        let mut arguments = self.link.arguments();
        arguments.text(&id);
        reply::maybe_bytes(self.link.call(&script::PAYLOAD, arguments).await?)
    }

    async fn events(&self, id: JobId, after: u64) -> Result<Option<Vec<Event>>> {
        let mut arguments = self.link.arguments();
        // Beyond 2^53 numbers are no longer exact, and there are no events.
        arguments.text(&id).number(after.min(1 << 53)).number(MOST_EVENTS as u64);
        match self.link.call(&script::EVENTS, arguments).await? {
            Value::Nil | Value::Boolean(false) => Ok(None),
            value => Reader::of(value)?.rest().map(reply::event).collect::<Result<_>>().map(Some),
        }
    }

    fn watch(&self, id: JobId) -> Watch {
        self.changes.watch(id)
    }

    fn watch_cancellation(&self, id: JobId) -> Watch {
        self.cancellations.watch(id)
    }

    async fn list(&self, query: &ListQuery) -> Result<Page> {
        query.check()?;
        let mut arguments = self.link.arguments();
        arguments.text(&query.state).number(query.offset.min(1 << 53)).number(query.limit);
        let mut answer = Reader::of(self.link.call(&script::LIST, arguments).await?)?;
        let total = answer.count()?;
        let jobs = answer.list()?.rest().map(reply::view).collect::<Result<Vec<_>>>()?;
        Ok(Page { jobs: jobs.into_iter().flatten().collect(), total })
    }

    async fn requeue(&self, ids: &[JobId]) -> Result<u64> {
        let mut requeued = 0;
        for ids in ids.chunks(MOST_AT_ONCE) {
            let mut arguments = self.link.arguments();
            arguments.all(ids);
            requeued += self.number(&script::REQUEUE, arguments).await?;
        }
        Ok(requeued)
    }

    async fn remove(&self, ids: &[JobId]) -> Result<u64> {
        let mut removed = 0;
        for ids in ids.chunks(MOST_AT_ONCE) {
            let mut arguments = self.link.arguments();
            arguments.all(ids);
            removed += self.number(&script::REMOVE, arguments).await?;
        }
        Ok(removed)
    }

    async fn control(&self, control: Control) -> Result<()> {
        let mut arguments = self.link.arguments();
        match control {
            Control::Pause => drop(arguments.text("pause")),
            Control::Resume => drop(arguments.text("resume")),
            Control::Drain => drop(arguments.text("drain")),
            Control::Open => drop(arguments.text("open")),
            Control::Limits(limits) => {
                limits.check()?;
                arguments
                    .text("limits")
                    .number(limits.max_depth.unwrap_or_default())
                    .number(limits.tenant_depth.unwrap_or_default())
                    .number(limits.tenant_in_flight.unwrap_or_default());
            }
        }
        self.link.call(&script::CONTROL, arguments).await.map(drop)
    }

    async fn stats(&self) -> Result<Stats> {
        let mut answer = Reader::of(self.link.call(&script::STATS, self.link.arguments()).await?)?;
        let (delayed, active) = (answer.count()?, answer.count()?);
        let (done, dead, cancelled) = (answer.count()?, answer.count()?, answer.count()?);
        let tenants_waiting = answer.count()?;
        let oldest_ready = Duration::from_millis(u64::try_from(answer.integer()?).unwrap_or_default());
        let book = Book::unpack(&answer.bytes()?)?;
        let ready_by_priority = [book.ready_high, book.ready_normal, book.ready_low];
        let ready = ready_by_priority.iter().sum();
        let mut languages = answer.list()?;
        let mut depth_by_language = std::collections::BTreeMap::new();
        while let Ok(language) = languages.text() {
            depth_by_language.insert(language, languages.count()?);
        }
        let expected = crate::admission::expected_wait_ms(ready, active, book.average_run);
        Ok(Stats {
            ready,
            delayed,
            active,
            done,
            dead,
            cancelled,
            depth_by_language,
            ready_by_priority,
            tenants_waiting,
            oldest_ready,
            retries: book.retries,
            crashes: book.crashes,
            completed: book.completed,
            average_run: Duration::from_millis(book.average_run),
            expected_wait: Duration::from_millis(expected),
            paused: book.paused > 0,
            draining: book.draining > 0,
        })
    }

    async fn sweep(&self) -> Result<Swept> {
        let mut answer = Reader::of(self.link.call(&script::SWEEP, self.link.arguments()).await?)?;
        Ok(Swept { promoted: answer.count()?, reaped: answer.count()?, forgotten: answer.count()? })
    }

    async fn put_blob(&self, bytes: Bytes, ttl: Duration) -> Result<BlobId> {
        check_blob(&bytes, ttl, &self.config.queue)?;
        let id = BlobId::new();
        let mut set = redis::cmd("SET");
        set.arg(self.link.key(&format!(":b:{id}"))).arg(bytes.as_ref()).arg("PX").arg(millis(ttl));
        self.hauling.command(&set).await.map(|_| id)
    }

    async fn get_blob(&self, id: BlobId) -> Result<Option<Bytes>> {
        let mut get = redis::cmd("GET");
        get.arg(self.link.key(&format!(":b:{id}")));
        reply::maybe_bytes(self.hauling.command(&get).await?)
    }

    async fn remove_blob(&self, id: BlobId) -> Result<()> {
        let mut delete = redis::cmd("DEL");
        delete.arg(self.link.key(&format!(":b:{id}")));
        self.link.command(&delete).await.map(drop)
    }
}

impl fmt::Debug for RedisQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisQueue")
            .field("config", &self.config)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}
