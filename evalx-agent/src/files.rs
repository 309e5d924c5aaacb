//! Files of a session, for the host: opened beneath the work folder while no
//! program runs, with no symlink followed, and only if they are regular.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::outbox::Outbox;
use crate::wire::{FromAgent, PIECE};

/// The most files, and levels of folders, that a kept tree has.
const MOST_FILES: usize = 10_000;
const DEEPEST: usize = 32;

/// Why a file was refused, or that the host is gone.
#[derive(Debug)]
pub(crate) enum Trouble {
    Refused(String),
    Gone,
}

type Result<T> = std::result::Result<T, Trouble>;

fn refuse<T>(path: &str, why: &str) -> Result<T> {
    Err(Trouble::Refused(format!("{path}: {why}")))
}

fn failed<T>(path: &str, error: Errno) -> Result<T> {
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
    refuse(path, why)
}

fn open(
    folder: BorrowedFd<'_>,
    path: &OsStr,
    flags: OFlag,
    mode: Mode,
) -> std::result::Result<OwnedFd, Errno> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(
        ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_MAGICLINKS
            | ResolveFlag::RESOLVE_NO_XDEV,
    );
    openat2(folder, path, how)
}

fn is(stat: &FileStat, kind: SFlag) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == kind.bits()
}

/// A file that the host is placing.
#[derive(Debug)]
pub(crate) struct Upload {
    path: String,
    parent: Option<OwnedFd>,
    file: Result<File>,
    left: u64,
}

impl Upload {
    /// Makes the folders above, and an empty file in place of what was there.
    pub(crate) fn begin(folder: &OwnedFd, path: String, executable: bool, size: u64) -> Self {
        match create(folder, &path, executable) {
            Ok((parent, file)) => Self { path, parent, file: Ok(file), left: size },
            Err(trouble) => Self { path, parent: None, file: Err(trouble), left: size },
        }
    }

    /// Adds a piece. What comes after a failure is dropped, so that the host
    /// need not stop in its midst.
    pub(crate) fn add(&mut self, folder: &OwnedFd, piece: &[u8]) {
        self.left = self.left.saturating_sub(piece.len() as u64);
        let Ok(file) = &mut self.file else { return };
        if let Err(error) = file.write_all(piece) {
            // Half a file would only take the room of a whole one.
            let name = OsStr::new(self.path.rsplit('/').next().unwrap_or_default());
            let _ = unlinkat(self.parent.as_ref().unwrap_or(folder), name, UnlinkatFlags::NoRemoveDir);
            self.file = failed(&self.path, Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)));
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.left == 0
    }

    pub(crate) fn finish(self) -> Result<()> {
        self.file.map(drop)
    }
}

/// Places a file whose contents are here.
pub(crate) fn place(folder: &OwnedFd, path: String, executable: bool, contents: &[u8]) -> Result<()> {
    let mut upload = Upload::begin(folder, path, executable, contents.len() as u64);
    upload.add(folder, contents);
    upload.finish()
}

