#!/bin/sh
# measure.sh FINETUNE_TEXT MODEL TRAIN.tsv - what the study stands on, as JSON on stdout: one rank, one with half of the rows, and two ranks, with a
# processor core each; MiniLM, 64 rows a step; medians. On a machine that does nothing else. A step's floating-point operations are
# 4 x weights x tokens: forward, and backward to the input.
set -eu
program=$(realpath "$1") model=$(realpath "$2") rows=$(realpath "$3")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
head -n 1200 "$rows" >train.tsv
head -n 100 train.tsv >eval.tsv
export POCL_MAX_PTHREAD_COUNT=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

run() { # NAME BATCH COMMAND...
    name=$1 batch=$2
    shift 2
    "$@" "$program" --model "$model" --train train.tsv --eval eval.tsv --method lora --batch "$batch" --steps 24 --warmup 2 --eval-every 0 \
        --out "$name" --log "$name.jsonl" >/dev/null
}
run warm 64 env # compiles the kernels
run one 64 taskset -c 0
run half 32 taskset -c 0
run two 64 mpirun -n 2 --bind-to core
python3 - <<'END_PY'
import json, statistics
WEIGHTS = 6 * (4 * 384 * 384 + 2 * 384 * 1536)
def steps(name):
    return [l for l in map(json.loads, open(name + ".jsonl")) if "loss" in l][4:]
def median(name, key="seconds"):
    return statistics.median(l[key] for l in steps(name))
config = json.loads(open("one.jsonl").readline())
each = [l["seconds"] / l["tokens"] for l in steps("one")]
print(json.dumps({
    "device": config["device"] + ", one core",
    "gflops": round(4 * WEIGHTS / statistics.median(each) / 1e9, 1),
    "spread": round(statistics.pstdev(each) / statistics.mean(each), 3),
    "trainable": config["trainable"],
    "one_rank_s": round(median("one"), 4),
    "half_batch_s": round(median("half"), 4),
    "two_ranks_s": round(median("two"), 4),
    "two_ranks_waiting_s": round(median("two", "waiting_seconds"), 5),
    "two_ranks_sending_s": round(median("two", "sending_seconds"), 5),
}, indent=2))
END_PY
