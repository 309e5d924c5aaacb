//! `evalx queue`: what is in a queue on Redis, and what to do about the dead.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use clap::{Args, Subcommand, ValueEnum};
use evalx_queue::{
    ErrorKind, JobId, JobState, JobView, ListQuery, Page, Queue as _, QueueExt as _, RedisConfig, RedisQueue,
    Stats, Timestamp,
};
use serde::Serialize;

use crate::console::{Console, Paint};
use crate::failure::{Failure, Status};

const EXAMPLES: &str = "\
Examples:
  evalx queue --redis redis://127.0.0.1/ stats
  evalx queue --redis redis://127.0.0.1/ list dead --limit 10
  evalx queue --redis redis://127.0.0.1/ show 01890a5d-ac96-774b-bcce-b302099a8057
  evalx queue --redis redis://127.0.0.1/ requeue --all-dead
  evalx queue --redis redis://127.0.0.1/ purge dead";

/// Which queue, and what about it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The address of the server: redis://[user:password@]host[:port][/database], or
    /// redis-sentinel://[user:password@]host[,host][/database]?master=name.
    #[arg(long, value_name = "URL", env = "EVALX_QUEUE", hide_env_values = true)]
    redis: String,
    /// The name of the queue; of `http_server` and `worker`: evalx, and evalx-deliveries.
    #[arg(long, default_value = "default")]
    name: String,
    /// Print the answer as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Says how many jobs there are, where, and how old.
    Stats,
    /// Lists the jobs in one state.
    List {
        /// delayed, ready, active, done, dead or cancelled.
        state: JobState,
        /// How many to pass over.
        #[arg(long, default_value_t = 0)]
        offset: u64,
        /// How many to list, at most.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=ListQuery::MOST))]
        limit: u64,
    },
    /// Shows a job with its payload, its errors and its result.
    Show {
        /// The job.
        id: JobId,
    },
    /// Puts dead jobs back, to be tried anew.
    Requeue(Requeued),
    /// Forgets all dead jobs.
    Purge {
        /// Which.
        which: Purgeable,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Requeued {
    /// The dead job.
    id: Option<JobId>,
    /// All of them.
    #[arg(long)]
    all_dead: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Purgeable {
    Dead,
}

#[derive(Serialize)]
struct StatsDocument<'a> {
    server_durability: &'a str,
    stats: &'a Stats,
}

#[derive(Serialize)]
struct JobDocument<'a> {
    job: &'a JobView,
    payload: Option<String>,
    payload_base64: Option<String>,
}

#[derive(Serialize)]
struct RequeueDocument {
    requeued: u64,
}

#[derive(Serialize)]
struct PurgeDocument {
    purged: u64,
}

/// Connects to the queue, and does what is asked.
pub(crate) async fn run(arguments: Arguments, console: &Console) -> Result<Status, Failure> {
    let config =
        RedisConfig::new(arguments.redis).with_name(arguments.name).with_patience(Duration::from_secs(2));
    let queue = RedisQueue::connect(config).await?;
    match arguments.action {
        Action::Stats => show_stats(&queue, console).await,
        Action::List { state, offset, limit } => {
            let page = queue.list(&ListQuery::new(state).with_offset(offset).with_limit(limit)).await?;
            show_page(&page, console)
        }
        Action::Show { id } => show_job(&queue, id, console).await,
        Action::Requeue(Requeued { id, .. }) => requeue(&queue, id, console).await,
        Action::Purge { which: Purgeable::Dead } => {
            let purged = queue.purge(JobState::Dead).await?;
            match console.is_json() {
                true => console.document(&PurgeDocument { purged })?,
                false => console.line(format_args!("{purged} dead jobs forgotten"))?,
            }
            Ok(Status::Well)
        }
    }
}

async fn show_stats(queue: &RedisQueue, console: &Console) -> Result<Status, Failure> {
    let stats = queue.stats().await?;
    let durability = queue.durability();
    if console.is_json() {
        console.document(&StatsDocument { server_durability: durability.as_str(), stats: &stats })?;
        return Ok(Status::Well);
    }
    let [high, normal, low] = stats.ready_by_priority;
    console.line(format_args!("ready      {:>9}  ({high} high, {normal} normal, {low} low)", stats.ready))?;
    console.line(format_args!("delayed    {:>9}", stats.delayed))?;
    console.line(format_args!("active     {:>9}", stats.active))?;
    console.line(format_args!("done       {:>9}", stats.done))?;
    console.line(format_args!("dead       {:>9}", stats.dead))?;
    console.line(format_args!("cancelled  {:>9}", stats.cancelled))?;
    console.line(format_args!("oldest     {:>9}", age(stats.oldest_ready)))?;
    console.line(format_args!("wait       {:>9}  (expected for a new job)", age(stats.expected_wait)))?;
    console.line(format_args!("retries    {:>9}  (ever)", stats.retries))?;
    console.line(format_args!("crashes    {:>9}  (ever)", stats.crashes))?;
    console.line(format_args!("tenants    {:>9}  (waiting)", stats.tenants_waiting))?;
    for (language, depth) in &stats.depth_by_language {
        console.line(format_args!("  {language:<20} {depth:>9}"))?;
    }
    for (is_so, what) in
        [(stats.paused, "paused: workers get no jobs"), (stats.draining, "draining: no new jobs")]
    {
        if is_so {
            console.line(console.paint(Paint::Bad, what))?;
        }
    }
    console.line(format_args!("accepted jobs survive: {durability}"))?;
    Ok(Status::Well)
}

