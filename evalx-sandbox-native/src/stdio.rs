//! The host's ends of a step's streams, and the loop that attends to them.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use evalx_core::{
    ByteSize, Control, ControlReceiver, OutputStream, Stdin, Stdio, StepIo, StreamSummary, TerminalSize,
};
use evalx_host::{Feed, next_control, nonblocking, output_pipe};
use nix::pty::{OpenptyResult, Winsize, openpty};
use tokio::net::unix::pipe;

use crate::error::NativeError;
use crate::slot::Slot;
use crate::terminal;
use crate::wire::{Answer, Stopped};

/// The program's ends: stdin, stdout, stderr, or one terminal.
pub(crate) type Ends = Vec<OwnedFd>;

/// How long a terminal's end may take to come when its last writer is dead.
const HANG_UP: Duration = Duration::from_secs(1);

/// How long output may wait when the program has just begun.
const PATIENCE: Duration = Duration::from_millis(2);

/// How much is read at once of a stream that is watched: all that a pipe holds.
const PIECE: usize = 64 << 10;

/// How much is read at once of what a short program left.
const SMALL_PIECE: usize = 4 << 10;

/// A stream that comes out.
struct Drain {
    source: Source,
    summary: StreamSummary,
}

enum Source {
    Ended,
    /// Not yet known to the runtime.
    Unwatched(OwnedFd),
    /// A pipe, or the master of a terminal: both are read alike.
    Open(pipe::Receiver),
}

/// The host's side of one running step.
pub(crate) struct Host {
    feed: Feed,
    stdout: Drain,
    stderr: Drain,
    terminal: Option<OwnedFd>,
    controls: Option<ControlReceiver>,
    limit: u64,
    stopped: bool,
    buffer: Box<[u8]>,
}

impl Host {
    /// Makes the streams; what fits in a pipe of stdin is put there at once.
    pub(crate) fn open(stdio: Stdio, io: &mut dyn StepIo, limit: ByteSize) -> io::Result<(Self, Ends)> {
        let controls = io.controls();
        let mut host = Self {
            feed: Feed::default(),
            stdout: Drain::new(),
            stderr: Drain::new(),
            terminal: None,
            controls,
            limit: limit.as_u64(),
            stopped: false,
            buffer: vec![0; SMALL_PIECE].into_boxed_slice(),
        };
        let ends = match stdio {
            Stdio::Joined { stdin, stdout } => {
                let stderr = host.stderr.pipe()?;
                vec![stdin.into(), stdout.into(), stderr]
            }
            Stdio::Terminal(size) => {
                let end = host.open_terminal(size, io.stdin())?;
                vec![end]
            }
            // Pipes, and whatever is added later without being known here.
            _ => {
                let (feed, stdin) = Feed::pipe(io.stdin())?;
                host.feed = feed;
                let stdout = host.stdout.pipe()?;
                let stderr = host.stderr.pipe()?;
                vec![stdin, stdout, stderr]
            }
        };
        Ok((host, ends))
    }

    fn open_terminal(&mut self, size: TerminalSize, stdin: Stdin) -> io::Result<OwnedFd> {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(&size, None)?;
        nonblocking(&master)?;
        self.terminal = Some(master.try_clone()?);
        self.stdout.source = Source::Open(pipe::Receiver::from_owned_fd_unchecked(master.try_clone()?)?);
        self.feed = Feed::through(stdin, || pipe::Sender::from_owned_fd_unchecked(master.try_clone()?))?;
        Ok(slave)
    }

    /// What came out so far.
    pub(crate) fn summary(&self) -> (StreamSummary, StreamSummary) {
        (self.stdout.summary, self.stderr.summary)
    }

    /// Feeds, drains and controls the step until it has answered and all its
    /// output is delivered.
    pub(crate) async fn attend(&mut self, slot: &Slot, io: &mut dyn StepIo) -> Result<Answer, NativeError> {
        if let Some(answer) = self.wait_for_a_short_program(slot).await {
            let answer = answer?;
            self.deliver_rest(slot, io).await;
            return Ok(answer);
        }
        self.buffer = vec![0; PIECE].into_boxed_slice();
        self.stdout.source.watch().map_err(NativeError::Talk)?;
        self.stderr.source.watch().map_err(NativeError::Talk)?;
        let answer = loop {
            // Every branch is cancel-safe: the runtime keeps readiness, and
            // what was taken off a stream is kept in `self`.
            let stream = tokio::select! {
                biased;
                control = next_control(&mut self.controls) => {
                    self.control(control, slot).await;
                    continue;
                }
                () = self.stdout.source.readable() => OutputStream::Stdout,
                () = self.stderr.source.readable() => OutputStream::Stderr,
                answer = slot.answer() => break answer?,
                () = self.feed.feed() => continue,
            };
            if let Some(length) = self.read(stream) {
                self.deliver(stream, length, slot, io).await;
            }
        };
        self.deliver_rest(slot, io).await;
        Ok(answer)
    }

