//! A step, from the host's side: what goes in, what comes out, and the report.

use std::ffi::OsStr;

use bytes::Bytes;
use evalx_agent::wire::{FromAgent, Order, STDIN_WINDOW, ToAgent, ToStep};
use evalx_core::{Control, ControlReceiver, Error, ErrorKind, OutputStream, Stdin, StepReport};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

use crate::container::Container;
use crate::error::DockerError;
use crate::report::report;
use crate::serve::{Answered, Server};

/// How much is read from a stream of stdin at once.
const GULP: usize = 64 << 10;

/// Pieces of output on their way to who wants them; an empty one is the
/// stream's end.
pub(crate) type Pieces = mpsc::Sender<(OutputStream, Bytes)>;

/// A step's order, and what goes in and out while it runs.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) order: Order,
    pub(crate) stdin: Stdin,
    pub(crate) controls: Option<ControlReceiver>,
    pub(crate) pieces: Pieces,
    /// Told once nobody reads stdout any more.
    pub(crate) stdout_unwanted: Option<tokio::sync::oneshot::Receiver<()>>,
}

/// Where stdin comes from, and how much of it may be on its way.
struct Feed {
    source: Source,
    window: usize,
}

enum Source {
    Over,
    Bytes(Bytes),
    Stream(Box<dyn AsyncRead + Send + Unpin>),
}

impl Feed {
    fn new(stdin: Stdin) -> Self {
        let source = match stdin {
            Stdin::Bytes(bytes) => Source::Bytes(bytes),
            Stdin::Stream(stream) => Source::Stream(stream),
            _ => Source::Bytes(Bytes::new()),
        };
        Self { source, window: STDIN_WINDOW }
    }

    fn has_more(&self) -> bool {
        match &self.source {
            Source::Over => false,
            // Its end needs no room.
            Source::Bytes(bytes) => self.window > 0 || bytes.is_empty(),
            Source::Stream(_) => self.window > 0,
        }
    }

    /// All of it, if it is here and short.
    fn whole(&mut self) -> Option<Bytes> {
        let Source::Bytes(bytes) = &mut self.source else { return None };
        if bytes.len() > GULP {
            return None;
        }
        let bytes = std::mem::take(bytes);
        self.window -= bytes.len();
        self.source = Source::Over;
        Some(bytes)
    }

    /// The next piece; empty at the end.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    async fn next(&mut self) -> Bytes {
        let piece = match &mut self.source {
            Source::Over => std::future::pending().await,
            Source::Bytes(bytes) => bytes.split_to(bytes.len().min(self.window).min(GULP)),
            Source::Stream(stream) => {
                let mut buffer = vec![0; self.window.min(GULP)];
                // Its error is its end: the program reads what came before.
                let count = stream.read(&mut buffer).await.unwrap_or(0);
                buffer.truncate(count);
                buffer.into()
            }
        };
        self.window -= piece.len();
        if piece.is_empty() {
            self.source = Source::Over;
        }
        piece
    }
}

/// What the task of a step has to do next.
enum Next {
    Message(Result<FromAgent, DockerError>),
    Stdin(Bytes),
    Control(Option<Control>),
    /// A piece of so many bytes was taken.
    Taken(usize),
    /// Nobody waits for the step any more.
    Unwanted,
    StdoutUnwanted,
}

impl Server {
    /// Tells the step that runs.
    async fn tell(&mut self, message: ToStep) -> Result<(), DockerError> {
        self.container.link.send(&ToAgent::Step(message)).await
    }

    /// Sends an order, along with all of stdin if that is short.
    async fn send_order(&mut self, order: Order, feed: &mut Feed) -> Result<(), DockerError> {
        let link = &mut self.container.link;
        let Some(stdin) = feed.whole() else { return link.send(&ToAgent::Run(order)).await };
        link.queue(&ToAgent::Run(order));
        if !stdin.is_empty() {
            link.queue(&ToAgent::Step(ToStep::Stdin(stdin.to_vec())));
        }
        self.tell(ToStep::StdinEnd).await
    }

