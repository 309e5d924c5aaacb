//! [`Feed`]: brings a program its input; and what else a step is attended by.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use bytes::{Buf, Bytes};
use evalx_core::{Control, ControlReceiver, Stdin};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::unix::pipe;

/// How much is moved at once: all that a pipe holds.
const PIECE: usize = 64 << 10;

/// The way of a program's input from its source to a pipe or a terminal.
///
/// A program that closes its input ends the feed; that is no error.
#[derive(Debug, Default)]
pub struct Feed(State);

#[derive(Default)]
enum State {
    #[default]
    Done,
    Bytes(pipe::Sender, Bytes),
    Stream {
        sender: pipe::Sender,
        source: Box<dyn AsyncRead + Send + Unpin>,
        /// What was taken from the source and is not written yet.
        pending: Bytes,
    },
}

impl Feed {
    /// Feeds `stdin` into a new pipe, and gives the program's end of it. What
    /// fits in the pipe is put there at once.
    ///
    /// # Errors
    ///
    /// If this process has no descriptor left.
    pub fn pipe(stdin: Stdin) -> io::Result<(Self, OwnedFd)> {
        let (reader, writer) = io::pipe()?;
        let state = match stdin {
            Stdin::Bytes(mut bytes) if !bytes.is_empty() => {
                nonblocking(&writer)?;
                match nix::unistd::write(&writer, &bytes) {
                    Ok(written) => bytes.advance(written),
                    Err(Errno::EAGAIN) => {}
                    Err(error) => return Err(error.into()),
                }
                if bytes.is_empty() {
                    State::Done
                } else {
                    State::Bytes(pipe::Sender::from_owned_fd(writer.into())?, bytes)
                }
            }
            Stdin::Stream(source) => {
                nonblocking(&writer)?;
                let sender = pipe::Sender::from_owned_fd(writer.into())?;
                State::Stream { sender, source, pending: Bytes::new() }
            }
            // A pipe that nobody writes is at its end.
            _ => State::Done,
        };
        Ok((Self(state), reader.into()))
    }

    /// Feeds `stdin` into a sender that `make` makes if it is needed, such as
    /// the master of a terminal.
    ///
    /// # Errors
    ///
    /// Those of `make`.
    pub fn through(stdin: Stdin, make: impl FnOnce() -> io::Result<pipe::Sender>) -> io::Result<Self> {
        Ok(Self(match stdin {
            Stdin::Bytes(bytes) if !bytes.is_empty() => State::Bytes(make()?, bytes),
            Stdin::Stream(source) => State::Stream { sender: make()?, source, pending: Bytes::new() },
            _ => State::Done,
        }))
    }

    /// Whether there is nothing more to bring.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.0, State::Done)
    }

    /// Ends the input where it is.
    pub fn close(&mut self) {
        self.0 = State::Done;
    }

    /// Moves some bytes; pending for ever once there is nothing to move.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it loses nothing: the next call goes on where it was.
    pub async fn feed(&mut self) {
        match &mut self.0 {
            State::Done => return std::future::pending().await,
            State::Bytes(sender, bytes) => match push(sender, bytes).await {
                Ok(()) if !bytes.is_empty() => return,
                // All written, or nobody reads any more.
                _ => {}
            },
            State::Stream { sender, source, pending } => {
                if pending.is_empty() {
                    let mut piece = vec![0; PIECE];
                    if let Ok(length @ 1..) = source.read(&mut piece).await {
                        piece.truncate(length);
                        *pending = piece.into();
                        return;
                    }
                } else if push(sender, pending).await.is_ok() {
                    return;
                }
            }
        }
        self.close();
    }
}

async fn push(sender: &pipe::Sender, bytes: &mut Bytes) -> io::Result<()> {
    sender.writable().await?;
    match sender.try_write(bytes) {
        Ok(written) => bytes.advance(written),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// What the caller asks for next; pending for ever if it can't ask for anything.
///
/// # Cancel safety
///
/// Dropped, it loses no request.
pub async fn next_control(controls: &mut Option<ControlReceiver>) -> Option<Control> {
    match controls {
        Some(controls) => controls.recv().await,
        None => std::future::pending().await,
    }
}

/// A pipe for a program's output: the host's end, which does not block, and the
/// program's.
///
/// # Errors
///
/// If this process has no descriptor left.
pub fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    nonblocking(&reader)?;
    Ok((reader.into(), writer.into()))
}

/// Lets no call on `descriptor` wait.
///
/// # Errors
///
/// If it is none that can do so.
pub fn nonblocking(descriptor: &impl AsFd) -> io::Result<()> {
    fcntl(descriptor, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("Done"),
            Self::Bytes(_, bytes) => write!(f, "Bytes({} left)", bytes.len()),
            Self::Stream { pending, .. } => write!(f, "Stream({} pending)", pending.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::*;

    /// Reads a program's end to its end, in a thread: its reads wait.
    fn drain(end: OwnedFd) -> std::thread::JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            File::from(end).read_to_end(&mut bytes).expect("it is read");
            bytes
        })
    }

    /// More than a pipe holds.
    const LARGE: usize = 300_000;

    #[tokio::test]
    async fn what_fits_is_there_at_once_and_the_rest_follows() {
        let (feed, end) = Feed::pipe(Stdin::Bytes(Bytes::from_static(b"short"))).expect("a pipe is made");
        assert!(feed.is_done());
        assert_eq!(drain(end).join().expect("it ends"), b"short");

        let all: Vec<u8> = (0..LARGE).map(|index| index.to_le_bytes()[0]).collect();
        let sources =
            [Stdin::Bytes(all.clone().into()), Stdin::Stream(Box::new(io::Cursor::new(all.clone())))];
        for stdin in sources {
            let (mut feed, end) = Feed::pipe(stdin).expect("a pipe is made");
            let reader = drain(end);
            while !feed.is_done() {
                feed.feed().await;
            }
            assert_eq!(reader.join().expect("it ends"), all);
        }
    }

    #[tokio::test]
    async fn a_program_that_reads_no_more_ends_it() {
        let (mut feed, end) = Feed::pipe(Stdin::Bytes(vec![0; LARGE].into())).expect("a pipe is made");
        drop(end);
        while !feed.is_done() {
            feed.feed().await;
        }
    }
}
