//! A worker process: takes submissions from a queue on Redis, evaluates them,
//! and delivers results. Any number may run, on any machine, and each may die
//! at any moment: what it had is begun again by another.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use evalx_service::{
    AddressPolicy, Choice, CourierConfig, Couriers, Engine, EngineConfig, Exporter, QueueConfig, Queues,
    Secrets, Workers,
};
use tokio::signal::unix::{SignalKind, signal};

mod health;

use health::Health;

/// Evaluates submissions of a queue on Redis.
#[derive(Debug, Parser)]
#[command(name = "worker", version)]
struct Settings {
    /// Where submissions wait: the URL of a Redis server.
    #[arg(long, env = "EVALX_QUEUE", value_name = "URL", hide_env_values = true)]
    queue: String,
    /// What programs run in: native, isolate, docker, several with commas, or auto.
    #[arg(long, value_name = "NAMES")]
    sandbox: Option<String>,
    /// The control group of the native sandbox: auto, adopt, or the path of a delegated one.
    #[arg(long, env = "EVALX_CGROUP", value_name = "GROUP", default_value = "auto")]
    cgroup: String,
    /// Programs that run at once; as many as there are processors.
    #[arg(long, env = "EVALX_WORKERS", value_name = "COUNT")]
    workers: Option<NonZeroUsize>,
    /// Where to answer /metrics, /healthz and /readyz; nowhere, if not given.
    #[arg(long, env = "EVALX_METRICS_ADDR", value_name = "ADDRESS")]
    metrics_addr: Option<SocketAddr>,
    /// The secret that deliveries are signed with, as `whsec_…`.
    #[arg(long, env = "EVALX_WEBHOOK_SECRET", value_name = "SECRET", hide_env_values = true)]
    webhook_secret: Option<String>,
    /// Whether deliveries may go to loopback and private addresses.
    #[arg(long, env = "EVALX_WEBHOOK_ALLOW_PRIVATE", value_name = "BOOL", num_args = 0..=1,
          default_value = "false", default_missing_value = "true")]
    webhook_allow_private: bool,
}

/// How long running programs may go on when the worker is to end.
const DRAIN: Duration = Duration::from_secs(20);

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match Box::pin(run(Settings::parse())).await {
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
    let queues =
        Queues::open(&settings.queue, QueueConfig::default()).await.map_err(|error| error.chain())?;
    let health = Health::new(Exporter::install()?, queues.clone());
    let _watched = match settings.metrics_addr {
        Some(address) => Some(health.serve(address).await?),
        None => None,
    };
    let addresses =
        if settings.webhook_allow_private { AddressPolicy::AllowPrivate } else { AddressPolicy::default() };
    let secrets = match settings.webhook_secret.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => text.parse()?,
        None => Secrets::default(),
    };
    let couriers = Couriers::new(CourierConfig::default().with_addresses(addresses), secrets)?;
    let steps = settings.workers.or_else(|| std::thread::available_parallelism().ok());
    let steps = steps.unwrap_or(NonZeroUsize::MIN);
    let sandbox = match &settings.sandbox {
        Some(text) => text.parse()?,
        None => Choice::from_environment().map_err(|error| error.chain())?,
    };
    let config = EngineConfig::new(steps).with_sandbox(sandbox).with_cgroup(settings.cgroup.parse()?);
    let engine = Engine::start(config).await.map_err(|error| error.chain())?;
    let workers = Workers::start(&queues, &engine, couriers, 2 * steps.get(), DRAIN)?;
    health.set_ready(true);
    tracing::info!(sandbox = %engine.sandbox(), languages = engine.available().count(), "ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    health.set_ready(false);
    let drained = workers.shutdown().await;
    tracing::info!(finished = drained.finished, handed_back = drained.released, "the worker has ended");
    engine.shutdown().await.map_err(|error| error.chain())?;
    Ok(())
}
