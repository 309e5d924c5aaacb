//! What isolate costs through this crate, and what the same commands cost by hand.
//!
//! ```text
//! cargo run --release -p evalx-sandbox-isolate --example by_hand -- --runs 200
//! ```
//!
//! By hand is what a script does for each program: `--init`, `--run`,
//! `--cleanup`, each waited for, the program's output read by a pipe. Through
//! the crate it is `open`, `run`, `close`. Rounds of both alternate in one
//! process, so that a busy moment of the machine hits both. With
//! `--at-most 1.15` it fails if the median through the crate is more than so
//! many times that by hand.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use evalx_core::{Collect, Isolation, LimitKind, Limits, Outcome, Sandbox, SessionSpec, Step};
use evalx_sandbox_isolate::{IsolateConfig, IsolateSandbox};

type Failure = Box<dyn Error + Send + Sync>;

/// The program of both sides, and what it writes.
const PROGRAM: [&str; 2] = ["/bin/echo", "hello"];
const OUTPUT: &[u8] = b"hello\n";

/// A number far from those of the sandbox, whose own are the first.
const BOX: &str = "--box-id=990";

/// Runs at once of one side before the other has its turn.
const ROUND: usize = 10;

struct Options {
    runs: usize,
    at_most: Option<f64>,
}

impl Options {
    fn read() -> Result<Self, Failure> {
        let mut options = Self { runs: 100, at_most: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
            match argument.as_str() {
                "--runs" => options.runs = value.parse()?,
                "--at-most" => options.at_most = Some(value.parse()?),
                _ => return Err(format!("{argument} is neither --runs nor --at-most").into()),
            }
        }
        Ok(options)
    }
}

/// isolate, called as a script would.
struct ByHand {
    program: PathBuf,
    groups: bool,
}

impl ByHand {
    /// With control groups, if isolate can have them here.
    fn find(program: &Path) -> Result<Self, Failure> {
        let mut hand = Self { program: program.to_owned(), groups: true };
        if hand.call(&["--init"]).and_then(|_| hand.call(&["--cleanup"])).is_err() {
            hand.groups = false;
            hand.call(&["--init"]).and_then(|_| hand.call(&["--cleanup"]))?;
        }
        Ok(hand)
    }

    fn call(&self, arguments: &[&str]) -> Result<Vec<u8>, Failure> {
        let mut command = Command::new(&self.program);
        command.arg(BOX).args(self.groups.then_some("--cg")).args(arguments).stdin(Stdio::null());
        let output = command.output()?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(String::from_utf8(output.stderr)?.into())
        }
    }

    fn run(&self, meta: &str) -> Result<(), Failure> {
        self.call(&["--init"])?;
        let memory = if self.groups { "--cg-mem=262144" } else { "--mem=262144" };
        let limits = ["--time=10", "--wall-time=20", memory, "--processes=64", "--fsize=65536", "--silent"];
        let output = self.call(&[&[meta][..], &limits, &["--run", "--"], &PROGRAM].concat())?;
        if output != OUTPUT {
            return Err("the program by hand wrote something else".into());
        }
        self.call(&["--cleanup"])?;
        Ok(())
    }
}

async fn through(sandbox: &IsolateSandbox) -> Result<(), Failure> {
    let mut session = sandbox.open(SessionSpec::new(Limits::default())).await?;
    let mut io = Collect::default();
    let report = session.run(Step::new(PROGRAM[0]).with_argument(PROGRAM[1]), &mut io).await?;
    if report.outcome != Outcome::Exited(0) || io.into_output().0 != OUTPUT {
        return Err(format!("the program through the crate ended otherwise: {report:?}").into());
    }
    session.close().await?;
    Ok(())
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "it is a program that prints what it measured")]
async fn main() -> Result<(), Failure> {
    let options = Options::read()?;
    let program = std::env::var_os("EVALX_ISOLATE").map_or_else(|| PathBuf::from("isolate"), PathBuf::from);
    let hand = ByHand::find(&program)?;
    let config = IsolateConfig::default()
        .with_program(&program)
        .with_boxes(0, 900)
        .with_accepted_weak_limit(LimitKind::Memory)
        .with_accepted_weak_limit(LimitKind::CpuTime)
        .with_accepted_weak_isolation(Isolation::Syscalls);
    let sandbox = IsolateSandbox::start(config).await?;
    let folder = std::env::temp_dir().join(format!("evalx-by-hand-{}", std::process::id()));
    let meta = format!("--meta={}", folder.display());
    let (mut by_hand, mut through_us) = (Vec::new(), Vec::new());
    // The first of both, which nobody counts, has cold caches.
    hand.run(&meta)?;
    through(&sandbox).await?;
    while through_us.len() < options.runs {
        for _ in 0..ROUND {
            let began = Instant::now();
            tokio::task::block_in_place(|| hand.run(&meta))?;
            by_hand.push(began.elapsed());
        }
        for _ in 0..ROUND {
            let began = Instant::now();
            through(&sandbox).await?;
            through_us.push(began.elapsed());
        }
    }
    sandbox.shutdown().await?;
    std::fs::remove_file(folder)?;
    let (by_hand, through_us) = (median(&mut by_hand), median(&mut through_us));
    let ratio = through_us / by_hand;
    let groups = if hand.groups { "with control groups" } else { "without control groups" };
    println!(
        "{sandbox} {groups}, {} runs: by hand {by_hand:.2} ms, through the crate {through_us:.2} ms, {ratio:.2} x",
        options.runs
    );
    match options.at_most {
        Some(most) if ratio > most => Err(format!("that is more than {most} x").into()),
        _ => Ok(()),
    }
}
