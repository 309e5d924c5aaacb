//! What a host and its agent say to each other.
//!
//! Both ends of the stream are evalx of one version; [`VERSION`] says which.
//! The host trusts the agent as far as a container may be trusted: every
//! message is parsed with caps, and nothing in one makes the host open a path,
//! allocate what it did not ask for, or wait for ever.

use std::ffi::OsString;

use crate::codec::{Decoder, Encoder};

/// The version of these messages.
pub const VERSION: u64 = 3;
/// The longest message, in bytes: an order with a mebibyte of arguments.
pub const LONGEST: usize = 4 << 20;
/// How much of a file or a stream travels in one message.
pub const PIECE: usize = 128 << 10;
/// How many bytes of stdin may be on their way to a program that has not taken them.
pub const STDIN_WINDOW: usize = 256 << 10;
/// How many bytes of output may be on their way to a host that has not taken
/// them: an engine's own buffers would take a mebibyte from a program that
/// nobody listens to.
pub const OUTPUT_WINDOW: usize = 256 << 10;
/// How many cells wait for the steps to come where each has a control group of
/// its own, and so is no part of another step's figures. To move one there takes
/// the kernel as long as a few short steps, now and then: those find others.
pub const CELLS_AHEAD: u64 = 4;

/// What a step's standard streams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// Three pipes.
    Pipes,
    /// A terminal of so many rows and columns.
    Terminal(u16, u16),
}

/// One step: what is run, and what it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The program, an absolute path or one from the work folder, or a name for `PATH`.
    pub program: OsString,
    /// Its arguments, without its own name.
    pub arguments: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Its standard streams.
    pub streams: Streams,
    /// Whether it may make Internet sockets.
    pub network: bool,
    /// CPU time, in nanoseconds.
    pub cpu_ns: u64,
    /// Wall time, in nanoseconds.
    pub wall_ns: u64,
    /// Bytes of stdout, and of stderr.
    pub output: [u64; 2],
    /// Bytes of one file.
    pub disk: u64,
    /// Bytes of the main thread's stack.
    pub stack: u64,
    /// Descriptors.
    pub open_files: u64,
}

/// Why the agent stopped a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stopped {
    /// It did not.
    #[default]
    No,
    /// The host asked for it.
    Cancelled,
    /// A limit was met; the figures say which.
    Limit,
}

/// How a step ended, and what it used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Why the agent stopped it.
    pub stopped: Stopped,
    /// The main process's wait status, if it ended before its namespace did.
    pub status: Option<i32>,
    /// CPU time of the tree, in nanoseconds, and its parts.
    pub cpu_ns: u64,
    /// The part spent in user mode.
    pub user_ns: u64,
    /// The part spent in the kernel.
    pub system_ns: u64,
    /// From the order to the end of the tree, in nanoseconds.
    pub wall_ns: u64,
    /// The most memory at once, in bytes.
    pub memory_peak: u64,
    /// Whether that is the largest process's resident set, and not the group's.
    pub memory_by_rss: bool,
    /// Processes killed for want of memory.
    pub oom_kills: u64,
    /// The most processes at once; 0 where the kernel does not say.
    pub processes_peak: u64,
    /// How often the kernel refused a process.
    pub forks_refused: u64,
    /// Context switches that it waited for.
    pub voluntary: u64,
    /// Context switches forced on it.
    pub involuntary: u64,
    /// Bytes on the session's disk at the end.
    pub disk_used: u64,
    /// Whether none were left.
    pub disk_full: bool,
    /// Files on it.
    pub files_used: u64,
    /// Whether none more could be made.
    pub files_full: bool,
    /// Bytes of stdout that were read.
    pub stdout: u64,
    /// Bytes of stderr that were read.
    pub stderr: u64,
}

