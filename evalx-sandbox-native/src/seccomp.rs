//! The system calls a program may make, as seccomp filters.
//!
//! The default refuses dangerous calls with an error code, never with a kill,
//! so that a runtime which probes for one falls back. Installing a filter
//! makes the kernel try it for every system call there is, which takes longer
//! than a small program runs; so [`base`], nearly all of it, is installed once
//! in the zygote and inherited, and [`last`], what zygote and cell need
//! themselves, in each program. [`strict`] is the allow-list, heard by the
//! zygote; an error from `base` would go before its word, so the zygotes of
//! strict sessions have no `base`.

mod lists;
mod program;

use evalx_core::Network;

use crate::sys::Instruction;

pub(crate) use lists::name;
use lists::{ALLOWED, ENOSYS_CALLS, ENOTSUP_CALLS, EPERM_CALLS};
use program::{Action, Filter};

/// The calls that zygote and cell make after `base` was installed: they mount
/// what is the session's own, and join its namespace.
const NEEDED: [libc::c_long; 5] =
    [libc::SYS_mount, libc::SYS_umount2, libc::SYS_setns, libc::SYS_open_tree, libc::SYS_move_mount];

/// The default policy, but for what [`last`] adds.
pub(crate) fn base() -> Vec<Instruction> {
    let mut filter = Filter::new(Action::Allow);
    arguments(&mut filter);
    for call in EPERM_CALLS.iter().filter(|call| !NEEDED.contains(call)) {
        filter.call(*call, Action::Errno(libc::EPERM));
    }
    for call in ENOSYS_CALLS {
        filter.call(*call, Action::Errno(libc::ENOSYS));
    }
    for call in ENOTSUP_CALLS {
        filter.call(*call, Action::Errno(libc::EOPNOTSUPP));
    }
    filter.finish()
}

/// What is added in the program itself.
///
/// `clone3` hides its flags behind a pointer, so it is said not to exist, and
/// C libraries fall back to `clone`; the cell has to start programs by it.
pub(crate) fn last(network: Network) -> Vec<Instruction> {
    let mut filter = Filter::new(Action::Allow);
    filter.call(libc::SYS_clone3, Action::Errno(libc::ENOSYS));
    for call in NEEDED {
        filter.call(call, Action::Errno(libc::EPERM));
    }
    if network == Network::None {
        for family in [libc::AF_INET, libc::AF_INET6] {
            filter.equals(libc::SYS_socket, 0, family.cast_unsigned(), Action::Errno(libc::EAFNOSUPPORT));
        }
    }
    filter.finish()
}

/// The allow-list: what one program computing by itself needs.
pub(crate) fn strict() -> Vec<Instruction> {
    let mut filter = Filter::new(Action::Notify);
    // A thread is fine; a process is not.
    filter.none_set(libc::SYS_clone, 0, libc::CLONE_THREAD.cast_unsigned(), Action::Notify);
    filter.call(libc::SYS_clone3, Action::Errno(libc::ENOSYS));
    spare_pid_one(&mut filter, Action::Notify);
    spare_terminals(&mut filter, Action::Notify);
    for call in ALLOWED.iter().chain(&[libc::SYS_clone]) {
        filter.call(*call, Action::Allow);
    }
    filter.finish()
}

/// Rules that look at arguments.
fn arguments(filter: &mut Filter) {
    const NEW_NAMESPACES: i32 = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        // CLONE_NEWTIME; for clone() it lies in the byte of the exit signal,
        // and only clone3() and unshare() take it.
        ;
    filter.any_of(libc::SYS_clone, 0, NEW_NAMESPACES.cast_unsigned(), Action::Errno(libc::EPERM));
    spare_terminals(filter, Action::Errno(libc::EPERM));
    // Whether there are Internet sockets is for `last` to say.
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        filter.none_of(call, 0, &families, Action::Errno(libc::EAFNOSUPPORT));
    }
    spare_pid_one(filter, Action::Errno(libc::EPERM));
    // Only the plain Linux personality, and asking which one it is.
    filter.none_of(libc::SYS_personality, 0, &[0, -1], Action::Errno(libc::EPERM));
}

/// Characters pushed into a terminal are read by whoever comes after.
fn spare_terminals(filter: &mut Filter, action: Action) {
    for request in [libc::TIOCSTI, libc::TIOCLINUX] {
        #[expect(clippy::cast_possible_truncation, reason = "requests are 32 bits wide")]
        filter.equals(libc::SYS_ioctl, 1, request as u32, action);
    }
}

