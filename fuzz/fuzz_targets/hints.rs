//! Any bytes as the output of any tool: the engine must answer, briefly.
//!
//! The first byte of an input chooses the language, the second the phase and
//! how it ended; the output follows, and behind a zero byte the source.
#![no_main]

use std::sync::LazyLock;

use evalx_core::{HintProvider, HintRequest, Outcome, Phase, Signal};
use evalx_hints::HintEngine;
use libfuzzer_sys::fuzz_target;

static ENGINE: LazyLock<HintEngine> = LazyLock::new(HintEngine::new);

/// The statuses with which tools report an error of a program.
const STATUSES: [i32; 9] = [1, 2, 7, 13, 101, 126, 127, 251, 255];

/// What the tool calls the learner's file, so that places in it are found.
fn source_file(language: &str) -> &'static str {
    match language {
        "c" | "objective_c" => "main.c",
        "cpp" => "main.cpp",
        "java" => "Main.java",
        "kotlin" => "Main.kt",
        "haskell" => "Main.hs",
        "javascript" => "main.js",
        "typescript" => "main.ts",
        "rust" => "main.rs",
        "go" => "main.go",
        "ruby" => "main.rb",
        "php" => "main.php",
        "bash" => "main.sh",
        "csharp" => "Main.cs",
        "swift" => "main.swift",
        "perl" => "main.pl",
        "lua" => "main.lua",
        _ => "main.py",
    }
}

fuzz_target!(|data: &[u8]| {
    let [language, end, rest @ ..] = data else { return };
    let languages: Vec<&str> = HintEngine::languages().collect();
    let language = languages[usize::from(*language) % languages.len()];
    let phase = if end & 1 == 0 { Phase::Compile } else { Phase::Run };
    let outcome = match end >> 1 {
        0 => Outcome::Exited(1),
        number @ 1..=31 => Signal::from_number(i32::from(number)).map_or(Outcome::Exited(1), Outcome::Signaled),
        code => Outcome::Exited(STATUSES[usize::from(code) % STATUSES.len()]),
    };
    let zero = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let (output, source) = rest.split_at(zero);
    let request = HintRequest::new(language, phase)
        .with_outcome(outcome)
        .with_output(output, output)
        .with_source(source_file(language), source.get(1..).unwrap_or_default());
    for hint in ENGINE.hints(&request) {
        let length = hint.title.len() + hint.explanation.len() + hint.suggestion.map_or(0, |text| text.len());
        assert!(length < 600, "{}", hint.rule);
    }
});
