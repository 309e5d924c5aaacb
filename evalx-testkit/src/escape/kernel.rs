//! Class 6: system calls that widen the surface of the kernel.

use evalx_core::{Isolation, Signal};

use super::{Attack, Class, End};
use crate::Need;

const GUARDED: &[Need] = &[Need::Isolation(Isolation::Syscalls)];

const fn attack(name: &'static str, arguments: &'static [&'static str]) -> Attack {
    Attack::new(Class::Kernel, name, arguments).needing(GUARDED)
}

/// The attack is named as the call.
macro_rules! calls {
    ($($name:literal)*) => { [$(attack($name, &["call", $name])),*] };
}

macro_rules! table {
    ($count:literal calls: $calls:expr, others: $($other:expr),* $(,)?) => {{
        const CALLS: [Attack; $count] = $calls;
        const OTHERS: &[Attack] = &[$($other),*];
        const ALL: [Attack; $count + OTHERS.len()] = {
            let mut all = [CALLS[0]; $count + OTHERS.len()];
            let mut at = 0;
            while at < all.len() {
                all[at] = if at < $count { CALLS[at] } else { OTHERS[at - $count] };
                at += 1;
            }
            all
        };
        &ALL
    }};
}

/// The table.
pub(crate) const ATTACKS: &[Attack] = table!(39
    calls: calls!(
        "bpf" "perf_event_open" "io_uring_setup" "io_setup" "add_key" "keyctl" "keyctl_join" "keyctl_user" "request_key"
        "userfaultfd" "kexec_load" "kexec_file_load" "init_module" "finit_module" "delete_module" "reboot"
        "acct" "quotactl" "swapon" "swapoff" "nfsservctl" "sethostname" "setdomainname" "vhangup" "syslog"
        "fanotify_init" "ptrace_attach_init" "ptrace_seize_init" "kcmp_init" "migrate_pages_init"
        "lookup_dcookie" "iopl" "ioperm" "clock_settime" "settimeofday" "adjtimex" "process_vm_readv_init"
        "process_vm_writev_init" "pidfd_getfd_init"
    ),
    others:
    attack("unshare_user", &["unshare", "user"]),
    attack("unshare_mount", &["unshare", "mount"]),
    attack("unshare_net", &["unshare", "net"]),
    attack("unshare_pid", &["unshare", "pid"]),
    attack("unshare_ipc", &["unshare", "ipc"]),
    attack("unshare_uts", &["unshare", "uts"]),
    attack("unshare_cgroup", &["unshare", "cgroup"]),
    attack("unshare_time", &["unshare", "time"]),
    attack("clone_user", &["clone-namespace", "user"]),
    attack("clone_mount", &["clone-namespace", "mount"]),
    attack("clone_net", &["clone-namespace", "net"]),
    attack("clone_pid", &["clone-namespace", "pid"]),
    attack("clone3_user", &["clone3-namespace", "user"]),
    attack("clone3_net", &["clone3-namespace", "net"]),
    attack("clone3_into_another_group", &["clone3-group"]),
    attack("setns_own", &["join-namespace", "/proc/self/ns/uts"]),
    attack("setns_init", &["join-namespace", "/proc/1/ns/mnt"]),
    attack("uid_map", &["write-maps"]),
    attack("filter_loosened", &["loosen-filter"]),
    attack("i386_calls", &["i386-call"]).ends(&[End::Held, End::Signal(Signal::SYS), End::Signal(Signal::SEGV)])
        .needing(&[Need::Isolation(Isolation::Syscalls), Need::X86]),
    attack("x32_calls", &["x32-call"]).ends(&[End::Held, End::Signal(Signal::SYS)])
        .needing(&[Need::Isolation(Isolation::Syscalls), Need::X86]),
    attack("calls_of_the_future", &["unknown-calls"]).ends(&[End::Held, End::Signal(Signal::SYS)]),
    attack("keys_typed_into_the_terminal", &["terminal-input"]),
    attack("keys_typed_with_a_high_bit", &["terminal-input-high"]),
    attack("core_dumps", &["core-limit"]),
    attack("socket_packet", &["socket", "17", "3"]),
    attack("socket_netlink", &["socket", "16", "3"]),
    attack("socket_vsock", &["socket", "40", "1"]),
    attack("socket_alg", &["socket", "38", "5"]),
    attack("socket_bluetooth", &["socket", "31", "3"]),
    attack("socket_can", &["socket", "29", "3", "1"]),
    attack("socket_tipc", &["socket", "30", "2"]),
    attack("socket_xdp", &["socket", "44", "3"]),
    attack("socket_key", &["socket", "15", "3", "2"]),
    attack("socket_rds", &["socket", "21", "5"]),
    attack("socket_smc", &["socket", "43", "1"]),
    attack("socket_nfc", &["socket", "39", "5"]),
    attack("socket_qipcrtr", &["socket", "42", "2"]),
);
