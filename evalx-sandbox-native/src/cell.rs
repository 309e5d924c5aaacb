//! The cell: PID 1 of one step's namespaces, made ahead of the step.
//!
//! A cell shares its zygote's memory and descriptors, so that making one
//! copies nothing. It mounts what is the session's own, says that it is ready,
//! receives one order from the host directly, starts the program, waits for
//! it, kills what is left of the tree, reports to the host, and is gone. The
//! zygote is not on that path: it keeps the time beside it.
//!
//! Everything here keeps to what [`sys`] says of cells: no allocation, no
//! `errno`, no panic.

use std::ffi::CStr;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::SeqCst};

use nix::errno::Errno;

use crate::cgroup::meter::{Meter, decimal};
use crate::landlock;
use crate::program;
use crate::sys::{self, Arena, CloneFlags, Ended, Instruction, Space, Stack};
use crate::wire::{Answer, Done, ORDER_WORDS, Order, Shape, Stage, Stopped};

/// The uid and gid of programs inside.
pub(crate) const BOX_ID: u32 = 1000;

/// The cell waits for its order.
pub(crate) const IDLE: u32 = 0;
/// The program runs; whoever moves on from here reports.
pub(crate) const RUNNING: u32 = 1;
/// The cell saw the program end, and reports.
pub(crate) const ENDED: u32 = 2;
/// The zygote stops the step, and reports.
pub(crate) const STOPPING: u32 = 3;

/// What zygote, cell and program share, for as long as the slot lives.
#[derive(Debug)]
pub(crate) struct Cell {
    /// The host's orders come here, and their answers go back.
    pub(crate) command: RawFd,
    /// The host is told here that a session is prepared, or can't be.
    pub(crate) control: RawFd,
    /// Wakes the zygote at the instant at which a limit can be reached first.
    pub(crate) timer: RawFd,
    /// `/proc` of the zygote's own PID namespace.
    pub(crate) zygote_proc: RawFd,
    pub(crate) null: RawFd,
    pub(crate) arena: Arena,
    pub(crate) program_stack: Stack,
    pub(crate) meter: Meter,
    pub(crate) filters: Filters,
    pub(crate) landlock: usize,
    pub(crate) cpus: u64,
    /// A filter that a strict program was stopped by is heard here.
    pub(crate) listener: AtomicI32,
    pub(crate) state: AtomicU32,
    /// Why the host wants the step ended ([`Stopped`]); it may come before the order.
    pub(crate) stop: AtomicU64,
    /// Where starting the program failed: stage and errno.
    pub(crate) failure: [AtomicU64; 2],
    pub(crate) generation: AtomicU64,
    pub(crate) shape: [AtomicU64; 4],
    /// The cell joins a session that has had a step.
    pub(crate) again: AtomicBool,
    pub(crate) stdio: [AtomicI32; 3],
    pub(crate) started_ns: AtomicU64,
    pub(crate) wall_ns: AtomicU64,
    pub(crate) cpu_ns: AtomicU64,
    /// Descriptors of the session: store of artifacts, work folder, mount
    /// namespace, Landlock rules.
    pub(crate) store: AtomicI32,
    pub(crate) work_folder: AtomicI32,
    pub(crate) mounts: AtomicI32,
    pub(crate) rules: AtomicI32,
}

/// The compiled filters; see [`seccomp`](crate::seccomp).
#[derive(Debug)]
pub(crate) struct Filters {
    pub(crate) base: Vec<Instruction>,
    pub(crate) last: Vec<Instruction>,
    pub(crate) last_with_loopback: Vec<Instruction>,
    pub(crate) strict: Vec<Instruction>,
}

/// A stage that failed, and how.
pub(crate) type Failure = (Stage, Errno);

impl Cell {
    pub(crate) fn shape(&self) -> Shape {
        let [disk, files, loopback, strict] = [0, 1, 2, 3].map(|index: usize| self.shape[index].load(SeqCst));
        Shape { disk, files, loopback: loopback == 1, strict: strict == 1 }
    }

    pub(crate) fn set_shape(&self, shape: Shape) {
        let words = [shape.disk, shape.files, u64::from(shape.loopback), u64::from(shape.strict)];
        for (place, word) in self.shape.iter().zip(words) {
            place.store(word, SeqCst);
        }
    }

