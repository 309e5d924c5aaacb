//! An order whose run was dropped is nobody else's, however early that was.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use evalx_core::{Collect, ErrorKind, Limits, Outcome, Result, Sandbox, Session, SessionSpec, Step};
use evalx_sandbox_native::{NativeConfig, NativeSandbox};

/// How long a call that must come to its end may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn exit(code: u8) -> Step {
    Step::new("sh").with_arguments(["-c".to_owned(), format!("exit {code}")])
}

async fn run(session: &mut dyn Session, step: Step) -> Result<Outcome> {
    let ran = tokio::time::timeout(PATIENCE, session.run(step, &mut Collect::new(""))).await;
    ran.expect("a run hangs").map(|report| report.outcome)
}

/// Begins a run, waits so long without looking at it, and drops it.
async fn drop_run(session: &mut dyn Session, step: Step, wait: Duration) {
    let mut io = Collect::new("");
    let mut run = session.run(step, &mut io);
    let _ = poll_fn(|context| Poll::Ready(run.as_mut().poll(context).is_pending())).await;
    let began = Instant::now();
    while began.elapsed() < wait {
        std::hint::spin_loop();
    }
}

#[expect(clippy::print_stdout, reason = "why a test shows nothing is for who runs it")]
fn ignored(why: &evalx_core::Error) {
    println!("ignored: {why:?}");
}

/// One slot, so that each session has that of the one before; nothing where
/// there can be no sandbox.
async fn sandbox() -> Option<NativeSandbox> {
    let config = NativeConfig::default().with_sessions(1).with_spares(0);
    match NativeSandbox::start(config).await {
        Ok(sandbox) => Some(sandbox),
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            ignored(&error);
            None
        }
        Err(error) => panic!("{error:?}"),
    }
}

fn spec() -> SessionSpec {
    SessionSpec::new(Limits::default().with_processes(64))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_order_is_not_run_by_the_next_session() {
    let Some(sandbox) = sandbox().await else { return };
    for round in 0..60_u32 {
        let mut session = sandbox.open(spec()).await.unwrap();
        // The cell of a first step is ready; that of another is still to be made.
        if round % 2 == 0 {
            assert_eq!(run(session.as_mut(), exit(1)).await.unwrap(), Outcome::Exited(1));
        }
        drop_run(session.as_mut(), exit(7), Duration::from_micros(u64::from(round / 2 * 20))).await;
        drop(session);
        let mut session = sandbox.open(spec()).await.unwrap();
        for code in [0, 3] {
            let outcome = run(session.as_mut(), exit(code)).await.unwrap();
            assert_eq!(outcome, Outcome::Exited(i32::from(code)), "in round {round}");
        }
        session.close().await.unwrap();
    }
    sandbox.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_whose_order_was_dropped_halfway_can_be_closed() {
    let Some(sandbox) = sandbox().await else { return };
    for _ in 0..5 {
        let mut session = sandbox.open(spec()).await.unwrap();
        assert_eq!(run(session.as_mut(), exit(0)).await.unwrap(), Outcome::Exited(0));
        // More than a socket takes at once.
        let large = exit(7).with_arguments(vec!["x".repeat(100_000); 8]);
        drop_run(session.as_mut(), large, Duration::ZERO).await;
        let closed = tokio::time::timeout(PATIENCE, session.close()).await;
        closed.expect("closing hangs").unwrap();
        let mut session = sandbox.open(spec()).await.unwrap();
        assert_eq!(run(session.as_mut(), exit(3)).await.unwrap(), Outcome::Exited(3));
        session.close().await.unwrap();
    }
    sandbox.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_has_the_same_umask() {
    let Some(sandbox) = sandbox().await else { return };
    let mut session = sandbox.open(spec()).await.unwrap();
    for _ in 0..2 {
        let mut io = Collect::new("");
        let step = Step::new("sh").with_arguments(["-c", "umask"]);
        session.run(step, &mut io).await.unwrap();
        assert_eq!(io.into_output().0, "0022\n");
    }
    session.close().await.unwrap();
    sandbox.shutdown().await.unwrap();
}
