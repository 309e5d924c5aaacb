//! [`FakeSandbox`]: a sandbox in memory that runs a script instead of programs.
//!
//! It starts no process and isolates nothing. A script is given what a program
//! would find (arguments, environment, stdin, files) and says what it would
//! do. What the host must hold (the output limit, cancellation, closing) is
//! held as a true backend holds it, and can be counted and made to fail.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::fmt;
use std::future::{Future, pending};
use std::io::{PipeReader, PipeWriter};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use evalx_core::{
    Amount, Artifact, ArtifactFile, ByteSize, Capabilities, Control, ControlReceiver, Error, ErrorKind,
    FileContents, Isolation, KilledBy, LimitHit, LimitKind, Network, Outcome, OutputStream, Result, Sandbox,
    SandboxPath, Session, SessionSpec, Stdin, Stdio, Step, StepIo, StepReport, StreamSummary, Strength,
    SyscallPolicy,
};
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// What a script is given: a step as its program would find it.
#[derive(Debug)]
#[non_exhaustive]
pub struct FakeStep {
    /// The session's spec.
    pub spec: SessionSpec,
    /// The program's name, as it was asked for.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment, as far as the step set it.
    pub environment: BTreeMap<String, String>,
    /// All of its stdin; empty if that is joined to another step.
    pub stdin: Bytes,
    /// The files in the work folder.
    pub files: BTreeMap<SandboxPath, Bytes>,
    /// The pipes to another step. A script that is given them runs on a thread
    /// of its own and may block.
    pub joined: Option<(PipeReader, PipeWriter)>,
}

impl FakeStep {
    /// The text of a file in the work folder, if it is there.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<String> {
        let path = SandboxPath::new(path).ok()?;
        self.files.get(&path).map(|contents| String::from_utf8_lossy(contents).into_owned())
    }

    /// The program and its arguments, joined by blanks.
    #[must_use]
    pub fn command_line(&self) -> String {
        std::iter::once(&self.program)
            .chain(&self.arguments)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// What a script says that the program did.
#[derive(Debug)]
#[non_exhaustive]
pub struct FakeRun {
    /// The report; the sizes of the streams are filled in.
    pub report: StepReport,
    /// What it wrote to stdout.
    pub stdout: Bytes,
    /// What it wrote to stderr.
    pub stderr: Bytes,
    /// The files it left in the work folder.
    pub files: Vec<(SandboxPath, Bytes)>,
    /// Says that there is no such program.
    absent: bool,
}

impl FakeRun {
    /// A program that ended so.
    #[must_use]
    pub fn new(outcome: Outcome) -> Self {
        Self {
            report: StepReport::new(outcome),
            stdout: Bytes::new(),
            stderr: Bytes::new(),
            files: Vec::new(),
            absent: false,
        }
    }

    /// A program that exited with `code`.
    #[must_use]
    pub fn exited(code: i32) -> Self {
        Self::new(Outcome::Exited(code))
    }

    /// A program that is not there: an error of the request, as on any backend.
    #[must_use]
    pub fn absent() -> Self {
        Self { absent: true, ..Self::exited(127) }
    }

    /// Adds what it wrote to stdout.
    #[must_use]
    pub fn with_stdout(mut self, stdout: impl Into<Bytes>) -> Self {
        self.stdout = stdout.into();
        self
    }

    /// Adds what it wrote to stderr.
    #[must_use]
    pub fn with_stderr(mut self, stderr: impl Into<Bytes>) -> Self {
        self.stderr = stderr.into();
        self
    }

    /// Adds a file that it left in the work folder.
    ///
    /// # Panics
    ///
    /// If `path` is not one in the work folder.
    #[must_use]
    pub fn with_file(mut self, path: &str, contents: impl Into<Bytes>) -> Self {
        let path = SandboxPath::new(path).expect("a script writes into the work folder");
        self.files.push((path, contents.into()));
        self
    }
}

type Running = Pin<Box<dyn Future<Output = FakeRun> + Send>>;

/// A sandbox in memory; clones are the same one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> evalx_core::Result<()> {
/// use evalx_core::{Program, SandboxExt, SessionSpec, Step};
/// use evalx_testkit::{FakeRun, FakeSandbox};
///
/// let sandbox = FakeSandbox::new(|step| match step.program.as_str() {
///     "cat" => FakeRun::exited(0).with_stdout(step.stdin.clone()),
///     "false" => FakeRun::exited(1),
///     _ => FakeRun::absent(),
/// });
/// let cat = Program::new(SessionSpec::default(), Step::new("cat"));
/// assert_eq!(sandbox.execute(cat, "meow").await?.stdout, "meow");
/// assert_eq!(sandbox.open_sessions(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FakeSandbox(Arc<Inner>);

struct Inner {
    script: Box<dyn Fn(FakeStep) -> Running + Send + Sync>,
    counts: watch::Sender<Counts>,
    failures: Mutex<Failures>,
    /// What it says that it does not hold.
    lacks: Mutex<Vec<Isolation>>,
}

/// What was counted so far.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    opened: usize,
    open: usize,
    steps: usize,
    running: usize,
    most_running: usize,
    shut_down: bool,
}

