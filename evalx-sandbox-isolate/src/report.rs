//! From what isolate, the kernel and the host saw of a run to a [`StepReport`].

use std::time::Duration;

use evalx_core::{
    Amount, ByteSize, KilledBy, LimitHit, LimitKind, Limits, MemoryMeasure, Outcome, ProgramEnd, Signal,
    StepReport, StreamSummary,
};

use crate::groups::Figures;
use crate::keeper::Stopped;
use crate::meta::{Meta, Status};
use crate::work::Space;

/// isolate tells wall time in milliseconds that have passed.
const CLOCK: Duration = Duration::from_millis(1);

/// All that is known of a run that isolate saw to its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) meta: Meta,
    /// What the box's groups have counted, if there are any.
    pub(crate) figures: Option<Figures>,
    /// From the moment at which the program was let go to isolate's end.
    pub(crate) wall_time: Duration,
    pub(crate) stopped: Option<Stopped>,
    pub(crate) space: Space,
    /// Processes that the kernel refused.
    pub(crate) refused: u64,
    pub(crate) stdout: StreamSummary,
    pub(crate) stderr: StreamSummary,
}

/// Decides the outcome, in the order that [`Outcome`] states.
pub(crate) fn report(seen: &Seen, limits: &Limits) -> StepReport {
    let (meta, figures) = (&seen.meta, seen.figures.unwrap_or_default());
    let oom_kills = figures.oom_kills.max(u64::from(meta.oom_killed));
    let end = end(seen);
    let mut report = StepReport::new(Outcome::Cancelled);
    report.end = end;
    report.cpu_time =
        if seen.figures.is_some() { figures.cpu_time } else { meta.cpu_time.unwrap_or_default() };
    // isolate by itself does not tell the two apart.
    report.user_time = if seen.figures.is_some() { figures.user_time } else { report.cpu_time };
    report.system_time = figures.system_time;
    report.wall_time = wall_time(seen);
    report.memory_peak = ByteSize::bytes(meta.group_memory.or(meta.max_rss).unwrap_or_default());
    report.memory_measured_by =
        if meta.group_memory.is_some() { MemoryMeasure::Cgroup } else { MemoryMeasure::MaxRss };
    report.oom_kills = oom_kills;
    report.voluntary_switches = meta.voluntary_switches.unwrap_or_default();
    report.involuntary_switches = meta.forced_switches.unwrap_or_default();
    report.disk_used = ByteSize::bytes(seen.space.bytes_used);
    (report.stdout, report.stderr) = (seen.stdout, seen.stderr);
    // What was stopped at a limit has reached it, however coarse the clock.
    match time_up(seen) {
        Some(LimitKind::WallTime) => report.wall_time = report.wall_time.max(limits.wall_time),
        Some(_) => report.cpu_time = report.cpu_time.max(limits.cpu_time),
        None => {}
    }
    let (outcome, limit) = decide(seen, limits, &report);
    report.killed_by = killed_by(&outcome, end);
    (report.outcome, report.limit) = (outcome, limit);
    report
}

/// isolate begins to count before the program was let go, and we end after it
/// was dead: the truth is not more than either.
fn wall_time(seen: &Seen) -> Duration {
    let by_isolate = seen.meta.wall_time.map(|time| time + CLOCK);
    let by_us = Some(seen.wall_time).filter(|time| !time.is_zero());
    by_isolate.into_iter().chain(by_us).min().unwrap_or(CLOCK)
}

/// What the main process ended with; of one that was stopped, that is not known.
fn end(seen: &Seen) -> Option<ProgramEnd> {
    let was_stopped = seen.stopped.is_some() || seen.meta.status == Some(Status::TimedOut);
    if seen.meta.killed && was_stopped {
        return None;
    }
    let signal = seen.meta.exit_signal.and_then(Signal::from_number).map(ProgramEnd::Signal);
    seen.meta.exit_code.map(ProgramEnd::Code).or(signal)
}

/// Which time was up, if the program was stopped for that by us or by isolate.
fn time_up(seen: &Seen) -> Option<LimitKind> {
    match (seen.stopped, seen.meta.status) {
        (Some(Stopped::Wall), _) => Some(LimitKind::WallTime),
        (Some(Stopped::Cpu), _) => Some(LimitKind::CpuTime),
        (_, Some(Status::TimedOut)) => {
            let wall = seen.meta.message.as_deref().is_some_and(|message| message.contains("wall"));
            Some(if wall { LimitKind::WallTime } else { LimitKind::CpuTime })
        }
        _ => None,
    }
}

