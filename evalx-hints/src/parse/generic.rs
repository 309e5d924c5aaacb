//! Diagnostics of any compiler that writes `file:line: error: …`.

use super::{Report, gnu};
use crate::diagnostic::Diagnostic;

pub(super) fn parse(report: &Report<'_>) -> Vec<Diagnostic> {
    let found = gnu::parse(report, "compiler");
    if !found.is_empty() {
        return found;
    }
    gnu::parse(&Report { stderr: report.stdout, ..*report }, "compiler")
}
