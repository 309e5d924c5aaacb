/* Class 5: reading and changing files that are not the session's. */
#include "probe.h"
#include <dirent.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <linux/capability.h>
#include <linux/fs.h>

static int is_path(int argc, char **argv, int i) { return i < argc && argv[i][0] == '/'; }

/* unreadable PATH...: none of them gives a byte. */
static int unreadable(int argc, char **argv) {
    for (int i = 1; is_path(argc, argv, i); i++) {
        char byte;
        int fd = open(argv[i], O_RDONLY | O_NONBLOCK);
        if (fd < 0) continue;
        if (read(fd, &byte, 1) > 0) return escaped("%s can be read", argv[i]);
        close(fd);
    }
    return HELD;
}

/* unlistable FOLDER...: none of them shows an entry. */
static int unlistable(int argc, char **argv) {
    for (int i = 1; is_path(argc, argv, i); i++) {
        DIR *folder = opendir(argv[i]);
        if (!folder) continue;
        for (struct dirent *entry; (entry = readdir(folder));)
            if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                return escaped("%s shows %s", argv[i], entry->d_name);
        closedir(folder);
    }
    return HELD;
}

/* unopenable PATH...: none can be opened, in any mode. */
static int unopenable(int argc, char **argv) {
    for (int i = 1; is_path(argc, argv, i); i++) {
        const int modes[] = {O_RDWR, O_WRONLY, O_RDONLY};
        for (int m = 0; m < 3; m++)
            if (open(argv[i], modes[m] | O_NONBLOCK | O_NOCTTY) >= 0) return escaped("%s was opened", argv[i]);
    }
    return HELD;
}

/* unwritable PATH...: none can be opened for writing. Nothing is written. */
static int unwritable(int argc, char **argv) {
    for (int i = 1; is_path(argc, argv, i); i++)
        if (open(argv[i], O_WRONLY | O_NONBLOCK | O_NOCTTY) >= 0)
            return escaped("%s can be opened for writing", argv[i]);
    return HELD;
}

/* own-groups: the control groups the program is in can't be changed by it. */
static int own_groups(int argc, char **argv) {
    char line[4096];
    FILE *list = fopen("/proc/self/cgroup", "r");
    (void)argc, (void)argv;
    if (!list) return HELD;
    while (fgets(line, sizeof line, list)) {
        char *kind = strchr(line, ':'), *path = kind ? strchr(kind + 1, ':') : NULL;
        if (!path) continue;
        *path++ = 0;
        kind++;
        path[strcspn(path, "\n")] = 0;
        const char *roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
        const char *names[] = {"cgroup.procs", "memory.max", "memory.limit_in_bytes", "pids.max", "tasks",
                               "cpu.max", "cgroup.kill"};
        for (int r = 0; r < 3; r++)
            for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
                char file[9000];
                if (r < 2) snprintf(file, sizeof file, "%s%s/%s", roots[r], path, names[n]);
                else snprintf(file, sizeof file, "/sys/fs/cgroup/%s%s/%s", kind, path, names[n]);
                if (open(file, O_WRONLY) >= 0) return escaped("%s can be written", file);
            }
    }
    return mkdir("/sys/fs/cgroup/evalx-probe", 0700) == 0 ? escaped("a control group was made") : HELD;
}

/* Only the harmless devices may be in /dev. */
static int devices(int argc, char **argv) {
    DIR *folder = opendir("/dev");
    (void)argc, (void)argv;
    if (!folder) return HELD;
    for (struct dirent *entry; (entry = readdir(folder));) {
        struct stat status;
        char path[300];
        snprintf(path, sizeof path, "/dev/%s", entry->d_name);
        if (stat(path, &status) < 0) continue;
        if (S_ISBLK(status.st_mode)) return escaped("%s is a block device", path);
        if (!S_ISCHR(status.st_mode)) continue;
        unsigned kind = major(status.st_rdev), which = minor(status.st_rdev);
        int harmless = (kind == 1 && (which == 3 || which == 5 || which == 7 || which == 8 || which == 9)) ||
                       (kind == 5 && (which == 0 || which == 2)) || (kind >= 136 && kind <= 143);
        if (!harmless && open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY) >= 0)
            return escaped("%s (%u:%u) was opened", path, kind, which);
    }
    return HELD;
}