/// What the host tells the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToAgent {
    /// Begin a session with a disk of so many bytes and files.
    Open {
        /// Bytes in the work folder, `/tmp` and `/dev/shm`.
        disk: u64,
        /// Files and folders in them.
        files: u64,
    },
    /// Of the cells that have none yet, the first is in the control group of this
    /// name below the container's own; with no name, it is where it was born.
    Attach {
        /// The group's name.
        group: String,
    },
    /// Place a file; its contents follow in pieces.
    Write {
        /// Where, below the work folder.
        path: String,
        /// Whether it may be executed.
        executable: bool,
        /// How long it is.
        size: u64,
    },
    /// Keep a file for any number of sessions under this number; its contents
    /// follow in pieces. It has no answer.
    Store {
        /// A number that no other has.
        id: u64,
        /// How long it is.
        size: u64,
    },
    /// Place a copy of what is kept under this number.
    Place {
        /// Where, below the work folder.
        path: String,
        /// Whether it may be executed.
        executable: bool,
        /// Its number.
        id: u64,
    },
    /// Let go of what is kept under this number.
    Forget {
        /// Its number.
        id: u64,
    },
    /// Some of a file's contents.
    Piece(Vec<u8>),
    /// Send a regular file of at most `max` bytes.
    Read {
        /// Where, below the work folder.
        path: String,
        /// The most it may hold.
        max: u64,
    },
    /// Send a file or a tree of at most `max` bytes.
    Keep {
        /// Where, below the work folder.
        path: String,
        /// The most it may hold together.
        max: u64,
    },
    /// Run a step in the cell that has waited longest.
    Run(Order),
    /// Something about the step that runs; if none does, it came too late.
    Step(ToStep),
    /// End the session, and make sure that nothing of it is left.
    Close,
}

/// What the host tells a step that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToStep {
    /// Some stdin.
    Stdin(Vec<u8>),
    /// No more stdin comes.
    StdinEnd,
    /// Send the main process a signal.
    Signal(i32),
    /// The terminal has so many rows and columns.
    Resize(u16, u16),
    /// End the step.
    Cancel,
    /// Nobody wants any more stdout: whoever writes on is to be told.
    StdoutUnwanted,
    /// The host took so many bytes of output.
    Took(u64),
}

/// What the agent tells the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromAgent {
    /// It is there, and speaks this version.
    Hello(u64),
    /// It can't do its part, now or ever again.
    Broken(String),
    /// The session has begun.
    Opened,
    /// A cell waits for its control group.
    Cell {
        /// Its process number as the agent sees it.
        pid: u64,
    },
    /// What was asked is done.
    Done,
    /// What was asked can't be done; the request was wrong.
    Refused(String),
    /// A file of a kept tree follows in pieces.
    Entry {
        /// Where below the kept folder; empty if it is the file itself.
        path: String,
        /// Whether it may be executed.
        executable: bool,
        /// How long it is.
        size: u64,
    },
    /// Some of a file's contents.
    Piece(Vec<u8>),
    /// Some stdout.
    Stdout(Vec<u8>),
    /// Some stderr.
    Stderr(Vec<u8>),
    /// The program took so many bytes of stdin, or never will.
    Taken(u64),
    /// Nobody reads stdin any more.
    StdinClosed,
    /// The program could not be started, for this reason of the kernel's.
    NotStarted {
        /// The error number.
        errno: i32,
        /// What was attempted.
        what: String,
    },
    /// The step ended.
    Ended(Ended),
    /// The session ended; what was found to be left of it, if anything.
    Closed {
        /// Empty if nothing was.
        left: String,
    },
}

