//! The container's first process: it makes the namespaces in which the
//! supervisor has a hand free, starts it, and ends with it.
//!
//! The container itself gives no capability to anybody. Inside a user namespace
//! of its own, which has the container's one uid and no other, the supervisor
//! may mount and make namespaces, and can reach nothing that it could not reach
//! without. Its PID namespace belongs to that user namespace too: only so may
//! it go back to it after it has made a cell's.

use std::fs;
use std::process::ExitCode;

use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::unistd::{getegid, geteuid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::{Failure, at, part};

pub(crate) fn main() -> Result<ExitCode, Failure> {
    let (uid, gid) = (geteuid(), getegid());
    at(
        "make a user namespace inside the container",
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID),
    )?;
    at("map its user", fs::write("/proc/self/setgroups", "deny"))?;
    at("map its user", fs::write("/proc/self/uid_map", format!("{uid} {uid} 1\n")))?;
    at("map its group", fs::write("/proc/self/gid_map", format!("{gid} {gid} 1\n")))?;
    at("hide", prctl::set_dumpable(false))?;
    keep_capabilities()?;
    let mut supervisor = at("start the supervisor", part("supervise").spawn())?;
    let status = at("wait for the supervisor", supervisor.wait())?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Lets what this process executes have the capabilities of its user
/// namespace, although its user is not root there.
pub(crate) fn keep_capabilities() -> Result<(), Failure> {
    let own = at("read capabilities", rustix::thread::capabilities(None))?;
    let sets = CapabilitySets { inheritable: own.permitted, ..own };
    at("keep capabilities", rustix::thread::set_capabilities(None, sets))?;
    for capability in CapabilitySet::all().iter().filter(|one| own.permitted.contains(*one)) {
        // One that this kernel does not know is none to keep.
        let _ = rustix::thread::configure_capability_in_ambient_set(capability, true);
    }
    Ok(())
}

/// Lets nothing that this process executes get a capability from a file.
pub(crate) fn empty_bounding_set() {
    for capability in CapabilitySet::all().iter() {
        // One that this kernel does not know is nobody's.
        if rustix::thread::capability_is_in_bounding_set(capability).unwrap_or(false) {
            let _ = rustix::thread::remove_capability_from_bounding_set(capability);
        }
    }
}
