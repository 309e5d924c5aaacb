//! Diagnostics of GHC, and what its runtime says of an exception.

use super::place;
use super::{MOST, Report};
use crate::diagnostic::{Diagnostic, Severity};

pub(super) fn parse(report: &Report<'_>) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    for line in report.stderr.lines().chain(report.stdout.lines()) {
        let headline = place::read(line).and_then(|placed| {
            let (severity, message) = place::severity(placed.rest).or_else(|| {
                // `Main.hs:1:1: parse error …` of old versions.
                placed.rest.starts_with("parse error").then_some((Severity::Error, placed.rest))
            })?;
            Some((placed.file, placed.line, placed.column, severity, message))
        });
        if let Some((file, number, column, severity, message)) = headline {
            if found.len() == MOST {
                break;
            }
            // `error: [GHC-88464] Variable not in scope: total`
            let (code, message) = match message.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                Some((code, rest)) if code.starts_with("GHC-") || code.starts_with("-W") => {
                    (code, rest.trim())
                }
                _ => ("", message),
            };
            let mut diagnostic = Diagnostic::new("ghc", code, message).with_severity(severity);
            diagnostic = diagnostic.at(file, number, column);
            found.push(diagnostic);
        } else if let Some(last) = found.last_mut() {
            let text = line.trim_start_matches([' ', '•', '\u{2022}']);
            if last.message.is_empty() && !text.is_empty() {
                last.message = crate::text::plain_quotes(text);
            } else if let Some((number, code)) = line.split_once(" | ") {
                if number.trim().parse() == Ok(last.line) {
                    code.clone_into(&mut last.snippet);
                }
                last.push_detail(line);
            } else {
                last.push_detail(line);
            }
        } else if line.contains("is not defined in module") || line.starts_with("<command line>") {
            found.push(Diagnostic::new("ghc", "", line));
        }
    }
    found
}

/// `main: Prelude.head: empty list`
pub(super) fn parse_runtime(report: &Report<'_>) -> Vec<Diagnostic> {
    if ![1, 2, 251].into_iter().any(|code| report.may_have_exited(code)) {
        return Vec::new();
    }
    let lines: Vec<&str> = report.stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    let program = report.source_file.rsplit_once('.').map_or(report.source_file, |(stem, _)| stem);
    let begins = |line: &&&str| {
        let name = line.split(':').next().unwrap_or_default();
        !name.is_empty()
            && !name.contains([' ', '('])
            && line[name.len()..].starts_with(':')
            && (name.eq_ignore_ascii_case(program) || name.eq_ignore_ascii_case("main") || name == "a.out")
    };
    let Some(at) = lines.iter().rposition(|line| begins(&line)) else {
        let overflow =
            lines.iter().find(|line| line.contains("stack overflow") || line.contains("heap exhausted"));
        return overflow.map(|line| Diagnostic::new("haskell", "", line)).into_iter().collect();
    };
    let said = lines[at].split_once(':').map_or("", |(_, said)| said.trim());
    let said = if said.is_empty() { lines.get(at + 1).map_or("", |line| line.trim()) } else { said };
    let mut diagnostic = Diagnostic::new("haskell", "", said);
    // `Main.hs:1:8-44: Non-exhaustive patterns in case`
    if let Some(placed) = place::read(said) {
        diagnostic = Diagnostic::new("haskell", "", placed.rest).at(placed.file, placed.line, placed.column);
    }
    for line in &lines[at + 1..] {
        // `  error, called at Main.hs:3:5 in main:Main`
        let called = line.split_once(", called at ").and_then(|(_, place)| place.split(' ').next());
        let placed = called.map(|place| format!("{place}:"));
        if let Some(placed) = placed.as_deref().and_then(place::read).filter(|_| diagnostic.line == 0)
            && report.is_own(placed.file)
        {
            diagnostic = diagnostic.at(placed.file, placed.line, placed.column);
        }
        diagnostic.push_detail(line);
    }
    vec![diagnostic]
}
