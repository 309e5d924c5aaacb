//! The launcher: forks every zygote, and cleans up after them.
//!
//! It is this same executable, started again by the host with an empty
//! environment; [`sys`]'s entry hook calls [`main`] before the executable's own.
//! It has one thread, never touches what untrusted code made, and ends when
//! the host does, whose death it learns of by end-of-file on its socket.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::Flock;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::{Gid, Uid};

use crate::cgroup::Plan;
use crate::cgroup::slot::SlotGroup;
use crate::identity;
use crate::instance;
use crate::launch::{LaunchPlan, REQUEST};
use crate::rootfs::{Layers, Stage};
use crate::sys;
use crate::wire;
use crate::zygote;

/// A zygote that lives.
struct Child {
    /// Which pair of the instance's uids it has.
    serial: u32,
    index: u64,
    pid: i32,
    ended: OwnedFd,
    /// Where it asks for its user namespace to be mapped, and by whose end it
    /// knows that this process lives.
    sync: OwnedFd,
    mapped: bool,
    folders: Vec<std::path::PathBuf>,
    unified: bool,
}

struct Launcher {
    plan: LaunchPlan,
    /// Zygotes hold it too, and drop it nowhere: it is free when all are dead.
    lock: Flock<File>,
    socket: OwnedFd,
    stage: Stage,
    children: Vec<Child>,
}

/// The launcher's whole life.
pub(crate) fn main() -> ! {
    // Ctrl-C at the host's terminal is the host's to handle.
    sys::new_session();
    // What is made here must be there for all, and programs have the usual one.
    sys::umask(0o022);
    // A slot takes two of them; programs have a limit of their own.
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = sys::set_limit(libc::RLIMIT_NOFILE, hard, hard);
    }
    let Ok(socket) = reset_signals().and_then(|()| own_descriptors()) else { sys::exit(1) };
    let talk = socket.as_raw_fd();
    let code = match start(socket) {
        Ok(mut launcher) => {
            while launcher.turn().unwrap_or(false) {}
            launcher.end();
            0
        }
        Err(Refusal { stage, error }) => {
            let _ = sys::send(talk, format!("error {} {error}\n", stage as u64).as_bytes(), -1);
            1
        }
    };
    sys::exit(code)
}

/// Where the launcher's socket is moved, clear of the three that programs get.
const SOCKET: i32 = 10;

/// Why there is no launcher, and at which stage it failed.
struct Refusal {
    stage: wire::Stage,
    error: io::Error,
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self { stage: wire::Stage::Setup, error }
    }
}

impl From<Errno> for Refusal {
    fn from(error: Errno) -> Self {
        io::Error::from(error).into()
    }
}

/// An error leaves the socket open, for `main` to say it there.
fn start(socket: OwnedFd) -> Result<Launcher, Refusal> {
    let socket = ManuallyDrop::new(socket);
    let plan = LaunchPlan::from_arguments(std::env::args_os().skip(1))
        .ok_or_else(|| io::Error::other("the launcher's arguments are not understood"))?;
    let lock = instance::hold(plan.folder.parent().unwrap_or(&plan.folder))?;
    let stage = prepare(&plan).and_then(|stage| {
        announce(socket.as_raw_fd(), &stage)?;
        Ok(stage)
    });
    let stage = match stage {
        Ok(stage) => stage,
        Err(error) => {
            remove_rest(&plan, lock);
            return Err(error);
        }
    };
    Ok(Launcher { plan, lock, socket: ManuallyDrop::into_inner(socket), stage, children: Vec::new() })
}

fn prepare(plan: &LaunchPlan) -> Result<Stage, Refusal> {
    if plan.uids.is_none() {
        identity::become_namespace_root(Uid::effective(), Gid::effective()).map_err(|error| {
            let error = io::Error::new(error.kind(), format!("no user namespace can be made: {error}"));
            Refusal { stage: wire::Stage::UserNamespace, error }
        })?;
    }
    // Not before: the kernel lets nobody map a process that can't be dumped.
    sys::prctl(libc::PR_SET_DUMPABLE, 0)?;
    Stage::prepare(&plan.folder, &plan.readable)
        .map_err(|error| io::Error::new(error.kind(), format!("the root can't be prepared: {error}")).into())
}

