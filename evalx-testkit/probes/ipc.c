/* Class 7: locks, watches, queues and quotas that might cross from session to session. */
#include "probe.h"
#include <dirent.h>
#include <mqueue.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

/* Folders and files that sessions may share; each is tried, those absent are not. */
static const char *const shared[] = {
    "/",          "/bin",        "/usr",          "/usr/bin",     "/usr/bin/env", "/bin/sh",
    "/etc",       "/etc/passwd", "/etc/hostname", "/etc/group",   "/lib",         "/dev",
    "/dev/null",  "/dev/zero",   "/dev/urandom",  "/proc/version", "/proc",       "/tmp",
    "/dev/shm",   "/box",        "/usr/lib",      "/usr/bin/gcc", "/usr/bin/ls",  "/sys",
};
#define SHARED (sizeof shared / sizeof *shared)

/* lock hold: takes a lock on everything, and stays.
   lock try: nothing may be locked already. */
static int lock(int argc, char **argv) {
    int hold = strcmp(text(argc, argv, 1, "try"), "hold") == 0;
    for (size_t i = 0; i < SHARED; i++) {
        int fd = open(shared[i], O_RDONLY | O_NONBLOCK);
        if (fd < 0) continue;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK && !hold)
            return escaped("%s is locked by another session", shared[i]);
        struct flock range = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
        if (!hold) {
            range.l_type = F_WRLCK;
            if (fcntl(fd, F_GETLK, &range) == 0 && range.l_type != F_UNLCK)
                return escaped("%s has a record lock of another session", shared[i]);
            /* The same file may come again under another name. */
            close(fd);
        } else {
            fcntl(fd, 37 /* F_OFD_SETLK */, &range);
        }
    }
    if (!hold) return HELD;
    say("ready");
    pause_forever();
}

/* watch: counts what is seen of others until a byte comes on stdin. */
static int watch(int argc, char **argv) {
    char events[65536], byte;
    long seen = 0;
    int fd = inotify_init1(IN_NONBLOCK);
    (void)argc, (void)argv;
    if (fd < 0) return HELD;
    for (size_t i = 0; i < SHARED; i++) inotify_add_watch(fd, shared[i], IN_ALL_EVENTS);
    sleep_ms(50);
    while (read(fd, events, sizeof events) > 0) {}
    say("ready");
    if (read(0, &byte, 1) < 0) return SETUP;
    ssize_t got;
    while ((got = read(fd, events, sizeof events)) > 0)
        for (char *at = events; at < events + got;) {
            struct inotify_event *event = (struct inotify_event *)at;
            if (event->mask & (IN_OPEN | IN_ACCESS | IN_CREATE | IN_MODIFY | IN_DELETE)) seen++;
            at += sizeof *event + event->len;
        }
    return seen > 0 ? escaped("%ld events of another session", seen) : HELD;
}

/* be-seen: opens and lists everything that might be watched. */
static int be_seen(int argc, char **argv) {
    (void)argc, (void)argv;
    for (int round = 0; round < 10; round++)
        for (size_t i = 0; i < SHARED; i++) {
            char bytes[64];
            int fd = open(shared[i], O_RDONLY | O_NONBLOCK);
            if (fd >= 0 && read(fd, bytes, sizeof bytes) < 0) {}
            if (fd >= 0) close(fd);
            DIR *folder = opendir(shared[i]);
            if (folder) {
                readdir(folder);
                closedir(folder);
            }
        }
    close(open("/tmp/seen", O_CREAT | O_WRONLY, 0600));
    close(open("/dev/shm/seen", O_CREAT | O_WRONLY, 0600));
    return HELD;
}

#define KEY 0x65766c78

/* leave KIND / find KIND: an IPC object of a known name. */
static int leave(int argc, char **argv) {
    const char *kind = text(argc, argv, 1, "shm");
    int stay = strcmp(text(argc, argv, 2, ""), "stay") == 0;
    if (strcmp(kind, "shm") == 0) {
        int id = shmget(KEY, 4096, IPC_CREAT | 0666);
        char *at = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
        if (at != (void *)-1) strcpy(at, "evalx");
    } else if (strcmp(kind, "sem") == 0) {
        semget(KEY, 1, IPC_CREAT | 0666);
    } else if (strcmp(kind, "msg") == 0) {
        msgget(KEY, IPC_CREAT | 0666);
    } else if (strcmp(kind, "mq") == 0) {
        mq_open("/evalx", O_CREAT | O_RDWR, 0666, NULL);
    } else if (strcmp(kind, "file") == 0) {
        const char *places[] = {"/box/left", "/tmp/left", "/dev/shm/left", "/var/tmp/left", "/run/left"};
        for (int i = 0; i < 5; i++) close(open(places[i], O_CREAT | O_WRONLY, 0666));
    }
    if (!stay) return HELD;
    say("ready");
    pause_forever();
}

