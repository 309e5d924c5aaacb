//! From what the scripts answer to what callers get.

use std::str::FromStr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::Value;

use crate::admission::{Scope, retry_after};
use crate::{
    Admission, AttemptError, BlobId, Claimed, Error, ErrorKind, Event, JobId, JobState, JobView, Lease,
    Priority, Result, Timestamp,
};

/// A list that is read from its front.
pub(super) struct Reader(std::vec::IntoIter<Value>);

fn nonsense() -> Error {
    Error::new(
        ErrorKind::Internal,
        "the server's answer makes no sense: somebody else writes to the queue's keys",
    )
}

impl Reader {
    pub(super) fn of(value: Value) -> Result<Self> {
        match value {
            Value::Array(values) => Ok(Self(values.into_iter())),
            _ => Err(nonsense()),
        }
    }

    fn next(&mut self) -> Result<Value> {
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

    fn small(&mut self) -> Result<u32> {
        u32::try_from(self.count()?).map_err(|_| nonsense())
    }

    fn parsed<T: FromStr>(&mut self) -> Result<T> {
        parsed(&self.text()?)
    }

    /// A number, or `None` if there is none.
    fn maybe(&mut self) -> Result<Option<u64>> {
        let text = self.text()?;
        if text.is_empty() { Ok(None) } else { parsed(&text).map(Some) }
    }

    pub(super) fn into_value(self) -> Value {
        Value::Array(self.0.collect())
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

/// A job that was claimed by a call sent at `sent`.
pub(super) fn claimed(value: Value, sent: Instant) -> Result<Claimed> {
    let mut fields = Reader::of(value)?;
    Ok(Claimed {
        lease: Lease { id: fields.parsed()?, token: fields.count()? },
        valid_until: sent + Duration::from_millis(fields.count()?),
        attempt: fields.small()?,
        crashes: fields.small()?,
        tenant: fields.text()?,
        language: fields.text()?,
        priority: priority(fields.count()?)?,
        max_run: Duration::from_millis(fields.count()?),
        result_ttl: Duration::from_millis(fields.count()?),
        enqueued_at: Timestamp::from_millis(fields.count()?),
        waited: Duration::from_millis(fields.count()?),
        trace: maybe_text(fields.text()?),
        blobs: blobs(&fields.text()?)?,
        payload: fields.bytes()?,
    })
}

pub(super) fn all_claimed(value: Value, sent: Instant) -> Result<Vec<Claimed>> {
    Reader::of(value)?.rest().map(|job| claimed(job, sent)).collect()
}

pub(super) fn view(value: Value) -> Result<Option<JobView>> {
    if matches!(value, Value::Nil | Value::Boolean(false)) {
        return Ok(None);
    }
    let mut outer = Reader::of(value)?;
    let id: JobId = outer.parsed()?;
    let mut job = outer.list()?;
    let position = outer.integer()?;
    let payload_bytes = outer.count()?;
    let errors = outer.list()?.rest().map(attempt_error).collect::<Result<_>>()?;
    let result = outer.0.next().map_or(Ok(None), maybe_bytes)?;
    let state: JobState = job.parsed()?;
    let (tenant, language, level) = (job.text()?, job.text()?, job.count()?);
    let small = |number: Option<u64>| u32::try_from(number.unwrap_or_default()).map_err(|_| nonsense());
    let (attempt, crashes, token) =
        (small(job.maybe()?)?, small(job.maybe()?)?, job.maybe()?.unwrap_or_default());
    let at = |millis: Option<u64>| millis.map(Timestamp::from_millis);
    let enqueued_at = Timestamp::from_millis(job.maybe()?.ok_or_else(nonsense)?);
    let (started_at, finished_at, until, expires_at) =
        (at(job.maybe()?), at(job.maybe()?), at(job.maybe()?), at(job.maybe()?));
    let worker = maybe_text(job.text()?);
    let cancel_requested = !job.text()?.is_empty();
    let trace = maybe_text(job.text()?);
    let blobs = blobs(&job.text()?)?;
    Ok(Some(JobView {
        id,
        state,
        tenant,
        language,
        priority: priority(level)?,
        attempt,
        crashes,
        token,
        enqueued_at,
        started_at,
        finished_at,
        due_at: until.filter(|_| state == JobState::Delayed),
        expires_at,
        kept_until: until.filter(|_| state.is_terminal()),
        worker,
        cancel_requested,
        position: u64::try_from(position).ok(),
        result,
        errors,
        trace,
        blobs,
        payload_bytes,
        events_dropped: job.maybe()?.unwrap_or_default(),
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
