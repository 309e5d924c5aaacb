/* Class 3: programs that use up time, or evade its being counted. */
#include "probe.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/time.h>

static void *spinner(void *unused) {
    (void)unused;
    spin_forever();
}

static int spin(int argc, char **argv) {
    (void)argc, (void)argv;
    spin_forever();
}

static int spin_for(int argc, char **argv) {
    spin_ms(number(argc, argv, 1, 100));
    return 0;
}

static int spin_threads(int argc, char **argv) {
    for (long i = number(argc, argv, 1, 2); i > 1; i--) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, spinner, NULL) != 0) return SETUP;
    }
    spin_forever();
}

/* spin-children COUNT [MS] [HOW]: children that spin, for ever or for that
   long; the parent waits for them (`wait`), one after the other (`serial`),
   or ends at once (`leave`). */
static int spin_children(int argc, char **argv) {
    long count = number(argc, argv, 1, 2), ms = number(argc, argv, 2, 0);
    const char *how = text(argc, argv, 3, "wait");
    for (long i = 0; i < count; i++) {
        pid_t pid = fork();
        if (pid < 0) return setup_failed("fork");
        if (pid == 0) {
            if (ms == 0) spin_forever();
            spin_ms(ms);
            _exit(0);
        }
        if (strcmp(how, "serial") == 0) waitpid(pid, NULL, 0);
    }
    if (strcmp(how, "leave") != 0)
        while (wait(NULL) > 0) {}
    return 0;
}

/* Grandchildren whose parents are gone do the work. */
static int spin_orphans(int argc, char **argv) {
    (void)argc, (void)argv;
    for (int i = 0; i < 2; i++)
        if (fork() == 0) {
            if (fork() == 0) spin_forever();
            _exit(0);
        }
    pause_forever();
}

/* Many children, each too short-lived to be seen by a poll, none waited for. */
static int spin_short_children(int argc, char **argv) {
    (void)argc, (void)argv;
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        pid_t pid = fork();
        if (pid == 0) {
            spin_ms(3);
            _exit(0);
        }
        sleep_ms(4);
    }
}

/* spin-exec MS: works a little, then becomes a new program, for ever. */
static int spin_exec(int argc, char **argv) {
    (void)argc, (void)argv;
    spin_ms(5);
    execv(whole_argv[0], whole_argv);
    return SETUP;
}

static int spin_calls(int argc, char **argv) {
    const char *what = text(argc, argv, 1, "getppid");
    if (strcmp(what, "yield") == 0)
        for (;;) sched_yield();
    for (;;) syscall(SYS_getppid);
}

/* Busy between the ticks of the clock, asleep when one comes. */
static int evade_ticks(int argc, char **argv) {
    (void)argc, (void)argv;
    for (;;) {
        spin_ms(1);
        struct timespec nap = {0, 200000};
        nanosleep(&nap, NULL);
    }
}

static void ignore(int signal) { (void)signal; }

static int spin_ignoring(int argc, char **argv) {
    struct rlimit limit;
    (void)argc, (void)argv;
    for (int s = 1; s < 65; s++) signal(s, SIG_IGN);
    getrlimit(RLIMIT_CPU, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_CPU, &limit);
    spin_forever();
}

static int alarm_storm(int argc, char **argv) {
    struct itimerval often = {{0, 50}, {0, 50}};
    (void)argc, (void)argv;
    signal(SIGALRM, ignore);
    setitimer(ITIMER_REAL, &often, NULL);
    pause_forever();
}

static int sleep_for(int argc, char **argv) {
    sleep_ms(number(argc, argv, 1, 100));
    return 0;
}

static int sleep_ever(int argc, char **argv) {
    (void)argc, (void)argv;
    pause_forever();
}

static int sleep_children(int argc, char **argv) {
    (void)argc, (void)argv;
    for (int i = 0; i < 8; i++)
        if (fork() == 0) pause_forever();
    while (wait(NULL) > 0) {}
    return 0;
}

/* sleep-spinning: sleeps, while the CPU is used by nobody: wall time alone. */
static int trickle(int argc, char **argv) {
    (void)argc, (void)argv;
    for (;;) {
        if (write(1, ".", 1) < 0) return 1;
        sleep_ms(5);
    }
}

static int vfork_pause(int argc, char **argv) {
    (void)argc, (void)argv;
    if (vfork() == 0) pause_forever();
    return 0;
}

static int futex_wait(int argc, char **argv) {
    int word = 0;
    (void)argc, (void)argv;
    for (;;) syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0);
}

static int fifo_wait(int argc, char **argv) {
    (void)argc, (void)argv;
    if (mkfifo("fifo", 0600) < 0) return setup_failed("mkfifo");
    open("fifo", O_RDONLY);
    return 0;
}

static int lock_wait(int argc, char **argv) {
    int one = open("lock", O_RDWR | O_CREAT, 0600), two = open("lock", O_RDWR);
    (void)argc, (void)argv;
    if (one < 0 || two < 0) return setup_failed("open");
    flock(one, LOCK_EX);
    flock(two, LOCK_EX);
    return 0;
}

/* Holds its own stdin's other end open and reads for its end. */
static int stdin_held_open(int argc, char **argv) {
    char byte;
    (void)argc, (void)argv;
    int writer = open("/proc/self/fd/0", O_WRONLY | O_NONBLOCK);
    while (read(0, &byte, 1) > 0) {}
    if (writer >= 0) pause_forever();
    return 0;
}

static int timer_flood(int argc, char **argv) {
    long made = 0;
    (void)argc, (void)argv;
    for (; made < 200000; made++) {
        timer_t timer;
        struct sigevent quiet = {.sigev_notify = SIGEV_NONE};
        if (timer_create(CLOCK_MONOTONIC, &quiet, &timer) < 0) return HELD;
    }
    return escaped("%ld timers were made", made);
}

/* system-time MS: stays in the kernel about that long. */
static int system_time(int argc, char **argv) {
    static char block[1 << 20];
    int64_t end = cpu_ms() + number(argc, argv, 1, 100);
    int from = open("/dev/zero", O_RDONLY);
    if (from < 0) return setup_failed("/dev/zero");
    while (cpu_ms() < end)
        if (read(from, block, sizeof block) <= 0) return SETUP;
    return 0;
}

const struct probe time_probes[] = {
    {"spin", spin},
    {"spin-for", spin_for},
    {"spin-threads", spin_threads},
    {"spin-children", spin_children},
    {"spin-orphans", spin_orphans},
    {"spin-short-children", spin_short_children},
    {"spin-exec", spin_exec},
    {"spin-calls", spin_calls},
    {"evade-ticks", evade_ticks},
    {"spin-ignoring", spin_ignoring},
    {"alarm-storm", alarm_storm},
    {"sleep", sleep_for},
    {"sleep-ever", sleep_ever},
    {"sleep-children", sleep_children},
    {"trickle", trickle},
    {"vfork-pause", vfork_pause},
    {"futex-wait", futex_wait},
    {"fifo-wait", fifo_wait},
    {"lock-wait", lock_wait},
    {"stdin-held-open", stdin_held_open},
    {"timer-flood", timer_flood},
    {"system-time", system_time},
    {0},
};
