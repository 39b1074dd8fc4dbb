#!/bin/sh
# packages.sh PACKAGE... - installs those of the named Debian packages that are missing.
#
# Works as root or through sudo. Exit status: 0 all are there, 2 some are missing and cannot be installed (the line
# that installs them is printed). Systems without dpkg are taken at their word: a missing tool shows up in the build.
set -u

command -v dpkg-query >/dev/null 2>&1 || exit 0

missing=
for package in "$@"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then as_root=sudo; fi

install() {
    echo "Installing $*"
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
# shellcheck disable=SC2086   # package names hold no spaces, and no sudo is no word
if [ -n "$as_root" ] && ! command -v sudo >/dev/null 2>&1 || ! install $missing; then
    echo "Packages are missing. Install them as root, then run this again:" >&2
    echo "    apt-get install$missing" >&2
    exit 2
fi
