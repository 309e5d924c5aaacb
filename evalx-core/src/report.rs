//! [`StepReport`]: what a step did, and how it ended.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ByteSize, LimitKind, Signal};

/// How a step ended. It means the same on every backend.
///
/// Where several apply, the first of this order is the outcome: cancelled,
/// forbidden system call, memory, wall time, CPU time, output, disk,
/// processes, signal, exit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The program ended by itself with this exit code.
    Exited(i32),
    /// A signal ended the program, and no limit was the cause.
    Signaled(Signal),
    /// The tree of processes used up its CPU time and was killed.
    CpuTimeLimit,
    /// The program ran too long and was killed.
    WallTimeLimit,
    /// The kernel killed a process of the tree for want of memory under the limit.
    MemoryLimit,
    /// The program wrote more to stdout or stderr than allowed and was killed.
    OutputLimit,
    /// The program failed, and the kernel had refused it a process.
    ProcessLimit,
    /// The program failed, and had filled its disk or met the file size limit.
    DiskLimit,
    /// The strict system call policy ended the program at the call of this name.
    ForbiddenSyscall(String),
    /// The caller cancelled the step.
    Cancelled,
}

impl Outcome {
    /// The name in snake case, as in JSON.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Exited(_) => "exited",
            Self::Signaled(_) => "signaled",
            Self::CpuTimeLimit => "cpu_time_limit",
            Self::WallTimeLimit => "wall_time_limit",
            Self::MemoryLimit => "memory_limit",
            Self::OutputLimit => "output_limit",
            Self::ProcessLimit => "process_limit",
            Self::DiskLimit => "disk_limit",
            Self::ForbiddenSyscall(_) => "forbidden_syscall",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the program ended by itself with exit code 0.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Exited(0))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with {code}"),
            Self::Signaled(signal) => write!(f, "ended by {signal}"),
            Self::CpuTimeLimit => f.write_str("exceeded its CPU time"),
            Self::WallTimeLimit => f.write_str("exceeded its wall time"),
            Self::MemoryLimit => f.write_str("exceeded its memory"),
            Self::OutputLimit => f.write_str("exceeded its output"),
            Self::ProcessLimit => f.write_str("exceeded its processes"),
            Self::DiskLimit => f.write_str("exceeded its disk"),
            Self::ForbiddenSyscall(name) => write!(f, "made the forbidden system call {name}"),
            Self::Cancelled => f.write_str("was cancelled"),
        }
    }
}

/// What the main process gave the kernel as its end, whatever the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgramEnd {
    /// It called `exit` with this code, 0 to 255.
    Code(i32),
    /// This signal ended it.
    Signal(Signal),
}

impl ProgramEnd {
    /// Takes apart what wait(2) tells of a process that has ended; `None` for
    /// one that is stopped, and for a signal that does not exist.
    #[must_use]
    pub fn from_wait_status(status: i32) -> Option<Self> {
        match status & 0x7f {
            0 => Some(Self::Code((status >> 8) & 0xff)),
            signal => Signal::from_number(signal).map(Self::Signal),
        }
    }
}

/// Who ended the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KilledBy {
    /// The kernel: out of memory, a fault, a limit of its own.
    Kernel,
    /// The sandbox's supervisor: time, output, cancellation.
    Supervisor,
    /// The program itself, by `abort`, `raise` or `kill`.
    #[serde(rename = "self")]
    Program,
}

/// A measured amount, in the unit of its limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Amount {
    /// Seconds and fractions.
    Time(Duration),
    /// Bytes.
    Size(ByteSize),
    /// Processes, files.
    Count(u64),
}

/// Which limit was met, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LimitHit {
    /// The limit.
    pub kind: LimitKind,
    /// What was allowed.
    pub limit: Amount,
    /// What was measured at the end.
    pub measured: Amount,
}