    /// Runs a step to its end.
    pub(crate) async fn run(&mut self, run: Run) -> Answered<StepReport> {
        let Run { order, stdin, mut controls, pieces, mut stdout_unwanted } = run;
        self.container.take_cell(&self.limits).await?;
        let program = order.program.clone();
        let counts_stdout = order.output[0] != u64::MAX;
        let mut feed = Feed::new(stdin);
        self.send_order(order, &mut feed).await?;
        let mut piece: Option<(OutputStream, Bytes)> = None;
        let mut wanted = true;
        loop {
            // Cancel safe, each of them: what it had begun it goes on with, or has not taken.
            let next = tokio::select! {
                control = async { controls.as_mut()?.recv().await }, if controls.is_some() => Next::Control(control),
                () = pieces.closed(), if wanted => Next::Unwanted,
                room = pieces.reserve(), if wanted && piece.is_some() => {
                    let piece = piece.take().unwrap_or((OutputStream::Stdout, Bytes::new()));
                    let count = piece.1.len();
                    if let Ok(room) = room {
                        room.send(piece);
                    }
                    Next::Taken(count)
                }
                // A host that is slow to take output is a reason to wait.
                message = self.container.next(), if piece.is_none() => Next::Message(message),
                bytes = feed.next(), if feed.has_more() => Next::Stdin(bytes),
                _ = async { stdout_unwanted.as_mut()?.await.ok() }, if stdout_unwanted.is_some() => Next::StdoutUnwanted,
            };
            match next {
                Next::Taken(0) => {}
                Next::Taken(count) => self.tell(ToStep::Took(count as u64)).await?,
                Next::Unwanted => {
                    wanted = false;
                    piece = None;
                    self.tell(ToStep::Cancel).await?;
                }
                Next::Stdin(bytes) if bytes.is_empty() => self.tell(ToStep::StdinEnd).await?,
                Next::Stdin(bytes) => self.tell(ToStep::Stdin(bytes.to_vec())).await?,
                Next::StdoutUnwanted => {
                    stdout_unwanted = None;
                    self.tell(ToStep::StdoutUnwanted).await?;
                }
                Next::Control(None) => controls = None,
                Next::Control(Some(Control::Cancel)) => self.tell(ToStep::Cancel).await?,
                Next::Control(Some(Control::Signal(signal))) => {
                    self.tell(ToStep::Signal(signal.number())).await?;
                }
                Next::Control(Some(Control::Resize(size))) => {
                    self.tell(ToStep::Resize(size.rows, size.columns)).await?;
                }
                Next::Control(Some(Control::CloseStdin)) => {
                    feed.source = Source::Over;
                    self.tell(ToStep::StdinEnd).await?;
                }
                // One that this version does not know.
                Next::Control(Some(_)) => {}
                Next::Message(message) => match message? {
                    FromAgent::Stdout(bytes) if wanted => piece = Some((OutputStream::Stdout, bytes.into())),
                    FromAgent::Stderr(bytes) if wanted => piece = Some((OutputStream::Stderr, bytes.into())),
                    FromAgent::Stdout(_) | FromAgent::Stderr(_) => {}
                    FromAgent::Taken(count) => {
                        let count = usize::try_from(count).unwrap_or(usize::MAX);
                        feed.window = feed.window.saturating_add(count).min(STDIN_WINDOW);
                    }
                    FromAgent::StdinClosed => feed.source = Source::Over,
                    FromAgent::NotStarted { errno, what } => {
                        return Ok(Err(not_started(&program, errno, &what)));
                    }
                    FromAgent::Ended(mut ended) => {
                        if !counts_stdout {
                            ended.stdout = 0;
                        }
                        return Ok(Ok(report(&ended, &self.limits)));
                    }
                    other => Container::heed(&other)?,
                },
            }
        }
    }
}

/// What a step's failure to start means: mostly that the program is not there.
fn not_started(program: &OsStr, errno: i32, what: &str) -> Error {
    let cause = std::io::Error::from_raw_os_error(errno);
    if !what.is_empty() {
        return Error::from(DockerError::Agent(format!("could not {what}"))).with_source(cause);
    }
    // The numbers of Linux, on every architecture that evalx runs on.
    let why = match errno {
        2 => "no such program inside the sandbox (or its interpreter is not there)".to_owned(),
        13 => "it may not be executed".to_owned(),
        8 => "it is neither a program for this machine nor a script that names its interpreter".to_owned(),
        7 => "its arguments and environment are too large".to_owned(),
        _ => cause.to_string(),
    };
    Error::new(ErrorKind::InvalidRequest, format!("{} can't be run: {why}", program.display()))
}
