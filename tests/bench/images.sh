#!/bin/sh
# images.sh FINETUNE_IMAGES DINOV2_DIR DIR [ROUNDS] - images classified by finetune-images and by PyTorch with PEFT (peft_images.py), LoRA on
# query and value, Fashion-MNIST at 56 pixels in batches of 32. First what examples/data/accuracy-images.sh is held against, tested
# on all 10,000 images: PEFT on the same model, PEFT on random weights, and logistic regression on the pixels. Then step times and peak
# memory over ROUNDS (3) short runs in turns, so that other load on the machine meets both. A first step compiles the kernels and
# counts nowhere. Results of DIR are not computed again. CLPEFT_PEFT_PYTHON names a Python with torch, transformers and peft.
set -eu
[ $# -ge 3 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
program=$1 model=$2 dir=$3 rounds=${4:-3} data=/usr/share/datasets/fashion-mnist
python=${CLPEFT_PEFT_PYTHON:?names a Python with torch, transformers and peft}

mkdir -p "$dir"
ours() { # STEPS NAME
    "$program" --model "$model" --train $data/train-images-idx3-ubyte.gz --train-rows 1000 --eval $data/t10k-images-idx3-ubyte.gz \
        --eval-rows 1 --image-size 56 --method lora --steps "$1" --out "$dir/$2" --log "$dir/$2.jsonl" >"$dir/$2.txt"
}
peft() { # NAME OPTION...
    name=$1
    shift
    [ ! -f "$dir/$name.jsonl" ] || return 0
    "$python" "$here/peft_images.py" "$model" "$@" >"$dir/$name.part" 2>"$dir/$name.txt"
    mv "$dir/$name.part" "$dir/$name.jsonl"
}
ours 1 compiled
round=0
while [ $round -lt "$rounds" ]; do
    round=$((round + 1))
    [ -f "$dir/ours-$round.jsonl" ] || ours 20 "ours-$round"
    peft "peft-$round" --steps 20 --test 1
done
peft pixels --pixels
peft peft
peft random --random

python3 - "$dir" "$rounds" <<'END'
import json, statistics, sys

def read(name):
    return [json.loads(line) for line in open(f"{sys.argv[1]}/{name}.jsonl")]

times, memory = {}, {}
for name in "ours", "peft":
    runs = [read(f"{name}-{i + 1}") for i in range(int(sys.argv[2]))]
    seconds = [line["seconds"] for run in runs for line in run if "seconds" in line]
    times[name] = statistics.median(seconds)
    memory[name] = max(run[-1]["peak_memory_bytes"] for run in runs) / 1e6
    print(f"{name}: {times[name]:.3f} s per step (median; at least {min(seconds):.3f}), {memory[name]:.0f} MB")
print(f"ratio {times['ours'] / times['peft']:.2f} of the time, {memory['ours'] / memory['peft']:.2f} of the memory")
for name, what in ("peft", "PEFT, LoRA"), ("random", "PEFT, LoRA on random weights"), ("pixels", "logistic regression on pixels"):
    print(f"{what}: {100 * read(name)[-1]['accuracy_after']:.2f} %")
END
