//! The zygote: a slot's long-lived process, which keeps what is dear to make.
//!
//! It holds the slot's user and network namespaces, its root and its cgroup
//! files; makes a [cell](crate::cell) ahead of each step; and while a program
//! runs, keeps the time. It is PID 1 of a namespace of its own, so that
//! nothing of the slot outlives it, and it ends when the host is gone.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::SeqCst};

use evalx_core::Network;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::cell::{self, Cell, Filters, IDLE, RUNNING, STOPPING};
use crate::cgroup::meter::{Group, Meter, V1, V2};
use crate::cgroup::renew;
use crate::identity;
use crate::rootfs;
use crate::seccomp;
use crate::sys::{self, Arena, CloneFlags, Stack};
use crate::wire::{Answer, CONTROL_WORDS, Control, Done, Shape, Stage, Stopped};

/// What the launcher hands to a new zygote.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) command: BorrowedFd<'a>,
    pub(crate) control: BorrowedFd<'a>,
    /// Says to the launcher that the user namespace is there, and hears that it is mapped.
    pub(crate) sync: OwnedFd,
    pub(crate) group: crate::cgroup::slot::SlotGroup,
    pub(crate) stage: rootfs::Stage,
    /// The host uid of the slot's root, if the launcher is root.
    pub(crate) owner: Option<u32>,
    pub(crate) unified: bool,
}

/// The wake-up before a limit comes at least this late, so that a program a
/// hair's breadth from its limit is not asked a thousand times.
const SHORTEST_CHECK: u64 = 300_000;

/// How often to look whether the kernel has killed, once it said it is short
/// of memory.
const OOM_CHECK: u64 = 1_000_000;

struct Zygote {
    cell: &'static Cell,
    cell_stack: &'static Stack,
    control: RawFd,
    /// Hangs up when the launcher is dead.
    launcher: RawFd,
    /// The living cell's id.
    pid: Option<i32>,
    /// Whether the base of the default policy is installed, which is for good.
    filtered: bool,
    /// v1: says that the memory cgroup is short of memory.
    oom_events: RawFd,
    /// Checks left of whether that became a kill.
    oom_checks: u32,
}

/// Turns a fork of the launcher into a zygote; never returns.
pub(crate) fn main(setup: Setup<'_>) -> ! {
    match become_zygote(setup) {
        Ok(mut zygote) => loop {
            if zygote.turn().is_err() {
                sys::exit(0);
            }
        },
        Err(_) => sys::exit(1),
    }
}

fn become_zygote(setup: Setup<'_>) -> Result<Zygote, ()> {
    let (command, control) = (setup.command.as_raw_fd(), setup.control.as_raw_fd());
    let refuse_at = |stage: Stage, what: &str, error: &dyn std::fmt::Display| {
        let message = format!("{what}: {error}");
        identity::report(control, stage, &message);
    };
    let refuse = |what: &str, error: &dyn std::fmt::Display| refuse_at(Stage::Setup, what, error);
    setup.group.enter().map_err(|error| refuse("could not enter the slot's cgroup", &error))?;
    let (meter, oom_events) =
        meter(&setup).map_err(|error| refuse("could not open the slot's cgroup", &error))?;
    setup.stage.lay().map_err(|error| refuse("could not make the slot's root", &error))?;
    setup
        .stage
        .show_proc()
        .map_err(|error| refuse_at(Stage::Proc, "could not make the slot's root", &error))?;
    setup.stage.enter().map_err(|error| refuse("could not make the slot's root", &error))?;
    identity::become_slot(setup.owner, &setup.sync)
        .map_err(|error| refuse_at(Stage::UserNamespace, "could not make the slot's namespaces", &error))?;
    if let Meter::V2(v2) = &meter {
        renew::settle(v2.folder).map_err(|error| refuse("could not divide the slot's cgroup", &error))?;
    }
    let cell =
        make_cell(command, control, meter).map_err(|error| refuse("could not prepare cells", &error))?;
    let cell_stack = Stack::new(256 << 10).map_err(|error| refuse("could not map a cell's stack", &error))?;
    let launcher = setup.sync.as_raw_fd();
    // Its descriptors stay open as long as the process lives.
    Box::leak(Box::new(setup));
    Ok(Zygote {
        cell: Box::leak(Box::new(cell)),
        cell_stack: Box::leak(Box::new(cell_stack)),
        control,
        launcher,
        pid: None,
        filtered: false,
        oom_events,
        oom_checks: 0,
    })
}

