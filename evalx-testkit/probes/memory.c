/* Class 2: memory taken in every way that the kernel gives it out. */
#include "probe.h"
#include <mqueue.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define MIB (1024UL * 1024)

/* touch MIB [CHILDREN]: holds that much at once, in that many children if asked. */
static int touch(int argc, char **argv) {
    size_t bytes = (size_t)number(argc, argv, 1, 1) * MIB;
    long in_children = number(argc, argv, 2, 0);
    int ready[2], go[2];
    char byte;
    if (in_children == 0) return touch_bytes(bytes, MAP_PRIVATE) ? HELD : REFUSED;
    if (pipe(ready) < 0 || pipe(go) < 0) return setup_failed("pipe");
    for (long i = 0; i < in_children; i++)
        if (fork() == 0) {
            close(go[1]);
            if (!touch_bytes(bytes, MAP_PRIVATE)) _exit(REFUSED);
            if (write(ready[1], "x", 1) < 0) _exit(SETUP);
            if (read(go[0], &byte, 1) != 0) _exit(SETUP);
            _exit(0);
        }
    close(ready[1]);
    for (long i = 0; i < in_children; i++)
        if (read(ready[0], &byte, 1) != 1) return REFUSED;
    close(go[1]);
    while (wait(NULL) > 0) {}
    return HELD;
}

static int slow(int argc, char **argv) {
    (void)argc, (void)argv;
    for (;;) {
        if (!touch_bytes(MIB, MAP_PRIVATE)) return REFUSED;
        sleep_ms(2);
    }
}

static int endless(int argc, char **argv) {
    int shared = strcmp(text(argc, argv, 1, "private"), "shared") == 0;
    for (;;)
        if (!touch_bytes(4 * MIB, shared ? MAP_SHARED : MAP_PRIVATE)) return REFUSED;
}

static int break_pointer(int argc, char **argv) {
    (void)argc, (void)argv;
    for (;;) {
        char *at = sbrk((intptr_t)MIB);
        if (at == (void *)-1) return REFUSED;
        for (size_t i = 0; i < MIB; i += 4096) at[i] = 1;
    }
}

/* One child is killed for memory; the parent ends well all the same. */
static int child_dies(int argc, char **argv) {
    int status;
    (void)argc, (void)argv;
    pid_t pid = fork();
    if (pid == 0) {
        for (;;)
            if (!touch_bytes(4 * MIB, MAP_PRIVATE)) _exit(REFUSED);
    }
    waitpid(pid, &status, 0);
    return HELD;
}

static int many_children(int argc, char **argv) {
    (void)argc, (void)argv;
    for (;;) {
        pid_t pid = fork();
        if (pid < 0) break;
        if (pid == 0) {
            touch_bytes(4 * MIB, MAP_PRIVATE);
            pause_forever();
        }
    }
    pause_forever();
}

static int copy_on_write(int argc, char **argv) {
    size_t bytes = 12 * MIB;
    char *at = touch_bytes(bytes, MAP_PRIVATE);
    (void)argc, (void)argv;
    for (int i = 0; at && i < 8; i++)
        if (fork() == 0) {
            for (size_t p = 0; p < bytes; p += 4096) at[p]++;
            pause_forever();
        }
    pause_forever();
}

static int fill_memfd(int argc, char **argv) {
    static char block[65536];
    (void)argc, (void)argv;
    memset(block, 7, sizeof block);
    int fd = (int)syscall(SYS_memfd_create, "x", 0);
    if (fd < 0) return REFUSED;
    for (;;)
        if (write_all(fd, block, sizeof block) < 0) return REFUSED;
}

static int lock_memory(int argc, char **argv) {
    size_t bytes = 96 * MIB;
    (void)argc, (void)argv;
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return HELD;
    return mlock(at, bytes) == 0 ? escaped("96 MiB were locked") : HELD;
}

static __attribute__((noinline)) int deeper(int depth) {
    volatile char block[4096];
    block[0] = (char)depth;
    return deeper(depth + 1) + block[0];
}

