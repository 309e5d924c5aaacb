//! One process from its start to its end: what is started in which order, and
//! ended in which.
//!
//! ```text
//! start  queue ─► listen ─► engine ─► workers ─► /readyz
//! end    no orders ─► workers drain ─► who waits is told ─► connections end ─► sandbox ends
//! ```

use std::future::Future;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use evalx_core::Languages;
use evalx_service::{
    Couriers, Durability, Engine, EngineConfig, Exporter, QueueConfig, Queues, QueuesConfig, Seats, Service,
    SessionRules, Workers, languages_with, sandbox_choice,
};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::access::Access;
use crate::app::{App, EngineSlot, Shared, router};
use crate::connections;
use crate::judge0;
use crate::settings::{Queueing, Sessions, Settings};

/// How long connections may take to end once nothing more will come of them.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What can keep a server from going on.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
///
/// What is wrong with the settings, or with the machine.
pub(crate) async fn run(settings: Settings) -> Result<(), Failure> {
    let mut stop = pin!(stop_signal()?);
    let mut running = tokio::select! {
        running = Running::start(settings) => running?,
        () = &mut stop => return Ok(()),
    };
    tokio::select! {
        () = stop => tracing::info!("shutting down"),
        ended = &mut running.serving => ended?,
    }
    running.end().await
}

/// A process that serves: what of it is to be ended.
struct Running {
    service: Service,
    seats: Seats,
    /// Cancelled when connections are to end.
    connections: CancellationToken,
    serving: AbortOnDropHandle<()>,
    _upkeep: AbortOnDropHandle<()>,
    /// Absent where other processes evaluate.
    evaluation: Option<(Arc<Engine>, Workers)>,
}

impl Running {
    async fn start(settings: Settings) -> Result<Self, Failure> {
        let sandbox = sandbox_choice(settings.sandbox.as_deref())?;
        for name in judge0::without_effect(|name| std::env::var_os(name)) {
            tracing::warn!(name, "a variable of judge0.conf has no effect here");
        }
        let exporter = Exporter::install()?;
        let queues = Queues::open(&settings.queue, queues_config(&settings.queueing))
            .await
            .map_err(|error| error.report())?;
        let service = Service::new(queues.clone());
        let couriers = Couriers::from_settings(
            settings.webhooks.webhook_secret.as_deref(),
            settings.webhooks.webhook_allow_private,
            settings.webhooks.webhook_retries,
        )?;
        let languages = languages(&settings)?;
        let seats = seats(&settings.sessions);
        let steps = settings.workers.map_or_else(processors, NonZeroUsize::new);
        let most = connections::most();
        let listener = TcpListener::bind(settings.addr).await?;
        announce(&listener)?;

        let app = App::new(Shared {
            service: service.clone(),
            languages: languages.clone(),
            access: Access::new(&settings.auth_tokens, &settings.admin_tokens),
            couriers: couriers.clone(),
            judge0_version: settings.judge0_version,
            judge0: settings.judge0,
            statistics: judge0::Statistics::default(),
            seats: seats.clone(),
            origins: settings.sessions.origins,
            exporter: exporter.clone(),
            engine: if steps.is_some() { EngineSlot::Here(SetOnce::new()) } else { EngineSlot::Elsewhere },
            caps: settings.caps,
        });
        let connections = CancellationToken::new();
        let serving = connections::serve(listener, router(app.clone()), most, connections.clone());
        let serving = AbortOnDropHandle::new(tokio::spawn(serving));
        let upkeep = AbortOnDropHandle::new(tokio::spawn(async move { exporter.keep_up().await }));

        let evaluation = match steps {
            None => None,
            Some(steps) => {
                let config = EngineConfig::new(steps)
                    .with_sandbox(sandbox)
                    .with_cgroup(settings.cgroup.parse()?)
                    .with_languages(languages)
                    .with_sessions(settings.sessions.sessions);
                let engine = Arc::new(Engine::start(config).await.map_err(|error| error.report())?);
                // One more than run at once: it is there when a permit is free.
                let jobs = 2 * steps.get();
                let workers = Workers::start(&queues, &engine, couriers, jobs, settings.queueing.drain)
                    .map_err(|error| error.report())?;
                Some((engine, workers))
            }
        };
        if let (Some((engine, _)), EngineSlot::Here(slot)) = (&evaluation, &app.engine) {
            // Set once, here.
            let _ = slot.set(Arc::clone(engine));
            tracing::info!(sandbox = %engine.sandbox(), languages = engine.available().count(), "ready");
        }
        Ok(Self { service, seats, connections, serving, _upkeep: upkeep, evaluation })
    }

