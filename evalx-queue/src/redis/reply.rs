//! From what the scripts answer to what callers get.

use std::str::FromStr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::Value;

use super::packed::{Packed as _, nonsense};
use super::record::Job;
use crate::admission::{Scope, retry_after};
use crate::{
    Admission, AttemptError, BlobId, Claimed, Event, JobState, JobView, Lease, Priority, Result, Settled,
    Timestamp,
};

/// A list that is read from its front.
pub(super) struct Reader(std::vec::IntoIter<Value>);

impl Reader {
    pub(super) fn of(value: Value) -> Result<Self> {
        match value {
            Value::Array(values) => Ok(Self(values.into_iter())),
            _ => Err(nonsense()),
        }
    }

    pub(super) fn next(&mut self) -> Result<Value> {
        self.0.next().ok_or_else(nonsense)
    }

    pub(super) fn list(&mut self) -> Result<Self> {
        Self::of(self.next()?)
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes> {
        bytes(self.next()?)
    }

    pub(super) fn text(&mut self) -> Result<String> {
        text(self.next()?)
    }

    pub(super) fn integer(&mut self) -> Result<i64> {
        integer(&self.next()?)
    }

    /// A number that is not below zero.
    pub(super) fn count(&mut self) -> Result<u64> {
        u64::try_from(self.integer()?).map_err(|_| nonsense())
    }

    fn parsed<T: FromStr>(&mut self) -> Result<T> {
        parsed(&self.text()?)
    }

    pub(super) fn rest(self) -> impl Iterator<Item = Value> {
        self.0
    }
}

fn bytes(value: Value) -> Result<Bytes> {
    match value {
        Value::BulkString(bytes) => Ok(Bytes::from(bytes)),
        Value::SimpleString(text) => Ok(Bytes::from(text)),
        Value::Int(number) => Ok(Bytes::from(number.to_string())),
        _ => Err(nonsense()),
    }
}

pub(super) fn text(value: Value) -> Result<String> {
    String::from_utf8(bytes(value)?.into()).map_err(|_| nonsense())
}

pub(super) fn integer(value: &Value) -> Result<i64> {
    match value {
        Value::Int(number) => Ok(*number),
        Value::BulkString(bytes) => parsed(std::str::from_utf8(bytes).map_err(|_| nonsense())?),
        _ => Err(nonsense()),
    }
}

/// Bytes, or `None` for nil.
pub(super) fn maybe_bytes(value: Value) -> Result<Option<Bytes>> {
    match value {
        Value::Nil | Value::Boolean(false) => Ok(None),
        value => bytes(value).map(Some),
    }
}

fn parsed<T: FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| nonsense())
}

fn priority(level: u64) -> Result<Priority> {
    let level = usize::try_from(level).map_err(|_| nonsense())?;
    Priority::ALL.get(level).copied().ok_or_else(nonsense)
}

fn blobs(ids: &str) -> Result<Vec<BlobId>> {
    ids.split_whitespace().map(parsed).collect()
}

