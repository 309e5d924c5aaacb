//! [`Gate`]: holds a program back until isolate has an eye on it.
//!
//! isolate looks for the program once it was told that it is there, and gives
//! up if it finds other children than that one: a program that had made orphans
//! by then, on a busy machine, would not be run at all. So its stderr is a FIFO
//! of ours, which isolate opens last of all before it executes the program, and
//! which opens when somebody reads it. We do once isolate keeps time.
//!
//! The same FIFO keeps apart what the program and what isolate say.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstat};
use nix::unistd::{Pid, mkfifo};

/// Where the folder of the gate is seen inside.
const INSIDE: &str = "run";
const NAME: &str = "stderr";

/// The gate of one box.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    folder: PathBuf,
    gid: u32,
}

impl Gate {
    /// Makes its folder. The box's group is to write to it.
    pub(crate) fn make(folder: PathBuf, gid: u32) -> io::Result<Self> {
        fs::create_dir(&folder)?;
        Ok(Self { folder, gid })
    }

    /// A rule for isolate's `--dir`.
    pub(crate) fn rule(&self) -> String {
        format!("{INSIDE}={}", self.folder.display())
    }

    /// What has isolate open the gate for the program.
    pub(crate) fn argument() -> String {
        format!("--stderr=/{INSIDE}/{NAME}")
    }

    /// Shuts it for the next program, by a new FIFO: another process that was
    /// forked from this one may for a moment hold the last one open.
    ///
    /// The box's group may write to it and do nothing else. Its owner is root,
    /// so that nobody inside can change that.
    pub(crate) fn shut(&self) -> io::Result<GateEnd> {
        let path = self.folder.join(NAME);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        mkfifo(&path, Mode::empty())?;
        chown(&path, None, Some(self.gid))?;
        fchmodat(nix::fcntl::AT_FDCWD, &path, Mode::S_IWGRP, FchmodatFlags::FollowSymlink)?;
        Ok(GateEnd(path))
    }
}

/// The host's end of a gate, still closed.
#[derive(Debug)]
pub(crate) struct GateEnd(PathBuf);

impl GateEnd {
    /// Lets the program go, if this isolate keeps its time by now; what is
    /// then read is its stderr.
    pub(crate) fn open_for(&self, isolate: Pid) -> io::Result<Option<OwnedFd>> {
        if keeps_time(isolate) { open(&self.0).map(Some) } else { Ok(None) }
    }
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
    let file = fs::File::options().read(true).custom_flags(flags.bits()).open(path)?;
    if fstat(&file)?.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFIFO.bits() {
        return Err(io::Error::other("the gate of a box is no FIFO"));
    }
    Ok(file.into())
}

/// isolate handles the alarm of its timer from the moment at which it begins
/// to watch, and never before.
pub(crate) fn keeps_time(isolate: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{isolate}/status")).unwrap_or_default();
    let handled = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let handled = handled.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    handled & (1 << (Signal::SIGALRM as i32 - 1)) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_handles_no_alarm_keeps_no_time() {
        assert!(!keeps_time(Pid::this()));
        assert!(!keeps_time(Pid::from_raw(i32::MAX)));
    }

    #[test]
    fn what_is_no_fifo_is_not_opened() {
        let folder = tempfile::tempdir().expect("a folder is made");
        let path = folder.path().join(NAME);
        fs::write(&path, "").expect("a file is made");
        assert!(open(&path).is_err());
        fs::remove_file(&path).expect("it is removed");
        std::os::unix::fs::symlink("/dev/zero", &path).expect("a symlink is made");
        assert!(open(&path).is_err());
    }
}