/// Opens the cgroup's files, while the host's `/sys` is still in reach.
fn meter(setup: &Setup<'_>) -> Result<(Meter, RawFd), Errno> {
    let folder = |path: &PathBuf| -> Result<RawFd, Errno> {
        let path = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| Errno::EINVAL)?;
        sys::open(libc::AT_FDCWD, &path, libc::O_RDONLY | libc::O_DIRECTORY)
    };
    if setup.group.folders.is_empty() {
        return Ok((Meter::None, -1));
    }
    if setup.unified {
        let folder = folder(&setup.group.folders[0])?;
        return Ok((Meter::V2(V2 { folder, step: Group::new() }), -1));
    }
    let [memory, pids, cpuacct, ..] = setup.group.folders.as_slice() else { return Err(Errno::EINVAL) };
    let memory = folder(memory)?;
    let v1 = V1::new(memory, folder(cpuacct)?, folder(pids)?)?;
    Ok((Meter::V1(v1), sys::event_counter()?))
}

fn make_cell(command: RawFd, control: RawFd, meter: Meter) -> Result<Cell, Errno> {
    let filters = Filters {
        base: seccomp::base(),
        last: seccomp::last(Network::None),
        last_with_loopback: seccomp::last(Network::Loopback),
        strict: seccomp::strict(),
    };
    let none = || AtomicI32::new(-1);
    let zero = || AtomicU64::new(0);
    Ok(Cell {
        command,
        control,
        timer: sys::timer()?,
        zygote_proc: sys::open(libc::AT_FDCWD, c"/proc", libc::O_PATH | libc::O_DIRECTORY)?,
        null: sys::open(libc::AT_FDCWD, c"/dev/null", libc::O_RDWR)?,
        arena: Arena::new()?,
        program_stack: Stack::new(64 << 10)?,
        meter,
        filters,
        landlock: sys::landlock_version(),
        cpus: std::thread::available_parallelism().map_or(1, |n| n.get() as u64),
        listener: none(),
        state: AtomicU32::new(IDLE),
        stop: zero(),
        failure: [zero(), zero()],
        generation: zero(),
        shape: [zero(), zero(), zero(), zero()],
        again: AtomicBool::new(false),
        stdio: [none(), none(), none()],
        started_ns: zero(),
        wall_ns: zero(),
        cpu_ns: zero(),
        store: none(),
        work_folder: none(),
        mounts: none(),
        rules: none(),
    })
}

impl Zygote {
    /// Waits for one thing to happen and sees to it.
    fn turn(&mut self) -> Result<(), Errno> {
        let listener = self.cell.listener.load(SeqCst);
        let watched = [self.control, self.cell.timer, self.oom_events, listener, self.launcher];
        let mut ready = [false; 5];
        {
            // All stay open for the life of the zygote; what this slot does not
            // have is -1, and left out.
            let mut polls = Vec::with_capacity(watched.len());
            let mut places = Vec::with_capacity(watched.len());
            for (place, descriptor) in watched.into_iter().enumerate().filter(|(_, fd)| *fd >= 0) {
                polls.push(PollFd::new(sys::borrow(descriptor), PollFlags::POLLIN));
                places.push(place);
            }
            match poll(&mut polls, PollTimeout::NONE) {
                Err(Errno::EINTR) => return Ok(()),
                result => result?,
            };
            for (poll, place) in polls.iter().zip(places) {
                let seen = poll.revents().unwrap_or(PollFlags::POLLIN);
                // A listener whose last program has ended says so by hanging
                // up; to ask it for a call would then wait for ever.
                ready[place] = if watched[place] == listener {
                    if !seen.contains(PollFlags::POLLIN) && !seen.is_empty() {
                        Cell::close(&self.cell.listener);
                    }
                    seen.contains(PollFlags::POLLIN)
                } else {
                    !seen.is_empty()
                };
            }
        }
        let [control, timer, oom, listener, launcher] = ready;
        if launcher {
            // It never says any more: it is dead. The death signal may have
            // been asked for too late, and another zygote that was just forked
            // may have held the launcher's end for a moment.
            return Err(Errno::EPIPE);
        }
        if oom {
            let _ = sys::read(self.oom_events, &mut [0; 8]);
            self.oom_checks = 100;
        }
        if timer {
            let _ = sys::read(self.cell.timer, &mut [0; 8]);
        }
        if timer || oom || listener {
            self.check(listener);
        }
        if control {
            let mut bytes = [0; CONTROL_WORDS * 8];
            match sys::read(self.control, &mut bytes)? {
                0 => return Err(Errno::EPIPE),
                _ => match Control::decode(&bytes) {
                    Some(control) => self.obey(control),
                    None => return Err(Errno::EPROTO),
                },
            }
        }
        Ok(())
    }

