//! [`Meter`]: sets the limits of one step in its cgroup and reads its figures.
//!
//! It is used by cells and must keep to what [`sys`](crate::sys) says of them:
//! numbers are written and read in buffers on the stack.

use std::ffi::CStr;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};

use nix::errno::Errno;

use crate::sys;

/// What a step used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// CPU time of the whole tree, in nanoseconds; 0 without a cgroup.
    pub(crate) cpu_ns: u64,
    /// The parts of it in user mode and in the kernel, where they are known.
    pub(crate) user_ns: u64,
    pub(crate) system_ns: u64,
    pub(crate) memory_peak: u64,
    pub(crate) oom_kills: u64,
    /// 0 where the kernel does not say.
    pub(crate) processes_peak: u64,
    /// How often the kernel refused a new process.
    pub(crate) forks_refused: u64,
}

/// The memory a slot's own processes may grow by while a step runs without the
/// step's limit being met early; the limit is rounded up by as much.
const SLACK: u64 = 256 << 10;

/// How much of earlier steps a memory group of v1 may hold. The zygote's own
/// memory is charged to the group it was in when it took it.
const RESIDUE: u64 = 4 << 20;

/// The open files of a slot's groups.
#[derive(Debug)]
pub(crate) enum Meter {
    /// v1: the zygote is a member, so that steps are born inside. Its own use
    /// is measured when a step begins, and taken off.
    V1(V1),
    /// v2: each step is born in a fresh group below the slot's.
    V2(V2),
    /// Nothing: rlimits alone.
    None,
}

#[derive(Debug)]
pub(crate) struct V1 {
    /// The slot's own folder in the memory hierarchy, and the group in use below it.
    pub(crate) memory_folder: RawFd,
    pub(crate) memory: Group<{ MEMORY_FILES.len() }>,
    /// The same in the pids hierarchy.
    pub(crate) pids_folder: RawFd,
    pub(crate) pids: Group<{ PIDS_FILES.len() }>,
    pub(crate) cpu: RawFd,
    /// Its parts in user mode and in the kernel; -1 before Linux 4.7.
    cpu_parts: [RawFd; 2],
    cpu_parts_before: [AtomicU64; 2],
    /// The limit in force, to write it only when it changes.
    limit_now: AtomicU64,
    /// What the step may use.
    allowed: AtomicU64,
    usage_before: AtomicU64,
    cpu_before: AtomicU64,
    oom_before: AtomicU64,
    refused_before: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct V2 {
    pub(crate) folder: RawFd,
    pub(crate) step: Group<{ STEP_FILES.len() }>,
}

/// A group that is replaced from time to time, with its files open: a cell has
/// left the host's file systems behind, and could not open them.
#[derive(Debug)]
pub(crate) struct Group<const FILES: usize> {
    pub(crate) folder: AtomicI32,
    pub(crate) serial: AtomicU64,
    pub(crate) files: [AtomicI32; FILES],
}

/// The files of a memory group of v1.
pub(crate) const MEMORY_FILES: [&CStr; 5] = [
    c"memory.limit_in_bytes",
    // Absent where swap is not accounted.
    c"memory.memsw.limit_in_bytes",
    c"memory.usage_in_bytes",
    c"memory.max_usage_in_bytes",
    c"memory.oom_control",
];
const LIMIT: usize = 0;
const LIMIT_WITH_SWAP: usize = 1;
const USAGE: usize = 2;
const PEAK: usize = 3;
pub(crate) const OOM_CONTROL: usize = 4;

/// The files of a pids group of v1.
pub(crate) const PIDS_FILES: [&CStr; 3] = [c"pids.max", c"pids.peak", c"pids.events"];
const PIDS_MAX: usize = 0;
const PIDS_PEAK: usize = 1;
const PIDS_EVENTS: usize = 2;

/// The files of a step's group of v2.
pub(crate) const STEP_FILES: [&CStr; 9] = [
    c"pids.max",
    c"pids.peak",
    c"pids.events",
    c"memory.max",
    c"memory.swap.max",
    c"memory.oom.group",
    c"memory.peak",
    c"memory.events",
    c"cpu.stat",
];
const MEMORY_MAX: usize = 3;
const SWAP_MAX: usize = 4;
const OOM_GROUP: usize = 5;
const MEMORY_PEAK: usize = 6;
const MEMORY_EVENTS: usize = 7;
const CPU_STAT: usize = 8;

impl<const FILES: usize> Group<FILES> {
    pub(crate) const fn new() -> Self {
        Self {
            folder: AtomicI32::new(-1),
            serial: AtomicU64::new(0),
            files: [const { AtomicI32::new(-1) }; FILES],
        }
    }

