//! The engine is total: whatever bytes it is given, it answers soon and briefly.

use evalx_core::{Hint, HintProvider, HintRequest, Outcome, Phase, Signal};
use evalx_hints::{Category, HintEngine};
use proptest::prelude::*;
use std::sync::LazyLock;

static ENGINE: LazyLock<HintEngine> = LazyLock::new(HintEngine::new);

/// Pieces that parsers look for, to be put together at random.
const PIECES: &[&str] = &[
    "Traceback (most recent call last):\n",
    "  File \"main.py\", line 1, in f\n",
    "NameError: name 'x' is not defined\n",
    "main.c:1:2: error: ",
    "expected ';' before '}' token",
    "Main.java:3: error: cannot find symbol\n",
    "  symbol:   variable x\n",
    "Exception in thread \"main\" java.lang.",
    "\tat Main.main(Main.java:4)\n",
    "Caused by: ",
    "/box/main.js:2\n",
    "^\n",
    "\n",
    "    at f (",
    "Node.js v20\n",
    "error[E0425]: ",
    " --> main.rs:1:2\n",
    "thread 'main' panicked at ",
    "panic: ",
    "goroutine 1 [running]:\n",
    "./main.go:1:2: undefined: x\n",
    "PHP Fatal error:  Uncaught ",
    " in /box/main.php:3\n",
    "main.sh: line 3: ",
    "main.rb:1:in `f': ",
    " (NameError)\n",
    "main.ts(1,2): error TS2304: ",
    "Main.hs:1:2: error:\n",
    "==1==ERROR: AddressSanitizer: ",
    "runtime error: ",
    "terminate called after throwing an instance of '",
    "undefined reference to `x'\n",
    "‘",
    "’",
    "»",
    "\u{1b}[31m",
    "\r",
    "(",
    ")",
    "{",
    "}",
    "4294967296",
    ":",
    "99999999999999999999:1: error: x\n",
    "é",
    "\u{202e}",
    "`",
    "'",
    "\"",
    "x.y::z",
];

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        (1..256i32).prop_map(Outcome::Exited),
        (1..32i32).prop_map(|number| Outcome::Signaled(Signal::from_number(number).unwrap())),
        Just(Outcome::WallTimeLimit),
        Just(Outcome::MemoryLimit),
        Just(Outcome::ForbiddenSyscall("`x`\n".to_owned())),
    ]
}

fn language() -> impl Strategy<Value = &'static str> {
    let mut all: Vec<&'static str> = HintEngine::languages().collect();
    all.extend(["c++", "fortran", ""]);
    prop::sample::select(all)
}

fn output() -> impl Strategy<Value = Vec<u8>> {
    let text = prop::collection::vec(prop::sample::select(PIECES), 0..30)
        .prop_map(|pieces| pieces.concat().into_bytes());
    prop_oneof![text, prop::collection::vec(any::<u8>(), 0..400)]
}

fn check(hints: &[Hint]) {
    assert!(hints.len() <= 3);
    for hint in hints {
        let length =
            hint.title.len() + hint.explanation.len() + hint.suggestion.as_ref().map_or(0, String::len);
        assert!(length < 600, "{hint:?}");
        assert!(Category::named(&hint.category).is_some(), "{hint:?}");
        assert!((0.0..=1.0).contains(&hint.confidence), "{hint:?}");
        assert_ne!(hint.line, Some(0), "{hint:?}");
        for text in
            [Some(&hint.title), Some(&hint.explanation), hint.suggestion.as_ref()].into_iter().flatten()
        {
            assert!(!text.contains(['\u{1b}', '\r', '\u{202e}']), "{hint:?}");
            assert!(!text.contains("{?") && !text.contains("?}"), "{hint:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn anything_is_answered(
        language in language(), compile: bool, outcome in outcome(),
        stderr in output(), stdout in output(), source in output(),
    ) {
        let phase = if compile { Phase::Compile } else { Phase::Run };
        let request = HintRequest::new(language, phase)
            .with_outcome(outcome)
            .with_output(&stdout, &stderr)
            .with_source("main.py", &source);
        check(&ENGINE.hints(&request));
    }

    #[test]
    fn success_is_silence(language in language(), stderr in output(), stdout in output(), source in output()) {
        for phase in [Phase::Compile, Phase::Run] {
            let request = HintRequest::new(language, phase)
                .with_outcome(Outcome::Exited(0))
                .with_output(&stdout, &stderr)
                .with_source("main.c", &source);
            prop_assert!(ENGINE.hints(&request).is_empty());
        }
    }

    #[test]
    fn rules_of_hosts_are_taken_or_refused(text in "\\PC{0,200}") {
        drop(HintEngine::new().with_rules("python", &text));
    }
}

/// Ten mebibytes of what may be hard: no newline, only newlines, brackets,
/// quotation marks, diagnostics without end.
#[test]
fn much_is_answered_too() {
    const SIZE: usize = 10 << 20;
    let languages: Vec<&str> = HintEngine::languages().collect();
    ENGINE.warm_up(languages.iter().copied());
    // Each piece is tried in some of the languages, all in all in each.
    let mut turn = languages.chunks(4).cycle();
    for piece in [
        "x",
        "\n",
        "(",
        "'",
        "a:1:1: error: expected ';' before 'x'\n",
        "  File \"m.py\", line 1\n",
        "\u{1b}[1m",
        "\tat A.b(A.java:1)\n",
        "é‘",
        "\0",
    ] {
        let output = piece.repeat(SIZE / piece.len());
        for language in turn.next().unwrap() {
            for phase in [Phase::Compile, Phase::Run] {
                let request = HintRequest::new(language, phase)
                    .with_outcome(Outcome::Exited(1))
                    .with_output(b"", output.as_bytes())
                    .with_source("m.py", &output.as_bytes()[..1 << 16]);
                check(&ENGINE.hints(&request));
            }
        }
    }
}
