//! Who a slot is: its user namespace, its network, and what it can never regain.

use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, read, setgroups, setresgid, setresuid, write};

use crate::rootfs::HOSTNAME;
use crate::sys;
use crate::wire::Stage;

/// Two host uids for each slot: its root, and its programs.
pub(crate) const UIDS_PER_SLOT: u32 = 2;

/// The map of the slot that has pair `serial` of the uids, as the kernel reads it: inside, outside, how many.
pub(crate) fn id_map(first: u32, serial: u32) -> String {
    let root = first + serial * UIDS_PER_SLOT;
    format!("0 {root} 1\n{} {} 1\n", crate::cell::BOX_ID, root + 1)
}

/// The map of a slot of an ordinary user, whose launcher has one uid, by this name.
pub(crate) fn only_id_map() -> String {
    let inside = crate::cell::BOX_ID;
    format!("{inside} {inside} 1\n")
}

/// Enters the slot's namespaces and gives up for good what no program may have.
///
/// As root, the launcher maps the new user namespace to the slot's own uids;
/// an ordinary user's launcher maps it to the single uid it has. The kernel
/// counts processes for each user and namespace: without one of its own, a slot
/// would be refused processes for those of its neighbours.
///
/// The namespace is made by the slot's own uid, and not by root: the kernel
/// charges what is used inside (inotify instances, queued signals) to who made
/// the namespace, and slots must not be able to use up each other's share.
pub(crate) fn become_slot(owner: Option<u32>, sync: &OwnedFd) -> io::Result<()> {
    if let Some(owner) = owner {
        const KEEP_CAPABILITIES: usize = 1 << 2;
        sys::prctl(libc::PR_SET_SECUREBITS, KEEP_CAPABILITIES)?;
        setgroups(&[])?;
        let (uid, gid) = (Uid::from_raw(owner), Gid::from_raw(owner));
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
    }
    // The kernel makes network namespaces one after the other, and may take long.
    die_with_launcher(sync)?;
    unshare(
        CloneFlags::CLONE_NEWUSER
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWCGROUP
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS,
    )?;
    if owner.is_none() {
        // An ordinary user may map only what may be dumped.
        sys::prctl(libc::PR_SET_DUMPABLE, 1)?;
    }
    write(sync, b"u")?;
    if read(sync, &mut [0])? != 1 {
        return Err(io::Error::other("the launcher did not map the user namespace"));
    }
    sys::prctl(libc::PR_SET_DUMPABLE, 0)?;
    nix::unistd::sethostname(HOSTNAME)?;
    // The new namespace's capabilities have undone it.
    die_with_launcher(sync)?;
    never_regain()
}

/// From here on the kernel kills this process when the launcher ends; an error
/// if it has ended before.
fn die_with_launcher(sync: &OwnedFd) -> io::Result<()> {
    // The launcher has one thread, so that its end is the death meant here.
    sys::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as usize)?;
    // It holds the other end for as long as it lives, and says nothing now.
    if poll(&mut [PollFd::new(sync.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)? > 0 {
        return Err(io::Error::other("the launcher ended"));
    }
    Ok(())
}

/// What every program inherits: an exec gives no privilege, whatever the file.
fn never_regain() -> io::Result<()> {
    /// The highest capability there may be one day; the kernel's own last one
    /// ends the loop.
    const CAPABILITIES: usize = 64;
    for capability in 0..CAPABILITIES {
        if sys::prctl(libc::PR_CAPBSET_DROP, capability).is_err() {
            break;
        }
    }
    /// `SECBIT_NOROOT`, `SECBIT_NO_SETUID_FIXUP`, `SECBIT_KEEP_CAPS` (locked
    /// off) and `SECBIT_NO_CAP_AMBIENT_RAISE`, each with its lock.
    const SECURE_BITS: usize = 0b1110_1111;
    sys::prctl(libc::PR_SET_SECUREBITS, SECURE_BITS)?;
    set_no_new_privileges()?;
    const KIB_64: u64 = 64 << 10;
    sys::set_limit(libc::RLIMIT_CORE, 0, 0)?;
    sys::set_limit(libc::RLIMIT_MEMLOCK, KIB_64, KIB_64)?;
    sys::set_limit(libc::RLIMIT_NICE, 0, 0)?;
    sys::set_limit(libc::RLIMIT_RTPRIO, 0, 0)?;
    Ok(())
}

fn set_no_new_privileges() -> io::Result<()> {
    Ok(sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1)?)
}

/// Tells the host on a slot's control socket why there is no slot, and at
/// which stage it failed.
pub(crate) fn report(control: RawFd, stage: Stage, message: &str) {
    // Told apart from an answer by its first word, which answers never have.
    let mut bytes = u64::MAX.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&(stage as u64).to_ne_bytes());
    bytes.extend_from_slice(message.as_bytes());
    bytes.truncate(8 * crate::wire::ANSWER_WORDS);
    bytes.resize(8 * crate::wire::ANSWER_WORDS, 0);
    let _ = sys::send(control, &bytes, -1);
}

/// Maps an ordinary user's own launcher to the one uid it has.
pub(crate) fn become_namespace_root(uid: Uid, gid: Gid) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWUSER)?;
    let inside = crate::cell::BOX_ID;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{inside} {uid} 1\n"))?;
    std::fs::write("/proc/self/gid_map", format!("{inside} {gid} 1\n"))
}
