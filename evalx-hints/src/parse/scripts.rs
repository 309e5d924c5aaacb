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
    // What ends the output counts, since any exit status is possible; of errors
    // in compiling, which end it together, it is the first.
    let last = lines.iter().rfind(|line| !line.trim().is_empty()).copied().unwrap_or_default();
    let compiled = ["aborted due to compilation errors", "had compilation errors", "BEGIN failed--"]
        .iter()
        .any(|words| last.contains(words));
    let found = match compiled {
        true => lines.iter().find_map(|line| placed(line)),
        false => placed(last),
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
