//! A worker process: takes submissions from a queue on Redis, evaluates them,
//! and delivers results. Any number may run, on any machine, and each may die
//! at any moment: what it had is begun again by another.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use evalx_service::{
    Couriers, Durability, Engine, EngineConfig, Exporter, Log, Queues, QueuesConfig, Workers, languages_with,
    parse_time, sandbox_choice,
};
use tokio::signal::unix::{SignalKind, signal};

mod health;

use health::Health;

/// Evaluates submissions of a queue on Redis.
#[derive(Debug, Parser)]
#[command(
    name = "worker",
    version,
    after_help = "\
EVALX_LOG says how much is logged: error, warn, info (as it comes), debug, or evalx_queue=debug.
SIGTERM: takes no more, lets run what runs for EVALX_DRAIN, and hands back the rest."
)]
struct Settings {
    /// Where submissions wait: the URL of a Redis server.
    #[arg(long, env = "EVALX_QUEUE", value_name = "URL", hide_env_values = true)]
    queue: String,
    /// What an accepted delivery must survive, or the worker does not start: none, every_second,
    /// fsync or replicated.
    #[arg(long, env = "EVALX_QUEUE_DURABILITY", value_name = "LEVEL", default_value = "none")]
    queue_durability: Durability,
    /// Replicas of the Redis server that must have a delivery before it is accepted.
    #[arg(long, env = "EVALX_QUEUE_REPLICAS", value_name = "COUNT", default_value = "0")]
    queue_replicas: u32,
    /// What programs run in: native, isolate, docker, several with commas, or auto.
    #[arg(long, env = "EVALX_SANDBOX", value_name = "NAMES")]
    sandbox: Option<String>,
    /// The control group of the native sandbox: auto, adopt, the path of a delegated one; or
    /// rlimits-only: none, with memory, processes and CPU time held for each process alone.
    #[arg(long, env = "EVALX_CGROUP", value_name = "GROUP", default_value = "auto")]
    cgroup: String,
    /// Programs that run at once; as many as there are processors.
    #[arg(long, env = "EVALX_WORKERS", value_name = "COUNT")]
    workers: Option<NonZeroUsize>,
    /// Where to answer /metrics, /healthz and /readyz; nowhere, if not given.
    #[arg(long, env = "EVALX_METRICS_ADDR", value_name = "ADDRESS")]
    metrics_addr: Option<SocketAddr>,
    /// A TOML file with languages to add or change: the same as the server's.
    #[arg(long, env = "EVALX_LANGUAGES", value_name = "FILE")]
    languages: Option<PathBuf>,
    /// How long running programs may go on when the worker is to end.
    #[arg(long, env = "EVALX_DRAIN", value_name = "TIME", value_parser = parse_time, default_value = "20s")]
    drain: Duration,
    /// The secret that deliveries are signed with, as `whsec_…`; several with commas while they change.
    #[arg(long, env = "EVALX_WEBHOOK_SECRET", value_name = "SECRET", hide_env_values = true)]
    webhook_secret: Option<String>,
    /// Whether deliveries may go to loopback and private addresses.
    #[arg(long, env = "EVALX_WEBHOOK_ALLOW_PRIVATE", value_name = "BOOL", num_args = 0..=1,
          default_value = "false", default_missing_value = "true")]
    webhook_allow_private: bool,
    /// How often a failed delivery is tried again.
    #[arg(long, env = "EVALX_WEBHOOK_RETRIES", value_name = "COUNT", default_value = "3")]
    webhook_retries: u32,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let settings = Settings::parse();
    let log = match Log::start("worker") {
        Ok(log) => log,
        Err(error) => Settings::command().error(clap::error::ErrorKind::InvalidValue, error).exit(),
    };
    let code = work(settings);
    log.end();
    code
}

#[tokio::main]
async fn work(settings: Settings) -> ExitCode {
    match Box::pin(run(settings)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the worker could not go on");
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: Settings) -> Result<(), Failure> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    if settings.queue == "memory" {
        return Err("a queue in memory is only its own process's: name one on Redis".into());
    }
    // What is wrong with the settings is told before anything is waited for.
    let couriers = Couriers::from_settings(
        settings.webhook_secret.as_deref(),
        settings.webhook_allow_private,
        settings.webhook_retries,
    )?;
    let steps = settings.workers.or_else(|| std::thread::available_parallelism().ok());
    let steps = steps.unwrap_or(NonZeroUsize::MIN);
    let config = EngineConfig::new(steps)
        .with_sandbox(sandbox_choice(settings.sandbox.as_deref())?)
        .with_cgroup(settings.cgroup.parse()?)
        .with_languages(languages_with(settings.languages.as_deref())?);
    let queues = QueuesConfig::default()
        .with_durability(settings.queue_durability)
        .with_replicas(settings.queue_replicas);
    let queues = Queues::open(&settings.queue, queues).await.map_err(|error| error.report())?;
    let health = Health::new(Exporter::install()?, queues.clone());
    let _watched = match settings.metrics_addr {
        Some(address) => Some(health.serve(address).await?),
        None => None,
    };
    let engine = tokio::select! {
        engine = Engine::start(config) => engine.map_err(|error| error.report())?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let workers = Workers::start(&queues, &engine, couriers, 2 * steps.get(), settings.drain)?;
    health.set_ready(true);
    tracing::info!(sandbox = %engine.sandbox(), languages = engine.available().count(), "ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    health.set_ready(false);
    tracing::info!("shutting down");
    let drained = workers.shutdown().await;
    tracing::info!(finished = drained.finished, handed_back = drained.released, "the worker has ended");
    engine.shutdown().await.map_err(|error| error.report())?;
    Ok(())
}
