//! [`QueueConfig`]: how long, how often and how many.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::millis;
use crate::{Error, Result};

/// The longest any duration given to a queue may be: ten years.
///
/// More is refused, so that no sum of times overflows and a slip of units is seen.
pub(crate) const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// The largest payload or blob that can be allowed.
const LARGEST: usize = 256 << 20;

/// What holds for every job of a queue.
///
/// All processes that share a queue on Redis should have the same; the depth
/// and fairness limits can be changed for all of them at once by
/// [`Control::Limits`](crate::Control::Limits).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct QueueConfig {
    /// How long a claimed job is its worker's without a heartbeat; 10 s. A
    /// worker that dies is noticed after that.
    pub lease: Duration,
    /// How long past its `max_run` a job's lease may still be renewed, for the
    /// worker to say how it ended; 5 s.
    pub grace: Duration,
    /// How long a job may run if it doesn't say; 10 min.
    pub max_run: Duration,
    /// How often a job is begun before it is dead, if it doesn't say; 4.
    pub max_attempts: u32,
    /// How many of its workers a job may lose before it is dead; 2. Code that
    /// kills workers must not tour the fleet.
    pub max_crashes: u32,
    /// The most that the first retry waits; each further one twice as long; 250 ms.
    pub backoff: Duration,
    /// The most that any retry waits; 30 s.
    pub backoff_cap: Duration,
    /// Jobs waiting, all told, beyond which new ones are refused; 100,000.
    pub max_depth: u64,
    /// Jobs of one tenant waiting, beyond which its new ones are refused; no limit.
    pub tenant_depth: Option<u64>,
    /// Jobs of one tenant running at once; its others wait while those of other
    /// tenants are taken; no limit.
    pub tenant_in_flight: Option<u64>,
    /// The largest payload, result or event, in bytes; 1 MiB. Larger things are blobs.
    pub max_payload: usize,
    /// The largest blob, in bytes; 64 MiB.
    pub max_blob: usize,
    /// How long a result is kept, if the job doesn't say; 24 h.
    pub result_ttl: Duration,
    /// How long a dead job is kept; 14 days.
    pub dead_ttl: Duration,
    /// How many dead jobs are kept: the oldest beyond it go; 10,000.
    pub max_dead: u64,
    /// How long an idempotency key is remembered; 24 h.
    pub idempotency_ttl: Duration,
    /// Events kept for one job; further ones are dropped and counted; 10,000.
    pub max_events: u32,
    /// Bytes of events kept for one job; 4 MiB.
    pub max_event_bytes: u64,
}

impl Default for QueueConfig {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            lease: Duration::from_secs(10),
            grace: Duration::from_secs(5),
            max_run: Duration::from_secs(600),
            max_attempts: 4,
            max_crashes: 2,
            backoff: Duration::from_millis(250),
            backoff_cap: Duration::from_secs(30),
            max_depth: 100_000,
            tenant_depth: None,
            tenant_in_flight: None,
            max_payload: 1 << 20,
            max_blob: 64 << 20,
            result_ttl: DAY,
            dead_ttl: DAY * 14,
            max_dead: 10_000,
            idempotency_ttl: DAY,
            max_events: 10_000,
            max_event_bytes: 4 << 20,
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $with:ident $field:ident: $type:ty;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $with(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        })*
    };
}

