//! Recorded failures, and whether a hint achieves what a record expects of it.

use std::collections::BTreeMap;

use evalx_core::{Hint, HintProvider, HintRequest, Outcome, Phase, ProgramEnd};
use evalx_hints::HintEngine;
use regex::RegexBuilder;
use serde_json::Value;

/// How many of the records that ask for something got it.
#[derive(Debug, Default)]
pub(crate) struct Tally(pub(crate) BTreeMap<&'static str, (usize, usize)>);

impl Tally {
    fn count(&mut self, what: &'static str, right: bool) -> bool {
        let (good, all) = self.0.entry(what).or_default();
        *good += usize::from(right);
        *all += 1;
        right
    }
}

/// The text of a field.
pub(crate) fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The hints for a record.
pub(crate) fn answer(engine: &HintEngine, record: &Value) -> Vec<Hint> {
    let [language, file, source, stdout, stderr] =
        ["language", "source_file", "source", "stdout", "stderr"].map(|key| string(&record[key]));
    let phase = if record["phase"] == "compile" { Phase::Compile } else { Phase::Run };
    let end = match (record["exit_code"].as_i64(), record["signal"].as_str()) {
        (Some(code), _) => i32::try_from(code).ok().map(ProgramEnd::Code),
        (None, Some(signal)) => signal.parse().ok().map(ProgramEnd::Signal),
        _ => None,
    };
    let mut request = HintRequest::new(&language, phase)
        .with_output(stdout.as_bytes(), stderr.as_bytes())
        .with_source(&file, source.as_bytes());
    request.outcome = end.map(|end| match end {
        ProgramEnd::Code(code) => Outcome::Exited(code),
        ProgramEnd::Signal(signal) => Outcome::Signaled(signal),
    });
    request.end = end;
    if record["timed_out"] == true {
        request.outcome = Some(Outcome::WallTimeLimit);
    } else if record["oom_killed"] == true {
        request.outcome = Some(Outcome::MemoryLimit);
    }
    engine.hints(&request)
}

/// The text of a hint.
pub(crate) fn text(hint: &Hint) -> String {
    format!("{}\n{}\n{}", hint.title, hint.explanation, hint.suggestion.as_deref().unwrap_or_default())
}

/// What is wrong with the answer.
pub(crate) fn judge(expect: &Value, hints: &[Hint], tally: &mut Tally) -> Vec<String> {
    let mut wrong = Vec::new();
    if expect["no_hint"] == true {
        if !tally.count("silence", hints.is_empty()) {
            wrong.push(format!("not silent: {}", hints[0].title));
        }
        return wrong;
    }
    let Some(hint) = hints.first() else {
        for what in ["category", "concept"] {
            tally.count(what, false);
        }
        for what in ["identifier", "line", "suggestion"] {
            if !expect[what].is_null() {
                tally.count(what, false);
            }
        }
        return vec!["no hint".to_owned()];
    };
    let strings =
        |key: &str| -> Vec<String> { expect[key].as_array().into_iter().flatten().map(string).collect() };
    let matches = |pattern: &String| {
        let pattern = RegexBuilder::new(pattern).case_insensitive(true).dot_matches_new_line(true).build();
        pattern.is_ok_and(|pattern| pattern.is_match(&text(hint)))
    };
    let mut check = |what: &'static str, right: bool, said: String| {
        if !tally.count(what, right) {
            wrong.push(format!("{what}: {said} [{}]", hint.rule));
        }
    };
    let category =
        hint.category == string(&expect["category"]) || strings("also_ok").contains(&hint.category);
    check("category", category, format!("{} for {}", hint.category, string(&expect["category"])));
    let (must, must_not) = (strings("must_mention"), strings("must_not_mention"));
    let concept = (must.is_empty() || must.iter().any(matches)) && !must_not.iter().any(matches);
    check("concept", concept, format!("{:?} for {must:?} not {must_not:?}", text(hint)));
    if let Some(identifier) = expect["identifier"].as_str() {
        check(
            "identifier",
            hint.identifier.as_deref() == Some(identifier),
            format!("{:?} for {identifier}", hint.identifier),
        );
    }
    if let Some(line) = expect["line"].as_u64() {
        check("line", hint.line.map(u64::from) == Some(line), format!("{:?} for {line}", hint.line));
    }
    if let Some(suggestion) = expect["suggestion"].as_str() {
        let offered = hint.suggestion.as_deref().is_some_and(|text| text.contains(suggestion));
        check("suggestion", offered, format!("{:?} for {suggestion}", hint.suggestion));
    }
    wrong
}
