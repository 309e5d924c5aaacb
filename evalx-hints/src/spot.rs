//! [`Spot`]: what stands in a line of the program, around the column that a
//! tool points to.

use crate::text::is_name;

/// A line of code and a column in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot<'a> {
    line: &'a str,
    /// From 1; 0 if unknown.
    column: u32,
}

/// What a type follows, besides a colon.
const BEFORE_TYPES: [&str; 5] = [" as", " extends", " implements", " is", " keyof"];
/// Words of Go before a name that are no variable's.
const GO_KEYWORDS: [&str; 9] = ["return", "if", "for", "range", "case", "switch", "go", "defer", "else"];
/// Words whose parentheses hold no arguments.
const NOT_CALLED: [&str; 4] = ["if", "while", "for", "switch"];

impl<'a> Spot<'a> {
    pub(crate) const fn new(line: &'a str, column: u32) -> Self {
        Self { line, column }
    }

    fn parts(self) -> Option<(&'a str, &'a str)> {
        self.line.split_at_checked(usize::try_from(self.column).ok()?.checked_sub(1)?)
    }

    fn before(self) -> Option<&'a str> {
        self.parts().map(|(before, _)| before)
    }

    fn behind(self) -> Option<&'a str> {
        self.parts().map(|(_, behind)| behind)
    }

    /// Whether a type stands here: `x: Name`.
    pub(crate) fn is_of_type(self) -> bool {
        self.before().map(str::trim_end).is_some_and(|before| {
            before.ends_with([':', '<', '|']) || BEFORE_TYPES.iter().any(|word| before.ends_with(word))
        })
    }

    /// Whether a type stands here in Go, where it follows its variable:
    /// `x name`, `[]name`, `*name`.
    pub(crate) fn is_of_type_in_go(self) -> bool {
        self.before().is_some_and(|before| {
            let trimmed = before.trim_end();
            let follows = before.ends_with([']', '*'])
                || before.ends_with(' ') && trimmed.ends_with(|c| is_name(c) || c == ')');
            follows && !GO_KEYWORDS.contains(&last_name(trimmed))
        })
    }

    /// Whether a declaration begins here: `(Name x`.
    pub(crate) fn begins_declaration(self) -> bool {
        self.before().is_some_and(|before| {
            let before = before.trim_end().trim_end_matches("const").trim_end();
            before.is_empty() || before.ends_with(['(', ',', '<', '{', ';'])
        })
    }

    /// The name here, or behind the dot here.
    pub(crate) fn name(self) -> Option<&'a str> {
        let behind = self.behind()?.trim_start_matches(['.', ' ', '?', '-', '>', ':']);
        Some(&behind[..behind.find(|c| !is_name(c)).unwrap_or(behind.len())])
    }

    /// The name of the function whose call begins here.
    pub(crate) fn called(self) -> Option<&'a str> {
        let (called, _) = self.behind()?.split_once('(')?;
        Some(last_name(called.split("::<").next().unwrap_or(called).trim()))
    }

    /// What follows on the line, without a comment.
    pub(crate) fn rest(self) -> Option<&'a str> {
        self.behind()?.trim().split("//").next()?.split("/*").next()
    }

    /// The function whose arguments this is among.
    pub(crate) fn call_around(self) -> Option<&'a str> {
        let before = self.before()?;
        let mut closed = 0;
        for (at, c) in before.char_indices().rev() {
            match c {
                ')' => closed += 1,
                '(' if closed > 0 => closed -= 1,
                '(' => {
                    let name = last_name(before[..at].trim_end());
                    return Some(name).filter(|name| !name.is_empty() && !NOT_CALLED.contains(name));
                }
                _ => {}
            }
        }
        None
    }
}

/// The name that a text ends with; empty if it ends with something else.
fn last_name(text: &str) -> &str {
    text.rsplit(|c| !is_name(c)).next().unwrap_or_default()
}

/// Whether a name is looked up in something: `x.name`, `S::name`.
pub(crate) fn stands_behind_dot(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let ends = !line[at + name.len()..].starts_with(is_name);
        let before = &line[..at];
        // A space behind `->` makes it the arrow of a lambda.
        ends && (before.trim_end().ends_with('.') || before.ends_with("::") || before.ends_with("->"))
    })
}

/// The bracket of a line that is still open at its end, or as an error the one
/// that closes nothing; braces go over lines and do not count.
pub(crate) fn brackets(line: &str) -> Result<Option<&'static str>, &'static str> {
    let mut open = Vec::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '"' | '\'' | '`' => rest = rest.find(c).map_or(rest, |end| &rest[end + c.len_utf8()..]),
            '(' => open.push("("),
            '[' => open.push("["),
            ')' if open.pop() != Some("(") => return Err(")"),
            ']' if open.pop() != Some("[") => return Err("]"),
            '/' if rest.starts_with('/') => break,
            _ => {}
        }
    }
    Ok(open.pop())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The spot that is marked by `^`.
    fn at(marked: &str) -> Spot<'static> {
        let column = u32::try_from(marked.find('^').unwrap()).unwrap() + 1;
        Spot::new(marked.replace('^', "").leak(), column)
    }

    #[test]
    fn what_stands_around_a_column_is_found() {
        assert_eq!(at("print(to^tal)").call_around(), Some("print"));
        assert_eq!(at("f(g(1), ^x)").call_around(), Some("f"));
        assert_eq!(at("if (^x)").call_around(), None);
        assert_eq!(at("^").call_around(), None);
        assert_eq!(at("ä + ^übel;").name(), Some("übel"));
        assert_eq!(at("a^->b(c)").name(), Some("b"));
        assert_eq!(at("^Vec::<u8>::from(x)").called(), Some("Vec"));
        assert_eq!(at("x.^push(1)").called(), Some("push"));
        assert_eq!(at("^return 1; // why").rest(), Some("return 1; "));
    }

    #[test]
    fn types_are_told_by_what_is_before_them() {
        assert!(at("let x: ^Name").is_of_type());
        assert!(at("class A extends ^B").is_of_type());
        assert!(!at("x = ^y").is_of_type());
        assert!(at("var x ^name").is_of_type_in_go());
        assert!(at("var x []^name").is_of_type_in_go());
        assert!(!at("return ^name").is_of_type_in_go());
        assert!(at("f(const ^Name x)").begins_declaration());
        assert!(!at("x = ^Name").begins_declaration());
    }

    #[test]
    fn a_column_that_is_none_of_the_line_says_nothing() {
        for column in [0, 2, 9, u32::MAX] {
            let spot = Spot::new("ä(b)", column);
            assert_eq!(
                (spot.name(), spot.rest(), spot.begins_declaration()),
                (None, None, false),
                "{column}"
            );
        }
    }
}
