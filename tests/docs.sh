#!/bin/sh
# docs.sh SOURCE - the reference is made without a warning and has every exported function. Skipped without Doxygen.
set -eu
command -v doxygen >/dev/null 2>&1 || { echo "no Doxygen: skipped" && exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$1"
OUT=$tmp doxygen examples/guide/Doxyfile
cat "$tmp"/html/*_8h.html >"$tmp/pages"
missing=0
while read -r name; do
    grep -q "class=\"memname\">[^<]*\(<[^>]*>[^<]*\)*$name" "$tmp/pages" || { echo "$name is not in the reference" && missing=1; }
done <tests/abi.txt
[ -e "$tmp/html/index.html" ]
exit $missing
