//! Class 10, in time: calls that are dropped or cut short at every point.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use evalx_core::{ByteSize, Collect, DynSandbox, FileContents, SessionSpec};

use crate::case::case;
use crate::escape::dropped;
use crate::rig::{close, open, path, probe, run, still_works};
use crate::{Case, Probes, Token};

/// Every case of this module.
#[must_use]
pub fn cases() -> Vec<Case> {
    [
        case!(dropped::open_dropped_at_every_await),
        case!(dropped::calls_dropped_at_every_await),
        case!(dropped::close_dropped_at_every_await),
        case!(dropped::shutdown_amid_work).owning(),
    ]
    .into_iter()
    .map(|case| case.prefixed("library"))
    .collect()
}

const ALL: ByteSize = ByteSize::mib(8);

/// Polls a future so many times at most; whether it was done by then.
async fn polled<F: Future + Send>(future: F, mut times: u32) -> Option<F::Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        if times == 0 {
            return Poll::Ready(None);
        }
        times -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// More awaits than any call has; a call that is done earlier ends the loop.
const AWAITS: u32 = 24;

/// `open` dropped at each of its awaits loses no capacity.
pub async fn open_dropped_at_every_await(sandbox: &DynSandbox, probes: &Probes) {
    for times in 0..AWAITS {
        for _ in 0..4 {
            drop(polled(sandbox.open(SessionSpec::new(probes.limits())), times).await);
        }
    }
    still_works(sandbox, probes).await;
}

/// Every call on a session, dropped at each of its awaits, leaves a session that works.
pub async fn calls_dropped_at_every_await(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    for times in 0..AWAITS {
        let token = Token::new();
        let data = FileContents::data(vec![1; 100_000]);
        drop(polled(session.write_file(&path("dropped"), data), times).await);
        drop(polled(session.read_file(&path("probe"), ALL), times).await);
        drop(polled(session.keep(&path("probe")), times).await);
        let mut io = Collect::new(vec![b'x'; 200_000]);
        drop(polled(session.run(probe(["cat", "-1", token.as_str()]), &mut io), times).await);
        session.write_file(&path("after"), FileContents::data("after")).await.expect("the session works");
        assert_eq!(token.alive(), Vec::<u32>::new(), "a step dropped after {times} polls lives on");
        assert_eq!(run(session.as_mut(), &["show", "after"]).await.well().text(), "after");
    }
    close(session).await;
}

/// `close` dropped at each of its awaits still closes.
pub async fn close_dropped_at_every_await(sandbox: &DynSandbox, probes: &Probes) {
    for times in 0..AWAITS {
        let session = open(sandbox, probes, probes.limits()).await;
        drop(polled(session.close(), times).await);
    }
    still_works(sandbox, probes).await;
}

/// Shutting down while sessions are opened and run ends them all, and hangs nobody.
pub async fn shutdown_amid_work(sandbox: &DynSandbox, probes: &Probes) {
    still_works(sandbox, probes).await;
    let token = Token::new();
    let work: Vec<_> = (0..8)
        .map(|_| {
            let (sandbox, probes, token) = (DynSandbox::clone(sandbox), probes.clone(), token.clone());
            tokio::spawn(async move {
                let attempt = async {
                    let mut session = sandbox.open(SessionSpec::new(probes.limits())).await?;
                    let program = FileContents::executable(probes.program());
                    session.write_file(&path("probe"), program).await?;
                    let mut io = Collect::default();
                    session.run(probe(["sleep", "100", token.as_str()]), &mut io).await?;
                    session.close().await
                };
                // Cut short by the shutdown or done before it: both are right.
                let _: evalx_core::Result<()> = attempt.await;
            })
        })
        .collect();
    tokio::task::yield_now().await;
    sandbox.shutdown().await.expect("the sandbox shuts down");
    assert_eq!(token.alive(), Vec::<u32>::new(), "processes outlive their sandbox");
    for task in work {
        task.await.expect("no call panics");
    }
}
