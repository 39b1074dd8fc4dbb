#!/bin/sh
# embed.sh BUILD SOURCE - install the library into a clean prefix; build and run the embedding programs against what is installed, by
# pkg-config alone and by CMake; and check that the shared library exports the functions of abi.txt, as the headers declare them, and no
# others. Without CMake, a C++ compiler or numpy that part is left out.
set -eu
build=$1 source=$2
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT

DESTDIR=$prefix meson install -C "$build" --no-rebuild --quiet >/dev/null
pc=$(find "$prefix" -name clpeft.pc)
sed -i "s|^prefix=|prefix=$prefix|" "$pc"
export PKG_CONFIG_PATH="${pc%/*}"
lib=$(dirname "$(find "$prefix" -name 'libclpeft.so.0')")
export LD_LIBRARY_PATH="$lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
if nm -D --undefined-only "$lib/libclpeft.so.0" | grep -q "__[at]san_init"; then
    echo "programs without the sanitizer cannot load a library that has it: skipped" && exit 77
fi
if nm "$lib/libclpeft.a" | grep -q __gcov_init; then
    echo "programs that count no lines cannot link a library that does: skipped" && exit 77
fi
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

# The static library brings its dependencies along.
# shellcheck disable=SC2046,SC2086
cc $flags "$source/examples/embed/mlp.c" -o "$prefix/mlp-static" "$lib/libclpeft.a" \
    $(pkg-config --static --libs clpeft | sed 's/-lclpeft//') -lOpenCL -lm
"$prefix/mlp-static" "$prefix/mlp-static.safetensors"
cmp "$prefix/mlp.safetensors" "$prefix/mlp-static.safetensors"

if command -v cmake >/dev/null 2>&1; then
    cmake -S "$source/examples/embed" -B "$prefix/cmake" >"$prefix/log" && cmake --build "$prefix/cmake" >>"$prefix/log" || { cat "$prefix/log"; exit 1; }
    "$prefix/cmake/mlp" "$prefix/cmake.safetensors"
else
    echo "no CMake: left out"
fi

# A function that goes or changes its name breaks the programs that link to it; a new one belongs into the list.
nm -D --defined-only "$lib/libclpeft.so.0" | awk '$2 ~ /[A-Z]/ {print $3}' | LC_ALL=C sort >"$prefix/exported"
sed -n '/^#/d; /CLPEFT_API/,/;/p' "$source"/include/clpeft/*.h | tr '\n' ' ' | grep -o 'CLPEFT_API [^;(]*(' | sed 's/($//; s/.*[ *]//' |
    LC_ALL=C sort >"$prefix/declared"
diff "$source/tests/abi.txt" "$prefix/exported" || { echo "abi.txt (<) and the exported functions (>) differ"; exit 1; }
diff "$source/tests/abi.txt" "$prefix/declared" || { echo "abi.txt (<) and the declared functions (>) differ"; exit 1; }
