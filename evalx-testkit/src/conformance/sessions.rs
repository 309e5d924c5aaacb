//! Sessions: what their steps share, how they are controlled, and that they end.

use std::future::Future;
use std::time::{Duration, Instant};

use bytes::Bytes;
use evalx_core::{Collect, Control, DynSandbox, Outcome, SessionSpec, Signal, Stdin};

use crate::rig::{
    Held, Live, close, eventually, once, open, open_spec, path, probe, run, still_works, try_run,
};
use crate::{Probes, Token};

/// How soon something that happens at once has happened.
const SOON: Duration = Duration::from_secs(2);

/// Files in the work folder, `/tmp` and `/dev/shm` are there for the next step.
pub async fn steps_share_files(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    for name in ["/box/left", "/tmp/left", "/dev/shm/left"] {
        run(session.as_mut(), &["make", "file", name, "left"]).await.well();
        assert_eq!(run(session.as_mut(), &["show", name]).await.well().text(), "left", "{name}");
    }
    close(session).await;
}

/// Processes of one step are gone before the next.
pub async fn steps_share_no_processes(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    for kind in ["setsid", "double", "plain"] {
        let token = Token::new();
        run(session.as_mut(), &["daemon", kind, token.as_str()]).await.well();
        assert_eq!(token.alive(), Vec::<u32>::new(), "a {kind} daemon outlives its step");
        run(session.as_mut(), &["proc-list", "2"]).await.well();
    }
    close(session).await;
}

/// IPC objects of one step are gone before the next.
pub async fn steps_share_no_ipc(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    for kind in ["shm", "sem", "msg", "mq"] {
        run(session.as_mut(), &["leave", kind]).await.well();
        run(session.as_mut(), &["find", kind]).await.well();
    }
    close(session).await;
}

/// A hundred steps run in one session.
pub async fn many_steps(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    for number in 0..100 {
        let text = format!("step {number}");
        assert_eq!(run(session.as_mut(), &["say", &text]).await.well().text(), text);
    }
    close(session).await;
}

/// After a step was stopped by a limit, the session goes on.
pub async fn session_goes_on_after_a_limit(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_wall_time(probes.stretch(Duration::from_millis(500)));
    let mut session = open(sandbox, probes, limits).await;
    for arguments in [&["sleep-ever"][..], &["memory-endless"], &["flood"], &["raise", "9"]] {
        let ran = run(session.as_mut(), arguments).await;
        assert!(!ran.report.outcome.is_success(), "{arguments:?}: {}", ran.story());
        run(session.as_mut(), &["hello"]).await.well();
    }
    close(session).await;
}

/// Sixteen sessions at once each get their own result.
pub async fn sixteen_sessions_at_once(sandbox: &DynSandbox, probes: &Probes) {
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let (sandbox, probes) = (DynSandbox::clone(sandbox), probes.clone());
            tokio::spawn(async move {
                let text = format!("session {number}");
                for _ in 0..3 {
                    let ran = once(&sandbox, &probes, probes.limits(), &["say", &text, &text, "4"]).await;
                    ran.ended(&Outcome::Exited(4));
                    assert_eq!((ran.text(), &ran.stderr[..]), (text.clone(), text.as_bytes()));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("every session has its own result");
    }
}

/// Short programs on every slot at once lose none of their output.
///
/// A reader that stops when the program ends, and not when the pipe does,
/// loses it now and then.
pub async fn no_output_is_lost(sandbox: &DynSandbox, probes: &Probes) {
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (sandbox, probes) = (DynSandbox::clone(sandbox), probes.clone());
            tokio::spawn(async move {
                let mut session = open(&sandbox, &probes, probes.limits()).await;
                let mut lost = 0;
                for _ in 0..100 {
                    let ran = run(session.as_mut(), &["say", "out", "err"]).await;
                    lost += usize::from(ran.well().text() != "out" || ran.stderr != "err");
                }
                close(session).await;
                lost
            })
        })
        .collect();
    let mut lost = 0;
    for task in tasks {
        lost += task.await.expect("every run is well");
    }
    assert_eq!(lost, 0, "of 800 runs, so many lost output");
}

/// A cancelled step ends soon, reports that, and keeps what it had written.
pub async fn cancel(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let started = Instant::now();
    let ran = Live::new(Stdin::Empty, [Control::Cancel]).run(session.as_mut(), probe(["wait"])).await;
    ran.ended(&Outcome::Cancelled);
    assert_eq!(ran.text(), "ready\n", "{}", ran.story());
    assert!(started.elapsed() < probes.stretch(SOON), "it took {:?}", started.elapsed());
    run(session.as_mut(), &["hello"]).await.well();
    close(session).await;
}

/// A program that ignores every signal is cancelled all the same.
pub async fn cancel_the_deaf(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let live = Live::new(Stdin::Empty, []);
    // Sent before the step starts: it waits in the channel.
    assert!(live.sender().send(Control::Cancel).await, "the step listens");
    live.run(session.as_mut(), probe(["ignore-signals"])).await.ended(&Outcome::Cancelled);
    close(session).await;
}

/// A signal reaches the program, which may handle it.
pub async fn signal_is_handled(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    let controls = [Control::Signal(Signal::TERM)];
    let ran = Live::new(Stdin::Empty, controls).run(session.as_mut(), probe(["catch", "15"])).await;
    ran.ended(&Outcome::Exited(7));
    close(session).await;
}

/// A signal that the program does not handle ends it, as it would at home.
pub async fn signal_ends_it(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        let ran =
            Live::new(Stdin::Empty, [Control::Signal(signal)]).run(session.as_mut(), probe(["wait"])).await;
        ran.ended(&Outcome::Signaled(signal));
    }
    close(session).await;
}

