/* Class 9: what a run could leave behind for the next one, and whether it did. */
#include "probe.h"
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>

/* dirty: changes everything about itself and its surroundings that it may. */
static int dirty(int argc, char **argv) {
    (void)argc, (void)argv;
    struct rlimit small = {16, 16};
    umask(0);
    sethostname("evalx-dirty", 11);
    setpriority(PRIO_PROCESS, 0, 10);
    personality(ADDR_NO_RANDOMIZE);
    prctl(PR_SET_TIMERSLACK, 12345678UL, 0, 0, 0);
    setrlimit(RLIMIT_NOFILE, &small);
    setenv("EVALX_DIRTY", "1", 1);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (int s = 1; s < 65; s++) signal(s, SIG_IGN);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    sched_setaffinity(0, sizeof one, &one);
    int fd = open("/proc/self/oom_score_adj", O_WRONLY);
    if (fd >= 0 && write(fd, "1000", 4) < 0) return HELD;
    return HELD;
}

/* state: prints all of it, for the host to compare from run to run. */
static int state(int argc, char **argv) {
    struct utsname name;
    struct rlimit limit;
    struct sigaction action;
    sigset_t blocked;
    cpu_set_t processors;
    char line[64] = "?";
    (void)argc, (void)argv;
    mode_t mask = umask(0);
    uname(&name);
    printf("umask %o\nhost %s %s\n", mask, name.nodename, name.domainname);
    printf("nice %d\npersonality %x\n", getpriority(PRIO_PROCESS, 0), personality(0xffffffff));
    printf("slack %ld\ndumpable %d\nreaper %d\n", (long)prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0),
           prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), prctl(PR_GET_CHILD_SUBREAPER, 0, 0, 0, 0));
    for (int r = 0; r < 16; r++) {
        getrlimit(r, &limit);
        printf("rlimit%d %llx %llx\n", r, (unsigned long long)limit.rlim_cur, (unsigned long long)limit.rlim_max);
    }
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    printf("signals");
    for (int s = 1; s < 65; s++) {
        if (sigaction(s, NULL, &action) == 0 && action.sa_handler != SIG_DFL) printf(" %d", s);
        if (sigismember(&blocked, s) == 1) printf(" b%d", s);
    }
    sched_getaffinity(0, sizeof processors, &processors);
    printf("\nprocessors %d\n", CPU_COUNT(&processors));
    FILE *score = fopen("/proc/self/oom_score_adj", "r");
    if (score && !fgets(line, sizeof line, score)) line[0] = 0;
    printf("oom %s", line);
    printf("\nparent %d group %d session %d\n", getppid(), getpgrp() == getpid(), getsid(0) == getpid());
    return 0;
}

const struct probe reset_probes[] = {{"dirty", dirty}, {"state", state}, {0}};
