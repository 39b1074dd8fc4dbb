#!/bin/sh
# data.sh - what the scripts under examples/data promise: rows, classes, a split that is disjoint and always the same,
# and the comparison of runs. Skipped without WordNet; BBC News only when CLPEFT_TEST_BBC says that it was fetched.
set -u
data=$(cd "$(dirname "$0")/../examples/data" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

is() { # WHAT EXPECTED FOUND
    if [ "$2" != "$3" ]; then
        echo "$1: expected $2, found $3"
        failed=1
    fi
}
count() { wc -l <"$1"; }
classes() { cut -f 1 "$1" | sort | uniq -c | awk '{ print $1, $2 }'; }
bad_rows() { awk -F '\t' 'NF != 2 || $1 == "" || $2 == "" || $2 ~ /^ | $/' "$1" | wc -l; }
sum() { cat "$@" | sha256sum | cut -c 1-16; }

# Every row of the split stands in the whole file, and no text on both sides.
check_split() { # DIR NAME TRAIN TEST
    is "$2 training rows" "$3" "$(count "$1/$2-train.tsv")"
    is "$2 test rows" "$4" "$(count "$1/$2-test.tsv")"
    is "$2 rows from elsewhere" 0 "$(awk 'NR == FNR { known[$0]; next } !($0 in known)' \
        "$1/$2.tsv" "$1/$2-train.tsv" "$1/$2-test.tsv" | wc -l)"
    is "$2 texts on both sides" 0 "$(awk -F '\t' 'NR == FNR { seen[$2]; next } $2 in seen' \
        "$1/$2-train.tsv" "$1/$2-test.tsv" | wc -l)"
}

check_wordnet() {
    sh "$data/wordnet.sh" "$tmp/a" || exit 1
    is "rows" 82115 "$(count "$tmp/a/wordnet.tsv")"
    is "rows that are not label, tab, text" 0 "$(bad_rows "$tmp/a/wordnet.tsv")"
    is "classes" 26 "$(classes "$tmp/a/wordnet.tsv" | wc -l)"
    is "rows of the classes 03, 06 and 28" "51 noun.Tops 11587 noun.artifact 1028 noun.time" \
        "$(classes "$tmp/a/wordnet.tsv" | grep -E 'Tops|artifact|time' | xargs)"
    check_split "$tmp/a" wordnet 1040 2000
    is "classes in the training rows" 26 "$(classes "$tmp/a/wordnet-train.tsv" | wc -l)"
    is "the split of seed 1" b6298981b0ea8e4f "$(sum "$tmp/a/wordnet-train.tsv" "$tmp/a/wordnet-test.tsv")"

    sh "$data/wordnet.sh" --seed 2 "$tmp/b" || exit 1
    is "the split of seed 2" 3a2d8f45dbdd69f0 "$(sum "$tmp/b/wordnet-train.tsv" "$tmp/b/wordnet-test.tsv")"
    for n in 260 4160; do
        sh "$data/wordnet.sh" --train $n --test 500 "$tmp/b" || exit 1
        check_split "$tmp/b" wordnet $n 500
    done
    is "classes in few training rows" 26 "$(sh "$data/wordnet.sh" --train 26 --test 9 "$tmp/b" && classes "$tmp/b/wordnet-train.tsv" | wc -l)"
}

check_bbc() {
    sh "$data/bbc.sh" "$tmp/a" || exit 1
    is "rows" 2225 "$(count "$tmp/a/bbc.tsv")"
    is "rows that are not label, tab, text" 0 "$(bad_rows "$tmp/a/bbc.tsv")"
    is "classes" "510 business 386 entertainment 417 politics 511 sports 401 tech" \
        "$(classes "$tmp/a/bbc.tsv" | xargs)"
    is "is UTF-8" yes "$(iconv -f UTF-8 -t UTF-8 "$tmp/a/bbc.tsv" | cmp -s - "$tmp/a/bbc.tsv" && echo yes)"
    check_split "$tmp/a" bbc 1000 1000
    is "the split of seed 1" c3887b69a47c5974 "$(sum "$tmp/a/bbc-train.tsv" "$tmp/a/bbc-test.tsv")"
}

# A refused call says why and leaves nothing behind.
check_refused() { # STATUS ARGUMENTS...
    status=$1
    shift
    said=$(sh "$data/wordnet.sh" "$@" "$tmp/c" 2>&1)
    is "status of wordnet.sh $*" "$status" $?
    [ -n "$said" ] || is "message of wordnet.sh $*" something nothing
    is "files after wordnet.sh $*" "" "$(ls -A "$tmp/c" 2>/dev/null)"
}

check_compare() {
    {
        echo '{"config": {}, "trainable": 9}'
        echo '{"step": 0, "eval_accuracy": 0.25, "eval_loss": 2}'
        echo '{"step": 1, "loss": 2.5, "lr": 0.1, "tokens": 7, "seconds": 0.5}'
        echo '{"step": 2, "loss": 1.5, "lr": 0.1, "tokens": 7, "seconds": 0.5}'
        echo '{"step": 2, "eval_accuracy": 0.5, "eval_loss": 1}'
    } >"$tmp/cut.jsonl"
    {
        cat "$tmp/cut.jsonl"
        echo '{"done": true, "trainable": 1234, "accuracy_before": 0.25, "accuracy_after": 0.5,' \
            '"seconds_per_step": 0.0625, "peak_memory_bytes": 77000000}'
    } >"$tmp/run.jsonl"
    is "the table's row" "run 1,234 25.0 % 50.0 % 62 ms 77 MB" \
        "$(python3 "$data/compare.py" "$tmp/run.jsonl" | tail -n 1 | xargs)"
    is "a run that was cut" "compare.py: $tmp/cut.jsonl: this run did not finish" \
        "$(python3 "$data/compare.py" "$tmp/cut.jsonl" 2>&1)"
    if command -v gnuplot >/dev/null 2>&1; then
        python3 "$data/compare.py" --chart "$tmp/chart.svg" "$tmp/run.jsonl" >/dev/null
        is "names of curves in the chart" 2 "$(grep -c '<text>run</text>' "$tmp/chart.svg")"
    fi
}

[ -r /usr/share/wordnet/data.noun ] || exit 77
check_wordnet
check_compare
check_refused 2 --train x
check_refused 2 --seed -1
check_refused 2 --rows 5
check_refused 1 --train 0
check_refused 1 --train 90000
check_refused 1 --train 82000
if [ -n "${CLPEFT_TEST_BBC:-}" ]; then check_bbc; else echo "BBC News: skipped"; fi
exit $failed
