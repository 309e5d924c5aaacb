//! Errors of Perl and Lua, which name their place at the end or the beginning.

use super::Report;
use super::place;
use crate::diagnostic::Diagnostic;

/// `Can't locate object method "x" via package "Y" at main.pl line 3.`
pub(super) fn parse_perl(report: &Report<'_>) -> Vec<Diagnostic> {
    let placed = |line: &str| {
        let (message, place) = line.split_once(" at ").filter(|(_, place)| place.contains(" line "))?;
        let (file, rest) = place.split_once(" line ")?;
        let (line, rest) = place::number(rest)?;
        let mut diagnostic = Diagnostic::new("perl", "", message).at(file, line, 0);
        diagnostic.push_detail(rest);
        report.is_own(file).then_some(diagnostic)
    };
    let lines: Vec<&str> = report.stderr.lines().collect();
    // Of errors in compiling the first counts; of those in running the last,
    // which ends the output, since any exit status is possible.
    let compiled = lines.iter().any(|line| {
        ["aborted due to compilation errors", "had compilation errors", "BEGIN failed--"]
            .iter()
            .any(|words| line.contains(words))
    });
    let found = match compiled {
        true => lines.iter().find_map(|line| placed(line)),
        false => lines.iter().rfind(|line| !line.trim().is_empty()).and_then(|line| placed(line)),
    };
    found.into_iter().collect()
}

/// `lua: main.lua:3: attempt to call a nil value (global 'prnt')`
pub(super) fn parse_lua(report: &Report<'_>) -> Vec<Diagnostic> {
    if !report.may_have_exited(1) {
        return Vec::new();
    }
    let found = report.stderr.lines().rev().find_map(|line| {
        let (program, rest) = line
            .split_once(": ")
            .filter(|(program, _)| program.starts_with("lua") || program.ends_with("lua"))?;
        let _ = program;
        let placed = place::read(rest)?;
        Some(Diagnostic::new("lua", "", placed.rest).at(placed.file, placed.line, 0))
    });
    found.into_iter().collect()
}
