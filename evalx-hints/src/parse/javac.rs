//! Diagnostics of javac.

use super::place;
use super::{MOST, Report};
use crate::diagnostic::{Diagnostic, Severity};

pub(super) fn parse(report: &Report<'_>) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    for line in report.stderr.lines().chain(report.stdout.lines().filter(|_| report.is_compile())) {
        let placed = place::read(line).and_then(|placed| {
            let (severity, message) = place::severity(placed.rest)?;
            Some((placed.file, placed.line, severity, message))
        });
        if let Some((file, number, severity, message)) = placed {
            if found.len() == MOST {
                break;
            }
            found.push(Diagnostic::new("javac", "", message).with_severity(severity).at(file, number, 0));
        } else if let Some(message) =
            line.strip_prefix("error: ").filter(|message| *message != "compilation failed")
        {
            found.push(Diagnostic::new("javac", "", message));
        } else if let Some(last) = found.last_mut() {
            if last.snippet.is_empty() && last.line > 0 && last.detail.is_empty() {
                line.clone_into(&mut last.snippet);
            } else if last.column == 0 && line.trim() == "^" {
                last.column = u32::try_from(line.len()).unwrap_or(0);
            } else if last.snippet.is_empty() || !line.starts_with(|c: char| c.is_ascii_digit()) {
                last.push_detail(line);
            }
        }
    }
    // Without one that is an error, the program was compiled.
    found.retain(|diagnostic| diagnostic.severity != Severity::Note);
    found
}
