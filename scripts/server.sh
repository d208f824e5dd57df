# What the scripts that fetch or run a program of others share; sourced by them, with their name in $name.

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

# unpack PACKAGE PROGRAM: downloads a package of Debian's $suite and unpacks it into $cache, without installing it, unless
# `works $cache` says that its program is there. Into a folder of its own, renamed when it is whole: two may fetch at once,
# and the first one stays.
unpack() {
    local package=$1 program=$2
    if works "$cache"; then
        return
    fi
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || die "$package comes from Debian's packages, and this is no Debian" 69
    local keys=/usr/share/keyrings/debian-archive-keyring.gpg
    [[ -r $keys ]] || die "debian-archive-keyring is missing" 69
    mkdir -p "${cache%/*}"
    new=$(mktemp -d "$cache.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    mkdir -p "$new/apt/lists/partial" "$new/apt/cache/archives/partial"
    echo "deb [signed-by=$keys] http://deb.debian.org/debian $suite main" >"$new/apt/sources.list"
    # The machine's own sources and lists are left as they are.
    local apt=(apt-get -q -o Dir::Etc::SourceList="$new/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State::Lists="$new/apt/lists" -o Dir::Cache="$new/apt/cache" -o APT::Sandbox::User="$(id -un)"
        -o Acquire::Languages=none)
    { "${apt[@]}" update && cd "$new/apt" && "${apt[@]}" download "$package"; } >"$new/log.txt" 2>&1 ||
        die "apt-get could not fetch $package of $suite: $(tail -n1 "$new/log.txt")" 69
    dpkg -x "$new/apt/$package"_*.deb "$new"
    rm -r "$new/apt" "$new/log.txt"
    works "$new" || die "$package does not run here: $("$new/$program" --version 2>&1 | head -n1)" 69
    chmod 755 "$new"
    mv -T "$new" "$cache" 2>/dev/null || [[ -x $cache/$program ]] || die "$cache is in the way; delete it"
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
