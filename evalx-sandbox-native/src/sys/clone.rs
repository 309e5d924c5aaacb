//! [`spawn_sharing_memory`]: a child in the same memory, on a stack of its own.

use std::os::fd::RawFd;

use nix::errno::Errno;

/// How a child shares and what it gets anew; `CLONE_VM` is always added.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CloneFlags {
    /// `CLONE_*` flags.
    pub(crate) flags: u64,
    /// The cgroup (v2) it is born in, if this is not negative.
    pub(crate) cgroup: RawFd,
}

/// Memory for a child's stack, with a page below it that can't be touched.
#[derive(Debug)]
pub(crate) struct Stack {
    base: *mut libc::c_void,
    size: usize,
}

// SAFETY: the memory belongs to nobody but the child that runs on it, and it
// is never freed.
unsafe impl Sync for Stack {}
// SAFETY: as above; an address means the same on every thread.
unsafe impl Send for Stack {}

impl Stack {
    const GUARD: usize = 4096;

    /// A stack of `size` bytes that lives as long as the process.
    pub(crate) fn new(size: usize) -> Result<Self, Errno> {
        let size = size + Self::GUARD;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK;
        // SAFETY: a new mapping at no fixed address touches no other memory.
        let base = unsafe {
            libc::mmap(std::ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        // SAFETY: the first page of the mapping just made, on which nothing runs yet.
        unsafe { libc::mprotect(base, Self::GUARD, libc::PROT_NONE) };
        Ok(Self { base, size })
    }
}

/// Wider than the type that the C library's flags have.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` of `clone3`.
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Starts a child that shares this process's memory and runs `entry(argument)`.
///
/// It is no thread: it has its own process id, its own credentials, and the
/// *same* thread pointer as its parent, with which it may run at the same
/// time. `entry` must therefore keep to what the [module](super) says of
/// cells; `stack` must have no other child running on it, which the callers
/// see to by having one stack for each child that can live at once. Returns
/// the child's id.
pub(crate) fn spawn_sharing_memory<T: Sync>(
    flags: CloneFlags,
    stack: &'static Stack,
    entry: fn(&'static T) -> !,
    argument: &'static T,
) -> Result<i32, Errno> {
    struct Start<T: 'static> {
        entry: fn(&'static T) -> !,
        argument: &'static T,
    }
    extern "C" fn start<T>(start: *const Start<T>) -> ! {
        // SAFETY: points to the value that was written to the top of this
        // child's own stack before the child was made.
        let start = unsafe { start.read() };
        (start.entry)(start.argument)
    }

    let room = size_of::<Start<T>>().next_multiple_of(64);
    let top = stack.base as usize + stack.size - room;
    let begin = top as *mut Start<T>;
    // SAFETY: within the mapping, aligned to 64 bytes, and used by nobody else.
    unsafe { begin.write(Start { entry, argument }) };

    let arguments = CloneArguments {
        flags: flags.flags | libc::CLONE_VM as u64 | if flags.cgroup >= 0 { CLONE_INTO_CGROUP } else { 0 },
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.base as u64,
        stack_size: (stack.size - room) as u64,
        cgroup: u64::try_from(flags.cgroup).unwrap_or(0),
        ..CloneArguments::default()
    };
    let start: extern "C" fn(*const Start<T>) -> ! = start::<T>;
    let result: i64;
    // SAFETY: the kernel copies the arguments before it returns. The child
    // continues on its own stack, whose top is aligned to 16 bytes, and never
    // comes back from `start`; the parent goes on as after any system call.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") &raw const arguments,
            in("rsi") size_of::<CloneArguments>(),
            in("r12") begin,
            in("r13") start,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x9",
            "blr x10",
            "brk #1",
            "2:",
            in("x8") libc::SYS_clone3,
            inlateout("x0") &raw const arguments => result,
            in("x1") size_of::<CloneArguments>(),
            in("x9") begin,
            in("x10") start,
        );
    }
    // A pid, or a negative errno: both are small.
    match i32::try_from(result) {
        Ok(pid @ 0..) => Ok(pid),
        Ok(error) => Err(Errno::from_raw(-error)),
        Err(_) => Err(Errno::EINVAL),
    }
}

/// Forks this process into new namespaces; returns 0 in the child.
///
/// The caller has a single thread, as a launcher does: the child may then go
/// on using everything.
pub(crate) fn fork_into(namespaces: libc::c_int) -> Result<i32, Errno> {
    let arguments = CloneArguments {
        flags: u64::from(namespaces.cast_unsigned()),
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArguments::default()
    };
    // SAFETY: without CLONE_VM this is a fork: the child has a copy of all
    // memory, and the kernel reads the arguments before it returns.
    let result =
        unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) };
    i32::try_from(result).ok().filter(|pid| *pid >= 0).ok_or_else(Errno::last)
}
