//! What the supervisor has to tell the host, until the host takes it.

use std::collections::VecDeque;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;
use std::os::fd::AsFd;

use crate::wire::FromAgent;

/// From so many bytes on, nothing more is read from a program.
const FULL: usize = 512 << 10;

/// Messages on their way to the host.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<Vec<u8>>,
    /// How much of the first was written.
    written: usize,
    bytes: usize,
}

/// Lets a descriptor answer at once, whether or not it has something to say.
pub(crate) fn never_wait(fd: impl AsFd) -> Result<(), Errno> {
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop)
}

impl Outbox {
    pub(crate) fn push(&mut self, message: &FromAgent) {
        let bytes = message.encode();
        self.bytes += bytes.len();
        self.waiting.push_back(bytes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether programs should not be read from just now.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= FULL
    }

    /// Writes as much as the host takes now.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while let Some(first) = self.waiting.front() {
            match write(io::stdout().as_fd(), &first[self.written..]) {
                Ok(count) => self.written += count,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            if self.written == first.len() {
                self.bytes -= first.len();
                self.written = 0;
                self.waiting.pop_front();
            }
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
