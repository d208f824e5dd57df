#!/usr/bin/env bash
# Isso, a comment server with JSON and Atom, for the tests: on 127.0.0.1, in a Python environment of its own.
#
#   scripts/isso.sh fetch                      install it once (25 MB) and say where it is
#   scripts/isso.sh run --dir DIR --port PORT  run a server whose files are in DIR, until Ctrl-C
#
# With --with-parent it ends when its standard input does, and deletes DIR. Exit code 69: it cannot be had on this
# machine, and why.
set -euo pipefail

version=0.14.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/moksori/isso-$version
name=isso
. "$(dirname "${BASH_SOURCE[0]}")/server.sh"

# The environment names its own folder inside, so it is made where it stays; the mark says that it is whole.
fetch() {
    if [[ -e $cache/whole ]]; then
        return
    fi
    command -v python3 >/dev/null || die "Python is missing" 69
    mkdir -p "${cache%/*}"
    exec 9>"$cache.lock"
    flock 9
    if [[ ! -e $cache/whole ]]; then
        rm -rf "$cache"
        { python3 -m venv "$cache" && "$cache/bin/pip" install -q --disable-pip-version-check "isso==$version" 'setuptools<81'; } \
            >"$cache.txt" 2>&1 || die "pip could not install Isso $version: $(tail -n1 "$cache.txt")" 69
        rm -f "$cache.txt"
        touch "$cache/whole"
    fi
    flock -u 9
}

run() {
    options -- "$@"
    fetch
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    cat >"$dir/isso.cfg" <<CONF
[general]
dbpath = $dir/comments.db
host = http://127.0.0.1:$port
latest-enabled = true
[server]
listen = http://127.0.0.1:$port
[guard]
enabled = true
ratelimit = 1000
direct-reply = 1000
reply-to-self = true
[rss]
base = http://127.0.0.1:$port
limit = 100
CONF
    serve "http://127.0.0.1:$port" "$cache/bin/isso" -c "$dir/isso.cfg" run
}

fetch_or_run "$@"
