//! [`parse_time`]: spans of time as operators write them.

use std::time::Duration;

/// A text that is not a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a time: write a number with ms, s, m, h or d, such as 500ms, 1.5s, 2m or 24h")]
pub struct ParseTimeError {
    text: String,
}

/// Reads a time as people write it: `500ms`, `1.5s`, `2m`, `24h`, `7d`; a plain
/// number is in seconds.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(evalx_core::parse_time("500ms")?, Duration::from_millis(500));
/// # Ok::<(), evalx_core::ParseTimeError>(())
/// ```
///
/// # Errors
///
/// Says what is allowed.
pub fn parse_time(text: &str) -> Result<Duration, ParseTimeError> {
    /// The most of a wrong text that is shown.
    const SHOWN: usize = 40;
    let refuse =
        || ParseTimeError { text: text.chars().take(SHOWN).flat_map(char::escape_default).collect() };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(refuse()),
    };
    // `f64` also reads inf, NaN, signs and exponents.
    if !digits.starts_with(|c: char| c.is_ascii_digit())
        || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return Err(refuse());
    }
    let number: f64 = digits.parse().map_err(|_| refuse())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| refuse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        let cases = [
            ("500ms", Duration::from_millis(500)),
            ("1.5s", Duration::from_millis(1500)),
            ("1.5", Duration::from_millis(1500)),
            ("2m", Duration::from_secs(120)),
            ("24h", Duration::from_secs(86_400)),
            ("1d", Duration::from_secs(86_400)),
            ("10", Duration::from_secs(10)),
            ("0s", Duration::ZERO),
        ];
        for (text, time) in cases {
            assert_eq!(parse_time(text), Ok(time), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_is_allowed() {
        let endless = "9".repeat(400);
        for text in [
            "",
            "s",
            "-1s",
            "+1s",
            "1x",
            "NaN",
            "inf",
            "infs",
            "1e3s",
            "1e9s",
            "1..5s",
            "1.2.3s",
            ".",
            ".5s",
            "1 s",
            "1ſ",
            "99999999999999999999d",
            &endless,
        ] {
            let error = parse_time(text).expect_err(text).to_string();
            assert!(error.contains("500ms") && error.len() < 200, "{error}");
        }
    }
}
