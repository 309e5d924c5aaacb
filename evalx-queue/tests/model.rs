//! Whether the queue on Redis does what the one in memory does: random
//! sequences of calls on both, whose every answer and whose whole state must
//! be the same.
//!
//! `EVALX_QUEUE_SEQUENCES=100000 cargo test --release -p evalx-queue
//! --all-features --test model` runs so many sequences; without it a few
//! hundred. Time is stopped on both, and goes on only as a sequence says.

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use evalx_queue::{
    Claimed, Control, JobId, JobState, Lease, Limits, ListQuery, ManualClock, MemoryQueue, NewEvent, NewJob,
    Outcome, Priority, Queue, QueueConfig, RedisConfig, RedisQueue, Settlement, Timestamp, WorkerId,
};
use evalx_testkit::{RedisOptions, RedisServer};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

/// How many sequences are run, unless the environment says.
const SEQUENCES: u32 = 300;
/// When time begins.
const START: u64 = 1_700_000_000_000;
/// Jobs that sequences speak of.
const JOBS: u128 = 10;

/// One call, or something that happens between two.
#[derive(Clone, Debug)]
enum Step {
    Enqueue(Vec<Wanted>),
    Claim(usize),
    Finish(Vec<(usize, End, Vec<u8>)>, usize),
    Heartbeat(Vec<usize>),
    Release(Vec<usize>),
    Emit(usize, Vec<u8>),
    Cancel(u128),
    Requeue(Vec<u128>),
    Remove(Vec<u128>),
    Control(Control),
    Sweep,
    List(JobState, u64, u64),
    Events(u128, u64),
    Pass(u64),
    /// The server forgets its scripts, as at a restart.
    ForgetScripts,
}

#[derive(Clone, Debug)]
struct Wanted {
    id: u128,
    tenant: &'static str,
    language: &'static str,
    priority: Priority,
    payload: &'static str,
    delay: u64,
    expires: Option<u64>,
    max_run: u64,
    max_attempts: Option<u32>,
    ttl: Option<u64>,
    key: Option<&'static str>,
}

#[derive(Clone, Debug)]
enum End {
    Done,
    Retry(u64),
    Crashed,
    Rejected,
    Cancelled,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let names = (select(&["ada", "bob", "{c}:d"][..]), select(&["c", "py"][..]), select(&Priority::ALL[..]));
    let times = (select(&[0, 0, 0, 5, 3_600_000][..]), select(&[None, None, Some(7), Some(60_000)][..]));
    let limits = (
        select(&[50, 5_000, 600_000][..]),
        select(&[None, Some(1), Some(2)][..]),
        select(&[None, Some(20_000)][..]),
    );
    let key = select(&[None, None, None, Some("k"), Some("k:2")][..]);
    (0..JOBS, names, select(&["x", "y"][..]), times, limits, key).prop_map(
        |(id, (tenant, language, priority), payload, (delay, expires), (max_run, max_attempts, ttl), key)| {
            Wanted {
                id,
                tenant,
                language,
                priority,
                payload,
                delay,
                expires,
                max_run,
                max_attempts,
                ttl,
                key,
            }
        },
    )
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        3 => Just(End::Done),
        2 => select(&[0, 5, 1_000][..]).prop_map(End::Retry),
        1 => Just(End::Crashed),
        1 => Just(End::Rejected),
        1 => Just(End::Cancelled),
    ]
}

/// Events of these sizes.
fn events(sizes: &[u8]) -> Vec<NewEvent> {
    sizes.iter().map(|size| NewEvent::new("test", vec![0; (*size).into()]).expect("a good name")).collect()
}