    fn obey(&mut self, control: Control) {
        match control {
            Control::Reset { generation, shape } => self.reset(generation, shape),
            Control::Again => {
                self.end_cell();
                self.spawn(true);
            }
            Control::Stop(why) => {
                // Noted before the state is read: an order may be on its way.
                self.cell.stop.store(why as u64, SeqCst);
                self.stop(why);
            }
            Control::Signal(signal) => {
                if let Some(pid) = self.program() {
                    let _ = sys::kill(pid, signal);
                }
            }
        }
    }

    /// Ends what there is of the session, and makes a cell for the next.
    fn reset(&mut self, generation: u64, shape: Shape) {
        self.end_cell();
        // An order of that session, if its cell died before it read it: the next cell
        // would run it. The next session's comes only when its cell is ready.
        sys::drain(self.cell.command);
        for place in [&self.cell.store, &self.cell.work_folder, &self.cell.mounts, &self.cell.rules] {
            Cell::close(place);
        }
        self.cell.generation.store(generation, SeqCst);
        self.cell.set_shape(shape);
        match self.filter(shape) {
            Ok(()) => self.spawn(false),
            Err(error) => self.cell.answer_failure(self.control, Stage::Filter as u64, error as i32),
        }
    }

    /// Installs what every program of a default session inherits.
    fn filter(&mut self, shape: Shape) -> Result<(), Errno> {
        match (self.filtered, shape.strict) {
            // The host takes another slot for a strict session.
            (true, true) => Err(Errno::EINVAL),
            (false, false) => {
                sys::install_filter(&self.cell.filters.base, false)?;
                self.filtered = true;
                Ok(())
            }
            (true, false) | (false, true) => Ok(()),
        }
    }

    /// Makes a cell; one that can't be made is answered for here.
    fn spawn(&mut self, again: bool) {
        let cell = self.cell;
        for place in cell.stdio.iter().chain([&cell.listener]) {
            Cell::close(place);
        }
        self.oom_checks = 0;
        cell.again.store(again, SeqCst);
        cell.stop.store(0, SeqCst);
        cell.failure[0].store(0, SeqCst);
        cell.state.store(IDLE, SeqCst);
        let made = renew::fresh(&self.cell.meter, self.oom_events)
            .map_err(|error| (Stage::Cgroup, error))
            .and_then(|()| {
                let mut flags =
                    libc::CLONE_FILES | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
                if !again {
                    flags |= libc::CLONE_NEWNS;
                }
                if cell.shape().loopback {
                    flags |= libc::CLONE_NEWNET;
                }
                let flags = CloneFlags { flags: u64::from(flags.cast_unsigned()), cgroup: -1 };
                sys::spawn_sharing_memory(flags, self.cell_stack, cell::main, cell)
                    .map_err(|error| (Stage::Namespaces, error))
            });
        match made {
            Ok(pid) => self.pid = Some(pid),
            Err((stage, errno)) => {
                cell.answer_failure(cell.listens_to(), stage as u64, errno as i32);
            }
        }
    }

