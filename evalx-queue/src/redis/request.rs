//! From what callers hand over to what scripts are given.

use std::iter::Peekable;
use std::vec::IntoIter;

use bytes::Bytes;

use super::packed::{Field as _, Packed as _};
use super::record::{Ending, Job};
use super::script::Arguments;
use crate::memory::MOST_AT_ONCE;
use crate::settle::cut;
use crate::time::millis;
use crate::{BlobId, NewEvent, NewJob, Outcome, QueueConfig, Settlement};

/// The most bytes of payloads or results that one script puts in, if they are several:
/// copying more would hold up all others.
const MOST_BYTES: usize = 4 << 20;

/// What one script takes of this: not too many, and not too many bytes if it is more than one.
pub(super) fn next_batch<T>(items: &mut Peekable<IntoIter<T>>, size: impl Fn(&T) -> usize) -> Vec<T> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while batch.len() < MOST_AT_ONCE {
        let fits = |item: &T| batch.is_empty() || bytes + size(item) <= MOST_BYTES;
        let Some(item) = items.next_if(fits) else { break };
        bytes += size(&item);
        batch.push(item);
    }
    batch
}

/// What is handed to the script of one new job.
pub(super) fn new_job(arguments: &mut Arguments, new: NewJob, config: &QueueConfig) {
    let (idempotency_key, fingerprint) = new.idempotency.map(|i| (i.key, i.fingerprint)).unwrap_or_default();
    let job = Job {
        tenant: new.tenant,
        language: new.language,
        level: u8::try_from(new.priority.level()).unwrap_or_default(),
        until: millis(new.delay),
        expires_at: new.expires_after.map(millis).unwrap_or_default(),
        max_run: millis(new.max_run.unwrap_or(config.max_run)),
        max_attempts: new.max_attempts.unwrap_or(config.max_attempts),
        result_ttl: millis(new.result_ttl.unwrap_or(config.result_ttl)),
        idempotency_key,
        trace: new.trace.unwrap_or_default(),
        blobs: words(&new.blobs),
        payload_bytes: u32::try_from(new.payload.len()).unwrap_or(u32::MAX),
        ..Job::default()
    };
    arguments.text(&new.id).bytes(job.pack()).text(&fingerprint).bytes(new.payload);
}

/// What is handed to the script of how a job ended.
pub(super) fn settlement(arguments: &mut Arguments, settlement: Settlement) {
    let Settlement { lease, outcome, events } = settlement;
    let kind = outcome.as_str().to_owned();
    let error = |error: &str| Bytes::copy_from_slice(cut(error).as_bytes());
    let (mut delay, mut all_blobs) = (-fastrand::f64(), String::new());
    let text = match outcome {
        Outcome::Done { result, blobs } => {
            all_blobs = words(&blobs);
            result
        }
        Outcome::Retry { error: why, after } => {
            #[expect(clippy::cast_precision_loss, reason = "no delay is so long")]
            let after = after.map(|after| millis(after) as f64);
            delay = after.unwrap_or(delay);
            error(&why)
        }
        Outcome::Crashed { error: why } | Outcome::Rejected { error: why } => error(&why),
        Outcome::Cancelled => Bytes::new(),
    };
    let ending = Ending { token: lease.token, kind, delay };
    let events = self::events(&events);
    arguments.text(&lease.id).bytes(ending.pack()).bytes(text).text(&all_blobs).bytes(events);
}

/// The ids, as scripts keep them.
fn words(blobs: &[BlobId]) -> String {
    blobs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Events as `lua/telling.lua` reads them: for each its name, and its data behind
/// their length.
pub(super) fn events(events: &[NewEvent]) -> Bytes {
    let mut bytes = Vec::new();
    for NewEvent { name, data } in events {
        name.put(&mut bytes);
        u32::try_from(data.len()).unwrap_or(u32::MAX).put(&mut bytes);
        bytes.extend_from_slice(data);
    }
    bytes.into()
}
