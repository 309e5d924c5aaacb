//! Memory: the peak is measured, and the limit ends the tree.

use evalx_core::{Amount, ByteSize, DynSandbox, KilledBy, LimitKind, Outcome};

use crate::Probes;
use crate::rig::{close, once, open, run, size};

/// What a small program costs beside what it touches.
const BASE: u64 = 2 << 20;

/// What may be missing: a backend subtracts what its own part took.
const SHORT: u64 = 256 << 10;

async fn peak(sandbox: &DynSandbox, probes: &Probes, mib: u64, arguments: &[&str]) {
    let limits = probes.limits().with_memory(ByteSize::mib(256));
    let ran = once(sandbox, probes, limits, arguments).await;
    let (touched, measured) = (ByteSize::mib(mib).as_u64(), ran.well().report.memory_peak.as_u64());
    let (least, most) = (touched - SHORT, touched + touched / 20 + BASE);
    assert!(measured >= least && measured <= most, "{touched} bytes were touched: {}", ran.story());
}

/// A program that touches 10 MiB is measured within 5 % and 2 MiB.
pub async fn peak_of_10_mib(sandbox: &DynSandbox, probes: &Probes) {
    peak(sandbox, probes, 10, &["touch", "10"]).await;
}

/// A program that touches 50 MiB is measured within 5 % and 2 MiB.
pub async fn peak_of_50_mib(sandbox: &DynSandbox, probes: &Probes) {
    peak(sandbox, probes, 50, &["touch", "50"]).await;
}

/// A program that touches 100 MiB is measured within 5 % and 2 MiB.
pub async fn peak_of_100_mib(sandbox: &DynSandbox, probes: &Probes) {
    peak(sandbox, probes, 100, &["touch", "100"]).await;
}

/// A program that touches next to nothing is not measured as nothing.
pub async fn peak_of_next_to_nothing(sandbox: &DynSandbox, probes: &Probes) {
    for _ in 0..8 {
        let ran = once(sandbox, probes, probes.limits(), &["hello"]).await;
        let measured = ran.well().report.memory_peak;
        assert!(measured > ByteSize::ZERO && measured < ByteSize::mib(4), "{}", ran.story());
    }
}

/// The peak is that of the whole tree at once.
pub async fn peak_of_children(sandbox: &DynSandbox, probes: &Probes) {
    peak(sandbox, probes, 64, &["touch", "16", "4"]).await;
}

/// The peak of a step is its own: a small one after a big one is small.
pub async fn peak_of_each_step(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits().with_memory(ByteSize::mib(256))).await;
    run(session.as_mut(), &["touch", "80"]).await.well();
    let ran = run(session.as_mut(), &["touch", "10"]).await;
    assert!(ran.well().report.memory_peak < ByteSize::mib(16), "{}", ran.story());
    close(session).await;
}

/// What the kernel still keeps of an earlier step's many processes is not
/// taken off a later one's peak when it lets go of them.
pub async fn peak_after_many_processes(sandbox: &DynSandbox, probes: &Probes) {
    for _ in 0..8 {
        once(sandbox, probes, probes.limits(), &["children", "32", "1", "fork"]).await;
        peak(sandbox, probes, 50, &["touch", "50"]).await;
    }
}

async fn exceeds(sandbox: &DynSandbox, probes: &Probes, arguments: &[&str]) {
    let limit = ByteSize::mib(32);
    let ran = once(sandbox, probes, probes.limits().with_memory(limit), arguments).await;
    ran.ended(&Outcome::MemoryLimit).blames(LimitKind::Memory, size(limit));
    assert!(ran.report.oom_kills > 0, "{}", ran.story());
    assert_eq!(ran.report.killed_by, Some(KilledBy::Kernel), "{}", ran.story());
    assert!(ran.report.memory_peak <= probes.most_memory(limit), "{}", ran.story());
}

/// One big piece of memory beyond the limit is a memory limit.
pub async fn limit_met_at_once(sandbox: &DynSandbox, probes: &Probes) {
    exceeds(sandbox, probes, &["touch", "200"]).await;
}

/// Memory that grows slowly beyond the limit is a memory limit.
pub async fn limit_met_slowly(sandbox: &DynSandbox, probes: &Probes) {
    exceeds(sandbox, probes, &["memory-slow"]).await;
}

/// Children that exceed the limit together are a memory limit.
pub async fn limit_met_by_children(sandbox: &DynSandbox, probes: &Probes) {
    exceeds(sandbox, probes, &["touch", "12", "8"]).await;
}

/// A program that stays just under its limit is left alone.
pub async fn just_under_the_limit(sandbox: &DynSandbox, probes: &Probes) {
    once(sandbox, probes, probes.limits().with_memory(ByteSize::mib(32)), &["touch", "28"]).await.well();
}

/// Address space is not memory: what is mapped and not touched costs nothing.
pub async fn address_space_is_free(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_memory(ByteSize::mib(32));
    let ran = once(sandbox, probes, limits, &["reserve", "64"]).await;
    assert!(ran.well().report.memory_peak < ByteSize::mib(4), "{}", ran.story());
}

/// The main thread's stack is as large as its limit, and no larger.
pub async fn stack_limit(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_stack(ByteSize::mib(4));
    let mut session = open(sandbox, probes, limits).await;
    run(session.as_mut(), &["stack", "3500"]).await.well();
    let ran = run(session.as_mut(), &["stack", "5000"]).await;
    ran.ended(&Outcome::Signaled(evalx_core::Signal::SEGV));
    close(session).await;
}

/// A process has as many descriptors as its limit, the three streams with them.
pub async fn open_files_limit(sandbox: &DynSandbox, probes: &Probes) {
    let ran = once(sandbox, probes, probes.limits().with_open_files(40), &["open-files"]).await;
    assert_eq!(ran.well().text(), "37\n", "{}", ran.story());
}

/// As many processes as the limit says can live at once, the program with them.
pub async fn process_count(sandbox: &DynSandbox, probes: &Probes) {
    for kind in ["fork", "thread"] {
        let limits = probes.limits().with_processes(8);
        let ran = once(sandbox, probes, limits, &["children", "32", "1", kind]).await;
        assert_eq!(ran.text(), "7\n", "{kind}: {}", ran.story());
        ran.ended(&Outcome::ProcessLimit).blames(LimitKind::Processes, Amount::Count(8));
        assert!(ran.report.processes_peak.is_none_or(|peak| peak == 8), "{kind}: {}", ran.story());
    }
}

/// A program that is refused a process and exits with 0 has exited with 0.
pub async fn refused_process_and_success(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_processes(8);
    once(sandbox, probes, limits, &["children", "32", "0"]).await.well();
}

/// Processes that end make room for others: the limit is on those at once.
pub async fn processes_one_after_the_other(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_processes(4);
    once(sandbox, probes, limits, &["spin-children", "40", "1", "serial"]).await.well();
}
