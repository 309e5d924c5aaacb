//! A session's disk: one file system for all places that a program can write to.
//!
//! It is mounted for one session, and may serve the next if that asks for one of
//! the same size: to unmount it, the kernel waits four times until no processor
//! looks at it any more. So it is emptied, and then looked at: only a disk of which
//! the kernel itself says that nothing is on it, by the counters of its blocks and
//! files and by all that its folders have, is used again. Any other is unmounted.

use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmodat, mkdirat, utimensat};
use nix::sys::statvfs::fstatvfs;
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, unlinkat};
use rustix::fs::{AtFlags, StatxFlags, flistxattr, statx};

use crate::workspace::{APART, Ground, NONE, here, mounts, place, place_in};
use crate::{Failure, at};

/// The work folder.
pub(crate) const BOX: &str = "/box";
/// The parts of a session's disk, and where each is seen; the work folder is
/// the last, since the whole disk is mounted there first.
pub(crate) const PARTS: [(&str, &str, u32); 3] =
    [("tmp", "/tmp", 0o1777), ("shm", "/dev/shm", 0o1777), ("box", BOX, 0o755)];
/// Files that a disk has before anybody made one: its root and its parts.
const OWN_FILES: u64 = 1 + PARTS.len() as u64;
/// With more files it is sooner unmounted than emptied.
const MOST_REMOVED: u64 = 256;

/// A disk that is mounted.
#[derive(Debug)]
pub(crate) struct Disk {
    /// The work folder, to open files beneath.
    pub(crate) folder: OwnedFd,
    /// What is mounted while it is.
    pub(crate) mounts: String,
    root: OwnedFd,
    size: (u64, u64),
    /// What it was when it was new.
    new: State,
}

/// How full a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) bytes_used: u64,
    pub(crate) bytes_free: u64,
    pub(crate) files_used: u64,
    pub(crate) files_free: u64,
}

/// All that a program can change of a disk and that is not gone with its files.
#[derive(Debug, PartialEq, Eq)]
struct State {
    fill: Fill,
    folders: [Folder; PARTS.len()],
}

#[derive(Debug, PartialEq, Eq)]
struct Folder {
    mode: u16,
    owner: (u32, u32),
    links: u32,
    size: u64,
    flags: u64,
    attributes: usize,
}

impl Disk {
    pub(crate) fn mount(ground: &Ground, bytes: u64, files: u64) -> Result<Self, Failure> {
        let options = format!("size={bytes},nr_inodes={},mode=0755", files.saturating_add(OWN_FILES));
        let [.., work] = &ground.places;
        let work = here(work);
        at(
            "mount the disk",
            mount(Some("disk"), work.as_str(), Some("tmpfs"), APART, Some(options.as_str())),
        )?;
        let root = at("open the disk", place(BOX))?;
        for ((part, name, mode), place) in PARTS.into_iter().zip(&ground.places) {
            let mode = Mode::from_bits_truncate(mode);
            at("divide the disk", mkdirat(&root, part, mode))?;
            at("divide the disk", fchmodat(&root, part, mode, FchmodatFlags::FollowSymlink))?;
            let source = format!("{}/{part}", here(&root));
            let result = mount(Some(source.as_str()), here(place).as_str(), NONE, MsFlags::MS_BIND, NONE);
            at(format_args!("show the disk at {name}"), result)?;
        }
        let folder = at("open the work folder", place_in(&root, "box"))?;
        let new = at("look at the disk", State::of(&root))?;
        Ok(Self { folder, mounts: mounts()?, root, size: (bytes, files), new })
    }

    /// Whether it holds so many bytes and files.
    pub(crate) fn is_of(&self, bytes: u64, files: u64) -> bool {
        self.size == (bytes, files)
    }

    pub(crate) fn fill(&self) -> Result<Fill, Failure> {
        at("measure the disk", Fill::of(&self.root))
    }

    /// Takes away all that is on it; whether it is as new then. No program runs.
    pub(crate) fn is_empty_again(&self) -> bool {
        let few = Fill::of(&self.root).is_ok_and(|fill| fill.files_used <= MOST_REMOVED);
        few && self.empty().is_ok() && State::of(&self.root).is_ok_and(|state| state == self.new)
    }

