#!/usr/bin/env bash
# Makes the images of compose.yaml from Debian's packages, without a registry.
#
#   examples/compose/images.sh [--binaries FOLDER] [--monitoring]
#
# Builds `http_server` and `worker`, unless FOLDER has them, and makes of them
# evalx/service; beside it evalx/queue, which is Redis, and with --monitoring
# evalx/monitoring, which is Prometheus. It needs mmdebstrap and Docker. Then,
# with the images that local.env names:
#
#   cd examples/compose && docker compose --env-file local.env up
set -euo pipefail
cd "$(dirname "$0")/../.."

docker=${DOCKER:-docker}
binaries=
monitoring=
while [ $# -gt 0 ]; do
    case $1 in
    --binaries) binaries=${2:?--binaries needs a folder} && shift 2 ;;
    --monitoring) monitoring=1 && shift ;;
    -h | --help) sed -n '2,12s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) printf 'images.sh: unknown argument %s; there are --binaries and --monitoring\n' "$1" >&2 && exit 2 ;;
    esac
done

if [ -z "$binaries" ]; then
    cargo build --release --locked -p http_server -p worker
    binaries=${CARGO_TARGET_DIR:-target}/release
fi
groups=(languages redis)
[ -z "$monitoring" ] || groups+=(prometheus)
examples/images/make.sh "${groups[@]}"

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT

# Makes image $1 by the Dockerfile on stdin; its context is what lies in $context.
image() {
    cat >"$context/Dockerfile"
    "$docker" build --quiet --tag "$1" "$context" >/dev/null
    printf 'images.sh: %s is made\n' "$1"
}

cp "$binaries/http_server" "$binaries/worker" "$context/"
strip "$context/http_server" "$context/worker"
image evalx/service <<'END'
FROM evalx/languages
USER root
COPY http_server worker /usr/local/bin/
CMD ["http_server"]
END
rm "$context/http_server" "$context/worker"
image evalx/queue <<'END'
FROM evalx/redis
USER root
RUN install --directory --owner redis --group redis /data
USER redis
END
[ -z "$monitoring" ] || image evalx/monitoring <<'END'
FROM evalx/prometheus
USER root
RUN install --directory --owner nobody --group nogroup /prometheus
USER nobody
ENTRYPOINT ["prometheus"]
END