/// Says that slots can be asked for, and hands over the folder of artifacts.
fn announce(socket: RawFd, stage: &Stage) -> io::Result<()> {
    let layers = if stage.layers == Layers::Overlay { "overlay" } else { "bind" };
    let store = File::open(stage.store())?;
    let text = format!("ready {layers} {}\n", sys::landlock_version());
    Ok(sys::send(socket, text.as_bytes(), store.as_raw_fd())?)
}

/// Removes what the plan has on this machine, when no zygote lives.
fn remove_rest(plan: &LaunchPlan, lock: Flock<File>) {
    let name = format!("evalx.{}", plan.instance);
    let groups: Vec<_> = plan.cgroup.folders().iter().map(|base| base.join(&name)).collect();
    for group in &groups {
        crate::cgroup::slot::remove_tree(group);
    }
    let _ = nix::mount::umount2(&plan.folder, nix::mount::MntFlags::MNT_DETACH);
    // Nothing more is made; whoever removes the instance too need not wait.
    drop(lock);
    if let Some(folder) = plan.folder.parent() {
        // If it fails, the host or the next start removes it.
        let _ = instance::forget(folder, &groups, PATIENCE / 2);
    }
}

/// What the host had ignored or blocked, programs would inherit.
fn reset_signals() -> io::Result<()> {
    for signal in Signal::iterator().filter(|signal| !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP)) {
        sys::default_action(signal);
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}

/// Closes everything that the host may have leaked, and moves the socket.
fn own_descriptors() -> io::Result<OwnedFd> {
    sys::dup_onto(0, 3)?;
    sys::close_from(4)?;
    let socket = sys::own(sys::dup_above(3, SOCKET)?).ok_or_else(|| io::Error::other("no descriptor"))?;
    let null = sys::open(libc::AT_FDCWD, c"/dev/null", libc::O_RDWR)?;
    for descriptor in 0..3 {
        sys::dup_onto(null, descriptor)?;
    }
    sys::close(null);
    sys::close(3);
    Ok(socket)
}

impl Launcher {
    fn say(&self, text: &str) {
        let _ = sys::send(self.socket.as_raw_fd(), text.as_bytes(), -1);
    }

