#!/bin/sh
# accuracy-images.sh FINETUNE_IMAGES DIR [OPTION]... - test accuracy of the four methods and of the head alone, each the
# mean of three seeds: DINOv2-small (in DIR/dinov2) on the first 1,000 training images of Fashion-MNIST (Debian's package
# dataset-fashion-mnist), enlarged to 56 pixels, 150 steps of 32; tested on all 10,000 test images (--eval-rows N: the first
# N). Runs are kept in DIR/accuracy-images.
set -eu
[ $# -ge 2 ] || { echo "usage: accuracy-images.sh FINETUNE_IMAGES DIR [OPTION]..." >&2 && exit 2; }
program=$1 dir=$2 data=/usr/share/datasets/fashion-mnist
shift 2
[ -d $data ] || { echo "accuracy-images.sh: the package dataset-fashion-mnist is not installed" >&2 && exit 3; }
mkdir -p "$dir/accuracy-images"

# one NAME OPTION...: prints the accuracies of three seeds and their mean.
one() {
    name=$1
    shift
    for seed in 1 2 3; do
        log=$dir/accuracy-images/$name-$seed.jsonl
        "$program" --model "$dir/dinov2" --train $data/train-images-idx3-ubyte.gz --train-rows 1000 \
            --eval $data/t10k-images-idx3-ubyte.gz --image-size 56 --steps 150 --eval-every 0 --save-every 0 --seed $seed \
            --out "$dir/accuracy-images/$name-$seed" --log "$log" "$@" >/dev/null
        tail -n 1 "$log"
    done | awk -v name="$name" '
        match($0, /"accuracy_after":[0-9.e-]+/) { a[++n] = 100 * substr($0, RSTART + 17, RLENGTH - 17); sum += a[n] }
        END { printf "%-6s %8.2f %8.2f %8.2f %8.2f\n", name, a[1], a[2], a[3], sum / n }'
}

printf '%-6s %8s %8s %8s %8s\n' method "seed 1" "seed 2" "seed 3" mean
one head --lr 0 "$@"
for method in lora dora hora doran; do one $method --method $method "$@"; done
