//! [`Comparison`]: whether an output is the expected one.
//!
//! The output is hostile: each comparison takes time and memory linear in what
//! it is given, and says the first difference in a line's length.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind};

/// A rule by which an output is as good as the expected one.
///
/// It parses from and prints as `exact`, `lines`, `tokens`, `float`,
/// `float:1e-9` and `unordered`.
///
/// ```
/// use evalx_core::Comparison;
///
/// let lines = Comparison::default();
/// assert!(lines.compare(b"1 2\n3\n", b"1 2 \r\n3").is_ok());
///
/// let difference = lines.compare(b"1 2\n3\n", b"1 2\n4\n").unwrap_err();
/// assert_eq!(difference.to_string(), "line 2: expected `3`, found `4`");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Comparison {
    /// Every byte is the same.
    Exact,
    /// Line by line, without white space at the ends of lines and without
    /// empty lines at the end. This is Judge0's rule.
    #[default]
    Lines,
    /// The words between white space are the same.
    Tokens,
    /// Words that are numbers differ by at most `epsilon`, absolutely or in
    /// proportion to the expected number; other words are the same.
    Float {
        /// The largest difference that is allowed.
        epsilon: f64,
    },
    /// The same lines in any order, without white space at their ends and
    /// without empty ones.
    Unordered,
}

/// The first difference between an output and the expected one, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference(String);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Comparison {
    /// The difference that [`Float`](Self::Float) allows unless told otherwise.
    pub const DEFAULT_EPSILON: f64 = 1e-6;

    /// Compares an output with the expected one.
    ///
    /// # Errors
    ///
    /// The first difference.
    pub fn compare(self, expected: &[u8], actual: &[u8]) -> Result<(), Difference> {
        // Most programs that are right are exactly right, and memory compares fast.
        if expected == actual {
            return Ok(());
        }
        match self {
            Self::Exact => exact(expected, actual),
            Self::Lines => lines_differ(expected, actual),
            Self::Tokens => tokens(expected, actual, |expected, actual| expected == actual),
            Self::Float { epsilon } => {
                tokens(expected, actual, |expected, actual| is_close(expected, actual, epsilon))
            }
            Self::Unordered => unordered(expected, actual),
        }
    }
}

impl FromStr for Comparison {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |why: &str| Err(Error::new(ErrorKind::InvalidRequest, format!("`{text}` {why}")));
        Ok(match text {
            "exact" => Self::Exact,
            "lines" => Self::Lines,
            "tokens" => Self::Tokens,
            "float" => Self::Float { epsilon: Self::DEFAULT_EPSILON },
            "unordered" => Self::Unordered,
            _ => {
                let Some(epsilon) = text.strip_prefix("float:") else {
                    return refuse("is not a comparison: exact, lines, tokens, float[:EPSILON] or unordered");
                };
                match epsilon.parse() {
                    Ok(epsilon) if (0.0..f64::INFINITY).contains(&epsilon) => Self::Float { epsilon },
                    _ => return refuse("has no number of 0 or more behind the colon"),
                }
            }
        })
    }
}

impl TryFrom<String> for Comparison {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Comparison> for String {
    fn from(comparison: Comparison) -> Self {
        comparison.to_string()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact => f.write_str("exact"),
            Self::Lines => f.write_str("lines"),
            Self::Tokens => f.write_str("tokens"),
            Self::Float { epsilon } => write!(f, "float:{epsilon:e}"),
            Self::Unordered => f.write_str("unordered"),
        }
    }
}

/// White space as C has it; Judge0's rule adds NUL at the ends of lines.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn trim_end(line: &[u8]) -> &[u8] {
    let length = line.iter().rposition(|byte| !is_space(*byte) && *byte != 0).map_or(0, |last| last + 1);
    &line[..length]
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').map(trim_end)
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| is_space(*byte)).filter(|word| !word.is_empty())
}

