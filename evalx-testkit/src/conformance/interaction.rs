//! Two programs joined by pipes, and a program on a terminal.

use std::time::{Duration, Instant};

use bytes::Bytes;
use evalx_core::{Control, DynSandbox, Outcome, Stdin, Stdio, TerminalSize};

use crate::rig::{Live, close, open, probe, run_with};
use crate::{Probes, Ran};

/// Runs two steps in two sessions, each one's stdout the other's stdin.
async fn joined(sandbox: &DynSandbox, probes: &Probes, first: &[&str], second: &[&str]) -> (Ran, Ran) {
    let pipe = || std::io::pipe().expect("a pipe is made");
    let ((from_first, to_second), (from_second, to_first)) = (pipe(), pipe());
    let mut one = open(sandbox, probes, probes.limits()).await;
    let mut two = open(sandbox, probes, probes.limits()).await;
    let first =
        probe(first.iter().copied()).with_stdio(Stdio::Joined { stdin: from_second, stdout: to_second });
    let second =
        probe(second.iter().copied()).with_stdio(Stdio::Joined { stdin: from_first, stdout: to_first });
    let ran = tokio::join!(
        run_with(one.as_mut(), first, Bytes::new()),
        run_with(two.as_mut(), second, Bytes::new())
    );
    close(one).await;
    close(two).await;
    ran
}

/// Two programs answer each other a thousand times.
pub async fn joined_both_ways(sandbox: &DynSandbox, probes: &Probes) {
    let (first, second) = joined(sandbox, probes, &["ping", "1000"], &["pong"]).await;
    first.well();
    // It ended because its stdin did: nobody else holds the pipe open.
    second.well();
}

/// When one ends, the other reads end-of-file and is not held up.
pub async fn joined_to_one_that_ends(sandbox: &DynSandbox, probes: &Probes) {
    let started = Instant::now();
    let (first, second) = joined(sandbox, probes, &["exit", "6"], &["pong"]).await;
    first.ended(&Outcome::Exited(6));
    second.well();
    assert!(started.elapsed() < probes.stretch(Duration::from_secs(4)), "it took {:?}", started.elapsed());
}

/// The stderr of a joined step still comes to the host.
pub async fn joined_stderr(sandbox: &DynSandbox, probes: &Probes) {
    let (first, second) = joined(sandbox, probes, &["say", "", "to the host"], &["pong"]).await;
    assert_eq!(first.well().stderr, "to the host", "{}", first.story());
    assert!(second.well().stdout.is_empty(), "{}", second.story());
}

const SIZE: TerminalSize = TerminalSize { rows: 31, columns: 97 };

async fn on_terminal(sandbox: &DynSandbox, probes: &Probes) -> String {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let step = probe(["terminal"]).with_stdio(Stdio::Terminal(SIZE));
    let ran = Live::new(Stdin::Empty, []).run(session.as_mut(), step).await;
    assert!(ran.well().stderr.is_empty(), "{}", ran.story());
    close(session).await;
    ran.text().trim_end().to_owned()
}

/// On a terminal, all three streams are it, and it has its size.
pub async fn terminal_of_a_size(sandbox: &DynSandbox, probes: &Probes) {
    let state = on_terminal(sandbox, probes).await;
    assert!(state.starts_with("1 1 1 31 97 "), "{state}");
}

/// A terminal is the controlling one: `/dev/tty`, where passwords are asked for, opens it.
pub async fn terminal_is_the_controlling_one(sandbox: &DynSandbox, probes: &Probes) {
    let state = on_terminal(sandbox, probes).await;
    assert!(state.ends_with(" 1"), "/dev/tty can't be opened: {state}");
}

/// Without one, none of the streams is a terminal, and there is no controlling one.
pub async fn no_terminal_by_default(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let ran = run_with(session.as_mut(), probe(["terminal"]), Bytes::new()).await;
    assert_eq!(ran.well().text(), "0 0 0 0 0 0\n", "{}", ran.story());
    close(session).await;
}

/// A new size reaches the program, with its signal.
pub async fn terminal_is_resized(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let step = probe(["resized"]).with_stdio(Stdio::Terminal(SIZE));
    let controls = [Control::Resize(TerminalSize { rows: 10, columns: 20 })];
    let ran =
        Live::new(Stdin::Stream(Box::new(tokio::io::empty())), controls).run(session.as_mut(), step).await;
    assert!(ran.well().text().trim_end().ends_with("10 20"), "{}", ran.story());
    close(session).await;
}

/// The interrupt key is a signal to the program.
pub async fn terminal_interrupt(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let (mut keys, stdin) = tokio::io::duplex(64);
    let mut live = Live::new(Stdin::Stream(Box::new(stdin)), []);
    let ready = live.ready();
    let press = tokio::spawn(async move {
        ready.await.expect("the program says that it is ready");
        tokio::io::AsyncWriteExt::write_all(&mut keys, b"\x03").await.expect("the key is taken");
        keys
    });
    let step = probe(["catch", "2"]).with_stdio(Stdio::Terminal(SIZE));
    let ran = live.run(session.as_mut(), step).await;
    ran.ended(&Outcome::Exited(42));
    drop(press.await);
    close(session).await;
}
