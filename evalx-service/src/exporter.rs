//! [`Exporter`]: what Prometheus reads of a process.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evalx_queue::Stats;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::Queues;

/// From a cached program to the longest wait, in seconds.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// From a megabyte to a gigabyte.
const BYTES: &[f64] = &[1e6, 4e6, 1.6e7, 6.4e7, 1.28e8, 2.56e8, 5.12e8, 1.024e9];

/// How often what was recorded is put into its buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// Records what a process tells the `metrics` facade, and shows it to
/// Prometheus. For applications: a process has one.
#[derive(Clone)]
pub struct Exporter {
    handle: PrometheusHandle,
    /// Languages that have been shown: one of which nothing waits any more is
    /// shown as none, rather than as it was.
    shown: Arc<Mutex<BTreeSet<String>>>,
}

impl Exporter {
    /// Has all metrics of this process recorded from now on.
    ///
    /// # Errors
    ///
    /// If somebody else records them already.
    pub fn install() -> Result<Self, BuildError> {
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
            .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), BYTES)?
            .install_recorder()?;
        Ok(Self { handle, shown: Arc::default() })
    }

    /// Keeps what was recorded small, for as long as it is polled.
    pub async fn keep_up(&self) {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            self.handle.run_upkeep();
        }
    }

    /// All metrics, in the text format 0.0.4 of Prometheus.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }

    /// All metrics, and with them how the queues are, which every process that
    /// asks is told alike.
    ///
    /// # Errors
    ///
    /// If a queue does not answer.
    pub async fn render_with(&self, queues: &Queues) -> evalx_queue::Result<String> {
        self.gauge(&queues.submissions.stats().await?);
        let deliveries = queues.deliveries.stats().await?;
        set("evalx_webhook_waiting", deliveries.depth());
        set("evalx_webhook_dead", deliveries.dead);
        Ok(self.render())
    }

    fn gauge(&self, stats: &Stats) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.extend(stats.depth_by_language.keys().cloned());
        for language in shown.iter() {
            let depth = stats.depth_by_language.get(language).copied().unwrap_or(0);
            metrics::gauge!("evalx_queue_depth", "language" => language.clone()).set(float(depth));
        }
        if shown.is_empty() {
            metrics::gauge!("evalx_queue_depth", "language" => "none").set(0.0);
        }
        set("evalx_queue_active", stats.active);
        set("evalx_queue_dead", stats.dead);
        metrics::gauge!("evalx_queue_oldest_seconds").set(stats.oldest_ready.as_secs_f64());
        metrics::gauge!("evalx_queue_expected_wait_seconds").set(stats.expected_wait.as_secs_f64());
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

fn set(name: &'static str, value: u64) {
    metrics::gauge!(name).set(float(value));
}

#[expect(clippy::cast_precision_loss, reason = "no queue is near 2^53 long")]
fn float(number: u64) -> f64 {
    number as f64
}
