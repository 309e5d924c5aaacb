//! The profile of system calls that a container is under: what it does not
//! name is refused.
//!
//! The agent needs a few calls more than programs, to make namespaces and
//! mounts in its own user namespace; it refuses them to every program.

use serde_json::{Value, json};

/// What a program that computes, starts processes and threads, and talks to
/// itself needs.
const ALLOWED: &str = "
    accept accept4 access alarm arch_prctl bind brk capget capset chdir chmod chown clock_getres
    clock_gettime clock_nanosleep close close_range connect copy_file_range creat dup dup2 dup3
    epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 execve
    execveat exit exit_group faccessat faccessat2 fadvise64 fallocate fchdir fchmod fchmodat
    fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr
    fstat fstatfs fsync ftruncate futex futex_requeue futex_wait futex_waitv futex_wake
    futimesat get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid geteuid
    getgid getgroups getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom
    getresgid getresuid getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid
    getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioctl ioprio_get ioprio_set kill
    landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat
    listen listxattr llistxattr lremovexattr lseek lstat madvise map_shadow_stack membarrier
    memfd_create mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mprotect
    mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap mseal msgctl msgget
    msgrcv msgsnd msync munlock munlockall munmap nanosleep newfstatat open openat openat2 pause
    pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll prctl
    pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pwrite64 pwritev pwritev2 read
    readahead readlink readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages removexattr rename
    renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask
    rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
    sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam
    sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop sendfile sendmmsg
    sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid setgroups
    setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid setsockopt
    setuid shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4
    splice stat statfs statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill
    time timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create
    timerfd_gettime timerfd_settime times tkill truncate umask uname unlink unlinkat utime utimensat
    utimes vfork vmsplice wait4 waitid waitpid write writev
    get_mempolicy mbind set_mempolicy set_mempolicy_home_node
";

/// What the agent needs besides.
const FOR_THE_AGENT: &str = "mount setns sethostname umount2 unshare";

/// The families of sockets there are: Unix and the two of the Internet, which
/// without a network lead nowhere.
const FAMILIES: [u64; 3] = [1, 2, 10];

/// Every flag of `clone` that makes a namespace.
const NAMESPACES: u64 = 0x7E02_0000;

/// The personalities of Linux itself, and the question which one it is.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

fn allow(names: &str) -> Value {
    json!({ "names": names.split_whitespace().collect::<Vec<_>>(), "action": "SCMP_ACT_ALLOW" })
}

fn allow_if(name: &str, value: u64) -> Value {
    let condition = json!({ "index": 0, "value": value, "op": "SCMP_CMP_EQ" });
    json!({ "names": [name], "action": "SCMP_ACT_ALLOW", "args": [condition] })
}

/// The profile as engines read it.
pub(crate) fn profile(with_agent: bool) -> String {
    let mut calls = vec![allow(ALLOWED)];
    // The agent decides for each program whether it may make Internet sockets.
    let families = if with_agent { &FAMILIES[..] } else { &FAMILIES[..1] };
    for family in families {
        calls.push(allow_if("socket", *family));
    }
    calls.push(allow_if("socketpair", FAMILIES[0]));
    for personality in PERSONALITIES {
        calls.push(allow_if("personality", personality));
    }
    let flags = json!({ "index": 0, "value": NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" });
    calls.push(json!({ "names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [flags] }));
    // Its flags are out of a filter's sight; without it, programs use `clone`.
    calls.push(json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }));
    // What an access list takes is the kernel's memory, and counts as nobody's.
    let keeping = ["setxattr", "lsetxattr", "fsetxattr", "setxattrat"];
    calls.push(json!({ "names": keeping, "action": "SCMP_ACT_ERRNO", "errnoRet": 95 }));
    if with_agent {
        calls.push(allow(FOR_THE_AGENT));
    }
    json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": calls }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_agent_may_mount() {
        for (with_agent, mounts) in [(true, true), (false, false)] {
            let profile: Value = serde_json::from_str(&profile(with_agent)).unwrap();
            let allowed = profile["syscalls"].as_array().unwrap().iter().any(|rule| {
                rule["action"] == "SCMP_ACT_ALLOW"
                    && rule["names"].as_array().unwrap().iter().any(|name| name == "mount")
            });
            assert_eq!(allowed, mounts);
        }
    }

    #[test]
    fn what_widens_the_kernel_is_not_named() {
        let allowed: Vec<&str> = ALLOWED.split_whitespace().chain(FOR_THE_AGENT.split_whitespace()).collect();
        for call in [
            "bpf",
            "keyctl",
            "add_key",
            "ptrace",
            "io_uring_setup",
            "io_setup",
            "perf_event_open",
            "userfaultfd",
            "kexec_load",
            "init_module",
            "open_by_handle_at",
            "process_vm_readv",
            "pivot_root",
            "chroot",
            "reboot",
            "syslog",
        ] {
            assert!(!allowed.contains(&call), "{call} is allowed");
        }
    }
}
