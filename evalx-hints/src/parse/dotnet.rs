//! What .NET and Mono say of an exception that nobody caught.

use super::{Report, is_library};
use crate::diagnostic::{Diagnostic, Frame};

pub(super) fn parse(report: &Report<'_>) -> Vec<Diagnostic> {
    // .NET aborts; Mono exits with 1, in old versions with 255.
    let may_be = |code: &i32| report.may_have_exited(*code);
    if report.signal.is_none() && ![1, 134, 255].iter().any(may_be) {
        return Vec::new();
    }
    let lines: Vec<&str> = report.stderr.lines().collect();
    let overflow = |line: &&&str| line.starts_with("Stack overflow") || line.contains("Out of memory.");
    if let Some(line) = lines.iter().find(overflow) {
        return vec![Diagnostic::new("dotnet", line.trim_end_matches('.'), line)];
    }
    let Some(at) = lines.iter().rposition(|line| {
        line.starts_with("Unhandled exception. ")
            || line.starts_with("Unhandled Exception:")
            || line.starts_with("[ERROR] FATAL UNHANDLED EXCEPTION: ")
    }) else {
        return Vec::new();
    };
    let said = lines[at]
        .trim_start_matches("Unhandled exception. ")
        .trim_start_matches("[ERROR] FATAL UNHANDLED EXCEPTION: ");
    let said = if said.starts_with("Unhandled Exception:") {
        lines.get(at + 1).copied().unwrap_or_default()
    } else {
        said
    };
    let (class, message) = said.split_once(": ").unwrap_or((said, ""));
    let mut diagnostic = Diagnostic::new("dotnet", class.rsplit('.').next().unwrap_or(class), message);
    diagnostic.frames = lines[at + 1..].iter().filter_map(|line| frame(line)).collect();
    diagnostic.place_by_frames(|file| report.is_own(file), is_library);
    vec![diagnostic]
}

/// `   at Program.Main() in /box/Main.cs:line 5`, or Mono's `… in Main.cs:5`
fn frame(line: &str) -> Option<Frame> {
    let rest = line.trim_start().strip_prefix("at ")?;
    let (function, place) = rest.split_once(" in ").unwrap_or((rest, "<unknown>:0"));
    let (file, line) = place.trim().rsplit_once(':')?;
    let function =
        function.split(['(', ' ']).next().unwrap_or(function).rsplit('.').next().unwrap_or(function);
    Some(Frame {
        file: file.to_owned(),
        line: line.trim_start_matches("line ").parse().unwrap_or(0),
        function: function.to_owned(),
        snippet: String::new(),
    })
}