impl LimitHit {
    /// A limit `kind` of `limit` that was met with `measured`.
    #[must_use]
    pub const fn new(kind: LimitKind, limit: Amount, measured: Amount) -> Self {
        Self { kind, limit, measured }
    }
}

/// How a backend got its figure for peak memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MemoryMeasure {
    /// The high-water mark of the control group: the whole tree, with the page
    /// tables, kernel objects and files in memory that it caused.
    #[default]
    Cgroup,
    /// The largest resident set of one process (`ru_maxrss`): counts shared
    /// libraries, and one process only.
    MaxRss,
}

impl MemoryMeasure {
    /// The name in snake case, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::MaxRss => "max_rss",
        }
    }
}

/// What came out of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StreamSummary {
    /// Bytes the program wrote, as far as they were read.
    pub bytes: u64,
    /// Whether bytes beyond the limit were read and dropped.
    pub truncated: bool,
}

impl StreamSummary {
    /// A stream of which `bytes` were read, cut or not.
    #[must_use]
    pub const fn new(bytes: u64, truncated: bool) -> Self {
        Self { bytes, truncated }
    }
}

/// What a step did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepReport {
    /// How it ended.
    pub outcome: Outcome,
    /// The main process's exit code or signal; `None` if it was killed with
    /// its supervisor and left none.
    pub end: Option<ProgramEnd>,
    /// CPU time of the whole tree.
    pub cpu_time: Duration,
    /// The part of it spent in user mode.
    pub user_time: Duration,
    /// The part of it spent in the kernel.
    pub system_time: Duration,
    /// From the start of the program to the end of its tree.
    pub wall_time: Duration,
    /// The most memory the tree held at once.
    pub memory_peak: ByteSize,
    /// How that was measured.
    pub memory_measured_by: MemoryMeasure,
    /// The most processes and threads at once, where the kernel counts them.
    pub processes_peak: Option<u64>,
    /// Processes of the tree that the kernel killed for want of memory.
    pub oom_kills: u64,
    /// Context switches that the program waited for.
    pub voluntary_switches: u64,
    /// Context switches forced on it.
    pub involuntary_switches: u64,
    /// Bytes in the work folder, `/tmp` and `/dev/shm` at the end.
    pub disk_used: ByteSize,
    /// What came on stdout.
    pub stdout: StreamSummary,
    /// What came on stderr.
    pub stderr: StreamSummary,
    /// The limit that decided the outcome, if one did.
    pub limit: Option<LimitHit>,
    /// Who ended the program, if it did not exit.
    pub killed_by: Option<KilledBy>,
}

impl StepReport {
    /// A report of `outcome` in which nothing was used; for backends and tests.
    #[must_use]
    pub fn new(outcome: Outcome) -> Self {
        let end = match &outcome {
            Outcome::Exited(code) => Some(ProgramEnd::Code(*code)),
            Outcome::Signaled(signal) => Some(ProgramEnd::Signal(*signal)),
            _ => None,
        };
        Self {
            outcome,
            end,
            cpu_time: Duration::ZERO,
            user_time: Duration::ZERO,
            system_time: Duration::ZERO,
            wall_time: Duration::ZERO,
            memory_peak: ByteSize::ZERO,
            memory_measured_by: MemoryMeasure::Cgroup,
            processes_peak: None,
            oom_kills: 0,
            voluntary_switches: 0,
            involuntary_switches: 0,
            disk_used: ByteSize::ZERO,
            stdout: StreamSummary::default(),
            stderr: StreamSummary::default(),
            limit: None,
            killed_by: None,
        }
    }

    /// The exit code, if the main process ended with one.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self.end {
            Some(ProgramEnd::Code(code)) => Some(code),
            _ => None,
        }
    }

    /// The signal, if one ended the main process.
    #[must_use]
    pub fn signal(&self) -> Option<Signal> {
        match self.end {
            Some(ProgramEnd::Signal(signal)) => Some(signal),
            _ => None,
        }
    }
}
