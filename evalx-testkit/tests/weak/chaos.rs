//! [`ChaosSandbox`]: a wrapper that tells one lie.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use evalx_core::{
    Artifact, ByteSize, Capabilities, ControlReceiver, Error, ErrorKind, FileContents, Outcome, OutputStream,
    ProgramEnd, Result, Sandbox, SandboxPath, Session, SessionSpec, Stdin, Step, StepIo, StepReport,
};

use crate::sandbox::WeakSandbox;

/// What a [`ChaosSandbox`] lies about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// Every exit code is one more.
    WrongExitCode,
    /// A program that fails is an error.
    FailureIsAnError,
    /// A signal is an exit code of 128 and more.
    SignalIsAnExitCode,
    /// Who killed the program is never said.
    NobodyKilledIt,
    /// Stdout and stderr change places.
    SwappedStreams,
    /// The limit on output is much larger than asked for.
    IgnoredOutputLimit,
    /// Cut output is not said to be cut.
    HiddenTruncation,
    /// A byte of a large output is lost.
    LostByte,
    /// The output of short programs is lost.
    LostLastWords,
    /// Output is handed over when the program has ended.
    LateOutput,
    /// Stdin never comes.
    NoStdin,
    /// Files stay for the next session.
    LeakedFile,
    /// A file that is there already is not replaced.
    FileNotReplaced,
    /// A file's size limit is ignored.
    IgnoredReadLimit,
    /// Kept files lose their mode.
    LostMode,
    /// No CPU time is ever used.
    NoCpuTime,
    /// CPU time of the step before is counted in.
    CarriedCpuTime,
    /// The limit on wall time is much larger than asked for.
    IgnoredWallLimit,
    /// Wrong limits are taken for the defaults.
    AcceptsAnyLimit,
    /// A session is opened without the isolation that it requires.
    OpensWithLessIsolation,
    /// A session can be opened after the shutdown.
    OpensAfterShutdown,
    /// A cancelled step looks as if it was killed.
    CancelledIsKilled,
}

impl Lie {
    /// Every lie, and the case that is there to catch it.
    pub(crate) const ALL: [(Self, &'static str); 22] = [
        (Self::WrongExitCode, "ends::every_exit_code"),
        (Self::FailureIsAnError, "ends::every_exit_code"),
        (Self::SignalIsAnExitCode, "ends::segmentation_fault"),
        (Self::NobodyKilledIt, "ends::abort"),
        (Self::SwappedStreams, "streams::two_streams_apart"),
        (Self::IgnoredOutputLimit, "output::stdout_over_the_limit"),
        (Self::HiddenTruncation, "output::stderr_over_the_limit"),
        (Self::LostByte, "streams::ten_mebibytes_through"),
        (Self::LostLastWords, "sessions::no_output_is_lost"),
        (Self::LateOutput, "streams::stdin_as_it_comes"),
        (Self::NoStdin, "streams::every_byte_through"),
        (Self::LeakedFile, "sessions::work_folder_is_fresh"),
        (Self::FileNotReplaced, "files::files_are_replaced"),
        (Self::IgnoredReadLimit, "files::read_has_a_limit"),
        (Self::LostMode, "artifacts::file_is_kept"),
        (Self::NoCpuTime, "time::cpu_time_is_measured"),
        (Self::CarriedCpuTime, "time::steps_are_measured_apart"),
        (Self::IgnoredWallLimit, "time::wall_limit_of_300_ms"),
        (Self::AcceptsAnyLimit, "requests::limits_out_of_range"),
        (Self::OpensWithLessIsolation, "requests::isolation_is_held_or_refused"),
        (Self::OpensAfterShutdown, "requests::shutdown_twice"),
        (Self::CancelledIsKilled, "sessions::cancel"),
    ];
}

/// A sandbox that lies about one thing and passes on the rest.
#[derive(Debug)]
pub(crate) struct ChaosSandbox {
    inner: WeakSandbox,
    lie: Lie,
}

#[derive(Debug)]
struct ChaosSession {
    inner: Box<dyn Session>,
    lie: Lie,
    cpu_before: Duration,
}

impl ChaosSandbox {
    pub(crate) fn new(inner: WeakSandbox, lie: Lie) -> Self {
        let inner = if lie == Lie::LeakedFile { inner.with_one_folder_for_all() } else { inner };
        Self { inner, lie }
    }
}

impl fmt::Display for ChaosSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chaos ({:?})", self.lie)
    }
}

#[async_trait]
impl Sandbox for ChaosSandbox {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn check(&self) -> Result<()> {
        self.inner.check().await
    }

