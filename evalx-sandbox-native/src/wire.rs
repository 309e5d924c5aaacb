//! What host, zygote and cell say to each other, as arrays of 64-bit words.
//!
//! Two sockets lead to each slot. On the *command* socket the host sends
//! [`Order`]s, which the cell reads, and gets [`Answer`]s. On the *control*
//! socket it sends [`Control`]s, which the zygote reads while the cell is busy.
//! Both ends are the same executable, so that the native byte order will do.

use std::ffi::OsStr;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;

use crate::sys;

/// Words of an order before its texts.
pub(crate) const ORDER_WORDS: usize = 13;
/// Words of an answer.
pub(crate) const ANSWER_WORDS: usize = 21;
/// Words of a control.
pub(crate) const CONTROL_WORDS: usize = 6;

/// The order's stdin, stdout and stderr are one terminal.
pub(crate) const FLAG_TERMINAL: u64 = 1;

/// What a cell is to run. The words, in this order, follow the total length;
/// then the NUL-ended texts: pairs of stored artifact
/// and path, program candidates, arguments, environment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) flags: u64,
    pub(crate) cpu_ns: u64,
    pub(crate) wall_ns: u64,
    pub(crate) memory: u64,
    pub(crate) processes: u64,
    pub(crate) disk: u64,
    pub(crate) stack: u64,
    pub(crate) open_files: u64,
    pub(crate) programs: u64,
    pub(crate) arguments: u64,
    pub(crate) environment: u64,
    /// Artifacts to be mounted first.
    pub(crate) places: u64,
}

impl Order {
    /// The message: this order and its texts.
    pub(crate) fn encode<'a>(
        mut self,
        places: impl IntoIterator<Item = (&'a str, &'a str)>,
        programs: impl IntoIterator<Item = &'a OsStr>,
        arguments: impl IntoIterator<Item = &'a OsStr>,
        environment: impl IntoIterator<Item = (&'a OsStr, &'a OsStr)>,
    ) -> Vec<u8> {
        let mut message = vec![0; ORDER_WORDS * 8];
        let mut text = |parts: &[&[u8]]| {
            for part in parts {
                message.extend_from_slice(part);
            }
            message.push(0);
        };
        for (name, path) in places {
            text(&[name.as_bytes()]);
            text(&[path.as_bytes()]);
            self.places += 1;
        }
        for program in programs {
            text(&[program.as_bytes()]);
            self.programs += 1;
        }
        for argument in arguments {
            text(&[argument.as_bytes()]);
            self.arguments += 1;
        }
        for (name, value) in environment {
            text(&[name.as_bytes(), b"=", value.as_bytes()]);
            self.environment += 1;
        }
        let words: [u64; ORDER_WORDS] = [
            message.len() as u64,
            self.flags,
            self.cpu_ns,
            self.wall_ns,
            self.memory,
            self.processes,
            self.disk,
            self.stack,
            self.open_files,
            self.programs,
            self.arguments,
            self.environment,
            self.places,
        ];
        message[..ORDER_WORDS * 8].copy_from_slice(&to_bytes::<ORDER_WORDS, { ORDER_WORDS * 8 }>(words));
        message
    }

    /// Reads the words of a received order.
    pub(crate) fn decode(word: impl Fn(usize) -> u64) -> Self {
        Self {
            flags: word(1),
            cpu_ns: word(2),
            wall_ns: word(3),
            memory: word(4),
            processes: word(5),
            disk: word(6),
            stack: word(7),
            open_files: word(8),
            programs: word(9),
            arguments: word(10),
            environment: word(11),
            places: word(12),
        }
    }
}

/// Why a step was ended before its time. The order is that of precedence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Stopped {
    /// It was not.
    #[default]
    No = 0,
    /// The host asked for it.
    Cancelled = 1,
    /// A strict filter heard a forbidden call.
    Syscall = 2,
    /// A process of the tree was killed for want of memory.
    Memory = 3,
    WallTime = 4,
    CpuTime = 5,
    /// The host had read more output than allowed.
    Output = 6,
}

impl Stopped {
    pub(crate) const fn from_word(word: u64) -> Self {
        match word {
            1 => Self::Cancelled,
            2 => Self::Syscall,
            3 => Self::Memory,
            4 => Self::WallTime,
            5 => Self::CpuTime,
            6 => Self::Output,
            _ => Self::No,
        }
    }
}

