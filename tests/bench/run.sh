#!/bin/sh
# run.sh [--rounds N] [--tune] [SECTION...] - builds the benchmarks with -O2, runs them, and prints a table; the JSON lines are in
# build/bench/results.jsonl (table.py --markdown makes the README's table of them). Nothing else should run on the machine.
#
#   gemm, skinny, rownorm, attention         the programs of those names
#   product, norms, train, memory, start, share, scale     compare.py: beside PyTorch with PEFT where CLPEFT_PEFT_PYTHON names a
#                                            Python that has torch, transformers and peft
#   --tune      measure kernel parameters first (clpeft-tune); without it the untuned defaults are measured
#   --rounds N  repetitions; 20 unless given
#
# OpenBLAS is a peer when its development files are there, CLBlast's own tuner when the Debian package clblast-utils is.
# CLPEFT_TEST_MODEL and CLPEFT_TEST_WORDNET name MiniLM-L6 and wordnet.tsv; otherwise the scripts of examples/data fetch them.
set -eu
cd "$(dirname "$0")/../.."
out=$(pwd)/build/bench
rounds=20 tune=no sections=

while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=${2:?} && shift ;;
    --tune) tune=yes ;;
    gemm | skinny | rownorm | attention | product | norms | train | memory | start | share | scale) sections="$sections $1" ;;
    *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
    esac
    shift
done
: "${sections:=gemm skinny rownorm product norms train memory start share scale}"

mkdir -p "$out"
[ -f "$out/release/build.ninja" ] ||
    meson setup "$out/release" --buildtype=release -Doptimization=2 -Dbench=true >"$out/build.log"
meson compile -C "$out/release" >>"$out/build.log" || { tail -n 40 "$out/build.log" && exit 1; }

# Kernels and tuning results of these runs alone.
export XDG_CACHE_HOME="$out/cache"
mkdir -p "$XDG_CACHE_HOME"
[ $tune = no ] || "$out/release/examples/clpeft-tune"

# The best parameters that CLBlast's tuner finds in its fixed set; its random search after that is cut off.
tune_clblast() {
    command -v clblast_tuner_xgemm >/dev/null || return 0
    mkdir -p "$out/clblast"
    [ -f "$out/clblast/clblast_xgemm_1_32.json" ] || {
        cd "$out/clblast"
        timeout 120 clblast_tuner_xgemm -m 512 -n 512 -k 512 -fraction 4 -runs 3 >tuner.log 2>&1 || true
        cd "$OLDPWD"
    }
    [ -f "$out/clblast/clblast_xgemm_1_32.json" ] || return 0
    CLBLAST_XGEMM=$(sed -n 's/.*"best_parameters": "\(.*\)".*/\1/p' "$out/clblast/clblast_xgemm_1_32.json")
    export CLBLAST_XGEMM
}

fetch_data() {
    if [ -z "${CLPEFT_TEST_MODEL:-}" ]; then
        sh examples/data/minilm.sh "$out/minilm" && export CLPEFT_TEST_MODEL="$out/minilm"
    fi
    if [ -z "${CLPEFT_TEST_WORDNET:-}" ]; then
        sh examples/data/wordnet.sh "$out/wordnet" && export CLPEFT_TEST_WORDNET="$out/wordnet/wordnet.tsv"
    fi
}

measure() { # SECTION
    case $1 in
    gemm) tune_clblast && "$out/release/tests/bench/bench-gemm" "$rounds" ;;
    skinny | rownorm | attention) "$out/release/tests/bench/bench-$1" "$rounds" ;;
    *) python3 tests/bench/compare.py "$out/release" --rounds $(((rounds + 2) / 3)) --only "$1" ;;
    esac
}

case " $sections " in *" train "* | *" memory "* | *" start "* | *" share "* | *" scale "* | *" product "* | *" norms "*) fetch_data ;; esac
: >"$out/results.jsonl"
for section in $sections; do
    echo "$section ..." >&2
    measure "$section" >>"$out/results.jsonl"
done
python3 tests/bench/table.py "$out/results.jsonl"
