//! [`Attack`]: one row of the tables, and how it is run.

use std::time::{Duration, Instant};

use evalx_core::{ByteSize, DynSandbox, Limits, Outcome, SessionSpec, Signal};

use super::Class;
use crate::rig::{close, open_spec, probe, run_with, still_works};
use crate::{Case, Need, Probes, Ran, Token};

/// The limits of an attack, small, in numbers that a table can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bounds {
    /// Milliseconds of CPU time.
    pub cpu_ms: u64,
    /// Milliseconds of wall time.
    pub wall_ms: u64,
    /// Mebibytes of memory.
    pub memory_mib: u64,
    /// Processes at once.
    pub processes: u32,
    /// Kibibytes of each output stream.
    pub output_kib: u64,
    /// Mebibytes of disk.
    pub disk_mib: u64,
    /// Files.
    pub files: u32,
    /// Kibibytes of stack.
    pub stack_kib: u64,
    /// Descriptors of a process.
    pub open_files: u32,
}

impl Bounds {
    /// Enough for a probe that only asks, and too little to hurt anybody.
    pub const SMALL: Self = Self {
        cpu_ms: 1000,
        wall_ms: 2000,
        memory_mib: 64,
        processes: 32,
        output_kib: 256,
        disk_mib: 16,
        files: 1024,
        stack_kib: 8192,
        open_files: 256,
    };

    /// These bounds as limits, with times stretched for a slow machine.
    #[must_use]
    pub fn limits(&self, probes: &Probes) -> Limits {
        Limits::default()
            .with_cpu_time(probes.stretch(Duration::from_millis(self.cpu_ms)))
            .with_wall_time(probes.stretch(Duration::from_millis(self.wall_ms)))
            .with_memory(ByteSize::mib(self.memory_mib))
            .with_processes(self.processes)
            .with_output(ByteSize::kib(self.output_kib))
            .with_disk(ByteSize::mib(self.disk_mib))
            .with_files(self.files)
            .with_stack(ByteSize::kib(self.stack_kib))
            .with_open_files(self.open_files)
    }
}

/// A right end of an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The program exited with 0: a probe says so that it was held.
    Held,
    /// The program exited with 3: what it took was refused at its limit.
    Refused,
    /// CPU time limit.
    Cpu,
    /// Wall time limit.
    Wall,
    /// Memory limit.
    Memory,
    /// Output limit.
    Output,
    /// Disk limit.
    Disk,
    /// Process limit.
    Processes,
    /// This signal.
    Signal(Signal),
}

impl End {
    /// Whether `outcome` is this end.
    #[must_use]
    pub fn is(self, outcome: &Outcome) -> bool {
        match self {
            Self::Held => matches!(outcome, Outcome::Exited(0)),
            Self::Refused => matches!(outcome, Outcome::Exited(3)),
            Self::Cpu => matches!(outcome, Outcome::CpuTimeLimit),
            Self::Wall => matches!(outcome, Outcome::WallTimeLimit),
            Self::Memory => matches!(outcome, Outcome::MemoryLimit),
            Self::Output => matches!(outcome, Outcome::OutputLimit),
            Self::Disk => matches!(outcome, Outcome::DiskLimit),
            Self::Processes => matches!(outcome, Outcome::ProcessLimit),
            Self::Signal(signal) => matches!(outcome, Outcome::Signaled(by) if *by == signal),
        }
    }
}

/// The ends of an attack that are right.
pub type Expectation = &'static [End];

/// One attack: a probe, what it may use, and the ends that are right.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Attack {
    /// Its name, in snake case.
    pub name: &'static str,
    /// What it is aimed at.
    pub class: Class,
    /// The probe's name and arguments.
    pub arguments: &'static [&'static str],
    /// What it may use.
    pub bounds: Bounds,
    /// The ends that are right.
    pub expectation: Expectation,
    /// What it can't do without.
    pub needs: &'static [Need],
}

impl Attack {
    /// An attack that its probe must find held, within small bounds.
    #[must_use]
    pub const fn new(class: Class, name: &'static str, arguments: &'static [&'static str]) -> Self {
        Self { name, class, arguments, bounds: Bounds::SMALL, expectation: &[End::Held], needs: &[] }
    }

    /// Sets the ends that are right.
    #[must_use]
    pub const fn ends(mut self, expectation: Expectation) -> Self {
        self.expectation = expectation;
        self
    }

    /// Sets what it may use.
    #[must_use]
    pub const fn within(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Sets what it can't do without.
    #[must_use]
    pub const fn needing(mut self, needs: &'static [Need]) -> Self {
        self.needs = needs;
        self
    }

    /// It as a case.
    #[must_use]
    pub fn case(&'static self) -> Case {
        let run = move |sandbox: DynSandbox, probes: Probes| -> crate::CaseFuture {
            Box::pin(async move {
                withstand(&sandbox, &probes, self).await;
            })
        };
        let case = Case::new(self.name, run).within(self.class.as_str());
        self.needs.iter().fold(case, |case, need| case.needing(*need))
    }
}

/// Runs one attack, and panics unless it was held.
pub async fn withstand(sandbox: &DynSandbox, probes: &Probes, attack: &Attack) {
    let spec = SessionSpec::new(attack.bounds.limits(probes));
    endured(sandbox, probes, spec, attack.arguments, attack.expectation).await;
    still_works(sandbox, probes).await;
}

/// Runs a probe in a session of its own, and checks what holds for every attack.
pub(crate) async fn endured(
    sandbox: &DynSandbox,
    probes: &Probes,
    spec: SessionSpec,
    arguments: &[&str],
    expectation: &[End],
) -> Ran {
    let (token, limits) = (Token::new(), spec.limits.clone());
    let mut session = open_spec(sandbox, probes, spec).await;
    let step = probe(arguments.iter().copied()).with_argument(token.as_str());
    let started = Instant::now();
    let ran = run_with(session.as_mut(), step, bytes::Bytes::new()).await;
    let took = started.elapsed();
    assert_eq!(token.alive(), Vec::<u32>::new(), "processes outlive their step: {}", ran.story());
    close(session).await;
    bounded(probes, &limits, &ran, took);
    let right = expectation.iter().any(|end| end.is(&ran.report.outcome));
    assert!(right, "{arguments:?} ended other than {expectation:?}: {}", ran.story());
    ran
}

/// Panics if a step used more than its limits, whatever it was.
pub(crate) fn bounded(probes: &Probes, limits: &Limits, ran: &Ran, took: Duration) {
    assert!(!ran.text().contains("ESCAPED"), "{}", ran.story());
    assert!(!ran.text().contains("SETUP"), "the probe could not be set up: {}", ran.story());
    let output = limits.output.as_usize();
    assert!(
        ran.stdout.len() <= output && ran.stderr.len() <= output,
        "more output than allowed: {}",
        ran.story()
    );
    let memory = probes.most_memory(limits.memory);
    assert!(ran.report.memory_peak <= memory, "more memory than allowed: {}", ran.story());
    let slack = probes.stretch(Duration::from_millis(500));
    assert!(ran.report.cpu_time <= limits.cpu_time + slack, "more CPU time than allowed: {}", ran.story());
    assert!(ran.report.wall_time <= limits.wall_time + slack, "more wall time than allowed: {}", ran.story());
    let whole = limits.wall_time + probes.stretch(Duration::from_secs(4));
    assert!(took <= whole, "`run` took {took:?}: {}", ran.story());
}
