//! Runs programs for as long as you like, and looks whether anything grows.
//!
//! ```text
//! cargo run --release -p evalx-sandbox-native --example soak -- --runs 100000 --concurrency 4
//! ```
//!
//! `--every N` sets after how many runs a line is printed. Besides, each line
//! is measured while nothing runs, so that lines can be compared; the last has
//! to be like the first, and after the shutdown nothing may be left.

#[path = "../tests/traces/mod.rs"]
mod traces;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use evalx_core::{
    ByteSize, FileContents, Limits, Outcome, Program, Sandbox, SandboxExt, SandboxPath, SessionSpec, Step,
};
use evalx_sandbox_native::{NativeConfig, NativeSandbox};
use evalx_testkit::Probes;
use traces::{Holdings, Traces, eventually};

type Failure = Box<dyn Error + Send + Sync>;

/// What the figures may grow by and still count as flat: what allocators and
/// pools keep, whatever the number of runs.
const SLACK_KIB: u64 = 4 << 10;

/// A program and how it has to end.
struct Kind {
    arguments: &'static [&'static str],
    limits: Limits,
    ends: fn(&Outcome) -> bool,
}

/// Each kind of end that a slot has to be cleaned up after.
fn kinds(probes: &Probes) -> Vec<Kind> {
    let well = |outcome: &Outcome| *outcome == Outcome::Exited(0);
    let limits = probes.limits();
    let kind = |arguments, limits: &Limits, ends| Kind { arguments, limits: limits.clone(), ends };
    vec![
        kind(&["hello"], &limits, well),
        kind(&["fork-once"], &limits, well),
        kind(&["daemon", "double"], &limits, well),
        kind(&["leave"], &limits, |outcome| matches!(outcome, Outcome::Exited(_))),
        kind(&["fill", "0", "/tmp/full"], &limits, |outcome| {
            matches!(outcome, Outcome::Exited(_) | Outcome::DiskLimit)
        }),
        kind(&["memory-endless"], &limits.clone().with_memory(ByteSize::mib(8)), |outcome| {
            *outcome == Outcome::MemoryLimit
        }),
        kind(&["spin"], &limits.with_cpu_time(probes.stretch(Duration::from_millis(20))), |outcome| {
            *outcome == Outcome::CpuTimeLimit
        }),
    ]
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
struct Figures {
    runs: u64,
    /// Resident memory of this process and of the launcher, in KiB.
    own: u64,
    launcher: u64,
    /// The sum of the zygotes' own memory, in KiB, if this user may know it.
    zygotes: u64,
    descriptors: usize,
    groups: usize,
    processes: usize,
    mounts: usize,
    ipc: usize,
    /// Slab memory of the whole machine that can't be given back, in MiB.
    kernel: u64,
}

fn kib(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value =
        text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    value.unwrap_or(0)
}

impl Figures {
    fn now(runs: u64, traces: &Traces) -> Self {
        let holdings = Holdings::now();
        let rolled = |pid: &i32| kib(&format!("/proc/{pid}/smaps_rollup"), "Private_Dirty:");
        Self {
            runs,
            own: kib("/proc/self/status", "VmRSS:"),
            launcher: traces
                .launchers()
                .iter()
                .map(|pid| kib(&format!("/proc/{pid}/status"), "VmRSS:"))
                .sum(),
            zygotes: traces.zygotes().iter().map(rolled).sum(),
            descriptors: holdings.descriptors(),
            groups: traces.groups().iter().map(|group| count(group)).sum(),
            processes: traces.processes().len(),
            mounts: fs::read_to_string("/proc/self/mounts").map_or(0, |text| text.lines().count()),
            ipc: holdings.ipc(),
            kernel: kib("/proc/meminfo", "SUnreclaim:") >> 10,
        }
    }

    /// Whether nothing has grown since `first`.
    fn flat(&self, first: &Self) -> Result<(), String> {
        let sizes = [
            ("memory of this process", first.own, self.own),
            ("memory of the launcher", first.launcher, self.launcher),
            ("memory of the zygotes", first.zygotes, self.zygotes),
        ];
        if let Some(grown) = sizes.iter().find(|(_, first, last)| *last > first + SLACK_KIB) {
            return Err(format!("{grown:?} has grown"));
        }
        let counts = [
            ("descriptors", first.descriptors, self.descriptors),
            ("processes", first.processes, self.processes),
            ("mounts", first.mounts, self.mounts),
            ("objects of IPC", first.ipc, self.ipc),
        ];
        // A spare cell may be one more or less, at the moment.
        if let Some(grown) = counts.iter().find(|(_, first, last)| *last > first + 8) {
            return Err(format!("{grown:?} have grown"));
        }
        if self.groups > first.groups + 16 {
            return Err(format!("cgroups have grown from {} to {}", first.groups, self.groups));
        }
        Ok(())
    }
}

/// A cgroup and those below it.
fn count(group: &Path) -> usize {
    let below = fs::read_dir(group).into_iter().flatten().flatten();
    let folders = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| count(&entry.path())).sum::<usize>() + 1
}

