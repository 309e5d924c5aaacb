//! Any bytes as the output of any tool: the engine must answer, briefly.
#![no_main]

use std::sync::LazyLock;

use evalx_core::{HintProvider, HintRequest, Outcome, Phase, Signal};
use evalx_hints::HintEngine;
use libfuzzer_sys::fuzz_target;

static ENGINE: LazyLock<HintEngine> = LazyLock::new(HintEngine::new);

fuzz_target!(|data: &[u8]| {
    // The first bytes choose the language, the phase and the end; the rest is
    // the output, and what follows a zero byte the source.
    let [language, end, rest @ ..] = data else { return };
    let languages: Vec<&str> = HintEngine::languages().collect();
    let language = languages[usize::from(*language) % languages.len()];
    let phase = if end & 1 == 0 { Phase::Compile } else { Phase::Run };
    let outcome = match end >> 1 {
        number @ 1..=31 => Signal::from_number(i32::from(number)).map_or(Outcome::Exited(1), Outcome::Signaled),
        code => Outcome::Exited(i32::from(code)),
    };
    let zero = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let (output, source) = rest.split_at(zero);
    let request = HintRequest::new(language, phase)
        .with_outcome(outcome)
        .with_output(output, output)
        .with_source("main.py", source);
    for hint in ENGINE.hints(&request) {
        let length = hint.title.len() + hint.explanation.len() + hint.suggestion.map_or(0, |text| text.len());
        assert!(length < 600, "{}", hint.rule);
    }
});
