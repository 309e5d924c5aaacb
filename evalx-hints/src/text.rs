//! From bytes that a hostile program chose to lines that a parser can read.
//!
//! Everything behind this module works on bounded text: whatever the size of
//! the output, its beginning and its end are kept, since compilers report the
//! cause first and running programs report it last.

use std::borrow::Cow;

/// How much of the beginning of an output is read.
const HEAD: usize = 256 << 10;
/// How much of its end.
const TAIL: usize = 512 << 10;
/// How long a line may be; what is behind is dropped.
const LINE: usize = 4 << 10;

/// The lines of an output: decoded, without colours and carriage returns, cut
/// to a bounded size.
pub(crate) fn clean(output: &[u8]) -> String {
    let text = match output.len() > HEAD + TAIL {
        true => {
            let head = String::from_utf8_lossy(&output[..HEAD]);
            let tail = String::from_utf8_lossy(&output[output.len() - TAIL..]);
            Cow::Owned(format!("{head}\n{tail}"))
        }
        false => String::from_utf8_lossy(output),
    };
    let mut cleaned = String::with_capacity(text.len());
    for line in text.split('\n') {
        push_line(&mut cleaned, line);
        cleaned.push('\n');
    }
    cleaned.pop();
    cleaned
}

fn push_line(cleaned: &mut String, line: &str) {
    let line = clip(line, LINE);
    if !line.bytes().any(|byte| byte < b' ' && byte != b'\t') {
        cleaned.push_str(line);
        return;
    }
    let mut rest = line;
    while let Some(at) = rest.find(|c: char| c < ' ' && c != '\t') {
        cleaned.push_str(&rest[..at]);
        rest = match rest[at..].strip_prefix('\x1b') {
            Some(sequence) => behind_escape(sequence),
            // Other control characters mean nothing in a message.
            None => &rest[at + 1..],
        };
    }
    cleaned.push_str(rest);
}

/// What follows an escape sequence of a terminal.
fn behind_escape(sequence: &str) -> &str {
    let mut characters = sequence.char_indices();
    match characters.next() {
        // Control sequence: parameters, then a letter or another final byte.
        Some((_, '[')) => characters
            .find(|(_, c)| ('\x40'..='\x7e').contains(c))
            .map_or("", |(at, c)| &sequence[at + c.len_utf8()..]),
        // Operating system command, as for hyperlinks: up to BEL or ST.
        Some((_, ']')) => match sequence.find(['\x07', '\x1b']) {
            Some(at) => sequence[at + 1..].strip_prefix('\\').unwrap_or(&sequence[at + 1..]),
            None => "",
        },
        Some((_, c)) => &sequence[c.len_utf8()..],
        None => "",
    }
}

/// The beginning of `text` of at most `most` bytes.
pub(crate) fn clip(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Makes every kind of quotation mark that tools put around names a plain
/// one, so that a rule is written once for every locale.
pub(crate) fn plain_quotes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '‘' | '’' | '»' | '`' | '‹' | '›' | '「' | '」' | '„' => plain.push('\''),
            '«' => {
                plain.push('\'');
                // French puts a space inside.
                while characters.next_if(|c| matches!(c, '\u{a0}' | '\u{202f}')).is_some() {}
            }
            '\u{a0}' | '\u{202f}' if characters.peek() == Some(&'»') => {}
            c => plain.push(c),
        }
    }
    plain
}

/// The last part of a path.
pub(crate) fn base_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// Whether a character may be part of a name, in any of the languages.
pub(crate) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_carriage_returns_go() {
        assert_eq!(clean(b"\x1b[01m\x1b[Kmain.c:1:\x1b[m\x1b[K x\r\ny"), "main.c:1: x\ny");
        assert_eq!(clean(b"\x1b]8;;http://a\x07link\x1b]8;;\x1b\\ z"), "link z");
        assert_eq!(clean(b"a\x1b[12"), "a");
    }

    #[test]
    fn beginning_and_end_of_much_are_kept() {
        let mut output = b"first\n".to_vec();
        output.extend(std::iter::repeat_n(b'x', 3 << 20));
        output.extend(b"\nlast");
        let cleaned = clean(&output);
        assert!(cleaned.starts_with("first\n") && cleaned.ends_with("\nlast"));
        assert!(cleaned.len() < HEAD + TAIL);
    }

    #[test]
    fn quotes_of_every_locale_are_plain() {
        assert_eq!(plain_quotes("‘a’ `b` »c« «\u{a0}d\u{a0}» `e'"), "'a' 'b' 'c' 'd' 'e'");
    }
}