    /// Waits for a cell that has reported, or kills one that has not.
    fn end_cell(&mut self) {
        let Some(pid) = self.pid.take() else { return };
        if self.cell.state.load(SeqCst) != cell::ENDED {
            let _ = sys::kill(pid, libc::SIGKILL);
        }
        let _ = sys::wait(pid, 0);
        sys::set_timer(self.cell.timer, 0);
    }

    /// Ends the step, unless the cell reports already.
    fn stop(&mut self, why: Stopped) {
        self.stop_at(why, -1);
    }

    fn stop_at(&mut self, why: Stopped, syscall: i32) {
        let cell = self.cell;
        let Some(pid) = self.pid else { return };
        if cell.state.compare_exchange(RUNNING, STOPPING, SeqCst, SeqCst).is_err() {
            return;
        }
        let _ = sys::kill(pid, libc::SIGKILL);
        // Returns when the whole namespace is dead, with the times of all of it.
        let ended = sys::wait(pid, 0).ok().flatten().unwrap_or_default();
        self.pid = None;
        sys::set_timer(cell.timer, 0);
        for place in cell.stdio.iter().chain([&cell.listener]) {
            Cell::close(place);
        }
        let wall_ns = sys::clock(libc::CLOCK_MONOTONIC).saturating_sub(cell.started_ns.load(SeqCst));
        let mut done = cell::measure(cell, wall_ns, ended.max_rss);
        if done.user_ns == 0 && done.system_ns == 0 {
            // What the kernel kills with the cell it may reap itself, and then
            // keeps no account of: the group knows better, where it knows.
            let [user, system] = match cell.meter.cpu_parts() {
                [0, 0] => [ended.user_ns, ended.system_ns],
                parts => parts,
            };
            (done.user_ns, done.system_ns) = cell::split(done.cpu_ns, user, system);
        }
        if !(done.stopped == Stopped::Memory && why as u64 > Stopped::Memory as u64) {
            done.stopped = why;
        }
        done.syscall = syscall;
        Answer::Done(Done { status: None, ..done }).send(cell.command, -1);
    }

    /// Holds the limits that the kernel does not, and says when to look again.
    fn check(&mut self, heard: bool) {
        let cell = self.cell;
        if cell.state.load(SeqCst) != RUNNING {
            return;
        }
        if heard {
            if let Ok(syscall) = sys::refused_call(cell.listener.load(SeqCst)) {
                return self.stop_at(Stopped::Syscall, syscall);
            }
            // The program ended between the call and now.
            Cell::close(&cell.listener);
        }
        if self.oom_checks > 0 {
            self.oom_checks -= 1;
            if cell.meter.oom_kills() > 0 {
                return self.stop(Stopped::Memory);
            }
        }
        let now = sys::clock(libc::CLOCK_MONOTONIC);
        let wall_end = cell.started_ns.load(SeqCst).saturating_add(cell.wall_ns.load(SeqCst));
        if now >= wall_end {
            return self.stop(Stopped::WallTime);
        }
        let mut next = wall_end;
        if !matches!(cell.meter, Meter::None) {
            let (used, limit) = (cell.meter.cpu_ns(), cell.cpu_ns.load(SeqCst));
            if used >= limit {
                return self.stop(Stopped::CpuTime);
            }
            // With every processor at work the limit can't be reached earlier.
            let left = ((limit - used) / cell.cpus).max(SHORTEST_CHECK);
            next = next.min(now.saturating_add(left));
        }
        if self.oom_checks > 0 {
            next = next.min(now.saturating_add(OOM_CHECK));
        }
        sys::set_timer(cell.timer, next);
    }

    /// The main process's id in this namespace: the cell's first child.
    fn program(&self) -> Option<i32> {
        let cell = self.pid?;
        if self.cell.state.load(SeqCst) != RUNNING {
            return None;
        }
        let children = std::fs::read_to_string(format!("/proc/{cell}/task/{cell}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }
}
