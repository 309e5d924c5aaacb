//! Wrong requests, and the end of a sandbox.

use std::time::Duration;

use bytes::Bytes;
use evalx_core::{
    ByteSize, Collect, DynSandbox, ErrorKind, Isolation, LimitKind, Limits, SessionSpec, Stdin, Step,
    Strength,
};

use crate::rig::{Held, close, open, probe, refused, run, still_works, try_run};
use crate::{Probes, Token};

/// Limits of nothing, and of more than any machine has, are refused by name.
pub async fn limits_out_of_range(sandbox: &DynSandbox, probes: &Probes) {
    let good = probes.limits();
    let bad: [(Limits, LimitKind); 14] = [
        (good.clone().with_cpu_time(Duration::ZERO), LimitKind::CpuTime),
        (good.clone().with_cpu_time(Duration::from_nanos(1)), LimitKind::CpuTime),
        (good.clone().with_cpu_time(Duration::MAX), LimitKind::CpuTime),
        (good.clone().with_wall_time(Duration::ZERO), LimitKind::WallTime),
        (good.clone().with_wall_time(Duration::MAX), LimitKind::WallTime),
        (good.clone().with_memory(ByteSize::ZERO), LimitKind::Memory),
        (good.clone().with_memory(ByteSize::MAX), LimitKind::Memory),
        (good.clone().with_processes(0), LimitKind::Processes),
        (good.clone().with_processes(u32::MAX), LimitKind::Processes),
        (good.clone().with_output(ByteSize::MAX), LimitKind::Output),
        (good.clone().with_disk(ByteSize::ZERO), LimitKind::Disk),
        (good.clone().with_files(0), LimitKind::Files),
        (good.clone().with_stack(ByteSize::ZERO), LimitKind::Stack),
        (good.clone().with_open_files(0), LimitKind::OpenFiles),
    ];
    for (limits, kind) in bad {
        let result = sandbox.open(SessionSpec::new(limits)).await;
        let error = refused(result, ErrorKind::InvalidRequest, kind.as_str());
        assert!(error.to_string().contains(kind.as_str()), "{error} does not name {kind}");
    }
    still_works(sandbox, probes).await;
}

/// What no kernel could take as a program, argument or variable is refused, and the session goes on.
pub async fn impossible_steps(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let bad: [(&str, Step); 8] = [
        ("an empty program", Step::new("")),
        ("a NUL in the program", Step::new("./pro\0be")),
        ("a NUL in an argument", probe(["hello"]).with_argument("a\0b")),
        ("a NUL in a variable", probe(["hello"]).with_variable("A", "a\0b")),
        ("a NUL in a variable's name", probe(["hello"]).with_variable("A\0B", "x")),
        ("a `=` in a variable's name", probe(["hello"]).with_variable("A=B", "x")),
        ("a variable without a name", probe(["hello"]).with_variable("", "x")),
        ("arguments beyond a mebibyte", probe(["hello"]).with_argument("x".repeat(1 << 20))),
    ];
    for (what, step) in bad {
        let result = try_run(session.as_mut(), step, Collect::new(Bytes::new())).await;
        refused(result, ErrorKind::InvalidRequest, what);
        run(session.as_mut(), &["hello"]).await.well();
    }
    close(session).await;
}

/// What a backend says it can't enforce, it refuses to open.
pub async fn unsupported_is_refused(sandbox: &DynSandbox, probes: &Probes) {
    let capabilities = sandbox.capabilities();
    for network in [evalx_core::Network::None, evalx_core::Network::Loopback] {
        for syscalls in [evalx_core::SyscallPolicy::Default, evalx_core::SyscallPolicy::Strict] {
            let spec = SessionSpec::new(probes.limits()).with_network(network).with_syscalls(syscalls);
            match capabilities.admit(&spec) {
                Ok(()) => close(sandbox.open(spec).await.expect("what is offered is opened")).await,
                Err(error) => drop(refused(sandbox.open(spec).await, error.kind(), "what is not offered")),
            }
        }
    }
}

/// A separation that a session requires is held, or the session is refused by
/// its name; and no session is opened without what every one is promised,
/// unless the operator has accepted that by name.
pub async fn isolation_is_held_or_refused(sandbox: &DynSandbox, probes: &Probes) {
    let capabilities = sandbox.capabilities();
    let held = |kind| capabilities.isolation(kind) == Strength::Whole;
    for kind in Isolation::ALL {
        let result = sandbox.open(SessionSpec::new(probes.limits()).with_required(kind)).await;
        if held(kind) {
            close(result.expect("what is held is opened")).await;
        } else {
            // Whatever an operator has accepted: this session depends on it.
            let error = refused(result, ErrorKind::Unsupported, kind.as_str());
            assert!(error.to_string().contains(kind.as_str()), "{error} does not name {kind}");
            assert!(error.help().is_some(), "{error} says nothing of what to do");
        }
    }
    let accepted = &capabilities.accepted_weak_isolation;
    let promised = Isolation::PROMISED.into_iter().all(|kind| held(kind) || accepted.contains(&kind));
    let plain = sandbox.open(SessionSpec::new(probes.limits())).await;
    assert_eq!(plain.is_ok(), promised, "a session is opened without what it is promised");
    if let Ok(session) = plain {
        close(session).await;
    }
}

/// `check` is well on a sandbox that works, and may be asked again.
pub async fn check_is_well(sandbox: &DynSandbox, _probes: &Probes) {
    for _ in 0..2 {
        sandbox.check().await.expect("the sandbox works here");
    }
}

/// A sandbox says what it is, for logs.
pub async fn names_itself(sandbox: &DynSandbox, _probes: &Probes) {
    assert!(!sandbox.to_string().is_empty() && !sandbox.to_string().contains('\n'), "{sandbox}");
    assert!(!sandbox.capabilities().backend.is_empty());
}

/// Shutting down twice is well, and a session can't be opened afterwards.
pub async fn shutdown_twice(sandbox: &DynSandbox, probes: &Probes) {
    still_works(sandbox, probes).await;
    for _ in 0..2 {
        sandbox.shutdown().await.expect("the sandbox shuts down");
    }
    let result = sandbox.open(SessionSpec::new(probes.limits())).await;
    refused(result, ErrorKind::Unavailable, "a session after the shutdown");
    sandbox.shutdown().await.expect("the sandbox shuts down");
}

/// A sandbox that was never used shuts down.
pub async fn shutdown_unused(sandbox: &DynSandbox, _probes: &Probes) {
    sandbox.shutdown().await.expect("the sandbox shuts down");
}

/// Shutting down ends sessions that are still open, and their steps.
pub async fn shutdown_ends_sessions(sandbox: &DynSandbox, probes: &Probes) {
    let token = Token::new();
    let running = open(sandbox, probes, probes.limits()).await;
    let idle = open(sandbox, probes, probes.limits()).await;
    let held = Held::start(running, probe(["wait", token.as_str()]), Stdin::Empty).await;
    sandbox.shutdown().await.expect("the sandbox shuts down");
    assert_eq!(token.alive(), Vec::<u32>::new(), "a process outlives its sandbox");
    // Their handles are of no use any more, but do no harm.
    drop(idle);
    held.abandon();
}
