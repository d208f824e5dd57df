#!/usr/bin/env bash
# Sees to it that the machine has what a build (`build`), the tests (`test`) or those against a whole Bluesky
# (`platforms`) need besides Rust: installs
# missing Debian packages when it may, else names them. Quick when nothing is missing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
missing=()
fetched=()

# need TEST PACKAGE...: the packages are missing unless the test holds.
need() {
    local test=$1
    shift
    if ! eval "$test" >/dev/null 2>&1; then
        missing+=("$@")
    fi
}

die() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

command -v cargo >/dev/null || die "Rust is missing; install it from https://rustup.rs and try again"

for purpose in "${@:-build}"; do
    case $purpose in
    build)
        need "command -v cc" gcc libc6-dev
        # The Kafka client is C and speaks TLS.
        need "command -v make && command -v pkg-config" make pkg-config
        need "pkg-config --exists openssl" libssl-dev
        need "test -e /usr/include/zlib.h" zlib1g-dev
        ;;
    test)
        for tool in fmt clippy; do
            cargo "$tool" --version >/dev/null 2>&1 || die "cargo $tool is missing; run: rustup component add rustfmt clippy"
        done
        # The story in a real browser; the font is for Korean in its screenshots.
        need "command -v chromium" chromium
        need "command -v chromedriver" chromium-driver
        need "test -d /usr/share/fonts/truetype/nanum" fonts-nanum
        # The engines of who outgrows one machine: Kafka is a Java program that Maven fetches.
        need "command -v java" default-jre-headless
        need "command -v mvn" maven
        need "$here/postgres.sh check" postgresql
        fetched+=(kafka snac isso promtool)
        # The servers that the connector files are tried on: one is Debian's, one Python's.
        need "python3 -c 'import ensurepip, venv'" python3 python3-venv
        ;;
    platforms)
        # A whole network of the AT Protocol, in packages of Node's: make platforms.
        need "command -v node && command -v npm" nodejs npm
        need "command -v redis-server" redis-server
        need "$here/postgres.sh check" postgresql
        fetched+=(atproto)
        ;;
    *)
        die "unknown purpose $purpose; it is build, test or platforms"
        ;;
    esac
done

# install PACKAGE...: does, or says why it cannot.
install() {
    local command=(apt-get install --yes --no-install-recommends "$@") as
    if ! command -v apt-get >/dev/null; then
        die "please install what Debian calls: $*"
    elif ((EUID == 0)); then
        as=(env)
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as=(sudo env)
    else
        die "missing Debian packages; please run: sudo ${command[*]}"
    fi
    echo "setup: installing $*"
    "${as[@]}" DEBIAN_FRONTEND=noninteractive apt-get update --quiet --quiet || die "apt-get update failed; please install: $*"
    "${as[@]}" DEBIAN_FRONTEND=noninteractive "${command[@]}" --quiet --quiet >/dev/null ||
        die "apt-get install failed; please install: $*"
}

if ((${#missing[@]} > 0)); then
    install "${missing[@]}"
fi
# Now, so that the tests themselves need no network. Without it they say that they are skipped.
for server in "${fetched[@]}"; do
    "$here/$server.sh" fetch >/dev/null || echo "setup: the tests that need $server will be skipped" >&2
done
