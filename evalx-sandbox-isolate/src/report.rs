//! From what isolate, the kernel and the host saw of a run to a [`StepReport`].

use std::time::Duration;

use evalx_core::{
    ByteSize, Evidence, LimitKind, Limits, MemoryMeasure, Outcome, ProgramEnd, Signal, StepReport,
    StreamSummary,
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

/// Lets [`Evidence`] decide what the figures amount to.
pub(crate) fn report(seen: &Seen, limits: &Limits) -> StepReport {
    let (meta, figures) = (&seen.meta, seen.figures.unwrap_or_default());
    let mut report = StepReport::new(Outcome::Cancelled);
    report.end = end(seen);
    report.cpu_time =
        if seen.figures.is_some() { figures.cpu_time } else { meta.cpu_time.unwrap_or_default() };
    // isolate by itself does not tell the two apart.
    report.user_time = if seen.figures.is_some() { figures.user_time } else { report.cpu_time };
    report.system_time = figures.system_time;
    report.wall_time = wall_time(seen);
    report.memory_peak = ByteSize::bytes(meta.group_memory.or(meta.max_rss).unwrap_or_default());
    report.memory_measured_by =
        if meta.group_memory.is_some() { MemoryMeasure::Cgroup } else { MemoryMeasure::MaxRss };
    report.oom_kills = figures.oom_kills.max(u64::from(meta.oom_killed));
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
    let evidence = Evidence {
        cancelled: matches!(seen.stopped, Some(Stopped::Cancelled | Stopped::Abandoned)),
        disk_full: seen.space.bytes_full,
        files_full: seen.space.files_full,
        files_used: seen.space.files_used,
        forks_refused: seen.refused,
        ..Evidence::default()
    };
    evidence.conclude(&mut report, limits);
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
    fn what_was_seen_arrives_as_evidence() {
        let aborted = seen("exitsig:6\ntime-wall:0.1\n");
        let stopped = |why| Seen { stopped: Some(why), ..aborted.clone() };
        let figures = |figures| Seen { figures: Some(figures), ..aborted.clone() };
        let space = |space| Seen { space, ..aborted.clone() };
        for (seen, expected) in [
            (stopped(Stopped::Cancelled), Outcome::Cancelled),
            (stopped(Stopped::Abandoned), Outcome::Cancelled),
            (stopped(Stopped::Wall), Outcome::WallTimeLimit),
            (stopped(Stopped::Cpu), Outcome::CpuTimeLimit),
            (figures(Figures { oom_kills: 1, ..Figures::default() }), Outcome::MemoryLimit),
            (figures(Figures { cpu_time: Duration::MAX, ..Figures::default() }), Outcome::CpuTimeLimit),
            (seen("exitsig:6\ntime-wall:9999.0\n"), Outcome::WallTimeLimit),
            (Seen { stderr: StreamSummary::new(17, true), ..aborted.clone() }, Outcome::OutputLimit),
            (space(Space { bytes_full: true, ..Space::default() }), Outcome::DiskLimit),
            (space(Space { files_full: true, ..Space::default() }), Outcome::DiskLimit),
            (Seen { refused: 1, ..aborted.clone() }, Outcome::ProcessLimit),
            (aborted.clone(), Outcome::Signaled(Signal::ABRT)),
            (seen("exitcode:3\nstatus:RE\n"), Outcome::Exited(3)),
        ] {
            assert_eq!(outcome(&seen), expected);
        }
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
    }
}