#[derive(Default)]
struct Failures {
    open: VecDeque<Error>,
    run: VecDeque<Error>,
}

impl FakeSandbox {
    /// A sandbox whose steps do at once what `script` says.
    pub fn new(script: impl Fn(&FakeStep) -> FakeRun + Send + Sync + 'static) -> Self {
        let script = Arc::new(script);
        Self::with_script(move |step| {
            let script = Arc::clone(&script);
            async move { script(&step) }
        })
    }

    /// A sandbox whose steps may wait: they run until the script's future is
    /// ready, and are killed by dropping it.
    pub fn with_script<F>(script: impl Fn(FakeStep) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = FakeRun> + Send + 'static,
    {
        Self(Arc::new(Inner {
            script: Box::new(move |step| Box::pin(script(step))),
            counts: watch::Sender::new(Counts::default()),
            failures: Mutex::default(),
            lacks: Mutex::default(),
        }))
    }

    /// Fails one `open` to come with `error`; may be called for several.
    pub fn fail_open(&self, error: Error) {
        self.failures().open.push_back(error);
    }

    /// Fails one `run` to come with `error`; may be called for several.
    pub fn fail_run(&self, error: Error) {
        self.failures().run.push_back(error);
    }

    /// Says from now on that it does not hold this separation, and refuses
    /// sessions that need it.
    pub fn lack(&self, isolation: Isolation) {
        self.0.lacks.lock().unwrap_or_else(PoisonError::into_inner).push(isolation);
    }

    /// How many sessions are open now.
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.0.counts.borrow().open
    }

    /// How many sessions were ever opened.
    #[must_use]
    pub fn opened_sessions(&self) -> usize {
        self.0.counts.borrow().opened
    }

    /// How many steps were ever started.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.0.counts.borrow().steps
    }

    /// How many steps run now.
    #[must_use]
    pub fn running_steps(&self) -> usize {
        self.0.counts.borrow().running
    }

    /// The most steps that ever ran at once.
    #[must_use]
    pub fn most_running_steps(&self) -> usize {
        self.0.counts.borrow().most_running
    }

    /// Waits until `count` steps run at once.
    pub async fn wait_for_running_steps(&self, count: usize) {
        self.wait_until(|counts| counts.running == count).await;
    }

    /// Waits until no session is open.
    pub async fn wait_until_closed(&self) {
        self.wait_until(|counts| counts.open == 0).await;
    }

    async fn wait_until(&self, reached: impl FnMut(&Counts) -> bool) {
        let mut counts = self.0.counts.subscribe();
        counts.wait_for(reached).await.expect("the sender is in `self`");
    }

    fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.0.counts.send_modify(change);
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.0.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FakeSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FakeSandbox").field(&*self.0.counts.borrow()).finish()
    }
}

impl fmt::Display for FakeSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fake")
    }
}

