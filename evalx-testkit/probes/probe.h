/* What every file of the probe shares: verdicts, clocks and small wrappers. */
#ifndef EVALX_PROBE_H
#define EVALX_PROBE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A probe: exit status 0 is "held" or "fine", 1 is "ESCAPED", 2 is "the probe
   could not be set up", 3 is "the sandbox refused what a plain program needs
   here", which resource attacks use to say that they met a limit. */
enum { HELD = 0, ESCAPED = 1, SETUP = 2, REFUSED = 3 };

typedef int (*probe_fn)(int argc, char **argv);

struct probe {
    const char *name;
    probe_fn run;
};

extern const struct probe fidelity_probes[], process_probes[], memory_probes[], time_probes[],
    output_probes[], file_probes[], mount_probes[], kernel_probes[], socket_probes[], ipc_probes[],
    reset_probes[];

/* The whole command line, for probes that execute themselves again. */
extern char **whole_argv;

int escaped(const char *format, ...) __attribute__((format(printf, 1, 2)));
int setup_failed(const char *what);

/* Held if `result` is an error that says "you may not". */
int must_be_refused(long result, const char *what);
/* Held if `result` is any error. */
int must_fail(long result, const char *what);

long number(int argc, char **argv, int index, long fallback);
const char *text(int argc, char **argv, int index, const char *fallback);

int64_t wall_ms(void);
int64_t cpu_ms(void);
void spin_ms(long ms);
void spin_forever(void) __attribute__((noreturn));
void sleep_ms(long ms);
void pause_forever(void) __attribute__((noreturn));

/* Prints a line on stdout at once, so that the host can wait for it. */
void say(const char *line);
/* Maps and touches that many bytes; NULL if the kernel refuses. */
char *touch_bytes(size_t bytes, int flags);
int write_all(int fd, const char *bytes, size_t length);

#endif