impl ToAgent {
    /// The message as it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let message = Encoder::message;
        match self {
            Self::Open { disk, files } => message(1).number(*disk).number(*files),
            Self::Attach { group } => message(2).text(group),
            Self::Write { path, executable, size } => message(3).text(path).flag(*executable).number(*size),
            Self::Piece(bytes) => message(4).rest(bytes),
            Self::Read { path, max } => message(5).text(path).number(*max),
            Self::Keep { path, max } => message(6).text(path).number(*max),
            Self::Run(order) => order.encode(message(7)),
            Self::Step(ToStep::Stdin(bytes)) => message(8).rest(bytes),
            Self::Step(ToStep::StdinEnd) => message(9),
            Self::Step(ToStep::Signal(number)) => message(10).number(u64::from(number.unsigned_abs())),
            Self::Step(ToStep::Resize(rows, columns)) => {
                message(11).number((*rows).into()).number((*columns).into())
            }
            Self::Step(ToStep::Cancel) => message(12),
            Self::Close => message(13),
            Self::Step(ToStep::StdoutUnwanted) => message(14),
            Self::Step(ToStep::Took(count)) => message(15).number(*count),
            Self::Store { id, size } => message(16).number(*id).number(*size),
            Self::Place { path, executable, id } => message(17).text(path).flag(*executable).number(*id),
            Self::Forget { id } => message(18).number(*id),
        }
        .finish()
    }

    /// The message that these bytes are, without the length before them.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, payload) = bytes.split_first()?;
        let mut parts = Decoder(payload);
        let message = match kind {
            1 => Self::Open { disk: parts.number()?, files: parts.number()? },
            2 => Self::Attach { group: parts.string()? },
            3 => Self::Write { path: parts.string()?, executable: parts.flag()?, size: parts.number()? },
            4 => return Some(Self::Piece(parts.rest().to_vec())),
            5 => Self::Read { path: parts.string()?, max: parts.number()? },
            6 => Self::Keep { path: parts.string()?, max: parts.number()? },
            7 => Self::Run(Order::decode(&mut parts)?),
            8 => return Some(Self::Step(ToStep::Stdin(parts.rest().to_vec()))),
            9 => Self::Step(ToStep::StdinEnd),
            10 => Self::Step(ToStep::Signal(parts.small()?)),
            11 => Self::Step(ToStep::Resize(parts.small()?, parts.small()?)),
            12 => Self::Step(ToStep::Cancel),
            13 => Self::Close,
            14 => Self::Step(ToStep::StdoutUnwanted),
            15 => Self::Step(ToStep::Took(parts.number()?)),
            16 => Self::Store { id: parts.number()?, size: parts.number()? },
            17 => Self::Place { path: parts.string()?, executable: parts.flag()?, id: parts.number()? },
            18 => Self::Forget { id: parts.number()? },
            _ => return None,
        };
        parts.end(message)
    }
}

impl Order {
    pub(crate) fn encode(&self, message: Encoder) -> Encoder {
        let (terminal, rows, columns) = match self.streams {
            Streams::Pipes => (false, 0, 0),
            Streams::Terminal(rows, columns) => (true, rows, columns),
        };
        let mut message = message.text(&self.program).number(self.arguments.len() as u64);
        for argument in &self.arguments {
            message = message.text(argument);
        }
        message = message.number(self.environment.len() as u64);
        for (name, value) in &self.environment {
            message = message.text(name).text(value);
        }
        message = message.flag(terminal).number(rows.into()).number(columns.into()).flag(self.network);
        let [stdout, stderr] = self.output;
        let numbers = [self.cpu_ns, self.wall_ns, stdout, stderr, self.disk, self.stack, self.open_files];
        numbers.into_iter().fold(message, Encoder::number)
    }

    pub(crate) fn decode(parts: &mut Decoder<'_>) -> Option<Self> {
        let program = parts.text()?;
        let arguments = parts.many(Decoder::text)?;
        let environment = parts.many(|parts| Some((parts.text()?, parts.text()?)))?;
        let (terminal, rows, columns) = (parts.flag()?, parts.small()?, parts.small()?);
        let streams = if terminal { Streams::Terminal(rows, columns) } else { Streams::Pipes };
        let network = parts.flag()?;
        let (cpu_ns, wall_ns, output) =
            (parts.number()?, parts.number()?, [parts.number()?, parts.number()?]);
        let (disk, stack, open_files) = (parts.number()?, parts.number()?, parts.number()?);
        let order = Self {
            program,
            arguments,
            environment,
            streams,
            network,
            cpu_ns,
            wall_ns,
            output,
            disk,
            stack,
            open_files,
        };
        Some(order)
    }
}