    fn empty(&self) -> Result<(), Errno> {
        for (part, _, mode) in PARTS {
            empty(&folder(&self.root, part)?)?;
            fchmodat(&self.root, part, Mode::from_bits_truncate(mode), FchmodatFlags::FollowSymlink)?;
            // A program could leave word for the next in them.
            let now = TimeSpec::UTIME_NOW;
            utimensat(&self.root, part, &now, &now, UtimensatFlags::NoFollowSymlink)?;
        }
        Ok(())
    }

    /// Takes the disk away, with all that is on it.
    pub(crate) fn unmount(self) -> Result<(), Failure> {
        drop((self.folder, self.root));
        let places = PARTS.iter().rev().map(|(_, place, _)| *place);
        for place in places.chain([BOX]) {
            at(format_args!("unmount {place}"), unmount_when_free(place))?;
        }
        Ok(())
    }
}

impl Fill {
    fn of(disk: &OwnedFd) -> Result<Self, Errno> {
        let shape = fstatvfs(disk)?;
        Ok(Self {
            bytes_used: (shape.blocks() - shape.blocks_free()) * shape.fragment_size(),
            bytes_free: shape.blocks_free() * shape.fragment_size(),
            files_used: shape.files().saturating_sub(shape.files_free()).saturating_sub(OWN_FILES),
            files_free: shape.files_free(),
        })
    }
}

impl State {
    fn of(disk: &OwnedFd) -> Result<Self, Errno> {
        let [one, two, three] = PARTS.map(|(part, ..)| Folder::of(disk, part));
        Ok(Self { fill: Fill::of(disk)?, folders: [one?, two?, three?] })
    }
}

impl Folder {
    fn of(disk: &OwnedFd, part: &str) -> Result<Self, Errno> {
        let folder = folder(disk, part)?;
        let errno = |error: rustix::io::Errno| Errno::from_raw(error.raw_os_error());
        let found = statx(&folder, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).map_err(errno)?;
        // Access lists are among them.
        let attributes = flistxattr(&folder, &mut [0; 256]).map_err(errno)?;
        Ok(Self {
            mode: found.stx_mode,
            owner: (found.stx_uid, found.stx_gid),
            links: found.stx_nlink,
            size: found.stx_size,
            flags: found.stx_attributes.bits(),
            attributes,
        })
    }
}

fn folder(above: &OwnedFd, name: impl AsRef<std::path::Path>) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(above, name.as_ref(), flags, Mode::empty())
}

/// Removes what is in a folder. It is no deeper than [`MOST_REMOVED`].
fn empty(above: &OwnedFd) -> Result<(), Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut names = Vec::new();
    for entry in Dir::openat(above, ".", flags, Mode::empty())?.iter() {
        names.push(entry?.file_name().to_owned());
    }
    for name in names.iter().filter(|name| !matches!(name.to_bytes(), b"." | b"..")) {
        match unlinkat(above, name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR) => {
                let inner = openat(above, name.as_c_str(), flags | OFlag::O_NOFOLLOW, Mode::empty())?;
                empty(&inner)?;
                unlinkat(above, name.as_c_str(), UnlinkatFlags::RemoveDir)?;
            }
            result => result?,
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_emptied_whatever_is_in_them() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("kept"), "x").unwrap();
        let inside = tempfile::tempdir().unwrap();
        let deep = inside.path().join("a/b/c");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path(), deep.join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", inside.path().join("link")).unwrap();
        empty(&place(inside.path().to_str().unwrap()).unwrap()).unwrap();
        assert!(std::fs::read_dir(inside.path()).unwrap().next().is_none());
        assert!(outside.path().join("kept").exists());
    }

    #[test]
    fn what_a_program_left_of_itself_is_seen() {
        let disk = tempfile::tempdir().unwrap();
        let inside = |part: &str| disk.path().join(part);
        for (part, ..) in PARTS {
            std::fs::create_dir(inside(part)).unwrap();
        }
        let root = place(disk.path().to_str().unwrap()).unwrap();
        let folders = || PARTS.map(|(part, ..)| Folder::of(&root, part).unwrap());
        let new = folders();
        assert_eq!(new, folders());
        std::fs::create_dir(inside("tmp/a")).unwrap();
        assert_ne!(new, folders());
        std::fs::remove_dir(inside("tmp/a")).unwrap();
        assert_eq!(new.map(|folder| folder.links), folders().map(|folder| folder.links));
    }
}
