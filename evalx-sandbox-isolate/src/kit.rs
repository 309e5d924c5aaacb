//! [`Kit`]: what programs in a box see beside their own files, read-only.
//!
//! It is made once for a box and stays for all its sessions: overlays of the
//! host's folders of programs, a small `/etc`, and a `/dev` of six nodes in
//! place of the host's. Overlays and nodes have inodes of their own, so that no
//! lock and no watch on a shared file crosses from one box to another.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::gate::Gate;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// Folders of the host's root that hold programs and libraries.
const PROGRAM_FOLDERS: [&str; 8] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "var/lib/ghc"];

/// What of `/etc` and `/var` toolchains need; the rest of the host's
/// configuration is nobody's business. Names ending in `*` are prefixes.
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

const PASSWD: &str = "root:x:0:0:root:/:/usr/sbin/nologin\n\
    nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files\n";

/// Files copied into the kit may not be larger; none of the named ones is.
const LARGEST_FILE: u64 = 8 << 20;

/// Whether boxes have inodes of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layers {
    /// Overlays: yes.
    Overlay,
    /// The host's own folders, where the kernel refuses overlays: no.
    Host,
}

/// What a box shows, as rules for isolate's `--dir`.
#[derive(Clone, Debug)]
pub(crate) struct Kit {
    pub(crate) layers: Layers,
    /// `inside=outside` and options, each one rule.
    pub(crate) rules: Vec<String>,
    pub(crate) gate: Gate,
    /// Folders that are shown at the host's own path.
    pub(crate) shown: Vec<PathBuf>,
}

impl Kit {
    /// Makes it in `folder`, which is made too.
    pub(crate) fn make(folder: &Path, gid: u32, readable: &[PathBuf]) -> io::Result<Self> {
        fs::create_dir(folder)?;
        // Not `nodev`: the six nodes are to work.
        at(folder, mount(Some("kit"), folder, Some("tmpfs"), MsFlags::MS_NOSUID, Some("mode=0755")))?;
        for name in ["empty", "etc", "layers"] {
            fs::create_dir(folder.join(name))?;
        }
        let gate = Gate::make(folder.join("run"), gid)?;
        let mut kit = Self {
            layers: Layers::Overlay,
            rules: vec![gate.rule()],
            gate,
            shown: vec![PathBuf::from("/etc/alternatives")],
        };
        configure(folder)?;
        devices(&folder.join("dev"))?;
        kit.rules.push(format!("etc={}", folder.join("etc").display()));
        kit.rules.push(format!("dev={}:dev", folder.join("dev").display()));
        for name in PROGRAM_FOLDERS {
            kit.show(folder, &Path::new("/").join(name))?;
        }
        for path in readable {
            kit.show(folder, path)?;
        }
        Ok(kit)
    }

    /// Shows a folder of the host at the same path, by a layer if that can be.
    fn show(&mut self, kit: &Path, path: &Path) -> io::Result<()> {
        let inside = path.strip_prefix("/").unwrap_or(path);
        // `/bin` is but a link to `usr/bin` where the two are merged.
        let Ok(real) = fs::canonicalize(path) else { return Ok(()) };
        if !real.is_dir() {
            return Ok(());
        }
        let name = |path: &Path| path.strip_prefix("/").unwrap_or(path).to_path_buf();
        let layers = kit.join("layers");
        let below = layers.join(name(&real));
        if !below.exists() && self.layers == Layers::Overlay {
            fs::create_dir_all(&below)?;
            if overlay(&real, &kit.join("empty"), &below).is_err() {
                self.layers = Layers::Host;
            }
        }
        let outside = if self.layers == Layers::Overlay { &below } else { &real };
        self.rules.push(format!("{}={}", inside.display(), outside.display()));
        self.shown.push(path.to_owned());
        Ok(())
    }
}

/// Gives an error the path it was about.
fn at<T>(path: &Path, result: nix::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::other(format!("{}: {}", path.display(), error.desc())))
}

fn overlay(source: &Path, empty: &Path, target: &Path) -> io::Result<()> {
    // An overlay without an upper layer must have two lower ones.
    let options = format!("lowerdir={}:{}", source.display(), empty.display());
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    at(source, mount(Some("layer"), target, Some("overlay"), flags, Some(options.as_str())))
}

fn configure(kit: &Path) -> io::Result<()> {
    for pattern in CONFIGURATION {
        copy_matching(Path::new("/"), kit, pattern)?;
    }
    for (name, text) in [("passwd", PASSWD), ("group", GROUP), ("hosts", HOSTS), ("nsswitch.conf", NSSWITCH)]
    {
        fs::write(kit.join("etc").join(name), text)?;
    }
    Ok(())
}

/// A `/dev` with what harmless programs open.
fn devices(dev: &Path) -> io::Result<()> {
    fs::create_dir(dev)?;
    for (name, major, minor) in
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
    {
        let node = dev.join(name);
        at(&node, mknod(&node, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(major, minor)))?;
        fs::set_permissions(&node, fs::Permissions::from_mode(0o666))?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, dev.join(name))?;
    }
    // Where the session's own is mounted.
    fs::create_dir(dev.join("shm"))
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

/// Copies a tree of the host's configuration; what is not there, or not for
/// everybody to read, is left out.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let Ok(data) = fs::symlink_metadata(from) else { return Ok(()) };
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    if data.is_symlink() {
        symlink(fs::read_link(from)?, to)
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