impl QueueConfig {
    setters! {
        /// Sets how long a job is its worker's without a heartbeat.
        with_lease lease: Duration;
        /// Sets how long past `max_run` a worker may take to say how a job ended.
        with_grace grace: Duration;
        /// Sets how long a job may run if it doesn't say.
        with_max_run max_run: Duration;
        /// Sets how often a job is begun before it is dead.
        with_max_attempts max_attempts: u32;
        /// Sets how many of its workers a job may lose before it is dead.
        with_max_crashes max_crashes: u32;
        /// Sets the most that the first retry waits.
        with_backoff backoff: Duration;
        /// Sets the most that any retry waits.
        with_backoff_cap backoff_cap: Duration;
        /// Sets how many jobs may wait.
        with_max_depth max_depth: u64;
        /// Sets how many jobs of one tenant may wait.
        with_tenant_depth tenant_depth: Option<u64>;
        /// Sets how many jobs of one tenant may run at once.
        with_tenant_in_flight tenant_in_flight: Option<u64>;
        /// Sets the largest payload, result or event, in bytes.
        with_max_payload max_payload: usize;
        /// Sets the largest blob, in bytes.
        with_max_blob max_blob: usize;
        /// Sets how long a result is kept.
        with_result_ttl result_ttl: Duration;
        /// Sets how long a dead job is kept.
        with_dead_ttl dead_ttl: Duration;
        /// Sets how many dead jobs are kept.
        with_max_dead max_dead: u64;
        /// Sets how long an idempotency key is remembered.
        with_idempotency_ttl idempotency_ttl: Duration;
        /// Sets how many events of one job are kept.
        with_max_events max_events: u32;
        /// Sets how many bytes of events of one job are kept.
        with_max_event_bytes max_event_bytes: u64;
    }

    /// How long a retry after attempt number `attempt` waits: any time, by `luck`
    /// between 0 and 1, up to a limit that doubles with each attempt.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the limit is below 2^53, and luck between 0 and 1"
    )]
    pub(crate) fn backoff_for(&self, attempt: u32, luck: f64) -> u64 {
        let doubled = millis(self.backoff).saturating_mul(1 << attempt.saturating_sub(1).min(30));
        (doubled.min(millis(self.backoff_cap)) as f64 * luck) as u64
    }

    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// `InvalidRequest`, naming the field, what it was and what is allowed.
    pub fn check(&self) -> Result<()> {
        const SHORTEST: Duration = Duration::from_millis(1);
        let durations = [
            // Three heartbeats must fit into a lease, over a network.
            ("lease", self.lease, Duration::from_millis(100)),
            ("grace", self.grace, Duration::ZERO),
            ("max_run", self.max_run, SHORTEST),
            ("backoff", self.backoff, Duration::ZERO),
            ("backoff_cap", self.backoff_cap, Duration::ZERO),
            ("result_ttl", self.result_ttl, SHORTEST),
            ("dead_ttl", self.dead_ttl, SHORTEST),
            ("idempotency_ttl", self.idempotency_ttl, SHORTEST),
        ];
        for (name, value, least) in durations {
            check_duration(name, value, least)?;
        }
        let counts = [
            ("max_attempts", u64::from(self.max_attempts)),
            ("max_crashes", u64::from(self.max_crashes)),
            ("max_depth", self.max_depth),
            ("tenant_depth", self.tenant_depth.unwrap_or(1)),
            ("tenant_in_flight", self.tenant_in_flight.unwrap_or(1)),
            ("max_payload", self.max_payload as u64),
            ("max_blob", self.max_blob as u64),
        ];
        // A server keeps no string that is larger.
        if self.max_payload > LARGEST || self.max_blob > LARGEST {
            return Err(Error::invalid(format!("max_payload and max_blob may be {LARGEST} bytes at most")));
        }
        match counts.into_iter().find(|(_, count)| *count == 0) {
            Some((name, _)) => Err(Error::invalid(format!("{name} is 0; it must be 1 or more"))),
            None => Ok(()),
        }
    }
}

/// Refuses a duration shorter than `least` or longer than ten years.
pub(crate) fn check_duration(what: &str, value: Duration, least: Duration) -> Result<()> {
    if value < least || value > LONGEST {
        return Err(Error::invalid(format!("{what} is {value:?}; it must be {least:?} to ten years")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_named() {
        QueueConfig::default().check().unwrap();
        let config = QueueConfig::default().with_lease(Duration::MAX);
        assert!(config.check().unwrap_err().to_string().starts_with("lease is"));
        let config = QueueConfig::default().with_max_depth(0);
        assert_eq!(config.check().unwrap_err().to_string(), "max_depth is 0; it must be 1 or more");
    }
}
