/* Class 1: processes that multiply, hide, outlive, and signal what is not theirs. */
#include "probe.h"
#include <dirent.h>
#include <linux/ioprio.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>

static int fork_bomb(int argc, char **argv) {
    (void)argc, (void)argv;
    for (;;) fork();
}

static void vfork_deeper(void) {
    pid_t pid = vfork();
    if (pid == 0) vfork_deeper();
    spin_forever();
}

static int vfork_bomb(int argc, char **argv) {
    (void)argc, (void)argv;
    vfork_deeper();
    return 0;
}

static void *spinner(void *unused) {
    (void)unused;
    spin_forever();
}

static void *sleeper(void *unused) {
    (void)unused;
    pause_forever();
}

static int thread_bomb(int argc, char **argv) {
    (void)argc, (void)argv;
    for (;;) {
        pthread_t thread;
        pthread_create(&thread, NULL, spinner, NULL);
    }
}

static int exec_chain(int argc, char **argv) {
    (void)argc, (void)argv;
    execv(whole_argv[0], whole_argv);
    return setup_failed("exec");
}

/* Each process forks the next and ends: no pid lives long enough to be hit. */
static int pid_hopper(int argc, char **argv) {
    (void)argc, (void)argv;
    if (fork() > 0) return HELD;
    for (;;)
        if (fork() > 0) _exit(0);
}

/* daemon KIND: leaves a process behind in one of several ways, and ends. */
static int leave_daemon(int argc, char **argv) {
    const char *kind = text(argc, argv, 1, "setsid");
    int ready[2];
    char byte;
    if (pipe(ready) < 0) return setup_failed("pipe");
    if (strcmp(kind, "subreaper") == 0) prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    if (strcmp(kind, "clone-parent") == 0) {
        long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
        if (pid == 0) pause_forever();
        return HELD;
    }
    pid_t pid = fork();
    if (pid < 0) return setup_failed("fork");
    if (pid == 0) {
        close(ready[0]);
        if (strcmp(kind, "double") == 0 && fork() > 0) _exit(0);
        if (strcmp(kind, "plain") != 0) setsid();
        if (strcmp(kind, "pdeathsig") == 0) prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
        for (int s = 1; s < 65; s++) signal(s, SIG_IGN);
        if (strcmp(kind, "closed") == 0)
            for (int fd = 0; fd < 3; fd++) close(fd);
        if (write(ready[1], "x", 1) < 0) _exit(1);
        if (strcmp(kind, "spin") == 0) spin_forever();
        pause_forever();
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) < 0) return setup_failed("read");
    return HELD;
}

static int ignore_signals(int argc, char **argv) {
    (void)argc, (void)argv;
    for (int s = 1; s < 65; s++) signal(s, SIG_IGN);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    pause_forever();
}

static int stop_group(int argc, char **argv) {
    (void)argc, (void)argv;
    kill(0, SIGSTOP);
    pause_forever();
}

static int stop_self(int argc, char **argv) {
    (void)argc, (void)argv;
    raise(SIGSTOP);
    pause_forever();
}

static int kill_everyone(int argc, char **argv) {
    kill(-1, (int)number(argc, argv, 1, SIGKILL));
    return HELD;
}

/* Every signal to PID 1, by every call that sends one. */
static int kill_init(int argc, char **argv) {
    (void)argc, (void)argv;
    if (getpid() == 1) return escaped("the program itself is PID 1");
    for (int s = 1; s < 65; s++) {
        siginfo_t info = {.si_signo = s, .si_code = SI_QUEUE};
        if (s == SIGCHLD) continue;
        kill(1, s);
        syscall(SYS_tgkill, 1, 1, s);
        syscall(SYS_tkill, 1, s);
        syscall(SYS_rt_sigqueueinfo, 1, s, &info);
        long fd = syscall(SYS_pidfd_open, 1, 0);
        if (fd >= 0) {
            syscall(SYS_pidfd_send_signal, fd, s, NULL, 0);
            close((int)fd);
        }
    }
    return HELD;
}

/* No pid but our own and the init's may exist for us. */
static int signal_strangers(int argc, char **argv) {
    (void)argc, (void)argv;
    for (pid_t pid = 2; pid < 40000; pid++) {
        if (pid == getpid() || (kill(pid, 0) < 0 && errno == ESRCH)) continue;
        return escaped("process %d can be seen", pid);
    }
    return HELD;
}

/* proc-list MAX: how many processes /proc shows. */
static int proc_list(int argc, char **argv) {
    long seen = 0, most = number(argc, argv, 1, 2);
    DIR *proc = opendir("/proc");
    if (!proc) return HELD;
    for (struct dirent *entry; (entry = readdir(proc));)
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') seen++;
    closedir(proc);
    return seen > most ? escaped("/proc shows %ld processes, not %ld", seen, most) : HELD;
}

