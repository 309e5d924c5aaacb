//! Time: what is counted, and how soon after its limit a program is stopped.
//!
//! The accuracy cases ask for most of five attempts, so that a machine that is
//! busy with something else for a moment fails nobody, and a supervisor that
//! polls too seldom still fails.

use std::time::Duration;

use evalx_core::{Amount, DynSandbox, KilledBy, LimitKind, Outcome};

use crate::Probes;
use crate::rig::{Ran, close, once, open, run};

/// A spinning program is stopped within this of its CPU limit.
const CPU_TOLERANCE: Duration = Duration::from_millis(10);
/// A sleeping program is stopped within this of its wall limit.
const WALL_TOLERANCE: Duration = Duration::from_millis(20);
/// A clock of the kernel may round this much down.
const ROUNDING: Duration = Duration::from_millis(1);

/// How far a measured time may go beyond its limit in most of five attempts.
async fn stops_in_time(
    sandbox: &DynSandbox,
    probes: &Probes,
    kind: LimitKind,
    limit: Duration,
    arguments: &[&str],
) {
    let limit = probes.stretch(limit);
    let (limits, tolerance, outcome) = match kind {
        LimitKind::CpuTime => (probes.limits().with_cpu_time(limit), CPU_TOLERANCE, Outcome::CpuTimeLimit),
        _ => (probes.limits().with_wall_time(limit), WALL_TOLERANCE, Outcome::WallTimeLimit),
    };
    let (mut good, mut late) = (0, Vec::new());
    let mut session = open(sandbox, probes, limits).await;
    while good < 3 {
        let ran = run(session.as_mut(), arguments).await;
        ran.ended(&outcome).blames(kind, Amount::Time(limit));
        let measured = match kind {
            LimitKind::CpuTime => ran.report.cpu_time,
            _ => ran.report.wall_time,
        };
        assert!(measured + ROUNDING >= limit, "stopped before its limit: {}", ran.story());
        if measured <= limit + probes.stretch(tolerance) {
            good += 1;
        } else {
            late.push(measured);
        }
        assert!(late.len() < 3, "with a {kind} limit of {limit:?}, it was stopped at {late:?} of 5 attempts");
    }
    close(session).await;
}

/// A spinning program is stopped within 10 ms of 50 ms of CPU time.
pub async fn cpu_limit_of_50_ms(sandbox: &DynSandbox, probes: &Probes) {
    stops_in_time(sandbox, probes, LimitKind::CpuTime, Duration::from_millis(50), &["spin"]).await;
}

/// A spinning program is stopped within 10 ms of 200 ms of CPU time.
pub async fn cpu_limit_of_200_ms(sandbox: &DynSandbox, probes: &Probes) {
    stops_in_time(sandbox, probes, LimitKind::CpuTime, Duration::from_millis(200), &["spin"]).await;
}

/// A spinning program is stopped within 10 ms of one second of CPU time.
pub async fn cpu_limit_of_1_s(sandbox: &DynSandbox, probes: &Probes) {
    stops_in_time(sandbox, probes, LimitKind::CpuTime, Duration::from_secs(1), &["spin"]).await;
}

/// Two spinning threads are stopped within 10 ms of 200 ms of CPU time together.
pub async fn cpu_limit_of_threads(sandbox: &DynSandbox, probes: &Probes) {
    stops_in_time(sandbox, probes, LimitKind::CpuTime, Duration::from_millis(200), &["spin-threads", "2"])
        .await;
}

/// Two spinning children are stopped within 10 ms of 200 ms of CPU time together.
pub async fn cpu_limit_of_children(sandbox: &DynSandbox, probes: &Probes) {
    stops_in_time(sandbox, probes, LimitKind::CpuTime, Duration::from_millis(200), &["spin-children", "2"])
        .await;
}

/// A program that spends its time in the kernel is stopped within 10 ms too.
pub async fn cpu_limit_of_system_calls(sandbox: &DynSandbox, probes: &Probes) {
    stops_in_time(sandbox, probes, LimitKind::CpuTime, Duration::from_millis(200), &["spin-calls"]).await;
}

/// A sleeping program is stopped within 20 ms of 50 ms of wall time.
pub async fn wall_limit_of_50_ms(sandbox: &DynSandbox, probes: &Probes) {
    stops_in_time(sandbox, probes, LimitKind::WallTime, Duration::from_millis(50), &["sleep-ever"]).await;
}

/// A sleeping program is stopped within 20 ms of 300 ms of wall time.
pub async fn wall_limit_of_300_ms(sandbox: &DynSandbox, probes: &Probes) {
    stops_in_time(sandbox, probes, LimitKind::WallTime, Duration::from_millis(300), &["sleep-ever"]).await;
}

/// A tree of sleeping processes is stopped within 20 ms of 300 ms of wall time.
pub async fn wall_limit_of_children(sandbox: &DynSandbox, probes: &Probes) {
    stops_in_time(sandbox, probes, LimitKind::WallTime, Duration::from_millis(300), &["sleep-children"])
        .await;
}

