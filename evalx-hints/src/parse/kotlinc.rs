//! Diagnostics of kotlinc, in the forms of its several versions.

use super::place;
use super::{MOST, Report};
use crate::diagnostic::{Diagnostic, Severity};

pub(super) fn parse(report: &Report<'_>) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    for line in report.stderr.lines().chain(report.stdout.lines()) {
        if let Some((file, number, column, severity, message)) = headline(line) {
            if found.len() == MOST {
                break;
            }
            let diagnostic = Diagnostic::new("kotlinc", "", message).with_severity(severity);
            found.push(diagnostic.at(file, number, column));
        } else if let Some(message) = line.strip_prefix("error: ") {
            found.push(Diagnostic::new("kotlinc", "", message));
        } else if let Some(last) = found.last_mut() {
            if last.snippet.is_empty() && last.detail.is_empty() {
                line.clone_into(&mut last.snippet);
            } else {
                last.push_detail(line);
            }
        }
    }
    found
}

fn headline(line: &str) -> Option<(&str, u32, u32, Severity, &str)> {
    let (severity, rest) = match line.get(..3) {
        Some("e: ") => (Some(Severity::Error), &line[3..]),
        Some("w: ") => (Some(Severity::Warning), &line[3..]),
        _ => (None, line),
    };
    let rest = rest.strip_prefix("file://").unwrap_or(rest);
    // Of older versions: `e: Main.kt: (1, 22): unresolved reference: total`.
    if let Some((file, behind)) = rest.split_once(": (").filter(|_| severity.is_some()) {
        let (number, behind) = place::number(behind)?;
        let (column, behind) = place::number(behind.strip_prefix(", ")?)?;
        return Some((file, number, column, severity?, behind.strip_prefix("): ")?));
    }
    let placed = match place::read(rest) {
        Some(placed) => placed,
        // `e: file:///box/Main.kt:1:22 Unresolved reference`
        None => {
            let (place, _) = rest.split_once(' ').filter(|_| severity.is_some())?;
            let mut parts = place.rsplitn(3, ':');
            let column = parts.next()?.parse().ok()?;
            let number = parts.next()?.parse().ok()?;
            return Some((parts.next()?, number, column, severity?, rest[place.len()..].trim_start()));
        }
    };
    match severity {
        Some(severity) => Some((placed.file, placed.line, placed.column, severity, placed.rest)),
        None => {
            let (severity, message) = place::severity(placed.rest)?;
            Some((placed.file, placed.line, placed.column, severity, message))
        }
    }
}
