//! [`Lease`]: a box number that no other process on this host uses.
//!
//! Each number has a lock file, which its holder has locked, and a folder that
//! is there while something belongs to the box. The kernel lets go of the lock
//! when the holder dies, whatever it dies of: a number that can be locked and
//! has a folder is what a dead process left behind.
//!
//! Who keeps state in a folder of their own locks the number in the default one
//! as well, so that no two use the same box, wherever their state is.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use evalx_host::private_folder;
use nix::fcntl::{Flock, FlockArg, OFlag};

use crate::error::IsolateError;

const DEFAULT_STATE_FOLDER: &str = "/run/evalx/isolate";

/// The folder of locks, and of one folder for each box in use.
#[derive(Clone, Debug)]
pub(crate) struct State {
    folder: PathBuf,
    /// The default folder, where this is another and that one can be had.
    common: Option<PathBuf>,
}

/// A box number, locked until dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) number: u32,
    /// Where what belongs to the box is; not made yet.
    pub(crate) folder: PathBuf,
    _locks: Vec<Flock<File>>,
}

impl State {
    pub(crate) fn open(folder: Option<&Path>) -> Result<Self, IsolateError> {
        let default = make_private(Path::new(DEFAULT_STATE_FOLDER));
        let Some(folder) = folder else {
            return match default {
                Ok(folder) => Ok(Self { folder, common: None }),
                Err(source) => Err(Self::unfit(DEFAULT_STATE_FOLDER.into(), source)),
            };
        };
        let folder = make_private(folder).map_err(|source| Self::unfit(folder.to_owned(), source))?;
        Ok(Self { common: default.ok().filter(|default| *default != folder), folder })
    }

    fn unfit(folder: PathBuf, source: io::Error) -> IsolateError {
        IsolateError::State { what: "could not make it private", folder, source }
    }

    /// The lease of this number; `None` if somebody has it.
    pub(crate) fn lease(&self, number: u32) -> Result<Option<Lease>, IsolateError> {
        let mut locks = Vec::new();
        // Everybody takes the common lock first.
        for folder in self.common.iter().chain([&self.folder]) {
            match lock(&folder.join(format!("{number}.lock"))) {
                Ok(Some(lock)) => locks.push(lock),
                Ok(None) => return Ok(None),
                Err(source) => {
                    let (what, folder) = ("could not lock a box number", folder.clone());
                    return Err(IsolateError::State { what, folder, source });
                }
            }
        }
        Ok(Some(Lease { number, folder: self.folder(number), _locks: locks }))
    }

    /// Where what belongs to a box is.
    pub(crate) fn folder(&self, number: u32) -> PathBuf {
        self.folder.join(number.to_string())
    }

    /// The numbers that have a folder, whether somebody has them or not.
    pub(crate) fn used(&self) -> Vec<u32> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }
}

impl Lease {
    /// Whether a dead process left something of this box.
    pub(crate) fn is_stale(&self) -> bool {
        self.folder.exists()
    }
}

/// The folder's path without symlinks, which isolate's rules and the kernel's
/// list of mounts must be able to hold as it is.
fn make_private(folder: &Path) -> io::Result<PathBuf> {
    private_folder(folder)?;
    let path = fs::canonicalize(folder)?;
    if is_plain(&path) { Ok(path) } else { Err(io::Error::other(ODD_PATH)) }
}

/// What is said of a path that is not plain.
pub(crate) const ODD_PATH: &str =
    "its path has a character that mounts can't hold: only letters, digits and `/._+@~-` are allowed";

/// Whether a path means the same to everybody it goes through.
pub(crate) fn is_plain(path: &Path) -> bool {
    path.is_absolute()
        && path
            .to_str()
            .is_some_and(|text| text.chars().all(|c| c.is_ascii_alphanumeric() || "/._+@~-".contains(c)))
}

/// `None` if somebody holds it.
fn lock(path: &Path) -> io::Result<Option<Flock<File>>> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file =
        File::options().create(true).truncate(false).write(true).custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that no sandbox on this machine uses: others are locked for all.
    const FREE: u32 = 999_990;

    #[test]
    fn a_number_is_leased_once() {
        let folder = tempfile::tempdir().expect("a folder is made");
        let state = State::open(Some(folder.path())).expect("it is private");
        let lease = state.lease(FREE).expect("it can be locked").expect("nobody has it");
        assert!(state.lease(FREE).expect("it can be asked for").is_none());
        assert!(state.lease(FREE + 1).expect("it can be locked").is_some());
        assert!(!lease.is_stale());
        drop(lease);
        assert!(state.lease(FREE).expect("it can be locked").is_some());
    }

    #[test]
    fn what_the_dead_left_is_found() {
        const ANOTHER: u32 = FREE + 5;
        let folder = tempfile::tempdir().expect("a folder is made");
        let state = State::open(Some(folder.path())).expect("it is private");
        fs::create_dir(folder.path().join(ANOTHER.to_string())).expect("a folder is made");
        assert_eq!(state.used(), [ANOTHER]);
        assert!(state.lease(ANOTHER).expect("it can be locked").expect("nobody has it").is_stale());
    }

    #[test]
    fn a_folder_of_others_is_refused() {
        let folder = tempfile::tempdir().expect("a folder is made");
        let open = folder.path().join("open");
        fs::create_dir(&open).expect("a folder is made");
        fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .expect("it is opened");
        assert!(State::open(Some(&open)).is_err());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&open, &link).expect("a symlink is made");
        assert!(State::open(Some(&link)).is_err());
    }
}
