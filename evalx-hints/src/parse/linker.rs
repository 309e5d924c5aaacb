//! What linkers say: GNU ld, gold, lld.

use std::sync::LazyLock;

use regex::Regex;

use super::Report;
use super::place::number;
use crate::diagnostic::Diagnostic;

/// The errors of a linker; what it could not find, and what it found twice.
pub(super) fn parse(report: &Report<'_>) -> Vec<Diagnostic> {
    static BEGINS: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let words: Vec<String> = MESSAGES.iter().map(|words| regex::escape(words)).collect();
        Regex::new(&words.join("|")).ok()
    });
    let mut found = Vec::new();
    let Some(begins) = BEGINS.as_ref() else { return found };
    let mut function = "";
    for line in report.stderr.lines() {
        if let Some(at) = line.find(": in function `").or_else(|| line.find(": in Funktion »")) {
            let name = &line[at..];
            function = name
                .find(['`', '»'])
                .map_or("", |quote| name[quote..].trim_matches(['`', '»', '«', '\'', ':']));
            continue;
        }
        let Some(message) = begins.find(line).map(|words| &line[words.start()..]) else { continue };
        let mut diagnostic = Diagnostic::new("ld", "", message);
        function.clone_into(&mut diagnostic.function);
        // With debug information: `/box/main.c:4: undefined reference …`.
        let before = line[..line.len() - message.len()].trim_end_matches([' ', ':', '>']);
        if let Some((path, number)) = before.rsplit_once(':').and_then(|(path, n)| Some((path, number(n)?.0)))
        {
            let file = path.rsplit([' ', ':']).next().unwrap_or(path);
            diagnostic = diagnostic.at(file, number, 0);
        }
        if line.contains("_start") || function == "_start" {
            diagnostic.function.clear();
        }
        found.push(diagnostic);
        if found.len() == super::MOST {
            break;
        }
    }
    found
}

/// How their messages begin.
const MESSAGES: &[&str] = &[
    "undefined reference to",
    "nicht definierter Verweis auf",
    "référence indéfinie vers",
    "referencia a `",
    "riferimento non definito a",
    "undefined symbol: ",
    "multiple definition of",
    "Mehrfachdefinition von",
    "définitions multiples de",
    "duplicate symbol: ",
    "cannot find -l",
    "kann -l",
    "cannot find ",
    "unable to find library -l",
    "undefined symbols for architecture",
    "relocation truncated to fit",
];
