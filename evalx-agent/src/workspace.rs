//! The mounts: what the supervisor changes once, a session's disk, and what a
//! cell sees of the rest.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::sys::statvfs::fstatvfs;

use crate::{FOLDER, Failure, at};

/// The work folder.
pub(crate) const BOX: &str = "/box";
/// The parts of a session's disk, and where each is seen; the work folder is
/// the last, since the whole disk is mounted there first.
const PARTS: [(&str, &str, u32); 3] =
    [("tmp", "/tmp", 0o1777), ("shm", "/dev/shm", 0o1777), ("box", BOX, 0o755)];
/// Files that a disk has before anybody made one: its root and its parts.
const OWN_FILES: u64 = 1 + PARTS.len() as u64;

const APART: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);
const NONE: Option<&str> = None;

/// Cuts the supervisor's mounts off from all others, and covers the message
/// queues of the container, which no program is to find.
///
/// What is mounted where the disks come is to be seen by a cell that was made
/// before: these places are shared with cells, which give nothing back.
pub(crate) fn settle() -> Result<(), Failure> {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    at("cut off the mounts", mount(NONE, "/", NONE, private, NONE))?;
    for (_, place, _) in PARTS {
        at(format_args!("share {place} with cells"), mount(NONE, place, NONE, MsFlags::MS_SHARED, NONE))?;
    }
    cover(NOTHING)
}

/// Where the supervisor has an empty folder that nobody can write to: what
/// cells put in the place of others.
const NOTHING: &str = "/dev/mqueue";

/// Puts nothing in the place of a file or folder, if it is there.
fn cover(path: &str) -> Result<(), Failure> {
    let is_folder = |path| fs::symlink_metadata(path).map(|data| data.is_dir());
    let Ok(folder) = is_folder(path) else { return Ok(()) };
    let result = if folder && path != NOTHING && is_folder(NOTHING).unwrap_or(false) {
        // It costs less than a file system, and has all flags of that one.
        mount(Some(NOTHING), path, NONE, MsFlags::MS_BIND, NONE)
    } else if folder {
        let flags = APART | MsFlags::MS_RDONLY | MsFlags::MS_NOEXEC;
        mount(Some("covered"), path, Some("tmpfs"), flags, Some("size=4k,nr_inodes=1,mode=0555"))
    } else {
        mount(Some("/dev/null"), path, NONE, MsFlags::MS_BIND, NONE)
    };
    at(format_args!("cover {path}"), result)
}

/// A session's disk: one file system for all places that a program can write to.
#[derive(Debug)]
pub(crate) struct Disk {
    /// The work folder, to open files beneath.
    pub(crate) folder: OwnedFd,
}

/// How full a disk is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill {
    pub(crate) bytes_used: u64,
    pub(crate) bytes_free: u64,
    pub(crate) files_used: u64,
    pub(crate) files_free: u64,
}

impl Disk {
    pub(crate) fn mount(bytes: u64, files: u64) -> Result<Self, Failure> {
        let options = format!("size={bytes},nr_inodes={},mode=0755", files.saturating_add(OWN_FILES));
        at("mount the disk", mount(Some("disk"), BOX, Some("tmpfs"), APART, Some(options.as_str())))?;
        for (part, place, mode) in PARTS {
            let source = Path::new(BOX).join(part);
            at("divide the disk", fs::create_dir(&source))?;
            at("divide the disk", fs::set_permissions(&source, fs::Permissions::from_mode(mode)))?;
            let result = mount(Some(&source), place, NONE, MsFlags::MS_BIND, NONE);
            at(format_args!("show the disk at {place}"), result)?;
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self { folder: at("open the work folder", open(BOX, flags, Mode::empty()))? })
    }

    pub(crate) fn fill(&self) -> Result<Fill, Failure> {
        let shape = at("measure the disk", fstatvfs(&self.folder))?;
        let files_used = shape.files().saturating_sub(shape.files_free()).saturating_sub(OWN_FILES);
        Ok(Fill {
            bytes_used: (shape.blocks() - shape.blocks_free()) * shape.fragment_size(),
            bytes_free: shape.blocks_free() * shape.fragment_size(),
            files_used,
            files_free: shape.files_free(),
        })
    }

    /// Takes the disk away, with all that is on it.
    pub(crate) fn unmount(self) -> Result<(), Failure> {
        drop(self.folder);
        let places = PARTS.iter().rev().map(|(_, place, _)| *place);
        for place in places.chain([BOX]) {
            at(format_args!("unmount {place}"), unmount_when_free(place))?;
        }
        Ok(())
    }
}

/// Unmounts a place that nobody uses, or will not in a moment: a cell that was
/// just started has the supervisor's descriptors until it has executed.
fn unmount_when_free(place: &str) -> Result<(), Errno> {
    const PAUSE: Duration = Duration::from_micros(50);
    let deadline = Instant::now() + Duration::from_secs(1);
    loop {
        match umount2(place, MntFlags::UMOUNT_NOFOLLOW) {
            Err(Errno::EBUSY) if Instant::now() < deadline => thread::park_timeout(PAUSE),
            result => return result,
        }
    }
}

/// Folders and files of `/proc` that say something of the machine, and that
/// engines hide too.
const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/sysrq-trigger",
];

/// What a cell sees besides the disk: a `/proc` of its own, which can't be
/// written to, no `/sys`, and nothing of the agent.
pub(crate) fn enter_cell() -> Result<(), Failure> {
    let slave = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    at("cut off the mounts", mount(NONE, "/", NONE, slave, NONE))?;
    let flags = APART | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    at("mount a fresh /proc", mount(Some("proc"), "/proc", Some("proc"), flags, NONE))?;
    MASKED.into_iter().try_for_each(cover)?;
    cover(FOLDER)?;
    cover("/sys")
}