    async fn open(&self, mut spec: SessionSpec) -> Result<Box<dyn Session>> {
        match self.lie {
            Lie::IgnoredOutputLimit => spec.limits.output = ByteSize::mib(64),
            Lie::IgnoredWallLimit => spec.limits.wall_time *= 4,
            Lie::OpensWithLessIsolation => spec.required.clear(),
            Lie::AcceptsAnyLimit if spec.limits.validate().is_err() => spec.limits = Default::default(),
            _ => {}
        }
        let inner = self.inner.open(spec).await?;
        Ok(Box::new(ChaosSession { inner, lie: self.lie, cpu_before: Duration::ZERO }))
    }

    async fn shutdown(&self) -> Result<()> {
        if self.lie == Lie::OpensAfterShutdown { Ok(()) } else { self.inner.shutdown().await }
    }
}

#[async_trait]
impl Session for ChaosSession {
    async fn write_file(&mut self, path: &SandboxPath, contents: FileContents) -> Result<()> {
        if self.lie == Lie::FileNotReplaced && self.inner.read_file(path, ByteSize::mib(8)).await.is_ok() {
            return Ok(());
        }
        self.inner.write_file(path, contents).await
    }

    async fn run(&mut self, step: Step, io: &mut dyn StepIo) -> Result<StepReport> {
        let mut io = ChaosIo { inner: io, lie: self.lie, seen: 0, late: Vec::new() };
        let mut report = self.inner.run(step, &mut io).await?;
        for (stream, piece) in std::mem::take(&mut io.late) {
            io.inner.output(stream, &piece).await;
        }
        match (self.lie, &report.outcome) {
            (Lie::WrongExitCode, Outcome::Exited(code)) => {
                report.end = Some(ProgramEnd::Code(code + 1));
                report.outcome = Outcome::Exited(code + 1);
            }
            (Lie::FailureIsAnError, Outcome::Exited(code)) if *code != 0 => {
                return Err(Error::new(ErrorKind::Internal, "the program failed"));
            }
            (Lie::SignalIsAnExitCode, Outcome::Signaled(signal)) => {
                report.outcome = Outcome::Exited(128 + signal.number());
            }
            (Lie::NobodyKilledIt, _) => report.killed_by = None,
            (Lie::HiddenTruncation, _) => report.stderr.truncated = false,
            (Lie::NoCpuTime, _) => report.cpu_time = Duration::ZERO,
            (Lie::CarriedCpuTime, _) => {
                self.cpu_before += report.cpu_time;
                report.cpu_time = self.cpu_before;
            }
            (Lie::CancelledIsKilled, Outcome::Cancelled) => {
                report.outcome = Outcome::Signaled(evalx_core::Signal::KILL);
            }
            _ => {}
        }
        Ok(report)
    }

    async fn read_file(&mut self, path: &SandboxPath, max: ByteSize) -> Result<Bytes> {
        let max = if self.lie == Lie::IgnoredReadLimit { ByteSize::MAX } else { max };
        self.inner.read_file(path, max).await
    }

    async fn keep(&mut self, path: &SandboxPath) -> Result<Artifact> {
        let kept = self.inner.keep(path).await?;
        if self.lie != Lie::LostMode {
            return Ok(kept);
        }
        let plain = kept.files().iter().cloned().map(|mut file| {
            file.executable = false;
            file
        });
        Ok(Artifact::new(plain.collect::<Vec<_>>()))
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.inner.close().await
    }
}

/// Passes pieces on, but for the lie.
struct ChaosIo<'a> {
    inner: &'a mut dyn StepIo,
    lie: Lie,
    seen: usize,
    late: Vec<(OutputStream, Vec<u8>)>,
}

#[async_trait]
impl StepIo for ChaosIo<'_> {
    fn stdin(&mut self) -> Stdin {
        if self.lie == Lie::NoStdin { Stdin::Empty } else { self.inner.stdin() }
    }

    fn controls(&mut self) -> Option<ControlReceiver> {
        self.inner.controls()
    }

    async fn output(&mut self, stream: OutputStream, piece: &[u8]) {
        let before = self.seen;
        self.seen += piece.len();
        match self.lie {
            Lie::SwappedStreams => {
                let other = match stream {
                    OutputStream::Stdout => OutputStream::Stderr,
                    OutputStream::Stderr => OutputStream::Stdout,
                };
                self.inner.output(other, piece).await;
            }
            Lie::LostByte if before < 1_000_000 && self.seen >= 1_000_000 => {
                self.inner.output(stream, &piece[1..]).await;
            }
            Lie::LateOutput => self.late.push((stream, piece.to_vec())),
            Lie::LostLastWords if before == 0 && piece.len() < 8 => {}
            _ => self.inner.output(stream, piece).await,
        }
    }
}
