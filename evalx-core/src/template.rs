//! Expansion of an argv with placeholders. No shell, no quoting, no recursion:
//! what is put in is never looked at again.

use crate::{ByteSize, Limits};

/// What the placeholders stand for.
#[derive(Debug)]
pub(crate) struct Template<'a> {
    pub(crate) source: &'a str,
    pub(crate) sources: &'a [String],
    pub(crate) output: &'a str,
    pub(crate) main_class: &'a str,
    pub(crate) options: &'a [String],
    pub(crate) arguments: &'a [String],
    pub(crate) limits: &'a Limits,
}

/// A piece of an argv's element.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

const LISTS: [&str; 3] = ["sources", "options", "arguments"];
const SCALARS: [&str; 6] = ["source", "stem", "output", "main_class", "memory_mb", "stack_mb"];

/// The largest stack that a Java virtual machine starts with.
const MOST_STACK_MB: u64 = 1024;

/// Splits an element. Only `{` + lower-case letters or `_` + `}` is a
/// placeholder; other braces are text.
fn pieces(mut element: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut text_end = 0;
    while let Some(open) = element[text_end..].find('{').map(|at| at + text_end) {
        let inside = &element[open + 1..];
        let length = inside.bytes().take_while(|b| b.is_ascii_lowercase() || *b == b'_').count();
        if length > 0 && inside.as_bytes().get(length) == Some(&b'}') {
            pieces.push(Piece::Text(&element[..open]));
            pieces.push(Piece::Placeholder(&inside[..length]));
            element = &inside[length + 1..];
            text_end = 0;
        } else {
            text_end = open + 1;
        }
    }
    pieces.push(Piece::Text(element));
    pieces.retain(|piece| *piece != Piece::Text(""));
    pieces
}

/// What is wrong with the placeholders of an argv.
pub(crate) fn check(argv: &[String]) -> Result<(), String> {
    for element in argv {
        let pieces = pieces(element);
        for piece in &pieces {
            match piece {
                Piece::Placeholder(name) if LISTS.contains(name) && pieces.len() > 1 => {
                    return Err(format!(
                        "has `{{{name}}}` inside of {element:?}: it must be an element by itself"
                    ));
                }
                Piece::Placeholder(name) if !LISTS.contains(name) && !SCALARS.contains(name) => {
                    return Err(format!(
                        "has the unknown placeholder `{{{name}}}`: there are {} and {}",
                        LISTS.join(", "),
                        SCALARS.join(", ")
                    ));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Expands an argv that was [checked](check).
pub(crate) fn expand(argv: &[String], values: &Template<'_>) -> Vec<String> {
    let mut expanded = Vec::with_capacity(argv.len());
    for element in argv {
        match pieces(element).as_slice() {
            [Piece::Placeholder("sources")] => expanded.extend_from_slice(values.sources),
            [Piece::Placeholder("options")] => expanded.extend_from_slice(values.options),
            [Piece::Placeholder("arguments")] => expanded.extend_from_slice(values.arguments),
            pieces => expanded.push(pieces.iter().map(|piece| values.text(piece)).collect()),
        }
    }
    expanded
}

impl Template<'_> {
    fn text(&self, piece: &Piece<'_>) -> String {
        // A runtime that is told of no memory at all would not start.
        let mib = |size: ByteSize| (size.as_u64() >> 20).max(1);
        match *piece {
            Piece::Text(text) => text.to_owned(),
            Piece::Placeholder("source") => self.source.to_owned(),
            Piece::Placeholder("stem") => stem(self.source).to_owned(),
            Piece::Placeholder("output") => self.output.to_owned(),
            Piece::Placeholder("main_class") => self.main_class.to_owned(),
            Piece::Placeholder("memory_mb") => mib(self.limits.memory).to_string(),
            Piece::Placeholder("stack_mb") => mib(self.limits.stack).min(MOST_STACK_MB).to_string(),
            Piece::Placeholder(name) => format!("{{{name}}}"),
        }
    }
}

/// A file's name without its folder and its extension.
pub(crate) fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or(name, |(stem, _)| if stem.is_empty() { name } else { stem })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn argv(elements: &[&str]) -> Vec<String> {
        elements.iter().map(ToString::to_string).collect()
    }

    fn expanded(elements: &[&str], options: &[&str]) -> Vec<String> {
        let (options, sources) = (argv(options), argv(&["src/a.c", "b.c"]));
        let values = Template {
            source: "src/a.c",
            sources: &sources,
            output: "main",
            main_class: "Main",
            options: &options,
            arguments: &[],
            limits: &Limits::default(),
        };
        expand(&argv(elements), &values)
    }

    #[test]
    fn lists_are_elements_and_scalars_are_text() {
        let argv = expanded(
            &["cc", "-o{output}", "{sources}", "{options}", "{arguments}", "{stem}.o", "-Xmx{memory_mb}m"],
            &["-O2", "a b"],
        );
        assert_eq!(argv, ["cc", "-omain", "src/a.c", "b.c", "-O2", "a b", "a.o", "-Xmx256m"]);
    }

    #[test]
    fn other_braces_are_text() {
        assert_eq!(
            expanded(&["{", "}", "{}", "{ x }", "{{output}}", "awk{print $1}"], &[]),
            ["{", "}", "{}", "{ x }", "{main}", "awk{print $1}"]
        );
    }

    #[test]
    fn what_is_put_in_is_not_expanded_again() {
        assert_eq!(expanded(&["{options}"], &["{source}", "$(id)", "`id`"]), ["{source}", "$(id)", "`id`"]);
    }

    #[test]
    fn wrong_placeholders_are_named() {
        assert!(check(&argv(&["{sauce}"])).unwrap_err().contains("{sauce}"));
        assert!(check(&argv(&["-I{options}"])).unwrap_err().contains("by itself"));
        check(&argv(&["{options}", "-o{output}", "{Other}"])).unwrap();
    }

    #[test]
    fn stems() {
        for (path, expected) in [("a/b.ts", "b"), ("b", "b"), (".profile", ".profile"), ("x.tar.gz", "x.tar")]
        {
            assert_eq!(stem(path), expected);
        }
    }

    proptest! {
        #[test]
        fn pieces_make_the_element_again(element: String) {
            let again: String = pieces(&element)
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => (*text).to_owned(),
                    Piece::Placeholder(name) => format!("{{{name}}}"),
                })
                .collect();
            prop_assert_eq!(again, element);
        }
    }
}