    /// Tells the host, where it listens, that a session could not be prepared
    /// or a step not be started.
    pub(crate) fn answer_failure(&self, listens: RawFd, stage: u64, errno: i32) {
        let generation = self.generation.load(SeqCst);
        Answer::Failed { generation, stage, errno }.send(listens, -1);
    }

    /// Where the host listens while a cell is made: for a further step of a
    /// session it has sent the order already.
    pub(crate) fn listens_to(&self) -> RawFd {
        if self.again.load(SeqCst) { self.command } else { self.control }
    }

    /// Closes a descriptor kept in `place`.
    pub(crate) fn close(place: &AtomicI32) {
        let descriptor = place.swap(-1, SeqCst);
        if descriptor >= 0 {
            sys::close(descriptor);
        }
    }
}

/// The cell's whole life.
pub(crate) fn main(cell: &'static Cell) -> ! {
    sys::new_session();
    let again = cell.again.load(SeqCst);
    match if again { rejoin(cell) } else { prepare(cell) } {
        Ok(()) if again => {}
        Ok(()) => {
            let ready = Answer::Ready { generation: cell.generation.load(SeqCst) };
            ready.send(cell.control, cell.work_folder.load(SeqCst));
        }
        Err(failure) => fail(cell, cell.listens_to(), failure),
    }
    let mut stdio = [-1; sys::MAX_FDS];
    match cell.arena.receive(cell.command, &mut stdio) {
        Ok(true) => {}
        // The host is gone; the zygote sees it too.
        Ok(false) => sys::exit(0),
        Err(error) => fail(cell, cell.command, (Stage::Receive, error)),
    }
    for (place, descriptor) in cell.stdio.iter().zip(stdio) {
        place.store(descriptor, SeqCst);
    }
    match run(cell, Order::decode(|index| cell.arena.word(index))) {
        Ok(Some(done)) => Answer::Done(done).send(cell.command, -1),
        // The zygote has claimed the report.
        Ok(None) => {}
        Err(failure) => fail(cell, cell.command, failure),
    }
    sys::exit(0)
}

fn fail(cell: &Cell, listens: RawFd, (stage, errno): Failure) -> ! {
    cell.state.store(ENDED, SeqCst);
    cell.answer_failure(listens, stage as u64, errno as i32);
    sys::exit(1)
}

/// Gives a new session its file systems.
fn prepare(cell: &Cell) -> Result<(), Failure> {
    let shape = cell.shape();
    if shape.loopback {
        sys::loopback_up().map_err(|error| (Stage::Network, error))?;
    }
    // Where the slot's root has the store, which the session's /tmp is about to cover.
    let store = sys::open(libc::AT_FDCWD, c"/tmp", libc::O_PATH | libc::O_DIRECTORY);
    cell.store.store(store.map_err(|error| (Stage::Mounts, error))?, SeqCst);
    work_folders(shape).map_err(|error| (Stage::Mounts, error))?;
    own_proc()?;
    let keep = |place: &AtomicI32, path: &CStr, flags: i32| {
        let descriptor = sys::open(libc::AT_FDCWD, path, flags).map_err(|error| (Stage::Mounts, error))?;
        place.store(descriptor, SeqCst);
        Ok(())
    };
    keep(&cell.work_folder, c"/box", libc::O_PATH | libc::O_DIRECTORY)?;
    keep(&cell.mounts, c"/proc/self/ns/mnt", libc::O_RDONLY)?;
    if cell.landlock > 0 {
        let rules = landlock::rules(cell.landlock).map_err(|error| (Stage::Landlock, error))?;
        cell.rules.store(rules, SeqCst);
    }
    enter_work_folder()
}

/// Joins the file systems of a session that has had a step.
fn rejoin(cell: &Cell) -> Result<(), Failure> {
    let join = || {
        sys::set_namespace(cell.mounts.load(SeqCst), libc::CLONE_NEWNS)?;
        // That of the step before, whose namespace is dead.
        sys::unmount(c"/proc")
    };
    join().map_err(|error| (Stage::Namespaces, error))?;
    if cell.shape().loopback {
        sys::loopback_up().map_err(|error| (Stage::Network, error))?;
    }
    own_proc()?;
    enter_work_folder()
}

/// The root of a session's tmpfs, and its three folders.
const OWN_INODES: u64 = 4;

