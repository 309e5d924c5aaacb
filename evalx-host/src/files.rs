//! [`WorkFolder`]: files of a session, from outside: opened beneath its work
//! folder, with no symlink followed, as the session's own user.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use bytes::Bytes;
use evalx_core::{Artifact, ArtifactFile, ByteSize, Error, ErrorKind, Result, SandboxPath};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, setfsgid, setfsuid, unlinkat};

/// The user whose the files of a session are, on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its user id.
    pub uid: u32,
    /// Its group id.
    pub gid: u32,
}

/// Until dropped, this thread opens files as the session's user: whatever it
/// is led to, it can do no more than the untrusted program could.
struct As {
    owner: Option<Owner>,
    /// The file system uid belongs to the thread.
    _not_send: PhantomData<*const ()>,
}

impl As {
    fn enter(owner: Option<Owner>) -> Self {
        if let Some(Owner { uid, gid }) = owner {
            setfsgid(Gid::from_raw(gid));
            setfsuid(Uid::from_raw(uid));
        }
        Self { owner, _not_send: PhantomData }
    }
}

impl Drop for As {
    fn drop(&mut self) {
        if self.owner.is_some() {
            setfsuid(Uid::effective());
            setfsgid(Gid::effective());
        }
    }
}

/// The work folder of a session, as a supervisor outside holds it.
///
/// Whatever the program has made of what is below, each call takes a path of
/// regular files and folders, and refuses every other: no symlink is followed,
/// no FIFO is waited for, no device is opened. All calls block.
#[derive(Clone, Debug)]
pub struct WorkFolder {
    descriptor: Arc<OwnedFd>,
    owner: Option<Owner>,
}

impl WorkFolder {
    /// The folder that is open as `descriptor`. Its files are this process's
    /// own user's, if there is no `owner`.
    #[must_use]
    pub fn new(descriptor: OwnedFd, owner: Option<Owner>) -> Self {
        Self { descriptor: Arc::new(descriptor), owner }
    }

    /// Places a file, with the folders above it, in place of what was there.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` if what the program has put in the way, or the
    /// session's disk limit, forbids it; then no part of the file is left.
    pub fn write(&self, path: &SandboxPath, contents: &[u8], executable: bool) -> Result<()> {
        let _as = As::enter(self.owner);
        write(&self.descriptor, path, contents, executable)
    }

    /// Reads a regular file of at most `max` bytes.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` if there is no such file, or a larger one.
    pub fn read(&self, path: &SandboxPath, max: ByteSize) -> Result<Bytes> {
        let _as = As::enter(self.owner);
        let file = open_to_read(self.descriptor.as_fd(), OsStr::new(path.as_str()))
            .map_err(|error| failed(path, error))?;
        let stat = fstat(&file).map_err(|error| failed(path, error))?;
        if !is(&stat, SFlag::S_IFREG) {
            return Err(refuse(path, "it is no regular file"));
        }
        read_regular(file, path, max)
    }

    /// Copies a file or a tree out, at most `max` bytes together. In a tree,
    /// what is neither a regular file nor a folder is left out.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` if it is not there, larger, of more than 10,000 files,
    /// or of more than 32 levels.
    pub fn keep(&self, path: &SandboxPath, max: ByteSize) -> Result<Artifact> {
        let _as = As::enter(self.owner);
        let file = open_to_read(self.descriptor.as_fd(), OsStr::new(path.as_str()))
            .map_err(|error| failed(path, error))?;
        let stat = fstat(&file).map_err(|error| failed(path, error))?;
        let mut files = Vec::new();
        if is(&stat, SFlag::S_IFDIR) {
            let mut left = max;
            keep_folder(&file, path, None, &mut left, &mut files, DEEPEST)?;
        } else {
            let executable = stat.st_mode & 0o111 != 0;
            files.push(ArtifactFile::new(None, read_regular(file, path, max)?, executable));
        }
        Ok(Artifact::new(files))
    }