    /// Whether there is one yet.
    pub(crate) fn is_made(&self) -> bool {
        self.folder.load(Relaxed) >= 0
    }

    /// A file; -1 where the kernel has none of this name.
    pub(crate) fn file(&self, index: usize) -> RawFd {
        self.files.get(index).map_or(-1, |file| file.load(Relaxed))
    }
}

impl V1 {
    pub(crate) fn new(memory_folder: RawFd, cpuacct: RawFd, pids_folder: RawFd) -> Result<Self, Errno> {
        Ok(Self {
            memory_folder,
            memory: Group::new(),
            pids_folder,
            pids: Group::new(),
            cpu: sys::open(cpuacct, c"cpuacct.usage", libc::O_RDONLY)?,
            cpu_parts: [c"cpuacct.usage_user", c"cpuacct.usage_sys"]
                .map(|name| sys::open(cpuacct, name, libc::O_RDONLY).unwrap_or(-1)),
            cpu_parts_before: [const { AtomicU64::new(0) }; 2],
            limit_now: AtomicU64::new(0),
            allowed: AtomicU64::new(0),
            usage_before: AtomicU64::new(0),
            cpu_before: AtomicU64::new(0),
            oom_before: AtomicU64::new(0),
            refused_before: AtomicU64::new(0),
        })
    }

    /// The zygote and the cell.
    const OWN_PROCESSES: u64 = 2;

    /// Whether the pids group in use never held more than one process of a step.
    pub(crate) fn processes_peak_is_fresh(&self) -> bool {
        let peak = read_number(self.pids.file(PIDS_PEAK)).ok();
        // A kernel without the file has nothing to keep fresh.
        peak.is_none_or(|peak| peak <= Self::OWN_PROCESSES + 1)
    }

    /// Whether the memory group in use holds little of earlier steps. What
    /// they read stays charged to it as page cache: the kernel would give that
    /// up for the next step, which could so use more than its own limit.
    pub(crate) fn memory_is_fresh(&self) -> bool {
        read_number(self.memory.file(USAGE)).is_ok_and(|usage| usage <= RESIDUE)
    }

    /// The limit of the group now in use is not known yet.
    pub(crate) fn memory_was_renewed(&self) {
        self.limit_now.store(0, Relaxed);
    }

    /// Notes the parts of CPU time that come before the next step's.
    pub(crate) fn note_cpu_parts(&self) {
        for (before, file) in self.cpu_parts_before.iter().zip(self.cpu_parts) {
            before.store(read_number(file).unwrap_or(0), Relaxed);
        }
    }

    fn cpu_parts(&self) -> [u64; 2] {
        [0, 1].map(|part: usize| {
            let now = read_number(self.cpu_parts[part]).unwrap_or(0);
            now.saturating_sub(self.cpu_parts_before[part].load(Relaxed))
        })
    }

    fn begin(&self, memory: u64, processes: u64) -> Result<(), Errno> {
        let limit_file = self.memory.file(LIMIT);
        let limit_with_swap = self.memory.file(LIMIT_WITH_SWAP);
        let usage = read_number(self.memory.file(USAGE))?;
        self.usage_before.store(usage, Relaxed);
        self.allowed.store(memory, Relaxed);
        let limit = usage.saturating_add(memory).next_multiple_of(SLACK);
        let now = self.limit_now.load(Relaxed);
        if limit != now {
            // Memory may never exceed memory with swap, whichever way they go.
            let mut order = [limit_file, limit_with_swap];
            if now == 0 || limit > now {
                order.reverse();
            }
            for file in order.into_iter().filter(|file| *file >= 0) {
                match write_number(file, limit) {
                    // At the very first, both are unlimited.
                    Err(Errno::EINVAL) if now == 0 => {}
                    result => result?,
                }
            }
            if now == 0 && limit_with_swap >= 0 {
                write_number(limit_file, limit)?;
                write_number(limit_with_swap, limit)?;
            }
            self.limit_now.store(limit, Relaxed);
        }
        sys::write(self.memory.file(PEAK), b"0")?;
        write_number(self.pids.file(PIDS_MAX), processes.saturating_add(Self::OWN_PROCESSES))?;
        self.refused_before.store(read_field(self.pids.file(PIDS_EVENTS), b"max ").unwrap_or(0), Relaxed);
        self.oom_before.store(read_field(self.memory.file(OOM_CONTROL), b"oom_kill ").unwrap_or(0), Relaxed);
        self.cpu_before.store(read_number(self.cpu)?, Relaxed);
        Ok(())
    }