/// One tmpfs, so that one size and one number of inodes bound the three
/// folders together.
fn work_folders(shape: Shape) -> Result<(), Errno> {
    let mut options = [0u8; 96];
    let mut length = 0;
    let mut digits = [0; 20];
    let mut append = |part: &[u8]| {
        for (place, byte) in options.iter_mut().skip(length).zip(part) {
            *place = *byte;
            length = length.saturating_add(1);
        }
    };
    append(b"mode=0755,size=");
    append(decimal(shape.disk, &mut digits));
    append(b",nr_inodes=");
    append(decimal(shape.files.saturating_add(OWN_INODES), &mut digits));
    let options = CStr::from_bytes_until_nul(&options).map_err(|_| Errno::E2BIG)?;
    // It is mounted on /tmp, where its own root is covered by a part of it at the end.
    sys::mount(c"box", c"/tmp", c"tmpfs", libc::MS_NOSUID | libc::MS_NODEV, options)?;
    sys::umask(0);
    for (folder, target, mode, owner) in [
        (c"/tmp/b", c"/box", 0o755, BOX_ID),
        (c"/tmp/s", c"/dev/shm", 0o1777, 0),
        (c"/tmp/t", c"/tmp", 0o1777, 0),
    ] {
        sys::mkdir(folder, mode)?;
        if owner == BOX_ID {
            sys::chown(folder, BOX_ID, BOX_ID)?;
        }
        sys::mount(folder, target, c"", libc::MS_BIND, c"")?;
    }
    sys::umask(0o022);
    Ok(())
}

/// `/proc` of this cell's own PID namespace, in which no other uid's process
/// shows. It covers the zygote's, which has to stay: a user namespace may
/// mount a new `/proc` only where one is fully visible, and a covered one is
/// out of reach for whoever can't unmount.
fn own_proc() -> Result<(), Failure> {
    let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    sys::mount(c"proc", c"/proc", c"proc", flags, c"hidepid=2").map_err(|error| (Stage::Proc, error))
}

/// Programs start there.
fn enter_work_folder() -> Result<(), Failure> {
    sys::chdir(c"/box").map_err(|error| (Stage::Mounts, error))
}

/// The figures that the kernel gives with each ended process.
#[derive(Clone, Copy, Default)]
struct Reaped {
    user_ns: u64,
    system_ns: u64,
    max_rss: u64,
    voluntary: u64,
    involuntary: u64,
}

impl Reaped {
    fn add(&mut self, ended: &Ended) {
        self.user_ns = self.user_ns.saturating_add(ended.user_ns);
        self.system_ns = self.system_ns.saturating_add(ended.system_ns);
        self.max_rss = self.max_rss.max(ended.max_rss);
        self.voluntary = self.voluntary.saturating_add(ended.voluntary);
        self.involuntary = self.involuntary.saturating_add(ended.involuntary);
    }

    /// Waits until this child has ended; its status.
    fn until(&mut self, child: i32) -> Result<i32, Failure> {
        while let Ok(Some(ended)) = sys::wait(-1, 0) {
            self.add(&ended);
            if ended.pid == child {
                return Ok(ended.status);
            }
        }
        Err((Stage::Fork, Errno::ECHILD))
    }

    /// Waits until no child is left.
    fn rest(&mut self) {
        while let Ok(Some(ended)) = sys::wait(-1, 0) {
            self.add(&ended);
        }
    }
}

/// Starts the program; its process.
fn start(cell: &'static Cell) -> Result<i32, Failure> {
    let strict = cell.shape().strict;
    // A strict program shares the descriptors until it executes, so that the
    // zygote gets hold of the listener.
    let flags = libc::CLONE_VFORK | if strict { libc::CLONE_FILES } else { 0 };
    let flags = CloneFlags { flags: u64::from(flags.cast_unsigned()), cgroup: cell.meter.birthplace() };
    let child = sys::spawn_sharing_memory(flags, &cell.program_stack, program::main, cell);
    for place in &cell.stdio {
        Cell::close(place);
    }
    if strict {
        for descriptor in 0..3 {
            let _ = sys::dup_onto(cell.null, descriptor);
        }
    }
    child.map_err(|error| (Stage::Fork, error))
}

