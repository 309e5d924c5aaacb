//! New groups for the next step, made by the zygote below its slot's own.

use std::ffi::{CStr, CString};
use std::os::fd::RawFd;
use std::sync::atomic::Ordering::SeqCst;

use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::meter::{Group, MEMORY_FILES, Meter, OOM_CONTROL, PIDS_FILES, STEP_FILES};
use crate::cell::Cell;
use crate::sys;

/// Moves from the slot's group to a leaf of it, and hands its controllers down
/// to the groups of steps.
///
/// The cgroup namespace was entered before, and has its root at the slot's
/// group: where hierarchies are mounted with `nsdelegate`, a step's group must
/// lie within the namespace of who makes a process in it.
pub(crate) fn settle(folder: RawFd) -> Result<(), Errno> {
    nix::sys::stat::mkdirat(sys::borrow(folder), "zygote", Mode::from_bits_truncate(0o755))?;
    write_file(folder, "zygote/cgroup.procs", b"0")?;
    let mut text = [0; 256];
    let file = sys::open(folder, c"cgroup.controllers", libc::O_RDONLY)?;
    let length = sys::read(file, &mut text)?;
    sys::close(file);
    let available = String::from_utf8_lossy(text.get(..length).unwrap_or(&[])).into_owned();
    for controller in ["memory", "pids", "cpu"] {
        if available.split_whitespace().any(|name| name == controller) {
            write_file(folder, "cgroup.subtree_control", format!("+{controller}").as_bytes())?;
        }
    }
    Ok(())
}

/// Gives the next step cgroups whose figures start at nothing. The kernel says
/// on `oom_events` when the memory of v1 runs short.
pub(crate) fn fresh(meter: &Meter, oom_events: RawFd) -> Result<(), Errno> {
    match meter {
        Meter::V1(v1) => {
            v1.note_cpu_parts();
            // Its peak can't be reset, but one that only ever saw single
            // processes needs no reset: it can't hide a larger one.
            if !(v1.pids.is_made() && v1.processes_peak_is_fresh()) {
                replace_group(v1.pids_folder, &v1.pids, &PIDS_FILES, |group| {
                    write_file(group, "cgroup.procs", b"0")
                })?;
            }
            // What is charged to the old group falls to the one above.
            if !(v1.memory.is_made() && v1.memory_is_fresh()) {
                replace_group(v1.memory_folder, &v1.memory, &MEMORY_FILES, |group| {
                    write_file(group, "cgroup.procs", b"0")
                })?;
                v1.memory_was_renewed();
                let watch = format!("{} {}", oom_events, v1.memory.file(OOM_CONTROL));
                write_file(v1.memory.folder.load(SeqCst), "cgroup.event_control", watch.as_bytes())?;
            }
            Ok(())
        }
        Meter::V2(v2) => replace_group(v2.folder, &v2.step, &STEP_FILES, |_| Ok(())),
        Meter::None => Ok(()),
    }
}

/// Makes a new group below `parent` and opens its files; `enter` may move into
/// it before the old one is removed.
fn replace_group<const FILES: usize>(
    parent: RawFd,
    group: &Group<FILES>,
    names: &[&CStr; FILES],
    enter: impl FnOnce(RawFd) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let name = |serial: u64| CString::new(format!("step-{serial}")).map_err(|_| Errno::EINVAL);
    let serial = group.serial.fetch_add(1, SeqCst);
    let next = name(serial + 1)?;
    nix::sys::stat::mkdirat(sys::borrow(parent), next.as_c_str(), Mode::from_bits_truncate(0o755))?;
    let folder = sys::open(parent, &next, libc::O_RDONLY | libc::O_DIRECTORY)?;
    enter(folder)?;
    let used = group.folder.swap(folder, SeqCst);
    for (place, name) in group.files.iter().zip(names) {
        Cell::close(place);
        let file = sys::open(folder, name, libc::O_RDWR).or_else(|_| sys::open(folder, name, libc::O_RDONLY));
        // Some kernels lack some; who needs one sees that it is not there.
        place.store(file.unwrap_or(-1), SeqCst);
    }
    if used >= 0 {
        sys::close(used);
        remove_group(parent, &name(serial)?);
    }
    Ok(())
}

fn remove_group(parent: RawFd, name: &CStr) {
    // Busy only if the kernel has not yet let go of the last process.
    for _ in 0..100 {
        match unlinkat(sys::borrow(parent), name, UnlinkatFlags::RemoveDir) {
            Err(Errno::EBUSY) => sys::sleep_ns(100_000),
            _ => return,
        }
    }
}

fn write_file(folder: RawFd, name: &str, bytes: &[u8]) -> Result<(), Errno> {
    let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    let file = sys::open(folder, &name, libc::O_WRONLY)?;
    let result = sys::write(file, bytes);
    sys::close(file);
    result.map(drop)
}
