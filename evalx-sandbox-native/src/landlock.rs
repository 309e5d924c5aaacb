//! A second wall around files, signals and abstract sockets, where the kernel has Landlock.
//!
//! The mounts already say what can be written; this says it again, by another
//! mechanism, for the case that a mount flag is got around.

use std::os::fd::RawFd;
use std::sync::atomic::AtomicI32;

use nix::errno::Errno;

use crate::cell::Cell;
use crate::sys;

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_BLOCK: u64 = 1 << 11;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;

/// Every file access that a version of Landlock knows.
const fn known(version: usize) -> u64 {
    let bits = match version {
        0 | 1 => 0,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    (1 << bits) - 1
}

/// The ruleset of a session, in its own mount namespace.
pub(crate) fn rules(version: usize) -> Result<RawFd, Errno> {
    let files = known(version);
    // TCP binding and connecting are refused but where the session has a
    // loopback; the seccomp filter decides that, so ports are left alone here.
    // Abstract sockets and signals stay within the session's own domain.
    let scopes = 0b11;
    let (attributes, length) = match version {
        0..=3 => ([files, 0, 0], 8),
        4 | 5 => ([files, 0, 0], 16),
        _ => ([files, 0, scopes], 24),
    };
    let ruleset = sys::landlock_ruleset(attributes, length)?;
    let write = files & !(MAKE_CHAR | MAKE_BLOCK);
    let device = (READ_FILE | WRITE_FILE | READ_DIR | TRUNCATE | IOCTL_DEV) & files;
    let result = (|| {
        for (path, access) in [
            (c"/", EXECUTE | READ_FILE | READ_DIR),
            (c"/dev", device),
            (c"/dev/shm", write),
            (c"/tmp", write),
            (c"/box", write),
        ] {
            let beneath = sys::open(libc::AT_FDCWD, path, libc::O_PATH)?;
            let allowed = sys::landlock_allow(ruleset, beneath, access);
            sys::close(beneath);
            allowed?;
        }
        Ok(())
    })();
    match result {
        Ok(()) => Ok(ruleset),
        Err(error) => {
            Cell::close(&AtomicI32::new(ruleset));
            Err(error)
        }
    }
}
