//! System calls without `errno`, one function each.
//!
//! Each takes what the kernel only reads or writes within bounds that the Rust
//! types state, which is what makes the functions safe to call.

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

pub(super) type Result<T> = std::result::Result<T, Errno>;

/// Calls the kernel with up to six arguments.
///
/// # Safety
///
/// The arguments must be what the call of this number takes: pointers valid
/// for what it reads and writes, for as long as it does.
#[inline]
pub(super) unsafe fn syscall(number: libc::c_long, arguments: [usize; 6]) -> Result<usize> {
    let result: i64;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction clobbers rax, rcx and r11 alone; that the
    // arguments are right for the call is this function's own condition.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            in("r9") arguments[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the instruction clobbers x0 alone; that the arguments are right
    // for the call is this function's own condition.
    unsafe {
        std::arch::asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") arguments[0] => result,
            in("x1") arguments[1],
            in("x2") arguments[2],
            in("x3") arguments[3],
            in("x4") arguments[4],
            in("x5") arguments[5],
            options(nostack),
        );
    }
    if result < 0 {
        // The kernel answers -1 to -4095; the cast keeps every one of them.
        #[expect(clippy::cast_possible_truncation, reason = "an errno is at most 4095")]
        return Err(Errno::from_raw(-result as i32));
    }
    Ok(usize::try_from(result).unwrap_or(usize::MAX))
}

/// What fits in a register.
pub(super) trait Argument {
    fn word(self) -> usize;
}

impl Argument for i32 {
    /// With its sign, as the kernel expects of descriptors and the like.
    fn word(self) -> usize {
        (self as isize).cast_unsigned()
    }
}

impl Argument for u32 {
    fn word(self) -> usize {
        self as usize
    }
}

impl Argument for u64 {
    #[expect(clippy::cast_possible_truncation, reason = "both architectures have 64 bits")]
    fn word(self) -> usize {
        self as usize
    }
}

impl Argument for usize {
    fn word(self) -> usize {
        self
    }
}

impl<T> Argument for *const T {
    fn word(self) -> usize {
        self.expose_provenance()
    }
}

impl<T> Argument for *mut T {
    fn word(self) -> usize {
        self.expose_provenance()
    }
}

/// A call whose arguments are numbers, or pointers to what lives until it returns.
macro_rules! call {
    ($number:expr $(, $argument:expr)* $(,)?) => {{
        let given = [$(Argument::word($argument)),*];
        let mut arguments = [0usize; 6];
        arguments[..given.len()].copy_from_slice(&given);
        // SAFETY: every pointer passed in this module comes from a reference
        // or a CStr that lives until the call returns, with the length of its
        // target, and is written through only if that is mutable.
        unsafe { $crate::sys::calls::syscall($number, arguments) }
    }};
}
pub(super) use call;

fn fd(number: usize) -> RawFd {
    RawFd::try_from(number).unwrap_or(-1)
}

pub(crate) fn open(folder: RawFd, path: &CStr, flags: i32) -> Result<RawFd> {
    call!(libc::SYS_openat, folder, path.as_ptr(), flags | libc::O_CLOEXEC, 0).map(fd)
}

pub(crate) fn close(descriptor: RawFd) {
    // Nothing can be done about an error, and Linux closes all the same.
    let _ = call!(libc::SYS_close, descriptor);
}

pub(crate) fn close_from(first: RawFd) -> Result<()> {
    call!(libc::SYS_close_range, first, u32::MAX, 0).map(drop)
}

pub(crate) fn dup_onto(from: RawFd, to: RawFd) -> Result<()> {
    call!(libc::SYS_dup3, from, to, 0).map(drop)
}

/// Moves a descriptor out of the way: to `least` or above, closed by exec.
pub(crate) fn dup_above(from: RawFd, least: RawFd) -> Result<RawFd> {
    call!(libc::SYS_fcntl, from, libc::F_DUPFD_CLOEXEC, least).map(fd)
}

pub(crate) fn read_at_start(descriptor: RawFd, buffer: &mut [u8]) -> Result<usize> {
    call!(libc::SYS_pread64, descriptor, buffer.as_mut_ptr(), buffer.len(), 0)
}

pub(crate) fn read(descriptor: RawFd, buffer: &mut [u8]) -> Result<usize> {
    call!(libc::SYS_read, descriptor, buffer.as_mut_ptr(), buffer.len())
}

