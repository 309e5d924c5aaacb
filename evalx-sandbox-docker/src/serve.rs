//! The task that owns a session's container and does what the session asks.
//!
//! Whoever drops a call in its midst leaves the stream to the agent in order:
//! the call is finished here, and a step is ended. When the session is dropped,
//! the task closes it, and the container goes back to the pool or away.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use evalx_agent::wire::{FromAgent, PIECE, ToAgent};
use evalx_core::{
    Artifact, ArtifactFile, ByteSize, Error, ErrorKind, Limits, Origin, Result, SandboxPath, StepReport,
};
use tokio::sync::{mpsc, oneshot};

use crate::config::Reuse;
use crate::container::Container;
use crate::engine::Engine;
use crate::error::DockerError;
use crate::pool::{Permit, Pool};
use crate::step::Run;

/// What a session asks of its task, and where the answer goes.
#[derive(Debug)]
pub(crate) enum Request {
    Write { path: SandboxPath, contents: Bytes, executable: bool, answer: oneshot::Sender<Result<()>> },
    Read { path: SandboxPath, max: ByteSize, answer: oneshot::Sender<Result<Bytes>> },
    Keep { path: SandboxPath, max: ByteSize, answer: oneshot::Sender<Result<Artifact>> },
    Run { run: Box<Run>, answer: oneshot::Sender<Result<StepReport>> },
    Close { answer: oneshot::Sender<Result<()>> },
}

/// The cell that waits for a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    /// There is none yet.
    None,
    /// There is, by this number, and it has no limits yet.
    Bare(u64),
    /// It may have an order.
    Ready,
}

/// A session, from the side of its container.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) container: Container,
    pub(crate) limits: Limits,
    origin: Option<Origin>,
    cell: Cell,
    engine: Engine,
    pool: Arc<Pool>,
    permit: Permit,
}

/// What was asked, or that it was wrong; `Err` outside if the container is lost.
pub(crate) type Answered<T> = Result<Result<T>, DockerError>;

impl Server {
    /// Begins a session in a container, and starts the task that serves it;
    /// where to send requests.
    ///
    /// # Errors
    ///
    /// If the container is lost; the permit is for another then.
    pub(crate) async fn begin(
        mut container: Container,
        limits: Limits,
        origin: Option<Origin>,
        engine: Engine,
        pool: Arc<Pool>,
        permit: Permit,
    ) -> Result<mpsc::Sender<Request>, (DockerError, Permit)> {
        let begun = async {
            container.fit(&engine, &limits).await?;
            let open = ToAgent::Open { disk: limits.disk.as_u64(), files: u64::from(limits.files) };
            container.link.send(&open).await?;
            match container.link.next().await? {
                FromAgent::Opened => Ok(()),
                _ => Err(DockerError::Agent("it did not begin a session".to_owned())),
            }
        };
        match begun.await {
            Ok(()) => {
                container.served += 1;
                let server = Self { container, limits, origin, cell: Cell::None, engine, pool, permit };
                let (requests, receiver) = mpsc::channel(1);
                tokio::spawn(server.serve(receiver));
                Ok(requests)
            }
            Err(error) => {
                pool.lost(&container.image);
                Err((error, permit))
            }
        }
    }

    /// Serves until the session is closed or dropped, or its container lost.
    async fn serve(mut self, mut requests: mpsc::Receiver<Request>) {
        loop {
            let request = tokio::select! {
                message = self.container.link.next() => {
                    if let Err(error) = self.idle(message).await {
                        return self.refuse_all(requests, error).await;
                    }
                    continue;
                }
                request = requests.recv() => request,
            };
            let lost = match request {
                None => return self.end(None).await,
                Some(Request::Close { answer }) => return self.end(Some(answer)).await,
                Some(Request::Write { path, contents, executable, answer }) => {
                    reply(answer, self.write(&path, &contents, executable).await)
                }
                Some(Request::Read { path, max, answer }) => {
                    let message = ToAgent::Read { path: path.as_str().to_owned(), max: max.as_u64() };
                    let result = self.files(&message, max).await;
                    let contents = |mut files: Vec<ArtifactFile>| files.pop().map(|file| file.contents);
                    reply(answer, result.map(|files| files.map(|files| contents(files).unwrap_or_default())))
                }
                Some(Request::Keep { path, max, answer }) => {
                    let message = ToAgent::Keep { path: path.as_str().to_owned(), max: max.as_u64() };
                    let result = self.files(&message, max).await;
                    reply(answer, result.map(|files| files.map(Artifact::new)))
                }
                Some(Request::Run { run, answer }) => reply(answer, self.run(*run).await),
            };
            if let Some(error) = lost {
                return self.refuse_all(requests, error).await;
            }
        }
    }

    /// A message that nobody waits for: a cell is there.
    pub(crate) async fn idle(&mut self, message: Result<FromAgent, DockerError>) -> Result<(), DockerError> {
        match message? {
            FromAgent::Cell { pid } => self.cell = Cell::Bare(pid),
            // What was said of a step when it had just ended.
            FromAgent::Taken(_) | FromAgent::StdinClosed => {}
            _ => return Err(DockerError::Agent("it spoke out of turn".to_owned())),
        }
        if let Cell::Bare(pid) = self.cell {
            let group = match &mut self.container.groups {
                Some(groups) => {
                    groups.put(pid, self.limits.memory.as_u64(), u64::from(self.limits.processes))?
                }
                None => String::new(),
            };
            self.container.link.send(&ToAgent::Attach { group }).await?;
            self.cell = Cell::Ready;
        }
        Ok(())
    }