fn control() -> impl Strategy<Value = Control> {
    let limit = || select(&[None, Some(1), Some(3)][..]);
    prop_oneof![
        2 => Just(Control::Pause),
        4 => Just(Control::Resume),
        1 => Just(Control::Drain),
        3 => Just(Control::Open),
        2 => (limit(), limit(), limit()).prop_map(|(depth, tenant, in_flight)| {
            let limits = depth.map_or(Limits::default(), |most| Limits::default().with_max_depth(most * 4));
            let limits = tenant.map_or(limits, |most| limits.with_tenant_depth(most));
            Control::Limits(in_flight.map_or(limits, |most| limits.with_tenant_in_flight(most)))
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let lease = || 0..12_usize;
    let leases = move || prop::collection::vec(lease(), 0..4);
    let jobs = || prop::collection::vec(0..JOBS, 1..4);
    let sizes = || prop::collection::vec(0..60_u8, 0..4);
    prop_oneof![
        12 => prop::collection::vec(wanted(), 1..4).prop_map(Step::Enqueue),
        10 => (0..5_usize).prop_map(Step::Claim),
        10 => (prop::collection::vec((lease(), end(), sizes()), 0..4), 0..3_usize)
            .prop_map(|(d, n)| Step::Finish(d, n)),
        3 => leases().prop_map(Step::Heartbeat),
        3 => leases().prop_map(Step::Release),
        4 => (lease(), sizes()).prop_map(|(l, e)| Step::Emit(l, e)),
        4 => (0..JOBS).prop_map(Step::Cancel),
        3 => jobs().prop_map(Step::Requeue),
        2 => jobs().prop_map(Step::Remove),
        3 => control().prop_map(Step::Control),
        3 => Just(Step::Sweep),
        2 => (select(&JobState::ALL[..]), 0..4_u64, 1..4_u64).prop_map(|(s, o, l)| Step::List(s, o, l)),
        2 => (0..JOBS, 0..6_u64).prop_map(|(id, after)| Step::Events(id, after)),
        12 => select(&[1, 5, 40, 400, 1_000, 1_600, 30_000][..]).prop_map(Step::Pass),
        1 => Just(Step::ForgetScripts),
    ]
}

fn config() -> QueueConfig {
    QueueConfig::default()
        .with_lease(Duration::from_secs(1))
        .with_grace(Duration::from_millis(500))
        // A wait of its own would be random.
        .with_backoff(Duration::ZERO)
        .with_max_depth(9)
        .with_tenant_depth(Some(6))
        .with_tenant_in_flight(Some(3))
        .with_max_dead(3)
        .with_max_events(3)
        .with_max_event_bytes(100)
        .with_result_ttl(Duration::from_secs(100))
        .with_dead_ttl(Duration::from_secs(200))
        .with_idempotency_ttl(Duration::from_secs(90))
}

fn id(number: u128) -> JobId {
    JobId::from_u128(number)
}

fn new_job(wanted: &Wanted) -> NewJob {
    let ms = Duration::from_millis;
    let mut job = NewJob::new(wanted.payload)
        .with_id(id(wanted.id))
        .with_tenant(wanted.tenant)
        .with_language(wanted.language)
        .with_priority(wanted.priority)
        .with_delay(ms(wanted.delay))
        .with_max_run(ms(wanted.max_run));
    job.expires_after = wanted.expires.map(ms);
    job.max_attempts = wanted.max_attempts;
    job.result_ttl = wanted.ttl.map(ms);
    match wanted.key {
        Some(key) => job.with_idempotency_key(key),
        None => job,
    }
}

fn outcome(end: &End) -> Outcome {
    match end {
        End::Done => Outcome::done("result"),
        End::Retry(after) => {
            Outcome::Retry { error: "fault".into(), after: Some(Duration::from_millis(*after)) }
        }
        End::Crashed => Outcome::Crashed { error: "overran\nbadly".into() },
        End::Rejected => Outcome::rejected("nonsense"),
        End::Cancelled => Outcome::Cancelled,
    }
}

/// Both queues, and what the sequence has got so far.
struct Pair<'a> {
    server: &'a RedisServer,
    redis: &'a RedisQueue,
    memory: MemoryQueue,
    clock: Arc<ManualClock>,
    now: u64,
    worker: WorkerId,
    leases: Vec<Lease>,
}

/// A claimed job, but for when exactly that was by the clock of this process.
fn seen(jobs: &[Claimed]) -> Vec<String> {
    let fields = |job: &Claimed| {
        format!(
            "{job:?} {} {:?} {:?} {:?} {:?} {:?} {:?}",
            job.priority, job.max_run, job.result_ttl, job.enqueued_at, job.waited, job.trace, job.payload
        )
    };
    jobs.iter().map(fields).collect()
}

impl Pair<'_> {
    /// Makes one call of both queues, whose answers must be the same.
    async fn same<T, F>(&self, mut call: F) -> Result<(), TestCaseError>
    where
        T: PartialEq + fmt::Debug,
        F: AsyncFnMut(&dyn Queue) -> evalx_queue::Result<T>,
    {
        match (call(&self.memory).await, call(self.redis).await) {
            (Ok(memory), Ok(redis)) if memory == redis => Ok(()),
            (memory, redis) => Err(TestCaseError::fail(format!("memory: {memory:#?}\nredis: {redis:#?}"))),
        }
    }

    /// The lease of this number, if there are as many: also those that are old.
    fn lease(&self, number: usize) -> Lease {
        let latest = self.leases.len().checked_sub(number + 1).and_then(|index| self.leases.get(index));
        latest.copied().unwrap_or(Lease { id: id(number as u128), token: 1 })
    }

    fn leases(&self, numbers: &[usize]) -> Vec<Lease> {
        numbers.iter().map(|number| self.lease(*number)).collect()
    }

    async fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let pair = &*self;
        let mut claimed = Vec::new();
        match step {
            Step::Enqueue(jobs) => {
                let jobs: Vec<_> = jobs.iter().map(new_job).collect();
                pair.same(async |queue| queue.enqueue(jobs.clone()).await).await?;
            }
            Step::Claim(most) => {
                let worker = pair.worker.clone();
                let mut got = Vec::new();
                pair.same(async |queue| {
                    got = queue.claim(&worker, *most, Duration::ZERO).await?;
                    Ok(seen(&got))
                })
                .await?;
                claimed = got;
            }
            Step::Finish(done, most) => {
                let settle = |(n, end, sizes): &(usize, End, Vec<u8>)| {
                    Settlement::new(pair.lease(*n), outcome(end)).with_events(events(sizes))
                };
                let done: Vec<_> = done.iter().map(settle).collect();
                let mut got = Vec::new();
                pair.same(async |queue| {
                    let finished = queue.finish(&pair.worker, done.clone(), *most).await?;
                    got = finished.claimed;
                    Ok((finished.settled, seen(&got)))
                })
                .await?;
                claimed = got;
            }
            Step::Heartbeat(leases) => {
                let leases = pair.leases(leases);
                pair.same(async |queue| queue.heartbeat(&leases).await).await?;
            }
            Step::Release(leases) => {
                let leases = pair.leases(leases);
                pair.same(async |queue| queue.release(&leases).await).await?;
            }
            Step::Emit(lease, sizes) => {
                let lease = pair.lease(*lease);
                let events = events(sizes);
                pair.same(async |queue| queue.emit(&lease, events.clone()).await).await?;
            }
            Step::Cancel(job) => pair.same(async |queue| queue.cancel(id(*job)).await).await?,
            Step::Requeue(jobs) => {
                let ids: Vec<_> = jobs.iter().map(|job| id(*job)).collect();
                pair.same(async |queue| queue.requeue(&ids).await).await?;
            }
            Step::Remove(jobs) => {
                let ids: Vec<_> = jobs.iter().map(|job| id(*job)).collect();
                pair.same(async |queue| queue.remove(&ids).await).await?;
            }
            Step::Control(control) => {
                pair.same(async |queue| queue.control(control.clone()).await).await?;
            }
            Step::Sweep => pair.same(async |queue| queue.sweep().await).await?,
            Step::List(state, offset, limit) => {
                let query = ListQuery::new(*state).with_offset(*offset).with_limit(*limit);
                pair.same(async |queue| queue.list(&query).await).await?;
            }
            Step::Events(job, after) => {
                pair.same(async |queue| queue.events(id(*job), *after).await).await?;
            }
            Step::Pass(millis) => {
                self.now += millis;
                self.clock.advance(Duration::from_millis(*millis));
                stop(self.redis, self.now).await?;
            }
            Step::ForgetScripts => {
                pair.server.ask(&["SCRIPT", "FLUSH"]).map_err(TestCaseError::fail)?;
            }
        }
        self.leases.extend(claimed.iter().map(|job| job.lease));
        Ok(())
    }

    /// Everything that can be seen is the same.
    async fn compare(&self) -> Result<(), TestCaseError> {
        let pair = self;
        pair.same(async |queue| queue.stats().await).await?;
        for job in (0..JOBS).map(id) {
            pair.same(async |queue| queue.get(job).await).await?;
            pair.same(async |queue| queue.events(job, 0).await).await?;
            pair.same(async |queue| queue.payload(job).await).await?;
        }
        for state in JobState::ALL {
            pair.same(async |queue| queue.list(&ListQuery::new(state)).await).await?;
        }
        Ok(())
    }

    /// What is left when all that waits was run, and all that ended was forgotten.
    async fn drain(&mut self) -> Result<(), TestCaseError> {
        self.step(&Step::Control(Control::Resume)).await?;
        self.step(&Step::Control(Control::Limits(Limits::default()))).await?;
        for _ in 0..8 {
            self.step(&Step::Pass(3_600_000)).await?;
            self.step(&Step::Sweep).await?;
            self.step(&Step::Claim(4)).await?;
            let done = (0..4).map(|lease| (lease, End::Done, Vec::new())).collect();
            self.step(&Step::Finish(done, 0)).await?;
        }
        self.step(&Step::Pass(3_600_000 * 24)).await?;
        self.step(&Step::Sweep).await?;
        self.compare().await?;
        let stats = self.redis.stats().await.expect("the server is there");
        let left = [stats.ready, stats.delayed, stats.active, stats.done, stats.dead, stats.cancelled];
        prop_assert_eq!(left, [0; 6]);
        // What is not bound to a job: settings, and streams that are cut by length.
        let kept = ["{evalx:model}:book", "{evalx:model}:ev", "{evalx:model}:cx", "{evalx:model}:sig"];
        let keys = self.server.ask(&["KEYS", "*"]).map_err(TestCaseError::fail)?;
        let leaked = keys.lines().map(str::trim).filter(|line| line.starts_with('{') && !kept.contains(line));
        let leaked: Vec<_> = leaked.filter(|key| !key.contains(":w:") && !key.contains(":i:")).collect();
        prop_assert!(leaked.is_empty(), "keys that nobody needs any more: {:?}", leaked);
        Ok(())
    }
}