/// Whoever is stopped for time was stopped by the supervisor, or by the kernel's own CPU limit.
pub async fn who_stopped_it(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_wall_time(probes.stretch(Duration::from_millis(50)));
    let ran = once(sandbox, probes, limits, &["sleep-ever"]).await;
    assert_eq!(
        ran.ended(&Outcome::WallTimeLimit).report.killed_by,
        Some(KilledBy::Supervisor),
        "{}",
        ran.story()
    );
    let limits = probes.limits().with_cpu_time(probes.stretch(Duration::from_millis(50)));
    let ran = once(sandbox, probes, limits, &["spin"]).await;
    assert!(ran.ended(&Outcome::CpuTimeLimit).report.killed_by.is_some(), "{}", ran.story());
}

/// The outcome is the limit that came first: CPU before a long wall limit, wall before a long CPU limit.
pub async fn the_first_limit_wins(sandbox: &DynSandbox, probes: &Probes) {
    let short = probes.stretch(Duration::from_millis(100));
    let limits = probes.limits();
    once(sandbox, probes, limits.clone().with_cpu_time(short), &["spin"]).await.ended(&Outcome::CpuTimeLimit);
    once(sandbox, probes, limits.with_wall_time(short), &["spin"]).await.ended(&Outcome::WallTimeLimit);
}

fn between(ran: &Ran, measured: Duration, least: Duration, most: Duration) {
    assert!(
        measured + ROUNDING >= least && measured <= most,
        "{measured:?} is not from {least:?} to {most:?}: {}",
        ran.story()
    );
}

/// CPU time is that of the program, and wall time is not less.
pub async fn cpu_time_is_measured(sandbox: &DynSandbox, probes: &Probes) {
    let ran = once(sandbox, probes, probes.limits(), &["spin-for", "200"]).await;
    let (least, slack) = (Duration::from_millis(200), probes.stretch(Duration::from_millis(50)));
    between(ran.well(), ran.report.cpu_time, least, least + slack);
    assert!(ran.report.wall_time + ROUNDING >= least, "{}", ran.story());
}

/// Sleeping costs wall time and no CPU time.
pub async fn sleeping_costs_no_cpu(sandbox: &DynSandbox, probes: &Probes) {
    let ran = once(sandbox, probes, probes.limits(), &["sleep", "200"]).await;
    let (least, slack) = (Duration::from_millis(200), probes.stretch(Duration::from_millis(100)));
    between(ran.well(), ran.report.wall_time, least, least + slack);
    assert!(ran.report.cpu_time < probes.stretch(Duration::from_millis(50)), "{}", ran.story());
}

/// Time in user mode and in the kernel are told apart, and are all of it.
pub async fn user_and_system_time(sandbox: &DynSandbox, probes: &Probes) {
    let user = once(sandbox, probes, probes.limits(), &["spin-for", "200"]).await;
    let system = once(sandbox, probes, probes.limits(), &["system-time", "200"]).await;
    assert!(user.well().report.user_time > user.report.system_time, "{}", user.story());
    assert!(system.well().report.system_time > system.report.user_time, "{}", system.story());
    for ran in [user, system] {
        let sum = ran.report.user_time + ran.report.system_time;
        let gap = sum.abs_diff(ran.report.cpu_time);
        assert!(gap <= probes.stretch(Duration::from_millis(20)), "{}", ran.story());
    }
}

/// Of a program that was stopped, they are all of its CPU time too.
pub async fn user_and_system_time_of_the_stopped(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_cpu_time(probes.stretch(Duration::from_millis(200)));
    let ran = once(sandbox, probes, limits, &["spin"]).await;
    let sum = ran.ended(&Outcome::CpuTimeLimit).report.user_time + ran.report.system_time;
    assert!(
        sum.abs_diff(ran.report.cpu_time) <= probes.stretch(Duration::from_millis(20)),
        "{}",
        ran.story()
    );
    assert!(ran.report.user_time > ran.report.system_time, "{}", ran.story());
}

/// CPU time counts children that were waited for.
pub async fn cpu_of_waited_children(sandbox: &DynSandbox, probes: &Probes) {
    counts_the_tree(sandbox, probes, "serial").await;
}

/// CPU time counts children side by side.
pub async fn cpu_of_parallel_children(sandbox: &DynSandbox, probes: &Probes) {
    counts_the_tree(sandbox, probes, "wait").await;
}

async fn counts_the_tree(sandbox: &DynSandbox, probes: &Probes, how: &str) {
    let ran = once(sandbox, probes, probes.limits(), &["spin-children", "3", "100", how]).await;
    let (least, slack) = (Duration::from_millis(300), probes.stretch(Duration::from_millis(60)));
    between(ran.well(), ran.report.cpu_time, least, least + slack);
}

/// Each step is measured by itself: the second does not carry the first's time.
pub async fn steps_are_measured_apart(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    run(session.as_mut(), &["spin-for", "300"]).await.well();
    let ran = run(session.as_mut(), &["hello"]).await;
    assert!(ran.well().report.cpu_time < probes.stretch(Duration::from_millis(50)), "{}", ran.story());
    close(session).await;
}