    /// Opens what a session is to execute: a regular file that its user may.
    ///
    /// # Errors
    ///
    /// What `execve` would say of it: `EACCES` without the bit to execute,
    /// `EISDIR` of a folder; and `EPERM` of one that its user can't read.
    pub fn open_program(&self, path: &OsStr) -> Result<File, Errno> {
        let _as = As::enter(self.owner);
        if path.is_empty() {
            return Err(Errno::EISDIR);
        }
        let file = match open_to_read(self.descriptor.as_fd(), path) {
            // Whether what can't be read can be executed is for the kernel to say.
            Err(Errno::EACCES) => return Err(Errno::EPERM),
            other => other?,
        };
        let stat = fstat(&file)?;
        if is(&stat, SFlag::S_IFDIR) {
            return Err(Errno::EISDIR);
        }
        if stat.st_mode & 0o111 == 0 {
            return Err(Errno::EACCES);
        }
        Ok(File::from(file))
    }
}

/// The most files and levels that an artifact has.
const MOST_FILES: usize = 10_000;
const DEEPEST: usize = 32;

fn open(folder: BorrowedFd<'_>, path: &OsStr, flags: OFlag, mode: Mode) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS,
    );
    openat2(folder, path, how)
}

fn refuse(path: &SandboxPath, why: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, format!("{path}: {why}"))
}

fn failed(path: &SandboxPath, error: Errno) -> Error {
    // Nothing about the file is wrong: this process has run short.
    if matches!(error, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) {
        return Error::new(ErrorKind::Unavailable, "a session's files are out of reach")
            .with_source(io::Error::from(error))
            .with_help(
                "let this process have more descriptors (RLIMIT_NOFILE, `ulimit -n`, `LimitNOFILE=`)",
            );
    }
    let why = match error {
        Errno::ENOENT => "there is no such file",
        Errno::ELOOP => "it is a symlink, or one leads there",
        Errno::ENOTDIR => "what should be a folder is none",
        Errno::ENOSPC => "it does not fit: the session's disk limit counts bytes and files",
        Errno::EACCES | Errno::EPERM => "the program has forbidden it",
        Errno::EISDIR => "it is a folder",
        // A FIFO without a reader, or a socket.
        Errno::ENXIO => "it is no regular file",
        other => other.desc(),
    };
    refuse(path, why).with_source(io::Error::from(error))
}

fn write(folder: &OwnedFd, path: &SandboxPath, contents: &[u8], executable: bool) -> Result<()> {
    let fail = |error| failed(path, error);
    let parent = make_folders(folder, path.parent().as_ref()).map_err(fail)?;
    let parent = parent.as_ref().unwrap_or(folder);
    let name = OsStr::new(path.file_name());
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(error) => return Err(fail(error)),
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    let file = open(parent.as_fd(), name, flags, Mode::from_bits_truncate(0o600)).map_err(fail)?;
    let mode = Mode::from_bits_truncate(if executable { 0o755 } else { 0o644 });
    fchmod(&file, mode).map_err(fail)?;
    File::from(file).write_all(contents).map_err(|error| {
        // Half a file would only take the room of a whole one.
        let _ = unlinkat(parent, name, UnlinkatFlags::NoRemoveDir);
        fail(Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32)))
    })
}

fn make_folders(folder: &OwnedFd, path: Option<&SandboxPath>) -> Result<Option<OwnedFd>, Errno> {
    let Some(path) = path else { return Ok(None) };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let mut at = None;
    for name in path.as_str().split('/') {
        let name = OsStr::new(name);
        let here: &OwnedFd = at.as_ref().unwrap_or(folder);
        let next = match open(here.as_fd(), name, flags, Mode::empty()) {
            Err(Errno::ENOENT) => {
                mkdirat(here, name, Mode::from_bits_truncate(0o755))?;
                open(here.as_fd(), name, flags, Mode::empty())?
            }
            other => other?,
        };
        at = Some(next);
    }
    Ok(at)
}

