#!/bin/sh
# accuracy-images.sh FINETUNE_IMAGES DIR [OPTION]... - test accuracy of the four methods and of the head alone: DINOv2-small (in
# DIR/dinov2) on the first 1,000 training images of Fashion-MNIST (Debian's package dataset-fashion-mnist), enlarged to 56
# pixels, 150 steps of 32; tested on all 10,000 test images. SEEDS names the seeds (1 2 3). Options go to the trainings; runs are
# kept in DIR/accuracy-images, and those that are there already are not repeated.
set -eu
[ $# -ge 2 ] || { echo "usage: accuracy-images.sh FINETUNE_IMAGES DIR [OPTION]..." >&2 && exit 2; }
program=$1 dir=$2 data=/usr/share/datasets/fashion-mnist seeds=${SEEDS:-1 2 3}
shift 2
[ -d $data ] || { echo "accuracy-images.sh: the package dataset-fashion-mnist is not installed" >&2 && exit 3; }
mkdir -p "$dir/accuracy-images"

# one NAME OPTION...: trains and tests with every seed. While it trains a single test image is looked at; eval then takes all.
one() {
    name=$1
    shift
    for seed in $seeds; do
        run=$dir/accuracy-images/$name-$seed
        [ ! -f "$run.tested" ] || continue
        "$program" --model "$dir/dinov2" --train $data/train-images-idx3-ubyte.gz --train-rows 1000 \
            --eval $data/t10k-images-idx3-ubyte.gz --eval-rows 1 --image-size 56 --steps 150 --eval-every 0 --save-every 0 \
            --seed "$seed" --out "$run" --log "$run.jsonl" "$@" >&2
        "$program" eval --model "$dir/dinov2" --adapter "$run" --eval $data/t10k-images-idx3-ubyte.gz >"$run.testing"
        mv "$run.testing" "$run.tested"
    done
}

# row NAME: the accuracies of all seeds and their mean.
row() {
    for seed in $seeds; do cat "$dir/accuracy-images/$1-$seed.tested"; done | awk -v name="$1" '
        $1 == "accuracy" { line = line sprintf(" %8.2f", $2); sum += $2; n++ }
        END { printf "%-6s%s %8.2f\n", name, line, sum / n }'
}

for method in lora dora hora doran; do one $method --method $method "$@"; done
one head --lr 0 "$@"
printf '%-6s' method
for seed in $seeds; do printf ' %8s' "seed $seed"; done
printf ' %8s\n' mean
for name in head lora dora hora doran; do row $name; done