static int make_device(int argc, char **argv) {
    const char *places[] = {"/box/device", "/tmp/device", "/dev/shm/device"};
    (void)argc, (void)argv;
    for (int i = 0; i < 3; i++) {
        if (mknod(places[i], S_IFCHR | 0666, makedev(1, 1)) == 0) return escaped("%s is /dev/mem", places[i]);
        if (mknod(places[i], S_IFBLK | 0666, makedev(8, 0)) == 0) return escaped("%s is a disk", places[i]);
    }
    return HELD;
}

static int overwrite_self(int argc, char **argv) {
    (void)argc, (void)argv;
    if (open("/proc/self/exe", O_WRONLY) >= 0) return escaped("/proc/self/exe can be written");
    if (open("/proc/1/exe", O_WRONLY) >= 0) return escaped("/proc/1/exe can be written");
    if (open("/proc/1/exe", O_RDONLY) >= 0) return escaped("/proc/1/exe can be read");
    return HELD;
}

/* climb: no number of `..` leads above the root. */
static int climb(int argc, char **argv) {
    struct stat root, up;
    (void)argc, (void)argv;
    int fd = open("/", O_PATH);
    if (stat("/", &root) < 0 || fd < 0) return setup_failed("/");
    for (int i = 0; i < 64; i++) {
        int next = openat(fd, "..", O_PATH);
        if (next < 0) return HELD;
        close(fd);
        fd = next;
    }
    fstat(fd, &up);
    if (up.st_ino != root.st_ino || up.st_dev != root.st_dev) return escaped("`..` led above the root");
    if (stat("/proc/self/root/../../..", &up) == 0 && up.st_ino != root.st_ino)
        return escaped("/proc/self/root led above the root");
    if (stat("/proc/self/cwd/../../../../..", &up) == 0 && up.st_ino != root.st_ino)
        return escaped("/proc/self/cwd led above the root");
    return HELD;
}

static int set_ids(int argc, char **argv) {
    (void)argc, (void)argv;
    uid_t before = geteuid();
    gid_t none = 0;
    if (before != 0 && (setuid(0) == 0 || setreuid(0, 0) == 0 || setresuid(0, 0, 0) == 0))
        return escaped("the program became root");
    if (getegid() != 0 && (setgid(0) == 0 || setresgid(0, 0, 0) == 0)) return escaped("the group became root");
    if (syscall(SYS_setgroups, 1, &none) == 0) return escaped("groups were set");
    if (syscall(SYS_setfsuid, 0) != (long)before || syscall(SYS_setfsuid, -1) == 0)
        return before == 0 ? HELD : escaped("the file uid became root");
    return HELD;
}

static int capabilities(int argc, char **argv) {
    char line[256];
    (void)argc, (void)argv;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status)) {
        unsigned long long bits;
        char name[32];
        if (sscanf(line, "%31[A-Za-z]:%llx", name, &bits) == 2 && strncmp(name, "Cap", 3) == 0 && bits != 0)
            return escaped("%s is %llx", name, bits);
    }
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct all[2] = {{~0U, ~0U, ~0U}, {~0U, ~0U, ~0U}};
    if (syscall(SYS_capset, &head, all) == 0) return escaped("capset gave capabilities");
    for (int c = 0; c < 41; c++)
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0) == 0) return escaped("capability %d was raised", c);
    return HELD;
}

static int no_new_privileges(int argc, char **argv) {
    (void)argc, (void)argv;
    return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? HELD : escaped("no_new_privs is not set");
}

