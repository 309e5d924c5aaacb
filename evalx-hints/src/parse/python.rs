//! Tracebacks of CPython and PyPy.

use super::{Report, is_library};
use crate::diagnostic::{Diagnostic, Frame};
use crate::text::base_name;

/// What the interpreter may add behind the last traceback.
const AFTER: &[&str] =
    &["Exception ignored ", "sys:1: ", "object address ", "object refcount ", "object type "];

/// How many lines a message may have where nothing else can have written them.
const MESSAGE_LINES: usize = 12;
/// By what a program may write to stderr itself.
const WRITERS: &[&str] =
    &["stderr", "traceback", "logging", "warnings", "subprocess", "os.write", "excepthook"];

pub(super) fn parse(report: &Report<'_>) -> Vec<Diagnostic> {
    // Whatever is written there: an exception that nobody caught exits with 1.
    if !report.may_have_exited(1) {
        return Vec::new();
    }
    let lines: Vec<&str> = report.stderr.lines().map(ungrouped).collect();
    traceback(&lines, report).or_else(|| broken_file(&lines)).into_iter().collect()
}

/// A line without the frame that is drawn around an `ExceptionGroup`.
fn ungrouped(line: &str) -> &str {
    let inside = line.trim_start();
    match inside.strip_prefix("| ").or_else(|| inside.strip_prefix("+ ")) {
        // The first group counts; those inside of it are its parts.
        Some(inside) if line.len() - inside.len() <= 4 => inside,
        _ => line,
    }
}

fn traceback(lines: &[&str], report: &Report<'_>) -> Option<Diagnostic> {
    let last_frame = lines.iter().rposition(|line| {
        line.starts_with("  File \"") || line.ends_with("Traceback (most recent call last):")
    })?;
    let end = last_frame + 1 + lines[last_frame + 1..].iter().position(|line| is_exception(line))?;
    let (kind, message) = exception(lines[end]);
    let after = &lines[end + 1..];
    let all_its_own = after.len() <= MESSAGE_LINES && report.writes_no_errors(WRITERS);
    if !ends_output(after, message) && !all_its_own {
        return None;
    }
    let start = lines[..last_frame].iter().rposition(|line| !line.starts_with(' ')).map_or(0, |at| at + 1);
    let mut diagnostic = Diagnostic::new("python", kind, message);
    lines[end + 1..].iter().take(20).for_each(|line| diagnostic.push_detail(line));
    diagnostic.frames = frames(&lines[start..end]);
    if let Some(files) = importers(&diagnostic.frames) {
        diagnostic.push_detail(&format!("imported in turn: {files}"));
    }
    diagnostic.frames.reverse();
    let syntax = matches!(kind, "SyntaxError" | "IndentationError" | "TabError");
    if syntax {
        // Its last place is where the error is, not a call.
        let frame = diagnostic.frames.first().cloned().unwrap_or_default();
        diagnostic.file = frame.file;
        diagnostic.line = frame.line;
        diagnostic.snippet = frame.snippet;
        diagnostic.column = caret(&lines[start..end]).unwrap_or(0);
    } else {
        diagnostic.place_by_frames(|file| report.is_own(file), is_library);
        // The file that hides a module of the same name is known by its frames.
        if let Some(frame) = diagnostic.frames.first() {
            diagnostic.push_detail(&format!("raised in {}: {}", base_name(&frame.file), frame.snippet));
        }
    }
    Some(diagnostic)
}

/// The name of an exception at the beginning of a line: a dotted name.
fn is_exception(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or(line);
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '<' | '>'))
}

fn exception(line: &str) -> (&str, &str) {
    let (name, message) = line.split_once(':').unwrap_or((line, ""));
    (name.rsplit('.').next().unwrap_or(name), message.trim())
}

/// Whether nothing but what belongs to the traceback follows it.
fn ends_output(after: &[&str], message: &str) -> bool {
    let mut after = after.iter().filter(|line| !line.trim().is_empty());
    match after.next() {
        None => true,
        Some(line) if AFTER.iter().any(|words| line.starts_with(words)) => true,
        // A message of several lines: its first is not finished.
        Some(line) => {
            message.is_empty() || message.ends_with([':', ',', '(', '[', '{', '\\']) || line.starts_with(' ')
        }
    }
}

fn frames(lines: &[&str]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    for line in lines {
        if let Some(place) = line.strip_prefix("  File \"") {
            let Some((file, rest)) = place.split_once('"') else { continue };
            let mut parts = rest.trim_start_matches(", line ").split(", in ");
            let line = parts.next().and_then(|line| line.trim().parse().ok()).unwrap_or(0);
            let function = parts.next().unwrap_or_default().to_owned();
            frames.push(Frame { file: file.to_owned(), line, function, snippet: String::new() });
        } else if let Some(frame) = frames.last_mut().filter(|frame| frame.snippet.is_empty()) {
            line.trim().clone_into(&mut frame.snippet);
        }
    }
    frames
}

/// The learner's files that were importing when it happened, if several.
fn importers(frames: &[Frame]) -> Option<String> {
    let mut files: Vec<&str> = Vec::new();
    for frame in frames {
        let imports = frame.snippet.starts_with("import ") || frame.snippet.starts_with("from ");
        let file = base_name(&frame.file);
        if imports && !is_library(&frame.file) && !files.contains(&file) {
            files.push(file);
        }
    }
    (files.len() > 1).then(|| files.join(", "))
}

/// The column of the first caret, counted in the line as it is shown.
fn caret(lines: &[&str]) -> Option<u32> {
    let at = lines.iter().rposition(|line| line.trim_start().starts_with('^'))?;
    let shown = lines.get(at.checked_sub(1)?)?;
    let indent = shown.len() - shown.trim_start().len();
    u32::try_from(lines[at].find('^')?.checked_sub(indent)? + 1).ok()
}

/// `SyntaxError: (unicode error) …` and the like, which have no place, and the
/// interpreter's own complaints about its arguments.
fn broken_file(lines: &[&str]) -> Option<Diagnostic> {
    let last = lines.iter().rfind(|line| !line.trim().is_empty())?;
    let (kind, message) = exception(last);
    let known =
        matches!(kind, "SyntaxError" | "IndentationError" | "TabError" | "MemoryError" | "KeyboardInterrupt");
    (known && is_exception(last)).then(|| Diagnostic::new("python", kind, message))
}