pub(crate) fn write(descriptor: RawFd, bytes: &[u8]) -> Result<usize> {
    call!(libc::SYS_write, descriptor, bytes.as_ptr(), bytes.len())
}

pub(crate) fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: u64, data: &CStr) -> Result<()> {
    call!(libc::SYS_mount, source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr()).map(drop)
}

/// Shows the file `name` of the folder `from` in place of the file `path`
/// below `folder`, read-only if `from` is. No symlink is followed.
pub(crate) fn place(from: RawFd, name: &CStr, folder: RawFd, path: &CStr) -> Result<()> {
    const OPEN_TREE_CLONE: i32 = 1;
    const MOVE_MOUNT_EMPTY_PATHS: usize = 0x4 | 0x40;
    const RESOLVE_BENEATH_NO_SYMLINKS: u64 = 0x02 | 0x04 | 0x08;
    // `struct open_how`: flags, mode, resolve.
    let how = [
        libc::O_PATH as u64 | libc::O_NOFOLLOW as u64 | libc::O_CLOEXEC as u64,
        0,
        RESOLVE_BENEATH_NO_SYMLINKS,
    ];
    let target = fd(call!(libc::SYS_openat2, folder, path.as_ptr(), how.as_ptr(), size_of_val(&how))?);
    let result =
        call!(libc::SYS_open_tree, from, name.as_ptr(), OPEN_TREE_CLONE | libc::O_CLOEXEC).and_then(|tree| {
            let moved =
                call!(libc::SYS_move_mount, tree, c"".as_ptr(), target, c"".as_ptr(), MOVE_MOUNT_EMPTY_PATHS);
            close(fd(tree));
            moved
        });
    close(target);
    result.map(drop)
}

pub(crate) fn unmount(path: &CStr) -> Result<()> {
    call!(libc::SYS_umount2, path.as_ptr(), libc::MNT_DETACH).map(drop)
}

pub(crate) fn mkdir(path: &CStr, mode: u32) -> Result<()> {
    call!(libc::SYS_mkdirat, libc::AT_FDCWD, path.as_ptr(), mode).map(drop)
}

pub(crate) fn chown(path: &CStr, uid: u32, gid: u32) -> Result<()> {
    call!(libc::SYS_fchownat, libc::AT_FDCWD, path.as_ptr(), uid, gid, libc::AT_SYMLINK_NOFOLLOW).map(drop)
}

pub(crate) fn chdir(path: &CStr) -> Result<()> {
    call!(libc::SYS_chdir, path.as_ptr()).map(drop)
}

pub(crate) fn umask(mask: u32) {
    let _ = call!(libc::SYS_umask, mask);
}

pub(crate) fn set_namespace(descriptor: RawFd, kind: i32) -> Result<()> {
    call!(libc::SYS_setns, descriptor, kind).map(drop)
}

pub(crate) fn new_session() {
    // Fails only for a process that leads a group already.
    let _ = call!(libc::SYS_setsid);
}

pub(crate) fn own_group() {
    // Fails only for the leader of a session, which has one already.
    let _ = call!(libc::SYS_setpgid, 0, 0);
}

pub(crate) fn set_controlling_terminal(descriptor: RawFd) -> Result<()> {
    call!(libc::SYS_ioctl, descriptor, libc::TIOCSCTTY, 0).map(drop)
}

/// Brings up the interface `lo` through any socket.
pub(crate) fn loopback_up() -> Result<()> {
    let socket = fd(call!(libc::SYS_socket, libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)?);
    const IFF_UP: u16 = 1;
    // `struct ifreq`: 16 bytes of name, then a union that starts with the flags.
    let mut request = [0u8; 40];
    request[..2].copy_from_slice(b"lo");
    let [low, high] = IFF_UP.to_ne_bytes();
    request[16] = low;
    request[17] = high;
    let result = call!(libc::SYS_ioctl, socket, libc::SIOCSIFFLAGS, request.as_ptr());
    close(socket);
    result.map(drop)
}

pub(crate) fn set_limit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = [soft, hard];
    call!(libc::SYS_prlimit64, 0, resource, limit.as_ptr(), 0).map(drop)
}

pub(crate) fn set_ids(uid: u32, gid: u32) -> Result<()> {
    call!(libc::SYS_setresgid, gid, gid, gid)?;
    call!(libc::SYS_setresuid, uid, uid, uid).map(drop)
}

