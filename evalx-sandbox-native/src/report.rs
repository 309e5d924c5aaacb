//! From a cell's figures to a [`StepReport`].

use std::time::Duration;

use evalx_core::{
    Amount, ByteSize, KilledBy, LimitHit, LimitKind, Limits, MemoryMeasure, Outcome, ProgramEnd, Signal,
    StepReport, StreamSummary,
};

use crate::seccomp;
use crate::wire::{Done, Stopped};

/// What the host itself saw of a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) stdout: StreamSummary,
    pub(crate) stderr: StreamSummary,
}

impl From<(StreamSummary, StreamSummary)> for Seen {
    fn from((stdout, stderr): (StreamSummary, StreamSummary)) -> Self {
        Self { stdout, stderr }
    }
}

/// Decides the outcome, in the order that [`Outcome`] states.
pub(crate) fn report(done: &Done, limits: &Limits, seen: Seen) -> StepReport {
    let time = |ns: u64| Duration::from_nanos(ns);
    let end = done.status.and_then(program_end);
    let (outcome, limit) = decide(done, limits, &seen, end);
    let mut report = StepReport::new(outcome);
    report.end = end;
    report.cpu_time = time(done.cpu_ns);
    report.user_time = time(done.user_ns);
    report.system_time = time(done.system_ns);
    report.wall_time = time(done.wall_ns);
    report.memory_peak = ByteSize::bytes(done.memory_peak);
    report.memory_measured_by =
        if done.memory_by_rss { MemoryMeasure::MaxRss } else { MemoryMeasure::Cgroup };
    report.processes_peak = (done.processes_peak > 0).then_some(done.processes_peak);
    report.oom_kills = done.oom_kills;
    report.voluntary_switches = done.voluntary;
    report.involuntary_switches = done.involuntary;
    report.disk_used = ByteSize::bytes(done.disk_used);
    report.stdout = seen.stdout;
    report.stderr = seen.stderr;
    report.limit = limit;
    report.killed_by = killed_by(&report.outcome, end);
    report
}

/// The wait status, taken apart as wait(2) says.
fn program_end(status: i32) -> Option<ProgramEnd> {
    match status & 0x7f {
        0 => Some(ProgramEnd::Code((status >> 8) & 0xff)),
        signal => Signal::from_number(signal).map(ProgramEnd::Signal),
    }
}

fn decide(done: &Done, limits: &Limits, seen: &Seen, end: Option<ProgramEnd>) -> (Outcome, Option<LimitHit>) {
    match done.stopped {
        Stopped::Cancelled => return (Outcome::Cancelled, None),
        Stopped::Syscall => return (Outcome::ForbiddenSyscall(seccomp::name(done.syscall)), None),
        _ => {}
    }
    let (wall, cpu) = (Duration::from_nanos(done.wall_ns), Duration::from_nanos(done.cpu_ns));
    let hit = |kind, limit, measured| Some(LimitHit::new(kind, limit, measured));
    let size = |kind, limit: ByteSize, measured: u64| {
        hit(kind, Amount::Size(limit), Amount::Size(ByteSize::bytes(measured)))
    };
    if done.oom_kills > 0 || done.stopped == Stopped::Memory {
        return (Outcome::MemoryLimit, size(LimitKind::Memory, limits.memory, done.memory_peak));
    }
    if wall >= limits.wall_time {
        let limit = hit(LimitKind::WallTime, Amount::Time(limits.wall_time), Amount::Time(wall));
        return (Outcome::WallTimeLimit, limit);
    }
    if cpu >= limits.cpu_time {
        return (
            Outcome::CpuTimeLimit,
            hit(LimitKind::CpuTime, Amount::Time(limits.cpu_time), Amount::Time(cpu)),
        );
    }
    if seen.stdout.truncated || seen.stderr.truncated {
        let most = if seen.stdout.truncated { seen.stdout.bytes } else { seen.stderr.bytes };
        return (Outcome::OutputLimit, size(LimitKind::Output, limits.output, most));
    }
    let failed = end != Some(ProgramEnd::Code(0));
    if failed && done.files_full {
        let limit = Amount::Count(u64::from(limits.files));
        return (Outcome::DiskLimit, hit(LimitKind::Files, limit, Amount::Count(done.files_used)));
    }
    if failed && (done.disk_full || end == Some(ProgramEnd::Signal(Signal::XFSZ))) {
        return (Outcome::DiskLimit, size(LimitKind::Disk, limits.disk, done.disk_used));
    }
    if failed && done.forks_refused > 0 {
        let most = done.processes_peak.max(u64::from(limits.processes));
        let limit = Amount::Count(u64::from(limits.processes));
        return (Outcome::ProcessLimit, hit(LimitKind::Processes, limit, Amount::Count(most)));
    }
    match end {
        Some(ProgramEnd::Code(code)) => (Outcome::Exited(code), None),
        Some(ProgramEnd::Signal(signal)) => (Outcome::Signaled(signal), None),
        // Died with its cell, and by nothing above: something outside killed it.
        None => (Outcome::Signaled(Signal::KILL), None),
    }
}

