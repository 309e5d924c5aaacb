//! Diagnostics of rustc, and the panics of what it compiled.

use super::place;
use super::{MOST, Report, is_library};
use crate::diagnostic::{Diagnostic, Severity};

pub(super) fn parse(report: &Report<'_>) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    for line in report.stderr.lines() {
        if let Some(diagnostic) = headline(line) {
            if found.len() == MOST {
                break;
            }
            found.push(diagnostic);
        } else if let Some(last) = found.last_mut() {
            let arrow = line.trim_start().strip_prefix("--> ").filter(|_| last.line == 0);
            if let Some(placed) = arrow.and_then(|place| read_place(place)) {
                placed.0.clone_into(&mut last.file);
                (last.line, last.column) = (placed.1, placed.2);
                last.in_library = !report.is_own(placed.0);
                continue;
            }
            if let Some((number, code)) = line.split_once(" | ")
                && number.trim().parse() == Ok(last.line)
                && last.snippet.is_empty()
            {
                code.clone_into(&mut last.snippet);
            }
            last.push_detail(line);
        }
    }
    found
}

fn read_place(place: &str) -> Option<(&str, u32, u32)> {
    let mut parts = place.trim().rsplitn(3, ':');
    let column = parts.next()?.parse().ok()?;
    let line = parts.next()?.parse().ok()?;
    Some((parts.next()?, line, column))
}

/// `error[E0425]: cannot find value `total` in this scope`
fn headline(line: &str) -> Option<Diagnostic> {
    let (word, message) = line.split_once(": ")?;
    let (word, code) =
        word.split_once('[').map_or((word, ""), |(word, code)| (word, code.trim_end_matches(']')));
    let severity = match word {
        "error" | "error: internal compiler error" => Severity::Error,
        "warning" => Severity::Warning,
        _ => return None,
    };
    let summary = message.starts_with("aborting due to ") || message.starts_with("could not compile ");
    (!summary || severity != Severity::Error)
        .then(|| Diagnostic::new("rustc", code, message).with_severity(severity))
}

/// The last panic of a program.
pub(super) fn parse_panic(report: &Report<'_>) -> Vec<Diagnostic> {
    let lines: Vec<&str> = report.stderr.lines().collect();
    if let Some(line) = lines.iter().rfind(|line| line.contains("has overflowed its stack")) {
        return vec![Diagnostic::new("panic", "stack-overflow", line)];
    }
    if let Some(line) = lines.iter().rfind(|line| line.starts_with("memory allocation of ")) {
        return vec![Diagnostic::new("panic", "out-of-memory", line)];
    }
    if report.may_have_exited(101) || report.signal.is_some() {
        let main =
            lines.iter().rposition(|line| line.starts_with("thread '") && line.contains(" panicked at "));
        if let Some(at) = main {
            return vec![panic(&lines[at..], report)];
        }
    }
    if report.may_have_exited(1) {
        // `main` returned an error.
        let last = lines.iter().rfind(|line| !line.trim().is_empty());
        if let Some(error) = last.and_then(|line| line.strip_prefix("Error: ")) {
            return vec![Diagnostic::new("main-result", "", error)];
        }
    }
    Vec::new()
}

fn panic(lines: &[&str], report: &Report<'_>) -> Diagnostic {
    let (_, rest) = lines[0].split_once(" panicked at ").unwrap_or(("", lines[0]));
    // Before 1.73: `panicked at 'message', main.rs:4:21`.
    let (message, place) = match rest.strip_prefix('\'').and_then(|rest| rest.rsplit_once("', ")) {
        Some((message, place)) => (message, place),
        None => (lines.get(1).copied().unwrap_or_default(), rest.trim_end_matches(':')),
    };
    let mut diagnostic = Diagnostic::new("panic", "", message);
    let note = |line: &&&str| !line.starts_with("note: ") && !line.starts_with("stack backtrace");
    lines[1..].iter().skip(1).take_while(note).take(10).for_each(|line| diagnostic.push_detail(line));
    let mut parts = place.rsplitn(3, ':');
    let (column, line) = (parts.next(), parts.next());
    let file = parts.next().unwrap_or_default();
    let parse = |part: Option<&str>| part.and_then(|part| part.trim().parse().ok()).unwrap_or(0);
    if report.is_own(file) || !is_library(file) {
        diagnostic = diagnostic.at(file, parse(line), parse(column));
    }
    // With a backtrace, the first line of the learner's own.
    if diagnostic.line == 0 {
        let own = lines.iter().filter_map(|line| place::read(line.trim_start().strip_prefix("at ")?));
        if let Some(placed) = own.into_iter().find(|placed| report.is_own(placed.file)) {
            diagnostic = diagnostic.at(placed.file, placed.line, placed.column);
        }
    }
    diagnostic
}
