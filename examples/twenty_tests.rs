//! How long twenty tests of a compiled program take beyond its compile.
//!
//! `cargo run --release --example twenty_tests`: evaluates a C++ program that
//! adds two numbers ten times, with twenty tests each, then once more without
//! a change, which must not compile.

use std::time::{Duration, Instant};

use evalx::{Evaluator, NativeConfig, NativeSandbox, Result, Sandbox, Submission, Test};

const PROGRAM: &str =
    "#include <iostream>\nint main() { long a, b; std::cin >> a >> b; std::cout << a + b << '\\n'; }\n";

#[tokio::main]
#[expect(clippy::print_stdout, reason = "its output is what it is for")]
async fn main() -> Result<()> {
    let sandbox = std::sync::Arc::new(NativeSandbox::start(NativeConfig::default()).await?);
    sandbox.ready().await?;
    let evaluator = Evaluator::new(std::sync::Arc::clone(&sandbox));
    let mut beyond: Vec<Duration> = Vec::new();
    for round in 0..10 {
        // Another program each time, so that each is compiled.
        let program = format!("// {round}\n{PROGRAM}");
        let began = Instant::now();
        let evaluation = evaluator.evaluate(submission(&program)).await?;
        let compile = evaluation.compile.map_or(Duration::ZERO, |compile| compile.report.wall_time);
        beyond.push(began.elapsed().saturating_sub(compile));
    }
    beyond.sort();
    println!("twenty tests beyond the compile: median {:?}, all {beyond:?}", beyond[beyond.len() / 2]);
    let began = Instant::now();
    let again = evaluator.evaluate(submission(&format!("// 9\n{PROGRAM}"))).await?;
    let cached = again.compile.is_some_and(|compile| compile.cached);
    println!("the same again: {:?}, cached: {cached}, {:?}", began.elapsed(), again.verdict);
    sandbox.shutdown().await
}

fn submission(program: &str) -> Submission {
    let tests = (1..=20)
        .map(|n| Test::new(format!("{n}"), format!("{n} {n}\n")).with_expected(format!("{}\n", 2 * n)));
    Submission::new("cpp", program.to_owned()).with_tests(tests)
}
