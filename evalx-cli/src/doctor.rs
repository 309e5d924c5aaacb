//! `evalx doctor`: which backends work here, what they enforce and by what,
//! what is missing and how to mend it; then a self-test of a second.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use clap::Args;
use evalx::Choice;
use evalx_core::{
    ByteSize, Capabilities, Collect, DynSandbox, Enforcement, Isolation, LimitKind, Limits, Outcome,
    SessionSpec, Step, StepReport, Strength,
};
use serde::Serialize;

use crate::backend::{self, BackendName};
use crate::console::{Console, Paint};
use crate::failure::{Failure, Status};
use crate::units::show_time;

const EXAMPLES: &str = "\
Examples:
  evalx doctor
  evalx doctor --json | jq '.backends[] | select(.fit) | .name'

The exit status is 0 if at least one backend is fit.";

/// How to print.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Print the findings as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Serialize)]
struct Document {
    fit: bool,
    evalx: &'static str,
    kernel: String,
    architecture: &'static str,
    /// The user that evalx runs as, by number.
    uid: Option<u32>,
    /// What the environment wants, and which backend that is here.
    choice: String,
    chosen: Option<String>,
    backends: Vec<BackendDocument>,
}

#[derive(Serialize)]
struct BackendDocument {
    name: &'static str,
    fit: bool,
    error: Option<ErrorDocument>,
    capabilities: Option<Capabilities>,
    missing: Vec<String>,
    self_test: Vec<TestDocument>,
}

#[derive(Serialize)]
struct ErrorDocument {
    kind: &'static str,
    message: String,
    hint: Option<String>,
}

impl From<Failure> for ErrorDocument {
    fn from(failure: Failure) -> Self {
        let hint = failure.hint().map(ToOwned::to_owned);
        Self { kind: failure.kind().as_str(), message: failure.to_string(), hint }
    }
}

#[derive(Serialize)]
struct TestDocument {
    name: &'static str,
    passed: bool,
    seconds: f64,
    finding: String,
}

/// Examines every backend.
pub(crate) async fn run(_: Arguments, console: &Console) -> Result<Status, Failure> {
    let choice = backend::environment()?;
    let mut backends = Vec::new();
    for name in BackendName::ALL {
        backends.push(examine(name).await);
    }
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let document = Document {
        fit: backends.iter().any(|backend| backend.fit),
        evalx: env!("CARGO_PKG_VERSION"),
        kernel: kernel.trim().to_owned(),
        architecture: std::env::consts::ARCH,
        uid: fs::metadata("/proc/self").ok().map(|process| process.uid()),
        chosen: chosen(&choice, &backends),
        choice: choice.to_string(),
        backends,
    };
    if console.is_json() {
        console.document(&document)?;
    } else {
        print(&document, console)?;
    }
    Ok(Status::of(document.fit))
}

/// The backend that other commands take: the first of the choice that is fit.
fn chosen(choice: &Choice, backends: &[BackendDocument]) -> Option<String> {
    let is_fit = |name: &str| backends.iter().any(|backend| backend.name == name && backend.fit);
    match choice {
        Choice::Named(names) => names.iter().find(|name| is_fit(name)).cloned(),
        // Only who names a backend accepts what it does not hold.
        _ => backends
            .iter()
            .find(|backend| backend.fit && accepted(backend).is_empty())
            .map(|backend| backend.name.to_owned()),
    }
}

/// What the backend does not hold, and whoever names it accepts.
fn accepted(backend: &BackendDocument) -> &[Isolation] {
    backend.capabilities.as_ref().map_or(&[], |capabilities| &capabilities.accepted_weak_isolation)
}

async fn examine(name: BackendName) -> BackendDocument {
    let mut document = BackendDocument {
        name: name.as_str(),
        fit: false,
        error: None,
        capabilities: None,
        missing: Vec::new(),
        self_test: Vec::new(),
    };
    let sandbox = match backend::start(name, 1).await {
        Ok(sandbox) => sandbox,
        Err(failure) => {
            document.error = Some(failure.into());
            return document;
        }
    };
    let capabilities = sandbox.capabilities();
    document.missing = missing(&capabilities);
    document.capabilities = Some(capabilities);
    if let Err(error) = sandbox.check().await {
        document.error = Some(Failure::from(error).into());
    }
    for test in TESTS {
        document.self_test.push(test.run(&sandbox).await);
    }
    if let Err(error) = sandbox.shutdown().await {
        document.error.get_or_insert_with(|| Failure::from(error).into());
    }
    document.fit = document.error.is_none() && document.self_test.iter().all(|test| test.passed);
    document
}

