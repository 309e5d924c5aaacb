/* Class 4: output without end, and files that fill whatever holds them. */
#include "probe.h"
#include <dirent.h>
#include <linux/falloc.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

static char block[65536];

/* flood WHERE: writes to stdout, stderr or both for ever. */
static int flood(int argc, char **argv) {
    const char *where = text(argc, argv, 1, "stdout");
    memset(block, 'x', sizeof block);
    if (strcmp(where, "reopened") == 0) {
        int fd = open("/proc/self/fd/1", O_WRONLY);
        if (fd >= 0) dup2(fd, 1);
    }
    if (strcmp(where, "widened") == 0) fcntl(1, F_SETPIPE_SZ, 1 << 20);
    if (strcmp(where, "nonblocking") == 0) fcntl(1, F_SETFL, O_NONBLOCK | O_WRONLY);
    if (strcmp(where, "child") == 0) {
        if (fork() > 0) pause_forever();
        setsid();
    }
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        if (strcmp(where, "stderr") != 0 && write(1, block, sizeof block) < 0 && errno == EPIPE) break;
        if ((strcmp(where, "stderr") == 0 || strcmp(where, "both") == 0) &&
            write(2, block, sizeof block) < 0 && errno == EPIPE)
            break;
    }
    return REFUSED;
}

static int splice_flood(int argc, char **argv) {
    int ends[2];
    (void)argc, (void)argv;
    signal(SIGPIPE, SIG_IGN);
    if (pipe(ends) < 0) return setup_failed("pipe");
    for (;;) {
        if (write(ends[1], block, 32768) < 0) return SETUP;
        if (splice(ends[0], NULL, 1, NULL, 32768, 0) < 0) return REFUSED;
    }
}

/* Its own stdout changed under the host's reader. */
static int twist_stdout(int argc, char **argv) {
    (void)argc, (void)argv;
    fcntl(1, F_SETFL, O_NONBLOCK);
    fcntl(0, F_SETFL, O_NONBLOCK);
    fcntl(2, F_SETFL, O_NONBLOCK | O_APPEND);
    fcntl(1, F_SETOWN, getpid());
    fchmod(1, 0);
    fchmod(2, 0);
    close(2);
    if (write(1, "still here\n", 11) != 11) return SETUP;
    return HELD;
}

/* Any descriptor beside the three is somebody else's. */
static int inherited(int argc, char **argv) {
    (void)argc, (void)argv;
    for (int fd = 3; fd < 65536; fd++)
        if (fcntl(fd, F_GETFD) >= 0) {
            char path[64], target[256] = "?";
            snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
            if (readlink(path, target, sizeof target - 1) < 0) target[0] = '?';
            return escaped("descriptor %d (%s) is open", fd, target);
        }
    return HELD;
}

/* The three standard streams are pipes of ours, and nothing else. */
static int plain_streams(int argc, char **argv) {
    (void)argc, (void)argv;
    for (int fd = 0; fd < 3; fd++) {
        struct stat status;
        if (fstat(fd, &status) < 0) return escaped("descriptor %d is closed", fd);
        if (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode) || S_ISDIR(status.st_mode))
            return escaped("descriptor %d is a file of the host", fd);
    }
    return HELD;
}

/* fill PATH... : fills each place until refused; prints the bytes of all together. */
static int fill(int argc, char **argv) {
    unsigned long long total = 0;
    int code = (int)number(argc, argv, 1, 1);
    memset(block, 'f', sizeof block);
    for (int i = 2; i < argc && argv[i][0] == '/'; i++) {
        int fd = open(argv[i], O_WRONLY | O_CREAT, 0600);
        if (fd < 0) continue;
        for (size_t size = sizeof block; size >= 512; size /= 2) {
            ssize_t written;
            while ((written = write(fd, block, size)) > 0) total += (unsigned long long)written;
        }
        close(fd);
    }
    printf("%llu\n", total);
    fflush(stdout);
    if (code == 134) abort();
    return code;
}

/* Files that have no name any more still take room. */
static int fill_unlinked(int argc, char **argv) {
    unsigned long long total = 0;
    unsigned long long most = (unsigned long long)number(argc, argv, 1, 64) << 20;
    for (;;) {
        int fd = open("gone", O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd < 0) break;
        unlink("gone");
        for (int i = 0; i < 16; i++) {
            if (write_all(fd, block, sizeof block) < 0) return total > most ? escaped("%llu bytes", total) : REFUSED;
            total += sizeof block;
        }
        if (total > most) return escaped("%llu bytes were written", total);
    }
    return REFUSED;
}

static int sparse(int argc, char **argv) {
    const char *path = text(argc, argv, 1, "sparse");
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0) return setup_failed(path);
    signal(SIGXFSZ, SIG_IGN);
    if (ftruncate(fd, (off_t)number(argc, argv, 2, 64) << 30) < 0) return REFUSED;
    if (pwrite(fd, "x", 1, ((off_t)number(argc, argv, 2, 64) << 30) - 1) < 0) return REFUSED;
    return HELD;
}

static int preallocate(int argc, char **argv) {
    int fd = open("room", O_RDWR | O_CREAT, 0600);
    (void)argc, (void)argv;
    if (fd < 0) return setup_failed("room");
    if (fallocate(fd, 0, 0, 8LL << 30) == 0) return escaped("8 GiB were reserved");
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 8LL << 30) == 0) return escaped("8 GiB were reserved in secret");
    return HELD;
}

