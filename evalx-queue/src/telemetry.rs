//! What is told to the `metrics` facade; nothing without the feature `metrics`.
//!
//! Names and labels are in one place, so that dashboards can rely on them.

#![cfg_attr(
    not(feature = "metrics"),
    expect(unused_variables, reason = "nothing is told without the feature")
)]

use crate::{Claimed, Outcome};

/// A worker got a job.
pub(crate) fn claimed(job: &Claimed) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("evalx_queue_wait_seconds", "language" => job.language.clone())
        .record(job.waited.as_secs_f64());
}

/// A worker settled a job, and that counted.
pub(crate) fn settled(outcome: &Outcome) {
    #[cfg(feature = "metrics")]
    {
        metrics::counter!("evalx_queue_jobs_total", "outcome" => outcome.as_str()).increment(1);
        if matches!(outcome, Outcome::Retry { .. } | Outcome::Crashed { .. }) {
            metrics::counter!("evalx_queue_retries_total").increment(1);
        }
    }
}

/// A worker lost a job to another.
pub(crate) fn lost() {
    #[cfg(feature = "metrics")]
    metrics::counter!("evalx_queue_leases_lost_total").increment(1);
}
