//! [`Source`]: the program that failed, as far as rules look at it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::LazyLock;

use regex::Regex;

use crate::text::{clip, is_name};

/// How much of a source is read; nobody writes more by hand.
const MOST: usize = 1 << 20;

/// The main source file of a program.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    text: Cow<'a, str>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let text = match String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)]) {
            Cow::Borrowed(text) => Cow::Borrowed(clip(text, MOST)),
            owned => owned,
        };
        Self { text }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// The line of this number, from 1.
    pub(crate) fn line(&self, number: u32) -> Option<&str> {
        self.text.lines().nth(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// The last line before this one that is neither blank nor a comment.
    pub(crate) fn line_before(&self, number: u32) -> Option<&str> {
        let before = usize::try_from(number).ok()?.saturating_sub(1);
        self.text.lines().take(before).filter(|line| !is_blank_or_comment(line)).last()
    }

    /// The first function that calls itself, in a language of braces, and
    /// whether its body has a condition that could end that.
    pub(crate) fn recursive_function(&self) -> Option<(&str, bool)> {
        static HEADER: LazyLock<Option<Regex>> =
            LazyLock::new(|| Regex::new(r"([A-Za-z_]\w*)\s*\([^;{}]*?\)\s*(?:->[^{;]*|const\s*)?\{").ok());
        let text = self.text();
        let header = HEADER.as_ref()?;
        header.captures_iter(text).take(FUNCTIONS).find_map(|found| {
            let name = found.get(1)?;
            let body = body(&text[found.get(0)?.end()..]);
            let calls = |at: usize| {
                let before = body[..at].chars().next_back().is_none_or(|c| !is_name(c));
                before && body[at + name.len()..].trim_start().starts_with('(')
            };
            let condition = ["if", "while", "for", "switch", "?", "&&", "||", "match"];
            let ends = condition.iter().any(|word| body.contains(word));
            (!["if", "while", "for", "switch"].contains(&name.as_str()))
                .then(|| body.match_indices(name.as_str()).any(|(at, _)| calls(at)))?
                .then_some((name.as_str(), ends))
        })
    }

    /// The names in the program, outside of its strings and comments, each
    /// once, in the order of their first use.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        let mut names = Vec::new();
        for line in self.text.lines() {
            names_of_line(line, &mut |name| {
                if seen.insert(name) {
                    names.push(name);
                }
            });
        }
        names
    }
}

/// How many functions are searched for one that calls itself.
const FUNCTIONS: usize = 50;
/// How long a function's body may be.
const BODY: usize = 16 << 10;

/// The text up to the brace that closes what was just opened.
fn body(text: &str) -> &str {
    let text = clip(text, BODY);
    let mut depth = 1;
    let end = text.find(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    &text[..end.unwrap_or(text.len())]
}

fn is_blank_or_comment(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with("//") || line.starts_with("# ") || line.starts_with("--")
}

fn names_of_line<'a>(line: &'a str, found: &mut impl FnMut(&'a str)) {
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let behind = &rest[c.len_utf8()..];
        if is_name(c) {
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            if !c.is_numeric() {
                found(&rest[..end]);
            }
            rest = &rest[end..];
        } else if c == '"' || c == '\'' {
            // An apostrophe that has no partner is a lifetime or a typo.
            rest = behind.find(c).map_or(behind, |end| &behind[end + 1..]);
        } else if (c == '#' && !behind.starts_with(is_name)) || rest.starts_with("//") {
            return;
        } else {
            rest = behind;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_is_code() {
        let source = Source::new(b"total = count('apples') # not this\nx2 = \"nor this\" + total // no\n");
        assert_eq!(source.names(), ["total", "count", "x2"]);
    }

    #[test]
    fn lines_are_counted_from_one() {
        let source = Source::new(b"a\n\n// b\nc\n");
        assert_eq!(source.line(1), Some("a"));
        assert_eq!(source.line(0), None);
        assert_eq!(source.line(9), None);
        assert_eq!(source.line_before(4), Some("a"));
        assert_eq!(source.line_before(1), None);
    }
}
