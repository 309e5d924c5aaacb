//! [`WeakSandbox`]: a plain child process in a temporary folder. It isolates
//! nothing, and is here to show that the suites notice.

use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio as ChildStdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use evalx_core::{
    Amount, Artifact, ArtifactFile, ByteSize, Capabilities, Control, Error, ErrorKind, FileContents,
    Isolation, KilledBy, LimitHit, LimitKind, Limits, Network, Outcome, OutputStream, ProgramEnd, Result,
    Sandbox, SandboxPath, Session, SessionSpec, Signal, Stdin, Stdio, Step, StepIo, StepReport,
    StreamSummary, Strength, SyscallPolicy,
};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// A sandbox that claims everything and holds next to nothing.
#[derive(Debug, Default)]
pub(crate) struct WeakSandbox {
    closed: AtomicBool,
    /// One folder for all sessions, where a lie asks for it.
    shared: Option<Arc<TempDir>>,
}

#[derive(Debug)]
struct WeakSession {
    folder: Arc<TempDir>,
    limits: Limits,
}

fn refuse<T>(why: impl fmt::Display) -> Result<T> {
    Err(Error::new(ErrorKind::InvalidRequest, why.to_string()))
}

impl WeakSandbox {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with_one_folder_for_all(mut self) -> Self {
        self.shared = Some(Arc::new(tempfile::tempdir().unwrap()));
        self
    }
}

impl fmt::Display for WeakSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("weak")
    }
}

#[async_trait]
impl Sandbox for WeakSandbox {
    fn capabilities(&self) -> Capabilities {
        let mut claims = Capabilities::new("weak");
        for kind in LimitKind::ALL {
            claims = claims.with_limit(kind, Strength::Whole, "nothing at all");
        }
        for kind in Isolation::PROMISED {
            claims = claims.with_isolation(kind, Strength::Whole, "nothing at all");
        }
        claims.networks.push(Network::None);
        claims.syscall_policies.push(SyscallPolicy::Default);
        claims
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn open(&self, spec: SessionSpec) -> Result<Box<dyn Session>> {
        self.capabilities().admit(&spec)?;
        if self.closed.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unavailable, "weak is shut down"));
        }
        let folder = self.shared.clone().unwrap_or_else(|| Arc::new(tempfile::tempdir().unwrap()));
        Ok(Box::new(WeakSession { folder, limits: spec.limits }))
    }

    async fn shutdown(&self) -> Result<()> {
        self.closed.store(true, Ordering::Relaxed);
        Ok(())
    }
}

#[async_trait]
impl Session for WeakSession {
    async fn write_file(&mut self, path: &SandboxPath, contents: FileContents) -> Result<()> {
        let place = self.folder.path().join(path.as_str());
        match contents {
            FileContents::Bytes { contents, executable } => write(&place, &contents, executable),
            FileContents::Artifact(artifact) => {
                for file in artifact.files() {
                    let place = file.path.as_ref().map_or(place.clone(), |below| place.join(below.as_str()));
                    write(&place, &file.contents, file.executable);
                }
            }
            _ => return refuse("no such contents"),
        }
        Ok(())
    }

    async fn run(&mut self, step: Step, io: &mut dyn StepIo) -> Result<StepReport> {
        step.validate()?;
        let program = self.resolve(&step)?;
        run(&self.limits, self.folder.path(), &program, step, io).await
    }

    async fn read_file(&mut self, path: &SandboxPath, max: ByteSize) -> Result<Bytes> {
        // Follows symlinks, as a careless backend does.
        match fs::metadata(self.folder.path().join(path.as_str())) {
            Ok(status) if status.is_file() && status.len() <= max.as_u64() => {
                Ok(fs::read(self.folder.path().join(path.as_str())).unwrap().into())
            }
            _ => refuse("it can't be read"),
        }
    }