fn show_page(page: &Page, console: &Console) -> Result<Status, Failure> {
    if console.is_json() {
        console.document(page)?;
        return Ok(Status::Well);
    }
    for job in &page.jobs {
        let since = ago(job.finished_at.or(job.started_at).unwrap_or(job.enqueued_at));
        let why = job.last_error().and_then(|error| error.lines().next()).unwrap_or_default();
        let why = console.paint(Paint::Bad, printable(why));
        let (id, tenant, language) = (job.id, printable(&job.tenant), printable(&job.language));
        console.line(format_args!(
            "{id}  {since:>8}  {tenant:<16} {language:<12} attempt {}  {why}",
            job.attempt
        ))?;
    }
    console.note(Paint::Dim, format_args!("{} of {}", page.jobs.len(), page.total));
    Ok(Status::Well)
}

async fn show_job(queue: &RedisQueue, id: JobId, console: &Console) -> Result<Status, Failure> {
    let Some(job) = queue.get(id).await? else {
        return Err(evalx_queue::Error::new(
            ErrorKind::NotFound,
            format!("there is no job {id}, or no longer"),
        )
        .into());
    };
    let payload = queue.payload(id).await?.unwrap_or_default();
    if console.is_json() {
        let text = String::from_utf8(payload.to_vec()).ok();
        let base64 = text.is_none().then(|| base64::engine::general_purpose::STANDARD.encode(&payload));
        console.document(&JobDocument { job: &job, payload: text, payload_base64: base64 })?;
        return Ok(Status::Well);
    }
    console.line(format_args!("job        {id}"))?;
    console.line(format_args!("state      {}", job.state))?;
    console.line(format_args!("tenant     {}", printable(&job.tenant)))?;
    console.line(format_args!("language   {}", printable(&job.language)))?;
    console.line(format_args!("priority   {}", job.priority))?;
    console.line(format_args!("attempts   {}, {} workers lost", job.attempt, job.crashes))?;
    let times =
        [("enqueued", Some(job.enqueued_at)), ("started", job.started_at), ("finished", job.finished_at)];
    for (what, at) in times {
        if let Some(at) = at {
            console.line(format_args!("{what:<10} {} ago", ago(at)))?;
        }
    }
    if let Some(worker) = &job.worker {
        console.line(format_args!("worker     {}", printable(worker)))?;
    }
    if let Some(position) = job.position {
        console.line(format_args!("position   about {position}"))?;
    }
    for error in &job.errors {
        let why = console.paint(Paint::Bad, printable(&error.error));
        console.line(format_args!(
            "attempt {}  {} ago on {}: {why}",
            error.attempt,
            ago(error.at),
            printable(&error.worker)
        ))?;
    }
    console.line(format_args!("payload    {} bytes", job.payload_bytes))?;
    console.line(printable(&String::from_utf8_lossy(&payload)))?;
    if let Some(result) = &job.result {
        console.line(format_args!("result     {} bytes", result.len()))?;
        console.line(printable(&String::from_utf8_lossy(result)))?;
    }
    Ok(Status::Well)
}

async fn requeue(queue: &RedisQueue, id: Option<JobId>, console: &Console) -> Result<Status, Failure> {
    let requeued = match id {
        Some(id) => queue.requeue(&[id]).await?,
        None => queue.requeue_all_dead().await?,
    };
    if let Some(id) = id.filter(|_| requeued == 0) {
        return Err(evalx_queue::Error::new(ErrorKind::NotFound, format!("there is no dead job {id}")).into());
    }
    match console.is_json() {
        true => console.document(&RequeueDocument { requeued })?,
        false => console.line(format_args!("{requeued} jobs put back"))?,
    }
    Ok(Status::Well)
}

/// Text of a stranger, which must not move the cursor of who reads it.
fn printable(text: &str) -> String {
    let safe =
        |c: char| if c.is_control() && c != '\n' && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(safe).collect()
}

/// How long ago that was, by the clock here: good enough to read.
fn ago(at: Timestamp) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    age(now.saturating_sub(Duration::from_millis(at.as_millis())))
}

fn age(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        seconds @ 1..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds @ 7200..=172_799 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let texts = [0, 90, 300, 8_000, 200_000].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(texts, ["0 ms", "90 s", "5 min", "2 h", "2 d"]);
    }

    #[test]
    fn strangers_do_not_move_the_cursor() {
        assert_eq!(printable("a\x1b[2J\rb\n"), "a\u{fffd}[2J\u{fffd}b\n");
    }
}
