//! What scripts keep, a [`Job`] and the [`Book`]; and what they are given, the
//! [`Terms`] and each [`Ending`].

use super::packed::packed;
use crate::QueueConfig;
use crate::time::millis;

/// How what scripts keep is laid out: another number for each change of it, so
/// that a process of another version does not misread it.
pub(super) const LAYOUT: u8 = 1;

packed! {
    /// A job. What there is not is zero, or empty.
    #[derive(Debug, Default)]
    "job" Job {
        "STATE" state: String,
        /// Until when the lease holds, the job is put off, or it is kept: by its
        /// state. Of a new job, for how long it is put off.
        "UNTIL" until: u64,
        "TENANT" tenant: String,
        "LANGUAGE" language: String,
        "LEVEL" level: u8,
        /// Its place in its tenant's lane.
        "ORDINAL" ordinal: u64,
        "ENQUEUED" enqueued_at: u64,
        "SINCE" ready_since: u64,
        "MAX_RUN" max_run: u64,
        "MAX_ATTEMPTS" max_attempts: u32,
        "TTL" result_ttl: u64,
        /// When it is too late to begin it; of a new job, after how long.
        "EXPIRES" expires_at: u64,
        "KEY" idempotency_key: String,
        "TRACE" trace: String,
        "BLOBS" blobs: String,
        "SIZE" payload_bytes: u32,
        "ATTEMPT" attempt: u32,
        "CRASHES" crashes: u32,
        "TOKEN" token: u32,
        /// The token by which it was last settled, so that a repeat is known.
        "SETTLED" settled: u32,
        /// The token of the last start that is among its events.
        "NOTED" noted: u32,
        "STARTED" started_at: u64,
        "FINISHED" finished_at: u64,
        "WORKER" worker: String,
        "CANCEL" cancel: u8,
        "EVENT_BYTES" event_bytes: u32,
        /// What the last events were told with, so that a repeat is known.
        "EVENT_NONCE" event_nonce: String,
        "DROPPED" events_dropped: u32,
    }
}

packed! {
    /// What is of the whole queue: what may be changed for all processes, and
    /// figures. What is not set is zero.
    #[derive(Debug, Default)]
    "book" Book {
        /// [`LAYOUT`]; it stays the first.
        "LAYOUT" layout: u8,
        /// The time, if a test has stopped it.
        "NOW" now: u64,
        "PAUSED" paused: u8,
        "DRAINING" draining: u8,
        "MAX_DEPTH" max_depth: u64,
        "TENANT_DEPTH" tenant_depth: u64,
        "TENANT_IN_FLIGHT" tenant_in_flight: u64,
        /// How many jobs of each priority are ready.
        "READY" ready_high: u64,
        "READY_NORMAL" ready_normal: u64,
        "READY_LOW" ready_low: u64,
        /// The ordinal of the job that was last put into a lane as a new one.
        "ORDINAL" ordinal: u64,
        /// How many claims ago the last priority came first.
        "TURN" turn: u8,
        /// Before this nothing is due: no job that is put off, and no lease.
        "DUE" due: u64,
        /// Until when somebody may wait to be woken.
        "AWAITED" awaited: u64,
        /// Until when somebody follows the changes, or the cancellations.
        "CHANGES_FOLLOWED" changes_followed: u64,
        "CANCELLATIONS_FOLLOWED" cancellations_followed: u64,
        /// How long jobs run, about.
        "AVERAGE" average_run: u64,
        "COMPLETED" completed: u64,
        "RETRIES" retries: u64,
        "CRASHED" crashes: u64,
    }
}

packed! {
    /// What a process was configured with. What is not set is zero.
    "terms" Terms {
        "LEASE" lease: u64,
        "GRACE" grace: u64,
        "TENANT_IN_FLIGHT" tenant_in_flight: u64,
        "MAX_CRASHES" max_crashes: u32,
        "DEAD_TTL" dead_ttl: u64,
        "MAX_DEAD" max_dead: u64,
        "BACKOFF" backoff: u64,
        "BACKOFF_CAP" backoff_cap: u64,
        "MAX_DEPTH" max_depth: u64,
        "TENANT_DEPTH" tenant_depth: u64,
        "IDEMPOTENCY_TTL" idempotency_ttl: u64,
        "MAX_EVENTS" max_events: u32,
        "MAX_EVENT_BYTES" max_event_bytes: u64,
    }
}

impl From<&QueueConfig> for Terms {
    fn from(config: &QueueConfig) -> Self {
        Self {
            lease: millis(config.lease),
            grace: millis(config.grace),
            tenant_in_flight: config.tenant_in_flight.unwrap_or_default(),
            max_crashes: config.max_crashes,
            dead_ttl: millis(config.dead_ttl),
            max_dead: config.max_dead,
            backoff: millis(config.backoff),
            backoff_cap: millis(config.backoff_cap),
            max_depth: config.max_depth,
            tenant_depth: config.tenant_depth.unwrap_or_default(),
            idempotency_ttl: millis(config.idempotency_ttl),
            max_events: config.max_events,
            max_event_bytes: config.max_event_bytes,
        }
    }
}

packed! {
    /// How an attempt at a job ended.
    "ending" Ending {
        "TOKEN" token: u64,
        /// What [`Outcome::as_str`](crate::Outcome::as_str) calls it.
        "KIND" kind: String,
        /// How long a retry waits; if below zero, by how much of the most that it may.
        "DELAY" delay: f64,
    }
}
