#!/bin/sh
# guide.sh BUILD SOURCE - follow the guide: install the library into a clean prefix, and in an empty folder write each program of the pages (blocks
# of c, whose first comment names the file) and run each command (blocks of sh), in their order. The model is the one in CLPEFT_TEST_MODEL,
# or else a tiny random one.
set -eu
build=$1 source=$(realpath "$2")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

DESTDIR=$tmp/prefix meson install -C "$build" --no-rebuild --quiet >/dev/null
pc=$(find "$tmp/prefix" -name clpeft.pc)
sed -i "s|^prefix=|prefix=$tmp/prefix|" "$pc"
export PKG_CONFIG_PATH="${pc%/*}"
lib=$(dirname "$(find "$tmp/prefix" -name 'libclpeft.so.0')")
export LD_LIBRARY_PATH="$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
if nm -D --undefined-only "$lib/libclpeft.so.0" | grep -q "__[at]san_init"; then
    echo "programs without the sanitizer cannot load a library that has it: skipped" && exit 77
fi
mkdir "$tmp/bin" && printf '#!/bin/sh\nexec %s -Wall -Wextra -Werror "$@"\n' "$(command -v cc)" >"$tmp/bin/cc" && chmod +x "$tmp/bin/cc"
PATH=$tmp/bin:$(dirname "$(find "$tmp/prefix" -name finetune-text)"):$PATH

mkdir "$tmp/work" && cd "$tmp/work"
if [ -n "${CLPEFT_TEST_MODEL:-}" ]; then
    ln -s "$CLPEFT_TEST_MODEL" minilm
else # words enough for the ids of the programs
    sed 's/^WORDS = .*/& + [f"w{i}" for i in range(13000)]/' "$source/tests/make_tiny_bert.py" >../tiny.py && python3 ../tiny.py minilm
fi
for page in "$source"/examples/guide/[1-5]-*.md; do
    name=$(basename "$page" .md)
    awk -v out="$tmp/$name" '
        /^```(c|sh)$/ { file = sprintf("%s-%02d.%s", out, ++n, substr($0, 4)); next }
        /^```/ { file = ""; next }
        file != "" { print >file }' "$page"
    for block in "$tmp/$name"-*; do
        case $block in
        *.c) cp "$block" "$(sed -n '1s|^/\* \([a-z]*\.c\) - .*|\1|p' "$block")" ;;
        *.sh) sh -eu "$block" >"$tmp/log" 2>&1 </dev/null || { echo "$name: this failed:"; cat "$block"; tail -n 20 "$tmp/log"; exit 1; } ;;
        esac
    done
    echo "$name: $(find "$tmp" -maxdepth 1 -name "$name-*" | wc -l) blocks"
done