fn maybe_text(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

pub(super) fn admission(value: Value) -> Result<Admission> {
    let mut fields = Reader::of(value)?;
    Ok(match fields.text()?.as_str() {
        "accepted" => {
            Admission::Accepted { id: fields.parsed()?, position: u64::try_from(fields.integer()?).ok() }
        }
        "duplicate" => Admission::Duplicate { id: fields.parsed()?, state: fields.parsed()? },
        "conflict" => Admission::Conflict { id: fields.parsed()? },
        "full" => {
            let scope = if fields.text()? == "queue" { Scope::Queue } else { Scope::Tenant };
            let (depth, in_flight, average) = (fields.count()?, fields.count()?, fields.count()?);
            Admission::Full { scope, depth, retry_after: retry_after(depth, in_flight, average) }
        }
        "blob_gone" => Admission::BlobGone { blob: fields.parsed()? },
        "draining" => Admission::Draining,
        _ => return Err(nonsense()),
    })
}

/// The jobs that were claimed by a call sent at `sent`: all that is left of its answer.
pub(super) fn claimed(mut answer: Reader, sent: Instant) -> Result<Vec<Claimed>> {
    let mut jobs = Vec::with_capacity(answer.0.len() / 4);
    while !answer.0.as_slice().is_empty() {
        let id = answer.parsed()?;
        let valid_for = Duration::from_millis(answer.count()?);
        let job = Job::unpack(&answer.bytes()?)?;
        jobs.push(Claimed {
            lease: Lease { id, token: job.token.into() },
            valid_until: sent + valid_for,
            attempt: job.attempt,
            crashes: job.crashes,
            tenant: job.tenant,
            language: job.language,
            priority: priority(job.level.into())?,
            max_run: Duration::from_millis(job.max_run),
            result_ttl: Duration::from_millis(job.result_ttl),
            enqueued_at: Timestamp::from_millis(job.enqueued_at),
            waited: Duration::from_millis(job.started_at.saturating_sub(job.ready_since)),
            trace: maybe_text(job.trace),
            blobs: blobs(&job.blobs)?,
            payload: answer.bytes()?,
        });
    }
    Ok(jobs)
}

/// Whether jobs were settled: a digit for each.
pub(super) fn settled(digits: Value) -> Result<Vec<Settled>> {
    let settled = |digit| if digit == b'1' { Settled::Applied } else { Settled::Stale };
    Ok(bytes(digits)?.into_iter().map(settled).collect())
}

pub(super) fn view(value: Value) -> Result<Option<JobView>> {
    if matches!(value, Value::Nil | Value::Boolean(false)) {
        return Ok(None);
    }
    let mut fields = Reader::of(value)?;
    let id = fields.parsed()?;
    let job = Job::unpack(&fields.bytes()?)?;
    let position = u64::try_from(fields.integer()?).ok();
    let errors = fields.list()?.rest().map(attempt_error).collect::<Result<_>>()?;
    let result = fields.0.next().map_or(Ok(None), maybe_bytes)?;
    let state: JobState = parsed(&job.state)?;
    let at = |millis: u64| (millis > 0).then(|| Timestamp::from_millis(millis));
    Ok(Some(JobView {
        id,
        state,
        tenant: job.tenant,
        language: job.language,
        priority: priority(job.level.into())?,
        attempt: job.attempt,
        crashes: job.crashes,
        token: job.token.into(),
        enqueued_at: Timestamp::from_millis(job.enqueued_at),
        started_at: at(job.started_at),
        finished_at: at(job.finished_at),
        due_at: at(job.until).filter(|_| state == JobState::Delayed),
        expires_at: at(job.expires_at),
        kept_until: at(job.until).filter(|_| state.is_terminal()),
        worker: maybe_text(job.worker),
        cancel_requested: job.cancel > 0,
        position,
        result,
        errors,
        trace: maybe_text(job.trace),
        blobs: blobs(&job.blobs)?,
        payload_bytes: job.payload_bytes.into(),
        events_dropped: job.events_dropped.into(),
    }))
}

/// `attempt at worker`, and the error on the lines below.
fn attempt_error(value: Value) -> Result<AttemptError> {
    let text = text(value)?;
    let (head, error) = text.split_once('\n').ok_or_else(nonsense)?;
    let mut words = head.splitn(3, ' ');
    let mut word = || words.next().ok_or_else(nonsense);
    Ok(AttemptError {
        attempt: parsed(word()?)?,
        at: Timestamp::from_millis(parsed(word()?)?),
        worker: word()?.to_owned(),
        error: error.to_owned(),
    })
}

/// The number, and `at token name` with the data on the lines below.
pub(super) fn event(value: Value) -> Result<Event> {
    let mut fields = Reader::of(value)?;
    let sequence = fields.count()?;
    let mut data = fields.bytes()?;
    let end = data.iter().position(|byte| *byte == b'\n').ok_or_else(nonsense)?;
    let head = data.split_to(end);
    let data = data.slice(1..);
    let head = std::str::from_utf8(&head).map_err(|_| nonsense())?;
    let mut words = head.splitn(3, ' ');
    let mut word = || words.next().ok_or_else(nonsense);
    Ok(Event::new(sequence, parsed(word()?)?, parsed(word()?)?, word()?.to_owned(), data))
}
