#!/bin/sh
# lm.sh FINETUNE_LM MODEL.gguf DIR [STEPS [ROUNDS]] - a language model fine-tuned by finetune-lm and by PyTorch with PEFT (peft_lm.py),
# LoRA on query and value: 20,000 lines of WordNet, STEPS (100) steps of 512 tokens, 200 held-out lines. Here the weights stay in 4
# bits, there they are dequantized. Perplexity and peak memory are of these runs; step times are medians over ROUNDS (3) short runs
# in turns, so that other load on the machine meets both. STEPS 0: the rounds only. A first step compiles the kernels and counts nowhere.
# CLPEFT_PEFT_PYTHON names a Python with torch, transformers, peft and gguf.
set -eu
[ $# -ge 3 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
program=$1 model=$2 dir=$3 steps=${4:-100} rounds=${5:-3}
python=${CLPEFT_PEFT_PYTHON:?names a Python with torch, transformers, peft and gguf}

mkdir -p "$dir"
sh "$here/../../examples/data/wordnet-lm.sh" --train 20000 --test 200 "$dir"
train=$dir/wordnet-lm-train.jsonl eval=$dir/wordnet-lm-test.jsonl
head -n 1 "$eval" >"$dir/one.jsonl"
ours() { # STEPS EVAL NAME
    "$program" --model "$model" --train "$train" --eval "$2" --method lora --steps "$1" --samples 0 --out "$dir/$3" --log "$dir/$3.jsonl" \
        >"$dir/$3.txt"
}
peft() {
    "$python" "$here/peft_lm.py" "$model" "$train" "$2" --steps "$1" >"$dir/$3.jsonl" 2>"$dir/$3.txt"
}
ours 1 "$dir/one.jsonl" compiled
if [ "$steps" -gt 0 ]; then
    ours "$steps" "$eval" ours
    peft "$steps" "$eval" peft
fi
round=0
while [ $round -lt "$rounds" ]; do
    round=$((round + 1))
    ours 10 "$dir/one.jsonl" "ours-$round"
    peft 10 "$dir/one.jsonl" "peft-$round"
done

python3 - "$dir" "$rounds" <<'END'
import json, pathlib, statistics, sys

def read(name):
    path = pathlib.Path(sys.argv[1], name + ".jsonl")
    return [json.loads(line) for line in open(path)] if path.exists() else []

times = {}
for name in "ours", "peft":
    runs = [[line["seconds"] for line in read(f"{name}-{i + 1}") if "seconds" in line] for i in range(int(sys.argv[2]))]
    times[name] = statistics.median(t for run in runs for t in run)
    print(f"{name}: {times[name]:.3f} s per step ({', '.join(f'{statistics.median(run):.3f}' for run in runs)})", end="")
    lines = read(name)
    if lines:
        perplexity = [line["eval_perplexity"] for line in lines if "eval_perplexity" in line]
        print(f", perplexity {perplexity[0]:.2f} -> {perplexity[-1]:.2f}, {lines[-1]['peak_memory_bytes'] / 1e6:.0f} MB", end="")
    print()
print(f"ratio {times['ours'] / times['peft']:.2f}")
END
