#!/bin/sh
# accuracy.sh FINETUNE_TEXT DIR [OPTION]... - test accuracy of the four methods and of the head alone, each the mean of
# three seeds: MiniLM-L6 (in DIR/minilm) on 1,040 WordNet glosses (DIR/wordnet-train.tsv), tested on 2,000
# (DIR/wordnet-test.tsv), with the trainer's defaults and the options given. Runs are kept in DIR/accuracy.
set -eu
[ $# -ge 2 ] || { echo "usage: accuracy.sh FINETUNE_TEXT DIR [OPTION]..." >&2 && exit 2; }
program=$1 dir=$2
shift 2
mkdir -p "$dir/accuracy"

# one NAME OPTION...: prints the accuracies of three seeds and their mean.
one() {
    name=$1
    shift
    for seed in 1 2 3; do
        "$program" --model "$dir/minilm" --train "$dir/wordnet-train.tsv" --eval "$dir/wordnet-test.tsv" --eval-every 0 \
            --seed $seed --out "$dir/accuracy/$name-$seed" --log "$dir/accuracy/$name-$seed.jsonl" "$@" >/dev/null
    done
    cat "$dir/accuracy/$name-1.jsonl" "$dir/accuracy/$name-2.jsonl" "$dir/accuracy/$name-3.jsonl" | awk -v name="$name" '
        match($0, /"accuracy_after":[0-9.e-]+/) { a[++n] = 100 * substr($0, RSTART + 17, RLENGTH - 17); sum += a[n] }
        END { printf "%-6s %8.2f %8.2f %8.2f %8.2f\n", name, a[1], a[2], a[3], sum / n }'
}

printf '%-6s %8s %8s %8s %8s\n' method "seed 1" "seed 2" "seed 3" mean
one head --lr 0 "$@"
for method in lora dora hora doran; do one $method --method $method "$@"; done
