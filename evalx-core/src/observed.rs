//! [`Observed`]: spans and metrics of what a sandbox does.
//!
//! Names, limits and reports are told; source code, stdin and output never.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;
use tracing::Instrument;

use crate::{
    Artifact, ByteSize, Capabilities, FileContents, Result, Sandbox, SandboxPath, Session, SessionSpec, Step,
    StepIo, StepReport,
};

/// Tells `tracing`, and with the feature `metrics` the `metrics` facade, what
/// a sandbox does.
///
/// Each step is a span `step` at debug level. The metrics are:
///
/// | name | kind | labels |
/// |---|---|---|
/// | `evalx_active_sandboxes` | gauge: open sessions | `language`, `backend` |
/// | `evalx_step_seconds` | histogram: a step as the host waited for it | `outcome` |
/// | `evalx_step_memory_peak_bytes` | histogram | `language`, `backend` |
///
/// The language is the session's [label](SessionSpec::label). A step that the
/// sandbox could not run has the outcome `error`.
///
/// ```
/// use evalx_core::Observed;
/// use evalx_testkit::{FakeRun, FakeSandbox};
///
/// let sandbox = Observed::new(FakeSandbox::new(|_| FakeRun::exited(0)));
/// assert_eq!(sandbox.to_string(), "fake");
/// ```
#[derive(Debug)]
pub struct Observed<S> {
    inner: S,
}

impl<S: Sandbox> Observed<S> {
    /// Watches `inner`.
    pub const fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: fmt::Display> fmt::Display for Observed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Sandbox> Sandbox for Observed<S> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn check(&self) -> Result<()> {
        self.inner.check().await
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>> {
        let language: Arc<str> = spec.label.as_str().into();
        let started = Instant::now();
        let inner = self.inner.open(spec).await.inspect_err(|error| {
            tracing::warn!(
                backend = %self.inner, %language, error = %error.chain(), "could not open a session"
            );
        })?;
        // Asked after the session was had, so that a `Fallback` names the one that gave it.
        let active = Active::new(language, self.inner.capabilities().backend.into());
        tracing::debug!(
            backend = %active.backend,
            language = %active.language,
            open_seconds = started.elapsed().as_secs_f64(),
            "opened a session"
        );
        Ok(Box::new(ObservedSession { inner, active }))
    }

    async fn shutdown(&self) -> Result<()> {
        tracing::info!(backend = %self.inner, "shutting a sandbox down");
        self.inner.shutdown().await
    }
}

/// Counts an open session for as long as it lives.
#[derive(Debug)]
struct Active {
    language: Arc<str>,
    backend: Arc<str>,
}

impl Active {
    fn new(language: Arc<str>, backend: Arc<str>) -> Self {
        let active = Self { language, backend };
        active.count(1.0);
        active
    }

    #[cfg(feature = "metrics")]
    fn count(&self, change: f64) {
        metrics::gauge!(
            "evalx_active_sandboxes",
            "language" => Arc::clone(&self.language), "backend" => Arc::clone(&self.backend)
        )
        .increment(change);
    }

    #[cfg(not(feature = "metrics"))]
    const fn count(&self, _change: f64) {}

    #[cfg(feature = "metrics")]
    fn record(&self, result: &Result<StepReport>, elapsed: std::time::Duration) {
        let outcome = result.as_ref().map_or("error", |report| report.outcome.as_str());
        metrics::histogram!("evalx_step_seconds", "outcome" => outcome).record(elapsed);
        if let Ok(report) = result {
            #[expect(clippy::cast_precision_loss, reason = "a histogram's buckets are coarser than 2^53")]
            let peak = report.memory_peak.as_u64() as f64;
            metrics::histogram!(
                "evalx_step_memory_peak_bytes",
                "language" => Arc::clone(&self.language), "backend" => Arc::clone(&self.backend)
            )
            .record(peak);
        }
    }

    #[cfg(not(feature = "metrics"))]
    const fn record(&self, _result: &Result<StepReport>, _elapsed: std::time::Duration) {}
}

impl Drop for Active {
    fn drop(&mut self) {
        self.count(-1.0);
    }
}

#[derive(Debug)]
struct ObservedSession {
    inner: Box<dyn Session>,
    active: Active,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Session for ObservedSession {
    async fn write_file(&mut self, path: &SandboxPath, contents: FileContents) -> Result<()> {
        self.inner.write_file(path, contents).await
    }

    async fn run(&mut self, step: Step, io: &mut dyn StepIo) -> Result<StepReport> {
        let span = tracing::debug_span!(
            "step",
            backend = %self.active.backend,
            language = %self.active.language,
            program = %step.program.display(),
        );
        let started = Instant::now();
        let result = self.inner.run(step, io).instrument(span.clone()).await;
        self.active.record(&result, started.elapsed());
        span.in_scope(|| match &result {
            Ok(report) => tracing::debug!(
                outcome = report.outcome.as_str(),
                cpu_seconds = report.cpu_time.as_secs_f64(),
                wall_seconds = report.wall_time.as_secs_f64(),
                memory_peak_bytes = report.memory_peak.as_u64(),
                "a step ended"
            ),
            Err(error) => tracing::warn!(error = %error.chain(), "a step could not be run"),
        });
        result
    }

    async fn read_file(&mut self, path: &SandboxPath, max: ByteSize) -> Result<Bytes> {
        self.inner.read_file(path, max).await
    }

    async fn keep(&mut self, path: &SandboxPath) -> Result<Artifact> {
        self.inner.keep(path).await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.inner.close().await
    }
}