/// What a cell was doing when a system call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Stage {
    Mounts = 1,
    Proc = 2,
    Namespaces = 3,
    Landlock = 4,
    Filter = 5,
    Limits = 6,
    Receive = 7,
    Fork = 8,
    Descriptors = 9,
    Identity = 10,
    Execute = 11,
    Network = 12,
    Cgroup = 13,
    Place = 14,
    UserNamespace = 15,
    Setup = 16,
}

impl Stage {
    /// Whether a step that failed there may have left its order in the socket,
    /// where the next cell would read it.
    pub(crate) fn may_leave_the_order_unread(word: u64) -> bool {
        use Stage::{Cgroup, Mounts, Namespaces, Network, Proc, Receive};
        [Mounts, Proc, Namespaces, Receive, Network, Cgroup].into_iter().any(|stage| stage as u64 == word)
    }

    pub(crate) const fn describe(word: u64) -> &'static str {
        match word {
            1 => "could not mount the work folder",
            2 => "could not mount /proc",
            3 => "could not enter the session's namespaces",
            4 => "could not set up Landlock",
            5 => "could not install the seccomp filter",
            6 => "could not set the limits",
            7 => "could not receive the order",
            8 => "could not fork the program",
            9 => "could not set up the program's descriptors",
            10 => "could not give up privileges",
            11 => "could not execute the program",
            12 => "could not bring up the loopback interface",
            13 => "could not make the step's cgroup",
            14 => "could not place an artifact",
            15 => "could not make a user namespace",
            16 => "could not be set up",
            _ => "failed",
        }
    }
}

/// What the slot says to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A fresh cell waits; a descriptor of the work folder comes with it.
    Ready { generation: u64 },
    /// The step is over and its tree is dead.
    Done(Done),
    /// The program was not started, or the cell could not be made.
    Failed { generation: u64, stage: u64, errno: i32 },
}

/// How a step went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Of which session: the answer to a step that was dropped may come late.
    pub(crate) generation: u64,
    pub(crate) stopped: Stopped,
    /// The wait status of the main process; `None` if it died with its cell.
    pub(crate) status: Option<i32>,
    pub(crate) cpu_ns: u64,
    pub(crate) user_ns: u64,
    pub(crate) system_ns: u64,
    pub(crate) wall_ns: u64,
    pub(crate) memory_peak: u64,
    /// The peak is the largest process's, since no cgroup told one.
    pub(crate) memory_by_rss: bool,
    pub(crate) oom_kills: u64,
    pub(crate) processes_peak: u64,
    pub(crate) forks_refused: u64,
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
    pub(crate) disk_used: u64,
    /// The disk had no room left at the end.
    pub(crate) disk_full: bool,
    pub(crate) files_used: u64,
    /// No file could be made any more at the end.
    pub(crate) files_full: bool,
    /// The number of the forbidden call.
    pub(crate) syscall: i32,
}

impl Answer {
    pub(crate) fn encode(&self) -> [u8; ANSWER_WORDS * 8] {
        let mut words = [0; ANSWER_WORDS];
        match *self {
            Self::Ready { generation } => words[..2].copy_from_slice(&[1, generation]),
            Self::Failed { generation, stage, errno } => {
                words[..4].copy_from_slice(&[3, stage, u64::from(errno.unsigned_abs()), generation]);
            }
            Self::Done(done) => words[..21].copy_from_slice(&[
                2,
                done.stopped as u64,
                u64::from(done.status.is_some()),
                u64::from(done.status.unwrap_or(0).cast_unsigned()),
                done.cpu_ns,
                done.user_ns,
                done.system_ns,
                done.wall_ns,
                done.memory_peak,
                done.oom_kills,
                done.processes_peak,
                done.forks_refused,
                done.voluntary,
                done.involuntary,
                done.disk_used,
                u64::from(done.disk_full),
                u64::from(done.syscall.cast_unsigned()),
                done.files_used,
                u64::from(done.files_full),
                done.generation,
                u64::from(done.memory_by_rss),
            ]),
        }
        to_bytes(words)
    }