    /// Waits for one thing to happen and sees to it; false when the host is gone.
    fn turn(&mut self) -> io::Result<bool> {
        let mut polls = vec![PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        for child in &self.children {
            polls.push(PollFd::new(child.ended.as_fd(), PollFlags::POLLIN));
        }
        let syncs: Vec<(usize, BorrowedFd<'_>)> = self
            .children
            .iter()
            .enumerate()
            .filter(|(_, child)| !child.mapped)
            .map(|(at, child)| (at, child.sync.as_fd()))
            .collect();
        polls.extend(syncs.iter().map(|(_, sync)| PollFd::new(*sync, PollFlags::POLLIN)));
        poll(&mut polls, PollTimeout::NONE)?;
        let ready: Vec<bool> = polls.iter().map(|poll| poll.any().unwrap_or(true)).collect();
        let count = self.children.len();
        let to_map: Vec<usize> = syncs
            .iter()
            .zip(&ready[1 + count..])
            .filter(|(_, ready)| **ready)
            .map(|((at, _), _)| *at)
            .collect();
        let ended: Vec<usize> = (0..count).filter(|at| ready[1 + at]).collect();
        for at in to_map {
            self.map(at);
        }
        for at in ended.into_iter().rev() {
            self.bury(at);
        }
        if ready[0] { self.listen() } else { Ok(true) }
    }

    fn listen(&mut self) -> io::Result<bool> {
        let mut request = [0; REQUEST];
        let mut fds = [-1; sys::MAX_FDS];
        if sys::receive(self.socket.as_raw_fd(), &mut request, &mut fds)? != REQUEST {
            return Ok(false);
        }
        let mut index = [0; 8];
        index.copy_from_slice(&request[8..]);
        let index = u64::from_ne_bytes(index);
        let (Some(command), Some(control)) = (sys::own(fds[0]), sys::own(fds[1])) else { return Ok(false) };
        if let Err(error) = self.spawn(index, &command, &control) {
            let message = format!("could not make a slot: {error}");
            identity::report(control.as_raw_fd(), wire::Stage::Setup, &message);
            // Its number is free again.
            self.say(&format!("died {index} 0 0\n"));
        }
        Ok(true)
    }

    fn spawn(&mut self, index: u64, command: &OwnedFd, control: &OwnedFd) -> io::Result<()> {
        let serial = u32::try_from(index).map_err(io::Error::other)?;
        let owner = self.plan.uids.map(|first| first + serial * identity::UIDS_PER_SLOT);
        let group = SlotGroup::make(&self.plan.cgroup, &self.plan.instance, index, owner)?;
        let folders = group.folders.clone();
        let unified = matches!(self.plan.cgroup, Plan::V2(_));
        match self.fork(command, control, group, owner) {
            Ok((pid, ended, sync)) => {
                self.children.push(Child {
                    serial,
                    index,
                    pid,
                    ended,
                    sync,
                    mapped: false,
                    folders,
                    unified,
                });
                Ok(())
            }
            Err(error) => {
                SlotGroup::of(folders, unified).remove();
                Err(error)
            }
        }
    }

    /// A new zygote's id, the descriptor of its end, and where it asks to be mapped.
    fn fork(
        &mut self,
        command: &OwnedFd,
        control: &OwnedFd,
        group: SlotGroup,
        owner: Option<u32>,
    ) -> io::Result<(i32, OwnedFd, OwnedFd)> {
        let (sync, theirs) = std::os::unix::net::UnixStream::pair()?;
        let pid = sys::fork_into(libc::CLONE_NEWPID)?;
        if pid == 0 {
            // What is the launcher's alone.
            self.children.clear();
            sys::close(self.socket.as_raw_fd());
            drop(sync);
            zygote::main(zygote::Setup {
                command: command.as_fd(),
                control: control.as_fd(),
                sync: theirs.into(),
                unified: matches!(self.plan.cgroup, Plan::V2(_)),
                group,
                stage: self.stage.clone(),
                owner,
            });
        }
        match sys::process_descriptor(pid) {
            Ok(ended) => Ok((pid, ended, sync.into())),
            Err(error) => {
                let _ = sys::kill(pid, libc::SIGKILL);
                let _ = sys::wait(pid, 0);
                Err(error.into())
            }
        }
    }

    /// Maps a zygote's new user namespace to the slot's uids.
    fn map(&mut self, at: usize) {
        let child = &mut self.children[at];
        child.mapped = true;
        if !matches!(nix::unistd::read(&child.sync, &mut [0]), Ok(1)) {
            return;
        }
        let map = match self.plan.uids {
            Some(first) => identity::id_map(first, child.serial),
            None => identity::only_id_map(),
        };
        let written = ["uid_map", "gid_map"]
            .iter()
            .all(|file| std::fs::write(format!("/proc/{}/{file}", child.pid), &map).is_ok());
        if written {
            // It may have died since; this process must not, of a broken pipe.
            let _ = sys::send(child.sync.as_raw_fd(), b"m", -1);
        }
    }

    /// Removes what a dead zygote leaves, and tells the host.
    fn bury(&mut self, at: usize) {
        let child = self.children.swap_remove(at);
        let _ = sys::wait(child.pid, 0);
        let group = SlotGroup::of(child.folders, child.unified);
        self.say(&format!("died {} {} {}\n", child.index, group.oom_kills(), group.memory_peak()));
        group.remove();
    }

    /// Ends every zygote and removes everything.
    fn end(mut self) {
        for child in &self.children {
            let _ = sys::kill(child.pid, libc::SIGKILL);
        }
        while !self.children.is_empty() {
            self.bury(self.children.len() - 1);
        }
        let Self { plan, lock, socket, .. } = self;
        remove_rest(&plan, lock);
        let _ = sys::send(socket.as_raw_fd(), b"gone\n", -1);
    }
}

/// How long the host waits for a launcher to say that it is ready.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
