/* One static program of many small ones: `probe NAME [ARGUMENT...]`. */
#include "probe.h"

char **whole_argv;

int escaped(const char *format, ...) {
    va_list list;
    va_start(list, format);
    printf("ESCAPED: ");
    vprintf(format, list);
    printf("\n");
    va_end(list);
    fflush(stdout);
    return ESCAPED;
}

int setup_failed(const char *what) {
    printf("SETUP: %s: %s\n", what, strerror(errno));
    fflush(stdout);
    return SETUP;
}

int must_be_refused(long result, const char *what) {
    if (result >= 0) return escaped("%s succeeded", what);
    switch (errno) {
    case EPERM:
    case EACCES:
    case ENOSYS:
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT:
    case ESOCKTNOSUPPORT:
    case EOPNOTSUPP:
    case ENODEV:
    case ENOENT:
    case ESRCH:
    case EROFS:
        return HELD;
    default:
        return escaped("%s reached the kernel: %s", what, strerror(errno));
    }
}

int must_fail(long result, const char *what) {
    return result >= 0 ? escaped("%s succeeded", what) : HELD;
}

long number(int argc, char **argv, int index, long fallback) {
    return index < argc ? strtol(argv[index], NULL, 0) : fallback;
}

const char *text(int argc, char **argv, int index, const char *fallback) {
    return index < argc ? argv[index] : fallback;
}

static int64_t clock_ms(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t wall_ms(void) { return clock_ms(CLOCK_MONOTONIC); }
int64_t cpu_ms(void) { return clock_ms(CLOCK_PROCESS_CPUTIME_ID); }

void spin_ms(long ms) {
    int64_t end = cpu_ms() + ms;
    while (cpu_ms() < end)
        for (volatile int i = 0; i < 20000; i++) {}
}

void spin_forever(void) {
    for (volatile unsigned long i = 0;; i++) {}
}

void sleep_ms(long ms) {
    struct timespec left = {ms / 1000, (ms % 1000) * 1000000L};
    while (nanosleep(&left, &left) < 0 && errno == EINTR) {}
}

void pause_forever(void) {
    for (;;) pause();
}

void say(const char *line) {
    printf("%s\n", line);
    fflush(stdout);
}

char *touch_bytes(size_t bytes, int flags) {
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return NULL;
    for (size_t i = 0; i < bytes; i += 4096) at[i] = (char)(i >> 12 | 1);
    return at;
}

int write_all(int fd, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t written = write(fd, bytes, length);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return -1;
        bytes += written;
        length -= (size_t)written;
    }
    return 0;
}

int main(int argc, char **argv) {
    const struct probe *tables[] = {
        fidelity_probes, process_probes, memory_probes, time_probes, output_probes, file_probes,
        mount_probes,    kernel_probes,  socket_probes, ipc_probes,  reset_probes,
    };
    whole_argv = argv;
    if (argc < 2) {
        fprintf(stderr, "usage: probe NAME [ARGUMENT...]\n");
        return SETUP;
    }
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++)
        for (const struct probe *p = tables[t]; p->name; p++)
            if (strcmp(p->name, argv[1]) == 0) {
                int status = p->run(argc - 1, argv + 1);
                fflush(stdout);
                return status;
            }
    fprintf(stderr, "no such probe: %s\n", argv[1]);
    return SETUP;
}