/// Opening for reading must never wait: a FIFO without a writer would.
fn open_to_read(folder: BorrowedFd<'_>, path: &OsStr) -> Result<OwnedFd, Errno> {
    // Opening a device can do things; a program can make none, but the type
    // is looked at before anything is opened all the same.
    let probe = open(folder, path, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty())?;
    let stat = fstat(&probe)?;
    if !is(&stat, SFlag::S_IFREG) && !is(&stat, SFlag::S_IFDIR) {
        return Err(if is(&stat, SFlag::S_IFLNK) { Errno::ELOOP } else { Errno::ENXIO });
    }
    open(folder, path, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK, Mode::empty())
}

fn is(stat: &FileStat, kind: SFlag) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == kind.bits()
}

fn read_regular(file: OwnedFd, path: &SandboxPath, max: ByteSize) -> Result<Bytes> {
    let too_large = || refuse(path, &format!("it is larger than the {max} bytes that were allowed"));
    let size = fstat(&file).map_err(|error| failed(path, error))?.st_size;
    let size = u64::try_from(size).unwrap_or(0);
    if size > max.as_u64() {
        return Err(too_large());
    }
    let mut contents = Vec::with_capacity(ByteSize::bytes(size).as_usize());
    let mut file = File::from(file).take(max.as_u64().saturating_add(1));
    file.read_to_end(&mut contents).map_err(|error| refuse(path, "it can't be read").with_source(error))?;
    if contents.len() as u64 > max.as_u64() {
        return Err(too_large());
    }
    Ok(contents.into())
}

