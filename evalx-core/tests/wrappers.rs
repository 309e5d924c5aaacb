//! `Limited`, `Fallback` and `Toolchains` around a scripted sandbox.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use evalx_core::{
    Error, ErrorKind, Evaluator, Fallback, Isolation, Languages, Limited, Limits, Program, Sandbox,
    SandboxExt, SessionSpec, Step, Submission, Toolchain, Toolchains, Verdict,
};
use evalx_testkit::{FakeRun, FakeSandbox};
use tokio::sync::Semaphore;

fn sound() -> FakeSandbox {
    FakeSandbox::new(|_| FakeRun::exited(0))
}

fn program() -> Program {
    Program::new(SessionSpec::default(), Step::new("true"))
}

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "the daemon is gone").with_help("start it")
}

#[tokio::test]
async fn a_permit_is_for_a_running_step_and_not_for_a_session() {
    let gate = Arc::new(Semaphore::new(0));
    let fake = FakeSandbox::with_script({
        let gate = Arc::clone(&gate);
        move |_| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                FakeRun::exited(0)
            }
        }
    });
    let sandbox = Arc::new(Limited::new(fake.clone(), NonZeroUsize::new(2).unwrap()));
    let mut idle = Vec::new();
    for _ in 0..5 {
        idle.push(sandbox.open(SessionSpec::default()).await.unwrap());
    }
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let sandbox = Arc::clone(&sandbox);
            tokio::spawn(async move { sandbox.execute(program(), "").await })
        })
        .collect();
    fake.wait_for_running_steps(2).await;
    // One of those that run or wait is dropped: its permit must come back.
    tasks[0].abort();
    gate.add_permits(6);
    for task in tasks.into_iter().skip(1) {
        task.await.unwrap().unwrap();
    }
    assert_eq!(fake.most_running_steps(), 2);
    assert_eq!(sandbox.capabilities(), fake.capabilities());
}

#[tokio::test(start_paused = true)]
async fn a_broken_sandbox_is_set_aside_for_a_while() {
    let (first, second) = (sound(), sound());
    let sandbox = Fallback::new([Arc::new(first.clone()) as _, Arc::new(second.clone()) as _])
        .with_retry_after(Duration::from_secs(30));
    assert_eq!(sandbox.to_string(), "fake, else fake");
    let opened = || (first.opened_sessions(), second.opened_sessions());

    sandbox.execute(program(), "").await.unwrap();
    assert_eq!(opened(), (1, 0));
    first.fail_open(unavailable());
    sandbox.execute(program(), "").await.unwrap();
    sandbox.execute(program(), "").await.unwrap();
    assert_eq!(opened(), (1, 2), "not tried while aside");
    tokio::time::advance(Duration::from_secs(31)).await;
    sandbox.execute(program(), "").await.unwrap();
    assert_eq!(opened(), (2, 2), "tried again");
}

#[tokio::test(start_paused = true)]
async fn what_is_passed_over_is_not_set_aside() {
    let (first, second) = (sound(), sound());
    let sandbox = Fallback::new([Arc::new(first.clone()) as _, Arc::new(second.clone()) as _]);
    for kind in [ErrorKind::Busy, ErrorKind::Unsupported] {
        first.fail_open(Error::new(kind, "not this one"));
        sandbox.execute(program(), "").await.unwrap();
    }
    sandbox.execute(program(), "").await.unwrap();
    assert_eq!((first.opened_sessions(), second.opened_sessions()), (1, 2));

    let spec = SessionSpec::new(Limits::default().with_processes(0));
    assert_eq!(sandbox.open(spec).await.unwrap_err().kind(), ErrorKind::InvalidRequest);
    assert_eq!(second.opened_sessions(), 2, "no other would do better");
}