/// Gives up every capability of this task.
pub(crate) fn drop_capabilities() -> Result<()> {
    // `_LINUX_CAPABILITY_VERSION_3`, this task; then effective, permitted and
    // inheritable, twice 32 bits each.
    let header = [0x2008_0522u32, 0];
    let nothing = [0u32; 6];
    call!(libc::SYS_capset, header.as_ptr(), nothing.as_ptr())?;
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as usize)
}

/// `prctl` for the operations whose arguments are numbers.
pub(crate) fn prctl(operation: i32, argument: usize) -> Result<()> {
    debug_assert!(operation != libc::PR_SET_SECCOMP, "takes a pointer");
    call!(libc::SYS_prctl, operation, argument, 0, 0, 0).map(drop)
}

/// One instruction of classic BPF, as the kernel reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) value: u32,
}

/// Installs a seccomp filter on this task; with `listen`, returns the
/// descriptor on which refused calls are heard.
pub(crate) fn install_filter(program: &[Instruction], listen: bool) -> Result<RawFd> {
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const Instruction,
    }
    let Ok(length) = u16::try_from(program.len()) else {
        return Err(Errno::E2BIG);
    };
    let program = Program { length, instructions: program.as_ptr() };
    let flags = if listen { libc::SECCOMP_FILTER_FLAG_NEW_LISTENER } else { 0 };
    call!(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program).map(fd)
}