/// Two texts that are known to differ.
fn exact(expected: &[u8], actual: &[u8]) -> Result<(), Difference> {
    let at = expected.iter().zip(actual).take_while(|(expected, actual)| expected == actual).count();
    let line = expected[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = expected[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    // With the end of the line, for that may be what differs.
    let lines = |text| <[u8]>::split_inclusive(text, |byte| *byte == b'\n');
    differ("line", line, lines(&expected[start..]).next(), lines(&actual[start..]).next())
}

fn lines_differ(expected: &[u8], actual: &[u8]) -> Result<(), Difference> {
    let (mut expected, mut actual) = (lines(expected), lines(actual));
    for number in 1.. {
        match (expected.next(), actual.next()) {
            (None, None) => break,
            // An empty line at the end is as good as none.
            (line, found) if line.unwrap_or_default() == found.unwrap_or_default() => {}
            (line, found) => return differ("line", number, line, found),
        }
    }
    Ok(())
}

fn tokens(expected: &[u8], actual: &[u8], same: impl Fn(&[u8], &[u8]) -> bool) -> Result<(), Difference> {
    let (mut expected, mut actual) = (words(expected), words(actual));
    for number in 1.. {
        match (expected.next(), actual.next()) {
            (None, None) => break,
            (Some(word), Some(found)) if same(word, found) => {}
            (word, found) => return differ("token", number, word, found),
        }
    }
    Ok(())
}

fn is_close(expected: &[u8], actual: &[u8], epsilon: f64) -> bool {
    /// No number that a program prints is longer, and a megabyte of digits is none.
    const LONGEST: usize = 400;
    let number = |word: &[u8]| {
        let text = (word.len() <= LONGEST).then(|| str::from_utf8(word).ok())??;
        text.parse::<f64>().ok()
    };
    if expected == actual {
        return true;
    }
    let (Some(expected), Some(actual)) = (number(expected), number(actual)) else { return false };
    if !expected.is_finite() || !actual.is_finite() {
        // Infinity in another spelling; a difference to it would be no number.
        return expected.is_nan() && actual.is_nan() || expected.total_cmp(&actual).is_eq();
    }
    (expected - actual).abs() <= epsilon * expected.abs().max(1.0)
}

fn unordered(expected: &[u8], actual: &[u8]) -> Result<(), Difference> {
    let lines = |text| lines(text).enumerate().filter(|(_, line)| !line.is_empty());
    // std's hash is keyed at random, so no output can make it collide.
    let mut missing: HashMap<&[u8], usize> = HashMap::new();
    for (_, line) in lines(expected) {
        *missing.entry(line).or_default() += 1;
    }
    for (index, line) in lines(actual) {
        match missing.get_mut(line) {
            Some(count) if *count > 0 => *count -= 1,
            Some(_) => {
                return Err(Difference(format!(
                    "line {}: found {} once too often",
                    index + 1,
                    quote(line, 0)
                )));
            }
            None => {
                return Err(Difference(format!("line {}: did not expect {}", index + 1, quote(line, 0))));
            }
        }
    }
    match lines(expected).find(|(_, line)| missing[line] > 0) {
        Some((_, line)) => Err(Difference(format!("the line {} is missing", quote(line, 0)))),
        None => Ok(()),
    }
}

/// Says that the line or token of this number differs.
fn differ(
    what: &str,
    number: usize,
    expected: Option<&[u8]>,
    actual: Option<&[u8]>,
) -> Result<(), Difference> {
    let (left, right) = (expected.unwrap_or_default(), actual.unwrap_or_default());
    let at = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    let say =
        |text: Option<&[u8]>| text.map_or_else(|| "the end of the output".to_owned(), |text| quote(text, at));
    Err(Difference(format!("{what} {number}: expected {}, found {}", say(expected), say(actual))))
}

/// A piece of a line around the byte `at`, short and printable.
fn quote(line: &[u8], at: usize) -> String {
    const BEFORE: usize = 24;
    const LONGEST: usize = 64;
    let start = if line.len() <= LONGEST { 0 } else { at.saturating_sub(BEFORE).min(line.len()) };
    let end = line.len().min(start + LONGEST);
    let piece: String = String::from_utf8_lossy(&line[start..end]).escape_debug().collect();
    let (before, after) = (if start > 0 { "…" } else { "" }, if end < line.len() { "…" } else { "" });
    format!("`{before}{piece}{after}`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Comparison; 5] = [
        Comparison::Exact,
        Comparison::Lines,
        Comparison::Tokens,
        Comparison::Float { epsilon: 1e-6 },
        Comparison::Unordered,
    ];

    fn ok(comparison: Comparison, expected: &str, actual: &str) -> bool {
        comparison.compare(expected.as_bytes(), actual.as_bytes()).is_ok()
    }

    fn why(comparison: Comparison, expected: &str, actual: &str) -> String {
        comparison.compare(expected.as_bytes(), actual.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn lines_are_judge0s() {
        for (expected, actual) in [
            ("a\nb", "a\r\nb\r\n"),
            ("a", "a \t\x0b\x0c\0\n\n \n"),
            ("", "\n\n"),
            ("a\n\nb", "a\n \nb"),
            ("\n", ""),
        ] {
            assert!(ok(Comparison::Lines, expected, actual), "{expected:?} {actual:?}");
        }
        for (expected, actual) in [("a", " a"), ("a b", "a  b"), ("a\nb", "a\n\nb"), ("a", "A"), ("", "\na")]
        {
            assert!(!ok(Comparison::Lines, expected, actual), "{expected:?} {actual:?}");
        }
    }

    #[test]
    fn tokens_and_floats() {
        assert!(ok(Comparison::Tokens, "1 2\n3", "  1\t2 3\n\n"));
        assert!(!ok(Comparison::Tokens, "1 2", "12"));
        let float = Comparison::Float { epsilon: 1e-6 };
        for actual in ["0.3333333", "3.333333e-1", " +0.33333330 ", "0.333334"] {
            assert!(ok(float, "0.333333333", actual), "{actual}");
        }
        assert!(ok(float, "1000000000", "1000000500"));
        assert!(ok(float, "x 1 nan inf", "x 1.0 NaN infinity"));
        assert!(ok(float, "0", "-0.0"));
        for actual in ["0.3334", "nan", "inf", "x", ""] {
            assert!(!ok(float, "0.333333333", actual), "{actual}");
        }
        assert!(!ok(float, "inf", "-inf"));
        assert!(!ok(float, "inf", "1e308"));
        assert!(!ok(float, "1", &format!("1{}", ".0".repeat(500))));
    }

    #[test]
    fn unordered_counts_lines() {
        assert!(ok(Comparison::Unordered, "a\nb\na\n", "\na \na\n\nb"));
        assert_eq!(why(Comparison::Unordered, "a\nb", "a\na"), "line 2: found `a` once too often");
        assert_eq!(why(Comparison::Unordered, "a\nb", "a\nc"), "line 2: did not expect `c`");
        assert_eq!(why(Comparison::Unordered, "a\nb\nc", "b"), "the line `a` is missing");
    }

    #[test]
    fn differences_are_short_and_show_the_place() {
        assert_eq!(why(Comparison::Exact, "a\nb\n", "a\nb"), "line 2: expected `b\\n`, found `b`");
        assert_eq!(
            why(Comparison::Exact, "a\n", "a\nb"),
            "line 2: expected the end of the output, found `b`"
        );
        assert_eq!(why(Comparison::Tokens, "1 2", "1"), "token 2: expected `2`, found the end of the output");
        assert_eq!(why(Comparison::Lines, "a", "\x1b[31m"), "line 1: expected `a`, found `\\u{1b}[31m`");
        let (expected, actual) =
            ("x".repeat(5000), format!("{}y{}", "x".repeat(4000), "x".repeat(9_000_000)));
        let why = why(Comparison::Lines, &expected, &actual);
        assert!(why.len() < 200 && why.contains('y') && why.contains('…'), "{why}");
    }

    #[test]
    fn names_are_parsed_and_printed() {
        for comparison in ALL {
            assert_eq!(comparison.to_string().parse::<Comparison>().unwrap(), comparison);
        }
        assert_eq!("float:0.001".parse::<Comparison>().unwrap(), Comparison::Float { epsilon: 0.001 });
        for text in ["", "floats", "float:", "float:-1", "float:nan", "float:inf", "Exact"] {
            assert!(text.parse::<Comparison>().is_err(), "{text}");
        }
    }

    /// Judge0's own words: split, right-strip each, join, right-strip.
    fn judge0(text: &[u8]) -> Vec<u8> {
        let joined =
            text.split(|b| *b == b'\n').map(|line| trim_end(line).to_vec()).collect::<Vec<_>>().join(&b'\n');
        trim_end(&joined).to_vec()
    }

    proptest! {
        #[test]
        fn lines_agree_with_the_rule_in_words(left in "[ab \t\r\n\0]{0,12}", right in "[ab \t\r\n\0]{0,12}") {
            let same = judge0(left.as_bytes()) == judge0(right.as_bytes());
            prop_assert_eq!(ok(Comparison::Lines, &left, &right), same);
        }

        #[test]
        fn anything_is_compared(expected: Vec<u8>, actual: Vec<u8>) {
            for comparison in ALL {
                prop_assert!(comparison.compare(&expected, &expected).is_ok());
                if let Err(difference) = comparison.compare(&expected, &actual) {
                    prop_assert!(difference.to_string().len() < 2000);
                    let reverse = comparison.compare(&actual, &expected);
                    // Floats are measured by the expected one.
                    let may_differ = matches!(comparison, Comparison::Float { .. });
                    prop_assert!(reverse.is_err() || may_differ);
                }
            }
        }

        #[test]
        fn order_does_not_matter_to_unordered(mut lines in prop::collection::vec("[ab]{0,3}", 0..8)) {
            let expected = lines.join("\n");
            lines.reverse();
            prop_assert!(ok(Comparison::Unordered, &expected, &lines.join("\n")));
        }

        #[test]
        fn floats_within_epsilon_are_close(number in -1e9..1e9_f64, share in -0.9..0.9_f64) {
            let off = number + share * 1e-6 * number.abs().max(1.0);
            let float = Comparison::Float { epsilon: 1e-6 };
            prop_assert!(ok(float, &number.to_string(), &off.to_string()));
        }
    }
}
