//! From a cell's figures to a [`StepReport`].

use std::time::Duration;

use evalx_core::{ByteSize, Evidence, Limits, MemoryMeasure, Outcome, ProgramEnd, StepReport, StreamSummary};

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

/// Lets [`Evidence`] decide what the figures amount to.
pub(crate) fn report(done: &Done, limits: &Limits, seen: Seen) -> StepReport {
    let mut report = StepReport::new(Outcome::Cancelled);
    report.end = done.status.and_then(ProgramEnd::from_wait_status);
    report.cpu_time = Duration::from_nanos(done.cpu_ns);
    report.user_time = Duration::from_nanos(done.user_ns);
    report.system_time = Duration::from_nanos(done.system_ns);
    report.wall_time = Duration::from_nanos(done.wall_ns);
    report.memory_peak = ByteSize::bytes(done.memory_peak);
    report.memory_measured_by =
        if done.memory_by_rss { MemoryMeasure::MaxRss } else { MemoryMeasure::Cgroup };
    report.processes_peak = (done.processes_peak > 0).then_some(done.processes_peak);
    report.oom_kills = done.oom_kills;
    report.voluntary_switches = done.voluntary;
    report.involuntary_switches = done.involuntary;
    report.disk_used = ByteSize::bytes(done.disk_used);
    (report.stdout, report.stderr) = (seen.stdout, seen.stderr);
    let evidence = Evidence {
        cancelled: done.stopped == Stopped::Cancelled,
        forbidden_syscall: (done.stopped == Stopped::Syscall).then(|| seccomp::name(done.syscall)),
        stopped_for_memory: done.stopped == Stopped::Memory,
        disk_full: done.disk_full,
        files_full: done.files_full,
        files_used: done.files_used,
        forks_refused: done.forks_refused,
    };
    evidence.conclude(&mut report, limits);
    report
}

#[cfg(test)]
mod tests {
    use evalx_core::Signal;

    use super::*;

    fn outcome(done: Done) -> Outcome {
        let seen = Seen { stdout: StreamSummary::default(), stderr: StreamSummary::default() };
        report(&done, &Limits::default(), seen).outcome
    }

    #[test]
    fn what_a_cell_tells_arrives_as_evidence() {
        let failed = Done { status: Some(6), ..Done::default() };
        let syscall = i32::try_from(libc::SYS_ptrace).unwrap();
        for (done, expected) in [
            (Done { stopped: Stopped::Cancelled, ..failed }, Outcome::Cancelled),
            (
                Done { stopped: Stopped::Syscall, syscall, ..failed },
                Outcome::ForbiddenSyscall("ptrace".to_owned()),
            ),
            (Done { stopped: Stopped::Memory, ..failed }, Outcome::MemoryLimit),
            (Done { oom_kills: 1, ..failed }, Outcome::MemoryLimit),
            (Done { wall_ns: u64::MAX, ..failed }, Outcome::WallTimeLimit),
            (Done { cpu_ns: u64::MAX, ..failed }, Outcome::CpuTimeLimit),
            (Done { disk_full: true, ..failed }, Outcome::DiskLimit),
            (Done { files_full: true, ..failed }, Outcome::DiskLimit),
            (Done { forks_refused: 1, ..failed }, Outcome::ProcessLimit),
            (failed, Outcome::Signaled(Signal::ABRT)),
            (Done { status: Some(3 << 8), ..failed }, Outcome::Exited(3)),
        ] {
            assert_eq!(outcome(done), expected);
        }
    }
}
