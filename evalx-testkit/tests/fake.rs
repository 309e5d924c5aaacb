//! The fake sandbox holds what a true one holds, as far as hosts can see.

use std::time::Duration;

use evalx_core::{
    Artifact, ArtifactFile, ByteSize, Collect, Control, Error, ErrorKind, FileContents, KilledBy, Limits,
    Outcome, Sandbox, SandboxPath, Session, SessionSpec, Stdin, Step, controls,
};
use evalx_testkit::{FakeRun, FakeSandbox};

fn path(path: &str) -> SandboxPath {
    path.parse().expect("a path in the work folder")
}

async fn session(sandbox: &FakeSandbox, limits: Limits) -> Box<dyn Session> {
    sandbox.open(SessionSpec::new(limits)).await.expect("the fake sandbox opens")
}

#[tokio::test]
async fn files_are_placed_read_kept_and_replaced() {
    let sandbox =
        FakeSandbox::new(|step| FakeRun::exited(0).with_file("out/b", step.file("in/a").unwrap_or_default()));
    let mut session = session(&sandbox, Limits::default()).await;
    session.write_file(&path("in/a"), FileContents::data("text")).await.unwrap();
    session.run(Step::new("cp"), &mut Collect::default()).await.unwrap();
    assert_eq!(session.read_file(&path("out/b"), ByteSize::bytes(4)).await.unwrap(), "text");
    for (name, max) in [("out/b", 3), ("out", 9), ("absent", 9)] {
        let error = session.read_file(&path(name), ByteSize::bytes(max)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{name}");
    }

    let kept = session.keep(&path("out")).await.unwrap();
    assert_eq!(kept.files(), [ArtifactFile::new(Some(path("b")), "text".into(), true)]);
    assert!(session.keep(&path("ou")).await.is_err());
    session.write_file(&path("in"), kept.into()).await.unwrap();
    assert!(session.read_file(&path("in/a"), ByteSize::MAX).await.is_err(), "the folder was replaced");
    assert_eq!(session.read_file(&path("in/b"), ByteSize::MAX).await.unwrap(), "text");
    session.write_file(&path("f"), Artifact::executable("elf").into()).await.unwrap();
    assert!(session.write_file(&path("f/g"), FileContents::data("")).await.is_err(), "a file is no folder");
    session.close().await.unwrap();
    assert_eq!(sandbox.open_sessions(), 0);
}

#[tokio::test]
async fn limits_are_held() {
    let sandbox = FakeSandbox::new(|_| FakeRun::exited(0).with_stdout("0123456789"));
    let limits = Limits::default().with_output(ByteSize::bytes(9)).with_disk(ByteSize::kib(64));
    let mut session = session(&sandbox, limits).await;
    let mut io = Collect::default();
    let report = session.run(Step::new("yes"), &mut io).await.unwrap();
    assert_eq!(report.outcome, Outcome::OutputLimit);
    assert_eq!((report.stdout.bytes, report.stdout.truncated), (10, true));
    assert_eq!(io.into_output().0, "012345678");

    let large = FileContents::data(vec![0; 64 << 10]);
    session.write_file(&path("a"), large.clone()).await.unwrap();
    session.write_file(&path("a"), large.clone()).await.unwrap();
    assert_eq!(session.write_file(&path("b"), large).await.unwrap_err().kind(), ErrorKind::InvalidRequest);

    let spec = SessionSpec::new(Limits::default().with_wall_time(Duration::ZERO));
    assert_eq!(sandbox.open(spec).await.unwrap_err().kind(), ErrorKind::InvalidRequest);
}

#[tokio::test]
async fn stdin_may_be_a_stream_and_a_step_may_be_cancelled() {
    let sandbox = FakeSandbox::with_script(|step| async move {
        if step.program == "sleep" {
            std::future::pending::<()>().await;
        }
        FakeRun::exited(0).with_stdout(step.stdin)
    });
    let mut session = session(&sandbox, Limits::default()).await;
    let mut io = Collect::from_stdin(Stdin::Stream(Box::new(&b"streamed"[..])));
    session.run(Step::new("cat"), &mut io).await.unwrap();
    assert_eq!(io.into_output().0, "streamed");

    let (sender, receiver) = controls();
    let mut io = Collect::default().with_controls(receiver);
    let run = session.run(Step::new("sleep"), &mut io);
    let (report, sent) = tokio::join!(run, sender.send(Control::Cancel));
    let report = report.unwrap();
    assert!(sent);
    assert_eq!((report.outcome, report.killed_by), (Outcome::Cancelled, Some(KilledBy::Supervisor)));
    assert_eq!(sandbox.running_steps(), 0);
}

#[tokio::test]
async fn failures_are_injected_and_counted() {
    let sandbox =
        FakeSandbox::new(|step| if step.program == "ls" { FakeRun::exited(0) } else { FakeRun::absent() });
    sandbox.fail_open(Error::new(ErrorKind::Busy, "full"));
    assert_eq!(sandbox.open(SessionSpec::default()).await.unwrap_err().kind(), ErrorKind::Busy);
    let mut session = session(&sandbox, Limits::default()).await;
    sandbox.fail_run(Error::new(ErrorKind::Unavailable, "broken"));
    let mut run = async |program: &str| session.run(Step::new(program), &mut Collect::default()).await;
    assert_eq!(run("ls").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(run("klingon").await.unwrap_err().kind(), ErrorKind::InvalidRequest);
    assert!(run("ls").await.unwrap().outcome.is_success());
    drop(session);
    assert_eq!((sandbox.opened_sessions(), sandbox.open_sessions(), sandbox.steps()), (1, 0, 2));
    sandbox.shutdown().await.unwrap();
    assert_eq!(sandbox.open(SessionSpec::default()).await.unwrap_err().kind(), ErrorKind::Unavailable);
}
