//! What is put into a queue, and what a worker gets out of it.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::check_duration;
use crate::{BlobId, Error, JobId, QueueConfig, Result, Timestamp, label};

/// Which jobs go first. Jobs of a higher priority are taken before those of a
/// lower, but of sixteen jobs one is looked for at the lowest first, and one at that
/// in the middle, so that none starves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Work that can wait: re-judging, statistics.
    Low,
    /// Everything else.
    #[default]
    Normal,
    /// Somebody looks at an empty page.
    High,
}

impl Priority {
    /// All, the highest first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The priority in snake case, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// Its place in [`ALL`](Self::ALL).
    pub(crate) const fn level(self) -> usize {
        2 - self as usize
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Priority {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|priority| priority.as_str() == text);
        found.ok_or_else(|| Error::invalid(format!("a priority is low, normal or high, not {text:?}")))
    }
}

/// What makes a repeated request be recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Idempotency {
    pub(crate) key: String,
    pub(crate) fingerprint: String,
}

/// A job to be enqueued.
///
/// ```
/// use std::time::Duration;
/// use evalx_queue::{NewJob, Priority};
///
/// let job = NewJob::new("print(1)")
///     .with_tenant("school")
///     .with_language("python")
///     .with_priority(Priority::High)
///     .with_delay(Duration::from_secs(5))
///     .with_idempotency_key("homework-3");
/// assert_eq!(job.payload, "print(1)");
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct NewJob {
    /// Its name; made here, so that enqueueing can be repeated.
    pub id: JobId,
    /// On whose behalf: fairness and idempotency keys are by tenant.
    pub tenant: String,
    /// What depth is counted by; a label from a small set, not a user's choice.
    pub language: String,
    /// Which jobs go first.
    pub priority: Priority,
    /// What the worker gets. The queue never looks into it.
    pub payload: Bytes,
    /// How long it waits before it may be claimed.
    pub delay: Duration,
    /// How long after it was accepted it may still be begun, first or again.
    pub expires_after: Option<Duration>,
    /// How long it may run; past it the worker kills it.
    pub max_run: Option<Duration>,
    /// How often it is begun before it is dead.
    pub max_attempts: Option<u32>,
    /// How long its result is kept.
    pub result_ttl: Option<Duration>,
    /// Who follows it: the `traceparent` of whoever enqueued it.
    pub trace: Option<String>,
    /// The blobs that it needs: kept as long as the queue knows the job.
    pub blobs: Vec<BlobId>,
    pub(crate) idempotency: Option<Idempotency>,
}

impl NewJob {
    /// The longest name of a tenant or a language, or idempotency key, in bytes.
    pub const LONGEST_NAME: usize = 256;
    /// The most blobs of one job, and again of its result.
    pub const MOST_BLOBS: usize = 64;

    /// A job with this payload, and the defaults of its queue.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self {
            id: JobId::new(),
            tenant: "default".to_owned(),
            language: "none".to_owned(),
            priority: Priority::Normal,
            payload: payload.into(),
            delay: Duration::ZERO,
            expires_after: None,
            max_run: None,
            max_attempts: None,
            result_ttl: None,
            trace: None,
            blobs: Vec::new(),
            idempotency: None,
        }
    }

    /// A job with this payload as JSON.
    ///
    /// # Errors
    /// `InvalidRequest` if the value has no JSON, as a map with keys that are no strings.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        let bytes = serde_json::to_vec(value)
            .map_err(|error| Error::invalid("the job can't be written as JSON").with_source(error))?;
        Ok(Self::new(bytes))
    }

    /// Sets its name.
    #[must_use]
    pub fn with_id(mut self, id: JobId) -> Self {
        self.id = id;
        self
    }

    /// Sets on whose behalf it is.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = tenant.into();
        self
    }

    /// Sets what depth is counted by.
    #[must_use]
    pub fn with_language(mut self, language: impl Into<String>) -> Self {
        self.language = language.into();
        self
    }

    /// Sets which jobs go first.
    #[must_use]
    pub fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets how long it waits before it may be claimed.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Sets how long after it was accepted it may still be begun.
    #[must_use]
    pub fn with_expires_after(mut self, expires_after: Duration) -> Self {
        self.expires_after = Some(expires_after);
        self
    }

    /// Sets how long it may run.
    #[must_use]
    pub fn with_max_run(mut self, max_run: Duration) -> Self {
        self.max_run = Some(max_run);
        self
    }

    /// Sets how often it is begun before it is dead.
    #[must_use]
    pub fn with_max_attempts(mut self, max_attempts: u32) -> Self {
        self.max_attempts = Some(max_attempts);
        self
    }

    /// Sets how long its result is kept.
    #[must_use]
    pub fn with_result_ttl(mut self, result_ttl: Duration) -> Self {
        self.result_ttl = Some(result_ttl);
        self
    }

    /// Sets who follows it.
    #[must_use]
    pub fn with_trace(mut self, traceparent: impl Into<String>) -> Self {
        self.trace = Some(traceparent.into());
        self
    }

    /// Adds a blob that it needs.
    #[must_use]
    pub fn with_blob(mut self, blob: BlobId) -> Self {
        self.blobs.push(blob);
        self
    }

    /// Makes a second job of the same tenant with this key the same job, if
    /// its payload is the same, and a conflict if it isn't.
    #[must_use]
    pub fn with_idempotency_key(self, key: impl Into<String>) -> Self {
        let digest = Sha256::digest(&self.payload);
        let fingerprint = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>();
        self.with_idempotency(key, fingerprint)
    }

    /// As [`with_idempotency_key`](Self::with_idempotency_key), where the same
    /// request need not have the same payload: `fingerprint` says what makes
    /// it the same.
    #[must_use]
    pub fn with_idempotency(mut self, key: impl Into<String>, fingerprint: impl Into<String>) -> Self {
        self.idempotency = Some(Idempotency { key: key.into(), fingerprint: fingerprint.into() });
        self
    }

    /// Refuses what makes no sense, before anything is written.
    ///
    /// # Errors
    /// `InvalidRequest`, saying what was wrong and what is allowed.
    pub fn check(&self, config: &QueueConfig) -> Result<()> {
        label::check("a tenant's name", &self.tenant, Self::LONGEST_NAME)?;
        label::check("a language's name", &self.language, Self::LONGEST_NAME)?;
        if let Some(Idempotency { key, fingerprint }) = &self.idempotency {
            label::check("an idempotency key", key, Self::LONGEST_NAME)?;
            label::check("the fingerprint of an idempotency key", fingerprint, Self::LONGEST_NAME)?;
        }
        if let Some(trace) = &self.trace {
            label::check("a traceparent", trace, Self::LONGEST_NAME)?;
        }
        check_size("a payload", self.payload.len(), config)?;
        check_blobs("the job", &self.blobs)?;
        const SHORTEST: Duration = Duration::from_millis(1);
        check_duration("the delay", self.delay, Duration::ZERO)?;
        check_duration("expires_after", self.expires_after.unwrap_or(SHORTEST), SHORTEST)?;
        check_duration("max_run", self.max_run.unwrap_or(SHORTEST), SHORTEST)?;
        check_duration("result_ttl", self.result_ttl.unwrap_or(SHORTEST), SHORTEST)?;
        if self.max_attempts == Some(0) {
            return Err(Error::invalid("max_attempts is 0; it must be 1 or more"));
        }
        Ok(())
    }
}

