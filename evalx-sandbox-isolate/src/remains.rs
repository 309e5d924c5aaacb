//! What is left of a box, and how it is removed: at its end, or by the next
//! who leases its number, if the process that had it was killed at any moment.
//!
//! The folder of a box holds a note of what belongs to it elsewhere. It is
//! written before any of that is made, and removed after all of it is.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use crate::error::IsolateError;
use crate::installation::Installation;
use crate::lease::{Lease, State};
use crate::starter;
use crate::work::unmount_below;

/// How long processes that were killed may take to be gone.
const DYING: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(2);

const NOTE: &str = "note";

/// Whose a box is, and what belongs to it outside its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// The process that has it: its pid and its start, which tell it from others.
    host: String,
    /// The isolate that made it.
    program: PathBuf,
    /// Its groups in v1 hierarchies.
    groups: Vec<PathBuf>,
}

impl Note {
    /// A note of this process.
    pub(crate) fn new(program: PathBuf, groups: Vec<PathBuf>) -> Self {
        let host = identity(std::process::id()).unwrap_or_default();
        Self { host, program, groups }
    }

    /// Makes the box's folder, with the note in it.
    pub(crate) fn write(&self, lease: &Lease) -> io::Result<()> {
        fs::create_dir(&lease.folder)?;
        let paths =
            std::iter::once(&self.program).chain(&self.groups).map(|path| path.as_os_str().as_bytes());
        let lines: Vec<&[u8]> = std::iter::once(self.host.as_bytes()).chain(paths).collect();
        fs::write(lease.folder.join(NOTE), lines.join(&b'\n'))
    }

    /// Of a process that died while it wrote the note, nothing is elsewhere yet.
    fn read(folder: &Path) -> Option<Self> {
        let text = fs::read(folder.join(NOTE)).ok()?;
        let mut lines = text.split(|byte| *byte == b'\n');
        let host = String::from_utf8_lossy(lines.next()?).into_owned();
        let mut paths = lines.map(|path| PathBuf::from(OsStr::from_bytes(path)));
        Some(Self { host, program: paths.next()?, groups: paths.collect() })
    }

    /// Whether the process that has the box is still there.
    fn host_lives(&self) -> bool {
        let pid = self.host.split(' ').next().and_then(|pid| pid.parse().ok());
        pid.and_then(identity).is_some_and(|identity| identity == self.host)
    }
}

/// A process's pid and the time of its start; `None` of one that is dead.
fn identity(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; behind it, the state is the
    // first field and the start the 20th.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if state == "Z" { None } else { fields.nth(18).map(|start| format!("{pid} {start}")) }
}

/// The lease of the first number of a range that nobody has, with nothing of a
/// dead process left of its box; `None` if there is none. A number whose
/// remains can't be removed is passed over.
pub(crate) async fn lease(
    state: &State,
    (first, count): (u32, u32),
    installation: &Installation,
) -> Result<Option<Lease>, IsolateError> {
    for number in first..first.saturating_add(count) {
        let Some(lease) = state.lease(number)? else { continue };
        if bury(&lease, installation).await {
            return Ok(Some(lease));
        }
    }
    Ok(None)
}

/// Removes what dead processes have left, whatever numbers they used.
pub(crate) async fn sweep(state: &State, installation: &Installation) {
    for number in state.used() {
        if let Some(lease) = lease_of_the_dead(state, number).await {
            bury(&lease, installation).await;
        }
    }
}

/// The lease of a number, unless somebody lives who has it. A child that a dead
/// process had forked, and that has not executed isolate yet, holds the lock
/// for it until it has.
async fn lease_of_the_dead(state: &State, number: u32) -> Option<Lease> {
    let deadline = Instant::now() + DYING;
    loop {
        match state.lease(number) {
            Ok(Some(lease)) => return Some(lease),
            Ok(None) if Instant::now() < deadline => {
                let note = Note::read(&state.folder(number))?;
                if note.host_lives() {
                    return None;
                }
            }
            _ => return None,
        }
        sleep(INTERVAL).await;
    }
}

/// Removes what a dead process has left of a box, if anything; whether nothing
/// is left now.
async fn bury(lease: &Lease, installation: &Installation) -> bool {
    if !lease.is_stale() {
        return true;
    }
    let number = lease.number;
    match remove(lease, installation).await {
        Ok(()) => tracing::info!(number, "removed a box that a dead process had left"),
        Err(error) => {
            tracing::warn!(number, error = %evalx_core::Error::from(error).chain(), "can't remove a box of the dead");
            return false;
        }
    }
    true
}

/// Ends and removes all that belongs to a box, the folder last.
pub(crate) async fn remove(lease: &Lease, installation: &Installation) -> Result<(), IsolateError> {
    let number = lease.number;
    if let Some(note) = Note::read(&lease.folder) {
        end_processes(&note.program, number).await?;
        let groups: Vec<PathBuf> =
            note.groups.into_iter().filter(|group| starter::is_v1_group(group, number)).collect();
        blocking(lease, move || groups.iter().try_for_each(|group| starter::remove_group(group))).await?;
        let installation = Installation { program: note.program, ..installation.clone() };
        clean_up(&installation, number).await?;
    }
    let folder = lease.folder.clone();
    blocking(lease, move || unmount_below(&folder)).await
}

/// Removes something on a thread for that.
async fn blocking(
    lease: &Lease,
    remove: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), IsolateError> {
    let removed =
        tokio::task::spawn_blocking(remove).await.map_err(io::Error::other).and_then(|removed| removed);
    let (what, path) = ("can't remove all that belongs to", lease.folder.clone());
    removed.map_err(|source| IsolateError::Host { what, path, source })
}

/// isolate 2 wants to be told whether a box has groups, and refuses what is
/// not so; where it has no groups at all, it can't be asked for them. And what
/// was killed may still be in them.
async fn clean_up(installation: &Installation, number: u32) -> Result<(), IsolateError> {
    let deadline = Instant::now() + DYING;
    loop {
        let with = installation.clean_up(number, true).await;
        let without = installation.clean_up(number, false).await;
        match (with, without) {
            (Err(_), Err(error)) if Instant::now() >= deadline => return Err(error),
            (Err(_), Err(_)) => sleep(INTERVAL).await,
            _ => return Ok(()),
        }
    }
}

/// Kills every isolate that is at work on this box. Its child is PID 1 of the
/// box, and an isolate too: whatever runs in the box dies with it.
async fn end_processes(program: &Path, number: u32) -> Result<(), IsolateError> {
    let deadline = Instant::now() + DYING;
    loop {
        let alive = processes(program, number);
        if alive.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(IsolateError::Stuck("--run"));
        }
        for process in alive {
            // It may have ended by itself meanwhile.
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
        sleep(INTERVAL).await;
    }
}

/// The living processes of isolate for this box, by their command line.
fn processes(program: &Path, number: u32) -> Vec<i32> {
    let mark = format!("--box-id={number}");
    let is_one = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut arguments = line.split(|byte| *byte == 0);
        arguments.next() == Some(program.as_os_str().as_bytes()) && arguments.next() == Some(mark.as_bytes())
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_are_told_from_the_dead() {
        let own = Note::new(PathBuf::from("/bin/isolate"), Vec::new());
        assert!(own.host_lives());
        for host in ["", "1", "x y", &format!("{} 1", std::process::id()), "4294967295 1"] {
            assert!(!Note { host: host.to_owned(), ..own.clone() }.host_lives(), "{host}");
        }
    }
}
