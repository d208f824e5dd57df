# What the scripts that run a server of one's own share; sourced by them, with their name in $name.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

die() {
    printf '%s: %s\n' "$name" "$1" >&2
    exit "${2:-1}"
}

# Reads `--dir DIR --port PORT`, --with-parent and the flags that are named before --, into dir, port, with_parent and
# flags.
options() {
    local known=()
    while [[ $1 != -- ]]; do
        known+=("$1")
        shift
    done
    shift
    dir="" port="" with_parent=false flags=()
    while (($#)); do
        case $1 in
        --dir) dir=$2 && shift ;;
        --port) port=$2 && shift ;;
        --with-parent) with_parent=true ;;
        *)
            [[ " ${known[*]} " == *" $1 "* ]] || die "unknown option $1"
            flags+=("$1")
            ;;
        esac
        shift
    done
    [[ -n $dir && -n $port ]] || die "run wants --dir DIR and --port PORT"
}

# serve WORDS COMMAND...: runs the server until it ends, or until its parent does; WORDS say where it listens.
serve() {
    local words=$1
    shift
    if $with_parent; then
        exec "$here/with-parent.sh" "$dir" "$@"
    fi
    echo "$name: $words" >&2
    exec "$@"
}

# fetch_or_run COMMAND ARGS...: the commands of a script that has functions of these names.
fetch_or_run() {
    local command=${1:-}
    shift || true
    case $command in
    fetch) fetch && echo "$cache" ;;
    run) run "$@" ;;
    *) die "it is $name.sh fetch, or $name.sh run --dir DIR --port PORT" ;;
    esac
}
