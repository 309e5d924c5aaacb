/* Class 5 and 6: mounts, roots, namespaces and file handles. */
#include "probe.h"
#include <linux/mount.h>
#include <sched.h>

#ifndef MS_RDONLY
#define MS_RDONLY 1
#endif
#define OLD_BIND 4096
#define OLD_REMOUNT 32

static long old_mount(const char *from, const char *to, const char *kind, unsigned long flags) {
    return syscall(SYS_mount, from, to, kind, flags, NULL);
}

static int mount_kind(int argc, char **argv) {
    const char *kind = text(argc, argv, 1, "tmpfs");
    mkdir("/box/at", 0755);
    if (strcmp(kind, "bind") == 0) return must_be_refused(old_mount("/", "/box/at", NULL, OLD_BIND), "a bind mount");
    if (strcmp(kind, "remount") == 0) {
        long changed = old_mount(NULL, "/", NULL, OLD_REMOUNT | OLD_BIND);
        return must_be_refused(changed, "remounting / for writing");
    }
    return must_be_refused(old_mount("none", "/box/at", kind, 0), kind);
}

static int unmount(int argc, char **argv) {
    const char *path = text(argc, argv, 1, "/proc");
    return must_be_refused(syscall(SYS_umount2, path, 2 /* MNT_DETACH */), "umount");
}

static int pivot(int argc, char **argv) {
    (void)argc, (void)argv;
    mkdir("/box/new", 0755);
    return must_be_refused(syscall(SYS_pivot_root, "/box", "/box/new"), "pivot_root");
}

/* The old way out: chroot below, then climb above it. */
static int chroot_escape(int argc, char **argv) {
    (void)argc, (void)argv;
    mkdir("/box/jail", 0755);
    return must_be_refused(chroot("/box/jail"), "chroot");
}

/* The calls of the new mount interface; each is refused as a whole. */
static int new_mount_calls(int argc, char **argv) {
    const char *call = text(argc, argv, 1, "fsopen");
    struct {
        uint64_t set, clear, propagation, userns;
    } attributes = {0, MS_RDONLY, 0, 0};
    if (strcmp(call, "fsopen") == 0) return must_be_refused(syscall(SYS_fsopen, "tmpfs", 0), call);
    if (strcmp(call, "open_tree") == 0)
        return must_be_refused(syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE), call);
    if (strcmp(call, "move_mount") == 0) {
        int from = open("/box", O_PATH);
        return must_be_refused(syscall(SYS_move_mount, from, "", AT_FDCWD, "/tmp", MOVE_MOUNT_F_EMPTY_PATH), call);
    }
    if (strcmp(call, "fspick") == 0) return must_be_refused(syscall(SYS_fspick, AT_FDCWD, "/", 0), call);
    return must_be_refused(syscall(442 /* mount_setattr */, AT_FDCWD, "/", 0, &attributes, sizeof attributes), call);
}

/* A handle of inode 2 is the root of most disks, whatever root we see. */
static int file_handle(int argc, char **argv) {
    struct {
        unsigned int size;
        int kind;
        uint64_t inode;
    } handle = {8, 1, 2};
    (void)argc, (void)argv;
    int at = open("/etc", O_RDONLY | O_DIRECTORY);
    if (at < 0) at = open("/", O_RDONLY | O_DIRECTORY);
    return must_be_refused(syscall(SYS_open_by_handle_at, at, &handle, O_RDONLY), "open_by_handle_at");
}

static unsigned long namespace_flag(const char *name) {
    static const struct {
        const char *name;
        unsigned long flag;
    } flags[] = {{"user", CLONE_NEWUSER}, {"mount", CLONE_NEWNS}, {"net", CLONE_NEWNET},       {"pid", CLONE_NEWPID},
                 {"ipc", CLONE_NEWIPC},   {"uts", CLONE_NEWUTS},  {"cgroup", CLONE_NEWCGROUP}, {"time", 0x80}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (strcmp(flags[i].name, name) == 0) return flags[i].flag;
    return CLONE_NEWUSER;
}

static int unshare_namespace(int argc, char **argv) {
    const char *name = text(argc, argv, 1, "user");
    return must_be_refused(syscall(SYS_unshare, namespace_flag(name)), "unshare");
}

/* clone-namespace KIND: by clone; 0x80 can't be given that way. */
static int clone_namespace(int argc, char **argv) {
    unsigned long flag = namespace_flag(text(argc, argv, 1, "user"));
    long pid = syscall(SYS_clone, flag | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0) _exit(0);
    return must_be_refused(pid, "clone with a namespace flag");
}

static int clone3_namespace(int argc, char **argv) {
    uint64_t args[11] = {namespace_flag(text(argc, argv, 1, "user")), 0, 0, 0, SIGCHLD};
    long pid = syscall(435 /* clone3 */, args, sizeof args);
    if (pid == 0) _exit(0);
    return must_be_refused(pid, "clone3 with a namespace flag");
}

/* clone3-into-group: the control group of the child would be the caller's choice. */
static int clone3_group(int argc, char **argv) {
    int fd = open("/sys/fs/cgroup", O_RDONLY | O_DIRECTORY);
    uint64_t args[11] = {0x200000000ULL, 0, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, (uint64_t)fd};
    (void)argc, (void)argv;
    long pid = syscall(435, args, sizeof args);
    if (pid == 0) _exit(0);
    return must_fail(pid, "clone3 into another control group");
}

static int join_namespace(int argc, char **argv) {
    const char *path = text(argc, argv, 1, "/proc/self/ns/uts");
    int fd = open(path, O_RDONLY);
    if (fd < 0) return HELD;
    return must_be_refused(syscall(SYS_setns, fd, 0), path);
}

static int write_maps(int argc, char **argv) {
    const char *files[] = {"/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups"};
    (void)argc, (void)argv;
    for (int i = 0; i < 3; i++) {
        int fd = open(files[i], O_WRONLY);
        const char *line = i == 2 ? "allow" : "0 0 1\n";
        if (fd >= 0 && write(fd, line, strlen(line)) > 0 && i < 2) return escaped("%s was written", files[i]);
    }
    return HELD;
}

const struct probe mount_probes[] = {
    {"mount", mount_kind},
    {"unmount", unmount},
    {"pivot", pivot},
    {"chroot", chroot_escape},
    {"new-mount", new_mount_calls},
    {"file-handle", file_handle},
    {"unshare", unshare_namespace},
    {"clone-namespace", clone_namespace},
    {"clone3-namespace", clone3_namespace},
    {"clone3-group", clone3_group},
    {"join-namespace", join_namespace},
    {"write-maps", write_maps},
    {0},
};