    async fn end(mut self) -> Result<(), Failure> {
        self.service.close();
        self.seats.close();
        let (engine, workers) = self.evaluation.unzip();
        if let Some(workers) = workers {
            let drained = workers.shutdown().await;
            tracing::info!(
                finished = drained.finished,
                handed_back = drained.released,
                "the workers have ended"
            );
        }
        report_waiting(&self.service).await;
        self.service.abandon();
        if !self.seats.wait_until_free(LAST_WORDS).await {
            tracing::warn!("interactive sessions were cut off");
        }
        self.connections.cancel();
        if tokio::time::timeout(LAST_WORDS, &mut self.serving).await.is_err() {
            self.serving.abort();
            tracing::warn!("connections were cut off");
        }
        if let Some(engine) = engine {
            engine.shutdown().await.map_err(|error| error.report())?;
        }
        Ok(())
    }
}

/// Says what is left behind.
async fn report_waiting(service: &Service) {
    let Ok(stats) = service.stats().await else { return };
    if service.queues().submissions.durability() == Durability::None && stats.depth() > 0 {
        tracing::warn!(waiting = stats.depth(), "submissions are lost: the queue is in memory");
    } else {
        tracing::info!(waiting = stats.depth(), "submissions wait in the queue");
    }
}

/// Ends when this process is asked to end.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Says on stdout where the server is; what starts it can wait for that.
fn announce(listener: &TcpListener) -> Result<(), Failure> {
    let address = listener.local_addr()?;
    let text = format!(
        "Page      http://{address}/\n\
         API       http://{address}/docs and http://{address}/openapi.json\n\
         Metrics   http://{address}/metrics\n"
    );
    let mut stdout = io::stdout().lock();
    // A server whose starter does not listen serves all the same.
    if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        tracing::warn!(%error, %address, "stdout is closed");
    }
    Ok(())
}

fn processors() -> Option<NonZeroUsize> {
    Some(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
}

fn queues_config(settings: &Queueing) -> QueuesConfig {
    let queue = QueueConfig::default()
        .with_max_depth(settings.queue_limit)
        .with_tenant_depth(settings.tenant_limit)
        .with_result_ttl(settings.result_ttl)
        .with_idempotency_ttl(settings.result_ttl);
    QueuesConfig::default()
        .with_queue(queue)
        .with_durability(settings.queue_durability)
        .with_replicas(settings.queue_replicas)
}

fn seats(settings: &Sessions) -> Seats {
    let of_a_tenant = settings.tenant_sessions.unwrap_or(settings.sessions);
    let rules = SessionRules::default()
        .with_sessions(settings.sessions, of_a_tenant)
        .with_times(settings.session_time, settings.session_idle);
    Seats::new(rules)
}

fn languages(settings: &Settings) -> Result<Languages, Failure> {
    let languages = languages_with(settings.languages.as_deref())?;
    if settings.only_languages.is_empty() {
        return Ok(languages);
    }
    let mut wanted = Vec::new();
    for name in &settings.only_languages {
        let language = languages.get(name.trim()).ok_or_else(|| format!("`{name}` is no language"))?;
        wanted.push(language.id.clone());
    }
    let others: Vec<String> =
        languages.iter().map(|language| language.id.clone()).filter(|id| !wanted.contains(id)).collect();
    Ok(others.iter().fold(languages, |languages, id| languages.without(id)))
}
