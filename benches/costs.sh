#!/usr/bin/env bash
# Where the microseconds of a run go: profiles `evalx bench` and prints, for
# each part of the work, CPU time per run of a static C program.
#
#   benches/costs.sh [SECONDS]
#
# Needs perf (Debian: linux-perf), root, cc, and a machine that does nothing
# else: what other processes use is left out, but they take its caches.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-8}
for need in perf:linux-perf cc:gcc; do
    command -v "${need%:*}" >/dev/null || {
        printf 'costs: %s is missing\nhelp: apt-get install %s\n' "${need%:*}" "${need#*:}" >&2
        exit 3
    }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n' >"$work/hello.c"
cc -O2 -static -o "$work/hello" "$work/hello.c"
cargo build --release --quiet -p evalx-cli
evalx=${CARGO_TARGET_DIR:-target}/release/evalx

profile() { perf record --quiet --all-cpus --call-graph fp -F 2000 -e cpu-clock -o "$work/$1" -- "${@:2}"; }
# The bench alternates with the floor, so its own rate tells how many runs were sandboxed.
profile data "$evalx" bench --concurrency 2 --runs $((seconds * 600)) --json -- "$work/hello" >"$work/result"
perf script -i "$work/data" -F comm,ip,sym 2>/dev/null >"$work/stacks"

awk -v result="$(cat "$work/result")" '
    # Each sample is a line with the command, then a line for each frame, then
    # an empty one. It counts for the first part one of whose names is in it.
    BEGIN {
        match(result, /"runs":[0-9]+/); runs = substr(result, RSTART + 7, RLENGTH - 7)
        parts = split("seccomp:do_seccomp;Landlock:landlock;new namespaces:copy_namespaces;" \
            "mounts of the session:__x64_sys_mount;end of the mount namespace:put_mnt_ns|cleanup_mnt|deactivate_super|umount_tree;" \
            "execve:execve;end of a process:do_exit;new process:copy_process|kernel_clone;cgroup files:cgroup_file|kernfs_fop;" \
            "waiting and waking:schedule|do_idle|__wake_up|finish_task_switch;messages:sendmsg|recvmsg|unix_stream;" \
            "files:openat|close|mkdirat|dup3|fchownat", table, ";")
        for (i = 1; i <= parts; i++) { split(table[i], pair, ":"); name[i] = pair[1]; pattern[i] = pair[2] }
    }
    function count() {
        if (who == "") return
        for (i = 1; i <= parts; i++) if (stack ~ pattern[i]) { samples[who, i]++; break }
        if (i > parts) samples[who, i]++
        total[who]++
    }
    /^[^ \t]/ { count(); stack = ""; who = ""
        if ($1 == "exe" || $1 ~ /^evalx-launcher/) who = "slot"
        else if ($1 == "hello") who = "program"
        next }
    { stack = stack " " $0 }
    END {
        count()
        printf "%-34s %10s\n", "part of a slot'"'"'s work, µs a run", "µs"
        for (i = 1; i <= parts + 1; i++)
            printf("%-34s %10.1f\n", (i > parts ? "everything else" : name[i]), samples["slot", i] * 500 / runs)
        printf "%-34s %10.1f\n", "together", total["slot"] * 500 / runs
        # The program runs as often in the floor as in the sandbox.
        printf "%-34s %10.1f\n", "the program itself, floor and sandbox", total["program"] * 500 / runs / 2
    }' "$work/stacks"
cat "$work/result"
