//! Tries the built-in rules on their own examples.
//!
//! Every rule carries an output that it explains, messages that it must match
//! and messages that it must not; nothing is loaded that has not shown that.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use evalx_core::{Hint, HintProvider, HintRequest, Outcome, Phase, Signal};

use crate::builtin::{FILES, files};
use crate::diagnostic::Diagnostic;
use crate::engine::HintEngine;
use crate::language::PROFILES;
use crate::matching::Scene;
use crate::rule::Rule;
use crate::rulebook::{CompiledRule, RuleBook, parse_rules};
use crate::source::Source;
use crate::text::plain_quotes;
use crate::vocabulary::Vocabulary;

fn none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

/// Each file with its rules.
pub(crate) fn rules() -> Vec<(&'static str, Rule)> {
    let mut all = Vec::new();
    for file in FILES.iter().filter(|file| file.name != "words") {
        let name = format!("{}/{}.toml", file.folder, file.name);
        let rules = parse_rules(&name, file.text).unwrap_or_else(|error| panic!("{name}: {}", chain(&error)));
        all.extend(rules.into_iter().map(|rule| (file.folder, rule)));
    }
    all
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}

#[test]
fn every_file_of_the_folder_is_embedded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let mut wrong = Vec::new();
    for language in fs::read_dir(&folder).unwrap() {
        for file in fs::read_dir(language.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(&folder).unwrap().with_extension("").display().to_string();
            if !FILES.iter().any(|file| format!("{}/{}", file.folder, file.name) == name) {
                wrong.push(name);
            }
        }
    }
    none("files that `builtin.rs` does not embed", &wrong);
}

#[test]
fn every_pattern_compiles_and_every_value_exists() {
    let mut wrong = Vec::new();
    for (_, rule) in rules() {
        let id = rule.id.clone();
        let checked = RuleBook::new(vec![rule], Vocabulary::default()).and_then(|book| book.check());
        wrong.extend(checked.err().map(|error| format!("{id}: {}", chain(&error))));
    }
    none("rules that are refused", &wrong);
    for file in FILES.iter().filter(|file| file.name == "words") {
        Vocabulary::parse(file.text).unwrap_or_else(|error| panic!("{}/words.toml: {error}", file.folder));
    }
}

#[test]
fn no_needle_hides_what_its_pattern_matches() {
    let mut wrong = Vec::new();
    let folders: HashSet<&str> = FILES.iter().map(|file| file.folder).collect();
    for folder in folders {
        let all: Vec<Rule> =
            rules().into_iter().filter(|(of, _)| *of == folder).map(|(_, rule)| rule).collect();
        let said = all.iter().flat_map(|rule| rule.matches.iter().chain(&rule.rejects));
        let mut texts: Vec<String> = said.map(|message| plain_quotes(message)).collect();
        for rule in &all {
            texts.extend(plain_quotes(&rule.example).lines().take(6).map(str::to_owned));
        }
        for rule in all {
            let CompiledRule { messages, .. } = CompiledRule::new(rule.clone()).unwrap();
            for pattern in &messages {
                let regex = pattern.get().unwrap();
                let hidden = |text: &&str| regex.is_match(text) && !pattern.may_match(text);
                // Each text, and what is behind a place or a class in it.
                let parts = texts.iter().flat_map(|text| {
                    text.match_indices(": ").map(|(at, _)| &text[at + 2..]).chain([text.as_str()])
                });
                wrong.extend(parts.filter(hidden).map(|text| format!("{}: {text}", rule.id)));
            }
        }
    }
    none("texts that a pattern matches and its needles do not allow", &wrong);
}

#[test]
fn ids_are_unique_and_name_their_folder() {
    let mut seen = HashSet::new();
    let mut wrong = Vec::new();
    for (folder, rule) in rules() {
        if !seen.insert(rule.id.clone()) || !rule.id.starts_with(&format!("{folder}/")) {
            wrong.push(rule.id);
        }
    }
    none("ids that are used twice or begin with another folder", &wrong);
}

#[test]
fn every_language_has_its_rules() {
    for profile in PROFILES {
        for folder in profile.folders {
            assert!(files(folder).next().is_some(), "{}: there are no rules in `{folder}`", profile.id);
        }
    }
}

/// The language that tries the rules of a folder.
fn language_of(folder: &str) -> &'static str {
    match folder {
        "any" | "native" => "c",
        "jvm" => "java",
        folder => PROFILES.iter().find(|profile| profile.id == folder).map_or("", |profile| profile.id),
    }
}

