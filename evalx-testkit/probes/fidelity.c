/* Plain programs, as a judge runs them: their ends, arguments, streams and terminals. */
#include "probe.h"
#include <sys/ioctl.h>
#include <sys/resource.h>

extern char **environ;

static int hello(int argc, char **argv) {
    (void)argc, (void)argv;
    say("hello");
    return 0;
}

static int exit_code(int argc, char **argv) { return (int)number(argc, argv, 1, 0); }

static int say_and_exit(int argc, char **argv) {
    fputs(text(argc, argv, 1, ""), stdout);
    fputs(text(argc, argv, 2, ""), stderr);
    return (int)number(argc, argv, 3, 0);
}

static int raise_signal(int argc, char **argv) {
    raise((int)number(argc, argv, 1, SIGKILL));
    return 0;
}

static int segfault(int argc, char **argv) {
    (void)argc, (void)argv;
    *(volatile int *)8 = 1;
    return 0;
}

static int divide(int argc, char **argv) {
    (void)argv;
#if defined(__x86_64__)
    volatile int zero = argc - argc;
    volatile int result = 100 / zero;
    (void)result;
#else
    (void)argc;
    raise(SIGFPE);
#endif
    return 0;
}

static int illegal(int argc, char **argv) {
    (void)argc, (void)argv;
    __builtin_trap();
}

static int abort_now(int argc, char **argv) {
    (void)argc, (void)argv;
    abort();
}

static int arguments(int argc, char **argv) {
    for (int i = 1; i < argc; i++) fwrite(argv[i], 1, strlen(argv[i]) + 1, stdout);
    return 0;
}

static int environment(int argc, char **argv) {
    (void)argc, (void)argv;
    for (char **e = environ; *e; e++) fwrite(*e, 1, strlen(*e) + 1, stdout);
    return 0;
}

static int folder(int argc, char **argv) {
    char path[4096];
    (void)argc, (void)argv;
    if (!getcwd(path, sizeof path)) return setup_failed("getcwd");
    fputs(path, stdout);
    return 0;
}

/* cat [LIMIT]: stdin to stdout, up to LIMIT bytes. */
static int cat(int argc, char **argv) {
    static char block[65536];
    long left = number(argc, argv, 1, -1);
    for (;;) {
        size_t want = left >= 0 && left < (long)sizeof block ? (size_t)left : sizeof block;
        ssize_t got = want ? read(0, block, want) : 0;
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return got < 0;
        if (write_all(1, block, (size_t)got) < 0) return 1;
        if (left > 0) left -= got;
    }
}

/* count: reads stdin to its end and prints how many bytes came. */
static int count(int argc, char **argv) {
    static char block[65536];
    unsigned long long total = 0;
    ssize_t got;
    (void)argc, (void)argv;
    say("ready");
    while ((got = read(0, block, sizeof block)) > 0) total += (unsigned long long)got;
    printf("%llu\n", total);
    return got < 0;
}

/* write COUNT [FD]: exactly that many bytes of a known pattern. */
static int write_count(int argc, char **argv) {
    long long left = number(argc, argv, 1, 0);
    int fd = (int)number(argc, argv, 2, 1);
    char block[4096];
    for (size_t i = 0; i < sizeof block; i++) block[i] = (char)('a' + i % 26);
    while (left > 0) {
        size_t size = left < (long long)sizeof block ? (size_t)left : sizeof block;
        if (write_all(fd, block, size) < 0) return 3;
        left -= (long long)size;
    }
    return (int)number(argc, argv, 3, 0);
}

/* close-output MS CODE: closes both output streams, and ends later. */
static int close_output(int argc, char **argv) {
    close(1);
    close(2);
    sleep_ms(number(argc, argv, 1, 50));
    return (int)number(argc, argv, 2, 0);
}

static void on_signal(int signal) { _exit(signal == SIGINT ? 42 : 7); }

/* catch SIGNAL: says that it is ready, exits 7 (42 for SIGINT) when it comes. */
static int catch_signal(int argc, char **argv) {
    signal((int)number(argc, argv, 1, SIGUSR1), on_signal);
    say("ready");
    pause_forever();
}

static int wait_ready(int argc, char **argv) {
    (void)argc, (void)argv;
    say("ready");
    pause_forever();
}

/* terminal: how many of the three are terminals, and the size. */
static int terminal(int argc, char **argv) {
    struct winsize size = {0};
    int tty = open("/dev/tty", O_RDWR);
    (void)argc, (void)argv;
    ioctl(0, TIOCGWINSZ, &size);
    printf("%d %d %d %d %d %d\n", isatty(0), isatty(1), isatty(2), size.ws_row, size.ws_col, tty >= 0);
    return 0;
}

static int resized(int argc, char **argv) {
    sigset_t set;
    struct winsize size = {0};
    int got;
    (void)argc, (void)argv;
    sigemptyset(&set);
    sigaddset(&set, SIGWINCH);
    sigprocmask(SIG_BLOCK, &set, NULL);
    say("ready");
    sigwait(&set, &got);
    ioctl(0, TIOCGWINSZ, &size);
    printf("%d %d\n", size.ws_row, size.ws_col);
    return 0;
}

/* ping COUNT / pong: two programs that answer each other, a byte at a time. */
static int ping(int argc, char **argv) {
    long rounds = number(argc, argv, 1, 100);
    for (long i = 0; i < rounds; i++) {
        char out = (char)('a' + i % 26), back = 0;
        if (write_all(1, &out, 1) < 0 || read(0, &back, 1) != 1) return 3;
        if (back != (char)(out - 32)) return 4;
    }
    return 0;
}

static int pong(int argc, char **argv) {
    char byte;
    (void)argc, (void)argv;
    while (read(0, &byte, 1) == 1) {
        byte = (char)(byte - 32);
        if (write_all(1, &byte, 1) < 0) return 3;
    }
    return 0;
}

/* stack KIB: uses that much of the main thread's stack. */
static __attribute__((noinline)) long use_stack(long kib) {
    volatile char block[1024];
    block[0] = (char)kib;
    return kib <= 0 ? block[0] : use_stack(kib - 1) + block[0];
}

static int stack(int argc, char **argv) {
    use_stack(number(argc, argv, 1, 64));
    return 0;
}

static int open_files(int argc, char **argv) {
    int opened = 0;
    (void)argc, (void)argv;
    while (open("/dev/null", O_RDONLY) >= 0 && opened < 1000000) opened++;
    printf("%d\n", opened);
    return 0;
}

const struct probe fidelity_probes[] = {
    {"hello", hello},           {"exit", exit_code},       {"say", say_and_exit},
    {"raise", raise_signal},    {"segfault", segfault},    {"divide", divide},
    {"illegal", illegal},       {"abort", abort_now},      {"arguments", arguments},
    {"environment", environment}, {"folder", folder},      {"cat", cat},
    {"count", count},           {"write", write_count},    {"close-output", close_output},
    {"catch", catch_signal},    {"wait", wait_ready},      {"terminal", terminal},
    {"resized", resized},       {"ping", ping},            {"pong", pong},
    {"stack", stack},           {"open-files", open_files}, {0},
};