    /// Most programs are over before it pays to look at their output as it
    /// comes: each look wakes this thread in the middle of the program. What
    /// they write meanwhile waits in the pipes.
    async fn wait_for_a_short_program(&mut self, slot: &Slot) -> Option<Result<Answer, NativeError>> {
        if self.terminal.is_some() || !self.feed.is_done() {
            return None;
        }
        let patience = tokio::time::sleep(PATIENCE);
        tokio::pin!(patience);
        loop {
            // Cancel-safe, as in `attend`.
            tokio::select! {
                biased;
                control = next_control(&mut self.controls) => self.control(control, slot).await,
                answer = slot.answer() => return Some(answer),
                () = &mut patience => return None,
            }
        }
    }

    /// The tree is dead: what is in the pipes is all that comes.
    async fn deliver_rest(&mut self, slot: &Slot, io: &mut dyn StepIo) {
        self.feed.close();
        if self.terminal.is_some() {
            // What was written to a terminal reaches its master a moment later,
            // and is followed by its end.
            let end = async {
                while !matches!(self.stdout.source, Source::Ended) {
                    self.stdout.source.readable().await;
                    if let Some(length) = self.read(OutputStream::Stdout) {
                        self.deliver(OutputStream::Stdout, length, slot, io).await;
                    }
                }
            };
            let _ = tokio::time::timeout(HANG_UP, end).await;
        }
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            while let Some(length) = self.rest(stream) {
                self.deliver(stream, length, slot, io).await;
            }
        }
    }

    fn drain(&mut self, stream: OutputStream) -> &mut Drain {
        match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        }
    }

    /// Reads what is there of a stream, without waiting.
    fn read(&mut self, stream: OutputStream) -> Option<usize> {
        let drain = match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        };
        drain.source.read(&mut self.buffer)
    }

    /// Reads what is left of a stream whose writers are gone.
    fn rest(&mut self, stream: OutputStream) -> Option<usize> {
        let drain = match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        };
        // Past the runtime, which may not have heard yet that there is something.
        let read = match &drain.source {
            Source::Ended => return None,
            Source::Unwatched(descriptor) => nix::unistd::read(descriptor, &mut self.buffer),
            Source::Open(receiver) => nix::unistd::read(receiver, &mut self.buffer),
        };
        read.ok().filter(|length| *length > 0)
    }

    async fn deliver(&mut self, stream: OutputStream, length: usize, slot: &Slot, io: &mut dyn StepIo) {
        let limit = self.limit;
        let drain = self.drain(stream);
        let allowed = limit.saturating_sub(drain.summary.bytes);
        drain.summary.bytes += length as u64;
        let allowed = ByteSize::bytes(allowed).as_usize().min(length);
        if allowed < length {
            drain.summary.truncated = true;
            if !self.stopped {
                self.stopped = true;
                slot.stop(Stopped::Output).await;
            }
        }
        if allowed > 0 {
            io.output(stream, &self.buffer[..allowed]).await;
        }
    }

    async fn control(&mut self, control: Option<Control>, slot: &Slot) {
        match control {
            None => self.controls = None,
            Some(Control::Cancel) => slot.stop(Stopped::Cancelled).await,
            Some(Control::Signal(signal)) => slot.signal(signal.number()).await,
            Some(Control::Resize(size)) => {
                if let Some(terminal) = &self.terminal {
                    terminal::resize(terminal, size);
                }
            }
            Some(Control::CloseStdin) => self.feed.close(),
            Some(_) => {}
        }
    }
}

impl Drain {
    fn new() -> Self {
        Self { source: Source::Ended, summary: StreamSummary::default() }
    }

    fn pipe(&mut self) -> io::Result<OwnedFd> {
        let (reader, writer) = output_pipe()?;
        self.source = Source::Unwatched(reader);
        Ok(writer)
    }
}

impl Source {
    /// Makes it known to the runtime.
    fn watch(&mut self) -> io::Result<()> {
        *self = match std::mem::replace(self, Self::Ended) {
            Self::Unwatched(descriptor) => Self::Open(pipe::Receiver::from_owned_fd(descriptor)?),
            other => other,
        };
        Ok(())
    }

    /// Waits until there is something to read, or the end; for ever after it.
    async fn readable(&self) {
        let ready = match self {
            Self::Ended | Self::Unwatched(_) => return std::future::pending().await,
            Self::Open(receiver) => receiver.readable().await.is_ok(),
        };
        if !ready {
            std::future::pending::<()>().await;
        }
    }

    /// Reads what is there, without waiting; `None` if nothing is.
    fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        let result = match self {
            Self::Ended | Self::Unwatched(_) => return None,
            Self::Open(receiver) => receiver.try_read(buffer),
        };
        match result {
            Ok(length @ 1..) => Some(length),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            // The end, which a terminal says by EIO.
            _ => {
                *self = Self::Ended;
                None
            }
        }
    }
}
