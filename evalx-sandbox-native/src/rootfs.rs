//! The root that programs see: the host's `/usr` and a small `/etc`, read-only.
//!
//! The launcher makes a skeleton once, on a tmpfs that only it and its zygotes
//! see. Each slot lays overlays of its own over the skeleton and over the
//! host's folders: an overlay has inodes of its own, so that no lock and no
//! watch on a shared file crosses from one slot to another, while the pages
//! behind stay shared.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use evalx_host::view::{self, Accounts, PROGRAM_FOLDERS, at, overlay};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

const ACCOUNTS: Accounts = Accounts::new(
    "root:x:0:0:root:/:/usr/sbin/nologin\n\
        box:x:1000:1000:box:/box:/bin/sh\n\
        nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "root:x:0:\nbox:x:1000:\nnogroup:x:65534:\n",
    "127.0.0.1 localhost evalx\n::1 localhost\n",
);

/// The name that programs see the machine have.
pub(crate) const HOSTNAME: &str = "evalx";

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
        for folder in ["skeleton", "empty", "root", STORE, "skeleton/var/tmp"] {
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
        view::make_configuration(&skeleton, &ACCOUNTS)?;
        // Copied, not shown: its folder would need a layer of its own.
        view::copy(&Path::new("/").join(view::GHC_PACKAGES), &skeleton.join(view::GHC_PACKAGES))?;
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

    /// Lays out this slot's root, in a mount namespace of its own.
    pub(crate) fn lay(&self) -> io::Result<()> {
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
        devices(&root.join("dev"))
    }

    /// Mounts the slot's `/proc` in its root, which a container may forbid.
    pub(crate) fn show_proc(&self) -> io::Result<()> {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
        let place = self.root().join("proc");
        at(Path::new("/proc"), mount(Some("proc"), &place, Some("proc"), flags, None::<&str>))
    }

    /// Moves to the root that was laid out, leaving the host's behind.
    pub(crate) fn enter(&self) -> io::Result<()> {
        nix::unistd::chdir(&self.root())?;
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

fn bind(source: &Path, target: &Path) -> io::Result<()> {
    at(source, mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>))?;
    let flags =
        MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    at(source, mount(None::<&str>, target, None::<&str>, flags, None::<&str>))
}

/// A `/dev` of its own, which can't be changed.
fn devices(dev: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    at(dev, mount(Some("dev"), dev, Some("tmpfs"), flags, Some("mode=0755,size=64k,nr_inodes=32")))?;
    view::make_devices(dev)?;
    let flags =
        MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    at(dev, mount(None::<&str>, dev, None::<&str>, flags, None::<&str>))
}
