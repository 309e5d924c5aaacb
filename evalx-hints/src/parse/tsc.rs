//! Diagnostics of tsc and of the C# compilers: `main.ts(1,13): error TS2304: …`.

use super::place;
use super::{MOST, Report};
use crate::diagnostic::{Diagnostic, Severity};

pub(super) fn parse(report: &Report<'_>) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    for line in report.stdout.lines().chain(report.stderr.lines()) {
        if let Some(diagnostic) = headline(line) {
            if found.len() == MOST {
                break;
            }
            found.push(diagnostic);
        } else if let Some(last) = found.last_mut() {
            last.push_detail(line);
        }
    }
    found
}

fn headline(line: &str) -> Option<Diagnostic> {
    let (file, number, column, rest) = match place::read(line) {
        // The pretty form: `main.ts:1:13 - error TS2304: …`.
        Some(placed) => (placed.file, placed.line, placed.column, placed.rest.trim_start_matches(['-', ' '])),
        None => match parenthesised(line) {
            Some(place) => place,
            // Without a place, as of options: `error TS5023: …`.
            None => ("", 0, 0, line),
        },
    };
    let (severity, rest) = match rest.split_once(' ')? {
        ("error", rest) => (Severity::Error, rest),
        ("fatal", rest) => (Severity::Error, rest.strip_prefix("error ")?),
        ("warning", rest) => (Severity::Warning, rest),
        _ => return None,
    };
    let (code, message) = rest.split_once(": ")?;
    let is_code = code.len() < 12
        && code.starts_with(['T', 'C', 'B', 'V', 'F'])
        && code.ends_with(|c: char| c.is_ascii_digit());
    // The project's name, which MSBuild adds.
    let message = message
        .rsplit_once(" [/")
        .filter(|(_, project)| project.ends_with("proj]"))
        .map_or(message, |(m, _)| m);
    let tool = if code.starts_with("TS") { "tsc" } else { "csc" };
    is_code.then(|| Diagnostic::new(tool, code, message).with_severity(severity).at(file, number, column))
}

/// `main.ts(1,13): rest`
fn parenthesised(line: &str) -> Option<(&str, u32, u32, &str)> {
    let open = line.find('(')?;
    let (number, behind) = place::number(&line[open + 1..])?;
    let (column, behind) = place::number(behind.strip_prefix(',')?)?;
    let close = behind.find("):")?;
    Some((&line[..open], number, column, behind[close + 2..].trim_start()))
}
