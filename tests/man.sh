#!/bin/sh
# man.sh MAN PROGRAM... - the manual page of each program, MAN/NAME.1, names the options of its --help with their arguments, and no others.
set -eu
man=$1
shift
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

for program in "$@"; do
    name=$(basename "$program")
    # What eval needs besides is listed by its own --help.
    { "$program" --help; "$program" eval --help 2>/dev/null | grep -e '--adapter' || true; } |
        sed -n 's/^  \(-., \)\{0,1\}\(--[a-z0-9-]*\)\( [A-Z]*\)\{0,1\}  .*/\2\3/p' | sed 's/ $//' | sort -u >"$tmp/help"
    sed 's/\\-/-/g; s/"//g' "$man/$name.1" | sed -n 's/^\.B[IR]* .*\(--[a-z0-9-]*\) *\([A-Z]*\)$/\1 \2/p' | sed 's/ $//' | sort -u >"$tmp/man"
    [ "$(wc -l <"$tmp/help")" -ge 3 ] || { echo "$name --help has no options" && failed=1; }
    diff "$tmp/help" "$tmp/man" >"$tmp/diff" || { echo "$name: --help (<) and the manual page (>) differ:" && cat "$tmp/diff" && failed=1; }
    if command -v man >/dev/null 2>&1; then
        man --warnings -l "$man/$name.1" 2>"$tmp/warnings" >/dev/null
        [ ! -s "$tmp/warnings" ] || { cat "$tmp/warnings" && failed=1; }
    fi
done
exit $failed
