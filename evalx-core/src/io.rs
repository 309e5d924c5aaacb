//! [`StepIo`]: what goes into a running step, and what comes out of it.

use std::fmt;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

use crate::{ByteSize, Signal, TerminalSize};

/// One of a program's two output streams. A terminal has [`Stdout`](Self::Stdout) alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

/// Where a program's stdin comes from.
#[non_exhaustive]
pub enum Stdin {
    /// Nothing: the program reads end-of-file at once.
    Empty,
    /// These bytes, then end-of-file.
    Bytes(Bytes),
    /// Whatever this reader yields, as it comes.
    Stream(Box<dyn AsyncRead + Send + Unpin>),
}

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// What the host tells a running step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// End it; the report's outcome is [`Cancelled`](crate::Outcome::Cancelled).
    Cancel,
    /// Send the main process this signal.
    Signal(Signal),
    /// The terminal has a new size.
    Resize(TerminalSize),
    /// No more stdin comes, whatever the reader would yield.
    CloseStdin,
}

/// How many controls may wait; a sender beyond that waits too.
const CONTROL_DEPTH: usize = 16;

/// Sends [`Control`]s to a step; clones send to the same one.
#[derive(Clone, Debug)]
pub struct ControlSender(mpsc::Sender<Control>);

/// The end of a control channel that a backend reads.
#[derive(Debug)]
pub struct ControlReceiver(mpsc::Receiver<Control>);

/// A channel of controls to one step.
#[must_use]
pub fn controls() -> (ControlSender, ControlReceiver) {
    let (sender, receiver) = mpsc::channel(CONTROL_DEPTH);
    (ControlSender(sender), ControlReceiver(receiver))
}

impl ControlSender {
    /// Sends a control; `false` if the step has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, nothing was sent.
    pub async fn send(&self, control: Control) -> bool {
        self.0.send(control).await.is_ok()
    }
}

impl ControlReceiver {
    /// The next control; `None` once every sender is gone.
    ///
    /// # Cancel safety
    ///
    /// No control is lost if the future is dropped.
    pub async fn recv(&mut self) -> Option<Control> {
        self.0.recv().await
    }
}

/// The host's side of a running step.
///
/// The backend calls [`stdin`](Self::stdin) and [`controls`](Self::controls)
/// once before it starts the program, then [`output`](Self::output) for each
/// piece that the program writes. A slow `output` slows the program, not the
/// host. The limit on output is held by the backend: what it hands over is
/// never more.
#[async_trait]
pub trait StepIo: Send {
    /// Where stdin comes from. Not asked if the step's stdio is joined elsewhere.
    fn stdin(&mut self) -> Stdin {
        Stdin::Empty
    }

    /// Where controls come from, if any will.
    fn controls(&mut self) -> Option<ControlReceiver> {
        None
    }

    /// Takes a piece of output.
    async fn output(&mut self, stream: OutputStream, piece: &[u8]);
}

/// A [`StepIo`] that feeds bytes and keeps what comes out.
#[derive(Debug, Default)]
pub struct Collect {
    stdin: Option<Stdin>,
    controls: Option<ControlReceiver>,
    stdout: BytesMut,
    stderr: BytesMut,
}

impl Collect {
    /// Feeds `stdin` and keeps the output.
    pub fn new(stdin: impl Into<Bytes>) -> Self {
        Self::from_stdin(Stdin::Bytes(stdin.into()))
    }

    /// Feeds from any source.
    #[must_use]
    pub fn from_stdin(stdin: Stdin) -> Self {
        Self { stdin: Some(stdin), ..Self::default() }
    }

    /// Lets the step be controlled.
    #[must_use]
    pub fn with_controls(mut self, controls: ControlReceiver) -> Self {
        self.controls = Some(controls);
        self
    }

    /// What was kept: stdout, stderr.
    #[must_use]
    pub fn into_output(self) -> (Bytes, Bytes) {
        (self.stdout.freeze(), self.stderr.freeze())
    }

    /// How much was kept of both streams so far.
    #[must_use]
    pub fn len(&self) -> ByteSize {
        ByteSize::bytes((self.stdout.len() + self.stderr.len()) as u64)
    }

    /// Whether nothing was kept so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stdout.is_empty() && self.stderr.is_empty()
    }
}

#[async_trait]
impl StepIo for Collect {
    fn stdin(&mut self) -> Stdin {
        self.stdin.take().unwrap_or(Stdin::Empty)
    }

    fn controls(&mut self) -> Option<ControlReceiver> {
        self.controls.take()
    }

    async fn output(&mut self, stream: OutputStream, piece: &[u8]) {
        match stream {
            OutputStream::Stdout => self.stdout.extend_from_slice(piece),
            OutputStream::Stderr => self.stderr.extend_from_slice(piece),
        }
    }
}