static int raise_priority(int argc, char **argv) {
    const char *kind = text(argc, argv, 1, "nice");
    struct sched_param param = {.sched_priority = 1};
    if (strcmp(kind, "nice") == 0) {
        errno = 0;
        if (setpriority(PRIO_PROCESS, 0, -5) == 0) return escaped("niceness went down to -5");
        return HELD;
    }
    if (strcmp(kind, "fifo") == 0) return must_fail(sched_setscheduler(0, SCHED_FIFO, &param), "SCHED_FIFO");
    if (strcmp(kind, "rr") == 0) return must_fail(sched_setscheduler(0, SCHED_RR, &param), "SCHED_RR");
    return must_fail(syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_RT, 0)),
                     "real-time I/O priority");
}

static int raise_rlimits(int argc, char **argv) {
    const int kinds[] = {RLIMIT_NPROC, RLIMIT_NOFILE, RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE, RLIMIT_RTPRIO,
                         RLIMIT_NICE, RLIMIT_SIGPENDING, RLIMIT_CORE, RLIMIT_CPU};
    (void)argc, (void)argv;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct rlimit limit;
        getrlimit(kinds[i], &limit);
        if (limit.rlim_max == RLIM_INFINITY) continue;
        limit.rlim_max++;
        if (setrlimit(kinds[i], &limit) == 0) return escaped("hard limit %d was raised", kinds[i]);
    }
    return HELD;
}

static int prlimit_init(int argc, char **argv) {
    struct rlimit none = {0, 0};
    (void)argc, (void)argv;
    return must_fail(prlimit(1, RLIMIT_NOFILE, &none, NULL), "prlimit on PID 1");
}

static int oom_score(int argc, char **argv) {
    (void)argc, (void)argv;
    int fd = open("/proc/self/oom_score_adj", O_WRONLY);
    return fd < 0 ? HELD : must_fail(write(fd, "-1000", 5), "an oom_score_adj of -1000");
}

/* children COUNT REFUSED-CODE KIND: holds that many at once, prints how many
   came to be, and exits with the code if one was refused. */
static int children(int argc, char **argv) {
    long wanted = number(argc, argv, 1, 8), made = 0;
    int threads = strcmp(text(argc, argv, 3, "fork"), "thread") == 0;
    for (; made < wanted; made++) {
        pthread_t thread;
        pid_t pid = threads ? -pthread_create(&thread, NULL, sleeper, NULL) : fork();
        if (pid < 0) break;
        if (pid == 0 && !threads) pause_forever();
    }
    printf("%ld\n", made);
    fflush(stdout);
    if (strcmp(text(argc, argv, 4, ""), "abort") == 0 && made < wanted) abort();
    _exit(made < wanted ? (int)number(argc, argv, 2, 1) : 0);
}

static int zombies(int argc, char **argv) {
    (void)argc, (void)argv;
    for (;;) {
        pid_t pid = fork();
        if (pid < 0) return REFUSED;
        if (pid == 0) _exit(0);
    }
}

/* The main thread ends, another one spins on. */
static int main_thread_exits(int argc, char **argv) {
    pthread_t thread;
    (void)argc, (void)argv;
    pthread_create(&thread, NULL, spinner, NULL);
    pthread_exit(NULL);
}

/* Its parent, our init, would see stops instead of an end. */
static int traceme(int argc, char **argv) {
    (void)argc, (void)argv;
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0) return HELD;
    raise(SIGTRAP);
    raise(SIGSTOP);
    return HELD;
}

/* orphan-output MS: a child goes on writing to stdout after the program's end. */
static int orphan_output(int argc, char **argv) {
    long ms = number(argc, argv, 1, 30000);
    if (fork() == 0) {
        int64_t end = wall_ms() + ms;
        while (wall_ms() < end) {
            sleep_ms(20);
            if (write(1, "late\n", 5) < 0) _exit(0);
        }
        _exit(0);
    }
    say("done");
    return HELD;
}

const struct probe process_probes[] = {
    {"fork-bomb", fork_bomb},
    {"vfork-bomb", vfork_bomb},
    {"thread-bomb", thread_bomb},
    {"exec-chain", exec_chain},
    {"pid-hopper", pid_hopper},
    {"daemon", leave_daemon},
    {"ignore-signals", ignore_signals},
    {"stop-group", stop_group},
    {"stop-self", stop_self},
    {"kill-everyone", kill_everyone},
    {"kill-init", kill_init},
    {"signal-strangers", signal_strangers},
    {"proc-list", proc_list},
    {"raise-priority", raise_priority},
    {"raise-rlimits", raise_rlimits},
    {"prlimit-init", prlimit_init},
    {"oom-score", oom_score},
    {"children", children},
    {"zombies", zombies},
    {"main-thread-exits", main_thread_exits},
    {"traceme", traceme},
    {"orphan-output", orphan_output},
    {0},
};