static int find(int argc, char **argv) {
    const char *kind = text(argc, argv, 1, "shm");
    struct shm_info shm;
    struct seminfo sem;
    struct msginfo msg;
    if (strcmp(kind, "shm") == 0) {
        if (shmget(KEY, 0, 0) >= 0) return escaped("shared memory of another session is here");
        if (shmctl(0, SHM_INFO, (struct shmid_ds *)&shm) >= 0 && shm.used_ids > 0)
            return escaped("%d segments are here", shm.used_ids);
    } else if (strcmp(kind, "sem") == 0) {
        if (semget(KEY, 0, 0) >= 0) return escaped("a semaphore of another session is here");
        if (semctl(0, 0, SEM_INFO, &sem) >= 0 && sem.semusz > 0) return escaped("%d semaphores", sem.semusz);
    } else if (strcmp(kind, "msg") == 0) {
        if (msgget(KEY, 0) >= 0) return escaped("a queue of another session is here");
        if (msgctl(0, MSG_INFO, (struct msqid_ds *)&msg) >= 0 && msg.msgpool > 0)
            return escaped("%d queues are here", msg.msgpool);
    } else if (strcmp(kind, "mq") == 0) {
        if (mq_open("/evalx", O_RDWR) != (mqd_t)-1) return escaped("a POSIX queue of another session is here");
    } else {
        const char *places[] = {"/box/left", "/tmp/left", "/dev/shm/left", "/var/tmp/left", "/run/left"};
        for (int i = 0; i < 5; i++)
            if (access(places[i], F_OK) == 0) return escaped("%s of another session is here", places[i]);
    }
    return HELD;
}

/* exhaust KIND: takes all that one user may have of it, and stays. */
static int exhaust(int argc, char **argv) {
    const char *kind = text(argc, argv, 1, "inotify");
    if (strcmp(kind, "inotify") == 0) {
        for (int i = 0; i < 4096 && inotify_init1(0) >= 0; i++) {}
    } else if (strcmp(kind, "queues") == 0) {
        for (int i = 0; i < 4096; i++) {
            char name[32];
            struct mq_attr shape = {.mq_maxmsg = 10, .mq_msgsize = 8192};
            snprintf(name, sizeof name, "/e%d", i);
            if (mq_open(name, O_CREAT | O_RDWR, 0600, &shape) == (mqd_t)-1) break;
        }
    } else if (strcmp(kind, "pipes") == 0) {
        for (int i = 0; i < 4096; i++) {
            int ends[2];
            if (pipe(ends) < 0 || fcntl(ends[1], F_SETPIPE_SZ, 1 << 20) < 0) break;
        }
    } else {
        sigset_t all;
        union sigval value = {0};
        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, NULL);
        for (int i = 0; i < 1000000 && sigqueue(getpid(), SIGRTMIN, value) == 0; i++) {}
    }
    say("ready");
    pause_forever();
}

/* spare KIND: there is some left for us. */
static int spare(int argc, char **argv) {
    const char *kind = text(argc, argv, 1, "inotify");
    if (strcmp(kind, "inotify") == 0) {
        if (inotify_init1(0) < 0 && errno == EMFILE) return escaped("another session took all of inotify");
    } else if (strcmp(kind, "queues") == 0) {
        if (mq_open("/spare", O_CREAT | O_RDWR, 0600, NULL) == (mqd_t)-1 && errno == EMFILE)
            return escaped("another session took all queues");
    } else if (strcmp(kind, "pipes") == 0) {
        int ends[2];
        if (pipe(ends) < 0) return escaped("another session took all pipes");
        if (fcntl(ends[1], F_GETPIPE_SZ) < 65536) return escaped("another session made our pipes small");
    } else {
        union sigval value = {0};
        signal(SIGRTMIN, SIG_IGN);
        sigset_t one;
        sigemptyset(&one);
        sigaddset(&one, SIGRTMIN);
        sigprocmask(SIG_BLOCK, &one, NULL);
        if (sigqueue(getpid(), SIGRTMIN, value) < 0 && errno == EAGAIN)
            return escaped("another session took all queued signals");
    }
    return HELD;
}

/* proc-token TOKEN: no process that /proc shows has it in its command line. */
static int proc_token(int argc, char **argv) {
    const char *token = text(argc, argv, 1, "none");
    size_t length = strlen(token);
    for (pid_t pid = 1; pid < 40000; pid++) {
        char path[64], line[4096];
        if (pid == getpid()) continue;
        snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
        int fd = open(path, O_RDONLY);
        if (fd < 0) continue;
        ssize_t got = read(fd, line, sizeof line);
        close(fd);
        if (got > 0 && memmem(line, (size_t)got, token, length)) return escaped("process %d is another session's", pid);
    }
    return HELD;
}

const struct probe ipc_probes[] = {
    {"lock", lock},
    {"watch", watch},
    {"be-seen", be_seen},
    {"leave", leave},
    {"find", find},
    {"exhaust", exhaust},
    {"spare", spare},
    {"proc-token", proc_token},
    {0},
};
