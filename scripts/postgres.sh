#!/usr/bin/env bash
# A PostgreSQL of one's own for the tests and for trying things out, on 127.0.0.1, beside any that the machine runs.
#
#   scripts/postgres.sh check                      say where the installed server's programs are
#   scripts/postgres.sh run --dir DIR --port PORT  run a server whose files are in DIR, until Ctrl-C
#
# Role `moksori` may create databases, role `postgres` everything; nobody needs a password. --no-fsync is for who
# minds speed and not the data. With --with-parent it ends when its standard input does, and deletes DIR. As root it
# runs as user postgres. Exit code 69: it cannot be had on this machine, and why.
set -euo pipefail

name=postgres
. "$(dirname "${BASH_SOURCE[0]}")/server.sh"
oldest=15

# Debian keeps each version's programs in a folder of its own, off the path; others have them on it.
check() {
    local candidate
    candidate=$(find /usr/lib/postgresql -maxdepth 3 -path '*/bin/postgres' 2>/dev/null | sort -V | tail -n1)
    [[ -n $candidate ]] || candidate=$(command -v postgres) || die "PostgreSQL is missing; run scripts/setup.sh test" 69
    programs=${candidate%/*}
    local version
    version=$("$candidate" --version | sed -n 's/[^0-9]*\([0-9]*\).*/\1/p')
    ((version >= oldest)) || die "PostgreSQL $version is too old; $oldest or later is wanted" 69
    as=()
    if ((EUID == 0)); then
        # It refuses to run as root.
        id postgres >/dev/null 2>&1 || die "this is root, and there is no user postgres to run the server as" 69
        as=(setpriv --reuid=postgres --regid=postgres --init-groups --)
    fi
}

# Small, but with everything on that keeps data: the tests kill it.
format() {
    local dir=$1 port=$2
    "${as[@]}" "$programs/initdb" --pgdata="$dir/data" --username=postgres --auth=trust --encoding=UTF8 \
        --locale=C.UTF-8 --no-sync >"$dir/log.txt" 2>&1 || die "initdb failed: $(tail -n1 "$dir/log.txt")"
    cat >>"$dir/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$dir'
max_connections = 100
shared_buffers = 64MB
log_line_prefix = '%m [%p] %u@%d '
timezone = 'UTC'
log_timezone = 'UTC'
CONF
    "${as[@]}" "$programs/postgres" --single -D "$dir/data" postgres >>"$dir/log.txt" 2>&1 \
        <<<'CREATE ROLE moksori LOGIN CREATEDB' || die "the role was refused: $(tail -n1 "$dir/log.txt")"
}

run() {
    options --no-fsync -- "$@"
    check
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    cd "$dir"
    ((EUID != 0)) || chown postgres: "$dir"
    test -e "$dir/data/PG_VERSION" || format "$dir" "$port"
    local settings=()
    ((${#flags[@]} == 0)) || settings=(-c fsync=off)
    serve "postgres://moksori@127.0.0.1:$port/postgres" "${as[@]}" "$programs/postgres" -D "$dir/data" "${settings[@]}"
}

command=${1:-}
shift || true
case $command in
check) check && echo "$programs" ;;
run) run "$@" ;;
*) die "it is postgres.sh check, or postgres.sh run --dir DIR --port PORT" ;;
esac
