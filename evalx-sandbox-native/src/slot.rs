//! [`Slot`]: the host's end of a zygote and its cells.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream as StdStream;

use evalx_host::{Owner, WorkFolder};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, Shutdown, send, sendmsg, shutdown};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use crate::error::NativeError;
use crate::sys;
use crate::wire::{ANSWER_WORDS, Answer, Control, Done, Shape, Stopped};

/// One zygote, as the host sees it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) index: u64,
    command: UnixStream,
    /// Not known to the runtime: what comes here is looked for when it is
    /// needed, and wakes nobody before.
    control: StdStream,
    generation: u64,
    shape: Shape,
    owner: Option<Owner>,
    ready: Option<WorkFolder>,
}

/// How far a slot is whose session has not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotState {
    /// Its session is prepared, or it has said why it can't be.
    Prepared,
    /// Nothing was heard of it yet.
    Preparing,
    /// The zygote and its cell are dead.
    Dead,
}

impl Slot {
    pub(crate) const fn new(
        index: u64,
        command: UnixStream,
        control: StdStream,
        shape: Shape,
        owner: Option<Owner>,
    ) -> Self {
        Self { index, command, control, generation: 0, shape, owner, ready: None }
    }

    pub(crate) const fn shape(&self) -> Shape {
        self.shape
    }

    /// Ends what runs, throws the session away, and has the next one prepared.
    /// Returns at once.
    pub(crate) fn reset(&mut self, shape: Shape) -> Result<(), NativeError> {
        self.generation += 1;
        self.shape = shape;
        self.ready = None;
        self.control(Control::Reset { generation: self.generation, shape })
    }

