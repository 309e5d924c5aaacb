//! [`Host`]: the host's ends of a step's streams, and the loop that attends to them.

use std::io;
use std::os::fd::OwnedFd;

use evalx_core::{
    ByteSize, Control, ControlReceiver, Error, ErrorKind, OutputStream, Result, Stdin, Stdio, StepIo,
    StreamSummary,
};
use evalx_host::{Feed, next_control, output_pipe};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use crate::error::IsolateError;
use crate::keeper::{End, Keeper, Stopped};

/// How much is read at once: all that a pipe holds.
const PIECE: usize = 64 << 10;

/// The program's ends. Its stderr is opened by isolate itself.
pub(crate) struct Ends {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
}

/// A stream that comes out; `None` at its end, or if it goes elsewhere.
#[derive(Default)]
struct Drain {
    source: Option<pipe::Receiver>,
    summary: StreamSummary,
}

/// The host's side of one running step.
pub(crate) struct Host {
    feed: Feed,
    stdout: Drain,
    stderr: Drain,
    controls: Option<ControlReceiver>,
    limit: u64,
    buffer: Box<[u8]>,
}

impl Host {
    /// Makes the streams; what fits in a pipe of stdin is put there at once.
    pub(crate) fn open(stdio: Stdio, io: &mut dyn StepIo, limit: ByteSize) -> Result<(Self, Ends)> {
        let mut host = Self {
            feed: Feed::default(),
            stdout: Drain::default(),
            stderr: Drain::default(),
            controls: io.controls(),
            limit: limit.as_u64(),
            buffer: vec![0; PIECE].into_boxed_slice(),
        };
        let ends = match stdio {
            Stdio::Pipes => host.open_pipes(io.stdin()),
            Stdio::Joined { stdin, stdout } => Ok(Ends { stdin: stdin.into(), stdout: stdout.into() }),
            _ => {
                return Err(Error::new(ErrorKind::Unsupported, "isolate has no terminal to give")
                    .with_help("ask for pipes, or use another backend"));
            }
        };
        Ok((host, ends.map_err(IsolateError::Streams)?))
    }

    fn open_pipes(&mut self, stdin: Stdin) -> io::Result<Ends> {
        let (feed, stdin) = Feed::pipe(stdin)?;
        self.feed = feed;
        Ok(Ends { stdin, stdout: self.stdout.open()? })
    }

    /// What came out so far.
    pub(crate) const fn summary(&self) -> (StreamSummary, StreamSummary) {
        (self.stdout.summary, self.stderr.summary)
    }

    /// Feeds, drains and controls the step until isolate has ended and all the
    /// program's output is delivered.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it loses output that was not delivered. The step runs on.
    pub(crate) async fn attend(
        &mut self,
        keeper: &Keeper,
        mut gate: oneshot::Receiver<OwnedFd>,
        io: &mut dyn StepIo,
    ) -> End {
        let mut closed = true;
        let end = loop {
            // Every branch is cancel-safe: the runtime keeps readiness, and
            // what was taken off a stream is kept in `self`.
            let stream = tokio::select! {
                biased;
                control = next_control(&mut self.controls) => {
                    self.control(control, keeper);
                    continue;
                }
                stderr = &mut gate, if closed => {
                    closed = false;
                    self.stderr.take(stderr.ok());
                    continue;
                }
                () = self.stdout.readable() => OutputStream::Stdout,
                () = self.stderr.readable() => OutputStream::Stderr,
                end = keeper.ended() => break end,
                () = self.feed.feed() => continue,
            };
            if let Some(length) = self.read(stream) {
                self.deliver(stream, length, keeper, io).await;
            }
        };
        self.feed.close();
        if closed {
            self.stderr.take(gate.try_recv().ok());
        }
        // The tree is dead: what is in the pipes is all that comes.
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            while let Some(length) = self.rest(stream) {
                self.deliver(stream, length, keeper, io).await;
            }
        }
        end
    }

    fn drain(&mut self, stream: OutputStream) -> (&mut Drain, &mut [u8]) {
        match stream {
            OutputStream::Stdout => (&mut self.stdout, &mut self.buffer),
            OutputStream::Stderr => (&mut self.stderr, &mut self.buffer),
        }
    }

    /// Reads what is there of a stream, without waiting.
    fn read(&mut self, stream: OutputStream) -> Option<usize> {
        let (drain, buffer) = self.drain(stream);
        match drain.source.as_ref()?.try_read(buffer) {
            Ok(length @ 1..) => Some(length),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            _ => {
                drain.source = None;
                None
            }
        }
    }

    /// Reads what is left of a stream whose writers are gone, past the runtime,
    /// which may not have heard yet that there is something.
    fn rest(&mut self, stream: OutputStream) -> Option<usize> {
        let (drain, buffer) = self.drain(stream);
        nix::unistd::read(drain.source.as_ref()?, buffer).ok().filter(|length| *length > 0)
    }

    async fn deliver(&mut self, stream: OutputStream, length: usize, keeper: &Keeper, io: &mut dyn StepIo) {
        let limit = self.limit;
        let (drain, _) = self.drain(stream);
        let allowed = limit.saturating_sub(drain.summary.bytes);
        drain.summary.bytes += length as u64;
        let allowed = ByteSize::bytes(allowed).as_usize().min(length);
        if allowed < length && !drain.summary.truncated {
            drain.summary.truncated = true;
            keeper.stop(Stopped::Output);
        }
        if allowed > 0 {
            io.output(stream, &self.buffer[..allowed]).await;
        }
    }

    fn control(&mut self, control: Option<Control>, keeper: &Keeper) {
        match control {
            None => self.controls = None,
            Some(Control::Cancel) => keeper.stop(Stopped::Cancelled),
            Some(Control::Signal(signal)) => keeper.signal(signal.number()),
            Some(Control::CloseStdin) => self.feed.close(),
            Some(_) => {}
        }
    }
}

impl Drain {
    fn open(&mut self) -> io::Result<OwnedFd> {
        let (reader, writer) = output_pipe()?;
        self.source = Some(pipe::Receiver::from_owned_fd(reader)?);
        Ok(writer)
    }

    /// Takes what comes out of a gate that was opened.
    fn take(&mut self, stream: Option<OwnedFd>) {
        // It fails only where the runtime has no room for it; the output is
        // then lost as if the program had made none.
        self.source = stream.and_then(|stream| pipe::Receiver::from_owned_fd(stream).ok());
    }

    /// Waits until there is something to read, or the end; for ever after it.
    async fn readable(&self) {
        let ready = match &self.source {
            None => false,
            Some(receiver) => receiver.readable().await.is_ok(),
        };
        if !ready {
            std::future::pending::<()>().await;
        }
    }
}
