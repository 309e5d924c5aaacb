//! Errors of PHP, which go to stderr, stdout, or both.

use super::Report;
use super::place::number;
use crate::diagnostic::Diagnostic;

pub(super) fn parse(report: &Report<'_>) -> Vec<Diagnostic> {
    if !report.may_have_exited(255) {
        return Vec::new();
    }
    let found = [report.stderr, report.stdout].into_iter().find_map(|text| fatal(text, report));
    found.into_iter().collect()
}

const FATAL: &[&str] =
    &["Parse error", "Fatal error", "Recoverable fatal error", "Compile error", "Core error"];

fn fatal(text: &str, report: &Report<'_>) -> Option<Diagnostic> {
    let lines: Vec<&str> = text.lines().collect();
    let (at, level, said) = lines.iter().enumerate().rev().find_map(|(at, line)| {
        let line = line.trim_start_matches("PHP ");
        FATAL.iter().find_map(|level| {
            let said = line.strip_prefix(level)?.strip_prefix(": ")?;
            Some((at, *level, said.trim_start()))
        })
    })?;
    let mut diagnostic = match said.strip_prefix("Uncaught ") {
        Some(thrown) => uncaught(thrown),
        None => {
            let (message, file, line) = placed(said, " on line ");
            Diagnostic::new("php", level, message).at(file, line, 0)
        }
    };
    for line in &lines[at + 1..] {
        // `  thrown in /box/main.php on line 3` ends it.
        if let Some(thrown) = line.trim_start().strip_prefix("thrown in ") {
            let (file, line) = thrown.rsplit_once(" on line ").unwrap_or((thrown, ""));
            if diagnostic.line == 0 {
                diagnostic = diagnostic.at(file, line.trim().parse().unwrap_or(0), 0);
            }
            break;
        }
        // `#0 /box/main.php(4): sq()`
        let called = line.strip_prefix('#').and_then(|line| line.split_once(' ')).and_then(|(_, call)| {
            let (file, rest) = call.split_once('(')?;
            Some((file, number(rest)?.0))
        });
        if let Some((file, line)) = called.filter(|(file, _)| report.is_own(file)) {
            diagnostic.frames.push(crate::diagnostic::Frame {
                file: file.to_owned(),
                line,
                ..Default::default()
            });
        }
        diagnostic.push_detail(line);
    }
    Some(diagnostic)
}

/// `TypeError: message in /box/main.php:3`
fn uncaught(thrown: &str) -> Diagnostic {
    let (kind, said) = thrown.split_once(": ").unwrap_or((thrown, ""));
    let (message, file, line) = placed(said, ":");
    let (kind, file, line) = match said {
        // An exception without a message: `Uncaught Exception in /box/main.php:3`.
        "" => placed(kind, ":"),
        _ => (kind, file, line),
    };
    Diagnostic::new("php", kind.rsplit('\\').next().unwrap_or(kind), message).at(file, line, 0)
}

/// Takes ` in FILE{separator}LINE` off a message.
fn placed<'a>(said: &'a str, separator: &str) -> (&'a str, &'a str, u32) {
    let place = said.rsplit_once(" in ").and_then(|(message, place)| {
        let (file, line) = place.rsplit_once(separator)?;
        Some((message, file, number(line.trim())?.0))
    });
    place.unwrap_or((said, "", 0))
}
