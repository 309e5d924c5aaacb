//! [`RetryPolicy`]: whether and when a delivery is tried again, as data and a
//! function of nothing but its arguments.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::Failure;

/// Whether and when a delivery that failed is tried again.
///
/// The wait before the attempt after the nth is a random part of
/// `first_wait * 2^(n-1)`, but of no more than `longest_wait`: exponential
/// backoff with full jitter, so that receivers that come back are not met by
/// everything at once.
///
/// ```
/// use std::time::Duration;
/// use evalx_webhook::{Answer, Ending, Outcome, RetryPolicy};
///
/// let policy = RetryPolicy::default().with_retries(5);
/// let busy = Ending::Answered(Answer::new(503).with_retry_after(Duration::from_secs(60)));
/// assert_eq!(policy.decide(1, &busy, 0.5), Outcome::Retry { after: Duration::from_secs(60) });
/// assert_eq!(policy.decide(6, &busy, 0.5), Outcome::GivenUp);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How many more attempts there are after the first.
    pub retries: u32,
    /// The most that is waited before the second attempt.
    pub first_wait: Duration,
    /// The most that is waited before any attempt.
    pub longest_wait: Duration,
    /// The most that a `Retry-After` header can ask for; more is cut to this.
    pub longest_retry_after: Duration,
    /// What counts as delivered.
    pub success: Success,
}

/// What counts as delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Success {
    /// An answer with a status of 200 to 299.
    GoodStatus,
    /// Any answer, as Judge0 has it.
    AnyAnswer,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// The receiver answered.
    Answered(Answer),
    /// There was no answer.
    Failed(Failure),
}

/// What counts of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// How long its `Retry-After` header asks to wait.
    pub retry_after: Option<Duration>,
}

impl Answer {
    /// An answer of this status, without the wish to wait.
    #[must_use]
    pub const fn new(status: u16) -> Self {
        Self { status, retry_after: None }
    }

    /// Adds how long the receiver asks to wait.
    #[must_use]
    pub const fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Why an answer that is not a success is none.
    pub(crate) const fn failure(&self) -> Option<Failure> {
        match self.status {
            200..300 => None,
            300..400 => Some(Failure::Redirected),
            _ => Some(Failure::Answered),
        }
    }

    /// Whether the receiver may answer otherwise later.
    const fn may_pass(&self) -> bool {
        matches!(self.status, 408 | 429 | 500..600)
    }
}

/// What comes after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It was delivered: nothing is left to do.
    Delivered,
    /// It is to be tried again.
    Retry {
        /// How long to wait before.
        #[serde(rename = "after_ms", with = "crate::milliseconds")]
        after: Duration,
    },
    /// It is not tried again: this failure does not pass, or it was the last attempt.
    GivenUp,
}

impl Outcome {
    /// The name in snake case, as in JSON.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry { .. } => "retry",
            Self::GivenUp => "given_up",
        }
    }
}

impl Default for RetryPolicy {
    /// Three retries, the first within two seconds.
    fn default() -> Self {
        Self {
            retries: 3,
            first_wait: Duration::from_secs(2),
            longest_wait: Duration::from_secs(60 * 60),
            longest_retry_after: Duration::from_secs(60 * 60),
            success: Success::GoodStatus,
        }
    }
}

impl RetryPolicy {
    /// As Judge0 does it: three attempts without a pause, and any answer is a success.
    #[must_use]
    pub const fn judge0() -> Self {
        Self {
            retries: 2,
            first_wait: Duration::ZERO,
            longest_wait: Duration::ZERO,
            longest_retry_after: Duration::ZERO,
            success: Success::AnyAnswer,
        }
    }

    /// With so many more attempts after the first.
    #[must_use]
    pub const fn with_retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// With this as the most that is waited before the second attempt, and before any.
    #[must_use]
    pub const fn with_waits(mut self, first: Duration, longest: Duration) -> Self {
        self.first_wait = first;
        self.longest_wait = longest;
        self
    }

    /// With this as the most that a `Retry-After` header can ask for.
    #[must_use]
    pub const fn with_longest_retry_after(mut self, longest: Duration) -> Self {
        self.longest_retry_after = longest;
        self
    }

    /// What comes after attempt number `attempt`, counted from 1, that ended
    /// so. `chance` is a random number from 0 to 1.
    #[must_use]
    pub fn decide(&self, attempt: u32, ending: &Ending, chance: f64) -> Outcome {
        let (may_pass, retry_after) = match ending {
            Ending::Answered(answer) => {
                let success = self.success == Success::AnyAnswer || answer.failure().is_none();
                if success {
                    return Outcome::Delivered;
                }
                (answer.may_pass(), answer.retry_after)
            }
            Ending::Failed(failure) => (failure.is_of_the_network(), None),
        };
        if !may_pass || attempt > self.retries {
            return Outcome::GivenUp;
        }
        let asked = retry_after.unwrap_or_default().min(self.longest_retry_after);
        Outcome::Retry { after: self.wait(attempt, chance).max(asked) }
    }

    fn wait(&self, attempt: u32, chance: f64) -> Duration {
        let doublings = attempt.saturating_sub(1);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let most = self.first_wait.saturating_mul(factor).min(self.longest_wait);
        // A chance that is none, such as NaN, waits in full.
        let chance = if (0.0..=1.0).contains(&chance) { chance } else { 1.0 };
        Duration::try_from_secs_f64(most.as_secs_f64() * chance).map_or(most, |wait| wait.min(most))
    }
}