/// PID 1 is ours. An ordinary user's program has its uid, and the kernel lets
/// one change the limits and priorities of one's own.
fn spare_pid_one(filter: &mut Filter, action: Action) {
    for (call, argument) in [
        (libc::SYS_prlimit64, 0),
        (libc::SYS_sched_setaffinity, 0),
        (libc::SYS_sched_setattr, 0),
        (libc::SYS_sched_setparam, 0),
        (libc::SYS_sched_setscheduler, 0),
        (libc::SYS_setpriority, 1),
        (libc::SYS_ioprio_set, 1),
    ] {
        filter.equals(call, argument, 1, action);
    }
    // Of every process of a uid at once: PRIO_USER and IOPRIO_WHO_USER.
    filter.equals(libc::SYS_setpriority, 0, 2, action);
    filter.equals(libc::SYS_ioprio_set, 0, 3, action);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a program meets that has both filters: the stricter answer.
    fn both(network: Network, call: libc::c_long, arguments: [u64; 2]) -> Action {
        let answers =
            [base(), last(network)].map(|filter| program::interpret(&filter, program::ARCH, call, arguments));
        answers.into_iter().find(|answer| *answer != Action::Allow).unwrap_or(Action::Allow)
    }

    #[test]
    fn the_default_refuses_by_error_and_allows_the_rest() {
        let run = |call, arguments| both(Network::None, call, arguments);
        assert_eq!(run(libc::SYS_read, [0, 0]), Action::Allow);
        for call in EPERM_CALLS {
            assert_eq!(run(*call, [0, 0]), Action::Errno(libc::EPERM));
        }
        assert_eq!(run(libc::SYS_io_uring_setup, [0, 0]), Action::Errno(libc::ENOSYS));
        assert_eq!(run(libc::SYS_setxattr, [0, 0]), Action::Errno(libc::EOPNOTSUPP));
        assert_eq!(run(libc::SYS_clone3, [0, 0]), Action::Errno(libc::ENOSYS));
        assert_eq!(run(libc::SYS_socket, [1, 0]), Action::Allow);
        for family in [2, 10, 16, 17, 38, 40] {
            assert_eq!(run(libc::SYS_socket, [family, 0]), Action::Errno(libc::EAFNOSUPPORT));
        }
        assert_eq!(run(libc::SYS_clone, [libc::CLONE_NEWUSER as u64, 0]), Action::Errno(libc::EPERM));
        assert_eq!(run(libc::SYS_clone, [libc::CLONE_THREAD as u64, 0]), Action::Allow);
        assert_eq!(run(libc::SYS_ioctl, [0, libc::TIOCSTI]), Action::Errno(libc::EPERM));
        // The kernel looks at the low half alone, and so must the filter.
        assert_eq!(run(libc::SYS_ioctl, [0, libc::TIOCSTI | 1 << 32]), Action::Errno(libc::EPERM));
        assert_eq!(run(libc::SYS_personality, [0xffff_ffff, 0]), Action::Allow);
        assert_eq!(run(libc::SYS_personality, [0x0040_0000, 0]), Action::Errno(libc::EPERM));
        assert_eq!(both(Network::Loopback, libc::SYS_socket, [2, 0]), Action::Allow);
        assert_eq!(both(Network::Loopback, libc::SYS_socket, [16, 0]), Action::Errno(libc::EAFNOSUPPORT));
    }

    #[test]
    fn other_architectures_are_killed_and_x32_is_absent() {
        for filter in [base(), last(Network::None), strict()] {
            assert_eq!(program::interpret(&filter, 0x4000_0003, libc::SYS_read, [0, 0]), Action::Kill);
            #[cfg(target_arch = "x86_64")]
            assert_eq!(
                program::interpret(&filter, program::ARCH, libc::SYS_read | 0x4000_0000, [0, 0]),
                Action::Errno(libc::ENOSYS)
            );
        }
    }

    #[test]
    fn strict_allows_threads_and_hears_processes() {
        let filter = strict();
        let run = |call, arguments: [u64; 2]| program::interpret(&filter, program::ARCH, call, arguments);
        assert_eq!(run(libc::SYS_write, [0, 0]), Action::Allow);
        assert_eq!(run(libc::SYS_execve, [0, 0]), Action::Allow);
        assert_eq!(run(libc::SYS_socket, [1, 0]), Action::Notify);
        assert_eq!(run(libc::SYS_clone, [17, 0]), Action::Notify);
        assert_eq!(run(libc::SYS_clone, [libc::CLONE_THREAD as u64, 0]), Action::Allow);
        assert_eq!(name(i32::try_from(libc::SYS_socket).unwrap()), "socket");
    }
}
