//! How a program ends, and which outcome wins where several apply.

use evalx_core::{ByteSize, Control, DynSandbox, KilledBy, Outcome, ProgramEnd, Signal, Stdin};

use crate::Probes;
use crate::rig::{Live, close, once, open, probe, run};

/// Every exit code from 0 to 255 is reported as it is.
pub async fn every_exit_code(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    for code in 0..=255 {
        let ran = run(session.as_mut(), &["exit", &code.to_string()]).await;
        ran.ended(&Outcome::Exited(code));
        assert_eq!(ran.report.end, Some(ProgramEnd::Code(code)), "{}", ran.story());
        assert_eq!(ran.report.killed_by, None, "{}", ran.story());
        assert_eq!(ran.report.limit, None, "{}", ran.story());
    }
    close(session).await;
}

async fn signalled(
    sandbox: &DynSandbox,
    probes: &Probes,
    arguments: &[&str],
    signal: Signal,
) -> Option<KilledBy> {
    let ran = once(sandbox, probes, probes.limits(), arguments).await;
    ran.ended(&Outcome::Signaled(signal));
    assert_eq!(ran.report.signal(), Some(signal), "{}", ran.story());
    ran.report.killed_by
}

/// A bad memory access is SIGSEGV, by the kernel.
pub async fn segmentation_fault(sandbox: &DynSandbox, probes: &Probes) {
    assert_eq!(signalled(sandbox, probes, &["segfault"], Signal::SEGV).await, Some(KilledBy::Kernel));
}

/// A division by zero is SIGFPE.
pub async fn division_by_zero(sandbox: &DynSandbox, probes: &Probes) {
    let by = signalled(sandbox, probes, &["divide"], Signal::FPE).await;
    if cfg!(target_arch = "x86_64") {
        assert_eq!(by, Some(KilledBy::Kernel));
    }
}

/// A bad instruction is SIGILL, or SIGTRAP where compilers trap so.
pub async fn bad_instruction(sandbox: &DynSandbox, probes: &Probes) {
    let ran = once(sandbox, probes, probes.limits(), &["illegal"]).await;
    let signal = ran.report.signal().map(Signal::number);
    assert!(matches!(signal, Some(4 | 5)), "{}", ran.story());
}

/// `abort()` is SIGABRT, by the program itself.
pub async fn abort(sandbox: &DynSandbox, probes: &Probes) {
    assert_eq!(signalled(sandbox, probes, &["abort"], Signal::ABRT).await, Some(KilledBy::Program));
}

/// SIGKILL that the program sends itself is its own doing, and no limit's.
pub async fn kills_itself(sandbox: &DynSandbox, probes: &Probes) {
    assert_eq!(signalled(sandbox, probes, &["raise", "9"], Signal::KILL).await, Some(KilledBy::Program));
}

/// SIGTERM that the program sends itself is its own doing.
pub async fn terminates_itself(sandbox: &DynSandbox, probes: &Probes) {
    assert_eq!(signalled(sandbox, probes, &["raise", "15"], Signal::TERM).await, Some(KilledBy::Program));
}

/// The signals of the kernel's own limits are no limit's outcome if the program raises them itself.
pub async fn forged_limit_signals(sandbox: &DynSandbox, probes: &Probes) {
    for signal in [Signal::XCPU, Signal::SYS] {
        let number = signal.number().to_string();
        let ran = once(sandbox, probes, probes.limits(), &["raise", &number]).await;
        ran.ended(&Outcome::Signaled(signal));
    }
}

/// An exit code of 128 and more is an exit, not a signal.
pub async fn exit_code_like_a_signal(sandbox: &DynSandbox, probes: &Probes) {
    let ran = once(sandbox, probes, probes.limits(), &["exit", "137"]).await;
    ran.ended(&Outcome::Exited(137));
    assert_eq!(ran.report.signal(), None, "{}", ran.story());
}

/// A child killed for want of memory decides over the parent's good end.
pub async fn memory_over_exit(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_memory(ByteSize::mib(32));
    once(sandbox, probes, limits, &["memory-child-dies"]).await.ended(&Outcome::MemoryLimit);
}

/// Too much output decides over how the program took being cut off.
pub async fn output_over_exit(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_output(ByteSize::kib(64));
    once(sandbox, probes, limits, &["write", "65537", "1", "5"]).await.ended(&Outcome::OutputLimit);
}

/// A full disk decides over the signal that the program then ends with.
pub async fn disk_over_signal(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_disk(ByteSize::mib(4));
    once(sandbox, probes, limits, &["fill", "134", "/box/full"]).await.ended(&Outcome::DiskLimit);
}

/// A refused process decides over the signal that the program then ends with.
pub async fn processes_over_signal(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_processes(4);
    once(sandbox, probes, limits, &["children", "16", "1", "fork", "abort"])
        .await
        .ended(&Outcome::ProcessLimit);
}

/// Cancelling decides over everything else.
pub async fn cancelled_over_all(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits();
    let mut session = open(sandbox, probes, limits).await;
    let ran = Live::new(Stdin::Empty, [Control::Cancel]).run(session.as_mut(), probe(["catch", "15"])).await;
    ran.ended(&Outcome::Cancelled);
    close(session).await;
}

/// A clean end reports no limit, no killer, and plausible figures.
pub async fn clean_report(sandbox: &DynSandbox, probes: &Probes) {
    let ran = once(sandbox, probes, probes.limits(), &["say", "out", "err", "0"]).await;
    ran.well();
    let report = &ran.report;
    assert_eq!((&ran.stdout[..], &ran.stderr[..]), (&b"out"[..], &b"err"[..]), "{}", ran.story());
    assert_eq!((report.stdout.bytes, report.stderr.bytes), (3, 3), "{}", ran.story());
    assert!(!report.stdout.truncated && !report.stderr.truncated, "{}", ran.story());
    assert!(report.limit.is_none() && report.killed_by.is_none(), "{}", ran.story());
    assert!(report.wall_time > std::time::Duration::ZERO, "{}", ran.story());
    assert_eq!(report.oom_kills, 0, "{}", ran.story());
}
