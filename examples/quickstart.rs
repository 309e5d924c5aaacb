//! Compiles a C++ program once, judges it over three tests, prints the verdicts.
//!
//! Run it by `cargo run --release --example quickstart`. It needs `g++`, and
//! to be root or in a cgroup that was delegated: see `docs/platform.md`.
#![expect(clippy::print_stdout, reason = "an example shows what it got")]

use std::sync::Arc;

use evalx::{Evaluator, NativeConfig, NativeSandbox, Sandbox, Submission, Test};

const DIVIDE: &str = "#include <iostream>
int main() { int a, b; std::cin >> a >> b; std::cout << a / b << '\\n'; }";

#[tokio::main]
async fn main() -> evalx::Result<()> {
    let sandbox = Arc::new(NativeSandbox::start(NativeConfig::default()).await?);
    let submission = Submission::new("cpp", DIVIDE)
        .with_test(Test::new("even", "6 3").with_expected("2"))
        .with_test(Test::new("rounded", "7 2").with_expected("4"))
        .with_test(Test::new("by nothing", "1 0").with_expected("0"));
    let evaluation = Evaluator::new(Arc::clone(&sandbox)).evaluate(submission).await?;
    for test in &evaluation.tests {
        println!("{}: {} {}", test.name, test.verdict, test.message.as_deref().unwrap_or_default());
    }
    println!("all together: {}", evaluation.verdict);
    sandbox.shutdown().await
}
