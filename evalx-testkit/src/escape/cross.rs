//! Class 7, between sessions: one holds on to something, another looks for it.

use bytes::Bytes;
use evalx_core::{DynSandbox, Isolation, Network, SessionSpec, Stdin};

use super::attack::Bounds;
use crate::case::case;
use crate::escape::cross;
use crate::rig::{Held, close, open, open_spec, probe, run, run_with};
use crate::{Case, Need, Probes, Token};

/// Every case of this module.
#[must_use]
pub fn cases() -> Vec<Case> {
    let inodes = |case: Case| case.needing(Need::Isolation(Isolation::Inodes));
    let ipc = |case: Case| case.needing(Need::Isolation(Isolation::Ipc));
    let processes = |case: Case| case.needing(Need::Isolation(Isolation::Processes));
    let uid = |case: Case| case.needing(Need::Isolation(Isolation::Uid));
    let network = |case: Case| case.needing(Need::Isolation(Isolation::Network));
    [
        inodes(case!(cross::locks_on_shared_files)),
        inodes(case!(cross::watches_on_shared_folders)).exclusive(),
        network(case!(cross::abstract_sockets)),
        case!(cross::sockets_by_path).needing(Need::Isolation(Isolation::Files)),
        ipc(case!(cross::sysv_shared_memory)),
        ipc(case!(cross::sysv_semaphores)),
        ipc(case!(cross::sysv_messages)),
        ipc(case!(cross::posix_queues)),
        case!(cross::files).needing(Need::Isolation(Isolation::Files)),
        processes(case!(cross::proc_views)),
        processes(case!(cross::signals)),
        processes(case!(cross::killing_everyone)),
        uid(case!(cross::quota_of_inotify)),
        uid(case!(cross::quota_of_queues)),
        uid(case!(cross::quota_of_pipes)),
        uid(case!(cross::quota_of_signals)),
        case!(cross::loopback_ports).needing(Need::Loopback),
        case!(cross::busy_neighbour),
    ]
    .into_iter()
    .map(|case| case.prefixed("network"))
    .collect()
}

/// One session holds on to something while the next runs a probe that must be held.
async fn beside(sandbox: &DynSandbox, probes: &Probes, holds: &[&str], looks: &[&str]) {
    let limits = Bounds::SMALL.limits(probes).with_wall_time(probes.limits().wall_time).with_open_files(4096);
    let holder = open(sandbox, probes, limits.clone()).await;
    let held = Held::start(holder, probe(holds.iter().copied()), Stdin::Empty).await;
    for _ in 0..2 {
        let mut session = open(sandbox, probes, limits.clone()).await;
        run(session.as_mut(), looks).await.well();
        close(session).await;
    }
    held.release().await;
}

/// A lock on a file of the system that both see does not block the other.
pub async fn locks_on_shared_files(sandbox: &DynSandbox, probes: &Probes) {
    beside(sandbox, probes, &["lock", "hold"], &["lock", "try"]).await;
}

/// A watch on folders that both see tells nothing of the other.
pub async fn watches_on_shared_folders(sandbox: &DynSandbox, probes: &Probes) {
    let (mut keys, stdin) = tokio::io::duplex(64);
    let watcher = open(sandbox, probes, probes.limits()).await;
    let held = Held::start(watcher, probe(["watch"]), Stdin::Stream(Box::new(stdin))).await;
    let mut session = open(sandbox, probes, probes.limits()).await;
    run(session.as_mut(), &["be-seen"]).await.well();
    close(session).await;
    tokio::io::AsyncWriteExt::write_all(&mut keys, b"x").await.expect("the watcher still reads");
    held.finish().await.well();
}

/// An abstract socket of one is not found by the other.
pub async fn abstract_sockets(sandbox: &DynSandbox, probes: &Probes) {
    beside(sandbox, probes, &["unix-listen", "@evalx-cross"], &["unix-connect", "@evalx-cross"]).await;
}

/// A socket in `/tmp`, `/dev/shm` or the work folder of one is not found by the other.
pub async fn sockets_by_path(sandbox: &DynSandbox, probes: &Probes) {
    for place in ["/tmp/socket", "/dev/shm/socket", "/box/socket"] {
        beside(sandbox, probes, &["unix-listen", place], &["unix-connect", place]).await;
    }
}

/// System V shared memory of one is not found by the other.
pub async fn sysv_shared_memory(sandbox: &DynSandbox, probes: &Probes) {
    beside(sandbox, probes, &["leave", "shm", "stay"], &["find", "shm"]).await;
}

/// System V semaphores of one are not found by the other.
pub async fn sysv_semaphores(sandbox: &DynSandbox, probes: &Probes) {
    beside(sandbox, probes, &["leave", "sem", "stay"], &["find", "sem"]).await;
}

