#!/usr/bin/env bash
# A whole Bluesky on 127.0.0.1 for the tests: directory, personal data server, view and moderation of the AT Protocol's
# own packages, with a PostgreSQL and a Redis of its own.
#
#   scripts/atproto.sh fetch                      install the packages once (550 MB, about five minutes), say where
#   scripts/atproto.sh run --dir DIR --port PORT  run it with its files in DIR, until Ctrl-C
#
# PORT is the personal data server's; the next five are the view's, the directory's, moderation's, PostgreSQL's and
# Redis's. It answers when DIR/network.txt says "ready". With --with-parent it ends when its standard input does, and
# deletes DIR. Exit code 69: it cannot be had on this machine, and why.
set -euo pipefail

version=0.3.215
cache=${XDG_CACHE_HOME:-$HOME/.cache}/moksori/atproto-$version
name=atproto
. "$(dirname "${BASH_SOURCE[0]}")/server.sh"

check() {
    local major
    command -v node >/dev/null || die "Node is missing" 69
    major=$(node --version | sed 's/v\([0-9]*\).*/\1/')
    ((major >= 18)) || die "Node $major is too old, 18 or later is wanted" 69
    command -v redis-server >/dev/null || die "Redis is missing; run scripts/setup.sh platforms" 69
    "$here/postgres.sh" check >/dev/null || exit 69
}

# Into a folder of its own, renamed when it is whole: two may fetch at once, and the first one stays.
fetch() {
    check
    if [[ -e $cache/whole ]]; then
        return
    fi
    command -v npm >/dev/null || die "npm is missing, which fetches the packages" 69
    mkdir -p "${cache%/*}"
    new=$(mktemp -d "$cache.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    npm install --prefix "$new" --no-audit --no-fund --no-progress "@atproto/dev-env@$version" >"$new/log.txt" 2>&1 ||
        die "npm could not install @atproto/dev-env $version: $(grep -m1 'npm err' "$new/log.txt" || tail -n1 "$new/log.txt")" 69
    touch "$new/whole"
    chmod 755 "$new"
    mv -T "$new" "$cache" 2>/dev/null || [[ -e $cache/whole ]] || die "$cache is in the way; delete it"
}

# The three servers as children of this shell; it ends with the network.
network() {
    local dir=$1 port=$2
    mkdir -p "$dir/postgres" "$dir/redis"
    "$here/postgres.sh" run --dir "$dir/postgres" --port $((port + 4)) --no-fsync >"$dir/postgres.txt" 2>&1 &
    redis-server --bind 127.0.0.1 --port $((port + 5)) --dir "$dir/redis" --save '' --appendonly no >"$dir/redis.txt" 2>&1 &
    until (exec 3<>"/dev/tcp/127.0.0.1/$((port + 4))") 2>/dev/null && (exec 3<>"/dev/tcp/127.0.0.1/$((port + 5))") 2>/dev/null; do
        sleep 0.2
    done
    sleep 0.5
    psql -q -h 127.0.0.1 -p $((port + 4)) -U postgres -c 'CREATE DATABASE atproto' postgres
    ATPROTO_PACKAGES=$cache ATPROTO_PORT=$port LOG_ENABLED=false REDIS_HOST=127.0.0.1:$((port + 5)) \
        DB_POSTGRES_URL="postgres://postgres@127.0.0.1:$((port + 4))/atproto" \
        node "$here/atproto.js" >"$dir/network.txt" 2>&1
}

command=${1:-}
shift || true
case $command in
fetch) fetch && echo "$cache" ;;
run)
    options -- "$@"
    fetch
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    serve "http://127.0.0.1:$port" "$0" network "$dir" "$port"
    ;;
network) network "$@" ;;
*) die "it is atproto.sh fetch, or atproto.sh run --dir DIR --port PORT" ;;
esac
