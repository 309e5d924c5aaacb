//! What Node.js says of an error that nobody caught.

use super::{Report, is_library, place};
use crate::diagnostic::{Diagnostic, Frame};

pub(super) fn parse(report: &Report<'_>) -> Vec<Diagnostic> {
    let lines: Vec<&str> = report.stderr.lines().collect();
    if let Some(at) =
        lines.iter().rposition(|line| line.starts_with("FATAL ERROR: ") || line.starts_with("# Fatal"))
    {
        return vec![Diagnostic::new("v8", "", lines[at].trim_start_matches("FATAL ERROR: "))];
    }
    // Node exits so of errors that nobody caught; 7 is one in the handler itself.
    if ![1, 7, 13].into_iter().any(|code| report.may_have_exited(code)) {
        return Vec::new();
    }
    if let Some(line) = lines.iter().rfind(|line| line.contains("unsettled top-level await")) {
        return vec![Diagnostic::new("node", "", line)];
    }
    uncaught(&lines, report).or_else(|| deno(&lines, report)).into_iter().collect()
}

fn uncaught(lines: &[&str], report: &Report<'_>) -> Option<Diagnostic> {
    // `/box/main.js:2`, the line, the carets, and then the error.
    let end = lines.iter().rposition(|line| line.starts_with("Node.js v")).unwrap_or(lines.len());
    let at = lines[..end].iter().rposition(|line| header(line).is_some())?;
    let (file, number) = header(lines[at])?;
    // Where V8 has nothing to point at, the line of the carets is blank.
    let caret = (at + 2).min(end - 1);
    if !is_carets(lines[caret]) {
        return None;
    }
    let error = caret + 1 + lines[caret + 1..end].iter().position(|line| !line.trim().is_empty())?;
    let mut diagnostic = error_of(lines[error]);
    let mut properties = false;
    for line in &lines[error + 1..end] {
        match frame(line) {
            Some(frame) if !properties => diagnostic.frames.push(frame),
            _ => diagnostic.push_detail(line),
        }
        properties |= line.ends_with('{');
    }
    if matches!(diagnostic.kind.as_str(), "SyntaxError") && report.is_own(file) {
        lines[at + 1].trim_end().clone_into(&mut diagnostic.snippet);
        let column = lines[caret].find('^').map_or(0, |at| u32::try_from(at + 1).unwrap_or(0));
        return Some(diagnostic.at(file, number, column));
    }
    diagnostic.place_by_frames(|file| report.is_own(file), is_library);
    if diagnostic.line == 0 && (report.is_own(file) || !is_library(file)) {
        diagnostic = diagnostic.at(file, number, 0);
    }
    if diagnostic.line == number && report.is_own(file) {
        lines[at + 1].trim_end().clone_into(&mut diagnostic.snippet);
    }
    Some(diagnostic)
}

/// `error: Uncaught ReferenceError: x is not defined`, as Deno and Bun write.
fn deno(lines: &[&str], report: &Report<'_>) -> Option<Diagnostic> {
    let at = lines.iter().rposition(|line| line.starts_with("error: Uncaught "))?;
    let error = lines[at].trim_start_matches("error: Uncaught ").trim_start_matches("(in promise) ");
    let mut diagnostic = error_of(error);
    diagnostic.frames = lines[at + 1..].iter().filter_map(|line| frame(line)).collect();
    diagnostic.place_by_frames(|file| report.is_own(file), is_library);
    Some(diagnostic)
}

fn is_carets(line: &str) -> bool {
    let line = line.trim();
    line.bytes().all(|byte| byte == b'^')
}

/// `/box/main.js:2`
fn header(line: &str) -> Option<(&str, u32)> {
    let (file, number) = line.strip_prefix("file://").unwrap_or(line).rsplit_once(':')?;
    let plausible = file.starts_with(['/', '[', '.', '<']) || file.contains('.') || file.starts_with("node:");
    let plausible = plausible && !file.contains([' ', '(']);
    Some((file, number.parse().ok()?)).filter(|_| plausible)
}

/// `TypeError: x is not a function`, or any value that was thrown.
fn error_of(line: &str) -> Diagnostic {
    let line = line.strip_prefix("Uncaught ").unwrap_or(line);
    if let Some(rejection) = line.strip_prefix("[UnhandledPromiseRejection: ") {
        return Diagnostic::new(
            "node",
            "UnhandledPromiseRejection",
            rejection.trim_end_matches([']', ' ', '{']),
        );
    }
    let line = line.trim_start_matches('[');
    let (name, message) = line.split_once(": ").unwrap_or((line, ""));
    // `AssertionError [ERR_ASSERTION]`, `Error [ERR_MODULE_NOT_FOUND]`
    let (class, code) =
        name.split_once(" [").map_or((name, ""), |(class, code)| (class, code.trim_end_matches(']')));
    let is_class =
        !class.is_empty() && class.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '.'));
    let mut diagnostic =
        match is_class && (!message.is_empty() || class.ends_with("Error") || class.ends_with("Exception")) {
            true => Diagnostic::new("node", class, message),
            false => Diagnostic::new("node", "", line),
        };
    if !code.is_empty() {
        diagnostic.push_detail(&format!("code: '{code}'"));
    }
    diagnostic
}

/// `    at fact (/box/main.js:2:14)` or `    at /box/main.js:2:14`
fn frame(line: &str) -> Option<Frame> {
    let rest = line.trim_start().strip_prefix("at ")?;
    let (function, place) = match rest.strip_suffix(')').and_then(|rest| rest.rsplit_once(" (")) {
        Some((function, place)) => (function, place),
        None => ("", rest.trim_start_matches("async ")),
    };
    let place = place.strip_prefix("file://").unwrap_or(place);
    let place = format!("{place}:");
    let placed = place::read(&place)?;
    let function = ["async ", "new ", "get ", "set "]
        .iter()
        .fold(function, |function, word| function.strip_prefix(word).unwrap_or(function));
    let function = function.split(" [as ").next().unwrap_or(function);
    let function = function.rsplit('.').next().unwrap_or(function);
    let function = if function.contains('<') { "" } else { function };
    Some(Frame {
        file: placed.file.to_owned(),
        line: placed.line,
        function: function.to_owned(),
        snippet: String::new(),
    })
}
