//! `evalx bench`: what the sandbox costs over starting the program without it.
//!
//! The floor is `posix_spawn` and a wait in this same process, with the output
//! read by a pipe; the other side opens a session, runs, collects the output
//! and closes. Batches of both alternate, so that a machine that slows down
//! meanwhile slows both.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use evalx_core::{Artifact, Collect, DynSandbox, Limits, Outcome, SandboxPath, Session, SessionSpec, Step};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::backend::{self, BackendArguments};
use crate::console::{Console, Paint};
use crate::failure::{Failure, Status};
use crate::interrupt::interrupted;
use crate::resolve::{find_program, is_visible_inside, read_file};
use crate::statistics::{Samples, Series};

const EXAMPLES: &str = "\
Examples:
  evalx bench -- /bin/true
  evalx bench --runs 2000 --concurrency 4 --json -- ./hello

PROGRAM is a program of this machine. One in a system folder, which sandboxes
show too, is run where it is; any other is kept as an artifact at the start and
placed in the work folder of each session. Shared libraries it needs must be in
the system folders.";

/// How many batches of each kind the runs are divided into.
const BATCHES: u32 = 20;
/// Runs of each kind before those that are measured.
const WARM_UP: u32 = 10;

/// What to measure.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, override_usage = "evalx bench [OPTIONS] -- PROGRAM [ARGUMENT...]")]
pub(crate) struct Arguments {
    #[command(flatten)]
    backend: BackendArguments,
    /// Measured runs on each side.
    #[arg(long, value_name = "COUNT", default_value = "500", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
    /// Runs at once.
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=256))]
    concurrency: u32,
    /// Print the figures as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, value_names = ["PROGRAM", "ARGUMENT"])]
    command: Vec<OsString>,
}

#[derive(Serialize)]
struct Document {
    backend: String,
    runs: u32,
    concurrency: u32,
    floor: Series,
    sandbox: Series,
    ratio_median: f64,
    ratio_p95: f64,
    throughput_share: f64,
}

/// What both sides run.
#[derive(Clone)]
struct Subject {
    host: PathBuf,
    arguments: Vec<OsString>,
}

/// Measures, and prints what came of it.
pub(crate) async fn run(arguments: Arguments, console: &Console) -> Result<Status, Failure> {
    let [program, rest @ ..] = arguments.command.as_slice() else {
        return Err(Failure::usage("no program is given"));
    };
    let subject = Subject { host: find_program(program)?, arguments: rest.to_vec() };
    // As many again, so that a closed session is cleared while the next is open.
    let sandbox = arguments.backend.start(2 * concurrency(&arguments)).await?;
    let measured = tokio::select! {
        // Both only hold what their drop gives back; an interrupt ends the measuring.
        measured = measure(&sandbox, &subject, &arguments, console) => measured,
        () = interrupted() => Err(Failure::Interrupted),
    };
    let (floor, inside) = backend::finish(&sandbox, measured).await?;
    let (floor, inside) = (floor.series(), inside.series());
    let document = Document {
        backend: sandbox.capabilities().backend,
        runs: arguments.runs,
        concurrency: arguments.concurrency,
        ratio_median: ratio(inside.median_us, floor.median_us),
        ratio_p95: ratio(inside.p95_us, floor.p95_us),
        throughput_share: ratio(inside.per_second, floor.per_second),
        floor,
        sandbox: inside,
    };
    if console.is_json() {
        console.document(&document)?;
    } else {
        print(&document, console)?;
    }
    Ok(Status::Well)
}

fn concurrency(arguments: &Arguments) -> usize {
    usize::try_from(arguments.concurrency).unwrap_or(1)
}

fn ratio(of: f64, to: f64) -> f64 {
    if to > 0.0 { (of / to * 1000.0).round() / 1000.0 } else { 0.0 }
}

fn print(document: &Document, console: &Console) -> Result<(), Failure> {
    let head = format!("{} runs, {} at once, in {}", document.runs, document.concurrency, document.backend);
    console.line(console.paint(Paint::Bold, head))?;
    console.line(format_args!("{:<9}{:>12}{:>12}{:>12}", "", "median µs", "p95 µs", "per second"))?;
    for (name, series) in [("floor", &document.floor), ("sandbox", &document.sandbox)] {
        let Series { median_us, p95_us, per_second } = series;
        console.line(format_args!("{name:<9}{median_us:>12.1}{p95_us:>12.1}{per_second:>12.1}"))?;
    }
    let share = document.throughput_share * 100.0;
    console.line(format_args!(
        "{:<9}{:>12.3}{:>12.3}{:>11.1}%",
        "ratio", document.ratio_median, document.ratio_p95, share
    ))
}

async fn measure(
    sandbox: &DynSandbox,
    subject: &Subject,
    arguments: &Arguments,
    console: &Console,
) -> Result<(Samples, Samples), Failure> {
    let kept = keep(sandbox, &subject.host).await?;
    let expected = bare_run(subject)?;
    let at_once = concurrency(arguments);
    let (mut floor, mut inside) = (Samples::default(), Samples::default());

    bare_batch(subject, WARM_UP, at_once, expected).await?;
    sandbox_batch(sandbox, subject, kept.as_ref(), WARM_UP, at_once, expected).await?;

    let progress = console.progress(u64::from(arguments.runs) * 2, "measuring");
    let batch = arguments.runs.div_ceil(BATCHES).max(arguments.concurrency);
    let mut left = arguments.runs;
    while left > 0 {
        let runs = batch.min(left);
        let (times, elapsed) = bare_batch(subject, runs, at_once, expected).await?;
        floor.add(&times, elapsed);
        progress.inc(u64::from(runs));
        let (times, elapsed) =
            sandbox_batch(sandbox, subject, kept.as_ref(), runs, at_once, expected).await?;
        inside.add(&times, elapsed);
        progress.inc(u64::from(runs));
        left -= runs;
    }
    progress.finish_and_clear();
    Ok((floor, inside))
}

