//! What a queue says of itself, and what can be changed while it runs.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::{Error, Result};

/// Figures of a queue at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Jobs that wait for a worker.
    pub ready: u64,
    /// Jobs that wait until they are due, those to be retried among them.
    pub delayed: u64,
    /// Jobs that workers have.
    pub active: u64,
    /// Jobs whose results are kept.
    pub done: u64,
    /// Jobs that failed for good.
    pub dead: u64,
    /// Jobs that were cancelled, as far as they are kept.
    pub cancelled: u64,
    /// Jobs that wait, ready or delayed, by language.
    pub depth_by_language: BTreeMap<String, u64>,
    /// Jobs that are ready, by priority: high, normal, low.
    pub ready_by_priority: [u64; 3],
    /// How many tenants have jobs that wait.
    pub tenants_waiting: u64,
    /// Since when the oldest of the ready jobs waits.
    #[serde(rename = "oldest_ready_seconds", serialize_with = "seconds")]
    pub oldest_ready: Duration,
    /// Attempts that failed and were, or will be, followed by another; ever.
    pub retries: u64,
    /// Workers that were lost with a job; ever.
    pub crashes: u64,
    /// Jobs that ended with a result; ever.
    pub completed: u64,
    /// How long a job runs, smoothed over the last ones.
    #[serde(rename = "average_run_seconds", serialize_with = "seconds")]
    pub average_run: Duration,
    /// How long a job that is enqueued now is likely to wait.
    #[serde(rename = "expected_wait_seconds", serialize_with = "seconds")]
    pub expected_wait: Duration,
    /// Whether workers get jobs.
    pub paused: bool,
    /// Whether new jobs are refused.
    pub draining: bool,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

impl Stats {
    /// Jobs that wait, ready or delayed.
    #[must_use]
    pub const fn depth(&self) -> u64 {
        self.ready + self.delayed
    }
}

/// What can be changed while a queue runs, for all processes that share it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// Workers get no jobs; those that run go on, and new ones are accepted.
    Pause,
    /// Workers get jobs again.
    Resume,
    /// New jobs are refused; those accepted are run.
    Drain,
    /// New jobs are accepted again.
    Open,
    /// Takes the place of the limits that the configuration gave.
    Limits(Limits),
}

/// Limits that can be changed while the queue runs. `None` is what the
/// configuration says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Limits {
    /// Jobs waiting, all told.
    pub max_depth: Option<u64>,
    /// Jobs of one tenant waiting.
    pub tenant_depth: Option<u64>,
    /// Jobs of one tenant running at once.
    pub tenant_in_flight: Option<u64>,
}

impl Limits {
    /// Sets how many jobs may wait.
    #[must_use]
    pub const fn with_max_depth(mut self, most: u64) -> Self {
        self.max_depth = Some(most);
        self
    }

    /// Sets how many jobs of one tenant may wait.
    #[must_use]
    pub const fn with_tenant_depth(mut self, most: u64) -> Self {
        self.tenant_depth = Some(most);
        self
    }

    /// Sets how many jobs of one tenant may run at once.
    #[must_use]
    pub const fn with_tenant_in_flight(mut self, most: u64) -> Self {
        self.tenant_in_flight = Some(most);
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let limits = [
            ("max_depth", self.max_depth),
            ("tenant_depth", self.tenant_depth),
            ("tenant_in_flight", self.tenant_in_flight),
        ];
        for (name, limit) in limits {
            // Numbers in Redis scripts are exact up to 2^53.
            if limit.is_some_and(|limit| limit == 0 || limit > 1 << 53) {
                return Err(Error::invalid(format!("{name} must be 1 to 2^53")));
            }
        }
        Ok(())
    }
}

/// What a round of tidying did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swept {
    /// Delayed jobs that became ready.
    pub promoted: u64,
    /// Leases that had run out.
    pub reaped: u64,
    /// Ended jobs whose time was up.
    pub forgotten: u64,
}

impl Swept {
    /// What there was most of: as much as one round does, if there may be more.
    pub(crate) fn most(&self) -> u64 {
        self.promoted.max(self.reaped).max(self.forgotten)
    }
}

/// What an accepted job survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Durability {
    /// Nothing: it is gone with the process or server that holds it.
    None,
    /// The death of the server, but for the last second or two.
    EverySecond,
    /// The death of the server and of its machine's power.
    Fsync,
    /// That, and the loss of the machine, but for what had not been replicated.
    Replicated,
}

impl Durability {
    /// The level in snake case, as in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::EverySecond => "every_second",
            Self::Fsync => "fsync",
            Self::Replicated => "replicated",
        }
    }
}

impl FromStr for Durability {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let all = [Self::None, Self::EverySecond, Self::Fsync, Self::Replicated];
        all.into_iter().find(|level| level.as_str() == text).ok_or_else(|| {
            Error::invalid(format!(
                "a durability is none, every_second, fsync or replicated, not {:?}",
                text.chars().take(80).collect::<String>()
            ))
        })
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
