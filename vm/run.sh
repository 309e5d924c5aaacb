#!/usr/bin/env bash
# Runs the suites of the native backend on a kernel of their own, with cgroup
# v2, as root and as an ordinary user with a delegated cgroup.
#
#   vm/run.sh [--self-test] [--package NAME]... [--suite NAME]... [-- LIBTEST-ARGUMENT...]
#
# Boots Debian's cloud kernel under QEMU with an initramfs of busybox and
# statically linked test programs. The kernel is taken from Debian's archive
# once, and kept below the target folder. Exit status: that of the suites.
#
# EVALX_VM_TIMEOUT: seconds until the machine is given up, 1500 by default.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'vm: %s\n' "$*" >&2; }
give_up() {
    say "$1"
    say "help: $2"
    exit 3
}

package=evalx-sandbox-native
suites=()
arguments=()
self_test_only=
while [ $# -gt 0 ]; do
    case $1 in
    --self-test) self_test_only=1 ;;
    --package) package=$2 && shift ;;
    --suite) suites+=("$2") && shift ;;
    --) shift && arguments=("$@") && break ;;
    *) say "unknown argument $1: see the head of vm/run.sh" && exit 2 ;;
    esac
    shift
done
[ ${#suites[@]} -gt 0 ] || suites=(conformance escape)

[ "$(uname -m)" = x86_64 ] || give_up "this machine is not x86-64" "run it on one"
for need in cc:gcc qemu-system-x86_64:qemu-system-x86 cpio:cpio busybox:busybox-static; do
    command -v "${need%:*}" >/dev/null || give_up "${need%:*} is missing" "apt-get install ${need#*:}"
done
busybox=$(command -v busybox)
# A program that needs shared libraries can't run in the initramfs.
if LC_ALL=C ldd "$busybox" >/dev/null 2>&1; then
    give_up "$busybox is not statically linked" "apt-get install busybox-static"
fi

cache=${CARGO_TARGET_DIR:-$PWD/target}/vm
mkdir -p "$cache"

# The kernel: the newest that the archive has, unpacked and not installed.
if ! compgen -G "$cache/kernel/boot/vmlinuz-*" >/dev/null; then
    command -v apt-get >/dev/null || give_up "no Debian archive to take a kernel from" "run it on Debian"
    image=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    [ -n "$image" ] || give_up "the archive has no linux-image-cloud-amd64" "apt-get update"
    say "fetching $image"
    rm -rf "$cache/download" "$cache/kernel.new"
    mkdir -p "$cache/download"
    (cd "$cache/download" && apt-get -o APT::Sandbox::User=root download "$image" >&2) ||
        give_up "$image can't be fetched" "apt-get update"
    dpkg-deb -x "$cache"/download/linux-image-*.deb "$cache/kernel.new"
    rm -rf "$cache/kernel"
    mv "$cache/kernel.new" "$cache/kernel"
    rm -rf "$cache/download"
fi
kernel=$(compgen -G "$cache/kernel/boot/vmlinuz-*" | head -n 1)
modules=$(compgen -G "$cache/kernel/lib/modules/*/kernel" | head -n 1)

root=$(mktemp -d "$cache/root.XXXXXX")
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,sbin,etc,proc,sys,dev,tmp,run,evalx/suites,evalx/modules}
cp "$busybox" "$root/bin/busybox"
cp vm/init "$root/init"
cp vm/self-test "$root/evalx/self-test"
cp "$modules/fs/overlayfs/overlay.ko" "$root/evalx/modules/"
printf 'root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\ntty:x:5:\nuser:x:1000:\nnogroup:x:65534:\n' >"$root/etc/group"
printf '127.0.0.1 localhost\n' >"$root/etc/hosts"
printf '%s ' --color never "${arguments[@]}" >"$root/evalx/arguments"
# An emulated processor is several times slower than a real one.
printf 'export EVALX_REQUIRE=%s EVALX_PROBES=/evalx/probes EVALX_TIME_SCALE=%s\n' \
    native "${EVALX_VM_TIME_SCALE:-6}" >"$root/evalx/environment"

if [ -z "$self_test_only" ]; then
    # A folder of its own, since other flags would rebuild everything each time.
    # With an explicit target, build scripts and macros stay dynamic.
    flags=()
    for suite in "${suites[@]}"; do flags+=(--test "$suite"); done
    say "building ${suites[*]} of $package, statically linked"
    RUSTFLAGS="-C target-feature=+crt-static" CARGO_PROFILE_DEV_STRIP=debuginfo \
        CARGO_TARGET_DIR="$cache/cargo" \
        cargo test --no-run --target x86_64-unknown-linux-gnu -p "$package" "${flags[@]}" \
        --message-format=json >"$cache/artifacts.json"
    for suite in "${suites[@]}"; do
        program=$(grep -F '"reason":"compiler-artifact"' "$cache/artifacts.json" |
            grep -F "\"name\":\"$suite\"" | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
        [ -n "$program" ] || give_up "cargo built no test program named $suite" "look at its messages above"
        cp "$program" "$root/evalx/suites/$suite"
    done
    # What runs inside the sandboxes; there is no compiler in the machine.
    mkdir "$root/evalx/probes"
    if [ -n "${EVALX_PROBES:-}" ]; then
        cp "$EVALX_PROBES/probe" "$root/evalx/probes/"
    else
        cc -static -O1 -s -w -pthread -o "$root/evalx/probes/probe" evalx-testkit/probes/*.c
    fi
fi

(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$cache/initramfs.cpio"

# Emulated and not virtualised, so that it runs where there is no /dev/kvm.
say "booting $(basename "$kernel"), initramfs of $(du -h "$cache/initramfs.cpio" | cut -f1)"
console=$cache/console.log
timeout --foreground "${EVALX_VM_TIMEOUT:-1500}" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 2G \
    -nodefaults -display none -serial stdio -no-reboot -nic none \
    -kernel "$kernel" -initrd "$cache/initramfs.cpio" \
    -append "console=ttyS0 quiet panic=-1 cgroup_no_v1=all random.trust_cpu=on tsc=reliable mitigations=off" \
    </dev/null | tr -d '\r' | tee "$console" || say "the machine was given up"

status=$(sed -n 's/^evalx-vm: exit \([0-9]*\)$/\1/p' "$console" | tail -n 1)
if [ -z "$status" ]; then
    say "the machine ended without a result: its console is in $console"
    exit 1
fi
say "exit $status"
exit "$status"