    fn cpu_ns(&self) -> u64 {
        read_number(self.cpu).unwrap_or(0).saturating_sub(self.cpu_before.load(Relaxed))
    }

    fn oom_kills(&self) -> u64 {
        let now = read_field(self.memory.file(OOM_CONTROL), b"oom_kill ").unwrap_or(0);
        now.saturating_sub(self.oom_before.load(Relaxed))
    }

    /// The most memory that the step used at once.
    ///
    /// The kernel may have let go of what earlier steps left while this one
    /// ran: then less was there beside it than when it began. When that was, it
    /// does not tell; a step that met its limit forced it to, and used all that
    /// it was allowed.
    fn memory_peak(&self) -> u64 {
        let peak = read_number(self.memory.file(PEAK)).unwrap_or(0);
        let before = self.usage_before.load(Relaxed);
        let left = read_number(self.memory.file(USAGE)).unwrap_or(before);
        let least = peak.saturating_sub(before);
        let most = peak.saturating_sub(before.min(left));
        most.min(self.allowed.load(Relaxed).max(least))
    }

    fn usage(&self) -> Usage {
        Usage {
            cpu_ns: self.cpu_ns(),
            memory_peak: self.memory_peak(),
            oom_kills: self.oom_kills(),
            processes_peak: read_number(self.pids.file(PIDS_PEAK))
                .unwrap_or(0)
                .saturating_sub(Self::OWN_PROCESSES),
            forks_refused: read_field(self.pids.file(PIDS_EVENTS), b"max ")
                .unwrap_or(0)
                .saturating_sub(self.refused_before.load(Relaxed)),
            ..Usage::default()
        }
    }
}

impl V2 {
    fn usage(&self) -> Usage {
        let mut buffer = [0; 1024];
        let length = sys::read_at_start(self.step.file(CPU_STAT), &mut buffer).unwrap_or(0);
        let stat = buffer.get(..length).unwrap_or(&[]);
        let micros = |name| field(stat, name).unwrap_or(0).saturating_mul(1000);
        let (cpu_ns, user_ns, system_ns) =
            (micros(b"usage_usec "), micros(b"user_usec "), micros(b"system_usec "));
        Usage {
            cpu_ns,
            user_ns,
            system_ns,
            memory_peak: read_number(self.step.file(MEMORY_PEAK)).unwrap_or(0),
            oom_kills: self.oom_kills(),
            processes_peak: read_number(self.step.file(PIDS_PEAK)).unwrap_or(0),
            forks_refused: read_field(self.step.file(PIDS_EVENTS), b"max ").unwrap_or(0),
        }
    }

    fn oom_kills(&self) -> u64 {
        read_field(self.step.file(MEMORY_EVENTS), b"oom_kill ").unwrap_or(0)
    }
}

impl Meter {
    /// Whether the kernel keeps the peak of the step's memory.
    pub(crate) fn tells_peak(&self) -> bool {
        match self {
            Self::V1(_) => true,
            // Since Linux 5.19.
            Self::V2(v2) => v2.step.file(MEMORY_PEAK) >= 0,
            Self::None => false,
        }
    }

    /// How many bytes may be used without the counter showing it: the kernel
    /// charges in batches of 64 pages for each processor, and a group that
    /// lives on may have some of a batch left when a step begins.
    pub(crate) fn blind_spot(&self, cpus: u64) -> u64 {
        match self {
            Self::V1(_) => cpus.saturating_mul(64 * 4096),
            Self::V2(_) | Self::None => 0,
        }
    }

