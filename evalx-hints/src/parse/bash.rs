//! What shells say, and the commands that they start.

use super::Report;
use super::place::number;
use crate::diagnostic::Diagnostic;

/// How many of the last lines may say why a script failed.
const LAST_LINES: usize = 8;

pub(super) fn parse(report: &Report<'_>) -> Vec<Diagnostic> {
    if report.signal.is_some() {
        return Vec::new();
    }
    let lines: Vec<&str> = report.stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    let said: Vec<Diagnostic> = lines.iter().filter_map(|line| shell(line, report)).collect();
    // A script that can't be read ends there; its first complaint counts.
    if let Some(syntax) = said.iter().find(|diagnostic| is_syntax(&diagnostic.message)) {
        let mut syntax = syntax.clone();
        lines.iter().take(6).for_each(|line| syntax.push_detail(line));
        return vec![syntax];
    }
    let last = lines.last().copied().unwrap_or_default();
    let by_shell = said.into_iter().next_back();
    let by_command = lines.iter().rev().take(LAST_LINES).find_map(|line| command(line));
    // Who spoke last was the cause, unless the status says that it was the shell.
    let found = match (report.exit, by_shell) {
        (Some(126 | 127), Some(shell)) => Some(shell),
        (_, Some(shell)) if last.contains(": line ") => Some(shell),
        (_, shell) => command(last).or(shell).or(by_command),
    };
    found.into_iter().collect()
}

/// `main.sh: line 3: ehco: command not found`
fn shell(line: &str, report: &Report<'_>) -> Option<Diagnostic> {
    let (file, rest) = match line
        .split_once(": line ")
        .or_else(|| line.split_once(": Zeile "))
        .or_else(|| line.split_once(": ligne "))
    {
        Some(found) => found,
        // dash: `main.sh: 3: ehco: not found`
        None => line.split_once(": ").filter(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))?,
    };
    let (line, message) = number(rest)?;
    let own = report.source_file.is_empty() || report.is_own(file) || matches!(file, "bash" | "sh");
    let message = message.trim_start_matches([':', ' ', '.']);
    own.then(|| Diagnostic::new("bash", "", message).at(file, line, 0))
}

fn is_syntax(message: &str) -> bool {
    ["syntax error", "Syntax error", "unexpected EOF", "Syntaxfehler", "erreur de syntaxe"]
        .iter()
        .any(|words| message.contains(words))
}

/// `head: cannot open 'data.csv' for reading: No such file or directory`
fn command(line: &str) -> Option<Diagnostic> {
    let (name, message) = line.split_once(": ")?;
    let plausible = !name.is_empty() && name.len() < 40 && !name.contains(char::is_whitespace);
    plausible.then(|| Diagnostic::new("command", name, message))
}
