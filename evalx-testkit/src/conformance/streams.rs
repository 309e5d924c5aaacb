//! Standard streams: byte-exact, fed as read, and no hold on the host.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use evalx_core::{ByteSize, Collect, Control, DynSandbox, Outcome, Stdin};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;

use crate::rig::{Live, close, once, open, probe, run, run_with, try_run};
use crate::{Probes, Token};

/// Noise without a period that a pipe's size could hide.
fn noise(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// Yields zeros up to a length, and counts how many were taken.
struct Zeros {
    left: u64,
    taken: Arc<AtomicU64>,
}

impl AsyncRead for Zeros {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let room = buffer.remaining().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        buffer.initialize_unfilled_to(room).fill(0);
        buffer.advance(room);
        let room = u64::try_from(room).unwrap_or(u64::MAX);
        self.left -= room;
        self.taken.fetch_add(room, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

/// Never yields anything, nor ends.
struct Silence;

impl AsyncRead for Silence {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

/// Yields what a channel sends.
struct Channel(mpsc::Receiver<Bytes>);

impl AsyncRead for Channel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.0.poll_recv(cx).map(|piece| {
            buffer.put_slice(&piece.unwrap_or_default());
            Ok(())
        })
    }
}

/// Ten mebibytes of noise go through a program and come back as they were.
pub async fn ten_mebibytes_through(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits().with_output(ByteSize::mib(16))).await;
    let sent = noise(10 << 20);
    let ran = run_with(session.as_mut(), probe(["cat"]), sent.clone()).await;
    assert!(ran.well().stdout == sent, "{} bytes came back: {}", ran.stdout.len(), ran.story());
    close(session).await;
}

/// Every byte value goes through, alone and at the edges of blocks.
pub async fn every_byte_through(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let all: Bytes = (0..=255).cycle().take(65_537).collect::<Vec<u8>>().into();
    let ran = run_with(session.as_mut(), probe(["cat"]), all.clone()).await;
    assert!(ran.well().stdout == all, "{}", ran.story());
    close(session).await;
}

/// Stdout and stderr are told apart.
pub async fn two_streams_apart(sandbox: &DynSandbox, probes: &Probes) {
    let ran = once(sandbox, probes, probes.limits(), &["say", "to stdout", "to stderr"]).await;
    assert_eq!((&ran.well().stdout[..], &ran.stderr[..]), (&b"to stdout"[..], &b"to stderr"[..]));
}

/// Without stdin, a program reads end-of-file at once.
pub async fn empty_stdin_ends_at_once(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    for stdin in [Stdin::Empty, Stdin::Bytes(Bytes::new())] {
        let ran =
            try_run(session.as_mut(), probe(["count"]), Collect::from_stdin(stdin)).await.expect("it runs");
        assert_eq!(ran.well().text(), "ready\n0\n", "{}", ran.story());
    }
    close(session).await;
}

/// A gibibyte of stdin that is never read is neither taken nor waited for.
pub async fn stdin_never_read(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let taken = Arc::new(AtomicU64::new(0));
    let zeros = Zeros { left: 1 << 30, taken: Arc::clone(&taken) };
    let io = Collect::from_stdin(Stdin::Stream(Box::new(zeros)));
    try_run(session.as_mut(), probe(["exit", "0"]), io).await.expect("it runs").well();
    let taken = taken.load(Ordering::Relaxed);
    assert!(taken <= 16 << 20, "{taken} bytes were taken of a stdin that nobody read");
    close(session).await;
}

/// A program may stop reading a huge stdin and end well.
pub async fn stdin_closed_early(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits().with_output(ByteSize::mib(2))).await;
    let zeros = Zeros { left: 1 << 40, taken: Arc::new(AtomicU64::new(0)) };
    let io = Collect::from_stdin(Stdin::Stream(Box::new(zeros)));
    let ran = try_run(session.as_mut(), probe(["cat", "1000000"]), io).await.expect("it runs");
    assert_eq!(ran.well().stdout.len(), 1_000_000, "{}", ran.story());
    close(session).await;
}

/// A stdin that never comes does not hold the wall limit up.
pub async fn silent_stdin_and_wall_limit(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_wall_time(probes.stretch(Duration::from_millis(200)));
    let mut session = open(sandbox, probes, limits).await;
    let io = Collect::from_stdin(Stdin::Stream(Box::new(Silence)));
    let ran = try_run(session.as_mut(), probe(["count"]), io).await.expect("it runs");
    ran.ended(&Outcome::WallTimeLimit);
    close(session).await;
}

/// A stdin that never comes does not hold up a program that ends without it.
pub async fn silent_stdin_and_exit(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let started = Instant::now();
    let io = Collect::from_stdin(Stdin::Stream(Box::new(Silence)));
    try_run(session.as_mut(), probe(["exit", "0"]), io).await.expect("it runs").well();
    assert!(started.elapsed() < probes.stretch(Duration::from_secs(2)), "it took {:?}", started.elapsed());
    close(session).await;
}

/// `CloseStdin` ends a stdin that would never end.
pub async fn closing_stdin(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let live = Live::new(Stdin::Stream(Box::new(Silence)), [Control::CloseStdin]);
    let ran = live.run(session.as_mut(), probe(["count"])).await;
    assert_eq!(ran.well().text(), "ready\n0\n", "{}", ran.story());
    close(session).await;
}

/// Stdin is fed as it comes: a piece arrives before the next is there.
pub async fn stdin_as_it_comes(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let (sender, receiver) = mpsc::channel(1);
    let mut live = Live::new(Stdin::Stream(Box::new(Channel(receiver))), []);
    let ready = live.ready();
    let feed = tokio::spawn(async move {
        sender.send(Bytes::from_static(b"ready")).await.expect("stdin is read");
        // It came back from the program although stdin is still open.
        ready.await.expect("the program answers before its stdin ends");
        sender.send(Bytes::from_static(b", more")).await.expect("stdin is read");
    });
    let ran = live.run(session.as_mut(), probe(["cat"])).await;
    feed.await.expect("the feed does not panic");
    assert_eq!(ran.well().text(), "ready, more", "{}", ran.story());
    close(session).await;
}

/// A program that closes its output streams is still waited for.
pub async fn closed_stdout_is_no_end(sandbox: &DynSandbox, probes: &Probes) {
    let ran = once(sandbox, probes, probes.limits(), &["close-output", "100", "5"]).await;
    ran.ended(&Outcome::Exited(5));
    assert!(ran.report.wall_time >= Duration::from_millis(99), "{}", ran.story());
}

/// A program that ends while its children hold stdout open has ended at once,
/// and so have they.
pub async fn children_that_hold_stdout(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let (token, started) = (Token::new(), Instant::now());
    let ran = run(session.as_mut(), &["orphan-output", "30000", token.as_str()]).await;
    let took = started.elapsed();
    assert_eq!(token.alive(), Vec::<u32>::new(), "processes outlive their step");
    assert!(ran.well().text().starts_with("done\n"), "{}", ran.story());
    assert!(took < probes.stretch(Duration::from_secs(2)), "it took {took:?}: {}", ran.story());
    close(session).await;
}

/// Output that the program makes in pieces arrives while it still runs.
pub async fn output_as_it_comes(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    // The program never ends: only its output, seen in time, cancels it.
    let ran = Live::new(Stdin::Empty, [Control::Cancel]).run(session.as_mut(), probe(["wait"])).await;
    ran.ended(&Outcome::Cancelled);
    assert_eq!(ran.text(), "ready\n", "{}", ran.story());
    close(session).await;
}