/// Refuses more blobs than a job, or its result, may have.
pub(crate) fn check_blobs(what: &str, blobs: &[BlobId]) -> Result<()> {
    let (count, most) = (blobs.len(), NewJob::MOST_BLOBS);
    if count > most {
        return Err(Error::invalid(format!("{what} has {count} blobs; at most {most} are allowed")));
    }
    Ok(())
}

/// Refuses what is too large to travel in a job.
pub(crate) fn check_size(what: &str, size: usize, config: &QueueConfig) -> Result<()> {
    let most = config.max_payload;
    if size > most {
        return Err(Error::invalid(format!("{what} has {size} bytes; at most {most} are allowed"))
            .with_help("put it into a blob, and its id into the job"));
    }
    Ok(())
}

impl fmt::Debug for NewJob {
    /// Without the payload: it may be somebody's homework.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewJob")
            .field("id", &self.id)
            .field("tenant", &self.tenant)
            .field("language", &self.language)
            .field("priority", &self.priority)
            .field("payload_bytes", &self.payload.len())
            .field("delay", &self.delay)
            .finish_non_exhaustive()
    }
}

/// The proof that a job is somebody's: who claims it anew gets another token,
/// and what is done by the old one changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// The job.
    pub id: JobId,
    /// Grows with each claim of the job. Whatever is written elsewhere on
    /// behalf of the job should carry it, so that the later one wins.
    pub token: u64,
}

/// A job that a worker has got.
#[derive(Clone)]
#[non_exhaustive]
pub struct Claimed {
    /// The proof that it is this worker's.
    pub lease: Lease,
    /// Until when that holds without a heartbeat, at the least.
    pub valid_until: Instant,
    /// On whose behalf it is.
    pub tenant: String,
    /// What depth is counted by.
    pub language: String,
    /// Its priority.
    pub priority: Priority,
    /// What was enqueued.
    pub payload: Bytes,
    /// How often it was begun, with this time.
    pub attempt: u32,
    /// How many workers it has lost.
    pub crashes: u32,
    /// How long it may run.
    pub max_run: Duration,
    /// How long its result will be kept.
    pub result_ttl: Duration,
    /// When it was accepted.
    pub enqueued_at: Timestamp,
    /// How long it was ready before this claim.
    pub waited: Duration,
    /// Who follows it.
    pub trace: Option<String>,
    /// The blobs that it needs.
    pub blobs: Vec<BlobId>,
}

impl Claimed {
    /// The job's name.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.lease.id
    }

    /// The payload, read as JSON.
    ///
    /// # Errors
    /// `InvalidRequest` if it is none of that shape.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.payload)
            .map_err(|error| Error::invalid("the payload can't be decoded").with_source(error))
    }
}

impl fmt::Debug for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claimed")
            .field("lease", &self.lease)
            .field("tenant", &self.tenant)
            .field("language", &self.language)
            .field("attempt", &self.attempt)
            .field("crashes", &self.crashes)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}
