//! [`Limits`]: how much of the machine a session may use.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ByteSize, Error, ErrorKind, Result};

/// What a step may use. The defaults suit a learner's program.
///
/// CPU time and memory count the whole tree of processes. Every limit has a
/// floor and a ceiling, which [`Limits::validate`] holds; backends call it.
///
/// ```
/// use std::time::Duration;
/// use evalx_core::{ByteSize, Limits};
///
/// let limits = Limits::default()
///     .with_cpu_time(Duration::from_secs(2))
///     .with_memory(ByteSize::mib(64));
/// limits.validate()?;
/// # Ok::<(), evalx_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// CPU time of all processes together, user and system.
    pub cpu_time: Duration,
    /// Time from the start of the program to its end.
    pub wall_time: Duration,
    /// Memory of all processes together, with files in the work folder,
    /// `/tmp` and `/dev/shm` that the program wrote. Swap is never used.
    pub memory: ByteSize,
    /// Processes and threads at any one time.
    pub processes: u32,
    /// Bytes of stdout, and as many of stderr. The program is ended at the next.
    pub output: ByteSize,
    /// Bytes in the work folder, `/tmp` and `/dev/shm` together.
    pub disk: ByteSize,
    /// Files and folders in the work folder, `/tmp` and `/dev/shm` together.
    pub files: u32,
    /// The main thread's stack.
    pub stack: ByteSize,
    /// Descriptors a process may have open.
    pub open_files: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu_time: Duration::from_secs(10),
            wall_time: Duration::from_secs(20),
            memory: ByteSize::mib(256),
            processes: 64,
            output: ByteSize::mib(16),
            disk: ByteSize::mib(64),
            files: 16_384,
            stack: ByteSize::mib(64),
            open_files: 256,
        }
    }
}

impl Limits {
    /// What a compiler needs: 30 s of CPU, 1 GiB of memory, 256 MiB of disk.
    #[must_use]
    pub fn for_compiling() -> Self {
        Self {
            cpu_time: Duration::from_secs(30),
            wall_time: Duration::from_secs(60),
            memory: ByteSize::gib(1),
            processes: 256,
            output: ByteSize::mib(4),
            disk: ByteSize::mib(256),
            files: 65_536,
            stack: ByteSize::mib(64),
            open_files: 1024,
        }
    }

    /// Sets [`cpu_time`](Self::cpu_time).
    #[must_use]
    pub fn with_cpu_time(mut self, cpu_time: Duration) -> Self {
        self.cpu_time = cpu_time;
        self
    }

    /// Sets [`wall_time`](Self::wall_time).
    #[must_use]
    pub fn with_wall_time(mut self, wall_time: Duration) -> Self {
        self.wall_time = wall_time;
        self
    }

    /// Sets [`memory`](Self::memory).
    #[must_use]
    pub fn with_memory(mut self, memory: ByteSize) -> Self {
        self.memory = memory;
        self
    }

    /// Sets [`processes`](Self::processes).
    #[must_use]
    pub fn with_processes(mut self, processes: u32) -> Self {
        self.processes = processes;
        self
    }

    /// Sets [`output`](Self::output).
    #[must_use]
    pub fn with_output(mut self, output: ByteSize) -> Self {
        self.output = output;
        self
    }

    /// Sets [`disk`](Self::disk).
    #[must_use]
    pub fn with_disk(mut self, disk: ByteSize) -> Self {
        self.disk = disk;
        self
    }

    /// Sets [`files`](Self::files).
    #[must_use]
    pub fn with_files(mut self, files: u32) -> Self {
        self.files = files;
        self
    }

    /// Sets [`stack`](Self::stack).
    #[must_use]
    pub fn with_stack(mut self, stack: ByteSize) -> Self {
        self.stack = stack;
        self
    }

    /// Sets [`open_files`](Self::open_files).
    #[must_use]
    pub fn with_open_files(mut self, open_files: u32) -> Self {
        self.open_files = open_files;
        self
    }

