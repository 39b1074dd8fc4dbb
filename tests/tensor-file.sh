#!/bin/sh
# tensor-file.sh PROGRAM - the program tensor-file says of every fixture what the manifests say, one line each.
set -u
program=$(realpath "$1")
cd "$(dirname "$0")/fixtures" || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

for format in safetensors gguf; do
    folder=bad_$format
    awk -F '\t' -v folder=$folder '!/^#/ { print folder "/" $1 ": " ($3 == "reject" ? $3 : $2) }' $folder/manifest.tsv |
        sort >"$tmp/expected"
    "$program" $folder/*.$format >"$tmp/said" || exit 1
    sed -E 's/^([^:]*: accept)$/\1/; s/^([^:]*: reject): .+$/\1/' "$tmp/said" | sort >"$tmp/found"
    diff "$tmp/expected" "$tmp/found" || exit 1
done

cp bad_gguf/ok_minimal.gguf "$tmp/a.safetensors"
cp bad_safetensors/ok_minimal.safetensors "$tmp/a.gguf"
"$program" "$tmp/a.safetensors" "$tmp/a.gguf" | grep -c ': reject: ' | grep -qx 2 || exit 1
! "$program" "$tmp/none" 2>"$tmp/error" && [ -s "$tmp/error" ]