fn create(folder: &OwnedFd, path: &str, executable: bool) -> Result<(Option<OwnedFd>, File)> {
    let (above, name) = path.rsplit_once('/').map_or((None, path), |(above, name)| (Some(above), name));
    let parent = make_folders(folder, above).or_else(|error| failed(path, error))?;
    let here = parent.as_ref().unwrap_or(folder);
    match unlinkat(here, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(error) => return failed(path, error),
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    let file = open(here.as_fd(), OsStr::new(name), flags, Mode::from_bits_truncate(0o600))
        .or_else(|error| failed(path, error))?;
    let mode = Mode::from_bits_truncate(if executable { 0o755 } else { 0o644 });
    fchmod(&file, mode).or_else(|error| failed(path, error))?;
    Ok((parent, File::from(file)))
}

fn make_folders(folder: &OwnedFd, path: Option<&str>) -> std::result::Result<Option<OwnedFd>, Errno> {
    let Some(path) = path else { return Ok(None) };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let mut at: Option<OwnedFd> = None;
    for name in path.split('/') {
        let name = OsStr::new(name);
        let here = at.as_ref().unwrap_or(folder);
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
fn open_to_read(folder: BorrowedFd<'_>, path: &OsStr) -> std::result::Result<(OwnedFd, FileStat), Errno> {
    let probe = open(folder, path, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty())?;
    let stat = fstat(&probe)?;
    if !is(&stat, SFlag::S_IFREG) && !is(&stat, SFlag::S_IFDIR) {
        return Err(if is(&stat, SFlag::S_IFLNK) { Errno::ELOOP } else { Errno::ENXIO });
    }
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = open(folder, path, flags, Mode::empty())?;
    let stat = fstat(&file)?;
    Ok((file, stat))
}

/// Sends a regular file of at most `max` bytes.
pub(crate) fn read(folder: &OwnedFd, path: &str, max: u64, outbox: &mut Outbox) -> Result<()> {
    let (file, stat) = open_to_read(folder.as_fd(), OsStr::new(path)).or_else(|error| failed(path, error))?;
    if !is(&stat, SFlag::S_IFREG) {
        return refuse(path, "it is no regular file");
    }
    send(file, &stat, path, String::new(), max, outbox).map(drop)
}

/// Sends a file or a tree of at most `max` bytes.
pub(crate) fn keep(folder: &OwnedFd, path: &str, max: u64, outbox: &mut Outbox) -> Result<()> {
    let (file, stat) = open_to_read(folder.as_fd(), OsStr::new(path)).or_else(|error| failed(path, error))?;
    if !is(&stat, SFlag::S_IFDIR) {
        return send(file, &stat, path, String::new(), max, outbox).map(drop);
    }
    let mut tree = Tree { root: path, left: max, count: 0, outbox };
    tree.folder(&file, "", DEEPEST)
}

/// Sends one file, as it is while no program runs; its size.
fn send(
    file: OwnedFd,
    stat: &FileStat,
    path: &str,
    below: String,
    max: u64,
    outbox: &mut Outbox,
) -> Result<u64> {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    if size > max {
        return refuse(path, &format!("it is larger than the {max} bytes that were allowed"));
    }
    outbox.push(&FromAgent::Entry { path: below, executable: stat.st_mode & 0o111 != 0, size });
    let mut file = File::from(file);
    let mut left = size;
    while left > 0 {
        let mut piece = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
        let Ok(()) = file.read_exact(&mut piece) else { return refuse(path, "it can't be read") };
        left -= piece.len() as u64;
        outbox.push(&FromAgent::Piece(piece));
        outbox.make_room().map_err(|_| Trouble::Gone)?;
    }
    Ok(size)
}

/// A tree on its way to the host.
struct Tree<'a> {
    root: &'a str,
    left: u64,
    count: usize,
    outbox: &'a mut Outbox,
}

impl Tree<'_> {
    fn folder(&mut self, folder: &OwnedFd, below: &str, depth: usize) -> Result<()> {
        if depth == 0 {
            return refuse(self.root, "its folders are nested too deep to be kept");
        }
        let copy = folder.try_clone().map_err(|_| Errno::EMFILE).or_else(|error| failed(self.root, error))?;
        let mut entries = Dir::from_fd(copy).or_else(|error| failed(self.root, error))?;
        for entry in entries.iter() {
            let entry = entry.or_else(|error| failed(self.root, error))?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            // A name that is not UTF-8 can't be placed again.
            let Ok(text) = std::str::from_utf8(name) else { continue };
            let path = if below.is_empty() { text.to_owned() } else { format!("{below}/{text}") };
            let (file, stat) = match open_to_read(folder.as_fd(), OsStr::from_bytes(name)) {
                Ok(found) => found,
                Err(Errno::ELOOP | Errno::ENXIO | Errno::EACCES) => continue,
                Err(error) => return failed(self.root, error),
            };
            if is(&stat, SFlag::S_IFDIR) {
                self.folder(&file, &path, depth - 1)?;
                continue;
            }
            if self.count == MOST_FILES {
                return refuse(self.root, "it has too many files to be kept");
            }
            self.count += 1;
            self.left -= send(file, &stat, self.root, path, self.left, self.outbox)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn folder(path: &std::path::Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    #[test]
    fn files_are_placed_and_links_are_not_followed() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let fd = folder(root.path());
        place(&fd, "a/b/c".to_owned(), false, b"text").unwrap();
        assert_eq!(fs::read(root.path().join("a/b/c")).unwrap(), b"text");
        std::os::unix::fs::symlink(outside.path(), root.path().join("out")).unwrap();
        assert!(matches!(place(&fd, "out/x".to_owned(), false, b"x"), Err(Trouble::Refused(_))));
        assert!(matches!(place(&fd, "../x".to_owned(), false, b"x"), Err(Trouble::Refused(_))));
        assert!(fs::read_dir(outside.path()).unwrap().next().is_none());
        // What is in the way is replaced, and what it led to is left alone.
        fs::write(outside.path().join("kept"), "kept").unwrap();
        std::os::unix::fs::symlink(outside.path().join("kept"), root.path().join("link")).unwrap();
        place(&fd, "link".to_owned(), false, b"new").unwrap();
        assert_eq!(fs::read(outside.path().join("kept")).unwrap(), b"kept");
        assert_eq!(fs::read(root.path().join("link")).unwrap(), b"new");
    }

    #[test]
    fn only_regular_files_are_sent() {
        let root = tempfile::tempdir().unwrap();
        let fd = folder(root.path());
        fs::write(root.path().join("real"), "12345").unwrap();
        std::os::unix::fs::symlink("real", root.path().join("link")).unwrap();
        nix::unistd::mkfifo(&root.path().join("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
        for name in ["link", "fifo", "absent", "real/x", ".", "/etc/passwd"] {
            let result = read(&fd, name, 100, &mut Outbox::default());
            assert!(matches!(result, Err(Trouble::Refused(_))), "{name} was sent");
        }
        assert!(read(&fd, "real", 4, &mut Outbox::default()).is_err());
        let mut outbox = Outbox::default();
        // Its stdout is the test's, and takes nothing while nothing is flushed.
        send(
            open_to_read(fd.as_fd(), OsStr::new("real")).unwrap().0,
            &fstat(File::open(root.path().join("real")).unwrap()).unwrap(),
            "real",
            String::new(),
            0,
            &mut outbox,
        )
        .unwrap_err();
        assert!(outbox.is_empty());
    }
}