/// Polls a run until the program says `ready`, then drops it.
async fn drop_when_ready(ready: tokio::sync::oneshot::Receiver<()>, run: impl Future) {
    tokio::select! {
        _ = run => panic!("the step ended by itself"),
        ready = ready => ready.expect("the program says that it is ready"),
    }
}

/// Dropping the future of `run` kills the step; the next call works.
pub async fn dropped_run(sandbox: &DynSandbox, probes: &Probes) {
    let mut session = open(sandbox, probes, probes.limits()).await;
    for _ in 0..5 {
        let token = Token::new();
        let mut live = Live::new(Stdin::Empty, []);
        let ready = live.ready();
        drop_when_ready(ready, live.run(session.as_mut(), probe(["wait", token.as_str()]))).await;
        let ran = run(session.as_mut(), &["hello"]).await;
        assert_eq!(token.alive(), Vec::<u32>::new(), "a dropped step lives on");
        assert_eq!(ran.well().text(), "hello\n", "{}", ran.story());
    }
    close(session).await;
}

/// Dropping a session while its step runs ends both, soon.
pub async fn dropped_session(sandbox: &DynSandbox, probes: &Probes) {
    let mut tokens = Vec::new();
    for _ in 0..8 {
        let token = Token::new();
        let mut session = open(sandbox, probes, probes.limits()).await;
        let mut live = Live::new(Stdin::Empty, []);
        let ready = live.ready();
        drop_when_ready(ready, live.run(session.as_mut(), probe(["wait", token.as_str()]))).await;
        drop(session);
        tokens.push(token);
    }
    for token in tokens {
        let gone = eventually(probes.stretch(SOON), || token.alive().is_empty()).await;
        assert!(gone, "the step of a dropped session lives on");
    }
    still_works(sandbox, probes).await;
}

/// Sessions that are opened and dropped unused cost no capacity.
pub async fn unused_sessions(sandbox: &DynSandbox, probes: &Probes) {
    for _ in 0..64 {
        drop(sandbox.open(SessionSpec::new(probes.limits())).await.expect("a session is opened"));
    }
    for _ in 0..16 {
        close(sandbox.open(SessionSpec::new(probes.limits())).await.expect("a session is opened")).await;
    }
    still_works(sandbox, probes).await;
}

/// Once `run` returns, no process of the step is alive, however it ended.
pub async fn nothing_alive_after_a_run(sandbox: &DynSandbox, probes: &Probes) {
    let limits = probes.limits().with_wall_time(probes.stretch(Duration::from_millis(300)));
    let mut session = open(sandbox, probes, limits).await;
    for arguments in [&["daemon", "double"][..], &["spin-children", "4", "0", "leave"], &["sleep-children"]] {
        let token = Token::new();
        let step = probe(arguments.iter().copied()).with_argument(token.as_str());
        try_run(session.as_mut(), step, Collect::new(Bytes::new())).await.expect("it runs");
        assert_eq!(token.alive(), Vec::<u32>::new(), "{arguments:?} left processes");
    }
    close(session).await;
}

/// Once `close` returns, no process of the session is alive.
pub async fn nothing_alive_after_close(sandbox: &DynSandbox, probes: &Probes) {
    let token = Token::new();
    let mut session = open(sandbox, probes, probes.limits()).await;
    let mut live = Live::new(Stdin::Empty, []);
    let ready = live.ready();
    drop_when_ready(ready, live.run(session.as_mut(), probe(["wait", token.as_str()]))).await;
    close(session).await;
    assert_eq!(token.alive(), Vec::<u32>::new(), "a process outlives its session");
}

/// A new session's work folder has nothing of the last one's.
pub async fn work_folder_is_fresh(sandbox: &DynSandbox, probes: &Probes) {
    for _ in 0..4 {
        let mut session = open(sandbox, probes, probes.limits()).await;
        run(session.as_mut(), &["show", "left"]).await.ended(&Outcome::Exited(3));
        run(session.as_mut(), &["make", "file", "left"]).await.well();
        close(session).await;
    }
}

/// What one session left, in any place that can be written, is not in the next.
pub async fn sessions_share_no_files(sandbox: &DynSandbox, probes: &Probes) {
    for _ in 0..4 {
        let mut session = open(sandbox, probes, probes.limits()).await;
        run(session.as_mut(), &["find", "file"]).await.well();
        run(session.as_mut(), &["leave", "file"]).await.well();
        let result = session.read_file(&path("left"), evalx_core::ByteSize::mib(1)).await;
        result.expect("the file is there for its own session");
        close(session).await;
    }
}

/// Two sessions side by side see nothing of each other's files.
pub async fn neighbours_share_no_files(sandbox: &DynSandbox, probes: &Probes) {
    let first = open(sandbox, probes, probes.limits()).await;
    let held = Held::start(first, probe(["leave", "file", "stay"]), Stdin::Empty).await;
    once(sandbox, probes, probes.limits(), &["find", "file"]).await.well();
    held.release().await;
}

/// A label changes nothing but metrics.
pub async fn labels_are_harmless(sandbox: &DynSandbox, probes: &Probes) {
    for label in ["", "python", "../../etc", "a\nb\"{}", &"x".repeat(10_000)] {
        let spec = SessionSpec::new(probes.limits()).with_label(label);
        let mut session = open_spec(sandbox, probes, spec).await;
        run(session.as_mut(), &["hello"]).await.well();
        close(session).await;
    }
}
