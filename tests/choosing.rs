//! `Backends`: which backend a choice takes, and what happens when it breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use evalx::{Backends, Choice, DynSandbox, Error, ErrorKind, Isolation, Result, Sandbox, SessionSpec};
use evalx_testkit::{FakeRun, FakeSandbox};

/// A fake backend that may be absent, and counts how often it was started.
#[derive(Clone)]
struct Machine {
    sandbox: FakeSandbox,
    absent: Arc<AtomicBool>,
    starts: Arc<AtomicUsize>,
}

impl Machine {
    fn new() -> Self {
        let sandbox = FakeSandbox::new(|_| FakeRun::exited(0));
        Self { sandbox, absent: Arc::default(), starts: Arc::default() }
    }

    fn absent() -> Self {
        let machine = Self::new();
        machine.absent.store(true, Ordering::SeqCst);
        machine
    }

    fn starts(&self) -> usize {
        self.starts.load(Ordering::SeqCst)
    }

    fn start(&self) -> Result<DynSandbox> {
        self.starts.fetch_add(1, Ordering::SeqCst);
        if self.absent.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unsupported, "it is not here").with_help("install it"));
        }
        Ok(Arc::new(self.sandbox.clone()))
    }
}

fn backends<const N: usize>(machines: [(&str, &Machine); N]) -> Backends {
    machines.into_iter().fold(Backends::none(), |backends, (name, machine)| {
        let machine = machine.clone();
        backends.with(name, move || {
            let started = machine.start();
            async move { started }
        })
    })
}

fn choice(text: &str) -> Choice {
    text.parse().expect("it is a choice")
}

async fn open(sandbox: &DynSandbox) {
    sandbox
        .open(SessionSpec::default())
        .await
        .expect("a session is opened")
        .close()
        .await
        .expect("it is closed");
}

fn broken() -> Error {
    Error::new(ErrorKind::Unavailable, "the daemon is gone")
}

#[tokio::test]
async fn the_first_that_is_fit_is_taken_and_no_other_is_started() {
    let (first, second, third) = (Machine::absent(), Machine::new(), Machine::new());
    let backends = backends([("first", &first), ("second", &second), ("third", &third)]);
    let sandbox = backends.choose(&Choice::Auto).await.expect("one is fit");
    open(&sandbox).await;
    assert_eq!((first.starts(), second.starts(), third.starts()), (1, 1, 0));
    assert_eq!(sandbox.capabilities(), second.sandbox.capabilities());
    sandbox.shutdown().await.expect("it shuts down");
}

#[tokio::test]
async fn names_are_taken_in_their_own_order() {
    let (first, second) = (Machine::new(), Machine::new());
    let backends = backends([("first", &first), ("second", &second)]);
    backends.choose(&choice("second,first")).await.expect("it is fit");
    assert_eq!((first.starts(), second.starts()), (0, 1));
}

#[tokio::test]
async fn one_that_was_named_alone_has_nothing_to_fall_back_on() {
    let (first, second) = (Machine::absent(), Machine::new());
    let backends = backends([("first", &first), ("second", &second)]);
    let error = backends.choose(&Choice::only("first")).await.unwrap_err();
    assert_eq!((error.kind(), error.help()), (ErrorKind::Unsupported, Some("install it")));
    assert_eq!(second.starts(), 0);
}

