//! What happens to a job, kept in order so that whoever comes late can catch up.

use bytes::Bytes;
use std::fmt;

use crate::job::check_size;
use crate::{Error, JobState, QueueConfig, Result, Timestamp};

/// Something that a worker tells of its job while it runs.
#[derive(Clone, PartialEq, Eq)]
pub struct NewEvent {
    pub(crate) name: String,
    pub(crate) data: Bytes,
}

impl NewEvent {
    /// The longest name, in bytes.
    pub const LONGEST_NAME: usize = 64;
    /// The most events of one call.
    pub const MOST: usize = 100;

    /// An event of this name, such as `compiled` or `test`.
    ///
    /// # Errors
    /// `InvalidRequest` unless the name is made of lower-case letters, digits,
    /// `_`, `-` and `.`, or if it is one of the queue's own.
    pub fn new(name: impl Into<String>, data: impl Into<Bytes>) -> Result<Self> {
        let name = name.into();
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
        if name.is_empty() || name.len() > Self::LONGEST_NAME || !name.bytes().all(good) {
            let most = Self::LONGEST_NAME;
            return Err(Error::invalid(format!(
                "an event's name has 1 to {most} of a-z 0-9 _ - and ., unlike {:?}",
                name.chars().take(80).collect::<String>()
            )));
        }
        if EventKind::of(&name).is_some() {
            return Err(Error::invalid(format!("an event can't be named {name}: that is the queue's own")));
        }
        Ok(Self { name, data: data.into() })
    }

    /// Refuses what is too large.
    pub(crate) fn check(events: &[Self], config: &QueueConfig) -> Result<()> {
        if events.len() > Self::MOST {
            return Err(Error::invalid(format!(
                "{} events at once; at most {} are allowed",
                events.len(),
                Self::MOST
            )));
        }
        events.iter().try_for_each(|event| check_size("an event", event.data.len(), config))
    }
}

impl fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewEvent({}, {} bytes)", self.name, self.data.len())
    }
}

/// What kind of event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// The job was accepted. Always the first.
    Queued,
    /// A worker began it. What came before from an earlier attempt no longer counts.
    Started,
    /// The attempt failed, and there will be another; the data is the error.
    Retrying,
    /// The worker was lost, and there will be another; the data is the error.
    Lost,
    /// The worker shut down and handed it back; the attempt does not count.
    Released,
    /// It had ended as dead, and an operator put it back.
    Requeued,
    /// It ended, in this state. What comes after is the last, unless it is requeued.
    Ended(JobState),
    /// What its worker told, by its own name.
    Told,
}

impl EventKind {
    /// The kind of the queue's own event of this name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "queued" => Self::Queued,
            "started" => Self::Started,
            "retrying" => Self::Retrying,
            "lost" => Self::Lost,
            "released" => Self::Released,
            "requeued" => Self::Requeued,
            "done" => Self::Ended(JobState::Done),
            "dead" => Self::Ended(JobState::Dead),
            "cancelled" => Self::Ended(JobState::Cancelled),
            _ => return None,
        })
    }
}

/// Something that happened to a job.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Its number, from 1 without gaps: what to resume after.
    pub sequence: u64,
    /// When it happened.
    pub at: Timestamp,
    /// The token of the lease by which it happened; 0 before the first.
    pub token: u64,
    /// What kind it is.
    pub kind: EventKind,
    /// Its name.
    pub name: String,
    /// What there is to say.
    pub data: Bytes,
}

impl Event {
    /// Whether nothing follows by itself.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        matches!(self.kind, EventKind::Ended(_))
    }

    pub(crate) fn new(sequence: u64, at: u64, token: u64, name: String, data: Bytes) -> Self {
        let kind = EventKind::of(&name).unwrap_or(EventKind::Told);
        Self { sequence, at: Timestamp::from_millis(at), token, kind, name, data }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({} {} token {}, {} bytes)", self.sequence, self.name, self.token, self.data.len())
    }
}
