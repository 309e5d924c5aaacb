//! What a Java source file must be called, and which of its classes is run.
//!
//! `javac` insists that a public class `X` is in `X.java`, and `java` must be
//! told the class that has `main`. Learners paste programs with any name, so
//! both are read from the source: by its tokens, in one pass, for it may be
//! megabytes of anything.

/// What was found in a Java source file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct JavaFile {
    /// The package that it declares.
    pub(crate) package: Option<String>,
    /// Its public class, or else the one that has `main`, or else the first.
    pub(crate) file_class: Option<String>,
    /// The outermost class that has a `main`.
    pub(crate) main_class: Option<String>,
}

impl JavaFile {
    /// Reads a source file, however broken.
    pub(crate) fn read(source: &[u8]) -> Self {
        let mut found = Self::default();
        let mut tokens = Tokens { rest: source };
        let (mut depth, mut previous) = (0_usize, Token::Symbol(b';'));
        let (mut is_public, mut public, mut first) = (false, None, None);
        // The outermost class that is open, or is about to be.
        let mut class: Option<String> = None;
        while let Some(token) = tokens.next() {
            match (depth, previous, token) {
                (0, _, Token::Word(b"package")) if first.is_none() => found.package = tokens.qualified_name(),
                (0, _, Token::Word(b"public")) => is_public = true,
                (0, Token::Word(b"class" | b"interface" | b"enum" | b"record"), Token::Word(name)) => {
                    let name = text(name);
                    first = first.or_else(|| Some(name.clone()));
                    if is_public {
                        public = public.or_else(|| Some(name.clone()));
                    }
                    class = Some(name);
                }
                (1, Token::Word(b"void"), Token::Word(b"main")) => {
                    found.main_class = found.main_class.or_else(|| class.clone());
                }
                (_, _, Token::Symbol(b'{')) => depth += 1,
                (_, _, Token::Symbol(b'}')) => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && matches!(token, Token::Symbol(b'}' | b';')) {
                is_public = false;
            }
            previous = token;
        }
        found.file_class = public.or_else(|| found.main_class.clone()).or(first);
        found
    }

    /// The class to run, with its package.
    pub(crate) fn qualified_main(&self) -> Option<String> {
        let main = self.main_class.as_ref()?;
        Some(match &self.package {
            Some(package) => format!("{package}.{main}"),
            None => main.clone(),
        })
    }
}

/// Names are of UTF-8 in any file that compiles.
fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a [u8]),
    Symbol(u8),
}

/// The tokens of a source, without comments and literals.
struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    /// The name that follows, such as `org.example.app`.
    fn qualified_name(&mut self) -> Option<String> {
        let mut name = String::new();
        for token in self.by_ref() {
            match token {
                Token::Word(word) => name.push_str(&text(word)),
                Token::Symbol(b'.') => name.push('.'),
                Token::Symbol(_) => break,
            }
        }
        (!name.is_empty()).then_some(name)
    }

    /// Goes on behind the next `end`, or to the end of the source.
    fn skip_past(&mut self, end: &[u8]) {
        let at = self.rest.windows(end.len()).position(|window| window == end);
        self.rest = at.map_or(&[], |at| &self.rest[at + end.len()..]);
    }

    /// Goes on behind a literal that ends with `quote`, or at the line's end.
    fn skip_literal(&mut self, quote: u8) {
        while let Some((&byte, rest)) = self.rest.split_first() {
            self.rest = rest;
            match byte {
                b'\\' => self.rest = rest.get(1..).unwrap_or_default(),
                b'\n' => return,
                _ if byte == quote => return,
                _ => {}
            }
        }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let (&byte, rest) = self.rest.split_first()?;
            let source = self.rest;
            self.rest = rest;
            match byte {
                b'/' if rest.first() == Some(&b'/') => self.skip_past(b"\n"),
                b'/' if rest.first() == Some(&b'*') => {
                    self.rest = &rest[1..];
                    self.skip_past(b"*/");
                }
                b'"' if rest.starts_with(b"\"\"") => {
                    self.rest = &rest[2..];
                    self.skip_past(b"\"\"\"");
                }
                b'"' | b'\'' => self.skip_literal(byte),
                _ if byte.is_ascii_whitespace() => {}
                _ if is_word(byte) => {
                    let length = source.iter().take_while(|byte| is_word(**byte)).count();
                    self.rest = &source[length..];
                    return Some(Token::Word(&source[..length]));
                }
                _ => return Some(Token::Symbol(byte)),
            }
        }
    }
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(source: &str) -> (Option<String>, Option<String>) {
        let file = JavaFile::read(source.as_bytes());
        (file.file_class.clone(), file.qualified_main())
    }

    fn names(file: &str, main: &str) -> (Option<String>, Option<String>) {
        (Some(file.to_owned()), Some(main.to_owned()))
    }

    const MAIN: &str = "public static void main(String[] a) {}";

    #[test]
    fn the_public_class_names_the_file_and_main_is_run() {
        assert_eq!(read(&format!("public class Sum {{ {MAIN} }}")), names("Sum", "Sum"));
        assert_eq!(read(&format!("class A {{}} class B {{ {MAIN} }}")), names("B", "B"));
        assert_eq!(read(&format!("public class A {{}} class B {{ {MAIN} }}")), names("A", "B"));
        assert_eq!(read(&format!("public final class A {{ {MAIN} }}")), names("A", "A"));
        assert_eq!(read(&format!("@Fancy(x = 1) public record P(int x) {{ {MAIN} }}")), names("P", "P"));
        assert_eq!(read(&format!("package a.b ;\npublic class A {{ {MAIN} }}")), names("A", "a.b.A"));
        assert_eq!(read("interface I {} enum E { X }"), (Some("I".to_owned()), None));
    }

    #[test]
    fn comments_literals_and_inner_classes_do_not_mislead() {
        let source = r#"
            // public class Comment { public static void main(String[] a) {} }
            /* public class Block { */
            import java.util.*;
            class Helper { String s = "public class Text {\" {"; char c = '{', d = '\''; class Inner {} }
            class Real {
                static class Nested { public static void main(String[] a) {} }
                String t = """
                    public class TextBlock { " {{
                    """;
                public static void main(String[] a) { Class<?> c = Real.class; }
            }
        "#;
        assert_eq!(read(source), names("Real", "Real"));
    }

    #[test]
    fn nothing_is_found_in_nonsense() {
        assert_eq!(read(""), (None, None));
        assert_eq!(read("}}}} /* \" ' \\"), (None, None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(source: Vec<u8>) {
            JavaFile::read(&source);
        }

        #[test]
        fn any_text_of_tokens_is_read(source in "(public |class |[{}\"'\\\\/*;\n]|void main|X ){0,60}") {
            JavaFile::read(source.as_bytes());
        }
    }
}
