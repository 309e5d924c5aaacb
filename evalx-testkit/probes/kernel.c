/* Class 6: system calls that widen the surface of the kernel. */
#include "probe.h"
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/uio.h>

static long try_bpf(void) {
    union bpf_attr map = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 4};
    return syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof map);
}

static long try_perf(void) {
    struct perf_event_attr event = {.type = PERF_TYPE_SOFTWARE, .size = sizeof event,
                                    .config = PERF_COUNT_SW_TASK_CLOCK, .exclude_kernel = 1, .exclude_hv = 1};
    return syscall(SYS_perf_event_open, &event, 0, -1, -1, 0);
}

static long try_io_uring(void) {
    char parameters[256] = {0};
    return syscall(425 /* io_uring_setup */, 4, parameters);
}

static long try_aio(void) {
    unsigned long context = 0;
    return syscall(SYS_io_setup, 1, &context);
}

static long try_add_key(void) { return syscall(SYS_add_key, "user", "evalx", "x", 1, -3 /* session */); }
static long try_keyctl(void) { return syscall(SYS_keyctl, 0 /* get id */, -3, 1, 0, 0); }
static long try_join_keyring(void) { return syscall(SYS_keyctl, 1 /* join session */, "evalx", 0, 0, 0); }
static long try_user_keyring(void) { return syscall(SYS_keyctl, 0 /* get id */, -4 /* user */, 1, 0, 0); }
static long try_request_key(void) { return syscall(SYS_request_key, "user", "evalx", NULL, 0); }
static long try_userfaultfd(void) { return syscall(SYS_userfaultfd, 1 /* user mode only */ | O_CLOEXEC); }
static long try_kexec_load(void) { return syscall(SYS_kexec_load, 0, 0, NULL, 0); }
static long try_kexec_file(void) { return syscall(SYS_kexec_file_load, -1, -1, 0, "", 0); }
static long try_init_module(void) { return syscall(SYS_init_module, "x", 1, ""); }
static long try_finit_module(void) { return syscall(SYS_finit_module, 0, "", 0); }
static long try_delete_module(void) { return syscall(SYS_delete_module, "evalx_none", O_NONBLOCK); }
static long try_reboot(void) { return syscall(SYS_reboot, 0xfee1dead, 672274793, 0 /* CAD off */, 0); }
static long try_acct(void) { return acct(NULL); }
static long try_quotactl(void) { return syscall(SYS_quotactl, 0x80000100 /* sync */, NULL, 0, NULL); }
static long try_swapon(void) { return syscall(SYS_swapon, "/box/swap", 0); }
static long try_swapoff(void) { return syscall(SYS_swapoff, "/box/swap"); }
static long try_nfsservctl(void) { return syscall(SYS_nfsservctl, 0, NULL, NULL); }
static long try_sethostname(void) { return sethostname("evalx-probe", 11); }
static long try_setdomainname(void) { return setdomainname("evalx-probe", 11); }
static long try_vhangup(void) { return syscall(SYS_vhangup); }
static long try_syslog(void) { return syscall(SYS_syslog, 3 /* read all */, (char[64]){0}, 64); }
static long try_fanotify(void) { return syscall(SYS_fanotify_init, 0x200 /* by file id */, O_RDONLY); }
static long try_attach_init(void) { return ptrace(PTRACE_ATTACH, 1, NULL, NULL); }
static long try_seize_init(void) { return ptrace(PTRACE_SEIZE, 1, NULL, NULL); }
static long try_kcmp(void) { return syscall(SYS_kcmp, 1, getpid(), 1, 0, 0); }
static long try_migrate(void) { return syscall(SYS_migrate_pages, 1, 0, NULL, NULL); }
static long try_lookup_cookie(void) {
#ifdef SYS_lookup_dcookie
    return syscall(SYS_lookup_dcookie, 1ULL, (char[64]){0}, 64);
#else
    errno = ENOSYS;
    return -1;
#endif
}

static long try_iopl(void) {
#ifdef SYS_iopl
    return syscall(SYS_iopl, 3);
#else
    errno = ENOSYS;
    return -1;
#endif
}

static long try_ioperm(void) {
#ifdef SYS_ioperm
    return syscall(SYS_ioperm, 0x80, 1, 1);
#else
    errno = ENOSYS;
    return -1;
#endif
}

static long try_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return clock_settime(CLOCK_REALTIME, &now);
}

static long try_timeofday(void) {
    struct timeval now;
    gettimeofday(&now, NULL);
    return settimeofday(&now, NULL);
}

static long try_adjtime(void) {
    struct timex change = {.modes = ADJ_TICK, .tick = 10000};
    return adjtimex(&change);
}

static long try_read_init(void) {
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)0x400000, 1};
    return process_vm_readv(1, &here, 1, &there, 1, 0);
}

static long try_write_init(void) {
    char byte = 0;
    struct iovec here = {&byte, 1}, there = {(void *)0x400000, 1};
    return process_vm_writev(1, &here, 1, &there, 1, 0);
}

static long try_steal_descriptor(void) {
    long fd = syscall(SYS_pidfd_open, 1, 0);
    return fd < 0 ? fd : syscall(438 /* pidfd_getfd */, fd, 0, 0);
}

