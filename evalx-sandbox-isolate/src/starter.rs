//! [`Starter`]: starts isolate for one box such that the kernel counts, limits
//! and reports the processes of each run.
//!
//! isolate has only `RLIMIT_NPROC` for that, which refuses in silence: nobody
//! learns whether a program failed because of it. A pids group tells. On cgroup
//! v2 isolate's own group of the box can have that controller. On v1 a process
//! belongs to another group in each hierarchy, and isolate leaves that of pids
//! alone: runs are started by a thread that is in a group of ours, and are born
//! there. Moving each of them would cost milliseconds. In the same way each box
//! has a group of the cpu controller, where there is one, so that one with many
//! processes has no larger share of the machine than others.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio::runtime::Handle;

use crate::groups::{self, keyed};

/// What is in a v1 group besides the program's tree: the thread, isolate, and
/// its child that is PID 1 of the box.
const OWN_V1: u64 = 3;

/// How long what was killed may still be in a group, on a machine that is busy.
const LEAVING: Duration = Duration::from_secs(10);

/// The start of the names of groups of this module.
const GROUP_NAME: &str = "evalx-isolate-box-";

/// Held to write by who starts a process, and to read by who writes a program:
/// a child that was forked meanwhile, and has not executed anything yet, would
/// hold the program open for writing too, and the kernel executes no such file.
static FORKS: RwLock<()> = RwLock::new(());

/// Until dropped, this crate forks no process.
pub(crate) fn without_forks() -> RwLockReadGuard<'static, ()> {
    FORKS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a process while this crate writes no program.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    let _apart = FORKS.write().unwrap_or_else(PoisonError::into_inner);
    command.spawn()
}

/// Starts runs of one box.
#[derive(Debug)]
pub(crate) enum Starter {
    /// By a thread in this group of the v1 hierarchy.
    Counted(Counted),
    /// As they are; isolate's own v2 group may count.
    Plain { group: Option<PathBuf> },
}

#[derive(Debug)]
pub(crate) struct Counted {
    /// That of pids, and that of cpu if there is one.
    groups: Vec<PathBuf>,
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

struct Request {
    command: Command,
    child: mpsc::Sender<io::Result<Child>>,
}

/// Where v1 groups of boxes are made, that of pids first; none if that can't be.
pub(crate) fn v1_folders() -> Vec<PathBuf> {
    let is_writable = |folder: &PathBuf| nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK).is_ok();
    let folder = |controller| groups::own(controller).filter(is_writable);
    match folder("pids") {
        Some(pids) => std::iter::once(pids).chain(folder("cpu")).collect(),
        None => Vec::new(),
    }
}

/// The groups of a box.
pub(crate) fn v1_groups(folders: &[PathBuf], number: u32) -> Vec<PathBuf> {
    folders.iter().map(|folder| folder.join(format!("{GROUP_NAME}{number}"))).collect()
}

/// Whether a path is one that [`v1_groups`] gives, in a cgroup file system.
pub(crate) fn is_v1_group(path: &Path, number: u32) -> bool {
    path.file_name().is_some_and(|name| name == format!("{GROUP_NAME}{number}").as_str())
        && nix::sys::statfs::statfs(path)
            .is_ok_and(|system| system.filesystem_type() == nix::sys::statfs::CGROUP_SUPER_MAGIC)
}

impl Starter {
    /// Starts a thread that is in these new groups.
    pub(crate) fn counted(groups: Vec<PathBuf>) -> io::Result<Self> {
        for group in &groups {
            fs::create_dir(group)?;
        }
        let (requests, receiver) = mpsc::channel::<Request>();
        let (joined, has_joined) = mpsc::channel();
        let tasks: Vec<PathBuf> = groups.iter().map(|group| group.join("tasks")).collect();
        let runtime = Handle::current();
        let work = move || {
            let result = tasks.iter().try_for_each(|tasks| fs::write(tasks, "0"));
            let is_in = result.is_ok();
            // Whoever waits for it is there until it came.
            let _ = joined.send(result);
            if !is_in {
                return;
            }
            let _runtime = runtime.enter();
            while let Ok(Request { mut command, child }) = receiver.recv() {
                // Whoever asked waits for it, and for nothing else.
                let _ = child.send(spawn(&mut command));
            }
        };
        let thread = std::thread::Builder::new().name("isolate-starter".to_owned()).spawn(work)?;
        let counted = Counted { groups, requests: Some(requests), thread: Some(thread) };
        has_joined.recv().map_err(io::Error::other)??;
        Ok(Self::Counted(counted))
    }

    /// Starts a run. It blocks this thread as long as the other needs for that,
    /// which is as long as starting it here would take.
    pub(crate) fn start(&self, mut command: Command) -> io::Result<Child> {
        let Self::Counted(Counted { requests: Some(requests), .. }) = self else {
            return spawn(&mut command);
        };
        let (child, started) = mpsc::channel();
        requests.send(Request { command, child }).map_err(|_| gone())?;
        started.recv().map_err(|_| gone())?
    }

    /// Whether processes are counted, so that isolate need not limit them.
    pub(crate) fn counts(&self) -> bool {
        self.group().is_some()
    }

    fn group(&self) -> Option<&Path> {
        match self {
            Self::Counted(counted) => counted.groups.first().map(PathBuf::as_path),
            Self::Plain { group } => group.as_deref(),
        }
    }

    /// By what processes are counted, if they are.
    pub(crate) fn mechanism(&self) -> Option<&'static str> {
        match self {
            Self::Counted(_) => Some("cgroup v1 pids.max"),
            Self::Plain { group } => group.as_ref().map(|_| "cgroup v2 pids.max"),
        }
    }

    /// Limits the processes of the runs to come, if it counts them.
    pub(crate) fn limit(&self, processes: u32) -> io::Result<()> {
        let Some(group) = self.group() else { return Ok(()) };
        let own = if matches!(self, Self::Counted(_)) { OWN_V1 } else { 0 };
        fs::write(group.join("pids.max"), (u64::from(processes) + own).to_string())
    }

    /// How many processes the kernel has refused so far.
    pub(crate) fn refused(&self) -> u64 {
        let Some(group) = self.group() else { return 0 };
        let text = fs::read_to_string(group.join("pids.events")).unwrap_or_default();
        keyed(&text, "max").unwrap_or(0)
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that starts runs is gone")
}

impl Drop for Counted {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say, and what it panicked of was said then.
            let _ = thread.join();
        }
        for group in &self.groups {
            // It is noted, and whoever removes the box tries again.
            let _ = remove_group(group);
        }
    }
}

/// Removes a group whose last member may be just about to leave it.
pub(crate) fn remove_group(group: &Path) -> io::Result<()> {
    let deadline = Instant::now() + LEAVING;
    loop {
        match fs::remove_dir(group) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                std::thread::park_timeout(Duration::from_millis(1));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return Ok(()),
        }
    }
}
