//! How long does it take to explain a failure: a usual one, one with a mebibyte
//! of output, and the first in a language, whose rules are compiled for it?

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use evalx_benches::contender::{WARM_UP, patience};
use evalx_core::{HintProvider, HintRequest, Outcome, Phase};
use evalx_hints::HintEngine;

const PYTHON: &str = "Traceback (most recent call last):\n  File \"/box/main.py\", line 3, in <module>\n    print(totl)\n          ^^^^\nNameError: name 'totl' is not defined\n";
const JAVAC: &str = "Main.java:3: error: cannot find symbol\n        Scanner in = new Scanner(System.in);\n        ^\n  symbol:   class Scanner\n  location: class Main\n1 error\n";
const GCC: &str = "main.cpp: In function ‘int main()’:\nmain.cpp:3:18: error: ‘total’ was not declared in this scope\n    3 |     std::cout << total << std::endl;\n      |                  ^~~~~\n";

fn request<'a>(language: &'a str, phase: Phase, stderr: &'a str) -> HintRequest<'a> {
    HintRequest::new(language, phase)
        .with_outcome(Outcome::Exited(1))
        .with_output(b"", stderr.as_bytes())
        .with_source("main.py", b"total = 3\nprint('x')\nprint(totl)\n")
}

fn usual(criterion: &mut Criterion) {
    let engine = HintEngine::new();
    let mut group = criterion.benchmark_group("hints/usual");
    group.warm_up_time(WARM_UP).measurement_time(patience().min(Duration::from_secs(2)));
    for (language, phase, stderr) in
        [("python", Phase::Run, PYTHON), ("java", Phase::Compile, JAVAC), ("cpp", Phase::Compile, GCC)]
    {
        group.bench_function(language, |bencher| {
            bencher.iter(|| engine.hints(&request(language, phase, stderr)));
        });
    }
    group.finish();
}

fn mebibyte(criterion: &mut Criterion) {
    let engine = HintEngine::new();
    let mut group = criterion.benchmark_group("hints/mebibyte");
    group.warm_up_time(WARM_UP).measurement_time(patience().min(Duration::from_secs(2)));
    group.throughput(Throughput::Bytes(1 << 20));
    for (language, phase, stderr) in
        [("python", Phase::Run, PYTHON), ("java", Phase::Compile, JAVAC), ("cpp", Phase::Compile, GCC)]
    {
        let much = stderr.repeat((1 << 20) / stderr.len());
        group.bench_function(language, |bencher| {
            bencher.iter(|| engine.hints(&request(language, phase, &much)));
        });
    }
    group.finish();
}

fn first(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hints/first");
    group.warm_up_time(WARM_UP).measurement_time(patience().min(Duration::from_secs(2)));
    for (language, phase, stderr) in
        [("python", Phase::Run, PYTHON), ("java", Phase::Compile, JAVAC), ("cpp", Phase::Compile, GCC)]
    {
        group.bench_function(language, |bencher| {
            bencher.iter(|| HintEngine::new().hints(&request(language, phase, stderr)));
        });
    }
    group.bench_function("new", |bencher| bencher.iter(HintEngine::new));
    group.finish();
}

criterion_group!(benches, usual, mebibyte, first);
criterion_main!(benches);
