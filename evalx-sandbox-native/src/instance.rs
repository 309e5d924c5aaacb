//! [`Instance`]: what this sandbox owns on the machine, noted where the next
//! start finds it if this process is killed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Uid;

use crate::cgroup::Plan;
use crate::cgroup::slot::destroy;
use crate::error::NativeError;

/// Host uids of a block: two for each slot that an instance makes at once.
pub(crate) const UIDS: u32 = 4096;
/// The first of all blocks, far above what accounts and subordinate ids use.
const FIRST_UID: u32 = 0x7000_0000;
/// How many blocks, and so privileged instances at once, there are.
const BLOCKS: u32 = 4096;

/// The file in an instance's folder that it holds a lock on while it lives.
const LOCK: &str = "lock";
/// The file in which it notes its cgroups.
const CGROUPS: &str = "cgroups";

/// A living instance; dropped, its locks are let go.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    /// Where the launcher mounts.
    pub(crate) stage: PathBuf,
    /// The first of its own block of uids, as root.
    pub(crate) uids: Option<u32>,
    _locks: Vec<Flock<File>>,
}

impl Instance {
    /// Cleans up after instances that died, then makes a new one.
    pub(crate) fn begin(state: Option<&Path>, plan: &Plan) -> Result<Self, NativeError> {
        let state = state.map_or_else(default_state_folder, Path::to_owned);
        let refuse = |what| {
            let folder = state.clone();
            move |source| NativeError::State { what, folder, source }
        };
        make_private(&state).map_err(refuse("could not make it private"))?;
        sweep(&state).map_err(refuse("could not clean up after earlier instances"))?;
        let (name, folder) = fresh_folder(&state).map_err(refuse("could not make the instance's folder"))?;
        let lock = lock(&folder.join(LOCK))
            .map_err(refuse("could not lock the instance"))?
            .ok_or_else(|| refuse("the instance is not ours")(io::ErrorKind::AddrInUse.into()))?;
        let mut locks = vec![lock];
        let uids = if Uid::effective().is_root() {
            let (first, lock) = claim_uids(&state).map_err(refuse("could not claim uids"))?;
            locks.push(lock);
            Some(first)
        } else {
            None
        };
        let groups: Vec<String> = plan
            .folders()
            .iter()
            .map(|base| base.join(format!("evalx.{name}")).to_string_lossy().into_owned())
            .collect();
        fs::write(folder.join(CGROUPS), groups.join("\n")).map_err(refuse("could not note the cgroups"))?;
        let stage = folder.join("stage");
        fs::create_dir(&stage).map_err(refuse("could not make the stage"))?;
        Ok(Self { name, folder, stage, uids, _locks: locks })
    }

    /// Removes the folder, once the launcher has removed all else.
    pub(crate) fn end(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn default_state_folder() -> PathBuf {
    if Uid::effective().is_root() {
        return PathBuf::from("/run/evalx");
    }
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_dir()) {
        Some(folder) => folder.join("evalx"),
        None => std::env::temp_dir().join(format!("evalx-{}", Uid::effective())),
    }
}

/// Makes a folder that only this user can look into, or checks that it is one:
/// in `/tmp` somebody else may have been first.
fn make_private(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let data = fs::symlink_metadata(folder)?;
    if !data.is_dir() || data.uid() != Uid::effective().as_raw() || data.mode() & 0o022 != 0 {
        return Err(io::Error::other("it belongs to somebody else, or others can write to it"));
    }
    Ok(())
}

fn fresh_folder(state: &Path) -> io::Result<(String, PathBuf)> {
    for serial in 0..u32::MAX {
        let name = format!("{}-{serial}", std::process::id());
        let folder = state.join(&name);
        match fs::DirBuilder::new().mode(0o755).create(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => return result.map(|()| (name, folder)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// `None` if somebody holds it.
fn lock(path: &Path) -> io::Result<Option<Flock<File>>> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

fn claim_uids(state: &Path) -> io::Result<(u32, Flock<File>)> {
    let folder = state.join("uids");
    fs::create_dir_all(&folder)?;
    for block in 0..BLOCKS {
        if let Some(lock) = lock(&folder.join(block.to_string()))? {
            return Ok((FIRST_UID + block * UIDS, lock));
        }
    }
    Err(io::Error::other("every block of uids is in use"))
}

/// Removes what instances left that hold their lock no more.
fn sweep(state: &Path) -> io::Result<()> {
    for entry in fs::read_dir(state)?.flatten() {
        let folder = entry.path();
        if !folder.join(CGROUPS).exists() {
            continue;
        }
        let Some(_lock) = lock(&folder.join(LOCK))? else { continue };
        tracing::info!(instance = %entry.file_name().display(), "cleaning up after an instance that died");
        for group in fs::read_to_string(folder.join(CGROUPS))?.lines() {
            // Ours by name: whatever the file says, nothing else is touched.
            let group = Path::new(group);
            if group.file_name().is_some_and(|name| name.to_string_lossy().starts_with("evalx.")) {
                destroy(group);
            }
        }
        fs::remove_dir_all(&folder)?;
    }
    Ok(())
}