struct Arguments {
    runs: u64,
    concurrency: usize,
    every: u64,
}

impl Arguments {
    fn read() -> Result<Self, Failure> {
        let mut read = Self { runs: 100_000, concurrency: 4, every: 0 };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} lacks a value"))?;
            match word.as_str() {
                "--runs" => read.runs = value.parse()?,
                "--concurrency" => read.concurrency = value.parse()?,
                "--every" => read.every = value.parse()?,
                _ => return Err(format!("{word} is not known: --runs, --concurrency and --every are").into()),
            }
        }
        if read.every == 0 {
            read.every = (read.runs / 20).max(1);
        }
        Ok(read)
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "figures are what it is for")]
async fn main() -> Result<(), Failure> {
    let Arguments { runs, concurrency, every } = Arguments::read()?;
    let probes = Probes::find()?;
    let before = Holdings::now();
    let state = tempfile::tempdir()?;
    let traces = Traces::of(state.path(), std::process::id());
    let config = NativeConfig::default().with_sessions(concurrency).with_state_folder(state.path());
    let sandbox = Arc::new(NativeSandbox::start(config).await?);
    sandbox.ready().await?;

    let began = Instant::now();
    let mut first = None;
    let mut last = Figures::now(0, &traces);
    println!("   runs  s  own KiB  launcher  zygotes  fds  cgroups  processes  mounts  ipc  slab MiB");
    while last.runs < runs {
        let goal = (last.runs + every).min(runs);
        batch(&sandbox, &probes, last.runs..goal, concurrency).await?;
        last = Figures::now(goal, &traces);
        let Figures { own, launcher, zygotes, descriptors, groups, processes, mounts, ipc, kernel, .. } =
            last;
        println!(
            "{goal:>7} {:>4.0} {own:>7} {launcher:>9} {zygotes:>8} {descriptors:>4} {groups:>8} {processes:>10} {mounts:>7} {ipc:>4} {kernel:>9}",
            began.elapsed().as_secs_f64()
        );
        // Allocators and pools have their size after the first lap.
        first.get_or_insert(last);
    }
    if let Some(first) = first {
        last.flat(&first)?;
    }
    sandbox.shutdown().await?;
    traces.gone().map_err(|left| format!("there is left: {left}"))?;
    drop(sandbox);
    eventually(Duration::from_secs(5), || before.restored())?;
    println!("flat, and nothing is left; {:.0} runs/s", runs as f64 / began.elapsed().as_secs_f64());
    Ok(())
}

/// Runs what has these numbers, and returns when all of it has ended well.
async fn batch(
    sandbox: &Arc<NativeSandbox>,
    probes: &Probes,
    numbers: std::ops::Range<u64>,
    concurrency: usize,
) -> Result<(), Failure> {
    let next = Arc::new(AtomicU64::new(numbers.start));
    let workers: Vec<_> = (0..concurrency)
        .map(|_| {
            let (sandbox, probes, next) = (Arc::clone(sandbox), probes.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let kinds = kinds(&probes);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return Ok::<(), Failure>(());
                    }
                    let kind = &kinds[usize::try_from(number % kinds.len() as u64)?];
                    let step = Step::new("./probe").with_arguments(kind.arguments);
                    let program = Program::new(SessionSpec::new(kind.limits.clone()), step)
                        .with_file(SandboxPath::new("probe")?, FileContents::executable(probes.program()));
                    let ran = sandbox.execute(program, "").await?;
                    if !(kind.ends)(&ran.report.outcome) {
                        return Err(format!("run {number}, {:?}: {:?}", kind.arguments, ran.report).into());
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    Ok(())
}