/// What is not held for a whole session, in words.
fn missing(capabilities: &Capabilities) -> Vec<String> {
    let mut missing = Vec::new();
    for kind in LimitKind::ALL {
        // These two belong to one process by their nature.
        let enough = match kind {
            LimitKind::OpenFiles | LimitKind::Stack => Strength::PerProcess,
            _ => Strength::Whole,
        };
        if capabilities.limit(kind) < enough {
            missing.push(describe("limit", kind.as_str(), capabilities.limits.get(&kind)));
        }
    }
    for kind in Isolation::ALL {
        if capabilities.isolation(kind) < Strength::Whole {
            missing.push(describe("isolation", kind.as_str(), capabilities.isolation.get(&kind)));
        }
    }
    missing
}

fn describe(what: &str, name: &str, held: Option<&Enforcement>) -> String {
    match held {
        None => format!("{what} {name}: not held"),
        Some(held) if held.strength == Strength::None => format!("{what} {name}: {}", held.mechanism),
        Some(held) => format!("{what} {name}: for each process alone, by {}", held.mechanism),
    }
}

/// A program that shows whether something is held.
struct SelfTest {
    name: &'static str,
    script: &'static str,
    limits: fn(Limits) -> Limits,
    is_right: fn(&StepReport) -> bool,
}

const TESTS: [SelfTest; 5] = [
    SelfTest {
        name: "exit code",
        script: "exit 7",
        limits: |limits| limits,
        is_right: |report| report.outcome == Outcome::Exited(7),
    },
    SelfTest {
        name: "files apart",
        script: "test ! -r /etc/shadow && echo new >/box/new && ! echo x 2>/dev/null >/usr/evalx-doctor",
        limits: |limits| limits,
        is_right: |report| report.outcome == Outcome::Exited(0),
    },
    SelfTest {
        name: "cpu time",
        script: "while :; do :; done",
        limits: |limits| limits.with_cpu_time(Duration::from_millis(200)),
        is_right: |report| report.outcome == Outcome::CpuTimeLimit,
    },
    SelfTest {
        name: "wall time",
        script: "exec sleep 5",
        limits: |limits| limits.with_wall_time(Duration::from_millis(200)),
        is_right: |report| report.outcome == Outcome::WallTimeLimit,
    },
    SelfTest {
        name: "memory",
        script: "x=0123456789abcdef; while :; do x=$x$x; done",
        limits: |limits| limits.with_memory(ByteSize::mib(32)),
        is_right: |report| report.outcome == Outcome::MemoryLimit,
    },
];

impl SelfTest {
    async fn run(&self, sandbox: &DynSandbox) -> TestDocument {
        let started = Instant::now();
        let ran = self.try_run(sandbox).await;
        let (passed, finding) = match ran {
            Ok(report) => ((self.is_right)(&report), format!("the program {}", report.outcome)),
            Err(error) => (false, error.chain()),
        };
        TestDocument { name: self.name, passed, seconds: started.elapsed().as_secs_f64(), finding }
    }

    async fn try_run(&self, sandbox: &DynSandbox) -> evalx_core::Result<StepReport> {
        let limits = (self.limits)(Limits::default().with_wall_time(Duration::from_secs(5)));
        let mut session = sandbox.open(SessionSpec::new(limits)).await?;
        let step = Step::new("sh").with_arguments(["-c", self.script]);
        let report = session.run(step, &mut Collect::default()).await;
        session.close().await?;
        report
    }
}