#[async_trait]
impl Sandbox for FakeSandbox {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::new("fake");
        for kind in LimitKind::ALL {
            capabilities = capabilities.with_limit(kind, Strength::Whole, "script");
        }
        let lacks = self.0.lacks.lock().unwrap_or_else(PoisonError::into_inner);
        for kind in Isolation::ALL {
            let strength = if lacks.contains(&kind) { Strength::None } else { Strength::Whole };
            capabilities = capabilities.with_isolation(kind, strength, "nothing is run");
        }
        drop(lacks);
        capabilities.networks = vec![Network::None, Network::Loopback];
        capabilities.syscall_policies = vec![SyscallPolicy::Default, SyscallPolicy::Strict];
        capabilities
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>> {
        if self.0.counts.borrow().shut_down {
            return Err(Error::new(ErrorKind::Unavailable, "the fake sandbox was shut down"));
        }
        if let Some(error) = self.failures().open.pop_front() {
            return Err(error);
        }
        self.capabilities().admit(&spec)?;
        self.count(|counts| {
            counts.opened += 1;
            counts.open += 1;
        });
        Ok(Box::new(FakeSession { sandbox: self.clone(), spec, files: BTreeMap::new() }))
    }

    async fn shutdown(&self) -> Result<()> {
        self.count(|counts| counts.shut_down = true);
        self.wait_until_closed().await;
        Ok(())
    }
}

/// A file of a fake session: what it holds, and whether it may be executed.
type FakeFile = (Bytes, bool);

#[derive(Debug)]
struct FakeSession {
    sandbox: FakeSandbox,
    spec: SessionSpec,
    files: BTreeMap<SandboxPath, FakeFile>,
}

impl Drop for FakeSession {
    fn drop(&mut self) {
        self.sandbox.count(|counts| counts.open -= 1);
    }
}

impl FakeSession {
    /// The files at `path` and below it.
    fn tree(&self, path: &SandboxPath) -> impl Iterator<Item = (Option<SandboxPath>, &FakeFile)> {
        self.files.iter().filter_map(move |(name, file)| {
            let below = name.as_str().strip_prefix(path.as_str())?;
            match below.strip_prefix('/') {
                Some(below) => SandboxPath::new(below).ok().map(|below| (Some(below), file)),
                None => below.is_empty().then_some((None, file)),
            }
        })
    }

    fn place(&mut self, path: SandboxPath, file: FakeFile) -> Result<()> {
        let refuse = |why: String| Err(Error::new(ErrorKind::InvalidRequest, why));
        let mut above = path.parent();
        while let Some(folder) = above {
            if self.files.contains_key(&folder) {
                return refuse(format!("could not write `{path}`: `{folder}` is no folder"));
            }
            above = folder.parent();
        }
        let used: usize =
            self.files.iter().filter(|(name, _)| **name != path).map(|(_, file)| file.0.len()).sum();
        if (used + file.0.len()) as u64 > self.spec.limits.disk.as_u64() {
            return refuse(format!("could not write `{path}`: the disk limit is {}", self.spec.limits.disk));
        }
        self.files.insert(path, file);
        Ok(())
    }

    /// Runs the script against cancellation; `None` if that came first.
    async fn play(&self, step: FakeStep, controls: Option<ControlReceiver>) -> Option<FakeRun> {
        let joined = step.joined.is_some();
        let mut running = (self.sandbox.0.script)(step);
        if joined {
            // The script may block on its pipes.
            let handle = Handle::current();
            let thread = tokio::task::spawn_blocking(move || handle.block_on(running));
            running = Box::pin(async { thread.await.expect("the script does not panic") });
        }
        tokio::select! {
            run = running => Some(run),
            () = cancelled(controls) => None,
        }
    }
}

/// Ready when a `Cancel` comes.
async fn cancelled(controls: Option<ControlReceiver>) {
    let Some(mut controls) = controls else { return pending().await };
    while let Some(control) = controls.recv().await {
        if control == Control::Cancel {
            return;
        }
    }
    pending::<()>().await;
}

/// Counts a step as running for as long as it lives.
struct RunningStep(FakeSandbox);

impl RunningStep {
    fn new(sandbox: &FakeSandbox) -> Self {
        sandbox.count(|counts| {
            counts.steps += 1;
            counts.running += 1;
            counts.most_running = counts.most_running.max(counts.running);
        });
        Self(sandbox.clone())
    }
}

impl Drop for RunningStep {
    fn drop(&mut self) {
        self.0.count(|counts| counts.running -= 1);
    }
}