/// The number of the call that a strict filter has stopped.
pub(crate) fn refused_call(listener: RawFd) -> Result<i32> {
    // `struct seccomp_notif` is 80 bytes: id, pid, flags, then seccomp_data,
    // which starts with the call's number.
    let mut notice = [0u64; 10];
    call!(libc::SYS_ioctl, listener, libc::SECCOMP_IOCTL_NOTIF_RECV, notice.as_mut_ptr())?;
    let bytes = notice[2].to_ne_bytes();
    Ok(i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// The version of Landlock that the kernel has; 0 for none, or for the first,
/// which forbids every rename from one folder to another.
pub(crate) fn landlock_version() -> usize {
    call!(libc::SYS_landlock_create_ruleset, 0, 0, 1).ok().filter(|version| *version >= 2).unwrap_or(0)
}

/// A ruleset that handles these accesses to files and TCP ports, and scopes.
pub(crate) fn landlock_ruleset(attributes: [u64; 3], length: usize) -> Result<RawFd> {
    debug_assert!(length <= size_of_val(&attributes));
    call!(libc::SYS_landlock_create_ruleset, attributes.as_ptr(), length, 0).map(fd)
}

/// Allows `access` below the folder or on the file behind `beneath`.
pub(crate) fn landlock_allow(ruleset: RawFd, beneath: RawFd, access: u64) -> Result<()> {
    #[repr(C, packed)]
    struct PathBeneath {
        access: u64,
        parent: i32,
    }
    const LANDLOCK_RULE_PATH_BENEATH: usize = 1;
    let rule = PathBeneath { access, parent: beneath };
    call!(libc::SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &raw const rule, 0).map(drop)
}

pub(crate) fn landlock_enter(ruleset: RawFd) -> Result<()> {
    call!(libc::SYS_landlock_restrict_self, ruleset, 0).map(drop)
}

/// What the kernel says of an ended child.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ended {
    pub(crate) pid: i32,
    pub(crate) status: i32,
    pub(crate) user_ns: u64,
    pub(crate) system_ns: u64,
    pub(crate) max_rss: u64,
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
}

/// Waits for a child; `pid` and `options` as for `wait4`. `None` if there is
/// none yet (`WNOHANG`).
pub(crate) fn wait(pid: i32, options: i32) -> Result<Option<Ended>> {
    loop {
        let mut status = 0i32;
        // `struct rusage` of a 64-bit kernel: two timevals and 14 longs.
        let mut usage = [0u64; 18];
        match call!(libc::SYS_wait4, pid, &raw mut status, options, usage.as_mut_ptr()) {
            Ok(0) => return Ok(None),
            Ok(pid) => {
                let time = |at: usize| {
                    usage[at].wrapping_mul(1_000_000_000).wrapping_add(usage[at + 1].wrapping_mul(1000))
                };
                return Ok(Some(Ended {
                    pid: fd(pid),
                    status,
                    user_ns: time(0),
                    system_ns: time(2),
                    max_rss: usage[4].wrapping_mul(1024),
                    voluntary: usage[16],
                    involuntary: usage[17],
                }));
            }
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

pub(crate) fn kill(pid: i32, signal: i32) -> Result<()> {
    call!(libc::SYS_kill, pid, signal).map(drop)
}

/// Ends this process: not the zygote whose memory a cell shares.
pub(crate) fn exit(code: i32) -> ! {
    loop {
        let _ = call!(libc::SYS_exit_group, code);
    }
}

/// Nanoseconds of a clock such as `CLOCK_MONOTONIC`.
pub(crate) fn clock(clock: libc::clockid_t) -> u64 {
    let mut time = [0u64; 2];
    let _ = call!(libc::SYS_clock_gettime, clock, time.as_mut_ptr());
    time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1])
}

pub(crate) fn timer() -> Result<RawFd> {
    call!(libc::SYS_timerfd_create, libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK).map(fd)
}

/// Lets the timer fire at an instant of `CLOCK_MONOTONIC`; 0 disarms it.
pub(crate) fn set_timer(timer: RawFd, at_ns: u64) {
    let setting = [0, 0, at_ns / 1_000_000_000, at_ns % 1_000_000_000];
    let _ = call!(libc::SYS_timerfd_settime, timer, libc::TFD_TIMER_ABSTIME, setting.as_ptr(), 0);
}

/// How full a file system is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Space {
    pub(crate) bytes_used: u64,
    pub(crate) bytes_free: u64,
    pub(crate) files_used: u64,
    pub(crate) files_free: u64,
}

pub(crate) fn space(descriptor: RawFd) -> Result<Space> {
    // `struct statfs` of a 64-bit kernel: type, block size, blocks, free,
    // available, files, free files, …: 15 longs.
    let mut stat = [0u64; 15];
    call!(libc::SYS_fstatfs, descriptor, stat.as_mut_ptr())?;
    let block = stat[1];
    Ok(Space {
        bytes_used: stat[2].wrapping_sub(stat[3]).wrapping_mul(block),
        bytes_free: stat[3].wrapping_mul(block),
        files_used: stat[5].wrapping_sub(stat[6]),
        files_free: stat[6],
    })
}

/// Runs a program in place of this one; returns only if that fails.
///
/// `arguments` and `environment` are tables of pointers that [`Arena`](super::Arena)
/// made, each ended by a null.
pub(super) fn execute(program: &CStr, arguments: *const usize, environment: *const usize) -> Errno {
    match call!(libc::SYS_execve, program.as_ptr(), arguments, environment) {
        Ok(_) => Errno::ENOEXEC,
        Err(error) => error,
    }
}

pub(crate) fn sleep_ns(duration: u64) {
    let time = [duration / 1_000_000_000, duration % 1_000_000_000];
    let _ = call!(libc::SYS_nanosleep, time.as_ptr(), 0);
}

/// A counter that other descriptors' events add to; never blocks.
pub(crate) fn event_counter() -> Result<RawFd> {
    call!(libc::SYS_eventfd2, 0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK).map(fd)
}

/// A descriptor that becomes readable when the process ends.
pub(crate) fn process_descriptor(pid: i32) -> Result<OwnedFd> {
    let descriptor = fd(call!(libc::SYS_pidfd_open, pid, 0)?);
    // SAFETY: the kernel just made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// A descriptor received from elsewhere, or kept open for the life of the process.
pub(crate) fn borrow(descriptor: RawFd) -> BorrowedFd<'static> {
    debug_assert!(descriptor >= 0);
    // SAFETY: callers pass descriptors that the zygote keeps open for its
    // life, or at least until the call in which the borrow is used returns.
    unsafe { BorrowedFd::borrow_raw(descriptor) }
}

/// Takes over a descriptor that came with a message.
pub(crate) fn own(descriptor: RawFd) -> Option<OwnedFd> {
    // SAFETY: callers pass what `receive` has just put into their table, once.
    (descriptor >= 0).then(|| unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Lets a signal do again what it does by default.
pub(crate) fn default_action(signal: nix::sys::signal::Signal) {
    // SAFETY: the default action runs no code of this process.
    let _ = unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) };
}

/// Sets a terminal's rows, columns and two sizes in pixels.
pub(crate) fn set_window_size(terminal: RawFd, size: [u16; 4]) -> Result<()> {
    call!(libc::SYS_ioctl, terminal, libc::TIOCSWINSZ, size.as_ptr()).map(drop)
}
