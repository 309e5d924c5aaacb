//! What Swift's runtime says before it stops a program.

use super::Report;
use super::place;
use crate::diagnostic::Diagnostic;

pub(super) fn parse(report: &Report<'_>) -> Vec<Diagnostic> {
    for line in report.stderr.lines().rev() {
        // `main/main.swift:3: Fatal error: Index out of range`
        let (placed, rest) = match place::read(line) {
            Some(placed) => (Some((placed.file, placed.line)), placed.rest),
            None => (None, line),
        };
        if let Some(message) =
            rest.strip_prefix("Fatal error").map(|rest| rest.trim_start_matches([':', ' ']))
        {
            let diagnostic = Diagnostic::new("swift", "", message);
            return vec![match placed.filter(|(file, _)| report.is_own(file)) {
                Some((file, line)) => diagnostic.at(file, line, 0),
                None => diagnostic,
            }];
        }
    }
    Vec::new()
}
