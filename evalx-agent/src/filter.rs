//! The filter of system calls that every program is under, behind the
//! container's own.
//!
//! What reaches beyond a program is refused with an error code, so that
//! runtimes that only probe for it go on. Calls of another architecture kill.
//!
//! A cell is confined ahead of its order, and needs none of what is refused then;
//! only which sockets there are depends on the order.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

use crate::Failure;

/// Mounts, namespaces, modules, keys, clocks, and other processes' memory.
const FORBIDDEN: &[libc::c_long] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_lookup_dcookie,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
];

/// Calls that programs do without on a kernel that lacks them. The flags of
/// `clone3` are out of a filter's sight.
const ABSENT: &[libc::c_long] = &[
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // One counter for the whole machine, `fs.aio-max-nr`, which one program can use up.
    libc::SYS_io_setup,
    libc::SYS_io_destroy,
    libc::SYS_io_submit,
    libc::SYS_io_cancel,
    libc::SYS_io_getevents,
    libc::SYS_memfd_secret,
];

/// Calls that keep something beside a file. What an access list takes is the
/// kernel's memory, and counts as nobody's: neither as a session's nor as a disk's.
const UNKEPT: &[libc::c_long] = &[libc::SYS_setxattr, libc::SYS_lsetxattr, libc::SYS_fsetxattr, SETXATTRAT];

/// `setxattrat` of Linux 6.13, which the C library's list of numbers lacks.
const SETXATTRAT: libc::c_long = 463;

/// Flags of `clone` that make namespaces; that of time is known to `unshare` alone.
const NAMESPACE_FLAGS: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWCGROUP,
];

/// Calls whose argument of this place names a process: never the cell, which is number 1.
const ON_PROCESSES: &[(libc::c_long, u8)] = &[
    (libc::SYS_prlimit64, 0),
    (libc::SYS_sched_setaffinity, 0),
    (libc::SYS_sched_setattr, 0),
    (libc::SYS_sched_setparam, 0),
    (libc::SYS_sched_setscheduler, 0),
    (libc::SYS_setpriority, 1),
    (libc::SYS_ioprio_set, 1),
];

/// Calls whose first argument can mean all processes of a user, and how it does.
const WHOLE_USERS: &[(libc::c_long, u64)] = &[(libc::SYS_setpriority, 2), (libc::SYS_ioprio_set, 3)];

/// Requests of `ioctl` that type into a terminal.
const TYPING: [u64; 2] = [0x5412, 0x541c];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Puts this process, and all it will start, under the filters that every
/// program is under, for good.
pub(crate) fn confine() -> Result<(), Failure> {
    install(whole(ABSENT), libc::ENOSYS)?;
    install(whole(UNKEPT), libc::EOPNOTSUPP)?;
    install(forbidden()?, libc::EPERM)
}

/// Leaves this process, and all it will start, Unix sockets alone, and those of
/// the Internet if there is a `network`.
pub(crate) fn confine_sockets(network: bool) -> Result<(), Failure> {
    install(sockets(network)?, libc::EAFNOSUPPORT)
}

fn install(rules: Rules, errno: i32) -> Result<(), Failure> {
    let filter = filter(rules, SeccompAction::Errno(errno.unsigned_abs()))?;
    apply_filter(&filter).map_err(|error| failed("install", error))
}

fn failed(what: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure { what: format!("{what} the filter of system calls"), error: io::Error::other(error) }
}

fn filter(rules: Rules, action: SeccompAction) -> Result<BpfProgram, Failure> {
    let target = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| failed("make", error))?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, target)
        .map_err(|error| failed("make", error))?;
    BpfProgram::try_from(filter).map_err(|error| failed("make", error))
}

/// A rule that holds if every argument named compares so.
fn rule(conditions: &[(u8, SeccompCmpOp, u64)]) -> Result<SeccompRule, Failure> {
    let conditions = conditions
        .iter()
        .map(|(argument, operation, value)| {
            SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, operation.clone(), *value)
        })
        .collect::<Result<_, _>>()
        .map_err(|error| failed("make", error))?;
    SeccompRule::new(conditions).map_err(|error| failed("make", error))
}

/// Rules that hold for these calls whatever their arguments.
fn whole(calls: &[libc::c_long]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

fn sockets(network: bool) -> Result<Rules, Failure> {
    let inside: &[libc::c_int] =
        if network { &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6] } else { &[libc::AF_UNIX] };
    let conditions: Vec<_> =
        inside.iter().map(|family| (0, SeccompCmpOp::Ne, u64::from(family.unsigned_abs()))).collect();
    let of = |call| Ok((call, vec![rule(&conditions)?]));
    [libc::SYS_socket, libc::SYS_socketpair].into_iter().map(of).collect()
}

fn forbidden() -> Result<Rules, Failure> {
    let mut rules = whole(FORBIDDEN);
    let flags = NAMESPACE_FLAGS.iter().map(|flag| {
        let bit = u64::from(flag.unsigned_abs());
        rule(&[(0, SeccompCmpOp::MaskedEq(bit), bit)])
    });
    rules.insert(libc::SYS_clone, flags.collect::<Result<_, _>>()?);
    for (call, argument) in ON_PROCESSES {
        rules.insert(*call, vec![rule(&[(*argument, SeccompCmpOp::Eq, 1)])?]);
    }
    // The cell has the program's user.
    for (call, whole_user) in WHOLE_USERS {
        rules.entry(*call).or_default().push(rule(&[(0, SeccompCmpOp::Eq, *whole_user)])?);
    }
    let typing = TYPING.iter().map(|request| rule(&[(1, SeccompCmpOp::Eq, *request)]));
    rules.insert(libc::SYS_ioctl, typing.collect::<Result<_, _>>()?);
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_can_be_made() {
        let rules = [whole(ABSENT), forbidden().unwrap(), sockets(true).unwrap(), sockets(false).unwrap()];
        for rules in rules {
            assert!(!filter(rules, SeccompAction::Errno(1)).unwrap().is_empty());
        }
    }
}