fn print(document: &Document, console: &Console) -> Result<(), Failure> {
    let Document { evalx, kernel, architecture, .. } = document;
    let user = document.uid.map(|uid| format!(", as uid {uid}")).unwrap_or_default();
    console.line(format_args!("evalx {evalx} on Linux {kernel}, {architecture}{user}"))?;
    let chosen = document.chosen.as_deref().unwrap_or("no backend");
    console.line(format_args!("the choice `{}` takes {chosen}", document.choice))?;
    for backend in &document.backends {
        let verdict = if backend.fit {
            console.paint(Paint::Good, "fit")
        } else {
            console.paint(Paint::Bad, "not fit")
        };
        console.line("")?;
        console.line(format_args!("{}: {verdict}", console.paint(Paint::Bold, backend.name)))?;
        if let Some(error) = &backend.error {
            console.line(format_args!("  {}", error.message))?;
            if let Some(hint) = &error.hint {
                console.line(format_args!("  help: {hint}"))?;
            }
        }
        if let Some(capabilities) = &backend.capabilities {
            print_capabilities(capabilities, console)?;
        }
        for missing in &backend.missing {
            console.line(format_args!("  {} {missing}", console.paint(Paint::Bad, "missing")))?;
        }
        for kind in accepted(backend) {
            console.line(format_args!(
                "  accepted by whoever names {0}: isolation {kind} is not held; `auto` does not take {0}",
                backend.name
            ))?;
        }
        for test in &backend.self_test {
            let mark = if test.passed {
                console.paint(Paint::Good, "passed")
            } else {
                console.paint(Paint::Bad, "failed")
            };
            let time = show_time(Duration::from_secs_f64(test.seconds));
            console.line(format_args!("  self-test {}: {mark} in {time}, {}", test.name, test.finding))?;
        }
    }
    Ok(())
}

fn print_capabilities(capabilities: &Capabilities, console: &Console) -> Result<(), Failure> {
    let held = |name: &str, held: &Enforcement| {
        let how = match held.strength {
            Strength::Whole => "",
            Strength::PerProcess => " (each process)",
            _ => " (not held)",
        };
        console.line(format_args!("  {name:<12} {}{how}", held.mechanism))
    };
    for (kind, enforcement) in &capabilities.limits {
        held(kind.as_str(), enforcement)?;
    }
    for kind in Isolation::ALL {
        if let Some(enforcement) = capabilities.isolation.get(&kind) {
            held(kind.as_str(), enforcement)?;
        }
    }
    let names = |names: Vec<String>| names.join(", ");
    let networks = names(capabilities.networks.iter().map(ToString::to_string).collect());
    let policies = names(capabilities.syscall_policies.iter().map(ToString::to_string).collect());
    console.line(format_args!("  {:<12} {networks}", "networks"))?;
    console.line(format_args!("  {:<12} {policies}", "seccomp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_none_of_which_something_is_accepted_by_its_name() {
        let backend = |name, accepted| {
            let mut capabilities = Capabilities::new(name);
            capabilities.accepted_weak_isolation = accepted;
            BackendDocument {
                name,
                fit: true,
                error: None,
                capabilities: Some(capabilities),
                missing: Vec::new(),
                self_test: Vec::new(),
            }
        };
        let weak = || backend("isolate", vec![Isolation::Syscalls]);
        let both = [weak(), backend("docker", Vec::new())];
        assert_eq!(chosen(&Choice::Auto, &both).as_deref(), Some("docker"));
        assert_eq!(chosen(&Choice::Auto, &[weak()]), None);
        assert_eq!(chosen(&"isolate,docker".parse().unwrap(), &both).as_deref(), Some("isolate"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let capabilities = Capabilities::new("native")
            .with_limit(LimitKind::Memory, Strength::PerProcess, "rlimit")
            .with_limit(LimitKind::Stack, Strength::PerProcess, "rlimit")
            .with_isolation(Isolation::Inodes, Strength::None, "no overlay in a user namespace");
        let missing = missing(&capabilities);
        assert!(missing.contains(&"limit memory: for each process alone, by rlimit".to_owned()));
        assert!(missing.contains(&"isolation inodes: no overlay in a user namespace".to_owned()));
        assert!(missing.contains(&"limit cpu_time: not held".to_owned()));
        assert!(!missing.iter().any(|line| line.contains("stack")));
    }
}