impl Ended {
    fn encode(&self, message: Encoder) -> Encoder {
        let stopped = match self.stopped {
            Stopped::No => 0,
            Stopped::Cancelled => 1,
            Stopped::Limit => 2,
        };
        let status = self.status.map_or(u64::MAX, |status| u64::from(status.unsigned_abs()));
        let numbers = [
            stopped,
            status,
            self.cpu_ns,
            self.user_ns,
            self.system_ns,
            self.wall_ns,
            self.memory_peak,
            self.oom_kills,
            self.processes_peak,
            self.forks_refused,
            self.voluntary,
            self.involuntary,
            self.disk_used,
            self.files_used,
            self.stdout,
            self.stderr,
        ];
        let message = numbers.into_iter().fold(message, Encoder::number);
        message.flag(self.memory_by_rss).flag(self.disk_full).flag(self.files_full)
    }

    fn decode(parts: &mut Decoder<'_>) -> Option<Self> {
        let stopped = match parts.number()? {
            0 => Stopped::No,
            1 => Stopped::Cancelled,
            2 => Stopped::Limit,
            _ => return None,
        };
        let status = match parts.number()? {
            u64::MAX => None,
            status => Some(i32::try_from(status).ok()?),
        };
        Some(Self {
            stopped,
            status,
            cpu_ns: parts.number()?,
            user_ns: parts.number()?,
            system_ns: parts.number()?,
            wall_ns: parts.number()?,
            memory_peak: parts.number()?,
            oom_kills: parts.number()?,
            processes_peak: parts.number()?,
            forks_refused: parts.number()?,
            voluntary: parts.number()?,
            involuntary: parts.number()?,
            disk_used: parts.number()?,
            files_used: parts.number()?,
            stdout: parts.number()?,
            stderr: parts.number()?,
            memory_by_rss: parts.flag()?,
            disk_full: parts.flag()?,
            files_full: parts.flag()?,
        })
    }
}

impl FromAgent {
    /// The message as it travels.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let message = Encoder::message;
        match self {
            Self::Hello(version) => message(65).number(*version),
            Self::Broken(why) => message(66).text(why),
            Self::Opened => message(67),
            Self::Cell { pid } => message(68).number(*pid),
            Self::Done => message(69),
            Self::Refused(why) => message(70).text(why),
            Self::Entry { path, executable, size } => message(71).text(path).flag(*executable).number(*size),
            Self::Piece(bytes) => message(72).rest(bytes),
            Self::Stdout(bytes) => message(73).rest(bytes),
            Self::Stderr(bytes) => message(74).rest(bytes),
            Self::Taken(count) => message(75).number(*count),
            Self::StdinClosed => message(76),
            Self::NotStarted { errno, what } => {
                message(77).number(u64::from(errno.unsigned_abs())).text(what)
            }
            Self::Ended(ended) => ended.encode(message(78)),
            Self::Closed { left } => message(79).text(left),
        }
        .finish()
    }

    /// The message that these bytes are, without the length before them.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, payload) = bytes.split_first()?;
        let mut parts = Decoder(payload);
        let message = match kind {
            65 => Self::Hello(parts.number()?),
            66 => Self::Broken(parts.string()?),
            67 => Self::Opened,
            68 => Self::Cell { pid: parts.number()? },
            69 => Self::Done,
            70 => Self::Refused(parts.string()?),
            71 => Self::Entry { path: parts.string()?, executable: parts.flag()?, size: parts.number()? },
            72 => return Some(Self::Piece(parts.rest().to_vec())),
            73 => return Some(Self::Stdout(parts.rest().to_vec())),
            74 => return Some(Self::Stderr(parts.rest().to_vec())),
            75 => Self::Taken(parts.number()?),
            76 => Self::StdinClosed,
            77 => Self::NotStarted { errno: parts.small()?, what: parts.string()? },
            78 => Self::Ended(Ended::decode(&mut parts)?),
            79 => Self::Closed { left: parts.string()? },
            _ => return None,
        };
        parts.end(message)
    }
}

