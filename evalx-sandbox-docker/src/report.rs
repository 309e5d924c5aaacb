//! From an agent's figures to a [`StepReport`].

use std::time::Duration;

use evalx_agent::wire::{Ended, Stopped};
use evalx_core::{
    Amount, ByteSize, KilledBy, LimitHit, LimitKind, Limits, MemoryMeasure, Outcome, ProgramEnd, Signal,
    StepReport, StreamSummary,
};

/// Decides the outcome, in the order that [`Outcome`] states.
pub(crate) fn report(ended: &Ended, limits: &Limits) -> StepReport {
    let end = ended.status.and_then(program_end);
    let most = limits.output.as_u64();
    let stream = |bytes| StreamSummary::new(bytes, bytes > most);
    let (stdout, stderr) = (stream(ended.stdout), stream(ended.stderr));
    let (outcome, limit) = decide(ended, limits, (stdout, stderr), end);
    let mut report = StepReport::new(outcome);
    report.end = end;
    report.cpu_time = Duration::from_nanos(ended.cpu_ns);
    report.user_time = Duration::from_nanos(ended.user_ns);
    report.system_time = Duration::from_nanos(ended.system_ns);
    report.wall_time = Duration::from_nanos(ended.wall_ns);
    report.memory_peak = ByteSize::bytes(ended.memory_peak);
    report.memory_measured_by =
        if ended.memory_by_rss { MemoryMeasure::MaxRss } else { MemoryMeasure::Cgroup };
    report.processes_peak = (ended.processes_peak > 0).then_some(ended.processes_peak);
    report.oom_kills = ended.oom_kills;
    report.voluntary_switches = ended.voluntary;
    report.involuntary_switches = ended.involuntary;
    report.disk_used = ByteSize::bytes(ended.disk_used);
    report.stdout = stdout;
    report.stderr = stderr;
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

fn decide(
    ended: &Ended,
    limits: &Limits,
    (stdout, stderr): (StreamSummary, StreamSummary),
    end: Option<ProgramEnd>,
) -> (Outcome, Option<LimitHit>) {
    let hit = |kind, limit, measured| Some(LimitHit::new(kind, limit, measured));
    let size =
        |kind, limit, measured| hit(kind, Amount::Size(limit), Amount::Size(ByteSize::bytes(measured)));
    let time = |kind, limit, ns| hit(kind, Amount::Time(limit), Amount::Time(Duration::from_nanos(ns)));
    let count = |kind, limit: u32, measured| hit(kind, Amount::Count(limit.into()), Amount::Count(measured));
    let failed = end != Some(ProgramEnd::Code(0));
    if ended.stopped == Stopped::Cancelled {
        (Outcome::Cancelled, None)
    } else if ended.oom_kills > 0 {
        (Outcome::MemoryLimit, size(LimitKind::Memory, limits.memory, ended.memory_peak))
    } else if Duration::from_nanos(ended.wall_ns) >= limits.wall_time {
        (Outcome::WallTimeLimit, time(LimitKind::WallTime, limits.wall_time, ended.wall_ns))
    } else if Duration::from_nanos(ended.cpu_ns) >= limits.cpu_time {
        (Outcome::CpuTimeLimit, time(LimitKind::CpuTime, limits.cpu_time, ended.cpu_ns))
    } else if stdout.truncated || stderr.truncated {
        let bytes = if stdout.truncated { stdout.bytes } else { stderr.bytes };
        (Outcome::OutputLimit, size(LimitKind::Output, limits.output, bytes))
    } else if failed && ended.files_full {
        (Outcome::DiskLimit, count(LimitKind::Files, limits.files, ended.files_used))
    } else if failed && (ended.disk_full || end == Some(ProgramEnd::Signal(Signal::XFSZ))) {
        (Outcome::DiskLimit, size(LimitKind::Disk, limits.disk, ended.disk_used))
    } else if failed && ended.forks_refused > 0 {
        let most = ended.processes_peak.max(u64::from(limits.processes));
        (Outcome::ProcessLimit, count(LimitKind::Processes, limits.processes, most))
    } else {
        match end {
            Some(ProgramEnd::Code(code)) => (Outcome::Exited(code), None),
            Some(ProgramEnd::Signal(signal)) => (Outcome::Signaled(signal), None),
            // Died with its cell, and by nothing above: something outside killed it.
            None => (Outcome::Signaled(Signal::KILL), None),
        }
    }
}

fn killed_by(outcome: &Outcome, end: Option<ProgramEnd>) -> Option<KilledBy> {
    match outcome {
        Outcome::MemoryLimit => Some(KilledBy::Kernel),
        Outcome::CpuTimeLimit | Outcome::WallTimeLimit | Outcome::OutputLimit | Outcome::Cancelled => {
            Some(KilledBy::Supervisor)
        }
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
    const FAULTS: [Signal; 8] = [
        Signal::SEGV,
        Signal::BUS,
        Signal::FPE,
        Signal::ILL,
        Signal::SYS,
        Signal::PIPE,
        Signal::XCPU,
        Signal::XFSZ,
    ];
    if FAULTS.contains(&signal) { KilledBy::Kernel } else { KilledBy::Program }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(ended: Ended) -> Outcome {
        report(&ended, &Limits::default()).outcome
    }

    #[test]
    fn the_first_that_applies_is_the_outcome() {
        let all = Ended {
            stopped: Stopped::Cancelled,
            status: Some(6),
            cpu_ns: u64::MAX,
            wall_ns: u64::MAX,
            oom_kills: 1,
            stdout: u64::MAX,
            files_full: true,
            forks_refused: 1,
            ..Ended::default()
        };
        assert_eq!(outcome(all), Outcome::Cancelled);
        let next = Ended { stopped: Stopped::Limit, ..all };
        assert_eq!(outcome(next), Outcome::MemoryLimit);
        let next = Ended { oom_kills: 0, ..next };
        assert_eq!(outcome(next), Outcome::WallTimeLimit);
        let next = Ended { wall_ns: 0, ..next };
        assert_eq!(outcome(next), Outcome::CpuTimeLimit);
        let next = Ended { cpu_ns: 0, ..next };
        assert_eq!(outcome(next), Outcome::OutputLimit);
        let next = Ended { stdout: 0, ..next };
        assert_eq!(outcome(next), Outcome::DiskLimit);
        let next = Ended { files_full: false, ..next };
        assert_eq!(outcome(next), Outcome::ProcessLimit);
        let next = Ended { forks_refused: 0, ..next };
        assert_eq!(outcome(next), Outcome::Signaled(Signal::ABRT));
        assert_eq!(outcome(Ended { status: Some(3 << 8), ..next }), Outcome::Exited(3));
    }

    #[test]
    fn refused_forks_and_a_full_disk_matter_only_to_a_program_that_failed() {
        let ended = Ended { status: Some(0), forks_refused: 9, disk_full: true, ..Ended::default() };
        assert_eq!(outcome(ended), Outcome::Exited(0));
    }
}