    /// Checks every limit against its floor and ceiling.
    ///
    /// A limit of nothing is refused and not read as "no limit": Judge0 once
    /// gave unlimited runs to whoever asked for a wall time of zero.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`] naming the limit, its value and what is allowed.
    pub fn validate(&self) -> Result<()> {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let time = |kind: LimitKind, value: Duration| {
            within(kind, value, Duration::from_millis(1), DAY, |time| format!("{}s", time.as_secs_f64()))
        };
        let size = |kind: LimitKind, value: ByteSize, floor: ByteSize| {
            within(kind, value, floor, ByteSize::gib(1024), ToString::to_string)
        };
        let count = |kind: LimitKind, value: u32, floor: u32, ceiling: u32| {
            within(kind, value, floor, ceiling, ToString::to_string)
        };
        time(LimitKind::CpuTime, self.cpu_time)?;
        time(LimitKind::WallTime, self.wall_time)?;
        size(LimitKind::Memory, self.memory, ByteSize::mib(1))?;
        count(LimitKind::Processes, self.processes, 1, 32_768)?;
        size(LimitKind::Output, self.output, ByteSize::ZERO)?;
        size(LimitKind::Disk, self.disk, ByteSize::kib(64))?;
        count(LimitKind::Files, self.files, 16, 16_777_216)?;
        size(LimitKind::Stack, self.stack, ByteSize::kib(128))?;
        count(LimitKind::OpenFiles, self.open_files, 8, 1_048_576)
    }
}

fn within<T: PartialOrd + Copy>(
    kind: LimitKind,
    value: T,
    floor: T,
    ceiling: T,
    show: impl Fn(&T) -> String,
) -> Result<()> {
    if value >= floor && value <= ceiling {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidRequest,
        format!(
            "a {kind} limit of {} is not allowed: from {} to {}",
            show(&value),
            show(&floor),
            show(&ceiling)
        ),
    ))
}

/// The name of one of the [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LimitKind {
    /// [`Limits::cpu_time`]
    CpuTime,
    /// [`Limits::wall_time`]
    WallTime,
    /// [`Limits::memory`]
    Memory,
    /// [`Limits::processes`]
    Processes,
    /// [`Limits::output`]
    Output,
    /// [`Limits::disk`]
    Disk,
    /// [`Limits::files`]
    Files,
    /// [`Limits::stack`]
    Stack,
    /// [`Limits::open_files`]
    OpenFiles,
}

impl LimitKind {
    /// Every limit there is.
    pub const ALL: [Self; 9] = [
        Self::CpuTime,
        Self::WallTime,
        Self::Memory,
        Self::Processes,
        Self::Output,
        Self::Disk,
        Self::Files,
        Self::Stack,
        Self::OpenFiles,
    ];

    /// The name in snake case, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CpuTime => "cpu_time",
            Self::WallTime => "wall_time",
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Output => "output",
            Self::Disk => "disk",
            Self::Files => "files",
            Self::Stack => "stack",
            Self::OpenFiles => "open_files",
        }
    }
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        Limits::default().validate().unwrap();
        Limits::for_compiling().validate().unwrap();
    }

    #[test]
    fn nothing_and_too_much_are_refused_by_name() {
        let cases = [
            (Limits::default().with_cpu_time(Duration::ZERO), "cpu_time"),
            (Limits::default().with_wall_time(Duration::MAX), "wall_time"),
            (Limits::default().with_memory(ByteSize::ZERO), "memory"),
            (Limits::default().with_memory(ByteSize::MAX), "memory"),
            (Limits::default().with_processes(0), "processes"),
            (Limits::default().with_disk(ByteSize::ZERO), "disk"),
            (Limits::default().with_files(0), "files"),
            (Limits::default().with_stack(ByteSize::ZERO), "stack"),
            (Limits::default().with_open_files(u32::MAX), "open_files"),
        ];
        for (limits, name) in cases {
            let error = limits.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
