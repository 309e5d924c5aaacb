//! What of the host programs see: its programs and libraries, the little of its
//! configuration that toolchains need, and nothing that tells of its users.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// Folders of the host's root that hold programs and libraries.
pub const PROGRAM_FOLDERS: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Where GHC has its packages, though it is data.
pub const GHC_PACKAGES: &str = "var/lib/ghc";

/// What of `/etc` toolchains need; the rest of the host's configuration is
/// nobody's business. Names ending in `*` are prefixes.
const CONFIGURATION: [&str; 19] = [
    "etc/ld.so.cache",
    "etc/ld.so.conf",
    "etc/ld.so.conf.d",
    "etc/alternatives",
    "etc/localtime",
    "etc/timezone",
    "etc/mime.types",
    "etc/java*",
    "etc/mono",
    "etc/php",
    "etc/R",
    "etc/python3*",
    "etc/perl",
    "etc/fpc*",
    "etc/kotlin",
    "etc/ghc",
    "etc/gnucobol*",
    "etc/openal",
    "etc/ssl/openssl.cnf",
];

const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files\n";

/// Files that are copied may not be larger; none of the named ones is.
const LARGEST_FILE: u64 = 8 << 20;

/// The users, groups and names that programs see.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Accounts {
    /// The text of `/etc/passwd`.
    pub passwd: &'static str,
    /// The text of `/etc/group`.
    pub group: &'static str,
    /// The text of `/etc/hosts`.
    pub hosts: &'static str,
}

impl Accounts {
    /// The texts of `/etc/passwd`, `/etc/group` and `/etc/hosts`.
    #[must_use]
    pub const fn new(passwd: &'static str, group: &'static str, hosts: &'static str) -> Self {
        Self { passwd, group, hosts }
    }
}

/// Makes `etc` below `root`: what toolchains need of the host's, and accounts
/// that are not the host's.
///
/// # Errors
///
/// If a file can't be written. What the host has not, or not for everybody to
/// read, is left out.
pub fn make_configuration(root: &Path, accounts: &Accounts) -> io::Result<()> {
    fs::create_dir_all(root.join("etc"))?;
    for pattern in CONFIGURATION {
        copy_matching(Path::new("/"), root, pattern)?;
    }
    let Accounts { passwd, group, hosts } = *accounts;
    for (name, text) in [("passwd", passwd), ("group", group), ("hosts", hosts), ("nsswitch.conf", NSSWITCH)]
    {
        fs::write(root.join("etc").join(name), text)?;
    }
    Ok(())
}

/// Fills the folder `dev` with what harmless programs open, and an empty `shm`.
/// Root makes device nodes of its own; an ordinary user can only show the
/// host's.
///
/// # Errors
///
/// If neither can be.
pub fn make_devices(dev: &Path) -> io::Result<()> {
    for (name, major, minor) in
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
    {
        let node = dev.join(name);
        match mknod(&node, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(major, minor)) {
            Ok(()) => fs::set_permissions(&node, fs::Permissions::from_mode(0o666))?,
            Err(_) => {
                fs::File::create(&node)?;
                let host = Path::new("/dev").join(name);
                at(&host, mount(Some(&host), &node, None::<&str>, MsFlags::MS_BIND, None::<&str>))?;
            }
        }
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, dev.join(name))?;
    }
    fs::create_dir(dev.join("shm"))
}

/// Shows `source` read-only at `target`, with inodes of its own: no lock and no
/// watch on a file crosses from one such view to another. `empty` is any empty
/// folder.
///
/// # Errors
///
/// If the kernel refuses, as old ones do to an ordinary user.
pub fn overlay(source: &Path, empty: &Path, target: &Path) -> io::Result<()> {
    // An overlay without an upper layer must have two lower ones.
    let options = format!("lowerdir={}:{}", source.display(), empty.display());
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    at(source, mount(Some("layer"), target, Some("overlay"), flags, Some(options.as_str())))
}

/// Gives an error the path it was about.
///
/// # Errors
///
/// The one in `result`.
pub fn at<T>(path: &Path, result: Result<T, impl Into<io::Error>>) -> io::Result<T> {
    result.map_err(|error| io::Error::other(format!("{}: {}", path.display(), error.into())))
}

/// Copies what `pattern` names below `from` to the same place below `to`.
fn copy_matching(from: &Path, to: &Path, pattern: &str) -> io::Result<()> {
    let Some(prefix) = pattern.strip_suffix('*') else {
        return copy(&from.join(pattern), &to.join(pattern));
    };
    let (folder, prefix) = prefix.rsplit_once('/').unwrap_or(("", prefix));
    for entry in fs::read_dir(from.join(folder)).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            copy(&entry.path(), &to.join(folder).join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Copies a tree of the host's; what is not there, or not for everybody to
/// read, is left out.
///
/// # Errors
///
/// If the copy can't be written.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let Ok(data) = fs::symlink_metadata(from) else { return Ok(()) };
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    if data.is_symlink() {
        let target = fs::read_link(from)?;
        // A relative link to a file outside what is copied would dangle.
        if target.is_relative()
            && fs::metadata(from).is_ok_and(|data| data.is_file())
            && from.starts_with("/etc/localtime")
        {
            fs::copy(from, to)?;
            return Ok(());
        }
        symlink(target, to)
    } else if data.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from).into_iter().flatten().flatten() {
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        Ok(())
    } else if data.is_file() && data.len() <= LARGEST_FILE && data.permissions().mode() & 0o004 != 0 {
        fs::copy(from, to).map(drop)
    } else {
        Ok(())
    }
}
