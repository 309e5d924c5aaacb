//! What cases are written with: open a session, run the probe in it, look at what came of it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evalx_core::{
    Amount, ByteSize, Collect, Control, ControlReceiver, ControlSender, DynSandbox, Error, ErrorKind,
    FileContents, LimitKind, Limits, Outcome, OutputStream, Result, SandboxPath, Session, SessionSpec, Stdin,
    Step, StepIo, StepReport, controls,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::Probes;

/// A step that ended: its report and all of its output.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ran {
    /// What the backend reports.
    pub report: StepReport,
    /// What came on stdout.
    pub stdout: Bytes,
    /// What came on stderr.
    pub stderr: Bytes,
}

impl Ran {
    /// Stdout as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Panics unless the outcome is this.
    #[track_caller]
    pub(crate) fn ended(&self, outcome: &Outcome) -> &Self {
        assert_eq!(&self.report.outcome, outcome, "{}", self.story());
        self
    }

    /// Panics unless the program exited with 0.
    #[track_caller]
    pub(crate) fn well(&self) -> &Self {
        self.ended(&Outcome::Exited(0))
    }

    /// Panics unless the report blames this limit.
    #[track_caller]
    pub(crate) fn blames(&self, kind: LimitKind, limit: Amount) -> &Self {
        let hit = self.report.limit.unwrap_or_else(|| panic!("no limit is blamed: {}", self.story()));
        assert_eq!((hit.kind, hit.limit), (kind, limit), "{}", self.story());
        self
    }

    /// The start of both streams and the whole report.
    pub(crate) fn story(&self) -> String {
        let start = |bytes: &Bytes| String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned();
        format!("{:?}\nstdout: {:?}\nstderr: {:?}", self.report, start(&self.stdout), start(&self.stderr))
    }
}

/// A path that is known to be one.
pub(crate) fn path(path: &str) -> SandboxPath {
    SandboxPath::new(path).expect("the path of a case is a path")
}

/// `./probe` with these arguments.
pub(crate) fn probe<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Step {
    Step::new("./probe").with_arguments(arguments)
}

/// A session with the probe in its work folder.
pub(crate) async fn open_spec(sandbox: &DynSandbox, probes: &Probes, spec: SessionSpec) -> Box<dyn Session> {
    let mut session = sandbox.open(spec).await.unwrap_or_else(|error| panic!("open: {}", error.chain()));
    let contents = FileContents::executable(probes.program());
    session
        .write_file(&path("probe"), contents)
        .await
        .unwrap_or_else(|error| panic!("placing the probe: {}", error.chain()));
    session
}

/// A session of these limits with the probe in its work folder.
pub(crate) async fn open(sandbox: &DynSandbox, probes: &Probes, limits: Limits) -> Box<dyn Session> {
    open_spec(sandbox, probes, SessionSpec::new(limits)).await
}

/// Runs a step that may be refused.
pub(crate) async fn try_run(session: &mut dyn Session, step: Step, mut io: Collect) -> Result<Ran> {
    let report = session.run(step, &mut io).await?;
    let (stdout, stderr) = io.into_output();
    Ok(Ran { report, stdout, stderr })
}

/// Runs a step with this stdin.
pub(crate) async fn run_with(session: &mut dyn Session, step: Step, stdin: impl Into<Bytes>) -> Ran {
    try_run(session, step, Collect::new(stdin)).await.unwrap_or_else(|error| panic!("run: {}", error.chain()))
}

/// Runs the probe with these arguments and no stdin.
pub(crate) async fn run(session: &mut dyn Session, arguments: &[&str]) -> Ran {
    run_with(session, probe(arguments.iter().copied()), Bytes::new()).await
}

/// Closes a session, which must go well.
pub(crate) async fn close(session: Box<dyn Session>) {
    session.close().await.unwrap_or_else(|error| panic!("close: {}", error.chain()));
}

/// Runs the probe once in a session of its own.
pub(crate) async fn once(sandbox: &DynSandbox, probes: &Probes, limits: Limits, arguments: &[&str]) -> Ran {
    let mut session = open(sandbox, probes, limits).await;
    let ran = run(session.as_mut(), arguments).await;
    close(session).await;
    ran
}

