//! [`DockerSession`]: one session in one container.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;

use async_trait::async_trait;
use bytes::Bytes;
use evalx_agent::wire::{Order, Streams};
use evalx_core::{
    Artifact, ByteSize, Error, ErrorKind, FileContents, Limits, Network, OutputStream, Result, SandboxPath,
    Session, SessionSpec, Stdin, Stdio, Step, StepIo, StepReport, WORK_FOLDER,
};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use crate::error::DockerError;
use crate::serve::Request;
use crate::step::Run;

/// Where programs of an image are found.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How many pieces of output may wait for a slow host.
const PIECES: usize = 1;

/// One session; its container is owned by a task, which this speaks to.
#[derive(Debug)]
pub(crate) struct DockerSession {
    requests: mpsc::Sender<Request>,
    limits: Limits,
    network: bool,
}

impl DockerSession {
    /// A session of this spec whose task takes requests here.
    pub(crate) fn start(requests: mpsc::Sender<Request>, spec: &SessionSpec) -> Self {
        Self { requests, limits: spec.limits.clone(), network: spec.network == Network::Loopback }
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T>>) -> Request) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let gone = || Error::from(DockerError::ShutDown);
        self.requests.send(request(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    fn order(&self, step: &Step) -> Order {
        let ns = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let streams = match step.stdio {
            Stdio::Terminal(size) => Streams::Terminal(size.rows, size.columns),
            _ => Streams::Pipes,
        };
        let output = self.limits.output.as_u64();
        // What goes to another step and not to the host is no output.
        let stdout = if matches!(step.stdio, Stdio::Joined { .. }) { u64::MAX } else { output };
        Order {
            program: step.program.clone(),
            arguments: step.arguments.clone(),
            environment: environment(&step.environment),
            streams,
            network: self.network,
            cpu_ns: ns(self.limits.cpu_time),
            wall_ns: ns(self.limits.wall_time),
            output: [stdout, output],
            disk: self.limits.disk.as_u64(),
            stack: self.limits.stack.as_u64(),
            open_files: u64::from(self.limits.open_files),
        }
    }
}

/// The defaults, with what was given in their place or behind them.
pub(crate) fn environment(given: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
    let defaults = [("PATH", PATH), ("HOME", WORK_FOLDER), ("LC_ALL", "C.UTF-8")];
    let mut all: Vec<(OsString, OsString)> = Vec::with_capacity(defaults.len() + given.len());
    let defaults = defaults.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
    for (name, value) in
        defaults.chain(given.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str())))
    {
        match all.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => all.push((name.to_owned(), value.to_owned())),
        }
    }
    all
}

/// Where a step's output goes.
enum Sink<'a> {
    Host(&'a mut dyn StepIo),
    /// Stdout goes to another step, stderr to the host.
    Pipe {
        stdout: Option<pipe::Sender>,
        /// Dropped once nobody reads any more.
        unwanted: Option<oneshot::Sender<()>>,
        io: &'a mut dyn StepIo,
    },
}

impl Sink<'_> {
    async fn take(&mut self, stream: OutputStream, piece: &[u8]) {
        match self {
            Self::Host(_) if piece.is_empty() => {}
            Self::Host(io) => io.output(stream, piece).await,
            Self::Pipe { io, .. } if stream == OutputStream::Stderr => {
                if !piece.is_empty() {
                    io.output(stream, piece).await;
                }
            }
            Self::Pipe { stdout, .. } if piece.is_empty() => *stdout = None,
            Self::Pipe { stdout, unwanted, .. } => {
                if let Some(pipe) = stdout
                    && pipe.write_all(piece).await.is_err()
                {
                    *stdout = None;
                    if let Some(unwanted) = unwanted.take() {
                        // If the step has ended, nobody needs to know.
                        let _ = unwanted.send(());
                    }
                }
            }
        }
    }
}

#[async_trait]
impl Session for DockerSession {
    async fn write_file(&mut self, path: &SandboxPath, contents: FileContents) -> Result<()> {
        let size = match &contents {
            FileContents::Bytes { contents, .. } => contents.len() as u64,
            FileContents::Artifact(artifact) => artifact.size().as_u64(),
            _ => 0,
        };
        if size > self.limits.disk.as_u64() {
            let message =
                format!("{path}: it does not fit: the session's disk holds {} bytes", self.limits.disk);
            return Err(Error::new(ErrorKind::InvalidRequest, message));
        }
        let path = path.clone();
        self.ask(|answer| Request::Write { path, contents, answer }).await
    }

    async fn run(&mut self, step: Step, io: &mut dyn StepIo) -> Result<StepReport> {
        step.validate()?;
        let order = self.order(&step);
        let controls = io.controls();
        let unusable =
            |error| Error::new(ErrorKind::InvalidRequest, "a joined pipe can't be used").with_source(error);
        let mut stdout_unwanted = None;
        let (stdin, mut sink) = match step.stdio {
            Stdio::Joined { stdin, stdout } => {
                let stdin = pipe::Receiver::from_owned_fd(OwnedFd::from(stdin)).map_err(unusable)?;
                let stdout = pipe::Sender::from_owned_fd(OwnedFd::from(stdout)).map_err(unusable)?;
                let (unwanted, told) = oneshot::channel();
                stdout_unwanted = Some(told);
                let sink = Sink::Pipe { stdout: Some(stdout), unwanted: Some(unwanted), io };
                (Stdin::Stream(Box::new(stdin)), sink)
            }
            _ => (io.stdin(), Sink::Host(io)),
        };
        let (pieces, mut coming) = mpsc::channel(PIECES);
        let run = Box::new(Run { order, stdin, controls, pieces, stdout_unwanted });
        let (answer, answered) = oneshot::channel();
        let gone = |_| Error::from(DockerError::ShutDown);
        self.requests.send(Request::Run { run, answer }).await.map_err(|_| DockerError::ShutDown)?;
        // Closed by the task once the step is over and all of its output is here.
        while let Some((stream, piece)) = coming.recv().await {
            sink.take(stream, &piece).await;
        }
        answered.await.map_err(gone)?
    }

    async fn read_file(&mut self, path: &SandboxPath, max: ByteSize) -> Result<Bytes> {
        let path = path.clone();
        self.ask(|answer| Request::Read { path, max, answer }).await
    }

    async fn keep(&mut self, path: &SandboxPath) -> Result<Artifact> {
        // No more can be in a session.
        let (path, max) = (path.clone(), self.limits.disk);
        self.ask(|answer| Request::Keep { path, max, answer }).await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.ask(|answer| Request::Close { answer }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_replace_the_defaults_and_each_other() {
        let given = [("HOME", "/a"), ("X", "1"), ("X", "2")].map(|(name, value)| (name.into(), value.into()));
        let all = environment(&given);
        assert_eq!(all.len(), 4);
        assert!(all.contains(&("HOME".into(), "/a".into())) && all.contains(&("X".into(), "2".into())));
    }
}
