#!/bin/sh
# Gets what `make interop` needs: SyncEvolution and its HTTP server, a D-Bus to run it on, and libwbxml's
# tools, all from Debian; and builds the shim without which Debian's SyncEvolution 2.0 cannot speak HTTP
# (see curlfix.c). Needs root or sudo only when something is missing. Says what is missing elsewhere.
#
#   install.sh            install what is missing, build the shim
#   install.sh --check    install nothing; exit 0 if all is there, 1 and a line for each gap if not
set -eu
here=$(cd "$(dirname "$0")" && pwd)
shim=${SYNCEVO_SHIM:-$here/curlfix.so}
packages='syncevolution syncevolution-http dbus dbus-x11 python3-twisted gcc libc6-dev libwbxml2-utils'

# One line for each thing that is not there: the Debian package that has it, and what was looked for.
missing() {
    command -v syncevolution >/dev/null 2>&1 || echo 'syncevolution: the program syncevolution'
    [ -x /usr/libexec/syncevo-dbus-server ] || echo 'syncevolution: /usr/libexec/syncevo-dbus-server'
    [ -e /usr/bin/syncevo-http-server ] || echo 'syncevolution-http: /usr/bin/syncevo-http-server'
    command -v dbus-run-session >/dev/null 2>&1 || echo 'dbus: the program dbus-run-session'
    /usr/bin/python3 -c 'import twisted.web, dbus, gi' 2>/dev/null ||
        echo 'python3-twisted syncevolution-http: the modules twisted, dbus and gi for /usr/bin/python3'
    command -v wbxml2xml >/dev/null 2>&1 || echo 'libwbxml2-utils: the program wbxml2xml'
    [ -e "$shim" ] || command -v gcc >/dev/null 2>&1 || echo 'gcc libc6-dev: the program gcc'
}

if [ "${1:-}" = --check ]; then
    gaps=$(missing)
    [ -e "$shim" ] || gaps="${gaps:+$gaps
}the shim $shim, which install.sh builds"
    [ -z "$gaps" ] || { printf '%s\n' "$gaps" >&2; exit 1; }
    exit 0
fi

gaps=$(missing)
if [ -n "$gaps" ]; then
    printf 'Missing, by Debian package:\n%s\n' "$gaps" >&2
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "This is no Debian: please install these by its own means, then run this again." >&2
        exit 1
    fi
    as_root=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null 2>&1 ||
            { echo "As root: apt-get install --no-install-recommends $packages" >&2; exit 1; }
        as_root=sudo
    fi
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # several packages, several words
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $packages >/dev/null
    gaps=$(missing)
    [ -z "$gaps" ] || { printf 'Still missing after the installation:\n%s\n' "$gaps" >&2; exit 1; }
fi

if [ ! -e "$shim" ] || [ "$here/curlfix.c" -nt "$shim" ]; then
    gcc -shared -fPIC -O2 -o "$shim.$$" "$here/curlfix.c" -ldl
    mv "$shim.$$" "$shim"
fi
echo "Ready: $(syncevolution --version 2>/dev/null | head -n 1)"
