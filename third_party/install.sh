#!/bin/sh
# install.sh SET...   with SET one of build, test, lint, bench, peers.
#
# Installs what is missing of each set, by package name, on Debian, Alpine and Fedora (and what is
# made from them). Asks for root only when something is missing, and needs no network otherwise.
# The set peers, what bench/run compares Hermes with, goes below build/ instead: bench/peers/install.
set -eu

here=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

# The packages of set $1 on the distribution family $2. README.md here names them too.
packages() {
    case "$2-$1" in
    debian-build) echo libc6-dev binutils pkg-config libuv1-dev libwslay-dev libjansson-dev libmbedtls-dev libhiredis-dev liburing-dev ;;
    debian-test) echo libcmocka-dev python3 python3-pytest python3-pytest-xdist python3-websockets python3-jwt python3-cryptography nodejs node-ws node-typescript chromium curl haproxy openssl redis-server redis-tools iproute2 python3-yaml ;;
    debian-lint) echo python3 clang clang-tidy clang-format libclang-rt-dev llvm ;;
    debian-bench) echo python3 openssl redis-server ;;
    alpine-bench | fedora-bench) echo python3 openssl redis ;;
    alpine-build) echo musl-dev binutils pkgconf libuv-dev wslay-dev jansson-dev mbedtls-dev hiredis-dev liburing-dev ;;
    alpine-test) echo cmocka-dev python3 py3-pytest py3-pytest-xdist py3-websockets py3-jwt py3-cryptography nodejs chromium font-dejavu curl haproxy openssl redis iproute2 py3-yaml ;;
    alpine-lint) echo python3 clang clang-extra-tools compiler-rt llvm ;;
    fedora-build) echo glibc-devel binutils pkgconf-pkg-config libuv-devel wslay-devel jansson-devel mbedtls-devel hiredis-devel liburing-devel ;;
    fedora-test) echo libcmocka-devel python3 python3-pytest python3-pytest-xdist python3-websockets python3-jwt python3-cryptography nodejs chromium curl haproxy openssl redis iproute python3-pyyaml libasan libubsan libtsan ;;
    fedora-lint) echo python3 clang clang-tools-extra compiler-rt llvm ;;
    *) fail "no set named '$1'; there are build, test, lint, bench and peers" ;;
    esac
}

installed() {
    case $family in
    debian) [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ] ;;
    alpine) apk info -e "$1" >/dev/null 2>&1 ;;
    fedora) rpm -q --whatprovides "$1" >/dev/null 2>&1 ;;
    esac
}

# Libraries that are there are good enough, however they got there. Nobody is asked for liburing alone:
# Hermes does without.
libraries_are_there() {
    cflags=$(pkg-config --cflags libuv jansson hiredis 2>/dev/null) || cflags=
    # shellcheck disable=SC2086
    ${CC:-cc} $cflags ${CPPFLAGS:-} -E -o /dev/null "$here/require.c" >/dev/null 2>&1
}

if command -v apt-get >/dev/null; then
    family=debian
elif command -v apk >/dev/null; then
    family=alpine
elif command -v dnf >/dev/null; then
    family=fedora
else
    family=unknown
fi

[ $# -gt 0 ] || fail "say which set: build, test, lint, bench, peers"
missing=
for set in "$@"; do
    if [ "$set" = build ] && libraries_are_there; then
        continue
    fi
    if [ "$set" = peers ]; then
        "$here/../bench/peers/install"
        continue
    fi
    if [ $family = unknown ]; then
        [ "$set" = build ] || continue
        fail "no apt-get, apk or dnf here: install libuv, wslay, jansson, mbedTLS and hiredis (see third_party/README.md)"
    fi
    wanted=$(packages "$set" $family) || exit 1
    for package in $wanted; do
        installed "$package" || missing="$missing $package"
    done
done
missing=${missing# }
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null ||
        fail "missing: $missing; install them as root (there is no sudo here)"
    as_root=sudo
    # Without a terminal nobody can type a password: fail rather than wait.
    [ -t 0 ] || as_root="sudo -n"
fi

echo "install.sh: installing $missing" >&2
case $family in
debian)
    # An index that is not there, or a foreign source that does not answer, shows in the next step.
    $as_root apt-get -qq -o DPkg::Lock::Timeout=300 update >&2 || :
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Use-Pty=0 --no-install-recommends install $missing >/dev/null </dev/null ||
        fail "apt-get could not install: $missing"
    ;;
alpine)
    # shellcheck disable=SC2086
    $as_root apk add --no-cache --quiet $missing >&2 || fail "apk could not install: $missing"
    ;;
fedora)
    # shellcheck disable=SC2086
    $as_root dnf -q -y install $missing >&2 </dev/null || fail "dnf could not install: $missing"
    ;;
esac
