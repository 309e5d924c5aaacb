//! Class 9: run n + 1 sees nothing of run n.
//!
//! A pool may give the next session another slot, so each attack goes round
//! several times: a slot that kept something is met again.

use std::time::Duration;

use bytes::Bytes;
use evalx_core::{
    ByteSize, Collect, DynSandbox, Isolation, LimitKind, Limits, Outcome, Stdin, Stdio, TerminalSize,
};

use crate::case::case;
use crate::escape::reset;
use crate::rig::{close, once, open, probe, run, run_with, try_run};
use crate::{Case, Need, Probes, Ran};

/// How often each attack goes round.
const ROUNDS: usize = 6;

/// Every case of this module.
#[must_use]
pub fn cases() -> Vec<Case> {
    let ipc = |case: Case| case.needing(Need::Isolation(Isolation::Ipc));
    vec![
        case!(reset::files),
        case!(reset::files_after_a_kill),
        ipc(case!(reset::sysv_shared_memory)),
        ipc(case!(reset::sysv_semaphores)),
        ipc(case!(reset::sysv_messages)),
        ipc(case!(reset::posix_queues)),
        case!(reset::processes).needing(Need::Isolation(Isolation::Processes)),
        case!(reset::attributes_of_the_process),
        case!(reset::attributes_within_a_session),
        case!(reset::environment),
        case!(reset::memory_counter),
        case!(reset::cpu_counter).exclusive(),
        case!(reset::process_counter),
        case!(reset::out_of_memory),
        case!(reset::stdin_left_unread),
        case!(reset::output_left_unread),
        case!(reset::full_disk),
        case!(reset::used_up_files),
        case!(reset::abstract_socket).needing(Need::Isolation(Isolation::Network)),
        case!(reset::terminal).needing(Need::Terminal),
        case!(reset::different_limits)
            .needing(Need::Limit(LimitKind::Memory))
            .needing(Need::Limit(LimitKind::Processes)),
    ]
}

/// What one session leaves, the next must not find.
async fn leaves_nothing(sandbox: &DynSandbox, probes: &Probes, kind: &str) {
    for _ in 0..ROUNDS {
        let mut session = open(sandbox, probes, probes.limits()).await;
        run(session.as_mut(), &["find", kind]).await.well();
        run(session.as_mut(), &["leave", kind]).await.well();
        close(session).await;
    }
}

/// Files in every place that can be written.
pub async fn files(sandbox: &DynSandbox, probes: &Probes) {
    leaves_nothing(sandbox, probes, "file").await;
}

/// Files of a step that was killed in its midst.
pub async fn files_after_a_kill(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_wall_time(probes.stretch(Duration::from_millis(100)));
    for _ in 0..ROUNDS {
        let mut session = open(sandbox, probes, limits.clone()).await;
        run(session.as_mut(), &["find", "file"]).await.well();
        run(session.as_mut(), &["leave", "file", "stay"]).await.ended(&Outcome::WallTimeLimit);
        drop(session);
    }
}

/// System V shared memory.
pub async fn sysv_shared_memory(sandbox: &DynSandbox, probes: &Probes) {
    leaves_nothing(sandbox, probes, "shm").await;
}

/// System V semaphores.
pub async fn sysv_semaphores(sandbox: &DynSandbox, probes: &Probes) {
    leaves_nothing(sandbox, probes, "sem").await;
}

/// System V message queues.
pub async fn sysv_messages(sandbox: &DynSandbox, probes: &Probes) {
    leaves_nothing(sandbox, probes, "msg").await;
}

/// POSIX message queues.
pub async fn posix_queues(sandbox: &DynSandbox, probes: &Probes) {
    leaves_nothing(sandbox, probes, "mq").await;
}

/// Processes.
pub async fn processes(sandbox: &DynSandbox, probes: &Probes) {
    for _ in 0..ROUNDS {
        let mut session = open(sandbox, probes, probes.limits()).await;
        run(session.as_mut(), &["proc-list", "2"]).await.well();
        run(session.as_mut(), &["daemon", "double"]).await.well();
        close(session).await;
    }
}

async fn state(sandbox: &DynSandbox, probes: &Probes) -> String {
    once(sandbox, probes, probes.limits(), &["state"]).await.well().text()
}

/// Umask, host name, niceness, personality, limits, signals, processors and the like.
pub async fn attributes_of_the_process(sandbox: &DynSandbox, probes: &Probes) {
    let before = state(sandbox, probes).await;
    for _ in 0..ROUNDS {
        once(sandbox, probes, probes.limits(), &["dirty"]).await.well();
        assert_eq!(state(sandbox, probes).await, before);
    }
}

/// The same from step to step of one session.
pub async fn attributes_within_a_session(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let before = run(session.as_mut(), &["state"]).await.well().text();
    for _ in 0..ROUNDS {
        run(session.as_mut(), &["dirty"]).await.well();
        assert_eq!(run(session.as_mut(), &["state"]).await.well().text(), before);
    }
    close(session).await;
}

/// Variables of the step before.
pub async fn environment(sandbox: &DynSandbox, probes: &Probes) {
    for _ in 0..ROUNDS {
        let mut session = open(sandbox, probes, probes.limits()).await;
        for secret in [false, true, false] {
            let step = probe(["environment"]);
            let step = if secret { step.with_variable("SECRET", "of the step before") } else { step };
            let ran = run_with(session.as_mut(), step, Bytes::new()).await;
            assert_eq!(ran.well().text().contains("SECRET"), secret, "{}", ran.story());
        }
        close(session).await;
    }
}