static int recursion(int argc, char **argv) {
    (void)argc, (void)argv;
    return deeper(0) & 1;
}

/* Pages touched far apart: what costs is the page tables. */
static int page_tables(int argc, char **argv) {
    size_t span = 1UL << 40;
    (void)argc, (void)argv;
    char *at = mmap(NULL, span, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return HELD;
    for (size_t i = 0; i < span; i += 2 * MIB) (void)*(volatile char *)(at + i);
    return HELD;
}

static int pipe_buffers(int argc, char **argv) {
    static char block[65536];
    (void)argc, (void)argv;
    for (;;) {
        int ends[2];
        if (pipe2(ends, O_NONBLOCK) < 0) return HELD;
        fcntl(ends[1], F_SETPIPE_SZ, (int)MIB);
        while (write(ends[1], block, sizeof block) > 0) {}
    }
}

static int socket_buffers(int argc, char **argv) {
    static char block[65536];
    (void)argc, (void)argv;
    for (;;) {
        int ends[2], size = 64 << 20;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) < 0) return HELD;
        setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
        while (write(ends[0], block, sizeof block) > 0) {}
    }
}

/* Descriptors sent into a socket and never taken out count against nobody's table. */
static int descriptors_in_flight(int argc, char **argv) {
    long sent = 0;
    (void)argc, (void)argv;
    for (int round = 0; round < 20000; round++) {
        int ends[2];
        char space[CMSG_SPACE(sizeof ends)] = {0};
        struct iovec byte = {"x", 1};
        struct msghdr message = {.msg_iov = &byte, .msg_iovlen = 1, .msg_control = space,
                                 .msg_controllen = sizeof space};
        if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends) < 0) break;
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof ends);
        memcpy(CMSG_DATA(head), ends, sizeof ends);
        if (sendmsg(ends[0], &message, 0) < 0) break;
        sent += 2;
        close(ends[0]);
        close(ends[1]);
    }
    return sent >= 40000 ? escaped("%ld descriptors are in flight", sent) : HELD;
}

static int sysv_shared(int argc, char **argv) {
    (void)argc, (void)argv;
    for (;;) {
        int id = shmget(IPC_PRIVATE, 8 * MIB, IPC_CREAT | 0600);
        if (id < 0) return HELD;
        char *at = shmat(id, NULL, 0);
        if (at == (void *)-1) return HELD;
        for (size_t i = 0; i < 8 * MIB; i += 4096) at[i] = 1;
    }
}

static int sysv_messages(int argc, char **argv) {
    static struct {
        long kind;
        char body[8192];
    } message = {1, {0}};
    (void)argc, (void)argv;
    for (int i = 0; i < 100000; i++) {
        int id = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
        if (id < 0) return HELD;
        while (msgsnd(id, &message, sizeof message.body, IPC_NOWAIT) == 0) {}
    }
    return HELD;
}

static int sysv_semaphores(int argc, char **argv) {
    (void)argc, (void)argv;
    for (int i = 0; i < 100000; i++)
        if (semget(IPC_PRIVATE, 250, IPC_CREAT | 0600) < 0) return HELD;
    return HELD;
}

static int posix_queues(int argc, char **argv) {
    static char body[8192];
    (void)argc, (void)argv;
    for (int i = 0; i < 10000; i++) {
        char name[32];
        struct mq_attr shape = {.mq_maxmsg = 10, .mq_msgsize = sizeof body};
        snprintf(name, sizeof name, "/q%d", i);
        mqd_t queue = mq_open(name, O_CREAT | O_WRONLY | O_NONBLOCK, 0600, &shape);
        if (queue == (mqd_t)-1) return HELD;
        while (mq_send(queue, body, sizeof body, 0) == 0) {}
    }
    return HELD;
}