async fn stop(redis: &RedisQueue, at: u64) -> Result<(), TestCaseError> {
    let stopped = redis.set_time(Some(Timestamp::from_millis(at))).await;
    stopped.map_err(|error| TestCaseError::fail(error.chain()))
}

async fn sequence(server: &RedisServer, redis: &RedisQueue, steps: &[Step]) -> Result<(), TestCaseError> {
    server.ask(&["FLUSHALL"]).map_err(TestCaseError::fail)?;
    stop(redis, START).await?;
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(START)));
    let memory =
        MemoryQueue::with_clock(config(), Arc::clone(&clock) as _).expect("the configuration is good");
    let worker = WorkerId::new("worker").expect("a good name");
    let mut pair = Pair { server, redis, memory, clock, now: START, worker, leases: Vec::new() };
    for step in steps {
        pair.step(step).await?;
    }
    pair.compare().await?;
    pair.drain().await
}

fn run() -> Result<Completion, Failed> {
    let server = match RedisServer::start(RedisOptions::volatile()) {
        Ok(server) => server,
        Err(reason) if evalx_testkit::required("redis") => return Err(reason.into()),
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let redis_config = RedisConfig::new(server.url()).with_name("model").with_queue(config());
    let redis = runtime.block_on(RedisQueue::connect(redis_config)).map_err(|error| error.chain())?;
    let sequences = std::env::var("EVALX_QUEUE_SEQUENCES").ok();
    let cases = sequences
        .map_or(Ok(SEQUENCES), |text| text.parse().map_err(|_| "EVALX_QUEUE_SEQUENCES is no number"))?;
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let sequences = prop::collection::vec(step(), 1..40);
    runner
        .run(&sequences, |steps| runtime.block_on(sequence(&server, &redis, &steps)))
        .map_err(|failure| failure.to_string())?;
    Ok(Completion::Completed)
}

fn main() -> ExitCode {
    let trial = Trial::ignorable_test("redis_does_what_memory_does", run);
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}
