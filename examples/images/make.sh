#!/usr/bin/env bash
# Makes images of languages from Debian's packages alone, without a registry.
#
#   examples/images/make.sh [--force] [GROUP...]
#
# A GROUP is one of the *.packages files here, or `scratch`, an image without a
# single file; by default `base`. Image evalx/GROUP is made by mmdebstrap and
# `docker import`, unless one of the same packages is there already. It needs
# mmdebstrap (apt-get install mmdebstrap) and, unless it runs as root, uidmap.
# DOCKER names another command, such as podman; SUITE another Debian.
set -euo pipefail
cd "$(dirname "$0")"

docker=${DOCKER:-docker}
suite=${SUITE:-bookworm}
force=
groups=()
for argument in "$@"; do
    case $argument in
    --force) force=1 ;;
    -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0" && exit 0 ;;
    scratch) groups+=("$argument") ;;
    *)
        [ -f "$argument.packages" ] || {
            printf 'make.sh: no group %s; there are: scratch %s\n' "$argument" "$(basename -s .packages ./*.packages | xargs)" >&2
            exit 2
        }
        groups+=("$argument")
        ;;
    esac
done
[ ${#groups[@]} -gt 0 ] || groups=(base)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for group in "${groups[@]}"; do
    image=evalx/$group
    if [ "$group" = scratch ]; then
        packages=
    else
        packages=$(sed 's/#.*//' "$group.packages" | xargs)
    fi
    # What the image is made of: this script and its packages.
    mark=$(printf '%s %s %s' "$suite" "$packages" "$(sha256sum <make.sh)" | sha256sum | cut -d ' ' -f 1)
    known=$("$docker" image inspect --format '{{index .Config.Labels "evalx.made-of"}}' "$image" 2>/dev/null || true)
    if [ -z "$force" ] && [ "$known" = "$mark" ]; then
        printf 'make.sh: %s is there\n' "$image"
        continue
    fi
    printf 'make.sh: making %s\n' "$image"
    if [ "$group" = scratch ]; then
        tar --create --file "$work/root.tar" --files-from /dev/null
    else
        command -v mmdebstrap >/dev/null || {
            printf 'make.sh: mmdebstrap is missing: apt-get install mmdebstrap\n' >&2
            exit 3
        }
        # What a program could take for traces of somebody else is left out.
        # Packages of Java fail where the pages of manuals have no folder.
        mmdebstrap --quiet --variant=essential --include="${packages// /,}" \
            --setup-hook='mkdir -p "$1/usr/share/man/man1"' \
            --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
            --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
            --customize-hook='find "$1/var/log" "$1/var/spool" "$1/var/mail" "$1/root" "$1/home" -mindepth 1 -delete' \
            "$suite" "$work/root.tar"
    fi
    "$docker" import --change "LABEL evalx.made-of=$mark" --change 'USER 65534:65534' "$work/root.tar" "$image" >/dev/null
    rm -f "$work/root.tar"
    printf 'make.sh: %s is made\n' "$image"
done