#[tokio::test(start_paused = true)]
async fn no_session_is_moved_to_where_less_is_held_than_it_needs() {
    let (first, second) = (sound(), sound());
    second.lack(Isolation::Inodes);
    let sandbox = Fallback::new([Arc::new(first.clone()) as _, Arc::new(second.clone()) as _]);
    let strict = || SessionSpec::default().with_required(Isolation::Inodes);

    first.fail_open(unavailable());
    let error = sandbox.open(strict()).await.unwrap_err();
    assert_eq!(error.to_string(), unavailable().to_string(), "the first is the one that was wanted");
    assert_eq!(second.opened_sessions(), 0);
    // Who does not depend on it is moved.
    sandbox.execute(program(), "").await.unwrap();
    assert_eq!(second.opened_sessions(), 1);

    // What every session is promised need not be asked for.
    second.lack(Isolation::Syscalls);
    assert_eq!(second.open(SessionSpec::default()).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(sandbox.open(SessionSpec::default()).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(second.opened_sessions(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_evaluator_requires_of_every_session_what_its_host_depends_on() {
    for lacks in [None, Some(Isolation::Uid)] {
        let fake = FakeSandbox::new(|_| FakeRun::exited(0).with_file("main", "program"));
        lacks.into_iter().for_each(|kind| fake.lack(kind));
        let evaluator = Evaluator::new(fake.clone()).with_required(Isolation::Uid);
        let compiled = evaluator.evaluate(Submission::new("c", "")).await;
        let interpreted = evaluator.evaluate(Submission::new("bash", "")).await.unwrap();
        if lacks.is_some() {
            assert_eq!(compiled.unwrap_err().kind(), ErrorKind::Unsupported);
            assert_eq!(interpreted.verdict, Verdict::InternalError);
            assert_eq!(fake.opened_sessions(), 0);
        } else {
            assert_eq!(
                (compiled.unwrap().verdict, interpreted.verdict),
                (Verdict::Accepted, Verdict::Accepted)
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn if_all_are_broken_the_first_error_is_told_and_all_are_tried_again() {
    let (first, second) = (sound(), sound());
    let sandbox = Fallback::new([Arc::new(first.clone()) as _, Arc::new(second.clone()) as _]);
    first.fail_open(unavailable());
    second.fail_open(Error::new(ErrorKind::Unavailable, "another reason"));
    let error = sandbox.open(SessionSpec::default()).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.help()), ("the daemon is gone", Some("start it")));
    sandbox.execute(program(), "").await.unwrap();
    assert_eq!(first.opened_sessions(), 1);

    let empty = Fallback::new([]);
    assert_eq!(empty.open(SessionSpec::default()).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(empty.check().await.is_err());
    sandbox.check().await.unwrap();
    sandbox.shutdown().await.unwrap();
    assert!(
        first.open(SessionSpec::default()).await.is_err()
            && second.open(SessionSpec::default()).await.is_err()
    );
}

#[tokio::test]
async fn toolchains_are_found_or_named() {
    let fake = FakeSandbox::new(|step| match step.program.as_str() {
        "sh" if step.arguments.first().is_some_and(|argument| argument == "-c") => {
            let absent = step.arguments.iter().filter(|name| ["ghc", "node"].contains(&name.as_str()));
            FakeRun::exited(0).with_stdout(absent.map(|name| format!("{name}\n")).collect::<String>())
        }
        "gcc" => FakeRun::exited(0).with_stdout("gcc (Debian 12.2.0-14) 12.2.0\n"),
        "java" => FakeRun::exited(0).with_stderr("openjdk version \"17.0.15\" 2025-04-15\n"),
        "tclsh" => FakeRun::exited(0).with_stdout(if step.stdin.is_empty() { "" } else { "8.6.13\n" }),
        "perl" => FakeRun::absent(),
        "ruby" => FakeRun::exited(1),
        _ => FakeRun::exited(0).with_stdout("1.0"),
    });
    let found = Toolchains::probe(Arc::new(fake.clone()), &Languages::builtin()).await.unwrap();
    assert_eq!(found.iter().count(), Languages::builtin().len());
    let version = |id| found.get(id).and_then(Toolchain::version);
    assert_eq!(version("c"), Some("12.2.0"));
    assert_eq!(version("java"), Some("17.0.15"));
    assert_eq!(version("tcl"), Some("8.6.13"));
    for (id, part) in
        [("haskell", "ghc"), ("typescript", "node"), ("perl", "perl"), ("ruby", "exited with 1")]
    {
        let Some(Toolchain::Absent { reason, install }) = found.get(id) else { panic!("{id} is there") };
        assert!(
            reason.contains(part) && install.starts_with("apt-get install "),
            "{id}: {reason}; {install}"
        );
    }
    assert!(fake.most_running_steps() <= 4);
    assert_eq!(fake.open_sessions(), 0);

    // Only looked for, what fails when it is started counts as there.
    let seen = Toolchains::find(Arc::new(fake.clone()), &Languages::builtin()).await.unwrap();
    assert_eq!(seen.iter().count(), found.iter().count());
    assert!(matches!(seen.get("haskell"), Some(Toolchain::Absent { .. })));
    assert!(matches!(seen.get("ruby"), Some(Toolchain::Available { .. })));
    assert_eq!(seen.get("c").and_then(Toolchain::version), None);
    let updated = seen.updated(found);
    assert_eq!(updated.get("c").and_then(Toolchain::version), Some("12.2.0"));
    assert!(matches!(updated.get("ruby"), Some(Toolchain::Absent { .. })));

    fake.fail_open(unavailable());
    assert!(Toolchains::probe(Arc::new(fake), &Languages::builtin()).await.unwrap_err().is_retryable());
}