fn keep_folder(
    folder: &OwnedFd,
    root: &SandboxPath,
    below: Option<&SandboxPath>,
    left: &mut ByteSize,
    files: &mut Vec<ArtifactFile>,
    depth: usize,
) -> Result<()> {
    if depth == 0 {
        return Err(refuse(root, "its folders are nested too deep to be kept"));
    }
    let fail = |error| failed(root, error);
    let mut entries = Dir::from_fd(folder.try_clone().map_err(|_| fail(Errno::EMFILE))?).map_err(fail)?;
    for entry in entries.iter() {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        // A name that is not UTF-8 can't be placed again.
        let Ok(text) = std::str::from_utf8(name) else { continue };
        let joined = below.map_or_else(|| text.to_owned(), |below| format!("{below}/{text}"));
        let path = SandboxPath::new(joined)?;
        let file = match open_to_read(folder.as_fd(), OsStr::from_bytes(name)) {
            Ok(file) => file,
            Err(Errno::ELOOP | Errno::ENXIO | Errno::EACCES) => continue,
            Err(error) => return Err(fail(error)),
        };
        let stat = fstat(&file).map_err(fail)?;
        if is(&stat, SFlag::S_IFDIR) {
            keep_folder(&file, root, Some(&path), left, files, depth - 1)?;
            continue;
        }
        if files.len() == MOST_FILES {
            return Err(refuse(root, "it has too many files to be kept"));
        }
        let contents = read_regular(file, root, *left)?;
        *left = ByteSize::bytes(left.as_u64() - contents.len() as u64);
        files.push(ArtifactFile::new(Some(path), contents, stat.st_mode & 0o111 != 0));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use nix::sys::stat::Mode;
    use tempfile::TempDir;

    use super::*;

    const ALL: ByteSize = ByteSize::mib(1);

    /// A work folder of this very user, and a secret beside it.
    fn session() -> (TempDir, WorkFolder) {
        let folder = tempfile::tempdir().expect("a folder is made");
        std::fs::create_dir(folder.path().join("box")).expect("a folder is made");
        std::fs::create_dir(folder.path().join("host")).expect("a folder is made");
        std::fs::write(folder.path().join("host/secret"), "of the host").expect("a file is made");
        let work = File::open(folder.path().join("box")).expect("it is opened");
        let owner = Owner { uid: Uid::effective().as_raw(), gid: Gid::effective().as_raw() };
        (folder, WorkFolder::new(work.into(), Some(owner)))
    }

    fn path(text: &str) -> SandboxPath {
        SandboxPath::new(text).expect("it is a path")
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(result: Result<T>) {
        assert_eq!(result.expect_err("it is refused").kind(), ErrorKind::InvalidRequest);
    }

    /// Every call that opens something by a path of the program's.
    #[track_caller]
    fn all_refuse(work: &WorkFolder, name: &str) {
        refused(work.read(&path(name), ALL));
        refused(work.keep(&path(name), ALL));
    }

    #[test]
    fn symlinks_are_not_followed() {
        let (folder, work) = session();
        let below = folder.path().join("box");
        for (name, target) in [
            ("to-secret", "../host/secret"),
            ("to-absolute", "/etc/passwd"),
            ("to-zero", "/dev/zero"),
            ("to-itself", "to-itself"),
            ("to-self", "/proc/self/exe"),
        ] {
            symlink(target, below.join(name)).expect("a symlink is made");
            all_refuse(&work, name);
            assert!(work.open_program(OsStr::new(name)).is_err());
        }
        symlink("../host", below.join("to-folder")).expect("a symlink is made");
        all_refuse(&work, "to-folder/secret");
        refused(work.write(&path("to-folder/planted"), b"x", false));
        assert!(!folder.path().join("host/planted").exists());
        // One that is in the way is replaced, and its target stays as it was.
        work.write(&path("to-secret"), b"mine", false).expect("it is replaced");
        let secret = std::fs::read_to_string(folder.path().join("host/secret")).expect("it is read");
        assert_eq!(secret, "of the host");
        assert_eq!(work.read(&path("to-secret"), ALL).expect("it is read"), "mine");
    }

    #[test]
    fn fifos_and_sockets_are_neither_opened_nor_waited_for() {
        let (folder, work) = session();
        let below = folder.path().join("box");
        nix::unistd::mkfifo(&below.join("fifo"), Mode::S_IRWXU).expect("a FIFO is made");
        let _socket = std::os::unix::net::UnixListener::bind(below.join("socket")).expect("a socket is made");
        all_refuse(&work, "fifo");
        all_refuse(&work, "socket");
        work.write(&path("fifo"), b"new", false).expect("it is replaced");
        assert_eq!(work.read(&path("fifo"), ALL).expect("it is read"), "new");
    }

    #[test]
    fn devices_are_not_opened() {
        let (_folder, _work) = session();
        // No program can make one, so that those of the host have to do.
        let devices = File::open("/dev").expect("it is opened");
        let devices = WorkFolder::new(devices.into(), None);
        for name in ["null", "zero", "urandom", "tty"] {
            if Path::new("/dev").join(name).exists() {
                all_refuse(&devices, name);
                assert!(devices.open_program(OsStr::new(name)).is_err());
            }
        }
    }

    #[test]
    fn a_folder_that_is_swapped_meanwhile_gives_nothing_away() {
        let (folder, work) = session();
        let below = folder.path().join("box");
        std::fs::create_dir(below.join("real")).expect("a folder is made");
        std::fs::write(below.join("real/secret"), "mine").expect("a file is made");
        symlink("../host", below.join("link")).expect("a symlink is made");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // What a program would do that outlived its step, if one could.
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for (from, to) in [("real", "at"), ("at", "real"), ("link", "at"), ("at", "link")] {
                        let _ = std::fs::rename(below.join(from), below.join(to));
                    }
                }
            });
            for _ in 0..20_000 {
                match work.read(&path("at/secret"), ALL) {
                    Ok(contents) => assert_eq!(contents, "mine"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidRequest),
                }
                if let Ok(kept) = work.keep(&path("at"), ALL) {
                    assert!(kept.files().iter().all(|file| file.contents == "mine"));
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn nothing_leads_out_by_dots() {
        let (_folder, work) = session();
        for name in ["../host/secret", "..", "a/../../host/secret"] {
            assert!(work.open_program(OsStr::new(name)).is_err(), "{name}");
        }
    }
}
