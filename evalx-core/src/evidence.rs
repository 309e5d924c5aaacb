//! [`Evidence`]: from what a backend saw of a step to its outcome. The order in
//! which causes count is here, and nowhere else.

use crate::{
    Amount, ByteSize, KilledBy, LimitHit, LimitKind, Limits, Outcome, ProgramEnd, Signal, StepReport,
};

/// What a backend saw of a step beside the figures of its report.
///
/// A backend fills in the figures of a [`StepReport`] and lets
/// [`conclude`](Self::conclude) decide what they amount to, so that the same
/// program has the same outcome on each:
///
/// ```
/// use evalx_core::{Evidence, LimitKind, Limits, Outcome, StepReport};
///
/// let limits = Limits::default();
/// let mut report = StepReport::new(Outcome::Exited(0));
/// report.cpu_time = limits.cpu_time;
/// Evidence::default().conclude(&mut report, &limits);
/// assert_eq!(report.outcome, Outcome::CpuTimeLimit);
/// assert_eq!(report.limit.unwrap().kind, LimitKind::CpuTime);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The caller cancelled the step.
    pub cancelled: bool,
    /// The system call at which the strict policy ended the program.
    pub forbidden_syscall: Option<String>,
    /// The supervisor ended the tree for its memory. Where the kernel did,
    /// [`StepReport::oom_kills`] says so.
    pub stopped_for_memory: bool,
    /// The disk of the session had no room left for bytes.
    pub disk_full: bool,
    /// It had no room left for another file.
    pub files_full: bool,
    /// Files on it at the end.
    pub files_used: u64,
    /// Processes that the kernel refused to the tree for its limit.
    pub forks_refused: u64,
}

/// Faults, and limits that the kernel holds by itself. Any other signal comes,
/// in a PID namespace of its own, from the tree itself.
const FROM_THE_KERNEL: [Signal; 8] = [
    Signal::SEGV,
    Signal::BUS,
    Signal::FPE,
    Signal::ILL,
    Signal::SYS,
    Signal::PIPE,
    Signal::XCPU,
    Signal::XFSZ,
];

impl Evidence {
    /// Sets the outcome, the limit that was met, and who ended the program.
    ///
    /// It needs [`StepReport::end`], the times, the peaks, the kills for want
    /// of memory, the disk and both streams to be there already.
    pub fn conclude(self, report: &mut StepReport, limits: &Limits) {
        (report.outcome, report.limit) = self.decide(report, limits);
        report.killed_by = killed_by(&report.outcome, report.end);
    }

    /// In the order that [`Outcome`] states.
    fn decide(self, report: &StepReport, limits: &Limits) -> (Outcome, Option<LimitHit>) {
        if self.cancelled {
            return (Outcome::Cancelled, None);
        }
        if let Some(name) = self.forbidden_syscall {
            return (Outcome::ForbiddenSyscall(name), None);
        }
        if report.oom_kills > 0 || self.stopped_for_memory {
            return size(Outcome::MemoryLimit, LimitKind::Memory, limits.memory, report.memory_peak);
        }
        if report.wall_time >= limits.wall_time {
            let (limit, measured) = (Amount::Time(limits.wall_time), Amount::Time(report.wall_time));
            return met(Outcome::WallTimeLimit, LimitKind::WallTime, limit, measured);
        }
        if report.cpu_time >= limits.cpu_time {
            let (limit, measured) = (Amount::Time(limits.cpu_time), Amount::Time(report.cpu_time));
            return met(Outcome::CpuTimeLimit, LimitKind::CpuTime, limit, measured);
        }
        if let Some(cut) = [report.stdout, report.stderr].into_iter().find(|stream| stream.truncated) {
            let written = ByteSize::bytes(cut.bytes);
            return size(Outcome::OutputLimit, LimitKind::Output, limits.output, written);
        }
        // A program that coped with what it was refused has done well.
        let failed = report.end != Some(ProgramEnd::Code(0));
        if failed && self.files_full {
            return count(Outcome::DiskLimit, LimitKind::Files, limits.files, self.files_used);
        }
        if failed && (self.disk_full || report.end == Some(ProgramEnd::Signal(Signal::XFSZ))) {
            return size(Outcome::DiskLimit, LimitKind::Disk, limits.disk, report.disk_used);
        }
        if failed && self.forks_refused > 0 {
            let most = report.processes_peak.unwrap_or_default().max(u64::from(limits.processes));
            return count(Outcome::ProcessLimit, LimitKind::Processes, limits.processes, most);
        }
        let outcome = match report.end {
            Some(ProgramEnd::Code(code)) => Outcome::Exited(code),
            Some(ProgramEnd::Signal(signal)) => Outcome::Signaled(signal),
            // By nothing above: something outside killed it with its supervisor.
            None => Outcome::Signaled(Signal::KILL),
        };
        (outcome, None)
    }
}

