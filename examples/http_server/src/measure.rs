//! `/metrics`: what Prometheus reads.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use evalx_queue::Stats;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

use crate::app::App;
use crate::problem::Problem;

/// From a cached program to the longest wait, in seconds.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// From a megabyte to a gigabyte.
const BYTES: &[f64] = &[1e6, 4e6, 1.6e7, 6.4e7, 1.28e8, 2.56e8, 5.12e8, 1.024e9];

/// How often what was recorded is put into its buckets.
pub(crate) const UPKEEP: Duration = Duration::from_secs(5);

/// Has all metrics of this process recorded.
///
/// # Errors
///
/// If somebody else records them already.
pub(crate) fn install() -> Result<PrometheusHandle, BuildError> {
    use metrics_exporter_prometheus::Matcher::Suffix;
    PrometheusBuilder::new()
        .set_buckets_for_metric(Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Suffix("_bytes".to_owned()), BYTES)?
        .install_recorder()
}

/// `GET /metrics`.
pub(crate) async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    gauge(&app.service.stats().await?);
    let deliveries = app.service.queues().deliveries.stats().await?;
    set("evalx_webhook_waiting", deliveries.depth());
    set("evalx_webhook_dead", deliveries.dead);
    app.metrics.run_upkeep();
    let text = app.metrics.render();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// Shows how the queue is. A language of which nothing waits any more is shown as none.
fn gauge(stats: &Stats) {
    static SHOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
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

fn set(name: &'static str, value: u64) {
    metrics::gauge!(name).set(float(value));
}

#[expect(clippy::cast_precision_loss, reason = "no queue is near 2^53 long")]
fn float(number: u64) -> f64 {
    number as f64
}
