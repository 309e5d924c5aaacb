//! What a native program leaves on stderr when it dies: glibc's and
//! libstdc++'s last words, assertions, sanitizers.

use super::{Report, place, sanitizer};
use crate::diagnostic::Diagnostic;

/// How many of the last lines may hold the last words.
const LAST_LINES: usize = 6;

pub(super) fn parse(report: &Report<'_>) -> Vec<Diagnostic> {
    let found = sanitizer::parse(report);
    if !found.is_empty() {
        return found;
    }
    // Whoever exits by itself has been ended by none of these.
    if report.signal.is_none() && report.exit.is_some() {
        return Vec::new();
    }
    last_words(report).into_iter().collect()
}

fn last_words(report: &Report<'_>) -> Option<Diagnostic> {
    let mut lines: Vec<&str> =
        report.stderr.lines().rev().filter(|line| !line.trim().is_empty()).take(LAST_LINES).collect();
    lines.reverse();
    for (index, line) in lines.iter().enumerate().rev() {
        if let Some(thrown) = line.strip_prefix("terminate called after throwing an instance of ") {
            let what = lines.get(index + 1).and_then(|line| line.trim_start().strip_prefix("what():"));
            let kind = thrown.trim_matches(['\'', '"']);
            let mut diagnostic = Diagnostic::new("terminate", kind, what.unwrap_or_default());
            lines.iter().skip(index + 2).for_each(|line| diagnostic.push_detail(line));
            return Some(diagnostic);
        }
        // libc++: `libc++abi: terminating due to uncaught exception of type T: what`.
        if let Some((_, thrown)) = line.split_once("uncaught exception of type ") {
            let (kind, what) = thrown.split_once(": ").unwrap_or((thrown, ""));
            return Some(Diagnostic::new("terminate", kind, what));
        }
        if let Some(diagnostic) = assertion(line, report) {
            return Some(diagnostic);
        }
        if GLIBC.iter().any(|words| line.contains(words)) {
            return Some(Diagnostic::new("glibc", "", line));
        }
        if line.starts_with("terminate called") || line.starts_with("pure virtual method called") {
            return Some(Diagnostic::new("terminate", "", line));
        }
    }
    None
}

/// `main: main.c:5: half: Assertion `n % 2 == 0' failed.`
fn assertion(line: &str, report: &Report<'_>) -> Option<Diagnostic> {
    let at = line.find(": Assertion ").filter(|_| line.contains("failed"))?;
    let before = &line[..at];
    let mut diagnostic = Diagnostic::new("assert", "", &line[at + 2..]);
    for (start, _) in before.match_indices(": ").map(|(at, _)| (at + 2, ())).chain([(0, ())]) {
        if let Some(placed) = place::read(&format!("{}:", &before[start..])).filter(|p| !p.file.contains(' '))
        {
            placed.rest.trim_matches([' ', ':']).clone_into(&mut diagnostic.function);
            diagnostic.in_library = !report.is_own(placed.file);
            if !diagnostic.in_library {
                diagnostic = diagnostic.at(placed.file, placed.line, 0);
            }
            break;
        }
    }
    Some(diagnostic)
}

/// What glibc writes before it aborts.
const GLIBC: &[&str] = &[
    "free(): ",
    "malloc(): ",
    "realloc(): ",
    "calloc(): ",
    "munmap_chunk(): ",
    "malloc_consolidate(): ",
    "corrupted size vs. prev_size",
    "corrupted double-linked list",
    "double free or corruption",
    "*** stack smashing detected ***",
    "*** buffer overflow detected ***",
    "*** longjmp causes uninitialized stack frame",
    "*** %n in writable segment detected ***",
    "invalid pointer",
    "invalid fastbin entry",
    "sysmalloc: ",
    "has overflowed its stack",
    "memory allocation of ",
    "stack overflow",
];