/// Where a program that sandboxes do not show is placed in each session.
const PLACE: &str = "program";

/// Keeps the program as an artifact of this sandbox, if it must be placed.
async fn keep(sandbox: &DynSandbox, host: &Path) -> Result<Option<Artifact>, Failure> {
    if is_visible_inside(host) {
        return Ok(None);
    }
    let place = SandboxPath::new(PLACE)?;
    let mut session = sandbox.open(SessionSpec::new(Limits::for_compiling())).await?;
    session.write_file(&place, read_file(host)?).await?;
    let kept = session.keep(&place).await;
    session.close().await?;
    Ok(Some(kept?))
}

type Batch = Result<(Vec<Duration>, Duration), Failure>;

/// How many of `runs` the worker of this number has.
fn share(runs: u32, at_once: usize, worker: usize) -> u32 {
    let at_once = u32::try_from(at_once).unwrap_or(u32::MAX);
    let worker = u32::try_from(worker).unwrap_or(u32::MAX);
    runs / at_once + u32::from(worker < runs % at_once)
}

/// Starts the program as nearly as the standard library can to `posix_spawn`
/// alone: with no folder, user or hook to set up, it uses just that.
fn bare_run(subject: &Subject) -> Result<ExitStatus, Failure> {
    let output = Command::new(&subject.host)
        .args(&subject.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .and_then(std::process::Child::wait_with_output);
    match output {
        Ok(output) => Ok(output.status),
        Err(error) => Err(Failure::usage(format!("`{}` can't be started: {error}", subject.host.display()))),
    }
}

async fn bare_batch(subject: &Subject, runs: u32, at_once: usize, expected: ExitStatus) -> Batch {
    let subject = subject.clone();
    let work = move || {
        let started = Instant::now();
        let times = thread::scope(|scope| {
            let workers: Vec<_> = (0..at_once)
                .map(|worker| {
                    let (subject, runs) = (&subject, share(runs, at_once, worker));
                    scope.spawn(move || bare_runs(subject, runs, expected))
                })
                .collect();
            let joined = workers.into_iter().map(|worker| worker.join().expect("a worker does not panic"));
            joined.collect::<Result<Vec<_>, _>>()
        })?;
        Ok((times.concat(), started.elapsed()))
    };
    tokio::task::spawn_blocking(work).await.expect("a batch does not panic")
}

fn bare_runs(subject: &Subject, runs: u32, expected: ExitStatus) -> Result<Vec<Duration>, Failure> {
    let mut times = Vec::new();
    for _ in 0..runs {
        let started = Instant::now();
        let status = bare_run(subject)?;
        times.push(started.elapsed());
        if status != expected {
            let message =
                format!("the program ended with {status}, and before with {expected}: nothing to compare");
            return Err(Failure::usage(message));
        }
    }
    Ok(times)
}

async fn sandbox_batch(
    sandbox: &DynSandbox,
    subject: &Subject,
    kept: Option<&Artifact>,
    runs: u32,
    at_once: usize,
    expected: ExitStatus,
) -> Batch {
    let started = Instant::now();
    let mut workers = JoinSet::new();
    for worker in 0..at_once {
        let (sandbox, subject, kept) = (DynSandbox::clone(sandbox), subject.clone(), kept.cloned());
        let runs = share(runs, at_once, worker);
        workers.spawn(async move {
            let mut times = Vec::new();
            for _ in 0..runs {
                let started = Instant::now();
                sandbox_run(&sandbox, &subject, kept.as_ref(), expected).await?;
                times.push(started.elapsed());
            }
            Ok::<_, Failure>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(joined) = workers.join_next().await {
        times.extend(joined.expect("a worker does not panic")?);
    }
    Ok((times, started.elapsed()))
}

async fn sandbox_run(
    sandbox: &DynSandbox,
    subject: &Subject,
    kept: Option<&Artifact>,
    expected: ExitStatus,
) -> Result<(), Failure> {
    let mut session: Box<dyn Session> = sandbox.open(SessionSpec::new(Limits::default())).await?;
    let step = match kept {
        Some(artifact) => {
            session.write_file(&SandboxPath::new(PLACE)?, artifact.clone().into()).await?;
            Step::new(format!("./{PLACE}"))
        }
        None => Step::new(&subject.host),
    };
    let mut output = Collect::default();
    let report = session.run(step.with_arguments(&subject.arguments), &mut output).await?;
    session.close().await?;
    match report.outcome {
        Outcome::Exited(code) if Some(code) == expected.code() => Ok(()),
        outcome => Err(Failure::usage(format!(
            "the program {outcome} in the sandbox, and ended with {expected} outside: nothing to compare"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_all_the_runs() {
        for (runs, at_once) in [(10, 3), (2, 4), (500, 1), (7, 7)] {
            let total: u32 = (0..at_once).map(|worker| share(runs, at_once, worker)).sum();
            assert_eq!(total, runs);
        }
    }

    #[test]
    fn a_ratio_to_nothing_is_nothing() {
        assert_eq!(ratio(3.0, 2.0), 1.5);
        assert_eq!(ratio(3.0, 0.0), 0.0);
    }
}
