//! What the Java virtual machine says of an exception that nobody caught.

use super::{Report, is_library};
use crate::diagnostic::{Diagnostic, Frame};

/// Exceptions that only carry another.
const WRAPPERS: &[&str] = &[
    "ExceptionInInitializerError",
    "InvocationTargetException",
    "UndeclaredThrowableException",
    "ExecutionException",
    "CompletionException",
    "UncheckedIOException",
];

pub(super) fn parse(report: &Report<'_>) -> Vec<Diagnostic> {
    if !report.may_have_exited(1) {
        return Vec::new();
    }
    let lines: Vec<&str> = report.stderr.lines().collect();
    let uncaught = lines.iter().rposition(|line| thrown(line).is_some());
    match uncaught {
        Some(at) => exception(&lines[at..], report).into_iter().collect(),
        None => launcher(&lines).into_iter().collect(),
    }
}

/// What is thrown, in the first line of a report.
fn thrown(line: &str) -> Option<&str> {
    if let Some(rest) = line.strip_prefix("Exception in thread \"") {
        return rest.split_once("\" ").map(|(_, thrown)| thrown);
    }
    line.strip_prefix("Exception: ")
}

/// Reads a report with its causes; the innermost cause of a wrapper counts.
fn exception(lines: &[&str], report: &Report<'_>) -> Option<Diagnostic> {
    let mut chain: Vec<Diagnostic> = vec![diagnostic(thrown(lines.first()?)?)];
    for line in &lines[1..] {
        if let Some(cause) = line.strip_prefix("Caused by: ") {
            if chain.len() < 16 {
                chain.push(diagnostic(cause));
            }
        } else if let (Some(last), Some(frame)) = (chain.last_mut(), frame(line)) {
            last.frames.push(frame);
        } else if let Some(last) = chain.last_mut().filter(|last| last.frames.is_empty()) {
            last.push_detail(line);
        } else if !line.starts_with([' ', '\t']) && !line.trim().is_empty() {
            break;
        }
    }
    let mut index = 0;
    while index + 1 < chain.len() && is_wrapper(&chain[index], &chain[index + 1]) {
        index += 1;
    }
    let mut found = chain.swap_remove(index);
    let innermost: Vec<String> = found.frames.iter().take(4).map(|frame| frame.file.clone()).collect();
    found.push_detail(&innermost.join(" "));
    found.place_by_frames(|file| report.is_own(file), |file| is_library(file) || file == "Unknown Source");
    Some(found)
}

/// Whether an exception says nothing that its cause does not.
fn is_wrapper(outer: &Diagnostic, cause: &Diagnostic) -> bool {
    WRAPPERS.contains(&outer.kind.as_str())
        || outer.kind == "RuntimeException" && outer.message.contains(cause.kind.as_str())
}

fn diagnostic(thrown: &str) -> Diagnostic {
    let (class, message) = thrown.split_once(": ").unwrap_or((thrown.trim_end_matches(':'), ""));
    let name = class.rsplit(['.', '$']).next().unwrap_or(class);
    let mut diagnostic = Diagnostic::new("jvm", name, message);
    diagnostic.push_detail(class);
    diagnostic
}

/// `\tat java.base/java.util.Scanner.nextInt(Scanner.java:2212)`
fn frame(line: &str) -> Option<Frame> {
    let (function, place) = line.trim_start().strip_prefix("at ")?.strip_suffix(')')?.rsplit_once('(')?;
    let (file, line) = place.rsplit_once(':').unwrap_or((place, "0"));
    let name = function.rsplit('.').next().unwrap_or(function);
    // A constructor is known by its class.
    let name = match name {
        "<init>" | "<clinit>" => function.rsplit('.').nth(1).unwrap_or(name),
        name => name.strip_prefix("lambda$").and_then(|name| name.split('$').next()).unwrap_or(name),
    };
    let library = function.contains('/') || function.starts_with("kotlin.");
    let file = if library { format!("java.base/{file}") } else { file.to_owned() };
    Some(Frame { file, line: line.parse().unwrap_or(0), function: name.to_owned(), snippet: String::new() })
}

/// What the launcher says where it finds nothing to run, or no memory.
fn launcher(lines: &[&str]) -> Option<Diagnostic> {
    let at = lines.iter().position(|line| {
        ["Error: ", "error: ", "Terminating due to ", "java.lang."]
            .iter()
            .any(|words| line.starts_with(words))
            || line.contains("There is insufficient memory for the Java Runtime Environment")
    })?;
    if lines[at].starts_with("error: ") && lines.iter().any(|line| line.contains(": error: ")) {
        return None;
    }
    let message = lines[at].trim_start_matches("Error: ").trim_start_matches("# ");
    let mut diagnostic = Diagnostic::new("java", "", message);
    lines[at + 1..].iter().take(10).for_each(|line| diagnostic.push_detail(line));
    Some(diagnostic)
}
