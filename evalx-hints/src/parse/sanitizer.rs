//! Reports of the address, leak, memory, thread and undefined behaviour
//! sanitizers.

use super::place;
use super::{Report, is_library};
use crate::diagnostic::{Diagnostic, Frame};

pub(super) fn parse(report: &Report<'_>) -> Vec<Diagnostic> {
    let lines: Vec<&str> = report.stderr.lines().collect();
    let summary = lines.iter().rposition(|line| is_report(line));
    if let Some(at) = summary {
        return vec![address(&lines[at..], report)];
    }
    // What only undefined behaviour is reported of goes on running.
    let first = lines.iter().find_map(|line| {
        let placed = place::read(line)?;
        let message = placed.rest.strip_prefix("runtime error: ")?;
        let mut diagnostic =
            Diagnostic::new("ubsan", "", message).at(placed.file, placed.line, placed.column);
        diagnostic.in_library = !report.is_own(placed.file);
        Some(diagnostic)
    });
    first.into_iter().collect()
}

/// `==123==ERROR: AddressSanitizer: …` or `WARNING: ThreadSanitizer: …`
fn is_report(line: &str) -> bool {
    line.contains("Sanitizer: ") && (line.contains("ERROR: ") || line.contains("WARNING: "))
        || line.starts_with("AddressSanitizer:DEADLYSIGNAL")
}

fn address(lines: &[&str], report: &Report<'_>) -> Diagnostic {
    let headline = lines.iter().find(|line| line.contains("Sanitizer: ")).copied().unwrap_or_default();
    let (before, message) = headline.split_once("Sanitizer: ").unwrap_or(("", headline));
    let tool = match before.rsplit([' ', ':']).next().unwrap_or_default() {
        "Leak" => "lsan",
        "Thread" => "tsan",
        "Memory" => "msan",
        "UndefinedBehavior" => "ubsan",
        _ => "asan",
    };
    let kind = message.split(' ').next().unwrap_or_default();
    let mut diagnostic = Diagnostic::new(tool, kind, message);
    let mut in_first_stack = true;
    for line in lines.iter().skip(1).take(60) {
        match frame(line) {
            Some(frame) if in_first_stack => diagnostic.frames.push(frame),
            Some(_) => {}
            None => {
                if line.starts_with("Shadow bytes") {
                    break;
                }
                in_first_stack &= diagnostic.frames.is_empty();
                diagnostic.push_detail(line);
            }
        }
    }
    diagnostic.place_by_frames(|file| report.is_own(file), is_library);
    diagnostic
}

/// `    #1 0x55ac06c2216a in main /box/main.cpp:2:5`
fn frame(line: &str) -> Option<Frame> {
    let line = line.trim_start();
    let (_, rest) = line.strip_prefix('#')?.split_once(" in ")?;
    let (function, place) = rest.rsplit_once(' ')?;
    let mut parts = place.split(':');
    let file = parts.next()?;
    let line = parts.next().and_then(|line| line.parse().ok()).unwrap_or(0);
    let function = function.split('(').next().unwrap_or(function);
    Some(Frame { file: file.to_owned(), line, function: function.to_owned(), snippet: String::new() })
}