/// Cuts a stream of bytes into messages.
#[derive(Debug, Default)]
pub struct Inbox {
    buffer: Vec<u8>,
    taken: usize,
}

/// A stream that is not one of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbled;

impl Inbox {
    /// Adds what came.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 && self.taken * 2 >= self.buffer.len() {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, decoded by `decode`, if there is one.
    ///
    /// # Errors
    ///
    /// [`Garbled`] if it is too long, or is none.
    pub fn next<T>(&mut self, decode: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>, Garbled> {
        let waiting = &self.buffer[self.taken..];
        let Some((length, rest)) = waiting.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(Garbled);
        }
        let Some(message) = rest.get(..length) else { return Ok(None) };
        let message = decode(message).ok_or(Garbled)?;
        self.taken += 4 + length;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order() -> Order {
        Order {
            program: "./a.out".into(),
            arguments: vec!["-x".into(), "".into()],
            environment: vec![("PATH".into(), "/bin".into())],
            streams: Streams::Terminal(24, 80),
            network: true,
            cpu_ns: 1,
            wall_ns: 2,
            output: [3, 7],
            disk: 4,
            stack: 5,
            open_files: 6,
        }
    }

    #[test]
    fn messages_arrive_as_they_were_sent() {
        let to = [
            ToAgent::Open { disk: 1, files: 2 },
            ToAgent::Attach { group: "g".to_owned() },
            ToAgent::Write { path: "a/b".to_owned(), executable: true, size: 9 },
            ToAgent::Piece(vec![1, 2, 3]),
            ToAgent::Read { path: "a".to_owned(), max: 5 },
            ToAgent::Keep { path: "a".to_owned(), max: 5 },
            ToAgent::Run(order()),
            ToAgent::Step(ToStep::Stdin(Vec::new())),
            ToAgent::Step(ToStep::StdinEnd),
            ToAgent::Step(ToStep::Signal(15)),
            ToAgent::Step(ToStep::Resize(1, 2)),
            ToAgent::Step(ToStep::Cancel),
            ToAgent::Close,
            ToAgent::Step(ToStep::StdoutUnwanted),
            ToAgent::Step(ToStep::Took(1)),
            ToAgent::Store { id: 1, size: 2 },
            ToAgent::Place { path: "a".to_owned(), executable: true, id: 1 },
            ToAgent::Forget { id: 1 },
        ];
        let mut inbox = Inbox::default();
        for message in &to {
            // Cut at the worst places.
            for byte in message.encode() {
                inbox.push(&[byte]);
            }
        }
        for message in to {
            assert_eq!(inbox.next(ToAgent::decode), Ok(Some(message)));
        }
        assert_eq!(inbox.next(ToAgent::decode), Ok(None));
        let ended = Ended { status: Some(139), stopped: Stopped::Limit, disk_full: true, ..Ended::default() };
        let from = [
            FromAgent::Hello(VERSION),
            FromAgent::Entry { path: "x".to_owned(), executable: false, size: 0 },
            FromAgent::NotStarted { errno: 2, what: "execute".to_owned() },
            FromAgent::Ended(ended),
            FromAgent::Closed { left: String::new() },
        ];
        for message in from {
            inbox.push(&message.encode());
            assert_eq!(inbox.next(FromAgent::decode), Ok(Some(message)));
        }
    }

    proptest! {
        #[test]
        fn nothing_that_comes_is_too_much(bytes: Vec<u8>) {
            let mut inbox = Inbox::default();
            inbox.push(&bytes);
            while let Ok(Some(_)) = inbox.next(FromAgent::decode) {}
            let _ = ToAgent::decode(&bytes);
        }

        #[test]
        fn a_cut_message_is_none(cut in 1_usize..60) {
            let bytes = ToAgent::Run(order()).encode();
            let message = &bytes[4..];
            prop_assert!(ToAgent::decode(&message[..message.len() - cut.min(message.len())]).is_none());
        }
    }
}