static const struct {
    const char *name;
    long (*try)(void);
} calls[] = {
    {"bpf", try_bpf}, {"perf_event_open", try_perf}, {"io_uring_setup", try_io_uring}, {"io_setup", try_aio},
    {"add_key", try_add_key}, {"keyctl", try_keyctl}, {"keyctl_join", try_join_keyring},
    {"keyctl_user", try_user_keyring}, {"request_key", try_request_key}, {"userfaultfd", try_userfaultfd},
    {"kexec_load", try_kexec_load}, {"kexec_file_load", try_kexec_file}, {"init_module", try_init_module},
    {"finit_module", try_finit_module}, {"delete_module", try_delete_module}, {"reboot", try_reboot},
    {"acct", try_acct}, {"quotactl", try_quotactl}, {"swapon", try_swapon}, {"swapoff", try_swapoff},
    {"nfsservctl", try_nfsservctl}, {"sethostname", try_sethostname}, {"setdomainname", try_setdomainname},
    {"vhangup", try_vhangup}, {"syslog", try_syslog}, {"fanotify_init", try_fanotify},
    {"ptrace_attach_init", try_attach_init}, {"ptrace_seize_init", try_seize_init}, {"kcmp_init", try_kcmp},
    {"migrate_pages_init", try_migrate}, {"lookup_dcookie", try_lookup_cookie}, {"iopl", try_iopl},
    {"ioperm", try_ioperm}, {"clock_settime", try_clock}, {"settimeofday", try_timeofday},
    {"adjtimex", try_adjtime}, {"process_vm_readv_init", try_read_init},
    {"process_vm_writev_init", try_write_init}, {"pidfd_getfd_init", try_steal_descriptor},
};

/* call NAME: that system call is refused. */
static int call(int argc, char **argv) {
    const char *name = text(argc, argv, 1, "");
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (strcmp(calls[i].name, name) == 0) {
            long result = calls[i].try();
            return must_be_refused(result, name);
        }
    errno = EINVAL;
    return setup_failed(name);
}

/* A filter of our own that allows everything opens nothing again. */
static int loosen_filter(int argc, char **argv) {
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {1, &allow};
    (void)argc, (void)argv;
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) return HELD;
    if (try_keyctl() >= 0) return escaped("keyctl works after a filter of our own");
    if (try_bpf() >= 0) return escaped("bpf works after a filter of our own");
    return syscall(SYS_unshare, 0x10000000) == 0 ? escaped("unshare works after a filter of our own") : HELD;
}

static int i386_call(int argc, char **argv) {
    (void)argc, (void)argv;
#if defined(__x86_64__)
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
    return result == getpid() ? escaped("an i386 call was answered") : HELD;
#else
    return HELD;
#endif
}

static int x32_call(int argc, char **argv) {
    (void)argc, (void)argv;
#if defined(__x86_64__)
    return syscall(0x40000000 | 39) >= 0 ? escaped("an x32 call was answered") : HELD;
#else
    return HELD;
#endif
}

/* Numbers no filter knows: those of the future are refused too. */
static int unknown_calls(int argc, char **argv) {
    (void)argc, (void)argv;
    for (long n = 600; n < 1024; n++)
        if (syscall(n, 0, 0, 0, 0, 0, 0) >= 0) return escaped("system call %ld was answered", n);
    return syscall(-1L) >= 0 ? escaped("system call -1 was answered") : HELD;
}

/* Keystrokes put into the terminal of whoever started us. */
static int terminal_input(int argc, char **argv) {
    char key = 'x';
    (void)argc, (void)argv;
    for (int fd = 0; fd < 3; fd++) {
        if (ioctl(fd, TIOCSTI, &key) == 0) return escaped("TIOCSTI put a key in");
        if (ioctl(fd, TIOCLINUX, &key) == 0) return escaped("TIOCLINUX worked");
        if (ioctl(fd, 0x5425 /* TCSBRKP */ + 0x2f, 0) == 0) continue;
    }
    int tty = open("/dev/tty", O_RDWR);
    if (tty >= 0 && ioctl(tty, TIOCSTI, &key) == 0) return escaped("TIOCSTI on /dev/tty put a key in");
    tty = open("/dev/console", O_RDWR | O_NOCTTY);
    return tty >= 0 ? escaped("/dev/console was opened") : HELD;
}

/* TIOCSTI with the upper half of the number set: filters that compare 64 bits miss it. */
static int terminal_input_high(int argc, char **argv) {
    char key = 'x';
    (void)argc, (void)argv;
    return must_fail(syscall(SYS_ioctl, 0, 0x100000000UL | TIOCSTI, &key), "TIOCSTI in disguise");
}

static int core_limit(int argc, char **argv) {
    struct rlimit core;
    (void)argc, (void)argv;
    getrlimit(RLIMIT_CORE, &core);
    return core.rlim_max > 1 ? escaped("core dumps of %llu bytes", (unsigned long long)core.rlim_max) : HELD;
}

static int kernel_addresses(int argc, char **argv) {
    char line[256];
    FILE *symbols = fopen("/proc/kallsyms", "r");
    (void)argc, (void)argv;
    if (!symbols || !fgets(line, sizeof line, symbols)) return HELD;
    return strtoull(line, NULL, 16) != 0 ? escaped("kernel addresses are shown") : HELD;
}

const struct probe kernel_probes[] = {
    {"call", call},
    {"loosen-filter", loosen_filter},
    {"i386-call", i386_call},
    {"x32-call", x32_call},
    {"unknown-calls", unknown_calls},
    {"terminal-input", terminal_input},
    {"terminal-input-high", terminal_input_high},
    {"core-limit", core_limit},
    {"kernel-addresses", kernel_addresses},
    {0},
};
