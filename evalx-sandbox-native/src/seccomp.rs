//! The system calls a program may make, as seccomp filters.
//!
//! [`refusals`] is the default: dangerous calls answer with an error code,
//! never with a kill, so that a runtime which probes for one falls back. It is
//! installed in the cell ahead of time, and programs inherit it. [`last`] is
//! the little that the cell itself still needs: `clone3`. [`strict`] is the
//! allow-list, heard by the zygote.

mod lists;
mod program;

use crate::sys::Instruction;
use crate::wire::Shape;

pub(crate) use lists::name;
use lists::{ALLOWED, ENOSYS_CALLS, EPERM_CALLS};
use program::{Action, Filter};

/// The default policy, without `clone3`, which the cell still needs to fork
/// the program into its cgroup.
pub(crate) fn refusals(shape: Shape) -> Vec<Instruction> {
    let mut filter = Filter::new(Action::Allow);
    for call in EPERM_CALLS {
        filter.call(*call, Action::Errno(libc::EPERM));
    }
    for call in ENOSYS_CALLS {
        filter.call(*call, Action::Errno(libc::ENOSYS));
    }
    common(&mut filter, shape);
    filter.finish()
}

/// What is added in the program itself: `clone3` hides its flags behind a
/// pointer, so it is said not to exist, and C libraries fall back to `clone`.
pub(crate) fn last() -> Vec<Instruction> {
    let mut filter = Filter::new(Action::Allow);
    filter.call(libc::SYS_clone3, Action::Errno(libc::ENOSYS));
    filter.finish()
}

/// The allow-list: what one program computing by itself needs.
pub(crate) fn strict() -> Vec<Instruction> {
    let mut filter = Filter::new(Action::Notify);
    // A thread is fine; a process is not.
    filter.masked(libc::SYS_clone, 0, libc::CLONE_THREAD.cast_unsigned(), 0, Action::Notify);
    filter.call(libc::SYS_clone3, Action::Errno(libc::ENOSYS));
    for call in ALLOWED.iter().chain(&[libc::SYS_clone]) {
        filter.call(*call, Action::Allow);
    }
    filter.finish()
}

/// Rules that look at arguments.
fn common(filter: &mut Filter, shape: Shape) {
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
    // Characters pushed into a terminal are read by whoever comes after.
    for request in [libc::TIOCSTI, libc::TIOCLINUX] {
        #[expect(clippy::cast_possible_truncation, reason = "requests are 32 bits wide")]
        filter.equals(libc::SYS_ioctl, 1, request as u32, Action::Errno(libc::EPERM));
    }
    let mut families = vec![libc::AF_UNIX];
    if shape.loopback {
        families.extend([libc::AF_INET, libc::AF_INET6]);
    }
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        filter.none_of(call, 0, &families, Action::Errno(libc::EAFNOSUPPORT));
    }
    // Only the plain Linux personality, and asking which one it is.
    filter.none_of(libc::SYS_personality, 0, &[0, -1], Action::Errno(libc::EPERM));
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { disk: 0, files: 0, loopback: false, strict: false };

    #[test]
    fn the_default_refuses_by_error_and_allows_the_rest() {
        let filter = refusals(SHAPE);
        let run = |call, arguments: [u64; 2]| program::interpret(&filter, program::ARCH, call, arguments);
        assert_eq!(run(libc::SYS_read, [0, 0]), Action::Allow);
        assert_eq!(run(libc::SYS_mount, [0, 0]), Action::Errno(libc::EPERM));
        assert_eq!(run(libc::SYS_io_uring_setup, [0, 0]), Action::Errno(libc::ENOSYS));
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
        let loopback = refusals(Shape { loopback: true, ..SHAPE });
        assert_eq!(program::interpret(&loopback, program::ARCH, libc::SYS_socket, [2, 0]), Action::Allow);
    }

    #[test]
    fn other_architectures_are_killed_and_x32_is_absent() {
        let filter = refusals(SHAPE);
        assert_eq!(program::interpret(&filter, 0x4000_0003, libc::SYS_read, [0, 0]), Action::Kill);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(
            program::interpret(&filter, program::ARCH, libc::SYS_read | 0x4000_0000, [0, 0]),
            Action::Errno(libc::ENOSYS)
        );
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
        assert_eq!(name(libc::SYS_socket as i32), "socket");
    }
}