fn met(outcome: Outcome, kind: LimitKind, limit: Amount, measured: Amount) -> (Outcome, Option<LimitHit>) {
    (outcome, Some(LimitHit::new(kind, limit, measured)))
}

fn size(outcome: Outcome, kind: LimitKind, limit: ByteSize, used: ByteSize) -> (Outcome, Option<LimitHit>) {
    met(outcome, kind, Amount::Size(limit), Amount::Size(used))
}

fn count(outcome: Outcome, kind: LimitKind, limit: u32, used: u64) -> (Outcome, Option<LimitHit>) {
    met(outcome, kind, Amount::Count(limit.into()), Amount::Count(used))
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
            Some(ProgramEnd::Signal(signal)) if !FROM_THE_KERNEL.contains(&signal) => Some(KilledBy::Program),
            _ => Some(KilledBy::Kernel),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::StreamSummary;

    /// Takes one cause after another away; what is left must decide.
    #[test]
    fn the_first_that_applies_is_the_outcome() {
        let limits = Limits::default();
        let mut report = StepReport {
            end: Some(ProgramEnd::Signal(Signal::ABRT)),
            cpu_time: Duration::MAX,
            wall_time: Duration::MAX,
            oom_kills: 1,
            stdout: StreamSummary::new(17, true),
            ..StepReport::new(Outcome::Cancelled)
        };
        let mut evidence = Evidence {
            cancelled: true,
            forbidden_syscall: Some("ptrace".to_owned()),
            stopped_for_memory: true,
            disk_full: true,
            files_full: true,
            files_used: 9,
            forks_refused: 1,
        };
        let expect = |evidence: &Evidence, report: &mut StepReport, outcome, kind, by| {
            evidence.clone().conclude(report, &limits);
            assert_eq!(report.outcome, outcome);
            assert_eq!(report.limit.map(|limit| limit.kind), kind, "{outcome}");
            assert_eq!(report.killed_by, Some(by), "{outcome}");
        };
        let (kernel, supervisor) = (KilledBy::Kernel, KilledBy::Supervisor);
        expect(&evidence, &mut report, Outcome::Cancelled, None, supervisor);
        evidence.cancelled = false;
        expect(&evidence, &mut report, Outcome::ForbiddenSyscall("ptrace".into()), None, supervisor);
        evidence.forbidden_syscall = None;
        expect(&evidence, &mut report, Outcome::MemoryLimit, Some(LimitKind::Memory), kernel);
        report.oom_kills = 0;
        expect(&evidence, &mut report, Outcome::MemoryLimit, Some(LimitKind::Memory), kernel);
        evidence.stopped_for_memory = false;
        expect(&evidence, &mut report, Outcome::WallTimeLimit, Some(LimitKind::WallTime), supervisor);
        report.wall_time = Duration::ZERO;
        expect(&evidence, &mut report, Outcome::CpuTimeLimit, Some(LimitKind::CpuTime), supervisor);
        report.cpu_time = Duration::ZERO;
        expect(&evidence, &mut report, Outcome::OutputLimit, Some(LimitKind::Output), supervisor);
        report.stdout = StreamSummary::default();
        expect(&evidence, &mut report, Outcome::DiskLimit, Some(LimitKind::Files), KilledBy::Program);
        evidence.files_full = false;
        expect(&evidence, &mut report, Outcome::DiskLimit, Some(LimitKind::Disk), KilledBy::Program);
        evidence.disk_full = false;
        expect(&evidence, &mut report, Outcome::ProcessLimit, Some(LimitKind::Processes), KilledBy::Program);
        evidence.forks_refused = 0;
        expect(&evidence, &mut report, Outcome::Signaled(Signal::ABRT), None, KilledBy::Program);
        report.end = Some(ProgramEnd::Signal(Signal::SEGV));
        expect(&evidence, &mut report, Outcome::Signaled(Signal::SEGV), None, kernel);
        report.end = None;
        expect(&evidence, &mut report, Outcome::Signaled(Signal::KILL), None, kernel);
        report.end = Some(ProgramEnd::Code(3));
        evidence.conclude(&mut report, &limits);
        assert_eq!((report.outcome, report.killed_by), (Outcome::Exited(3), None));
    }

    #[test]
    fn refused_forks_and_a_full_disk_matter_only_to_a_program_that_failed() {
        let mut report = StepReport::new(Outcome::Exited(0));
        let evidence =
            Evidence { disk_full: true, files_full: true, forks_refused: 9, ..Evidence::default() };
        evidence.conclude(&mut report, &Limits::default());
        assert_eq!(report.outcome, Outcome::Exited(0));
    }

    #[test]
    fn a_file_over_its_limit_is_a_full_disk() {
        let mut report = StepReport::new(Outcome::Signaled(Signal::XFSZ));
        Evidence::default().conclude(&mut report, &Limits::default());
        assert_eq!((report.outcome, report.killed_by), (Outcome::DiskLimit, Some(KilledBy::Kernel)));
    }
}
