//! A cell: the first process of one step. It makes the step's namespaces,
//! gives up everything, starts the program and says how it ended.
//!
//! [`Cell`] is the supervisor's end of it. They speak by single letters:
//!
//! | Letter | From | Means |
//! |---|---|---|
//! | `r` | cell | ready for an order |
//! | `f` | cell | failed, with the error number and what was attempted |
//! | `e` | cell | the program ended, with its status and what it used |
//! | an order | supervisor | its length, the order, and the program's streams |
//! | `k` | supervisor | send the program this signal |

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, chdir, setsid};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{WaitOptions, wait};
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};

use crate::codec::{Decoder, Encoder};
use crate::disk::BOX;
use crate::filter::{confine, confine_sockets};
use crate::guard::empty_bounding_set;
use crate::wire::{LONGEST, Order, Streams};
use crate::workspace::enter_cell;
use crate::{Failure, at, part};

/// What a cell is called inside.
const HOSTNAME: &str = "box";
/// Numbers in a report of an end.
const END_WORDS: usize = 6;

/// What a cell says of the program's end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct End {
    pub(crate) status: i32,
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
    pub(crate) peak_rss: u64,
}

/// What a cell says.
#[derive(Debug)]
pub(crate) enum Word {
    Ready,
    Failed(i32, String),
    Ended(End),
}

/// The supervisor's end of a cell.
#[derive(Debug)]
pub(crate) struct Cell {
    child: Child,
    control: UnixStream,
    heard: Vec<u8>,
}

