//! Diagnostics of gcc, clang, swiftc and those who write like them.

use super::place::{self, Placed};
use super::{MOST, Report, is_library};
use crate::diagnostic::{Diagnostic, Severity};

/// The diagnostics of `file:line:column: error: …` and what belongs to each.
pub(super) fn parse(report: &Report<'_>, tool: &'static str) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut context = Context::default();
    for line in report.stderr.lines() {
        let placed = place::read(line);
        if let Some(placed) = placed.as_ref().and_then(|p| Some((p, place::severity(p.rest)?))) {
            let (placed, (severity, message)) = placed;
            if severity == Severity::Note {
                if let Some(last) = found.last_mut() {
                    last.push_detail(&format!("note: {message}"));
                }
                continue;
            }
            if found.len() == MOST {
                break;
            }
            let diagnostic = Diagnostic::new(tool, option(message), message).with_severity(severity);
            found.push(context.locate(diagnostic, placed, report));
        } else if let Some(function) = function(line) {
            context.function = function.to_owned();
        } else if let Some(placed) = placed.filter(|placed| is_instantiation(placed.rest)) {
            context.instantiation(&placed, report);
        } else if let Some(message) =
            line.strip_prefix("clang: error: ").or_else(|| line.strip_prefix("gcc: error: "))
        {
            // What the linker said itself tells more.
            if !message.starts_with("linker command failed") {
                found.push(Diagnostic::new("driver", "", message));
            }
        } else if let Some(last) = found.last_mut() {
            if let Some(code) = snippet(line).filter(|_| last.snippet.is_empty()) {
                code.clone_into(&mut last.snippet);
            }
            last.push_detail(line);
        }
    }
    found
}

/// What the lines before a diagnostic say about it.
#[derive(Default)]
struct Context {
    function: String,
    /// Where the learner's code asked for a template.
    required_from: Option<(String, u32, u32)>,
}

impl Context {
    fn instantiation(&mut self, placed: &Placed<'_>, report: &Report<'_>) {
        // The last is the outermost: where the learner's own code asked.
        if report.is_own(placed.file) || !is_library(placed.file) {
            self.required_from = Some((placed.file.to_owned(), placed.line, placed.column));
        }
    }

    fn locate(&mut self, diagnostic: Diagnostic, placed: &Placed<'_>, report: &Report<'_>) -> Diagnostic {
        let in_library = !report.is_own(placed.file) && is_library(placed.file);
        let mut diagnostic = match self.required_from.take().filter(|_| in_library) {
            Some((file, line, column)) => diagnostic.at(&file, line, column),
            None => diagnostic.at(placed.file, placed.line, placed.column),
        };
        diagnostic.in_library = in_library;
        diagnostic.function.clone_from(&self.function);
        diagnostic
    }
}

/// The option that a message names at its end: `[-Werror=return-type]`.
fn option(message: &str) -> &str {
    message.rsplit_once(" [-W").and_then(|(_, option)| option.strip_suffix(']')).unwrap_or_default()
}

/// `main.c: In function ‘main’:`, in the language of gcc's messages.
fn function(line: &str) -> Option<&str> {
    let (_, said) = line.strip_suffix(':')?.split_once(": ")?;
    if !said.starts_with(|c: char| c.is_uppercase()) {
        return None;
    }
    let open = said.find(['‘', '»', '«', '\''])?;
    let inside = said[open..].trim_start_matches(['‘', '»', '«', '\'', '\u{a0}']);
    let signature = inside.trim_end_matches(['’', '«', '»', '\'', '\u{a0}']);
    let name = signature.split(['(', '[']).next()?.trim();
    name.rsplit([' ', '*', '&', ':']).next().filter(|name| !name.is_empty())
}

fn is_instantiation(rest: &str) -> bool {
    ["required from", "required by", "recursively required", "erfordert durch", "in instantiation of"]
        .iter()
        .any(|words| rest.starts_with(words))
}

/// The code of `    4 |     printf(…)`, or of clang's bare line.
fn snippet(line: &str) -> Option<&str> {
    match line.split_once(" | ") {
        Some((number, code))
            if number.trim().bytes().all(|b| b.is_ascii_digit()) && !number.trim().is_empty() =>
        {
            Some(code)
        }
        Some(_) => None,
        None => (line.starts_with([' ', '\t']) && !line.trim().is_empty()).then_some(line),
    }
}