#[async_trait]
impl Session for FakeSession {
    async fn write_file(&mut self, path: &SandboxPath, contents: FileContents) -> Result<()> {
        self.files.retain(|name, _| {
            let below = name.as_str().strip_prefix(path.as_str());
            !below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
        });
        match contents {
            FileContents::Bytes { contents, executable } => self.place(path.clone(), (contents, executable)),
            FileContents::Artifact(artifact) => artifact.files().iter().try_for_each(|file| {
                self.place(file.placed_at(path)?, (file.contents.clone(), file.executable))
            }),
            other => {
                Err(Error::new(ErrorKind::Unsupported, format!("the fake sandbox can't place {other:?}")))
            }
        }
    }

    async fn run(&mut self, step: Step, io: &mut dyn StepIo) -> Result<StepReport> {
        step.validate()?;
        if let Some(error) = self.sandbox.failures().run.pop_front() {
            return Err(error);
        }
        let _running = RunningStep::new(&self.sandbox);
        let (stdin, joined) = match step.stdio {
            Stdio::Joined { stdin, stdout } => (Bytes::new(), Some((stdin, stdout))),
            _ => (read_all(io.stdin()).await, None),
        };
        let program = text(&step.program);
        let fake = FakeStep {
            spec: self.spec.clone(),
            program: program.clone(),
            arguments: step.arguments.iter().map(|argument| text(argument)).collect(),
            environment: step.environment.iter().map(|(name, value)| (text(name), text(value))).collect(),
            stdin,
            files: self.files.iter().map(|(path, file)| (path.clone(), file.0.clone())).collect(),
            joined,
        };
        let Some(run) = self.play(fake, io.controls()).await else {
            let mut report = StepReport::new(Outcome::Cancelled);
            report.killed_by = Some(KilledBy::Supervisor);
            return Ok(report);
        };
        if run.absent {
            return Err(Error::new(ErrorKind::InvalidRequest, format!("there is no program `{program}`")));
        }
        let mut report = run.report;
        let limit = self.spec.limits.output;
        report.stdout = hand_over(OutputStream::Stdout, &run.stdout, limit, io).await;
        report.stderr = hand_over(OutputStream::Stderr, &run.stderr, limit, io).await;
        if report.stdout.truncated || report.stderr.truncated {
            report.outcome = Outcome::OutputLimit;
            let measured = ByteSize::bytes(report.stdout.bytes.max(report.stderr.bytes));
            report.limit =
                Some(LimitHit::new(LimitKind::Output, Amount::Size(limit), Amount::Size(measured)));
            report.killed_by = Some(KilledBy::Supervisor);
        }
        for (path, contents) in run.files {
            self.place(path, (contents, true))?;
        }
        Ok(report)
    }

    async fn read_file(&mut self, path: &SandboxPath, max: ByteSize) -> Result<Bytes> {
        let refuse =
            |why: &str| Err(Error::new(ErrorKind::InvalidRequest, format!("could not read `{path}`: {why}")));
        match self.files.get(path) {
            None => refuse("there is no such file"),
            Some((contents, _)) if contents.len() > max.as_usize() => refuse("it is too large"),
            Some((contents, _)) => Ok(contents.clone()),
        }
    }

    async fn keep(&mut self, path: &SandboxPath) -> Result<Artifact> {
        let files: Vec<_> =
            self.tree(path).map(|(below, file)| ArtifactFile::new(below, file.0.clone(), file.1)).collect();
        if files.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("there is nothing at `{path}` to keep"),
            ));
        }
        Ok(Artifact::new(files))
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

fn text(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
}

async fn read_all(stdin: Stdin) -> Bytes {
    match stdin {
        Stdin::Bytes(bytes) => bytes,
        Stdin::Stream(mut reader) => {
            let mut all = Vec::new();
            // A broken reader is the end of stdin, as a broken pipe would be.
            let _ = reader.read_to_end(&mut all).await;
            all.into()
        }
        _ => Bytes::new(),
    }
}

/// Hands over as much as the limit allows.
async fn hand_over(
    stream: OutputStream,
    output: &Bytes,
    limit: ByteSize,
    io: &mut dyn StepIo,
) -> StreamSummary {
    let kept = &output[..output.len().min(limit.as_usize())];
    if !kept.is_empty() {
        io.output(stream, kept).await;
    }
    StreamSummary::new(output.len() as u64, kept.len() < output.len())
}