/// A small run right after a big one, by these limits.
async fn after(sandbox: &DynSandbox, probes: &Probes, limits: &Limits, big: &[&str]) -> Vec<Ran> {
    let mut small = Vec::new();
    for _ in 0..ROUNDS {
        once(sandbox, probes, limits.clone(), big).await;
        small.push(once(sandbox, probes, limits.clone(), &["hello"]).await);
    }
    small
}

/// The peak of memory of the run before.
pub async fn memory_counter(sandbox: &DynSandbox, probes: &Probes) {
    for ran in after(sandbox, probes, &probes.limits(), &["touch", "48"]).await {
        assert!(ran.well().report.memory_peak < ByteSize::mib(8), "{}", ran.story());
    }
}

/// The CPU time of the run before.
pub async fn cpu_counter(sandbox: &DynSandbox, probes: &Probes) {
    for ran in after(sandbox, probes, &probes.limits(), &["spin-for", "200"]).await {
        assert!(ran.well().report.cpu_time < probes.stretch(Duration::from_millis(50)), "{}", ran.story());
    }
}

/// The processes and refusals of the run before.
pub async fn process_counter(sandbox: &DynSandbox, probes: &Probes) {
    for ran in after(sandbox, probes, &probes.limits().with_processes(8), &["children", "32", "1"]).await {
        assert!(ran.well().report.processes_peak.is_none_or(|peak| peak <= 2), "{}", ran.story());
    }
}

/// A run that ran out of memory.
pub async fn out_of_memory(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_memory(ByteSize::mib(24));
    for ran in after(sandbox, probes, &limits, &["memory-endless"]).await {
        assert_eq!(ran.well().report.oom_kills, 0, "{}", ran.story());
    }
}

/// Stdin that the run before did not read.
pub async fn stdin_left_unread(sandbox: &DynSandbox, probes: &Probes) {
    for _ in 0..ROUNDS {
        let mut session = open(sandbox, probes, probes.limits()).await;
        run_with(session.as_mut(), probe(["exit", "0"]), vec![b's'; 100_000]).await.well();
        let ran = try_run(session.as_mut(), probe(["cat"]), Collect::from_stdin(Stdin::Empty)).await;
        assert!(ran.expect("it runs").well().stdout.is_empty(), "stdin of the step before was read");
        close(session).await;
        let mut session = open(sandbox, probes, probes.limits()).await;
        assert!(run(session.as_mut(), &["cat"]).await.well().stdout.is_empty());
        close(session).await;
    }
}

/// Output that the run before wrote beyond what was kept.
pub async fn output_left_unread(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_output(ByteSize::kib(4));
    for ran in after(sandbox, probes, &limits, &["flood", "both"]).await {
        assert_eq!(ran.well().text(), "hello\n", "{}", ran.story());
        assert!(ran.stderr.is_empty(), "{}", ran.story());
    }
}

/// A disk that the run before filled.
pub async fn full_disk(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_disk(ByteSize::mib(8));
    let full = &["fill", "1", "/box/full", "/tmp/full", "/dev/shm/full"];
    for ran in after(sandbox, probes, &limits, full).await {
        assert!(ran.well().report.disk_used < ByteSize::mib(4), "{}", ran.story());
    }
}

/// Files that the run before used up.
pub async fn used_up_files(sandbox: &DynSandbox, probes: &Probes) {
    let arguments = &["make-files", "1", "file", "100000", "/box", "/tmp", "/dev/shm"];
    for ran in after(sandbox, probes, &probes.limits().with_files(64), arguments).await {
        ran.well();
    }
}

/// An abstract socket whose owner was killed.
pub async fn abstract_socket(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_wall_time(probes.stretch(Duration::from_millis(100)));
    for _ in 0..ROUNDS {
        once(sandbox, probes, limits.clone(), &["unix-listen", "@evalx-reset"]).await;
        once(sandbox, probes, limits.clone(), &["unix-connect", "@evalx-reset"]).await.well();
    }
}

/// A terminal of the step before, and its size.
pub async fn terminal(sandbox: &DynSandbox, probes: &Probes) {
    for rows in 20..26 {
        let mut session = open(sandbox, probes, probes.limits()).await;
        let size = TerminalSize { rows, columns: 80 };
        let step = probe(["terminal"]).with_stdio(Stdio::Terminal(size));
        let ran = try_run(session.as_mut(), step, Collect::from_stdin(Stdin::Empty)).await.expect("it runs");
        assert!(ran.well().text().starts_with(&format!("1 1 1 {rows} 80 ")), "{}", ran.story());
        let ran = run(session.as_mut(), &["terminal"]).await;
        assert_eq!(ran.well().text(), "0 0 0 0 0 0\n", "{}", ran.story());
        close(session).await;
    }
}

/// Limits of the session before, larger or smaller.
pub async fn different_limits(sandbox: &DynSandbox, probes: &Probes) {
    for round in 0..ROUNDS {
        let large = round % 2 == 0;
        let memory = ByteSize::mib(if large { 128 } else { 24 });
        let ran = once(sandbox, probes, probes.limits().with_memory(memory), &["touch", "64"]).await;
        ran.ended(if large { &Outcome::Exited(0) } else { &Outcome::MemoryLimit });
        let processes = if large { 32 } else { 4 };
        let ran =
            once(sandbox, probes, probes.limits().with_processes(processes), &["children", "16", "0"]).await;
        assert_eq!(ran.well().text(), if large { "16\n" } else { "3\n" }, "{}", ran.story());
    }
}
