//! [`Store`]: artifacts that every slot can show in its sessions by a mount.
//!
//! Copying a large program into each session would cost more than running it.
//! Its bytes are written once to a tmpfs that the slots see read-only, and a
//! cell mounts the file where it is wanted. The pages belong to the host.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Mutex;

use evalx_core::{Artifact, WeakArtifact};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Files from this size on are mounted; smaller ones are copied sooner.
pub(crate) const LARGE: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Store {
    folder: OwnedFd,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    serial: u64,
    artifacts: HashMap<usize, Entry>,
}

#[derive(Debug)]
struct Entry {
    artifact: WeakArtifact,
    /// The name of each file of the artifact that is stored.
    names: HashMap<usize, String>,
}

impl Store {
    pub(crate) fn new(folder: OwnedFd) -> Self {
        Self { folder, kept: Mutex::default() }
    }

    /// The name under which a file of an artifact is stored, which it is now
    /// if it was not before.
    pub(crate) fn name(&self, artifact: &Artifact, file: usize) -> io::Result<String> {
        let mut kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // An id is free for another artifact as soon as the first is gone.
        if kept.artifacts.get(&artifact.id()).is_some_and(|entry| entry.artifact.is_gone()) {
            self.forget(&mut kept, artifact.id());
        }
        if let Some(name) = kept.artifacts.get(&artifact.id()).and_then(|entry| entry.names.get(&file)) {
            return Ok(name.clone());
        }
        let gone: Vec<usize> =
            kept.artifacts.iter().filter(|(_, entry)| entry.artifact.is_gone()).map(|(id, _)| *id).collect();
        for id in gone {
            self.forget(&mut kept, id);
        }
        kept.serial += 1;
        let name = kept.serial.to_string();
        if let Err(error) = self.write(&name, artifact, file) {
            // Part of it may be there, and nobody would forget it.
            let _ = unlinkat(&self.folder, name.as_str(), UnlinkatFlags::NoRemoveDir);
            return Err(error);
        }
        let entry = kept
            .artifacts
            .entry(artifact.id())
            .or_insert_with(|| Entry { artifact: artifact.downgrade(), names: HashMap::new() });
        entry.names.insert(file, name.clone());
        Ok(name)
    }

    fn write(&self, name: &str, artifact: &Artifact, file: usize) -> io::Result<()> {
        let Some(source) = artifact.files().get(file) else { return Err(io::ErrorKind::NotFound.into()) };
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let target = openat(&self.folder, name, flags, Mode::from_bits_truncate(0o600))?;
        fchmod(&target, Mode::from_bits_truncate(if source.executable { 0o555 } else { 0o444 }))?;
        File::from(target).write_all(&source.contents)
    }

    fn forget(&self, kept: &mut Kept, id: usize) {
        let Some(entry) = kept.artifacts.remove(&id) else { return };
        for name in entry.names.values() {
            // What sessions have mounted stays theirs until they end.
            let _ = unlinkat(&self.folder, name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}