    pub(crate) fn decode(bytes: &[u8; ANSWER_WORDS * 8]) -> Option<Self> {
        let word = |index: usize| from_bytes(bytes, index);
        #[expect(clippy::cast_possible_truncation, reason = "was widened from 32 bits by `encode`")]
        let small = |index: usize| (word(index) as u32).cast_signed();
        match word(0) {
            1 => Some(Self::Ready { generation: word(1) }),
            2 => Some(Self::Done(Done {
                stopped: Stopped::from_word(word(1)),
                status: (word(2) == 1).then(|| small(3)),
                cpu_ns: word(4),
                user_ns: word(5),
                system_ns: word(6),
                wall_ns: word(7),
                memory_peak: word(8),
                oom_kills: word(9),
                processes_peak: word(10),
                forks_refused: word(11),
                voluntary: word(12),
                involuntary: word(13),
                disk_used: word(14),
                disk_full: word(15) == 1,
                syscall: small(16),
                files_used: word(17),
                files_full: word(18) == 1,
                generation: word(19),
                memory_by_rss: word(20) == 1,
            })),
            3 => Some(Self::Failed { generation: word(3), stage: word(1), errno: small(2) }),
            _ => None,
        }
    }

    /// Sends it from a zygote or a cell. If the host is gone, so are we soon.
    pub(crate) fn send(&self, socket: RawFd, descriptor: RawFd) {
        let _ = sys::send(socket, &self.encode(), descriptor);
    }
}

/// What a session's cell must be made for, ahead of its first order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) disk: u64,
    pub(crate) files: u64,
    pub(crate) loopback: bool,
    pub(crate) strict: bool,
}

/// What the host says to the zygote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// End the session, and make a cell of this shape for the next.
    Reset { generation: u64, shape: Shape },
    /// Make another cell for one more step of the session.
    Again,
    /// End the step for this reason.
    Stop(Stopped),
    /// Send the main process a signal.
    Signal(i32),
}

impl Control {
    pub(crate) fn encode(&self) -> [u8; CONTROL_WORDS * 8] {
        let mut words = [0; CONTROL_WORDS];
        match *self {
            Self::Reset { generation, shape } => words.copy_from_slice(&[
                1,
                generation,
                shape.disk,
                shape.files,
                u64::from(shape.loopback),
                u64::from(shape.strict),
            ]),
            Self::Again => words[0] = 2,
            Self::Stop(why) => words[..2].copy_from_slice(&[3, why as u64]),
            Self::Signal(number) => words[..2].copy_from_slice(&[4, u64::from(number.unsigned_abs())]),
        }
        to_bytes(words)
    }

    pub(crate) fn decode(bytes: &[u8; CONTROL_WORDS * 8]) -> Option<Self> {
        let word = |index: usize| from_bytes(bytes, index);
        Some(match word(0) {
            1 => Self::Reset {
                generation: word(1),
                shape: Shape { disk: word(2), files: word(3), loopback: word(4) == 1, strict: word(5) == 1 },
            },
            2 => Self::Again,
            3 => Self::Stop(Stopped::from_word(word(1))),
            4 => Self::Signal(i32::try_from(word(1)).ok()?),
            _ => return None,
        })
    }
}

fn to_bytes<const WORDS: usize, const BYTES: usize>(words: [u64; WORDS]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

fn from_bytes(bytes: &[u8], index: usize) -> u64 {
    let mut word = [0; 8];
    if let Some(part) = bytes.get(8 * index..8 * index + 8) {
        word.copy_from_slice(part);
    }
    u64::from_ne_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let done = Done {
            stopped: Stopped::CpuTime,
            status: Some(-1),
            cpu_ns: 1,
            wall_ns: u64::MAX,
            disk_full: true,
            syscall: 41,
            ..Done::default()
        };
        for answer in [
            Answer::Ready { generation: 7 },
            Answer::Done(done),
            Answer::Failed { generation: 3, stage: 11, errno: 2 },
        ] {
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
        let shape = Shape { disk: 1, files: 2, loopback: true, strict: false };
        for control in [
            Control::Reset { generation: 3, shape },
            Control::Again,
            Control::Stop(Stopped::Output),
            Control::Signal(15),
        ] {
            assert_eq!(Control::decode(&control.encode()), Some(control));
        }
    }

    #[test]
    fn an_order_has_its_length_first() {
        let order = Order { wall_ns: 5, ..Order::default() };
        let texts = ["a", "b"].map(OsStr::new);
        let message = order.encode([], texts, [], [(OsStr::new("N"), OsStr::new("v"))]);
        assert_eq!(from_bytes(&message, 0), message.len() as u64);
        assert!(message.ends_with(b"a\0b\0N=v\0"));
        let read = Order::decode(|index| from_bytes(&message, index));
        assert_eq!(read, Order { programs: 2, environment: 1, ..order });
    }
}
