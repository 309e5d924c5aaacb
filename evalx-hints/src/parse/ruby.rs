//! What Ruby says of an exception that nobody caught, and of broken syntax.

use super::place;
use super::{Report, is_library};
use crate::diagnostic::{Diagnostic, Frame};

pub(super) fn parse(report: &Report<'_>) -> Vec<Diagnostic> {
    if !report.may_have_exited(1) {
        return Vec::new();
    }
    let lines: Vec<&str> = report.stderr.lines().collect();
    exception(&lines, report).or_else(|| syntax(&lines)).into_iter().collect()
}

/// `main.rb:2:in `foo': undefined method … (NoMethodError)`
fn exception(lines: &[&str], report: &Report<'_>) -> Option<Diagnostic> {
    // The last line that is not of its stack; before it stands what it caused.
    let is_raised = |line: &&str| !line.starts_with('\t') && raised(line).is_some();
    let mut at = lines.iter().rposition(is_raised)?;
    while let Some(before) = lines[..at].iter().rposition(|line| !line.starts_with('\t'))
        && before + 1 < at
        && is_raised(&lines[before])
    {
        at = before;
    }
    let (placed, kind, message) = raised(lines[at])?;
    if kind == "SyntaxError" {
        return syntax(&lines[at..]);
    }
    let function = placed.rest.strip_prefix("in ").map_or("", |rest| function(rest));
    let mut diagnostic = Diagnostic::new("ruby", kind, message);
    diagnostic.frames.push(Frame {
        file: placed.file.to_owned(),
        line: placed.line,
        function: function.to_owned(),
        snippet: String::new(),
    });
    for line in &lines[at + 1..] {
        if is_raised(line) {
            break;
        }
        match line.trim_start().strip_prefix("from ").and_then(place::read) {
            Some(placed) => diagnostic.frames.push(Frame {
                file: placed.file.to_owned(),
                line: placed.line,
                function: self::function(placed.rest.trim_start_matches("in ")).to_owned(),
                snippet: String::new(),
            }),
            None => diagnostic.push_detail(line),
        }
    }
    diagnostic.place_by_frames(|file| report.is_own(file), is_library);
    Some(diagnostic)
}

/// The place, the class and the message of the first line of a report.
fn raised(line: &str) -> Option<(place::Placed<'_>, &str, &str)> {
    let placed = place::read(line).or_else(|| {
        // `<internal:kernel>:187:in `loop': …`
        let at = line.find(">:").filter(|_| line.starts_with("<internal:"))?;
        let (number, rest) = place::number(&line[at + 2..])?;
        Some(place::Placed {
            file: &line[..=at],
            line: number,
            column: 0,
            rest: rest.trim_start_matches(':'),
        })
    })?;
    let said = match placed.rest.strip_prefix("in ") {
        Some(rest) => rest.split_once("': ").map(|(_, said)| said)?,
        None => placed.rest,
    };
    let said = said.trim_end();
    match said.strip_suffix(')').and_then(|said| said.rsplit_once(" (")) {
        Some((message, kind)) if is_class(kind) => Some((placed, kind.rsplit("::").next()?, message)),
        // The class is on a later line of a long message; `raise "x"` has it here.
        _ if said == "unhandled exception" => Some((placed, "RuntimeError", said)),
        _ => None,
    }
}

fn is_class(kind: &str) -> bool {
    kind == "fatal"
        || kind.starts_with(|c: char| c.is_uppercase())
            && kind.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | ':'))
}

/// Of `'Integer#/'` or `` `foo' `` the name of the method.
fn function(text: &str) -> &str {
    let name = text.trim_start_matches(['`', '\'']);
    let name = name.split(['\'', '`']).next().unwrap_or(name);
    let name = name.trim_start_matches("block in ").trim_start_matches("rescue in ");
    if name.starts_with('<') { "" } else { name.rsplit(['#', '.']).next().unwrap_or(name) }
}

fn syntax(lines: &[&str]) -> Option<Diagnostic> {
    let (at, placed) = lines.iter().enumerate().find_map(|(at, line)| {
        let placed = place::read(line.trim_start_matches("ruby: "))?;
        // The place may be of the `require` that read the file.
        let rest = match placed.rest.find(": syntax error") {
            Some(inner) => place::read(placed.rest[..inner].rsplit(' ').next()?).unwrap_or(placed),
            None => placed,
        };
        let about = [
            "syntax error",
            "formal argument",
            "dynamic constant",
            "Invalid ",
            "unterminated",
            "class/module name",
            "numeric literal",
            "unknown regexp",
            "invalid ",
            "void value",
            "Can't ",
            "circular argument",
            "duplicated ",
            "embedded document",
            "unexpected ",
            "can't find string",
            "odd number",
            "no .<digit>",
            "unmatched ",
            "key ",
        ];
        about.iter().any(|words| rest.rest.starts_with(words)).then_some((at, rest))
    })?;
    let message = placed.rest.trim_start_matches("syntax error, ");
    let mut diagnostic =
        Diagnostic::new("ruby", "SyntaxError", message).at(placed.file, placed.line, placed.column);
    // Prism draws the program: `> 3 | end`, then `    | ^ unexpected …`.
    for line in lines[at + 1..].iter().take(30) {
        if let Some((number, code)) =
            line.trim_start().strip_prefix("> ").and_then(|line| line.split_once(" | "))
            && let Ok(number) = number.trim().parse()
        {
            diagnostic.line = number;
            code.clone_into(&mut diagnostic.snippet);
        }
        diagnostic.push_detail(line);
    }
    if message.starts_with("syntax errors found") || message.starts_with("syntax error found") {
        let drawn = diagnostic.detail.lines().find_map(|line| {
            line.split_once("^").map(|(_, said)| said.trim_start_matches(['^', '~', ' ']).to_owned())
        });
        diagnostic.message = drawn.unwrap_or(diagnostic.message);
    } else if let Some(code) = lines.get(at + 1) {
        diagnostic.snippet = (*code).to_owned();
    }
    Some(diagnostic)
}
