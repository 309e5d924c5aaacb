//! [`Delivery`]: what is to be delivered, as a host's queue keeps it; and
//! [`Attempt`]: what the delivery log keeps of each try.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::{Failure, Outcome};

/// The longest id, in characters.
const LONGEST_ID: usize = 128;

/// The id of a delivery, which is the same at every attempt, so that a
/// receiver can tell a delivery that comes twice from two.
///
/// Letters, digits, `_` and `-`: it is a header, and signed between full stops.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeliveryId(String);

/// A text that is no [`DeliveryId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id of a delivery has 1 to 128 letters, digits, `_` and `-`")]
pub struct DeliveryIdError;

impl DeliveryId {
    /// The id as it is in the header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DeliveryId {
    type Error = DeliveryIdError;

    fn try_from(text: String) -> Result<Self, DeliveryIdError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let good = (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(allowed);
        if good { Ok(Self(text)) } else { Err(DeliveryIdError) }
    }
}

impl FromStr for DeliveryId {
    type Err = DeliveryIdError;

    fn from_str(text: &str) -> Result<Self, DeliveryIdError> {
        text.to_owned().try_into()
    }
}

impl From<DeliveryId> for String {
    fn from(id: DeliveryId) -> Self {
        id.0
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is to be delivered, and which attempt is next.
///
/// It is the payload of a host's job: a delivery that is to be tried again is
/// queued again, as [`Delivery::next`] and with a delay.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Delivery {
    /// The same at every attempt.
    pub id: DeliveryId,
    /// Where to. It is checked again at every attempt.
    pub url: String,
    /// What: JSON.
    pub body: String,
    /// The number of the attempt that is next, from 1.
    pub attempt: u32,
}

impl Delivery {
    /// The first attempt to deliver `body`, which is JSON.
    pub fn new(id: DeliveryId, url: impl Into<String>, body: impl Into<String>) -> Self {
        Self { id, url: url.into(), body: body.into(), attempt: 1 }
    }

    /// The same delivery, at its next attempt.
    #[must_use]
    pub const fn next(mut self) -> Self {
        self.attempt = self.attempt.saturating_add(1);
        self
    }
}

/// Without URL and body, which may hold a token or somebody's program.
impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("id", &self.id.0)
            .field("attempt", &self.attempt)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// One attempt, for the delivery log. It holds no body, no URL and no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attempt {
    /// The id of the delivery.
    pub id: DeliveryId,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// When it began.
    #[serde(rename = "started_unix_ms", with = "instant")]
    pub started: SystemTime,
    /// How long it took until the head of the answer was here, or there was to be none.
    #[serde(rename = "took_ms", with = "crate::milliseconds")]
    pub took: Duration,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Why it is no delivery.
    pub failure: Option<Failure>,
    /// What comes next.
    pub outcome: Outcome,
}

/// Points in time as milliseconds since 1970.
mod instant {
    use std::time::{Duration, SystemTime};

    use serde::{Deserializer, Serializer};

    use crate::milliseconds;

    pub(super) fn serialize<S: Serializer>(instant: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
        milliseconds::serialize(
            &instant.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            serializer,
        )
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
        let since: Duration = milliseconds::deserialize(deserializer)?;
        SystemTime::UNIX_EPOCH
            .checked_add(since)
            .ok_or_else(|| serde::de::Error::custom("a time beyond what this machine knows"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_can_be_a_header_and_be_signed() {
        for id in ["a", "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", "0192f0c1-7a3e-7cc1-b8a5-1c9f5a2d3e4f"] {
            assert_eq!(id.parse::<DeliveryId>().map(String::from).as_deref(), Ok(id));
        }
        let long = "x".repeat(129);
        for id in ["", "a.b", "a b", "a\r\nx: y", "ä", long.as_str()] {
            assert_eq!(id.parse::<DeliveryId>(), Err(DeliveryIdError), "{id:?}");
            assert!(serde_json::from_value::<DeliveryId>(id.into()).is_err(), "{id:?}");
        }
    }

    #[test]
    fn a_delivery_survives_its_queue() {
        let delivery =
            Delivery::new("msg_1".parse().unwrap(), "https://example.org/?t=s3cret", "{\"ü\":1}").next();
        let json = serde_json::to_string(&delivery).unwrap();
        assert_eq!(
            json,
            r#"{"id":"msg_1","url":"https://example.org/?t=s3cret","body":"{\"ü\":1}","attempt":2}"#
        );
        assert_eq!(serde_json::from_str::<Delivery>(&json).unwrap(), delivery);
        assert!(!format!("{delivery:?}").contains("s3cret"));
    }

    #[test]
    fn an_attempt_reads_well_in_a_log() {
        let attempt = Attempt {
            id: "msg_1".parse().unwrap(),
            attempt: 1,
            started: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            took: Duration::from_millis(45),
            status: Some(503),
            failure: Some(Failure::Answered),
            outcome: Outcome::Retry { after: Duration::from_millis(1500) },
        };
        let json = serde_json::json!({
            "id": "msg_1", "attempt": 1, "started_unix_ms": 1_700_000_000_123_u64, "took_ms": 45, "status": 503,
            "failure": {"type": "answered"}, "outcome": {"type": "retry", "after_ms": 1500},
        });
        assert_eq!(serde_json::to_value(&attempt).unwrap(), json);
        assert_eq!(serde_json::from_value::<Attempt>(json).unwrap(), attempt);
    }
}
