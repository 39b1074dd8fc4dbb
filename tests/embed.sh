#!/bin/sh
# embed.sh BUILD SOURCE - install the library into a clean prefix; build and run the embedding programs against what is installed, by
# pkg-config alone; and check that the shared library exports clpeft_ names only. Without a C++ compiler or numpy that part is left out.
set -eu
build=$1 source=$2
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT

DESTDIR=$prefix meson install -C "$build" --no-rebuild --quiet >/dev/null
pc=$(find "$prefix" -name clpeft.pc)
export PKG_CONFIG_PATH="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$prefix"
lib=$(dirname "$(find "$prefix" -name 'libclpeft.so.0')")
export LD_LIBRARY_PATH="$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
flags="$(pkg-config --cflags clpeft) -Wall -Wextra -Wpedantic -Werror"
libs="$(pkg-config --libs clpeft) -lOpenCL -lm"

# shellcheck disable=SC2086  # flags are words
cc $flags "$source/examples/embed/mlp.c" -o "$prefix/mlp" $libs
"$prefix/mlp" "$prefix/mlp.safetensors"
[ -s "$prefix/mlp.safetensors" ]
# shellcheck disable=SC2086
if command -v c++ >/dev/null 2>&1; then
    c++ -std=c++17 $flags "$source/examples/embed/layer.cpp" -o "$prefix/layer" $libs
    "$prefix/layer"
else
    echo "no C++ compiler: layer.cpp left out"
fi
python=
for candidate in python3 /usr/bin/python3; do
    [ -n "$python" ] || ! "$candidate" -c 'import numpy' 2>/dev/null || python=$candidate
done
if [ -n "$python" ]; then "$python" "$source/examples/embed/layer.py" "$lib/libclpeft.so.0"
else echo "no numpy: layer.py left out"; fi

foreign=$(nm -D --defined-only "$lib/libclpeft.so.0" | awk '$2 ~ /[A-Z]/ && $3 !~ /^clpeft_/ {print $3}')
[ -z "$foreign" ] || { echo "exported beyond clpeft_: $foreign"; exit 1; }