/// Runs the program; `None` if the zygote reports.
fn run(cell: &'static Cell, order: Order) -> Result<Option<Done>, Failure> {
    cell.arena
        .for_each_pair(8 * ORDER_WORDS, order.places, |name, path| {
            sys::place(cell.store.load(SeqCst), name, cell.work_folder.load(SeqCst), path)
        })
        .map_err(|error| (Stage::Place, error))?;
    cell.meter.begin(order.memory, order.processes).map_err(|error| (Stage::Limits, error))?;
    let started = sys::clock(libc::CLOCK_MONOTONIC);
    cell.started_ns.store(started, SeqCst);
    cell.wall_ns.store(order.wall_ns, SeqCst);
    cell.cpu_ns.store(order.cpu_ns, SeqCst);
    cell.state.store(RUNNING, SeqCst);
    // The zygote notes a wish to stop before it looks at the state.
    let stop = Stopped::from_word(cell.stop.load(SeqCst));
    if stop != Stopped::No {
        return Ok(claim(cell).then_some(Done {
            generation: cell.generation.load(SeqCst),
            stopped: stop,
            ..Done::default()
        }));
    }
    let first_check = order.wall_ns.min(order.cpu_ns / cell.cpus.max(1));
    sys::set_timer(cell.timer, started.saturating_add(first_check));

    let child = start(cell)?;
    let mut reaped = Reaped::default();
    let status = reaped.until(child)?;
    let wall_ns = sys::clock(libc::CLOCK_MONOTONIC).saturating_sub(started);
    // In this namespace -1 is everybody but us. A fork that is under way
    // fails, for its process has a signal pending.
    let _ = sys::kill(-1, libc::SIGKILL);
    reaped.rest();
    if !claim(cell) {
        return Ok(None);
    }
    sys::set_timer(cell.timer, 0);
    let [stage, errno] = [0, 1].map(|index: usize| cell.failure[index].load(SeqCst));
    if stage != 0 {
        cell.answer_failure(cell.command, stage, i32::try_from(errno).unwrap_or(0));
        return Ok(None);
    }
    let mut done = measure(cell, wall_ns, reaped.max_rss);
    done.status = Some(status);
    if matches!(cell.meter, Meter::None) {
        done.cpu_ns = reaped.user_ns.saturating_add(reaped.system_ns);
    }
    done.voluntary = reaped.voluntary;
    done.involuntary = reaped.involuntary;
    if done.user_ns == 0 && done.system_ns == 0 {
        (done.user_ns, done.system_ns) = split(done.cpu_ns, reaped.user_ns, reaped.system_ns);
    }
    Ok(Some(done))
}

/// Whether this cell, and not the zygote, reports.
fn claim(cell: &Cell) -> bool {
    cell.state.compare_exchange(RUNNING, ENDED, SeqCst, SeqCst).is_ok()
}

/// Divides exact CPU time as the kernel's ticks say.
pub(crate) fn split(total: u64, user: u64, system: u64) -> (u64, u64) {
    let ticks = user.saturating_add(system);
    if ticks == 0 {
        return (0, total);
    }
    #[expect(clippy::cast_possible_truncation, reason = "a part of `total` fits")]
    let user = (u128::from(total) * u128::from(user) / u128::from(ticks)) as u64;
    (user, total.saturating_sub(user))
}

/// What the whole tree used; called when it is dead.
pub(crate) fn measure(cell: &Cell, wall_ns: u64, max_rss: u64) -> Done {
    let usage = cell.meter.usage();
    let memory_by_rss = !cell.meter.tells_peak();
    // What the cgroup's counter may have missed, the largest process shows.
    let missed = if memory_by_rss { max_rss } else { cell.meter.blind_spot(cell.cpus) };
    let missed = missed.min(max_rss.saturating_sub(usage.memory_peak));
    // Nothing is full if it can't be asked, which would take a dead kernel.
    let unknown = Space { bytes_free: 1, files_free: 1, ..Space::default() };
    let space = sys::space(cell.work_folder.load(SeqCst)).unwrap_or(unknown);
    Done {
        generation: cell.generation.load(SeqCst),
        stopped: if usage.oom_kills > 0 { Stopped::Memory } else { Stopped::No },
        cpu_ns: usage.cpu_ns,
        user_ns: usage.user_ns,
        system_ns: usage.system_ns,
        wall_ns,
        memory_peak: usage.memory_peak.saturating_add(missed),
        memory_by_rss,
        oom_kills: usage.oom_kills,
        processes_peak: usage.processes_peak,
        forks_refused: usage.forks_refused,
        disk_used: space.bytes_used,
        disk_full: space.bytes_free == 0,
        files_used: space.files_used.saturating_sub(OWN_INODES),
        files_full: space.files_free == 0,
        ..Done::default()
    }
}
