//! What a session may do beside computing: system calls and networks.

use bytes::Bytes;
use evalx_core::{DynSandbox, KilledBy, Network, Outcome, SessionSpec, SyscallPolicy};

use crate::rig::{close, once, open_spec, probe, run, run_with};
use crate::{Probes, Ran};

async fn strictly(sandbox: &DynSandbox, probes: &Probes, arguments: &[&str]) -> Ran {
    let spec = SessionSpec::new(probes.limits()).with_syscalls(SyscallPolicy::Strict);
    let mut session = open_spec(sandbox, probes, spec).await;
    let ran = run(session.as_mut(), arguments).await;
    close(session).await;
    ran
}

#[track_caller]
fn names(ran: &Ran, allowed: &[&str]) {
    let Outcome::ForbiddenSyscall(name) = &ran.report.outcome else {
        panic!("no system call is named: {}", ran.story());
    };
    assert!(allowed.contains(&name.as_str()), "{name} is none of {allowed:?}: {}", ran.story());
    assert!(matches!(ran.report.killed_by, Some(KilledBy::Supervisor | KilledBy::Kernel)), "{}", ran.story());
}

/// Under the strict policy, a socket ends the program by name.
pub async fn strict_names_socket(sandbox: &DynSandbox, probes: &Probes) {
    names(&strictly(sandbox, probes, &["make-socket", "1"]).await, &["socket"]);
}

/// Under the strict policy, `ptrace` ends the program by name.
pub async fn strict_names_ptrace(sandbox: &DynSandbox, probes: &Probes) {
    names(&strictly(sandbox, probes, &["traceme"]).await, &["ptrace"]);
}

/// Under the strict policy, a new process ends the program by name.
pub async fn strict_names_fork(sandbox: &DynSandbox, probes: &Probes) {
    names(&strictly(sandbox, probes, &["fork-once"]).await, &["fork", "vfork", "clone", "clone3"]);
}

/// Under the strict policy, a program that computes and prints is left alone.
pub async fn strict_lets_compute(sandbox: &DynSandbox, probes: &Probes) {
    assert_eq!(strictly(sandbox, probes, &["hello"]).await.well().text(), "hello\n");
    strictly(sandbox, probes, &["touch", "8"]).await.well();
    strictly(sandbox, probes, &["spin-for", "20"]).await.well();
    strictly(sandbox, probes, &["abort"]).await.ended(&Outcome::Signaled(evalx_core::Signal::ABRT));
    let spec = SessionSpec::new(probes.limits()).with_syscalls(SyscallPolicy::Strict);
    let mut session = open_spec(sandbox, probes, spec).await;
    let ran = run_with(session.as_mut(), probe(["cat"]), Bytes::from_static(b"through")).await;
    assert_eq!(ran.well().text(), "through");
    close(session).await;
}

/// Under the default policy, a refused call is an error code and no outcome.
pub async fn default_refuses_with_a_code(sandbox: &DynSandbox, probes: &Probes) {
    for name in ["bpf", "keyctl", "io_uring_setup", "reboot"] {
        once(sandbox, probes, probes.limits(), &["call", name]).await.well();
    }
}

/// Without a network, there is no interface that leads elsewhere, and no route.
pub async fn network_leads_nowhere(sandbox: &DynSandbox, probes: &Probes) {
    once(sandbox, probes, probes.limits(), &["only-loopback"]).await.well();
}

/// Where system calls are filtered, an Internet socket can't be made without a network.
pub async fn no_network_by_default(sandbox: &DynSandbox, probes: &Probes) {
    for (family, kind) in [("2", "1"), ("2", "2"), ("10", "1"), ("10", "2")] {
        once(sandbox, probes, probes.limits(), &["socket", family, kind]).await.well();
    }
}

async fn with_loopback(sandbox: &DynSandbox, probes: &Probes, arguments: &[&str]) {
    let spec = SessionSpec::new(probes.limits()).with_network(Network::Loopback);
    let mut session = open_spec(sandbox, probes, spec).await;
    run(session.as_mut(), arguments).await.well();
    close(session).await;
}

/// With a loopback network, a program talks to itself.
pub async fn loopback_talks(sandbox: &DynSandbox, probes: &Probes) {
    with_loopback(sandbox, probes, &["loopback-talk"]).await;
}

/// With a loopback network, there is no other interface and no route.
pub async fn loopback_leads_nowhere(sandbox: &DynSandbox, probes: &Probes) {
    with_loopback(sandbox, probes, &["only-loopback"]).await;
}
