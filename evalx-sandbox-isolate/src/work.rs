//! [`Work`]: the disk of one session, which is its `/box`, `/tmp` and `/dev/shm`.
//!
//! isolate's own box folder is on the host's disk, and has no limit unless the
//! file system has quotas. A session has a tmpfs in its place, of a size and a
//! number of files, which isolate is told to show; its pages are charged to
//! whoever writes them.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use evalx_core::{ByteSize, Limits};
use evalx_host::{Owner, WorkFolder};
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::statvfs::statvfs;

/// Inodes of every session that no program made: the root and three folders.
const OWN_INODES: u64 = 4;

/// The places that isolate shows, and where they are on the disk.
const PLACES: [(&str, &str); 3] = [("box", "box"), ("tmp", "tmp"), ("dev/shm", "shm")];

/// A session's disk, mounted until [removed](Self::remove).
#[derive(Debug)]
pub(crate) struct Work {
    folder: PathBuf,
    /// The work folder itself.
    pub(crate) files: WorkFolder,
    /// Rules for isolate's `--dir`.
    pub(crate) rules: Vec<String>,
}

/// How full a disk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Space {
    pub(crate) bytes_used: u64,
    pub(crate) files_used: u64,
    pub(crate) bytes_full: bool,
    pub(crate) files_full: bool,
}

impl Work {
    pub(crate) fn make(folder: &Path, owner: Owner, limits: &Limits) -> io::Result<Self> {
        fs::create_dir(folder)?;
        let files = u64::from(limits.files) + OWN_INODES;
        let options = format!("mode=0755,size={},nr_inodes={files}", limits.disk.as_u64());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some("work"), folder, Some("tmpfs"), flags, Some(options.as_str()))?;
        let mut rules = Vec::new();
        for (inside, name) in PLACES {
            let place = folder.join(name);
            DirBuilder::new().mode(0o700).create(&place)?;
            chown(&place, Some(owner.uid), Some(owner.gid))?;
            if name != "box" {
                fs::set_permissions(&place, fs::Permissions::from_mode(0o1777))?;
            }
            rules.push(format!("{inside}={}:rw", place.display()));
        }
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let files = File::options().read(true).custom_flags(flags.bits()).open(folder.join("box"))?;
        Ok(Self { folder: folder.to_owned(), files: WorkFolder::new(files.into(), Some(owner)), rules })
    }

    pub(crate) fn space(&self) -> io::Result<Space> {
        let stat = statvfs(&self.folder)?;
        let used = stat.blocks().saturating_sub(stat.blocks_free());
        let size = ByteSize::bytes(used.saturating_mul(stat.fragment_size()));
        Ok(Space {
            bytes_used: size.as_u64(),
            files_used: stat.files().saturating_sub(stat.files_free()).saturating_sub(OWN_INODES),
            bytes_full: stat.blocks_free() == 0,
            files_full: stat.files_free() == 0,
        })
    }

    /// Takes it off the host. Its memory is free at once, unless another box
    /// was begun meanwhile: that one's mount namespace holds it until the end
    /// of its step.
    pub(crate) fn remove(self) -> io::Result<()> {
        drop(self.files);
        unmount(&self.folder)?;
        fs::remove_dir(&self.folder)
    }
}

/// Unmounts what is mounted here; nothing may be.
pub(crate) fn unmount(folder: &Path) -> io::Result<()> {
    match umount2(folder, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Unmounts all that is mounted below `folder`, the last first, and removes
/// the folder. Nothing below it but mounts was ever written to by a program.
pub(crate) fn unmount_below(folder: &Path) -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    let mut below: Vec<&Path> = places.filter(|place| place.starts_with(folder)).collect();
    below.reverse();
    for place in below {
        unmount(place)?;
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
