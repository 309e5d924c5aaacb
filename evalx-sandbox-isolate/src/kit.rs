//! [`Kit`]: what programs in a box see beside their own files, read-only.
//!
//! It is made once for a box and stays for all its sessions: overlays of the
//! host's folders of programs, a small `/etc`, and a `/dev` of six nodes in
//! place of the host's. Overlays and nodes have inodes of their own, so that no
//! lock and no watch on a shared file crosses from one box to another.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use evalx_host::view::{self, Accounts, PROGRAM_FOLDERS, at, overlay};
use nix::mount::{MsFlags, mount};

use crate::gate::Gate;

const ACCOUNTS: Accounts = Accounts::new(
    "root:x:0:0:root:/:/usr/sbin/nologin\n\
        nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "root:x:0:\nnogroup:x:65534:\n",
    "127.0.0.1 localhost\n::1 localhost\n",
);

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
        for name in ["empty", "layers"] {
            fs::create_dir(folder.join(name))?;
        }
        let gate = Gate::make(folder.join("run"), gid)?;
        let mut kit = Self {
            layers: Layers::Overlay,
            rules: vec![gate.rule()],
            gate,
            shown: vec![PathBuf::from("/etc/alternatives")],
        };
        view::make_configuration(folder, &ACCOUNTS)?;
        fs::create_dir(folder.join("dev"))?;
        view::make_devices(&folder.join("dev"))?;
        kit.rules.push(format!("etc={}", folder.join("etc").display()));
        kit.rules.push(format!("dev={}:dev", folder.join("dev").display()));
        for name in PROGRAM_FOLDERS.into_iter().chain([view::GHC_PACKAGES]) {
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