fn killed_by(outcome: &Outcome, end: Option<ProgramEnd>) -> Option<KilledBy> {
    match outcome {
        Outcome::CpuTimeLimit
        | Outcome::WallTimeLimit
        | Outcome::OutputLimit
        | Outcome::ForbiddenSyscall(_)
        | Outcome::Cancelled => Some(KilledBy::Supervisor),
        Outcome::MemoryLimit => Some(KilledBy::Kernel),
        _ => match end {
            Some(ProgramEnd::Code(_)) => None,
            Some(ProgramEnd::Signal(signal)) => Some(sender(signal)),
            None => Some(KilledBy::Kernel),
        },
    }
}

/// Faults come from the kernel; any other signal, in a PID namespace of its
/// own, from the tree itself.
fn sender(signal: Signal) -> KilledBy {
    match signal {
        Signal::SEGV
        | Signal::BUS
        | Signal::FPE
        | Signal::ILL
        | Signal::SYS
        | Signal::PIPE
        | Signal::XCPU
        | Signal::XFSZ => KilledBy::Kernel,
        _ => KilledBy::Program,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        Seen { stdout: StreamSummary::default(), stderr: StreamSummary::default() }
    }

    fn outcome(done: Done) -> Outcome {
        report(&done, &Limits::default(), seen()).outcome
    }

    #[test]
    fn the_first_that_applies_is_the_outcome() {
        let all = Done {
            stopped: Stopped::Cancelled,
            status: Some(6),
            cpu_ns: u64::MAX,
            wall_ns: u64::MAX,
            oom_kills: 1,
            disk_full: true,
            forks_refused: 1,
            ..Done::default()
        };
        assert_eq!(outcome(all), Outcome::Cancelled);
        let next =
            Done { stopped: Stopped::Syscall, syscall: i32::try_from(libc::SYS_ptrace).unwrap(), ..all };
        assert_eq!(outcome(next), Outcome::ForbiddenSyscall("ptrace".to_owned()));
        let next = Done { stopped: Stopped::No, ..next };
        assert_eq!(outcome(next), Outcome::MemoryLimit);
        let next = Done { oom_kills: 0, ..next };
        assert_eq!(outcome(next), Outcome::WallTimeLimit);
        let next = Done { wall_ns: 0, ..next };
        assert_eq!(outcome(next), Outcome::CpuTimeLimit);
        let next = Done { cpu_ns: 0, ..next };
        assert_eq!(outcome(next), Outcome::DiskLimit);
        let next = Done { disk_full: false, ..next };
        assert_eq!(outcome(next), Outcome::ProcessLimit);
        let next = Done { forks_refused: 0, ..next };
        assert_eq!(outcome(next), Outcome::Signaled(Signal::ABRT));
        assert_eq!(outcome(Done { status: Some(3 << 8), ..next }), Outcome::Exited(3));
    }

    #[test]
    fn refused_forks_and_a_full_disk_matter_only_to_a_program_that_failed() {
        let done = Done { status: Some(0), forks_refused: 9, disk_full: true, ..Done::default() };
        assert_eq!(outcome(done), Outcome::Exited(0));
    }
}