/// Panics unless this was refused with that kind of error.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, what: &str) -> Error {
    match result {
        Err(error) => {
            assert_eq!(error.kind(), kind, "{what}: {}", error.chain());
            error
        }
        Ok(value) => panic!("{what} was accepted: {value:?}"),
    }
}

/// The sandbox still runs a plain program.
pub(crate) async fn still_works(sandbox: &DynSandbox, probes: &Probes) {
    let ran = once(sandbox, probes, probes.limits(), &["hello"]).await;
    assert_eq!(ran.well().text(), "hello\n", "{}", ran.story());
}

/// Keeps the output, and does things once the program has said `ready`.
pub(crate) struct Live {
    stdin: Option<Stdin>,
    receiver: Option<ControlReceiver>,
    sender: ControlSender,
    then: Vec<Control>,
    ready: Option<oneshot::Sender<()>>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Live {
    /// Feeds this stdin, and sends these controls at `ready`.
    pub(crate) fn new(stdin: Stdin, then: impl Into<Vec<Control>>) -> Self {
        let (sender, receiver) = controls();
        let then = then.into();
        Self {
            stdin: Some(stdin),
            receiver: Some(receiver),
            sender,
            then,
            ready: None,
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }

    /// A future of the moment of `ready`; an error if the step ends before.
    pub(crate) fn ready(&mut self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.ready = Some(sender);
        receiver
    }

    /// Sends controls from elsewhere.
    pub(crate) fn sender(&self) -> ControlSender {
        self.sender.clone()
    }

    /// Runs a step with it.
    pub(crate) async fn run(mut self, session: &mut dyn Session, step: Step) -> Ran {
        let report =
            session.run(step, &mut self).await.unwrap_or_else(|error| panic!("run: {}", error.chain()));
        Ran { report, stdout: self.stdout.into(), stderr: self.stderr.into() }
    }
}

#[async_trait]
impl StepIo for Live {
    fn stdin(&mut self) -> Stdin {
        self.stdin.take().unwrap_or(Stdin::Empty)
    }

    fn controls(&mut self) -> Option<ControlReceiver> {
        self.receiver.take()
    }

    async fn output(&mut self, stream: OutputStream, piece: &[u8]) {
        match stream {
            OutputStream::Stdout => self.stdout.extend_from_slice(piece),
            OutputStream::Stderr => self.stderr.extend_from_slice(piece),
        }
        if self.stdout.windows(5).any(|window| window == b"ready") {
            for control in self.then.drain(..) {
                self.sender.send(control).await;
            }
            if let Some(ready) = self.ready.take() {
                // Nobody waits for it if the case has failed meanwhile.
                let _ = ready.send(());
            }
        }
    }
}

/// A session whose step runs on while the case does something else.
#[derive(Debug)]
pub(crate) struct Held {
    task: JoinHandle<(Box<dyn Session>, Ran)>,
    sender: ControlSender,
}

impl Held {
    /// Starts the step and returns once it has said `ready`.
    pub(crate) async fn start(mut session: Box<dyn Session>, step: Step, stdin: Stdin) -> Self {
        let mut live = Live::new(stdin, []);
        let (ready, sender) = (live.ready(), live.sender());
        let task = tokio::spawn(async move {
            let ran = live.run(session.as_mut(), step).await;
            (session, ran)
        });
        if ready.await.is_err() {
            let (_, ran) = task.await.expect("the step's task does not panic");
            panic!("the step ended before it was ready: {}", ran.story());
        }
        Self { task, sender }
    }

    /// Cancels the step, and closes its session.
    pub(crate) async fn release(self) -> Ran {
        self.sender.send(Control::Cancel).await;
        self.finish().await
    }

    /// Leaves the step to itself; for a sandbox that was shut down.
    pub(crate) fn abandon(self) {
        self.task.abort();
    }

    /// Waits for the step's own end, and closes its session.
    pub(crate) async fn finish(self) -> Ran {
        let (session, ran) = self.task.await.expect("the step's task does not panic");
        close(session).await;
        ran
    }
}

/// Waits until `state` holds, for at most `most`; whether it did.
pub(crate) async fn eventually(most: Duration, mut state: impl FnMut() -> bool + Send) -> bool {
    let deadline = tokio::time::Instant::now() + most;
    while !state() {
        if tokio::time::Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    true
}

/// A size as an amount.
pub(crate) const fn size(size: ByteSize) -> Amount {
    Amount::Size(size)
}
