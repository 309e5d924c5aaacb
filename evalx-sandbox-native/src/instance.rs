//! [`Instance`]: what this sandbox owns on the machine, noted where the next
//! start finds it if this process is killed.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use evalx_host::private_folder;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};
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
/// The file that its launcher and every zygote hold a lock on while they live.
const LAUNCHER: &str = "launcher";
/// The file in which it notes its cgroups.
const CGROUPS: &str = "cgroups";

/// The file in the state folder that is locked while an instance is made or
/// removed, so that the two never meet.
const GATE: &str = "lock";

/// How long the gate may be somebody else's: what is done behind it takes
/// milliseconds, or as long as the kernel takes to let go of a dead cgroup.
const GATE_TIME: Duration = Duration::from_secs(10);
/// The same, where the next start can do what is not done now.
const SHORT_GATE_TIME: Duration = Duration::from_millis(50);

/// How long processes that were killed may take to end: the kernel finishes
/// what they had asked of it.
const END_TIME: Duration = Duration::from_secs(5);

/// What an instance notes of its cgroups is shorter.
const LONGEST_NOTE: u64 = 64 << 10;

/// A living instance; dropped, its locks are let go.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    /// Where the launcher mounts.
    pub(crate) stage: PathBuf,
    /// The first of its own block of uids, as root.
    pub(crate) uids: Option<u32>,
    /// The topmost of its cgroups.
    groups: Vec<PathBuf>,
    /// Whether a launcher has it in hand.
    launched: bool,
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
        private_folder(&state).map_err(refuse("could not make it private"))?;
        let _gate = gate(&state, GATE_TIME).map_err(refuse("could not wait for other instances"))?;
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
        let groups: Vec<PathBuf> =
            plan.folders().iter().map(|base| base.join(format!("evalx.{name}"))).collect();
        let note: Vec<&[u8]> = groups.iter().map(|group| group.as_os_str().as_bytes()).collect();
        fs::write(folder.join(CGROUPS), note.join(&b'\n')).map_err(refuse("could not note the cgroups"))?;
        let stage = folder.join("stage");
        fs::create_dir(&stage).map_err(refuse("could not make the stage"))?;
        Ok(Self { name, folder, stage, uids, groups, launched: false, _locks: locks })
    }

    /// From here on a launcher is at work in its folder, which removes it in the end.
    pub(crate) const fn hand_over(&mut self) {
        self.launched = true;
    }

    /// Removes what the launcher, which has ended, has not.
    pub(crate) fn end(&self) -> io::Result<()> {
        let _lock = outlast(&self.folder, || Ok(self.groups.clone()))?;
        forget(&self.folder, &self.groups, GATE_TIME)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if !self.launched {
            // If it fails, the next start removes it.
            let _ = forget(&self.folder, &self.groups, SHORT_GATE_TIME);
        }
    }
}

/// Taken by a launcher before it makes anything, and left to its zygotes. An
/// instance that is being removed gives it to nobody.
pub(crate) fn hold(folder: &Path) -> io::Result<Flock<File>> {
    lock(&folder.join(LAUNCHER))?.ok_or_else(|| io::Error::other("the instance is being removed"))
}

/// Kills what lives in the groups, removes them, and waits until launcher and
/// zygotes are gone: one that is dying may be in the middle of making a group,
/// which would come after its own removal. `None` if the folder is gone.
fn outlast(folder: &Path, groups: impl Fn() -> io::Result<Vec<PathBuf>>) -> io::Result<Option<Flock<File>>> {
    let deadline = Instant::now() + END_TIME;
    loop {
        groups()?.iter().for_each(|group| destroy(group));
        let last = match lock(&folder.join(LAUNCHER)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            last => last?,
        };
        match last {
            Some(lock) => {
                groups()?.iter().for_each(|group| destroy(group));
                return Ok(Some(lock));
            }
            None if Instant::now() < deadline => drop(nix::poll::poll(&mut [], 2u8)),
            None => return Err(io::Error::other("its launcher does not end")),
        }
    }
}