#[tokio::test]
async fn what_nobody_has_is_refused_by_name() {
    let first = Machine::new();
    let backends = backends([("first", &first)]);
    let error = backends.choose(&choice("first,nonsense")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(error.to_string().contains("`nonsense`") && error.to_string().contains("auto, first"), "{error}");
    let error = backends.choose(&choice("docker")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    // In a list it is passed over: another build may have it.
    backends.choose(&choice("docker,first")).await.expect("the other is fit");
}

#[tokio::test]
async fn if_none_is_fit_the_error_says_why_of_each() {
    let (first, second) = (Machine::absent(), Machine::new());
    second.sandbox.fail_open(broken());
    let backends = backends([("first", &first), ("docker", &Machine::absent())]);
    let error = backends.choose(&Choice::Auto).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("first: it is not here; docker: it is not here"), "{error}");
    assert!(error.help().is_some_and(|help| help.contains("evalx doctor")));
    assert!(Backends::none().choose(&Choice::Auto).await.is_err());
}

#[tokio::test]
async fn none_that_holds_less_than_is_promised_is_taken_unless_it_is_named() {
    let (weak, sound) = (Machine::new(), Machine::new());
    weak.sandbox.lack(Isolation::Syscalls);
    let both = backends([("weak", &weak), ("sound", &sound)]);
    let sandbox = both.choose(&Choice::Auto).await.expect("one is fit");
    open(&sandbox).await;
    assert_eq!((weak.sandbox.opened_sessions(), sound.sandbox.opened_sessions()), (0, 1));

    let weak = Machine::new();
    weak.sandbox.lack(Isolation::Syscalls);
    let error = backends([("weak", &weak)]).choose(&Choice::Auto).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let (weak, absent) = (Machine::new(), Machine::absent());
    weak.sandbox.lack(Isolation::Syscalls);
    let both = backends([("weak", &weak), ("absent", &absent)]);
    let error = both.choose(&Choice::Auto).await.unwrap_err();
    assert!(error.to_string().contains("`syscalls`"), "{error}");
    assert!(error.help().is_some_and(|help| help.contains("EVALX_SANDBOX")), "{error:?}");
    // Named, it is taken; and is asked of each session whether that is enough.
    let weak = Machine::new();
    weak.sandbox.lack(Isolation::Inodes);
    let named = backends([("weak", &weak)]).choose(&choice("weak")).await.expect("it is fit");
    open(&named).await;
    let strict = SessionSpec::default().with_required(Isolation::Inodes);
    assert_eq!(named.open(strict).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test(start_paused = true)]
async fn no_session_is_moved_to_a_backend_that_does_not_hold_what_it_requires() {
    let (first, second) = (Machine::new(), Machine::new());
    second.sandbox.lack(Isolation::Uid);
    let sandbox =
        backends([("first", &first), ("second", &second)]).choose(&Choice::Auto).await.expect("one is fit");
    first.sandbox.fail_open(broken());
    let error = sandbox.open(SessionSpec::default().with_required(Isolation::Uid)).await.unwrap_err();
    assert_eq!(error.to_string(), broken().to_string());
    open(&sandbox).await;
    assert_eq!((first.sandbox.opened_sessions(), second.sandbox.opened_sessions()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn one_that_breaks_trips_over_to_the_next_and_is_tried_again_later() {
    let (first, second) = (Machine::new(), Machine::new());
    let backends =
        backends([("first", &first), ("second", &second)]).with_retry_after(Duration::from_secs(30));
    let sandbox = backends.choose(&Choice::Auto).await.expect("one is fit");
    open(&sandbox).await;
    assert_eq!(second.starts(), 0);

    first.sandbox.fail_open(broken());
    let session = sandbox.open(SessionSpec::default()).await.expect("the next takes over");
    assert_eq!((second.starts(), second.sandbox.open_sessions()), (1, 1));
    session.close().await.expect("it is closed");

    // Left alone for a while: it could work, but is not asked.
    let session = sandbox.open(SessionSpec::default()).await.expect("a session is opened");
    assert_eq!((first.sandbox.open_sessions(), second.sandbox.open_sessions()), (0, 1));
    session.close().await.expect("it is closed");

    tokio::time::advance(Duration::from_secs(31)).await;
    let session = sandbox.open(SessionSpec::default()).await.expect("a session is opened");
    assert_eq!((first.sandbox.open_sessions(), second.sandbox.open_sessions()), (1, 0));
    session.close().await.expect("it is closed");
    assert_eq!((first.starts(), second.starts()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn one_that_was_not_there_at_the_start_is_tried_again_when_the_rest_is_broken() {
    let (first, second) = (Machine::absent(), Machine::new());
    let backends =
        backends([("first", &first), ("second", &second)]).with_retry_after(Duration::from_secs(30));
    let sandbox = backends.choose(&Choice::Auto).await.expect("one is fit");
    second.sandbox.fail_open(broken());
    first.absent.store(false, Ordering::SeqCst);
    let session = sandbox.open(SessionSpec::default()).await.expect("it has come meanwhile");
    assert_eq!((first.sandbox.open_sessions(), second.sandbox.open_sessions()), (1, 0));
    session.close().await.expect("it is closed");
    sandbox.shutdown().await.expect("both shut down");
    assert!(sandbox.open(SessionSpec::default()).await.is_err());
}
