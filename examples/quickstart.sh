#!/bin/sh
# quickstart.sh - from a fresh checkout to a comparison of LoRA, DoRA, HoRA and DoRAN in a few minutes, on any OpenCL
# device and, without one, on the processor.
#
# Installs the packages that are missing (as root or through sudo; otherwise it names them), builds, fetches MiniLM-L6
# and WordNet, trains every method to sort noun definitions into 26 kinds, and ends with a table and a chart.
# Everything is written under build/.
set -eu
cd "$(dirname "$0")/.."
build=build/release
out=build/quickstart

compiler=
command -v cc >/dev/null 2>&1 || compiler="gcc libc6-dev"
# shellcheck disable=SC2086   # two packages or none
sh examples/packages.sh $compiler meson ninja-build pkg-config ocl-icd-opencl-dev opencl-headers pocl-opencl-icd \
    libclblast-dev libjansson-dev libutf8proc-dev libpng-dev libjpeg-dev zlib1g-dev check gnuplot-nox wordnet-base python3-pip unzip

echo "Building in $build"
mkdir -p build $out
log=build/release.log
if ! { [ -f $build/build.ninja ] || meson setup $build --buildtype=release; } >$log 2>&1 ||
    ! meson compile -C $build >>$log 2>&1
then
    tail -n 40 $log >&2
    exit 1
fi

echo "Fetching MiniLM-L6 and WordNet into $out"
sh examples/data/minilm.sh $out/minilm
sh examples/data/wordnet.sh --train 1040 --test 2000 $out

for method in lora dora hora doran; do
    echo "Training $method"
    $build/examples/finetune-text --model $out/minilm --train $out/wordnet-train.tsv --eval $out/wordnet-test.tsv \
        --method $method --steps 250 --batch 32 --max-length 32 --seed 1 --out $out/$method --log $out/$method.jsonl
done

echo
python3 examples/data/compare.py --chart $out/quickstart.svg \
    $out/lora.jsonl $out/dora.jsonl $out/hora.jsonl $out/doran.jsonl