impl Cell {
    /// Starts one in a PID namespace of its own; `home` is the supervisor's.
    pub(crate) fn start(home: BorrowedFd<'_>, null: &File) -> Result<Self, Failure> {
        let (control, theirs) = at("make a socket", UnixStream::pair())?;
        let null = at("start a cell", null.try_clone())?;
        at("make a PID namespace", unshare(CloneFlags::CLONE_NEWPID))?;
        let child = part("cell").stdin(OwnedFd::from(theirs)).stdout(null).spawn();
        at("go back to the own PID namespace", setns(home, CloneFlags::CLONE_NEWPID))?;
        let child = at("start a cell", child)?;
        at("listen to a cell", control.set_nonblocking(true))?;
        Ok(Self { child, control, heard: Vec::new() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// Hands over the order and the program's streams. The cell reads at once.
    pub(crate) fn order(&mut self, order: &Order, streams: [BorrowedFd<'_>; 3]) -> Result<(), Failure> {
        let bytes = order.encode(Encoder::message(0)).finish();
        let fds = streams.map(|fd| fd.as_raw_fd());
        at("order a step", self.control.set_nonblocking(false))?;
        let rights = [ControlMessage::ScmRights(&fds)];
        let sent = sendmsg::<()>(
            self.control.as_raw_fd(),
            &[IoSlice::new(&bytes)],
            &rights,
            MsgFlags::MSG_NOSIGNAL,
            None,
        );
        let sent = at("order a step", sent)?;
        at("order a step", self.control.write_all(&bytes[sent..]))?;
        at("order a step", self.control.set_nonblocking(true))
    }

    /// Has the program sent a signal.
    pub(crate) fn signal(&mut self, number: i32) {
        let [a, b, c, d] = number.to_le_bytes();
        // If it has just ended, there is nothing to signal.
        let _ = self.control.write_all(&[b'k', a, b, c, d]);
    }

    /// What it has said since; the second is whether it will say no more.
    pub(crate) fn hear(&mut self) -> (Vec<Word>, bool) {
        let mut buffer = [0; 512];
        let over = loop {
            match self.control.read(&mut buffer) {
                Ok(0) => break true,
                Ok(count) => self.heard.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break true,
            }
        };
        let mut words = Vec::new();
        while let Some((word, length)) = parse(&self.heard) {
            words.push(word);
            self.heard.drain(..length);
        }
        (words, over)
    }

    /// Kills it, and with it all that it has started.
    pub(crate) fn kill(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
    }

    /// Waits until it, and all that it has started, is dead.
    pub(crate) fn bury(mut self) -> Result<(), Failure> {
        self.kill();
        at("wait for a cell", self.child.wait()).map(drop)
    }
}

/// The first word and its length.
fn parse(heard: &[u8]) -> Option<(Word, usize)> {
    let (letter, rest) = heard.split_first()?;
    match letter {
        b'r' => Some((Word::Ready, 1)),
        b'f' => {
            let mut parts = Decoder(rest);
            let errno = parts.small()?;
            let what = parts.string()?;
            Some((Word::Failed(errno, what), heard.len() - parts.rest().len()))
        }
        b'e' => {
            let mut parts = Decoder(rest);
            let end = End {
                status: parts.small()?,
                user_us: parts.number()?,
                system_us: parts.number()?,
                voluntary: parts.number()?,
                involuntary: parts.number()?,
                peak_rss: parts.number()?,
            };
            Some((Word::Ended(end), 1 + 8 * END_WORDS))
        }
        _ => Some((Word::Failed(libc::EPROTO, "understand a cell".to_owned()), heard.len())),
    }
}

/// The cell itself.
pub(crate) fn main() -> Result<ExitCode, Failure> {
    let stdin = at("find the supervisor", io::stdin().as_fd().try_clone_to_owned())?;
    let mut control = UnixStream::from(stdin);
    if let Err(failure) = live(&mut control) {
        tell_failure(&mut control, &failure);
        return Err(failure);
    }
    Ok(ExitCode::SUCCESS)
}

fn tell_failure(control: &mut UnixStream, failure: &Failure) {
    let errno = failure.error.raw_os_error().unwrap_or(libc::EIO);
    let message = Encoder::default().number(errno.unsigned_abs().into()).text(&failure.what);
    // Without the supervisor there is nobody to tell.
    let _ = control.write_all(&[&b"f"[..], message.bytes()].concat());
}

fn live(control: &mut UnixStream) -> Result<(), Failure> {
    // Where the container's memory is the step's limit, programs die of it and not the agent.
    at("go first when memory is short", fs::write("self/oom_score_adj", "1000"))?;
    at("hide", prctl::set_dumpable(false))?;
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    at("make the namespaces of a step", unshare(namespaces))?;
    at("name the host", nix::unistd::sethostname(HOSTNAME))?;
    enter_cell()?;
    give_up()?;
    let children = SigSet::from(Signal::SIGCHLD);
    at("block a signal", children.thread_block())?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let deaths = at("listen for ends", SignalFd::with_flags(&children, flags))?;
    confine()?;
    at("say that it is ready", control.write_all(b"r"))?;
    let Some((order, streams)) = receive(control)? else { return Ok(()) };
    let program = begin(&order, streams)?;
    attend(control, &deaths, program)
}

/// Gives up, for good, whatever this process could do that the program must not.
fn give_up() -> Result<(), Failure> {
    at("give up capabilities", rustix::thread::clear_ambient_capability_set())?;
    empty_bounding_set();
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    at("give up capabilities", rustix::thread::set_capabilities_secure_bits(bits))?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    at("give up capabilities", rustix::thread::set_capabilities(None, sets))?;
    at("give up privileges", prctl::set_no_new_privs())
}

/// The order and the program's streams; none if the supervisor has no use for this cell.
fn receive(control: &mut UnixStream) -> Result<Option<(Order, [OwnedFd; 3])>, Failure> {
    let mut length = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        &*control,
        &mut [IoSliceMut::new(&mut length)],
        &mut rights,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL,
    );
    if at("receive an order", received)?.bytes == 0 {
        return Ok(None);
    }
    let mut streams = Vec::new();
    for message in rights.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            streams.extend(fds);
        }
    }
    let wrong = || Failure { what: "understand an order".to_owned(), error: Errno::EPROTO.into() };
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(wrong());
    }
    let mut bytes = vec![0; length];
    at("receive an order", control.read_exact(&mut bytes))?;
    // The kind of the message says nothing here.
    let order = bytes.get(1..).and_then(|bytes| Order::decode(&mut Decoder(bytes))).ok_or_else(wrong)?;
    Ok(Some((order, streams.try_into().map_err(|_| wrong())?)))
}