/* A set-uid copy of ourselves must stay ourselves. */
static int set_uid_file(int argc, char **argv) {
    (void)argc, (void)argv;
    if (chmod(whole_argv[0], 06755) < 0) return HELD;
    pid_t pid = fork();
    if (pid == 0) {
        execl(whole_argv[0], whole_argv[0], "no-new-privileges", NULL);
        _exit(SETUP);
    }
    int status;
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

static int file_capabilities(int argc, char **argv) {
    const unsigned int all[] = {0x02000001, ~0U, 0, ~0U, 0};
    const char *path = whole_argv[0];
    (void)argc, (void)argv;
    if (setxattr(path, "security.capability", all, sizeof all, 0) == 0) return escaped("a file got capabilities");
    if (setxattr(path, "trusted.evalx", "x", 1, 0) == 0) return escaped("a trusted attribute was set");
    return HELD;
}

static int give_away(int argc, char **argv) {
    (void)argc, (void)argv;
    close(open("mine", O_CREAT | O_WRONLY, 0600));
    uid_t other = geteuid() == 0 ? 1 : 0;
    return must_fail(chown("mine", other, (gid_t)-1), "chown to another user");
}

static int immutable(int argc, char **argv) {
    int fd = open("stuck", O_CREAT | O_RDWR, 0600), flags = FS_IMMUTABLE_FL | FS_APPEND_FL;
    (void)argc, (void)argv;
    if (fd < 0) return setup_failed("stuck");
    if (ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0) return escaped("a file was made immutable");
    int root = open("/box", O_RDONLY);
    if (ioctl(root, FIFREEZE, 0) == 0) {
        ioctl(root, FITHAW, 0);
        return escaped("a file system was frozen");
    }
    return HELD;
}

static int link_foreign(int argc, char **argv) {
    const char *targets[] = {"/etc/passwd", "/etc/hostname", "/bin/sh", "/etc/shadow"};
    (void)argc, (void)argv;
    for (int i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "/box/link%d", i);
        if (link(targets[i], name) == 0 && open(name, O_WRONLY) >= 0)
            return escaped("%s can be written by a hard link", targets[i]);
    }
    return HELD;
}

/* make KIND PATH [TARGET]: puts something into the session, for the host to trip over. */
static int make(int argc, char **argv) {
    const char *kind = text(argc, argv, 1, ""), *path = text(argc, argv, 2, "made");
    const char *target = text(argc, argv, 3, "contents");
    int failed = 0;
    if (strcmp(kind, "symlink") == 0) failed = symlink(target, path);
    else if (strcmp(kind, "fifo") == 0) failed = mkfifo(path, 0666);
    else if (strcmp(kind, "folder") == 0) failed = mkdir(path, 0777);
    else if (strcmp(kind, "rename") == 0) failed = rename(path, target);
    else if (strcmp(kind, "remove") == 0) failed = remove(path);
    else if (strcmp(kind, "mode") == 0) failed = chmod(path, (mode_t)strtol(target, NULL, 8));
    else if (strcmp(kind, "file") == 0 || strcmp(kind, "socket") == 0) {
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        failed = fd < 0 || write_all(fd, target, strlen(target)) < 0;
    }
    return failed ? setup_failed(path) : 0;
}

/* show PATH: its contents, or exit 3 if it can't be opened. */
static int show(int argc, char **argv) {
    char bytes[4096];
    ssize_t got;
    int fd = open(text(argc, argv, 1, ""), O_RDONLY);
    if (fd < 0) return REFUSED;
    while ((got = read(fd, bytes, sizeof bytes)) > 0)
        if (write_all(1, bytes, (size_t)got) < 0) return SETUP;
    return 0;
}

static int mode(int argc, char **argv) {
    struct stat status;
    if (lstat(text(argc, argv, 1, ""), &status) < 0) return REFUSED;
    printf("%o %s\n", status.st_mode & 07777, access(argv[1], X_OK) == 0 ? "x" : "-");
    return 0;
}

/* Swaps a folder for a symlink to /etc, back and forth, until it is killed. */
static int swap_folder(int argc, char **argv) {
    (void)argc, (void)argv;
    mkdir("a", 0755);
    if (symlink("/etc", "b") < 0) return setup_failed("symlink");
    int fd = open("a/passwd", O_CREAT | O_WRONLY, 0644);
    if (fd < 0 || write_all(fd, "mine", 4) < 0) return setup_failed("a/passwd");
    say("ready");
    for (;;) syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "b", 2 /* RENAME_EXCHANGE */);
}

const struct probe file_probes[] = {
    {"unreadable", unreadable},
    {"unlistable", unlistable},
    {"unopenable", unopenable},
    {"unwritable", unwritable},
    {"own-groups", own_groups},
    {"devices", devices},
    {"make-device", make_device},
    {"overwrite-self", overwrite_self},
    {"climb", climb},
    {"set-ids", set_ids},
    {"capabilities", capabilities},
    {"no-new-privileges", no_new_privileges},
    {"set-uid-file", set_uid_file},
    {"file-capabilities", file_capabilities},
    {"give-away", give_away},
    {"immutable", immutable},
    {"link-foreign", link_foreign},
    {"make", make},
    {"show", show},
    {"mode", mode},
    {"swap-folder", swap_folder},
    {0},
};
