//! What is left of a box, and how it is removed: at its end, or by the next
//! who leases its number, if the process that had it was killed at any moment.
//!
//! The folder of a box holds a note of what belongs to it elsewhere. It is
//! written before any of that is made, and removed after all of it is.

use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
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

/// What belongs to a box outside its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// The isolate that made it.
    pub(crate) program: PathBuf,
    /// Its group in the v1 hierarchy of pids.
    pub(crate) pids: Option<PathBuf>,
}

impl Note {
    /// Makes the box's folder, with the note in it.
    pub(crate) fn write(&self, lease: &Lease) -> io::Result<()> {
        fs::create_dir(&lease.folder)?;
        let pids = self.pids.as_deref().unwrap_or(Path::new(""));
        let text = [self.program.as_os_str().as_bytes(), pids.as_os_str().as_bytes()].join(&b'\n');
        fs::write(lease.folder.join(NOTE), text)
    }

    /// Of a process that died while it wrote the note, nothing is elsewhere yet.
    fn read(lease: &Lease) -> Option<Self> {
        let text = fs::read(lease.folder.join(NOTE)).ok()?;
        let (program, pids) = text.split_at(text.iter().position(|byte| *byte == b'\n')?);
        let path = |bytes: &[u8]| PathBuf::from(std::ffi::OsString::from_vec(bytes.to_vec()));
        let pids = Some(path(&pids[1..])).filter(|path| !path.as_os_str().is_empty());
        Some(Self { program: path(program), pids })
    }
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
        if let Ok(Some(lease)) = state.lease(number) {
            bury(&lease, installation).await;
        }
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
    if let Some(note) = Note::read(lease) {
        end_processes(&note.program, number).await?;
        if let Some(group) = note.pids.filter(|group| starter::is_v1_group(group, number)) {
            starter::remove_group(&group);
        }
        let installation = Installation { program: note.program, ..installation.clone() };
        clean_up(&installation, number).await?;
    }
    let folder = lease.folder.clone();
    let removed = tokio::task::spawn_blocking(move || unmount_below(&folder)).await;
    removed.map_err(io::Error::other).and_then(|removed| removed).map_err(|source| IsolateError::Host {
        what: "a box can't be removed from",
        path: lease.folder.clone(),
        source,
    })
}

/// isolate 2 wants to be told whether a box has groups, and refuses what is
/// not so; where it has no groups at all, it can't be asked for them.
async fn clean_up(installation: &Installation, number: u32) -> Result<(), IsolateError> {
    let with = installation.clean_up(number, true).await;
    let without = installation.clean_up(number, false).await;
    match (with, without) {
        (Err(_), Err(error)) => Err(error),
        _ => Ok(()),
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