/// Reads the value of a `Retry-After` header: seconds, or a date of HTTP.
/// `None` if it is neither; a date that has passed is no wait at all.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use evalx_webhook::parse_retry_after;
///
/// let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784111777 - 30);
/// assert_eq!(parse_retry_after("120", now), Some(Duration::from_secs(120)));
/// assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(30)));
/// assert_eq!(parse_retry_after("soon", now), None);
/// ```
#[must_use]
pub fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim_matches([' ', '\t']);
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds still mean: very long.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Waiting;

    const SECOND: Duration = Duration::from_secs(1);

    fn answered(status: u16) -> Ending {
        Ending::Answered(Answer::new(status))
    }

    fn retried(policy: RetryPolicy, ending: &Ending) -> bool {
        matches!(policy.decide(1, ending, 0.5), Outcome::Retry { .. })
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let policy = RetryPolicy::default();
        for status in [408, 429, 500, 501, 502, 503, 504, 599] {
            assert!(retried(policy, &answered(status)), "{status}");
        }
        for status in [100, 301, 302, 307, 308, 400, 401, 403, 404, 405, 410, 413, 422, 600, 999] {
            assert_eq!(policy.decide(1, &answered(status), 0.5), Outcome::GivenUp, "{status}");
        }
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(policy.decide(1, &answered(status), 0.5), Outcome::Delivered, "{status}");
        }
        for failure in [
            Failure::Unresolved,
            Failure::Unreachable { reason: String::new() },
            Failure::Tls { reason: String::new() },
            Failure::TimedOut { waiting_for: Waiting::Answer },
            Failure::Broken,
        ] {
            assert!(retried(policy, &Ending::Failed(failure)));
        }
        let refused = Ending::Failed(Failure::Refused { reason: String::new() });
        assert_eq!(policy.decide(1, &refused, 0.5), Outcome::GivenUp);
    }

    #[test]
    fn the_last_attempt_is_given_up() {
        let policy = RetryPolicy::default();
        for attempt in 1..=3 {
            assert!(matches!(policy.decide(attempt, &answered(500), 1.0), Outcome::Retry { .. }));
        }
        assert_eq!(policy.decide(4, &answered(500), 1.0), Outcome::GivenUp);
        assert_eq!(policy.with_retries(0).decide(1, &answered(500), 1.0), Outcome::GivenUp);
    }

    #[test]
    fn waits_double_and_are_capped() {
        let policy = RetryPolicy::default().with_retries(u32::MAX).with_waits(SECOND, 10 * SECOND);
        let most = |attempt| policy.decide(attempt, &answered(500), 1.0);
        for (attempt, seconds) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (33, 10), (u32::MAX, 10)] {
            assert_eq!(most(attempt), Outcome::Retry { after: seconds * SECOND }, "{attempt}");
        }
        assert_eq!(policy.decide(3, &answered(500), 0.0), Outcome::Retry { after: Duration::ZERO });
        assert_eq!(policy.decide(3, &answered(500), 0.25), Outcome::Retry { after: SECOND });
        for odd in [f64::NAN, f64::INFINITY, -1.0, 2.0] {
            assert_eq!(policy.decide(1, &answered(500), odd), Outcome::Retry { after: SECOND });
        }
    }

    #[test]
    fn retry_after_is_honoured_up_to_its_cap() {
        let policy = RetryPolicy::default().with_longest_retry_after(100 * SECOND);
        let asked =
            |seconds: u64| Ending::Answered(Answer::new(429).with_retry_after(Duration::from_secs(seconds)));
        assert_eq!(policy.decide(1, &asked(30), 1.0), Outcome::Retry { after: 30 * SECOND });
        assert_eq!(policy.decide(1, &asked(100_000), 1.0), Outcome::Retry { after: 100 * SECOND });
        assert_eq!(policy.decide(1, &asked(0), 1.0), Outcome::Retry { after: 2 * SECOND }, "never sooner");
        let gone = Ending::Answered(Answer::new(404).with_retry_after(SECOND));
        assert_eq!(policy.decide(1, &gone, 1.0), Outcome::GivenUp);
    }

    #[test]
    fn judge0_takes_any_answer_and_tries_three_times_at_once() {
        let policy = RetryPolicy::judge0();
        for status in [200, 302, 404, 500] {
            assert_eq!(policy.decide(1, &answered(status), 1.0), Outcome::Delivered);
        }
        let broken = Ending::Failed(Failure::Broken);
        assert_eq!(policy.decide(1, &broken, 1.0), Outcome::Retry { after: Duration::ZERO });
        assert_eq!(policy.decide(2, &broken, 1.0), Outcome::Retry { after: Duration::ZERO });
        assert_eq!(policy.decide(3, &broken, 1.0), Outcome::GivenUp);
    }

    #[test]
    fn all_three_forms_of_date_are_read() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 60);
        for date in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse_retry_after(date, now), Some(60 * SECOND), "{date}");
            assert_eq!(parse_retry_after(date, now + 90 * SECOND), Some(Duration::ZERO), "{date}");
        }
        assert_eq!(parse_retry_after(" 7 ", now), Some(7 * SECOND));
        assert_eq!(parse_retry_after(&"9".repeat(40), now), Some(Duration::from_secs(u64::MAX)));
        for value in ["", "-1", "+1", "1.5", "1e3", "tomorrow", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(parse_retry_after(value, now), None, "{value}");
        }
    }
}
