//! [`Source`]: the program that failed, as far as rules look at it.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::text::clip;

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

fn is_blank_or_comment(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with("//") || line.starts_with("# ") || line.starts_with("--")
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
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
