//! Outputs of real compilers and interpreters on broken programs, recorded, and
//! what the first hint must say of each.
//!
//! The programs were written after the rules, to see how those generalise.

mod judging;

use std::fs;
use std::path::Path;

use evalx_hints::HintEngine;
use judging::{Tally, answer, judge, string, text};
use serde_json::Value;

fn records() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let mut records = Vec::new();
    for file in fs::read_dir(folder).expect("the folder is there") {
        let text = fs::read_to_string(file.expect("an entry").path()).expect("UTF-8");
        records.extend(text.lines().map(|line| serde_json::from_str(line).expect("JSON")));
    }
    assert!(records.len() > 1000, "only {} records", records.len());
    records
}

#[test]
fn recorded_failures_are_explained() {
    let engine = HintEngine::new();
    let mut tally = Tally::default();
    let mut wrong = Vec::new();
    for record in records() {
        let hints = answer(&engine, &record);
        let found: Vec<String> = judge(&record["expect"], &hints, &mut tally);
        wrong.extend(found.into_iter().map(|what| format!("{}: {what}", string(&record["id"]))));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn hints_are_short() {
    let engine = HintEngine::new();
    let mut lengths: Vec<usize> = Vec::new();
    for record in records() {
        for hint in answer(&engine, &record) {
            assert!(text(&hint).len() < 600, "{}: {}", hint.rule, text(&hint));
            lengths.push(text(&hint).len());
        }
    }
    lengths.sort_unstable();
    assert!(lengths[lengths.len() / 2] < 250, "half of them have over {} bytes", lengths[lengths.len() / 2]);
}

#[test]
fn a_program_that_does_well_is_left_in_peace() {
    let engine = HintEngine::new();
    for mut record in records() {
        record["exit_code"] = 0.into();
        for fact in ["signal", "timed_out", "oom_killed"] {
            record[fact] = Value::Null;
        }
        assert!(answer(&engine, &record).is_empty(), "{}", record["id"]);
    }
}

#[test]
fn what_a_program_prints_is_no_error() {
    // The whole report, printed by a program that then chose its own status.
    let engine = HintEngine::new();
    for mut record in records() {
        if record["phase"] == "run" && record["exit_code"].is_number() {
            let printed = format!("{}\nthat was the log\n", string(&record["stderr"]));
            record["stderr"] = printed.clone().into();
            record["exit_code"] = 42.into();
            let hints = answer(&engine, &record);
            let language = string(&record["language"]);
            let sanitizer = ["Sanitizer: ", "runtime error: "].iter().any(|words| printed.contains(words));
            let ended = record["timed_out"] == true || record["oom_killed"] == true;
            // Shells pass on any status, and sanitizers may be told one.
            if language != "bash" && !sanitizer && !ended {
                assert_eq!(hints[0].category, "nonzero-exit", "{}", record["id"]);
            }
        }
    }
}
