//! How long does a submission with twenty tests take: compiled once, each test
//! in a session of its own, judged?

use std::fs::File;
use std::process::Stdio;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use evalx_benches::contender::{Contender, Stage, bare};
use evalx_benches::workload::HELLO_CPP;
use evalx_core::{ByteSize, Evaluator, Submission, Test, Verdict};

const TESTS: usize = 20;

fn twenty_tests(criterion: &mut Criterion) {
    let mut stage = Stage::set("twenty_tests");
    // Each submission meets a warm pool.
    stage.rested = true;
    stage.contenders.retain(|(_, contender)| !matches!(contender, Contender::Run(_)));
    let folder = stage.programs.folder().to_owned();
    std::fs::write(folder.join("main.cpp"), HELLO_CPP).expect("the folder can be written");
    std::fs::write(folder.join("input"), "41\n").expect("the folder can be written");
    for compiled in [false, true] {
        let task = if compiled { "20 tests of a compiled C++ program" } else { "C++ compiled, and 20 tests" };
        // One evaluator for a contender keeps what it has compiled.
        let mut evaluators: Vec<(String, Evaluator)> = Vec::new();
        stage.compare(criterion, "twenty_tests", task, |contender| {
            let evaluator = match &contender {
                Contender::Sandbox(sandbox, _) => {
                    let name = sandbox.to_string();
                    let known = evaluators.iter().find(|(known, _)| *known == name);
                    Some(known.map(|(_, evaluator)| evaluator.clone()).unwrap_or_else(|| {
                        let cache = if compiled { ByteSize::mib(64) } else { ByteSize::ZERO };
                        let evaluator = Evaluator::new(Arc::clone(sandbox)).with_cache(cache);
                        evaluators.push((name, evaluator.clone()));
                        evaluator
                    }))
                }
                _ => None,
            };
            let folder = &folder;
            async move {
                match (contender, evaluator) {
                    (_, Some(evaluator)) => {
                        let tests = (0..TESTS)
                            .map(|number| Test::new(number.to_string(), "41\n").with_expected("42"));
                        let submission = tests.fold(Submission::new("cpp", HELLO_CPP), Submission::with_test);
                        let evaluation = evaluator.evaluate(submission).await.expect("it is evaluated");
                        assert_eq!(evaluation.verdict, Verdict::Accepted, "{evaluation:?}");
                    }
                    (Contender::Exec(warm), _) => {
                        if !compiled {
                            let command = ["g++", "-O2", "-o", "/box/main", "/programs/main.cpp"];
                            warm.execute(&command, b"").await.expect("it compiles");
                        }
                        for _ in 0..TESTS {
                            let printed = warm.execute(&["/box/main"], b"41\n").await.expect("it runs");
                            assert_eq!(printed, b"42\n");
                        }
                    }
                    (_, None) => {
                        if !compiled || !folder.join("main").exists() {
                            drop(bare(folder, &["g++", "-O2", "-o", "main", "main.cpp"], Stdio::null()));
                        }
                        for _ in 0..TESTS {
                            let input = File::open(folder.join("input")).expect("it was written");
                            assert_eq!(bare(folder, &["./main"], input.into()), b"42\n");
                        }
                    }
                }
            }
        });
    }
    stage.end();
}

criterion_group!(benches, twenty_tests);
criterion_main!(benches);
