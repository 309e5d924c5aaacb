//! Diagnostics of the Go tools, and the panics of what they built.

use super::place;
use super::{MOST, Report, is_library};
use crate::diagnostic::{Diagnostic, Frame};

pub(super) fn parse(report: &Report<'_>) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    for line in report.stderr.lines() {
        if let Some(placed) = place::read(line).filter(|placed| placed.file.ends_with(".go")) {
            if found.len() == MOST {
                break;
            }
            let message = placed.rest.strip_prefix("vet: ").unwrap_or(placed.rest);
            found.push(Diagnostic::new("go", "", message).at(placed.file, placed.line, placed.column));
        } else if line.starts_with('\t') {
            if let Some(last) = found.last_mut() {
                last.push_detail(line);
            }
        } else if WITHOUT_PLACE.iter().any(|words| line.contains(words)) {
            found.push(Diagnostic::new("go", "", line.trim_start_matches("go: ")));
        }
    }
    found.retain(|diagnostic| diagnostic.message != "too many errors");
    found
}

/// What the linker and the `go` command say.
const WITHOUT_PLACE: &[&str] = &[
    "function main is undeclared in the main package",
    "is not in GOROOT",
    "is not in std",
    "no required module provides package",
    "cannot find package",
    "go.mod file not found",
    "package command-line-arguments is not a main package",
    "import cycle not allowed",
    "relocation target ",
    "found packages ",
    "no Go files in",
    "no non-test Go files",
];

/// The panic or fatal error that ended a program.
pub(super) fn parse_panic(report: &Report<'_>) -> Vec<Diagnostic> {
    let lines: Vec<&str> = report.stderr.lines().collect();
    if report.may_have_exited(2) || report.signal.is_some() {
        let at =
            lines.iter().rposition(|line| line.starts_with("panic: ") || line.starts_with("fatal error: "));
        if let Some(at) = at {
            // Deferred functions may panic again: the first is the cause.
            let first = lines[..at].iter().rposition(|line| line.starts_with("panic: "));
            let near =
                first.filter(|first| lines[*first..at].iter().all(|line| !line.starts_with("goroutine ")));
            return vec![panic(&lines[near.unwrap_or(at)..], report)];
        }
    }
    // `go run` says how the program ended.
    let last = lines.iter().rfind(|line| !line.trim().is_empty() && !line.starts_with("exit status "));
    let logged = last.and_then(|line| logged(line)).filter(|_| report.may_have_exited(1));
    logged.map(|message| Diagnostic::new("log", "", message)).into_iter().collect()
}

/// The message of `log.Fatal`: behind its date and time.
fn logged(line: &str) -> Option<&str> {
    let (date, rest) = line.split_once(' ')?;
    let (time, message) = rest.split_once(' ')?;
    let digits = |text: &str, separator: char| {
        text.split(separator).all(|part| part.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
    };
    (date.len() == 10 && digits(date, '/') && time.len() >= 8 && digits(time, ':')).then_some(message)
}

fn panic(lines: &[&str], report: &Report<'_>) -> Diagnostic {
    let (tool, message) = match lines[0].split_once(": ") {
        Some(("panic", message)) => ("go-panic", message),
        Some((_, message)) => ("go-fatal", message),
        None => ("go-fatal", lines[0]),
    };
    let mut diagnostic = Diagnostic::new(tool, "", message.trim_end_matches(" [recovered]"));
    let mut function = "";
    let mut goroutines = 0;
    for line in &lines[1..] {
        if line.starts_with("goroutine ") {
            goroutines += 1;
            if goroutines > 1 && !diagnostic.frames.is_empty() {
                break;
            }
        } else if let Some(place) = line.strip_prefix('\t') {
            let place = place.split(' ').next().unwrap_or(place);
            if let Some((file, line)) = place.rsplit_once(':') {
                diagnostic.frames.push(Frame {
                    file: file.to_owned(),
                    line: line.parse().unwrap_or(0),
                    function: function.to_owned(),
                    snippet: String::new(),
                });
            }
        } else {
            if goroutines == 0 {
                diagnostic.push_detail(line);
            }
            function = line.rsplit_once('(').map_or(*line, |(name, _)| name);
            function = function.rsplit(['.', '/']).next().unwrap_or(function);
        }
    }
    diagnostic.place_by_frames(
        |file| report.is_own(file),
        |file| is_library(file) || file.contains("/src/runtime/"),
    );
    diagnostic
}