/// Starts the program; its number.
fn begin(order: &Order, streams: [OwnedFd; 3]) -> Result<Pid, Failure> {
    let terminal = matches!(order.streams, Streams::Terminal(..));
    at("begin a session", setsid())?;
    if terminal {
        at("take the terminal", rustix::process::ioctl_tiocsctty(&streams[0]))?;
    }
    umask(Mode::from_bits_truncate(0o022));
    at("enter the work folder", chdir(BOX))?;
    let program = find(order).ok_or_else(|| not_there(libc::ENOENT))?;
    let [stdin, stdout, stderr] = streams;
    let mut command = Command::new(&program);
    command.arg0(&order.program).args(&order.arguments).env_clear();
    command.envs(order.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    if !terminal {
        command.process_group(0);
    }
    limits(order)?;
    confine_sockets(order.network)?;
    let child = command.spawn().map_err(|error| not_there(error.raw_os_error().unwrap_or(libc::EIO)))?;
    Ok(Pid::from_raw(i32::try_from(child.id()).unwrap_or_default()))
}

/// What the program's own failure to start is called, for the host to tell it from others.
pub(crate) const EXECUTE: &str = "execute";

fn not_there(errno: i32) -> Failure {
    Failure { what: EXECUTE.to_owned(), error: io::Error::from_raw_os_error(errno) }
}

/// Where the program is: a path is taken as it is, a name looked up.
fn find(order: &Order) -> Option<PathBuf> {
    if order.program.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(&order.program));
    }
    let path = order.environment.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value);
    let folders = env::split_paths(path.map_or(OsStr::new(""), OsString::as_os_str));
    folders.map(|folder| folder.join(&order.program)).find(|path| {
        // A relative folder is taken from the work folder, as a shell would.
        fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    })
}

/// Limits that the kernel holds for each process; those of the tree are the group's.
fn limits(order: &Order) -> Result<(), Failure> {
    const KIB_64: u64 = 64 << 10;
    let seconds = order.cpu_ns.div_ceil(1_000_000_000).saturating_add(1);
    let limits = [
        (Resource::RLIMIT_FSIZE, order.disk, order.disk),
        (Resource::RLIMIT_STACK, order.stack, order.stack),
        (Resource::RLIMIT_NOFILE, order.open_files, order.open_files),
        (Resource::RLIMIT_CPU, seconds, seconds.saturating_add(1)),
        (Resource::RLIMIT_CORE, 0, 0),
        (Resource::RLIMIT_MEMLOCK, KIB_64, KIB_64),
        (Resource::RLIMIT_NICE, 0, 0),
        (Resource::RLIMIT_RTPRIO, 0, 0),
    ];
    for (resource, soft, hard) in limits {
        // What the container itself may not have, nobody in it can.
        let (_, most) = at(format_args!("read {resource:?}"), getrlimit(resource))?;
        let (soft, hard) = (soft.min(most), hard.min(most));
        at(format_args!("set {resource:?}"), setrlimit(resource, soft, hard))?;
    }
    Ok(())
}

/// Buries what dies and passes signals on, until the program ends.
fn attend(control: &mut UnixStream, deaths: &SignalFd, program: Pid) -> Result<(), Failure> {
    loop {
        let mut fds =
            [PollFd::new(control.as_fd(), PollFlags::POLLIN), PollFd::new(deaths.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(error) => return at("wait for the program", Err(error)),
        }
        let told = fds[0].any() == Some(true);
        while deaths.read_signal().is_ok_and(|signal| signal.is_some()) {}
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid.as_raw_pid() == program.as_raw() {
                return report(control, status.as_raw());
            }
        }
        if told {
            let mut message = [0; 5];
            if control.read_exact(&mut message).is_err() {
                // The supervisor is gone; the end of this process ends the rest.
                return Ok(());
            }
            let [_, number @ ..] = message;
            // A number that no signal has is refused, as is a program that has ended.
            let _ = Signal::try_from(i32::from_le_bytes(number)).map(|signal| kill(program, signal));
        }
    }
}

fn report(control: &mut UnixStream, status: i32) -> Result<(), Failure> {
    let used = at("measure the program", getrusage(UsageWho::RUSAGE_CHILDREN))?;
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let micros = |time: nix::sys::time::TimeVal| {
        count(time.tv_sec()).saturating_mul(1_000_000).saturating_add(count(time.tv_usec()))
    };
    let numbers: [u64; END_WORDS] = [
        status.unsigned_abs().into(),
        micros(used.user_time()),
        micros(used.system_time()),
        count(used.voluntary_context_switches()),
        count(used.involuntary_context_switches()),
        count(used.max_rss()).saturating_mul(1024),
    ];
    let message = numbers.into_iter().fold(Encoder::default(), Encoder::number);
    at("report the end", control.write_all(&[&b"e"[..], message.bytes()].concat()))
}