    /// The cgroup (v2) that the program is to be born in, or -1.
    pub(crate) fn birthplace(&self) -> RawFd {
        match self {
            Self::V2(v2) => v2.step.folder.load(Relaxed),
            Self::V1(_) | Self::None => -1,
        }
    }

    /// Puts the limits in force and starts measuring.
    pub(crate) fn begin(&self, memory: u64, processes: u64) -> Result<(), Errno> {
        match self {
            Self::V1(v1) => v1.begin(memory, processes),
            Self::V2(v2) => {
                write_number(v2.step.file(MEMORY_MAX), memory)?;
                // Absent where the kernel accounts no swap.
                if v2.step.file(SWAP_MAX) >= 0 {
                    write_number(v2.step.file(SWAP_MAX), 0)?;
                }
                write_number(v2.step.file(OOM_GROUP), 1)?;
                write_number(v2.step.file(PIDS_MAX), processes)
            }
            Self::None => Ok(()),
        }
    }

    /// CPU time since the step began.
    pub(crate) fn cpu_ns(&self) -> u64 {
        match self {
            Self::V1(v1) => v1.cpu_ns(),
            Self::V2(v2) => v2.usage().cpu_ns,
            Self::None => 0,
        }
    }

    /// How CPU time divides into user mode and the kernel, roughly: for a step
    /// whose processes can't all be asked.
    pub(crate) fn cpu_parts(&self) -> [u64; 2] {
        match self {
            Self::V1(v1) => v1.cpu_parts(),
            Self::V2(_) | Self::None => [0; 2],
        }
    }

    /// Processes killed for want of memory since the step began.
    pub(crate) fn oom_kills(&self) -> u64 {
        match self {
            Self::V1(v1) => v1.oom_kills(),
            Self::V2(v2) => v2.oom_kills(),
            Self::None => 0,
        }
    }

    /// What the step used; called once its last process is reaped.
    pub(crate) fn usage(&self) -> Usage {
        match self {
            Self::V1(v1) => v1.usage(),
            Self::V2(v2) => v2.usage(),
            Self::None => Usage::default(),
        }
    }
}

/// The number a text starts with.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    let mut any = false;
    let value = digits.fold(0u64, |value, digit| {
        any = true;
        value.wrapping_mul(10).wrapping_add(u64::from(digit.wrapping_sub(b'0')))
    });
    any.then_some(value)
}

/// The number behind `name` at the start of a line.
pub(crate) fn field(text: &[u8], name: &[u8]) -> Option<u64> {
    text.split(|byte| *byte == b'\n').find_map(|line| number(line.strip_prefix(name)?))
}

fn read_number(file: RawFd) -> Result<u64, Errno> {
    let mut buffer = [0; 32];
    let length = sys::read_at_start(file, &mut buffer)?;
    number(buffer.get(..length).unwrap_or(&[])).ok_or(Errno::EINVAL)
}

fn read_field(file: RawFd, name: &[u8]) -> Option<u64> {
    let mut buffer = [0; 512];
    let length = sys::read_at_start(file, &mut buffer).ok()?;
    field(buffer.get(..length)?, name)
}

/// Writes a number in decimal.
pub(crate) fn write_number(file: RawFd, value: u64) -> Result<(), Errno> {
    let mut buffer = [0; 20];
    sys::write(file, decimal(value, &mut buffer)).map(drop)
}

/// A number's decimal digits, at the end of `buffer`.
pub(crate) fn decimal(mut value: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut start = 20;
    for (index, place) in buffer.iter_mut().enumerate().rev() {
        *place = b'0' + (value % 10) as u8;
        start = index;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    buffer.get(start..).unwrap_or(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_written() {
        for value in [0, 7, 10, 12_345, u64::MAX] {
            assert_eq!(decimal(value, &mut [0; 20]), value.to_string().as_bytes());
            assert_eq!(number(format!("{value}\n").as_bytes()), Some(value));
        }
        assert_eq!(number(b"max\n"), None);
        assert_eq!(field(b"oom 1\noom_kill 3\n", b"oom_kill "), Some(3));
        assert_eq!(field(b"oom 1\n", b"oom_kill "), None);
    }
}
