#!/usr/bin/env bash
# snac2, a small server that speaks a part of Mastodon's API and writes a feed for each user, for the tests: on
# 127.0.0.1, from Debian's own package, unpacked and not installed.
#
#   scripts/snac.sh fetch                      download it once (250 kB, and 15 MB of package lists that are not kept)
#   scripts/snac.sh run --dir DIR --port PORT  run a server whose files are in DIR, until Ctrl-C
#
# Its users are brandcs and minji; their passwords stand in DIR/brandcs.password and DIR/minji.password. With
# --with-parent it ends when its standard input does, and deletes DIR. Exit code 69: it cannot be had on this machine,
# and why.
set -euo pipefail

suite=trixie
cache=${XDG_CACHE_HOME:-$HOME/.cache}/moksori/snac-$suite
name=snac
. "$(dirname "${BASH_SOURCE[0]}")/server.sh"

# Without words it says who it is.
works() {
    [[ $("$1/usr/bin/snac" 2>&1) == "snac 2"* ]]
}

fetch() {
    unpack snac2 usr/bin/snac
}

# A fresh server asks for its address, port, name, a prefix and an admin's address; and is meant for TLS in front of it.
format() {
    local dir=$1 port=$2 snac=$cache/usr/bin/snac user
    printf '127.0.0.1\n%s\n127.0.0.1:%s\n\n\n' "$port" "$port" | "$snac" init "$dir/data" >>"$dir/log.txt" 2>&1 ||
        die "snac init failed: $(tail -n1 "$dir/log.txt")"
    sed -i 's/"protocol": "https"/"protocol": "http"/' "$dir/data/server.json"
    for user in brandcs minji; do
        printf '\n' | "$snac" adduser "$dir/data" "$user" 2>&1 | tee -a "$dir/log.txt" |
            sed -n 's|^User password is ||p' | tail -n1 >"$dir/$user.password"
    done
}

run() {
    options -- "$@"
    fetch
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    [[ -d $dir/data ]] || format "$dir" "$port"
    serve "http://127.0.0.1:$port, users brandcs and minji" "$cache/usr/bin/snac" httpd "$dir/data"
}

fetch_or_run "$@"