    fn control(&self, control: Control) -> Result<(), NativeError> {
        let bytes = control.encode();
        // A few dozen bytes to a reader that is never long away: a full
        // buffer means that the zygote hangs, which is as good as dead.
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        match send(self.control.as_raw_fd(), &bytes, flags) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(_) => Err(NativeError::SlotDied),
            Err(error) => Err(NativeError::Talk(error.into())),
        }
    }

    /// What is known of the zygote and its cell, without waiting.
    pub(crate) fn state(&self) -> SlotState {
        let mut ends = [PollFd::new(self.control.as_fd(), PollFlags::POLLIN)];
        let polled = poll(&mut ends, PollTimeout::ZERO);
        let seen = polled.ok().and_then(|_| ends[0].revents()).unwrap_or(PollFlags::empty());
        if seen.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) {
            SlotState::Dead
        } else if self.ready.is_some() || seen.contains(PollFlags::POLLIN) {
            SlotState::Prepared
        } else {
            SlotState::Preparing
        }
    }

    /// Has another cell made, for one more step of the session.
    pub(crate) fn again(&self) -> Result<(), NativeError> {
        self.control(Control::Again)
    }

    /// Ends the running step, whose future was dropped; it reports.
    pub(crate) fn abandon(&self) {
        if self.control(Control::Stop(Stopped::Cancelled)).is_err() {
            // It has so much to read that it can't be told: it is told by
            // the end of the socket, ends, and is replaced.
            let _ = shutdown(self.control.as_raw_fd(), Shutdown::Both);
        }
    }

    /// Ends the running step; it reports.
    pub(crate) async fn stop(&self, why: Stopped) {
        self.tell(Control::Stop(why)).await;
    }

    /// Sends the running program a signal.
    pub(crate) async fn signal(&self, signal: i32) {
        self.tell(Control::Signal(signal)).await;
    }

    /// Tells the zygote something, after what it has still to read.
    async fn tell(&self, control: Control) {
        while let Err(NativeError::Talk(error)) = self.control(control) {
            // A slot that can't be told is dead, and its end is seen elsewhere.
            if error.kind() != std::io::ErrorKind::WouldBlock || self.wait(Interest::WRITABLE).await.is_err()
            {
                return;
            }
        }
    }

    /// Waits until the control socket is ready, which is rarely needed.
    async fn wait(&self, interest: Interest) -> std::io::Result<()> {
        UnixStream::from_std(self.control.try_clone()?)?.ready(interest).await.map(drop)
    }

    /// Waits until the session asked for last is prepared.
    pub(crate) async fn ready(&mut self) -> Result<WorkFolder, NativeError> {
        if let Some(folder) = &self.ready {
            return Ok(folder.clone());
        }
        loop {
            match self.prepared().await? {
                (Answer::Ready { generation }, Some(descriptor)) if generation == self.generation => {
                    let folder = WorkFolder::new(descriptor, self.owner);
                    self.ready = Some(folder.clone());
                    return Ok(folder);
                }
                (Answer::Failed { generation, stage, errno }, _) if generation == self.generation => {
                    return Err(NativeError::Stage(stage, nix::errno::Errno::from_raw(errno)));
                }
                // This process has no descriptor left to take the folder with.
                (Answer::Ready { generation }, None) if generation == self.generation => {
                    return Err(NativeError::Talk(nix::errno::Errno::EMFILE.into()));
                }
                // Of a session that has been thrown away.
                _ => {}
            }
        }
    }

    /// Waits for the answer to the order that was sent.
    ///
    /// # Cancel safety
    ///
    /// No answer is lost if the future is dropped.
    pub(crate) async fn answer(&self) -> Result<Answer, NativeError> {
        loop {
            let receive = || receive(self.command.as_raw_fd());
            let received = self.command.async_io(Interest::READABLE, receive).await;
            let (answer, _) = understand(received.map_err(NativeError::Talk)?)?;
            let (Answer::Ready { generation }
            | Answer::Done(Done { generation, .. })
            | Answer::Failed { generation, .. }) = answer;
            if generation == self.generation {
                return Ok(answer);
            }
        }
    }

    /// Waits for what the zygote or a cell says of a session's preparation.
    async fn prepared(&self) -> Result<(Answer, Option<OwnedFd>), NativeError> {
        loop {
            match receive(self.control.as_raw_fd()) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.wait(Interest::READABLE).await.map_err(NativeError::Talk)?;
                }
                received => return understand(received.map_err(NativeError::Talk)?),
            }
        }
    }

    /// Sends an order with the program's stdin, stdout and stderr.
    pub(crate) async fn order(
        &mut self,
        message: &[u8],
        stdio: &[BorrowedFd<'_>],
    ) -> Result<(), NativeError> {
        let raw: Vec<i32> = stdio.iter().map(AsRawFd::as_raw_fd).collect();
        let first = self
            .command
            .async_io(Interest::WRITABLE, || {
                let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
                let rights = [ControlMessage::ScmRights(&raw)];
                Ok(sendmsg::<()>(self.command.as_raw_fd(), &[IoSlice::new(message)], &rights, flags, None)?)
            })
            .await;
        let sent = first.map_err(NativeError::Talk)?;
        self.command.write_all(&message[sent..]).await.map_err(NativeError::Talk)
    }
}

/// What came over a socket.
struct Received {
    bytes: [u8; ANSWER_WORDS * 8],
    length: usize,
    descriptor: Option<OwnedFd>,
}

fn receive(socket: RawFd) -> std::io::Result<Received> {
    let mut bytes = [0; ANSWER_WORDS * 8];
    let mut fds = [-1; sys::MAX_FDS];
    let length = sys::receive(socket, &mut bytes, &mut fds)?;
    Ok(Received { bytes, length, descriptor: sys::own(fds[0]) })
}

fn understand(received: Received) -> Result<(Answer, Option<OwnedFd>), NativeError> {
    let Received { bytes, length, descriptor } = received;
    if length != bytes.len() {
        return Err(NativeError::SlotDied);
    }
    if bytes.starts_with(&u64::MAX.to_ne_bytes()) {
        let mut stage = [0; 8];
        stage.copy_from_slice(&bytes[8..16]);
        let text = String::from_utf8_lossy(&bytes[16..]).trim_end_matches('\0').to_owned();
        return Err(NativeError::Slot { stage: u64::from_ne_bytes(stage), text });
    }
    Answer::decode(&bytes).map(|answer| (answer, descriptor)).ok_or(NativeError::SlotDied)
}
