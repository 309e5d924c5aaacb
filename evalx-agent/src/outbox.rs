//! What the supervisor has to tell the host, until the host takes it.

use std::io;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;
use std::os::fd::AsFd;

use crate::wire::FromAgent;

/// From so many bytes on, nothing more is read from a program.
const FULL: usize = 512 << 10;

/// Messages on their way to the host; what is pushed between two flushes goes
/// out together.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Vec<u8>,
    /// How much of it was written.
    written: usize,
}

/// Lets a descriptor answer at once, whether or not it has something to say.
pub(crate) fn never_wait(fd: impl AsFd) -> Result<(), Errno> {
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop)
}

impl Outbox {
    pub(crate) fn push(&mut self, message: &FromAgent) {
        self.waiting.extend_from_slice(&message.encode());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether programs should not be read from just now.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() - self.written >= FULL
    }

    /// Writes as much as the host takes now.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.written < self.waiting.len() {
            match write(io::stdout().as_fd(), &self.waiting[self.written..]) {
                Ok(count) => self.written += count,
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // What was written is let go of once it is the larger part.
        if self.written * 2 >= self.waiting.len() {
            self.waiting.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }

    /// Waits until the host has taken enough that more may be added.
    pub(crate) fn make_room(&mut self) -> io::Result<()> {
        self.flush()?;
        while self.is_full() {
            let stdout = io::stdout();
            match poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => self.flush()?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
