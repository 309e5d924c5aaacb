//! How exact the peak of memory is: a program touches a number of bytes that
//! is known, after others have left what they leave in a slot.
//!
//! ```text
//! cargo run --release -p evalx-sandbox-native --example peaks -- --runs 2000 --concurrency 4
//! ```

use std::error::Error;
use std::sync::Arc;

use evalx_core::{
    ByteSize, FileContents, Limits, Program, Sandbox, SandboxExt, SandboxPath, SessionSpec, Step,
};
use evalx_sandbox_native::{NativeConfig, NativeSandbox};
use evalx_testkit::Probes;

type Failure = Box<dyn Error + Send + Sync>;

/// What the measured program touches.
const TOUCHED_MIB: u64 = 50;

/// What runs before it in the same slots.
const BEFORE: [&[&str]; 5] = [
    &["hello"],
    &["fork-once"],
    &["fill", "0", "/tmp/full"],
    &["touch", "100"],
    &["children", "32", "1", "fork"],
];

struct Arguments {
    runs: usize,
    concurrency: usize,
}

impl Arguments {
    fn read() -> Result<Self, Failure> {
        let mut read = Self { runs: 2000, concurrency: 4 };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} lacks a value"))?;
            match word.as_str() {
                "--runs" => read.runs = value.parse()?,
                "--concurrency" => read.concurrency = value.parse()?,
                _ => return Err(format!("{word} is not known: --runs and --concurrency are").into()),
            }
        }
        Ok(read)
    }
}

async fn peak(
    sandbox: &NativeSandbox,
    probes: &Probes,
    limits: Limits,
    arguments: &[&str],
) -> Result<u64, Failure> {
    let step = Step::new("./probe").with_arguments(arguments);
    let program = Program::new(SessionSpec::new(limits), step)
        .with_file(SandboxPath::new("probe")?, FileContents::executable(probes.program()));
    Ok(sandbox.execute(program, "").await?.report.memory_peak.as_u64())
}

/// Runs the others and the program in turn; what was measured beside what it touched, in KiB.
async fn measure(sandbox: Arc<NativeSandbox>, probes: Probes, runs: usize) -> Result<Vec<i64>, Failure> {
    let limits = probes.limits().with_memory(ByteSize::mib(256));
    let touched = TOUCHED_MIB.to_string();
    let mut beside = Vec::with_capacity(runs);
    for run in 0..runs {
        peak(&sandbox, &probes, limits.clone(), BEFORE[run % BEFORE.len()]).await?;
        let measured = peak(&sandbox, &probes, limits.clone(), &["touch", &touched]).await?;
        beside.push(i64::try_from(measured >> 10)? - i64::try_from(TOUCHED_MIB << 10)?);
    }
    Ok(beside)
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "figures are what it is for")]
async fn main() -> Result<(), Failure> {
    let Arguments { runs, concurrency } = Arguments::read()?;
    let probes = Probes::find()?;
    let sandbox = Arc::new(NativeSandbox::start(NativeConfig::default().with_sessions(concurrency)).await?);
    let share = runs.div_ceil(concurrency);
    let workers: Vec<_> = (0..concurrency)
        .map(|_| tokio::spawn(measure(Arc::clone(&sandbox), probes.clone(), share)))
        .collect();
    let mut beside = Vec::new();
    for worker in workers {
        beside.extend(worker.await??);
    }
    sandbox.shutdown().await?;
    beside.sort_unstable();
    println!("beside the {TOUCHED_MIB} MiB that it touches, a program was measured to use, in KiB:");
    for (name, share) in [("least", 0), ("1 %", 10), ("median", 500), ("99 %", 990), ("most", 1000)] {
        let index = (beside.len().saturating_sub(1)) * share / 1000;
        println!("{name:>8} {:>7}", beside[index]);
    }
    Ok(())
}