/// The endings that an output may have had.
fn endings() -> Vec<(Phase, Outcome)> {
    let mut all = vec![(Phase::Compile, Outcome::Exited(1))];
    for code in [1, 2, 3, 101, 127, 126, 255] {
        all.push((Phase::Run, Outcome::Exited(code)));
    }
    for signal in
        [Signal::SEGV, Signal::ABRT, Signal::FPE, Signal::ILL, Signal::KILL, Signal::TERM, Signal::PIPE]
    {
        all.push((Phase::Run, Outcome::Signaled(signal)));
    }
    for outcome in [
        Outcome::WallTimeLimit,
        Outcome::MemoryLimit,
        Outcome::OutputLimit,
        Outcome::ProcessLimit,
        Outcome::DiskLimit,
        Outcome::ForbiddenSyscall("ptrace".to_owned()),
    ] {
        all.push((Phase::Run, outcome));
    }
    all.push((Phase::Compile, Outcome::WallTimeLimit));
    all
}

/// What is said first about a rule's example, for each way it may have ended.
pub(crate) fn explanations(engine: &HintEngine, folder: &str, rule: &Rule) -> Vec<Hint> {
    let of_any_compiler = rule.tool.0.iter().any(|tool| tool == "compiler");
    let language = if of_any_compiler { "fortran" } else { language_of(folder) };
    let first = |(phase, outcome): (Phase, Outcome)| {
        let request = HintRequest::new(language, phase)
            .with_outcome(outcome)
            .with_output(rule.example.as_bytes(), rule.example.as_bytes())
            .with_source(&rule.source_file, rule.source.as_bytes());
        engine.hints(&request).into_iter().next()
    };
    endings().into_iter().filter_map(first).collect()
}

#[test]
fn every_rule_explains_its_example() {
    let engine = HintEngine::new();
    let mut wrong = Vec::new();
    for (folder, rule) in rules() {
        if rule.example.is_empty() && folder != "any" {
            wrong.push(format!("{}: it has no example", rule.id));
            continue;
        }
        let explained: Vec<String> =
            explanations(&engine, folder, &rule).into_iter().map(|hint| hint.rule).collect();
        if !explained.contains(&rule.id) {
            let others: HashSet<_> = explained.into_iter().filter(|id| !id.starts_with("any/")).collect();
            wrong.push(format!("{}: its example is explained by {others:?}", rule.id));
        }
    }
    none("rules that do not explain their example", &wrong);
}

#[test]
fn rules_match_what_they_must_and_nothing_else() {
    let engine = HintEngine::new();
    let mut wrong = Vec::new();
    for (folder, rule) in rules() {
        let (book, _) = engine.book(language_of(folder));
        let source = Source::new(rule.source.as_bytes());
        let scene = Scene { book, source: &source, source_file: "", facts: &[], documentation: None };
        let explained = |message: &String| {
            let (kind, message) =
                match message.split_once(": ").filter(|(kind, _)| rule.kind.0.iter().any(|k| k == kind)) {
                    Some((kind, message)) => (kind, message),
                    None => (rule.kind.0.first().map_or("", String::as_str), message.as_str()),
                };
            let tool: &'static str = tool(rule.tool.0.first().map_or("", String::as_str));
            let mut diagnostic = Diagnostic::new(tool, kind, message);
            diagnostic.in_library = rule.in_library == Some(true);
            scene.explain(&diagnostic).map(|hint| hint.rule)
        };
        for message in &rule.matches {
            let by = explained(message);
            if by.as_ref() != Some(&rule.id) {
                wrong.push(format!("{}: `{message}` is explained by {by:?}", rule.id));
            }
        }
        for message in &rule.rejects {
            if explained(message).as_ref() == Some(&rule.id) {
                wrong.push(format!("{}: `{message}` must not match", rule.id));
            }
        }
    }
    none("rules that match wrongly", &wrong);
}

/// The name of a tool as the parsers have it.
fn tool(name: &str) -> &'static str {
    const TOOLS: &[&str] = &[
        "gcc",
        "ld",
        "driver",
        "terminate",
        "glibc",
        "assert",
        "asan",
        "lsan",
        "tsan",
        "msan",
        "ubsan",
        "python",
        "javac",
        "jvm",
        "java",
        "kotlinc",
        "node",
        "v8",
        "tsc",
        "csc",
        "rustc",
        "panic",
        "main-result",
        "go",
        "go-panic",
        "go-fatal",
        "log",
        "ruby",
        "php",
        "bash",
        "command",
        "ghc",
        "haskell",
        "dotnet",
        "swiftc",
        "errno",
        "swift",
        "perl",
        "lua",
        "supervisor",
        "end",
        "compiler",
    ];
    TOOLS.iter().find(|tool| **tool == name).copied().unwrap_or_default()
}