/// Removes an instance's folder, unless it is still needed to find the groups.
pub(crate) fn forget(folder: &Path, groups: &[PathBuf], patience: Duration) -> io::Result<()> {
    let (true, Some(state)) = (folder.exists(), folder.parent()) else { return Ok(()) };
    let _gate = gate(state, patience)?;
    if let Some(left) = groups.iter().find(|group| group.exists()) {
        return Err(io::Error::other(format!("{} can't be removed", left.display())));
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
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

/// The name has something that no other instance has, whichever state folder
/// that one uses: cgroups are named by it.
fn fresh_folder(state: &Path) -> io::Result<(String, PathBuf)> {
    loop {
        let name = format!("{}-{:016x}", std::process::id(), RandomState::new().hash_one(0));
        let folder = state.join(&name);
        match fs::DirBuilder::new().mode(0o755).create(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => return result.map(|()| (name, folder)),
        }
    }
}

/// Whether [`fresh_folder`] gives such names.
fn is_name(name: &str) -> bool {
    name.split_once('-').is_some_and(|(process, random)| {
        process.parse::<u32>().is_ok()
            && random.len() == 16
            && random.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Opens a regular file and nothing else: no symlink is followed, and no FIFO
/// is waited for.
fn open_plain(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = options.custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}

/// `None` if somebody holds it.
fn lock(path: &Path) -> io::Result<Option<Flock<File>>> {
    let file = open_plain(path, File::options().create(true).truncate(false).write(true))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(error.into()),
    }
}

/// Waits until no other instance is being made or removed.
fn gate(state: &Path, patience: Duration) -> io::Result<Flock<File>> {
    let deadline = Instant::now() + patience;
    loop {
        match lock(&state.join(GATE))? {
            Some(gate) => return Ok(gate),
            None if Instant::now() < deadline => drop(nix::poll::poll(&mut [], 2u8)),
            None => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Instances that keep their state elsewhere must have other uids all the
/// same: the claims are in the default state folder, where root can have it.
fn claim_uids(state: &Path) -> io::Result<(u32, Flock<File>)> {
    let common = default_state_folder();
    let folder = if private_folder(&common).is_ok() { common.join("uids") } else { state.join("uids") };
    fs::create_dir_all(&folder)?;
    for block in 0..BLOCKS {
        if let Some(lock) = lock(&folder.join(block.to_string()))? {
            return Ok((FIRST_UID + block * UIDS, lock));
        }
    }
    Err(io::Error::other("every block of uids is in use"))
}

/// Removes what instances left that hold their lock no more. What can't be
/// removed stays for another time, and keeps nobody from starting.
fn sweep(state: &Path) -> io::Result<()> {
    for entry in fs::read_dir(state)?.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| is_name(name)) else { continue };
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        match bury(&entry.path(), name) {
            Ok(false) => {}
            Ok(true) => tracing::info!(instance = name, "cleaned up after an instance that died"),
            Err(error) => {
                tracing::warn!(instance = name, %error, "can't clean up after an instance that died");
            }
        }
    }
    Ok(())
}

/// Removes what one instance left; false if it lives.
fn bury(folder: &Path, name: &str) -> io::Result<bool> {
    let Some(_lock) = lock(&folder.join(LOCK))? else { return Ok(false) };
    let groups = || noted_groups(folder, name);
    let _launcher = outlast(folder, groups)?;
    if let Some(left) = groups()?.first() {
        return Err(io::Error::other(format!("{} can't be removed", left.display())));
    }
    match fs::remove_dir_all(folder) {
        // Its launcher was at it too.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(true),
    }
}

/// The cgroups that an instance noted and that are there. Whatever the note says, what is not a
/// cgroup of this very instance is passed over.
fn noted_groups(folder: &Path, name: &str) -> io::Result<Vec<PathBuf>> {
    let note = match open_plain(&folder.join(CGROUPS), File::options().read(true)) {
        Ok(note) => note,
        // It died before it made any.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    note.take(LONGEST_NOTE).read_to_end(&mut text)?;
    let groups = text.split(|byte| *byte == b'\n').map(|line| Path::new(OsStr::from_bytes(line)));
    let own = format!("evalx.{name}");
    let is_own = |group: &&Path| group.file_name().is_some_and(|name| name == own.as_str());
    Ok(groups.filter(is_own).filter(|group| is_cgroup(group)).map(Path::to_owned).collect())
}

/// Whether this is the plain path of a folder in a cgroup file system.
fn is_cgroup(path: &Path) -> bool {
    path.is_absolute()
        && path.components().all(|part| !matches!(part, Component::ParentDir))
        && fs::symlink_metadata(path).is_ok_and(|data| data.is_dir())
        && statfs(path)
            .is_ok_and(|system| [CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC].contains(&system.filesystem_type()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_groups_of_the_instance_are_destroyed() {
        let folder = std::env::temp_dir().join(format!("evalx-note-{}", std::process::id()));
        fs::create_dir_all(folder.join("evalx.1-0")).expect("a folder is made");
        let plain = folder.join("evalx.1-0");
        let note = format!("/sys/fs/cgroup\n../..\n\n{}\n/nowhere/evalx.1-0\n", plain.display());
        fs::write(folder.join(CGROUPS), note).expect("a note is written");
        assert_eq!(noted_groups(&folder, "1-0").expect("it is read"), [""; 0].map(PathBuf::from));
        fs::remove_dir_all(folder).expect("it is removed");
    }

    #[test]
    fn names_are_told_from_other_files() {
        assert!(is_name("17-0123456789abcdef"));
        for other in
            ["uids", "lock", "17", "17-0", "-0123456789abcdef", "x-0123456789abcdef", "17-0123456789abcdeg"]
        {
            assert!(!is_name(other), "{other}");
        }
    }
}
