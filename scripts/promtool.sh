#!/usr/bin/env bash
# promtool, which tests the alerts (deploy/prometheus): from Debian's package of Prometheus, unpacked and not installed.
#
#   scripts/promtool.sh fetch            download it once (19 MB, and 15 MB of package lists that are not kept)
#   scripts/promtool.sh run WORDS...     run it
#
# Exit code 69: it cannot be had on this machine, and why.
set -euo pipefail

suite=bookworm
cache=${XDG_CACHE_HOME:-$HOME/.cache}/moksori/promtool-$suite
name=promtool
. "$(dirname "${BASH_SOURCE[0]}")/server.sh"

works() {
    "$1/usr/bin/promtool" --version >/dev/null 2>&1
}

fetch() {
    unpack prometheus usr/bin/promtool
}

run() {
    fetch
    exec "$cache/usr/bin/promtool" "$@"
}

fetch_or_run "$@"
