//! What operators write, of servers and workers alike.

use std::path::Path;
use std::time::Duration;

use evalx::Choice;
use evalx_core::Languages;

/// Reads a time as people write it: `500ms`, `10s`, `2m`, `24h`, `7d`, or seconds.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(evalx_service::parse_time("500ms"), Ok(Duration::from_millis(500)));
/// ```
///
/// # Errors
///
/// What is allowed.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let refuse = || format!("`{}` is no time: write 500ms, 10s, 2m, 24h or 7d", text.escape_default());
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(refuse()),
    };
    // `parse` alone would take `inf`, `1e9` and `+1` too.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(refuse());
    }
    let number: f64 = digits.parse().map_err(|_| refuse())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| refuse())
}

/// Which backends are wanted: those that are given, or else, also where an
/// empty text is, what the environment says, by [`Choice::from_environment`].
///
/// # Errors
///
/// What means nothing, and what is allowed.
pub fn sandbox_choice(given: Option<&str>) -> Result<Choice, String> {
    let choice = given.filter(|names| !names.is_empty()).map_or_else(Choice::from_environment, str::parse);
    choice.map_err(|error| error.chain())
}

/// The built-in languages, with those of a TOML file.
///
/// # Errors
///
/// What is wrong with the file, with its name.
pub fn languages_with(file: Option<&Path>) -> Result<Languages, String> {
    let languages = Languages::builtin();
    let Some(file) = file else { return Ok(languages) };
    let at = |why: String| format!("{}: {why}", file.display());
    let text = std::fs::read_to_string(file).map_err(|error| at(error.to_string()))?;
    languages.with_toml(&text).map_err(|error| at(error.chain()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, seconds) in [("500ms", 0.5), ("10s", 10.0), ("1.5", 1.5), ("2m", 120.0), ("1d", 86_400.0)]
        {
            assert_eq!(parse_time(text).unwrap().as_secs_f64(), seconds, "{text}");
        }
        for text in ["", "s", "-1s", "1e9s", "inf", "1x", "1.2.3s", "99999999999999999999d"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
