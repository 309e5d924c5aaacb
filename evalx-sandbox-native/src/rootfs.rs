//! The root that programs see: the host's `/usr` and a small `/etc`, read-only.
//!
//! The launcher makes a skeleton once, on a tmpfs that only it and its zygotes
//! see. Each slot lays overlays of its own over the skeleton and over the
//! host's folders: an overlay has inodes of its own, so that no lock and no
//! watch on a shared file crosses from one slot to another, while the pages
//! behind stay shared.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// Folders of the host's root that hold programs and libraries.
const PROGRAM_FOLDERS: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// What of `/etc` and `/var` toolchains need; the rest of the host's
/// configuration is nobody's business. Names ending in `*` are prefixes.
const CONFIGURATION: [&str; 20] = [
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
    "var/lib/ghc",
];

const PASSWD: &str = "root:x:0:0:root:/:/usr/sbin/nologin\n\
    box:x:1000:1000:box:/box:/bin/sh\n\
    nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nbox:x:1000:\nnogroup:x:65534:\n";
const HOSTS: &str = "127.0.0.1 localhost evalx\n::1 localhost\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files\n";

/// The name that programs see the machine have.
pub(crate) const HOSTNAME: &str = "evalx";

/// Files copied into the skeleton may not be larger; none of the named ones is.
const LARGEST_FILE: u64 = 8 << 20;

/// Whether slots have inodes of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layers {
    /// Overlays: yes.
    Overlay,
    /// Bind mounts, where the kernel refuses overlays: no.
    Bind,
}

/// The folder of kept artifacts, below the stage.
const STORE: &str = "store";

/// Where the launcher prepares things, on a tmpfs of its own.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    folder: PathBuf,
    readable: Vec<PathBuf>,
    pub(crate) layers: Layers,
}

/// Gives an error the path it was about.
fn at<T>(path: &Path, result: nix::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::other(format!("{}: {}", path.display(), error.desc())))
}

impl Stage {
    /// Makes the skeleton, in a mount namespace of the caller's own.
    pub(crate) fn prepare(folder: &Path, readable: &[PathBuf]) -> io::Result<Self> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        at(folder, mount(Some("stage"), folder, Some("tmpfs"), flags, Some("mode=0755")))?;
        let mut stage =
            Self { folder: folder.to_owned(), readable: readable.to_vec(), layers: Layers::Overlay };
        stage.build_skeleton()?;
        stage.layers = stage.find_layers();
        Ok(stage)
    }

    fn skeleton(&self) -> PathBuf {
        self.folder.join("skeleton")
    }

    /// The folder in which the host stores artifacts for every slot.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.join(STORE)
    }

    fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    fn build_skeleton(&self) -> io::Result<()> {
        let skeleton = self.skeleton();
        for folder in ["skeleton", "empty", "root", STORE, "skeleton/etc", "skeleton/var/tmp"] {
            fs::create_dir_all(self.folder.join(folder))?;
        }
        for folder in ["box", "tmp", "proc", "dev"] {
            fs::create_dir(skeleton.join(folder))?;
        }
        for name in PROGRAM_FOLDERS {
            let host = Path::new("/").join(name);
            match fs::symlink_metadata(&host) {
                Ok(data) if data.is_symlink() => symlink(fs::read_link(&host)?, skeleton.join(name))?,
                Ok(data) if data.is_dir() => fs::create_dir(skeleton.join(name))?,
                _ => {}
            }
        }
        for folder in &self.readable {
            fs::create_dir_all(skeleton.join(folder.strip_prefix("/").unwrap_or(folder)))?;
        }
        for name in CONFIGURATION {
            copy_matching(Path::new("/"), &skeleton, name)?;
        }
        for (name, text) in
            [("passwd", PASSWD), ("group", GROUP), ("hosts", HOSTS), ("nsswitch.conf", NSSWITCH)]
        {
            fs::write(skeleton.join("etc").join(name), text)?;
        }
        fs::write(skeleton.join("etc/hostname"), format!("{HOSTNAME}\n"))
    }

    /// Tries an overlay once; whether it works is the same for every slot.
    fn find_layers(&self) -> Layers {
        let root = self.root();
        match overlay(&self.skeleton(), &self.folder.join("empty"), &root) {
            Ok(()) => {
                let _ = umount2(&root, MntFlags::MNT_DETACH);
                Layers::Overlay
            }
            Err(_) => Layers::Bind,
        }
    }

    /// Makes this slot's root and moves there, leaving the host's behind.
    pub(crate) fn enter(&self) -> io::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let root = self.root();
        self.layer(&self.skeleton(), &root)?;
        for name in PROGRAM_FOLDERS {
            let host = Path::new("/").join(name);
            if fs::symlink_metadata(&host).is_ok_and(|data| data.is_dir()) {
                self.layer(&host, &root.join(name))?;
            }
        }
        for folder in &self.readable {
            self.layer(folder, &root.join(folder.strip_prefix("/").unwrap_or(folder)))?;
        }
        // Under the session's own /tmp, which covers it, and read-only: cells
        // mount files of it into their sessions.
        bind(&self.folder.join(STORE), &root.join("tmp"))?;
        devices(&root.join("dev"))?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
        at(Path::new("/proc"), mount(Some("proc"), &root.join("proc"), Some("proc"), flags, None::<&str>))?;
        nix::unistd::chdir(&root)?;
        nix::unistd::pivot_root(".", ".")?;
        umount2(".", MntFlags::MNT_DETACH)?;
        nix::unistd::chdir("/")?;
        Ok(())
    }

    fn layer(&self, source: &Path, target: &Path) -> io::Result<()> {
        match self.layers {
            Layers::Overlay => overlay(source, &self.folder.join("empty"), target),
            Layers::Bind => bind(source, target),
        }
    }
}

fn overlay(source: &Path, empty: &Path, target: &Path) -> io::Result<()> {
    // An overlay without an upper layer must have two lower ones.
    let options = format!("lowerdir={}:{}", source.display(), empty.display());
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    at(source, mount(Some("layer"), target, Some("overlay"), flags, Some(options.as_str())))
}

fn bind(source: &Path, target: &Path) -> io::Result<()> {
    at(source, mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>))?;
    let flags =
        MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    at(source, mount(None::<&str>, target, None::<&str>, flags, None::<&str>))
}

/// A `/dev` with what harmless programs open. Root makes device nodes of its
/// own; an ordinary user can only show the host's.
fn devices(dev: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    at(dev, mount(Some("dev"), dev, Some("tmpfs"), flags, Some("mode=0755,size=64k,nr_inodes=32")))?;
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
    fs::create_dir(dev.join("shm"))?;
    let flags =
        MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    at(dev, mount(None::<&str>, dev, None::<&str>, flags, None::<&str>))
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

/// Copies a tree; what is not there or can't be read is left out.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
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