fn decide(seen: &Seen, limits: &Limits, report: &StepReport) -> (Outcome, Option<LimitHit>) {
    if matches!(seen.stopped, Some(Stopped::Cancelled | Stopped::Abandoned)) {
        return (Outcome::Cancelled, None);
    }
    let hit = |kind, limit, measured| Some(LimitHit::new(kind, limit, measured));
    let size = |kind, limit: ByteSize, measured: u64| {
        hit(kind, Amount::Size(limit), Amount::Size(ByteSize::bytes(measured)))
    };
    if report.oom_kills > 0 {
        return (Outcome::MemoryLimit, size(LimitKind::Memory, limits.memory, report.memory_peak.as_u64()));
    }
    if report.wall_time >= limits.wall_time {
        let measured = Amount::Time(report.wall_time);
        return (Outcome::WallTimeLimit, hit(LimitKind::WallTime, Amount::Time(limits.wall_time), measured));
    }
    if report.cpu_time >= limits.cpu_time {
        let measured = Amount::Time(report.cpu_time);
        return (Outcome::CpuTimeLimit, hit(LimitKind::CpuTime, Amount::Time(limits.cpu_time), measured));
    }
    if seen.stdout.truncated || seen.stderr.truncated {
        let most = if seen.stdout.truncated { seen.stdout.bytes } else { seen.stderr.bytes };
        return (Outcome::OutputLimit, size(LimitKind::Output, limits.output, most));
    }
    let failed = report.end != Some(ProgramEnd::Code(0));
    if failed && seen.space.files_full {
        let limit = Amount::Count(u64::from(limits.files));
        return (Outcome::DiskLimit, hit(LimitKind::Files, limit, Amount::Count(seen.space.files_used)));
    }
    if failed && (seen.space.bytes_full || report.end == Some(ProgramEnd::Signal(Signal::XFSZ))) {
        return (Outcome::DiskLimit, size(LimitKind::Disk, limits.disk, seen.space.bytes_used));
    }
    if failed && seen.refused > 0 {
        let limit = Amount::Count(u64::from(limits.processes));
        return (Outcome::ProcessLimit, hit(LimitKind::Processes, limit, limit));
    }
    match report.end {
        Some(ProgramEnd::Code(code)) => (Outcome::Exited(code), None),
        Some(ProgramEnd::Signal(signal)) => (Outcome::Signaled(signal), None),
        // By nothing above: something outside killed it.
        None => (Outcome::Signaled(Signal::KILL), None),
    }
}

fn killed_by(outcome: &Outcome, end: Option<ProgramEnd>) -> Option<KilledBy> {
    match outcome {
        Outcome::CpuTimeLimit | Outcome::WallTimeLimit | Outcome::OutputLimit | Outcome::Cancelled => {
            Some(KilledBy::Supervisor)
        }
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

    fn seen(meta: &str) -> Seen {
        Seen { meta: Meta::parse(meta.as_bytes()), ..Seen::default() }
    }

    fn outcome(seen: &Seen) -> Outcome {
        report(seen, &Limits::default()).outcome
    }

    #[test]
    fn the_first_that_applies_is_the_outcome() {
        let full = Space { bytes_full: true, ..Space::default() };
        let all = Seen {
            stopped: Some(Stopped::Cancelled),
            figures: Some(Figures { cpu_time: Duration::MAX, oom_kills: 1, ..Figures::default() }),
            space: full,
            refused: 1,
            ..seen("exitsig:6\ntime-wall:9999.0\n")
        };
        assert_eq!(outcome(&all), Outcome::Cancelled);
        let next = Seen { stopped: Some(Stopped::Output), ..all };
        assert_eq!(outcome(&next), Outcome::MemoryLimit);
        let next = Seen { figures: Some(Figures { cpu_time: Duration::MAX, ..Figures::default() }), ..next };
        assert_eq!(outcome(&next), Outcome::WallTimeLimit);
        let next = Seen { meta: Meta::parse(b"exitsig:6\ntime-wall:0.1\n"), ..next };
        assert_eq!(outcome(&next), Outcome::CpuTimeLimit);
        let next = Seen { figures: None, stdout: StreamSummary::new(17, true), ..next };
        assert_eq!(outcome(&next), Outcome::OutputLimit);
        let next = Seen { stdout: StreamSummary::default(), ..next };
        assert_eq!(outcome(&next), Outcome::DiskLimit);
        let next = Seen { space: Space::default(), ..next };
        assert_eq!(outcome(&next), Outcome::ProcessLimit);
        let next = Seen { refused: 0, ..next };
        assert_eq!(outcome(&next), Outcome::Signaled(Signal::ABRT));
        assert_eq!(outcome(&seen("exitcode:3\nstatus:RE\n")), Outcome::Exited(3));
    }

    #[test]
    fn isolates_own_clock_counts_too() {
        let wall = seen("status:TO\nmessage:Time limit exceeded (wall clock)\nkilled:1\n");
        assert_eq!(outcome(&wall), Outcome::WallTimeLimit);
        let cpu = seen("status:TO\nmessage:Time limit exceeded\nkilled:1\n");
        assert_eq!(outcome(&cpu), Outcome::CpuTimeLimit);
        assert_eq!(report(&cpu, &Limits::default()).end, None);
    }

    #[test]
    fn a_flag_of_isolates_is_an_oom_kill() {
        let report = report(&seen("exitcode:0\ncg-mem:1024\ncg-oom-killed:1\n"), &Limits::default());
        assert_eq!((report.outcome, report.oom_kills), (Outcome::MemoryLimit, 1));
        assert_eq!(report.killed_by, Some(KilledBy::Kernel));
    }

    #[test]
    fn what_it_refused_matters_only_to_a_program_that_failed() {
        let well = Seen {
            refused: 9,
            space: Space { bytes_full: true, files_full: true, ..Space::default() },
            ..seen("exitcode:0\n")
        };
        assert_eq!(outcome(&well), Outcome::Exited(0));
    }
}
