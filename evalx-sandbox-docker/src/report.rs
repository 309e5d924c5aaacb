//! From an agent's figures to a [`StepReport`].

use std::time::Duration;

use evalx_agent::wire::{Ended, Stopped};
use evalx_core::{ByteSize, Evidence, Limits, MemoryMeasure, Outcome, ProgramEnd, StepReport, StreamSummary};

/// Lets [`Evidence`] decide what the figures amount to.
pub(crate) fn report(ended: &Ended, limits: &Limits) -> StepReport {
    let most = limits.output.as_u64();
    let stream = |bytes| StreamSummary::new(bytes, bytes > most);
    let mut report = StepReport::new(Outcome::Cancelled);
    report.end = ended.status.and_then(ProgramEnd::from_wait_status);
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
    (report.stdout, report.stderr) = (stream(ended.stdout), stream(ended.stderr));
    let evidence = Evidence {
        cancelled: ended.stopped == Stopped::Cancelled,
        disk_full: ended.disk_full,
        files_full: ended.files_full,
        files_used: ended.files_used,
        forks_refused: ended.forks_refused,
        ..Evidence::default()
    };
    evidence.conclude(&mut report, limits);
    report
}

#[cfg(test)]
mod tests {
    use evalx_core::Signal;

    use super::*;

    fn outcome(ended: Ended) -> Outcome {
        report(&ended, &Limits::default()).outcome
    }

    #[test]
    fn what_an_agent_tells_arrives_as_evidence() {
        let failed = Ended { status: Some(6), ..Ended::default() };
        for (ended, expected) in [
            (Ended { stopped: Stopped::Cancelled, ..failed }, Outcome::Cancelled),
            (Ended { oom_kills: 1, ..failed }, Outcome::MemoryLimit),
            (Ended { wall_ns: u64::MAX, ..failed }, Outcome::WallTimeLimit),
            (Ended { cpu_ns: u64::MAX, ..failed }, Outcome::CpuTimeLimit),
            (Ended { stdout: u64::MAX, ..failed }, Outcome::OutputLimit),
            (Ended { disk_full: true, ..failed }, Outcome::DiskLimit),
            (Ended { files_full: true, ..failed }, Outcome::DiskLimit),
            (Ended { forks_refused: 1, ..failed }, Outcome::ProcessLimit),
            (failed, Outcome::Signaled(Signal::ABRT)),
            (Ended { status: Some(3 << 8), ..failed }, Outcome::Exited(3)),
        ] {
            assert_eq!(outcome(ended), expected);
        }
    }
}