/// System V message queues of one are not found by the other.
pub async fn sysv_messages(sandbox: &DynSandbox, probes: &Probes) {
    beside(sandbox, probes, &["leave", "msg", "stay"], &["find", "msg"]).await;
}

/// POSIX message queues of one are not found by the other.
pub async fn posix_queues(sandbox: &DynSandbox, probes: &Probes) {
    beside(sandbox, probes, &["leave", "mq", "stay"], &["find", "mq"]).await;
}

/// Files of one, in any place that can be written, are not found by the other.
pub async fn files(sandbox: &DynSandbox, probes: &Probes) {
    beside(sandbox, probes, &["leave", "file", "stay"], &["find", "file"]).await;
}

/// Processes of one are not in the other's `/proc`.
pub async fn proc_views(sandbox: &DynSandbox, probes: &Probes) {
    let token = Token::new();
    let holder = open(sandbox, probes, probes.limits()).await;
    let held = Held::start(holder, probe(["wait", token.as_str()]), Stdin::Empty).await;
    let mut session = open(sandbox, probes, probes.limits()).await;
    run(session.as_mut(), &["proc-token", token.as_str()]).await.well();
    run(session.as_mut(), &["proc-list", "2"]).await.well();
    close(session).await;
    held.release().await;
}

/// Processes of one can't be signalled by the other.
pub async fn signals(sandbox: &DynSandbox, probes: &Probes) {
    beside(sandbox, probes, &["wait"], &["signal-strangers"]).await;
}

/// A session that kills whatever it can kills nothing of its neighbour's.
pub async fn killing_everyone(sandbox: &DynSandbox, probes: &Probes) {
    let token = Token::new();
    let holder = open(sandbox, probes, probes.limits()).await;
    let held = Held::start(holder, probe(["wait", token.as_str()]), Stdin::Empty).await;
    let mut session = open(sandbox, probes, probes.limits()).await;
    run(session.as_mut(), &["kill-everyone", "9"]).await.well();
    run(session.as_mut(), &["kill-init"]).await.well();
    close(session).await;
    held.release().await.ended(&evalx_core::Outcome::Cancelled);
}

/// One that takes all the inotify of its user leaves the other's alone.
pub async fn quota_of_inotify(sandbox: &DynSandbox, probes: &Probes) {
    beside(sandbox, probes, &["exhaust", "inotify"], &["spare", "inotify"]).await;
}

/// One that takes all the message queues of its user leaves the other's alone.
pub async fn quota_of_queues(sandbox: &DynSandbox, probes: &Probes) {
    beside(sandbox, probes, &["exhaust", "queues"], &["spare", "queues"]).await;
}

/// One that takes all the pipe buffers of its user leaves the other's alone.
pub async fn quota_of_pipes(sandbox: &DynSandbox, probes: &Probes) {
    beside(sandbox, probes, &["exhaust", "pipes"], &["spare", "pipes"]).await;
}

/// One that takes all the queued signals of its user leaves the other's alone.
pub async fn quota_of_signals(sandbox: &DynSandbox, probes: &Probes) {
    beside(sandbox, probes, &["exhaust", "signals"], &["spare", "signals"]).await;
}

/// A port that one listens on is not the other's, with a loopback network each.
pub async fn loopback_ports(sandbox: &DynSandbox, probes: &Probes) {
    let spec = SessionSpec::new(probes.limits()).with_network(Network::Loopback);
    let holder = open_spec(sandbox, probes, spec.clone()).await;
    let held = Held::start(holder, probe(["loopback-listen", "4321"]), Stdin::Empty).await;
    let mut session = open_spec(sandbox, probes, spec).await;
    run(session.as_mut(), &["loopback-connect", "4321"]).await.well();
    close(session).await;
    held.release().await;
}

/// A neighbour with as many spinning processes as it may have slows nobody to a halt.
pub async fn busy_neighbour(sandbox: &DynSandbox, probes: &Probes) {
    let mut holder = open(sandbox, probes, Bounds::SMALL.limits(probes)).await;
    let mut session = open(sandbox, probes, probes.limits()).await;
    let (busy, beside) = tokio::join!(
        run_with(holder.as_mut(), probe(["fork-bomb"]), Bytes::new()),
        run(session.as_mut(), &["spin-for", "50"])
    );
    assert!(!busy.report.outcome.is_success(), "{}", busy.story());
    // Its share of the machine is what matters, not that it is as fast as alone.
    let most = probes.stretch(std::time::Duration::from_secs(2));
    assert!(beside.well().report.wall_time < most, "{}", beside.story());
    close(holder).await;
    close(session).await;
}
