//! The task that owns a session's container and does what the session asks.
//!
//! Whoever drops a call in its midst leaves the stream to the agent in order:
//! the call is finished here, and a step is ended. When the session is dropped,
//! the task closes it, and the container goes back to the pool or away.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use evalx_agent::wire::{FromAgent, PIECE, ToAgent};
use evalx_core::{
    Artifact, ArtifactFile, ByteSize, Error, ErrorKind, FileContents, Limits, Origin, Result, SandboxPath,
    StepReport,
};
use tokio::sync::{mpsc, oneshot};

use crate::config::Reuse;
use crate::container::Container;
use crate::engine::Engine;
use crate::error::DockerError;
use crate::link::Link;
use crate::pool::{Permit, Pool};
use crate::step::Run;

/// How many files may be on their way before their answers are awaited.
const MOST_UNANSWERED: usize = 64;

/// What a session asks of its task, and where the answer goes.
#[derive(Debug)]
pub(crate) enum Request {
    Write { path: SandboxPath, contents: FileContents, answer: oneshot::Sender<Result<()>> },
    Read { path: SandboxPath, max: ByteSize, answer: oneshot::Sender<Result<Bytes>> },
    Keep { path: SandboxPath, max: ByteSize, answer: oneshot::Sender<Result<Artifact>> },
    Run { run: Box<Run>, answer: oneshot::Sender<Result<StepReport>> },
    Close { answer: oneshot::Sender<Result<()>> },
}

/// A session, from the side of its container.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) container: Container,
    pub(crate) limits: Limits,
    origin: Option<Origin>,
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
        match container.open(&engine, &limits).await {
            Ok(()) => {
                let server = Self { container, limits, origin, engine, pool, permit };
                let (requests, receiver) = mpsc::channel(1);
                tokio::spawn(server.serve(receiver));
                Ok(requests)
            }
            Err(error) => {
                pool.lost(&container);
                Err((error, permit))
            }
        }
    }

    /// Serves until the session is closed or dropped, or its container lost.
    async fn serve(mut self, mut requests: mpsc::Receiver<Request>) {
        loop {
            let request = tokio::select! {
                message = self.container.next() => {
                    if let Err(error) = message.and_then(|message| Container::heed(&message)) {
                        return self.refuse_all(requests, error).await;
                    }
                    continue;
                }
                request = requests.recv() => request,
            };
            let lost = match request {
                None => return self.end(None).await,
                Some(Request::Close { answer }) => return self.end(Some(answer)).await,
                Some(Request::Write { path, contents, answer }) => {
                    reply(answer, self.write(&path, contents).await)
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

    /// Places a file, or the files of an artifact; the first refusal counts.
    async fn write(&mut self, path: &SandboxPath, contents: FileContents) -> Answered<()> {
        let artifact = match contents {
            FileContents::Artifact(artifact) => artifact,
            FileContents::Bytes { contents, executable } => {
                self.send_file(path.as_str().to_owned(), executable, &contents).await?;
                return Ok(self.placed().await?.map_or(Ok(()), Err));
            }
            _ => {
                let message = format!("{path}: contents of a kind that this backend does not know");
                return Ok(Err(Error::new(ErrorKind::Unsupported, message)));
            }
        };
        let first = self.keep(&artifact).await?;
        let (mut unanswered, mut refused) = (0, None);
        for (file, number) in artifact.files().iter().zip(0..) {
            let path = match &file.path {
                Some(below) => format!("{path}/{below}"),
                None => path.as_str().to_owned(),
            };
            let executable = file.executable;
            match first {
                Some(first) => {
                    let place = ToAgent::Place { path, executable, id: first + number };
                    self.container.link.send(&place).await?;
                }
                None => self.send_file(path, executable, &file.contents).await?,
            }
            unanswered += 1;
            if unanswered > MOST_UNANSWERED {
                refused = refused.or(self.placed().await?);
                unanswered -= 1;
            }
        }
        for _ in 0..unanswered {
            refused = refused.or(self.placed().await?);
        }
        Ok(refused.map_or(Ok(()), Err))
    }

    /// Has the agent keep an artifact for the sessions to come, unless it does or
    /// there will be none; the number of its first file.
    async fn keep(&mut self, artifact: &Artifact) -> Result<Option<u64>, DockerError> {
        if let Some(first) = self.container.store.find(artifact) {
            return Ok(Some(first));
        }
        if !self.is_reusable() {
            return Ok(None);
        }
        let Some(admitted) = self.container.store.admit(artifact) else { return Ok(None) };
        let link = &mut self.container.link;
        for id in admitted.forgotten {
            link.queue(&ToAgent::Forget { id });
        }
        for (file, id) in artifact.files().iter().zip(admitted.first..) {
            link.queue(&ToAgent::Store { id, size: file.contents.len() as u64 });
            send_pieces(link, &file.contents).await?;
        }
        Ok(Some(admitted.first))
    }

    async fn send_file(
        &mut self,
        path: String,
        executable: bool,
        contents: &[u8],
    ) -> Result<(), DockerError> {
        let link = &mut self.container.link;
        link.queue(&ToAgent::Write { path, executable, size: contents.len() as u64 });
        send_pieces(link, contents).await
    }

    /// Waits until a file is placed; why it is not.
    async fn placed(&mut self) -> Result<Option<Error>, DockerError> {
        loop {
            match self.container.next().await? {
                FromAgent::Done => return Ok(None),
                FromAgent::Refused(why) => return Ok(Some(Error::new(ErrorKind::InvalidRequest, why))),
                other => Container::heed(&other)?,
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
            let message = self.container.next().await?;
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
                other => Container::heed(&other)?,
            }
            if let Some((path, executable, contents, _)) =
                current.take_if(|(.., contents, size)| contents.len() as u64 == *size)
            {
                files.push(ArtifactFile::new(path, contents.freeze(), executable));
            }
        }
    }

    /// Whether the container may serve another session.
    fn is_reusable(&self) -> bool {
        match self.pool.reuse() {
            Reuse::Session => false,
            Reuse::Submission => self.origin.is_some(),
            Reuse::Sessions(most) => self.container.served < most,
        }
    }

    /// Ends the session, and gives the container back if it may serve again.
    async fn end(self, answer: Option<oneshot::Sender<Result<()>>>) {
        // Nothing of the session runs now: cells without an order do nothing.
        let reusable = self.is_reusable();
        let Self { mut container, pool, permit, .. } = self;
        if reusable && container.close().await.is_ok() {
            pool.give_back(container);
        } else {
            pool.lost(&container);
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
        pool.lost(&container);
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

/// Sends a file's contents, behind what waits.
async fn send_pieces(link: &mut Link, contents: &[u8]) -> Result<(), DockerError> {
    for piece in contents.chunks(PIECE) {
        link.send(&ToAgent::Piece(piece.to_vec())).await?;
    }
    link.flush().await
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
