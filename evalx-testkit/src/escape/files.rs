//! Class 5: reading and changing files that are not the session's.

use evalx_core::Isolation;

use super::{Attack, Class};
use crate::Need;

const APART: &[Need] = &[Need::Isolation(Isolation::Files)];
const GUARDED: &[Need] = &[Need::Isolation(Isolation::Syscalls)];

const fn attack(name: &'static str, arguments: &'static [&'static str]) -> Attack {
    Attack::new(Class::Files, name, arguments).needing(APART)
}

const fn call(name: &'static str, arguments: &'static [&'static str]) -> Attack {
    Attack::new(Class::Files, name, arguments).needing(GUARDED)
}

/// The table.
pub(crate) const ATTACKS: &[Attack] = &[
    attack("shadow", &["unreadable", "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/sudoers"]),
    attack("homes", &["unlistable", "/root", "/home"]),
    attack(
        "keys_of_the_host",
        &["unlistable", "/root/.ssh", "/etc/ssl/private", "/etc/ssh", "/etc/kubernetes"],
    ),
    attack(
        "secrets_of_the_container",
        &["unlistable", "/run/secrets", "/var/run/secrets", "/run/credentials"],
    ),
    attack("logs_of_the_host", &["unlistable", "/var/log", "/var/spool", "/var/mail"]),
    attack("init_environment", &["unreadable", "/proc/1/environ"]),
    attack("init_memory", &["unopenable", "/proc/1/mem", "/proc/1/pagemap"]),
    attack("init_root", &["unlistable", "/proc/1/root", "/proc/1/cwd", "/proc/1/fd", "/proc/1/map_files"]),
    attack("own_program_overwritten", &["overwrite-self"]),
    attack(
        "kernel_settings",
        &[
            "unwritable",
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/hostname",
            "/proc/sys/kernel/modprobe",
            "/proc/sys/vm/drop_caches",
            "/proc/sys/vm/overcommit_memory",
            "/proc/sys/net/ipv4/ip_forward",
            "/proc/sys/fs/binfmt_misc/register",
            "/proc/sys/kernel/randomize_va_space",
        ],
    ),
    attack("sysrq", &["unwritable", "/proc/sysrq-trigger"]),
    attack("kernel_memory_in_proc", &["unopenable", "/proc/kcore", "/proc/kmsg", "/proc/kpagecount"]),
    attack(
        "kernel_tables_in_proc",
        &["unreadable", "/proc/slabinfo", "/proc/vmallocinfo", "/proc/timer_list"],
    ),
    attack("kernel_addresses", &["kernel-addresses"]),
    attack(
        "sys_of_the_host",
        &[
            "unwritable",
            "/sys/kernel/uevent_helper",
            "/sys/power/state",
            "/sys/kernel/mm/transparent_hugepage/enabled",
            "/sys/module/kernel/parameters/panic",
            "/sys/class/net/lo/mtu",
        ],
    ),
    attack("debug_and_trace", &["unlistable", "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/fs/bpf"]),
    attack("own_control_groups", &["own-groups"]),
    attack(
        "block_devices",
        &["unopenable", "/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/xvda", "/dev/dm-0"],
    ),
    attack("memory_devices", &["unopenable", "/dev/mem", "/dev/kmem", "/dev/port"]),
    attack("kernel_log_device", &["unopenable", "/dev/kmsg"]),
    attack("virtual_machine_devices", &["unopenable", "/dev/kvm", "/dev/vhost-net", "/dev/vhost-vsock"]),
    attack("file_system_device", &["unopenable", "/dev/fuse", "/dev/cuse"]),
    attack("network_device", &["unopenable", "/dev/net/tun", "/dev/net/tap"]),
    attack(
        "loop_devices",
        &["unopenable", "/dev/loop-control", "/dev/loop0", "/dev/mapper/control", "/dev/nbd0"],
    ),
    attack("consoles", &["unopenable", "/dev/console", "/dev/tty0", "/dev/tty1", "/dev/ttyS0", "/dev/vcs"]),
    attack("fault_device", &["unopenable", "/dev/userfaultfd"]),
    attack(
        "input_and_graphics",
        &["unopenable", "/dev/uinput", "/dev/input/event0", "/dev/dri/card0", "/dev/fb0"],
    ),
    attack("every_other_device", &["devices"]),
    attack("devices_of_its_own", &["make-device"]),
    attack("above_the_root", &["climb"]),
    attack(
        "system_files_overwritten",
        &[
            "unwritable",
            "/etc/passwd",
            "/etc/ld.so.cache",
            "/etc/resolv.conf",
            "/bin/sh",
            "/usr/bin/env",
            "/lib64/ld-linux-x86-64.so.2",
            "/usr/bin/gcc",
        ],
    ),
    attack("foreign_files_hard_linked", &["link-foreign"]),
    call("mount_tmpfs", &["mount", "tmpfs"]),
    call("mount_proc", &["mount", "proc"]),
    call("mount_sysfs", &["mount", "sysfs"]),
    call("mount_overlay", &["mount", "overlay"]),
    call("mount_bind", &["mount", "bind"]),
    call("remount_root", &["mount", "remount"]),
    call("unmount_proc", &["unmount", "/proc"]),
    call("unmount_work_folder", &["unmount", "/box"]),
    call("pivot_root", &["pivot"]),
    call("chroot", &["chroot"]),
    call("fsopen", &["new-mount", "fsopen"]),
    call("open_tree", &["new-mount", "open_tree"]),
    call("move_mount", &["new-mount", "move_mount"]),
    call("fspick", &["new-mount", "fspick"]),
    call("mount_setattr", &["new-mount", "mount_setattr"]),
    call("file_handle_of_the_disk", &["file-handle"]),
    call("becomes_root", &["set-ids"]),
    call("capabilities", &["capabilities"]),
    call("no_new_privileges", &["no-new-privileges"]),
    call("set_uid_program", &["set-uid-file"]),
    call("file_capabilities", &["file-capabilities"]),
    call("file_given_away", &["give-away"]),
    call("file_made_immutable", &["immutable"]),
];
