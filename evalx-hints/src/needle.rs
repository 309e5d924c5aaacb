//! [`Needles`]: what must occur in a text for a pattern to match it.
//!
//! A language has hundreds of patterns, and compiling one takes as long as
//! explaining a failure. So each is compiled when a text first has the plain
//! words that the pattern demands, which are read off it here.

use std::iter::Peekable;
use std::str::Chars;

/// The words of a pattern of which at least one is in every text that it
/// matches; if there are none, it may match any.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Needles(Vec<String>);

impl Needles {
    /// Reads them off a pattern. It is cautious: where the pattern has what is
    /// not known here, there are none.
    pub(crate) fn of(pattern: &str) -> Self {
        let mut reader = Reader { rest: pattern.chars().peekable() };
        match reader.alternatives() {
            // All of it must have been read.
            Some(needles) if reader.rest.peek().is_none() => needles,
            _ => Self::default(),
        }
    }

    /// Whether the pattern may match this text.
    pub(crate) fn allow(&self, text: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|needle| text.contains(needle.as_str()))
    }

    /// How much they exclude: the length of the shortest.
    fn strength(&self) -> usize {
        self.0.iter().map(String::len).min().unwrap_or(0)
    }
}

/// More alternatives than these are not worth the search.
const MOST: usize = 24;

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Reader<'_> {
    /// `a|b`, up to the bracket that closes it; nothing if it is not understood.
    fn alternatives(&mut self) -> Option<Needles> {
        let mut all = self.sequence()?;
        while self.rest.next_if_eq(&'|').is_some() {
            let other = self.sequence()?;
            let known = !all.0.is_empty() && !other.0.is_empty() && all.0.len() + other.0.len() <= MOST;
            match known {
                true => all.0.extend(other.0),
                false => all.0.clear(),
            }
        }
        Some(all)
    }

    /// One alternative: the strongest of what all its parts demand.
    fn sequence(&mut self) -> Option<Needles> {
        let mut best = Needles::default();
        let mut run = String::new();
        while let Some(&c) = self.rest.peek() {
            match c {
                '|' | ')' => break,
                '(' => {
                    keep(&mut best, &mut run);
                    self.rest.next();
                    let inside = self.group()?;
                    if !self.is_optional()? && inside.strength() > best.strength() {
                        best = inside;
                    }
                }
                '[' => {
                    keep(&mut best, &mut run);
                    self.rest.next();
                    self.class()?;
                    self.is_optional()?;
                }
                '.' | '^' | '$' => {
                    keep(&mut best, &mut run);
                    self.rest.next();
                    self.is_optional()?;
                }
                '*' | '+' | '?' | '{' => return None,
                _ => {
                    self.rest.next();
                    match if c == '\\' { self.escape()? } else { Escape::Literal(c) } {
                        Escape::Boundary => {}
                        Escape::Class => {
                            keep(&mut best, &mut run);
                            self.is_optional()?;
                        }
                        Escape::Literal(c) => {
                            let repeated = self.rest.peek().is_some_and(|c| "*+?{".contains(*c));
                            if !repeated {
                                run.push(c);
                            } else if self.is_optional()? {
                                keep(&mut best, &mut run);
                            } else {
                                run.push(c);
                                keep(&mut best, &mut run);
                            }
                        }
                    }
                }
            }
        }
        keep(&mut best, &mut run);
        Some(best)
    }

    /// Behind `(`: `?:`, `?<name>` or flags, and what is inside.
    fn group(&mut self) -> Option<Needles> {
        if self.rest.next_if_eq(&'?').is_some() {
            let _ = self.rest.next_if_eq(&'P');
            if self.rest.next_if_eq(&'<').is_some() {
                self.rest.by_ref().find(|c| *c == '>')?;
            } else {
                loop {
                    match self.rest.next()? {
                        ':' => break,
                        // Flags of what follows, without a group of their own.
                        ')' => return Some(Needles::default()),
                        'm' | 's' => {}
                        _ => return None,
                    }
                }
            }
        }
        let inside = self.alternatives()?;
        self.rest.next_if_eq(&')').map(|_| inside)
    }

    /// Behind `[`, up to the bracket that closes it.
    fn class(&mut self) -> Option<()> {
        let _ = self.rest.next_if_eq(&'^');
        let _ = self.rest.next_if_eq(&']');
        let mut depth = 1;
        while depth > 0 {
            match self.rest.next()? {
                '\\' => drop(self.rest.next()?),
                '[' => depth += 1,
                ']' => depth -= 1,
                _ => {}
            }
        }
        Some(())
    }

    /// Takes a repetition; whether it allows none at all.
    fn is_optional(&mut self) -> Option<bool> {
        let optional = match self.rest.peek() {
            Some('*' | '?') => true,
            Some('+') => false,
            Some('{') => {
                // However many: it is not worth knowing.
                self.rest.by_ref().find(|c| *c == '}')?;
                let _ = self.rest.next_if_eq(&'?');
                return Some(true);
            }
            _ => return Some(false),
        };
        self.rest.next();
        // `+?` takes as little as possible.
        let _ = self.rest.next_if_eq(&'?');
        Some(optional)
    }

    /// Behind `\`.
    fn escape(&mut self) -> Option<Escape> {
        Some(match self.rest.next()? {
            'b' | 'B' => Escape::Boundary,
            'w' | 'W' | 'd' | 'D' | 's' | 'S' => Escape::Class,
            'n' => Escape::Literal('\n'),
            't' => Escape::Literal('\t'),
            c if c.is_ascii_alphanumeric() => return None,
            c => Escape::Literal(c),
        })
    }
}

enum Escape {
    Literal(char),
    Class,
    Boundary,
}

/// Ends a run of plain characters, and keeps it if it is the strongest so far.
fn keep(best: &mut Needles, run: &mut String) {
    let run = std::mem::take(run);
    if run.len() > best.strength() {
        best.0 = vec![run];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_a_pattern_demands_are_found() {
        for (pattern, words) in [
            (
                r"^'(?<name>\w+)' was not declared(?:; did you mean '(?<meant>\w+)')?",
                &["' was not declared"][..],
            ),
            (r"^(?:too few|too many) arguments", &[" arguments"]),
            (r"^cannot find (?:module|package)$", &["cannot find "]),
            (r"^(?:unterminated|unclosed)", &["unterminated", "unclosed"]),
            (r"colou?r", &["colo"]),
            (r"go+gle", &["gle"]),
            (r"a\.b\b c", &["a.b c"]),
            (r"^[[:alpha:]\]]+ is no", &[" is no"]),
            (r"x{2}yz", &["yz"]),
            // Of these nothing is known.
            (r"^(?s:.*)", &[]),
            (r"\w+|abc", &[]),
            (r"(?i)abc", &[]),
            (r"\p{L}abc", &[]),
            (r"", &[]),
        ] {
            assert_eq!(Needles::of(pattern).0, words, "{pattern}");
        }
    }

    #[test]
    fn texts_without_the_words_are_refused() {
        let needles = Needles::of("^(?:unterminated|unclosed) ");
        assert!(needles.allow("unclosed string"));
        assert!(!needles.allow("a string"));
        assert!(Needles::default().allow(""));
    }
}