/* make-files CODE KIND MOST [FOLDER...]: makes files until refused or MOST are there. */
static int make_files(int argc, char **argv) {
    int code = (int)number(argc, argv, 1, 1);
    const char *kind = text(argc, argv, 2, "file");
    long most = number(argc, argv, 3, 100000), made = 0;
    int folders = argc > 4 && argv[4][0] == '/' ? 0 : 1;
    for (int at = 4; folders || (at < argc && argv[at][0] == '/'); at++) {
        if (!folders && chdir(argv[at]) < 0) continue;
        for (; made < most; made++) {
            char name[256];
            int length = snprintf(name, sizeof name, "%s%ld", kind, made);
            int failed = 0;
            if (strcmp(kind, "long") == 0) {
                memset(name + length, 'l', sizeof name - 1 - (size_t)length);
                name[255] = 0;
            }
            if (strcmp(kind, "dir") == 0) failed = mkdir(name, 0700) < 0 || chdir(name) < 0;
            else if (strcmp(kind, "flat") == 0) failed = mkdir(name, 0700) < 0;
            else if (strcmp(kind, "symlink") == 0) failed = symlink("/nowhere", name) < 0;
            else if (strcmp(kind, "fifo") == 0) failed = mkfifo(name, 0600) < 0;
            else if (strcmp(kind, "link") == 0) {
                if (made == 0) close(open("one", O_CREAT | O_WRONLY, 0600));
                failed = link("one", name) < 0;
            } else {
                int fd = open(name, O_CREAT | O_WRONLY, 0600);
                failed = fd < 0;
                if (fd >= 0) close(fd);
            }
            if (failed) break;
        }
        if (folders) break;
    }
    printf("%ld\n", made);
    return made < most ? code : 0;
}

/* What an access list takes of the kernel is charged to nobody. */
static int access_lists(int argc, char **argv) {
    static const unsigned char list[] = {2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 5, 0, 255, 255, 255, 255,
                                         32, 0, 5, 0, 255, 255, 255, 255};
    (void)argc, (void)argv;
    if (mkdir("listed", 0700) < 0) return setup_failed("mkdir");
    for (int i = 0; i < 2; i++) {
        const char *kind = i ? "system.posix_acl_default" : "system.posix_acl_access";
        if (setxattr("listed", kind, list, sizeof list, 0) == 0) return escaped("an access list was kept");
    }
    return HELD;
}

static int attributes(int argc, char **argv) {
    static char value[60000];
    (void)argc, (void)argv;
    for (int i = 0; i < 20000; i++) {
        char name[32];
        snprintf(name, sizeof name, "f%d", i / 64);
        if (i % 64 == 0) close(open(name, O_CREAT | O_WRONLY, 0600));
        char key[32];
        snprintf(key, sizeof key, "user.k%d", i % 64);
        if (setxattr(name, key, value, sizeof value, 0) < 0) return HELD;
    }
    return escaped("1.2 GB of attributes were stored");
}

/* Every folder that can be reached and written, but for the session's own. */
static int walk(const char *path, int depth) {
    static const char *const own[] = {"/box", "/tmp", "/dev/shm", "/proc", "/var/tmp", "/dev/mqueue"};
    struct stat status;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strcmp(path, own[i]) == 0) return HELD;
    if (lstat(path, &status) < 0 || !S_ISDIR(status.st_mode)) return HELD;
    char name[4096];
    snprintf(name, sizeof name, "%s/.evalx-probe", strcmp(path, "/") ? path : "");
    int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (fd >= 0) {
        unlink(name);
        return escaped("%s can be written", path);
    }
    if (depth == 0) return HELD;
    DIR *folder = opendir(path);
    if (!folder) return HELD;
    int result = HELD;
    for (struct dirent *entry; result == HELD && (entry = readdir(folder));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN) continue;
        snprintf(name, sizeof name, "%s/%s", strcmp(path, "/") ? path : "", entry->d_name);
        result = walk(name, depth - 1);
    }
    closedir(folder);
    return result;
}

static int writable_places(int argc, char **argv) { return walk("/", (int)number(argc, argv, 1, 3)); }

/* disk-shape: what statvfs says of the work folder: prints blocks and inodes. */
static int disk_shape(int argc, char **argv) {
    struct statvfs shape;
    if (statvfs(text(argc, argv, 1, "."), &shape) < 0) return setup_failed("statvfs");
    printf("%llu %llu\n", (unsigned long long)shape.f_blocks * shape.f_frsize, (unsigned long long)shape.f_files);
    return 0;
}

/* exceed-file-size: the kernel's own limit on one file, met with a signal. */
static int exceed_file_size(int argc, char **argv) {
    (void)argc, (void)argv;
    int fd = open("big", O_WRONLY | O_CREAT, 0600);
    if (fd < 0) return setup_failed("big");
    for (;;)
        if (write_all(fd, block, sizeof block) < 0) abort();
}

const struct probe output_probes[] = {
    {"flood", flood},
    {"splice-flood", splice_flood},
    {"twist-stdout", twist_stdout},
    {"inherited", inherited},
    {"plain-streams", plain_streams},
    {"fill", fill},
    {"fill-unlinked", fill_unlinked},
    {"sparse", sparse},
    {"preallocate", preallocate},
    {"make-files", make_files},
    {"attributes", attributes},
    {"access-lists", access_lists},
    {"writable-places", writable_places},
    {"disk-shape", disk_shape},
    {"exceed-file-size", exceed_file_size},
    {0},
};