    /// Waits for a cell, and takes it.
    pub(crate) async fn take_cell(&mut self) -> Result<(), DockerError> {
        while self.cell != Cell::Ready {
            let message = self.container.link.next().await;
            self.idle(message).await?;
        }
        self.cell = Cell::None;
        Ok(())
    }

    async fn write(&mut self, path: &SandboxPath, contents: &[u8], executable: bool) -> Answered<()> {
        let path = path.as_str().to_owned();
        self.container.link.send(&ToAgent::Write { path, executable, size: contents.len() as u64 }).await?;
        for piece in contents.chunks(PIECE) {
            self.container.link.send(&ToAgent::Piece(piece.to_vec())).await?;
        }
        loop {
            match self.container.link.next().await? {
                FromAgent::Done => return Ok(Ok(())),
                FromAgent::Refused(why) => return Ok(Err(Error::new(ErrorKind::InvalidRequest, why))),
                other => self.idle(Ok(other)).await?,
            }
        }
    }

    /// The files that the agent sends for a request, at most `max` bytes together.
    async fn files(&mut self, message: &ToAgent, max: ByteSize) -> Answered<Vec<ArtifactFile>> {
        let garbled = || DockerError::Agent("it sent what was not asked for".to_owned());
        self.container.link.send(message).await?;
        let mut files: Vec<ArtifactFile> = Vec::new();
        let mut left = max.as_u64();
        let mut current: Option<(Option<SandboxPath>, bool, BytesMut, u64)> = None;
        loop {
            let message = self.container.link.next().await?;
            match message {
                FromAgent::Entry { path, executable, size } => {
                    left = left.checked_sub(size).ok_or_else(garbled)?;
                    let path = if path.is_empty() { None } else { Some(SandboxPath::new(path)) };
                    let path = path.transpose().map_err(|_| garbled())?;
                    // Its room is made as it comes, whatever it says of its size.
                    current = Some((path, executable, BytesMut::new(), size));
                }
                FromAgent::Piece(piece) => {
                    let (.., contents, size) = current.as_mut().ok_or_else(garbled)?;
                    contents.extend_from_slice(&piece);
                    if contents.len() as u64 > *size {
                        return Err(garbled());
                    }
                }
                FromAgent::Done => return Ok(Ok(files)),
                FromAgent::Refused(why) => return Ok(Err(Error::new(ErrorKind::InvalidRequest, why))),
                other => self.idle(Ok(other)).await?,
            }
            if let Some((path, executable, contents, _)) =
                current.take_if(|(.., contents, size)| contents.len() as u64 == *size)
            {
                files.push(ArtifactFile::new(path, contents.freeze(), executable));
            }
        }
    }

    /// Ends the session, and gives the container back if it may serve again.
    async fn end(self, answer: Option<oneshot::Sender<Result<()>>>) {
        // Nothing of the session runs now: cells without an order do nothing.
        let reusable = match self.pool.reuse() {
            Reuse::Session => false,
            Reuse::Submission => self.origin.is_some(),
            Reuse::Sessions(most) => self.container.served < most,
        };
        let Self { mut container, origin, pool, permit, .. } = self;
        let mut clean = false;
        if reusable {
            match close(&mut container).await {
                Ok(()) => clean = true,
                Err(error) => tracing::warn!(%error, "a container is thrown away"),
            }
        }
        if clean {
            pool.give_back(container, origin);
        } else {
            pool.lost(&container.image);
            drop(container);
        }
        drop(permit);
        if let Some(answer) = answer {
            // Whoever asked may have lost interest.
            let _ = answer.send(Ok(()));
        }
    }

    /// Refuses whatever is asked of a session whose container is lost.
    async fn refuse_all(self, mut requests: mpsc::Receiver<Request>, error: DockerError) {
        let Self { container, engine, pool, permit, .. } = self;
        let (id, why) = (container.id().to_owned(), error.to_string());
        tracing::warn!(%error, "a session has lost its container");
        pool.lost(&container.image);
        drop(container);
        drop(permit);
        let refuse = || Error::from(DockerError::Lost(why.clone()));
        while let Some(request) = requests.recv().await {
            match request {
                Request::Write { answer, .. } => drop(answer.send(Err(refuse()))),
                Request::Read { answer, .. } => drop(answer.send(Err(refuse()))),
                Request::Keep { answer, .. } => drop(answer.send(Err(refuse()))),
                Request::Run { answer, .. } => drop(answer.send(Err(refuse()))),
                Request::Close { answer } => {
                    let removed = engine.remove(&id).await;
                    drop(answer.send(removed.map_err(Error::from)));
                    return;
                }
            }
        }
    }
}

/// Has the agent end its session and make sure that nothing is left of it.
async fn close(container: &mut Container) -> Result<(), DockerError> {
    container.link.send(&ToAgent::Close).await?;
    loop {
        match container.link.next().await? {
            FromAgent::Closed { left } if left.is_empty() => return Ok(()),
            FromAgent::Closed { left } => {
                return Err(DockerError::Agent(format!("a session has left {left}")));
            }
            // A last cell, which has died with the session.
            FromAgent::Cell { .. } | FromAgent::Taken(_) | FromAgent::StdinClosed => {}
            _ => return Err(DockerError::Agent("it did not end a session".to_owned())),
        }
    }
}

/// Sends an answer; the error if the container is lost.
fn reply<T>(answer: oneshot::Sender<Result<T>>, result: Answered<T>) -> Option<DockerError> {
    let (result, lost) = match result {
        Ok(result) => (result, None),
        Err(error) => {
            let why = error.to_string();
            (Err(Error::from(error)), Some(DockerError::Lost(why)))
        }
    };
    // Whoever asked may have lost interest.
    let _ = answer.send(result);
    lost
}