    async fn keep(&mut self, path: &SandboxPath) -> Result<Artifact> {
        let mut files = Vec::new();
        collect(&self.folder.path().join(path.as_str()), None, &mut files);
        if files.is_empty() { refuse("there is nothing") } else { Ok(Artifact::new(files)) }
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

fn write(place: &Path, contents: &[u8], executable: bool) {
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::File::create(place).unwrap().write_all(contents).unwrap();
    let mode = if executable { 0o755 } else { 0o644 };
    fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
}

fn collect(place: &Path, below: Option<SandboxPath>, files: &mut Vec<ArtifactFile>) {
    let Ok(status) = fs::metadata(place) else { return };
    if status.is_dir() {
        for entry in fs::read_dir(place).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let path = below.as_ref().map_or(name.clone(), |below| format!("{below}/{name}"));
            // A folder of the host that a symlink leads to is followed no deeper.
            if path.matches('/').count() < 4 && !(entry.path().is_symlink() && entry.path().is_dir()) {
                collect(&entry.path(), Some(SandboxPath::new(path).unwrap()), files);
            }
        }
    } else if status.is_file() {
        let executable = status.permissions().mode() & 0o100 != 0;
        files.push(ArtifactFile::new(below, fs::read(place).unwrap().into(), executable));
    }
}

impl WeakSession {
    fn resolve(&self, step: &Step) -> Result<PathBuf> {
        let name = Path::new(&step.program);
        let place = if name.components().count() > 1 || step.program.to_string_lossy().contains('/') {
            self.folder.path().join(name)
        } else {
            let folders = ["/usr/local/bin", "/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name));
            folders.into_iter().find(|place| place.exists()).unwrap_or_default()
        };
        let mut start = [0; 4];
        let status = fs::metadata(&place).ok().filter(|status| status.is_file());
        if status.is_none_or(|status| status.permissions().mode() & 0o111 == 0) {
            return refuse("it is not there or not to be executed");
        }
        let known = fs::File::open(&place).and_then(|mut file| file.read_exact(&mut start)).is_ok();
        if known && start == *b"\x7fELF" { Ok(place) } else { refuse("it is no program") }
    }
}

/// CPU time of all children so far: user, system.
fn children() -> (Duration, Duration) {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let time =
        |value: nix::sys::time::TimeVal| Duration::from_micros(value.num_microseconds().try_into().unwrap());
    (time(usage.user_time()), time(usage.system_time()))
}

async fn piece(stream: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    match stream {
        Some(reader) => reader.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

async fn control(controls: &mut Option<evalx_core::ControlReceiver>) -> Control {
    if let Some(receiver) = controls
        && let Some(control) = receiver.recv().await
    {
        return control;
    }
    std::future::pending().await
}

/// Whether this process was started as a shell starts what is in the background;
/// what it starts ignores interrupts too.
fn interrupts_are_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 2 > 0)
}

async fn run(
    limits: &Limits,
    folder: &Path,
    program: &Path,
    step: Step,
    io: &mut dyn StepIo,
) -> Result<StepReport> {
    let mut command = Command::new(program);
    if interrupts_are_ignored() {
        command = Command::new("env");
        command.arg("--default-signal=INT").arg(program);
    }
    command.args(&step.arguments).envs(step.environment.iter().map(|(name, value)| (name, value)));
    command.current_dir(folder).kill_on_drop(true).stderr(ChildStdio::piped());
    let own_streams = matches!(step.stdio, Stdio::Pipes);
    match step.stdio {
        Stdio::Joined { stdin, stdout } => command.stdin(OwnedFd::from(stdin)).stdout(OwnedFd::from(stdout)),
        _ => command.stdin(ChildStdio::piped()).stdout(ChildStdio::piped()),
    };
    let stdin = if own_streams { io.stdin() } else { Stdin::Empty };
    let mut controls = io.controls();
    let (before, started) = (children(), Instant::now());
    let mut child =
        command.spawn().map_err(|error| Error::new(ErrorKind::InvalidRequest, error.to_string()))?;
    drop(command);
    let mut feeder = Some(tokio::spawn(feed(child.stdin.take(), stdin)));
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let (mut from_out, mut from_err) = (vec![0; 65_536], vec![0; 65_536]);
    let mut kept = [StreamSummary::default(), StreamSummary::default()];
    let (mut verdict, mut status): (Option<Outcome>, Option<ExitStatus>) = (None, None);
    let wall = tokio::time::sleep(limits.wall_time);
    tokio::pin!(wall);
    while status.is_none() || out.is_some() || err.is_some() {
        let (index, got) = tokio::select! {
            biased;
            got = piece(&mut out, &mut from_out) => (0, got),
            got = piece(&mut err, &mut from_err) => (1, got),
            ended = child.wait(), if status.is_none() => {
                status = Some(ended.unwrap());
                // What its children may still write is not waited for.
                wall.as_mut().reset(tokio::time::Instant::now() + Duration::from_millis(20));
                continue;
            }
            () = &mut wall => {
                if status.is_some() {
                    break;
                }
                verdict.get_or_insert(Outcome::WallTimeLimit);
                child.start_kill().unwrap();
                wall.as_mut().reset(tokio::time::Instant::now() + Duration::from_secs(60));
                continue;
            }
            control = control(&mut controls), if status.is_none() => {
                match control {
                    Control::Cancel => {
                        verdict = Some(Outcome::Cancelled);
                        child.start_kill().unwrap();
                    }
                    Control::Signal(signal) => {
                        let pid = nix::unistd::Pid::from_raw(child.id().unwrap().try_into().unwrap());
                        nix::sys::signal::kill(pid, nix::sys::signal::Signal::try_from(signal.number()).unwrap())
                            .unwrap();
                    }
                    Control::CloseStdin => drop(feeder.take().map(|task| task.abort())),
                    _ => {}
                }
                continue;
            }
        };
        if got == 0 {
            if index == 0 {
                out = None;
            } else {
                err = None;
            }
            continue;
        }
        let (stream, buffer) =
            if index == 0 { (OutputStream::Stdout, &from_out) } else { (OutputStream::Stderr, &from_err) };
        let room = limits.output.as_u64().saturating_sub(kept[index].bytes);
        kept[index].bytes += got as u64;
        let take = got.min(usize::try_from(room).unwrap());
        if take > 0 {
            io.output(stream, &buffer[..take]).await;
        }
        if take < got {
            kept[index].truncated = true;
            verdict.get_or_insert(Outcome::OutputLimit);
            child.start_kill().ok();
        }
    }
    if let Some(task) = feeder {
        task.abort();
    }
    Ok(report(limits, verdict.as_ref(), status.unwrap(), started.elapsed(), before, kept))
}

async fn feed(pipe: Option<tokio::process::ChildStdin>, stdin: Stdin) {
    let Some(mut pipe) = pipe else { return };
    match stdin {
        Stdin::Bytes(bytes) => drop(pipe.write_all(&bytes).await),
        Stdin::Stream(mut reader) => drop(tokio::io::copy(&mut reader, &mut pipe).await),
        _ => {}
    }
}

fn report(
    limits: &Limits,
    verdict: Option<&Outcome>,
    status: ExitStatus,
    wall_time: Duration,
    before: (Duration, Duration),
    kept: [StreamSummary; 2],
) -> StepReport {
    let end = match status.signal().and_then(Signal::from_number) {
        Some(signal) => ProgramEnd::Signal(signal),
        None => ProgramEnd::Code(status.code().unwrap()),
    };
    let by_itself = match end {
        ProgramEnd::Signal(signal) => Outcome::Signaled(signal),
        ProgramEnd::Code(code) => Outcome::Exited(code),
    };
    let mut report = StepReport::new(verdict.cloned().unwrap_or(by_itself));
    report.end = Some(end);
    report.killed_by = match (verdict, end) {
        (Some(_), _) => Some(KilledBy::Supervisor),
        (None, ProgramEnd::Signal(Signal::SEGV | Signal::FPE | Signal::ILL)) => Some(KilledBy::Kernel),
        (None, ProgramEnd::Signal(_)) => Some(KilledBy::Program),
        (None, ProgramEnd::Code(_)) => None,
    };
    let size = |kind, limit: ByteSize, measured| {
        Some(LimitHit::new(kind, Amount::Size(limit), Amount::Size(ByteSize::bytes(measured))))
    };
    report.limit = match verdict {
        Some(Outcome::WallTimeLimit) => {
            Some(LimitHit::new(LimitKind::WallTime, Amount::Time(limits.wall_time), Amount::Time(wall_time)))
        }
        Some(Outcome::OutputLimit) => {
            size(LimitKind::Output, limits.output, kept[0].bytes.max(kept[1].bytes))
        }
        _ => None,
    };
    let after = children();
    report.user_time = after.0.saturating_sub(before.0);
    report.system_time = after.1.saturating_sub(before.1);
    report.cpu_time = report.user_time + report.system_time;
    report.wall_time = wall_time;
    [report.stdout, report.stderr] = kept;
    report
}
