//! The mounts: what the supervisor changes once, and what a cell sees besides
//! the disk.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::chdir;

use crate::disk::{Disk, PARTS};
use crate::{FOLDER, Failure, at};

/// Where an empty folder is that nobody can write to.
const NOTHING: &str = "mqueue";

pub(crate) const APART: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);
const HIDDEN: MsFlags = APART.union(MsFlags::MS_RDONLY).union(MsFlags::MS_NOEXEC);
const EMPTY: &str = "size=4k,nr_inodes=1,mode=0555";
pub(crate) const NONE: Option<&str> = None;

/// Opens a place, to go on from there.
pub(crate) fn place(path: &str) -> Result<OwnedFd, Errno> {
    open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
}

pub(crate) fn place_in(folder: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    openat(folder, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
}

/// The path of an open place for who works in `/proc`.
pub(crate) fn here(place: &OwnedFd) -> String {
    format!("self/fd/{}", place.as_raw_fd())
}

/// The places that the supervisor keeps open.
///
/// It works in `/proc`, and from what it has open: the container's root may be
/// of a file system that is asked by messages to another process whether one
/// may pass, for each path that begins there.
#[derive(Debug)]
pub(crate) struct Ground {
    /// Where the parts of disks are seen.
    pub(crate) places: [OwnedFd; PARTS.len()],
    /// The mounts that there are between sessions.
    mounts: String,
}

impl Ground {
    /// Cuts the supervisor's mounts off from all others, and covers the message
    /// queues of the container, which no program is to find.
    ///
    /// What is mounted where the disks come is to be seen by a cell that was made
    /// before: these places are shared with cells, which give nothing back.
    pub(crate) fn settle() -> Result<Self, Failure> {
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        at("cut off the mounts", mount(NONE, "/", NONE, private, NONE))?;
        for (_, place, _) in PARTS {
            at(format_args!("share {place} with cells"), mount(NONE, place, NONE, MsFlags::MS_SHARED, NONE))?;
        }
        at("work in /proc", chdir("/proc"))?;
        let covers = Covers { nothing: None, null: at("open /dev/null", place("/dev/null"))? };
        covers.cover("/dev/mqueue")?;
        let [tmp, shm, work] = PARTS.map(|(_, path, _)| at(format_args!("open {path}"), place(path)));
        Ok(Self { places: [tmp?, shm?, work?], mounts: mounts()? })
    }

    /// What is left of a session, if anything, where so many processes should
    /// be, and this disk or none.
    pub(crate) fn remains(&self, own: usize, disk: Option<&Disk>) -> Result<Option<String>, Failure> {
        let processes = at("look for processes", processes())?;
        if processes != own {
            return Ok(Some(format!("{processes} processes where {own} should be")));
        }
        let expected = disk.map_or(&self.mounts, |disk| &disk.mounts);
        Ok((mounts()? != *expected).then(|| "mounts".to_owned()))
    }
}

/// What is mounted now.
pub(crate) fn mounts() -> Result<String, Failure> {
    let mut text = String::with_capacity(16 << 10);
    let read = File::open("self/mountinfo").and_then(|mut file| file.read_to_string(&mut text));
    at("list the mounts", read).map(|_| text)
}

/// The processes of the container.
fn processes() -> Result<usize, Errno> {
    let mut folder = Dir::open(".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut count = 0;
    for entry in folder.iter() {
        count += usize::from(entry?.file_name().to_bytes().iter().all(u8::is_ascii_digit));
    }
    Ok(count)
}

/// What is put in the place of others.
struct Covers {
    /// An empty folder that nobody can write to; a new one for each, if there is none.
    nothing: Option<OwnedFd>,
    /// The file that has nothing.
    null: OwnedFd,
}

impl Covers {
    /// Those that a cell has.
    fn open() -> Result<Self, Errno> {
        let devices = place("/dev")?;
        let is_folder = |place: &OwnedFd| is_folder(place).unwrap_or(false);
        let nothing = place_in(&devices, NOTHING).ok().filter(is_folder);
        Ok(Self { nothing, null: place_in(&devices, "null")? })
    }

    /// Puts nothing in the place of a file or folder, if it is there.
    fn cover(&self, path: &str) -> Result<(), Failure> {
        let Ok(covered) = place(path) else { return Ok(()) };
        let target = here(&covered);
        let target = target.as_str();
        let bind =
            |source: &OwnedFd| mount(Some(here(source).as_str()), target, NONE, MsFlags::MS_BIND, NONE);
        let result = match (is_folder(&covered), &self.nothing) {
            // It costs less than a file system, and has all flags of that one.
            (Ok(true), Some(nothing)) => bind(nothing),
            (Ok(true), None) => mount(Some("covered"), target, Some("tmpfs"), HIDDEN, Some(EMPTY)),
            (Ok(false), _) => bind(&self.null),
            (Err(error), _) => Err(error),
        };
        at(format_args!("cover {path}"), result)
    }
}

fn is_folder(place: &OwnedFd) -> Result<bool, Errno> {
    Ok(fstat(place)?.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits())
}

/// Folders and files of `/proc` that say something of the machine, and that
/// engines hide too.
const MASKED: [&str; 9] = [
    "acpi",
    "asound",
    "kcore",
    "keys",
    "latency_stats",
    "timer_list",
    "sched_debug",
    "scsi",
    "sysrq-trigger",
];

/// What a cell sees besides the disk: a `/proc` of its own, which can't be
/// written to, no `/sys`, and nothing of the agent. It works in that `/proc` then.
pub(crate) fn enter_cell() -> Result<(), Failure> {
    let slave = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    at("cut off the mounts", mount(NONE, "/", NONE, slave, NONE))?;
    at("mount a fresh /proc", mount(Some("proc"), ".", Some("proc"), HIDDEN, NONE))?;
    at("work in the fresh /proc", chdir("/proc"))?;
    let covers = at("find what covers", Covers::open())?;
    MASKED.into_iter().chain([FOLDER, "/sys"]).try_for_each(|path| covers.cover(path))
}