static int gifted_pages(int argc, char **argv) {
    (void)argc, (void)argv;
    for (;;) {
        int ends[2];
        char *at = touch_bytes(16 * 4096, MAP_PRIVATE);
        struct iovec pages = {at, 16 * 4096};
        if (!at || pipe2(ends, O_NONBLOCK) < 0) return HELD;
        if (vmsplice(ends[1], &pages, 1, SPLICE_F_GIFT | SPLICE_F_NONBLOCK) < 0) return HELD;
        munmap(at, 16 * 4096);
    }
}

static void *fat_thread(void *unused) {
    volatile char block[6 * 1024 * 1024];
    (void)unused;
    for (size_t i = 0; i < sizeof block; i += 4096) block[i] = 1;
    pause_forever();
}

static int thread_stacks(int argc, char **argv) {
    pthread_t thread;
    (void)argc, (void)argv;
    while (pthread_create(&thread, NULL, fat_thread, NULL) == 0) {}
    pause_forever();
}

static int huge_pages(int argc, char **argv) {
    size_t bytes = 64 * MIB;
    (void)argc, (void)argv;
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    if (at != MAP_FAILED) return escaped("64 MiB of huge pages were given");
    return shmget(IPC_PRIVATE, bytes, IPC_CREAT | SHM_HUGETLB | 0600) >= 0
               ? escaped("64 MiB of shared huge pages were given")
               : HELD;
}

/* Names looked up in vain leave an entry in the kernel's memory each. */
static int negative_entries(int argc, char **argv) {
    (void)argc, (void)argv;
    for (int i = 0; i < 200000; i++) {
        char name[240];
        struct stat status;
        memset(name, 'n', sizeof name);
        snprintf(name + 200, 40, "%d", i);
        stat(name, &status);
    }
    return HELD;
}

static int kernel_objects(int argc, char **argv) {
    int poll = epoll_create1(0);
    (void)argc, (void)argv;
    for (int i = 0; i < 100000; i++) {
        struct epoll_event event = {.events = EPOLLIN};
        int fd = eventfd(0, 0);
        if (fd < 0) return HELD;
        epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
    }
    return escaped("100000 descriptors were open at once");
}

/* Reads much more than the limit: the page cache is nobody's excess. */
static int page_cache(int argc, char **argv) {
    static char block[65536];
    const char *path = text(argc, argv, 1, "cache");
    (void)argc;
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0) return setup_failed(path);
    for (int i = 0; i < 64; i++)
        if (write_all(fd, block, sizeof block) < 0) return setup_failed("write");
    for (int round = 0; round < 32; round++) {
        lseek(fd, 0, SEEK_SET);
        while (read(fd, block, sizeof block) > 0) {}
    }
    return HELD;
}

/* reserve GIB: address space that is never touched. */
static int reserve(int argc, char **argv) {
    size_t bytes = (size_t)number(argc, argv, 1, 16) << 30;
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? REFUSED : HELD;
}

const struct probe memory_probes[] = {
    {"reserve", reserve},
    {"touch", touch},
    {"memory-slow", slow},
    {"memory-endless", endless},
    {"memory-brk", break_pointer},
    {"memory-child-dies", child_dies},
    {"memory-children", many_children},
    {"memory-copy-on-write", copy_on_write},
    {"memory-memfd", fill_memfd},
    {"memory-lock", lock_memory},
    {"recursion", recursion},
    {"page-tables", page_tables},
    {"pipe-buffers", pipe_buffers},
    {"socket-buffers", socket_buffers},
    {"descriptors-in-flight", descriptors_in_flight},
    {"sysv-shared", sysv_shared},
    {"sysv-messages", sysv_messages},
    {"sysv-semaphores", sysv_semaphores},
    {"posix-queues", posix_queues},
    {"gifted-pages", gifted_pages},
    {"thread-stacks", thread_stacks},
    {"huge-pages", huge_pages},
    {"negative-entries", negative_entries},
    {"kernel-objects", kernel_objects},
    {"page-cache", page_cache},
    {0},
};
