#!/bin/sh
# cli.sh FINETUNE_TEXT - the text classifier's trainer as a user sees it: what it refuses, what it writes, how it resumes.
# On a tiny random model; with CLPEFT_TEST_MODEL and CLPEFT_TEST_WORDNET set also on a real one.
. "$(dirname "$0")/scratch.sh"
program=$(realpath "$1")
cd "$tmp" || exit 1

# refused STATUS TEXT ARGUMENTS...: the program ends with the status and one line on stderr that holds the text, and
# leaves no folder `out`.
refused() {
    status=$1 text=$2
    shift 2
    "$program" "$@" >stdout 2>stderr </dev/null
    is=$?
    [ $is -eq "$status" ] || fail "$*: status $is, expected $status: $(cat stderr)"
    [ "$(wc -l <stderr)" -eq 1 ] || fail "$*: not one line of error: $(cat stderr)"
    case $(cat stderr) in
    "finetune-text: "*"$text"*) ;;
    *) fail "$*: \"$(cat stderr)\" lacks \"$text\"" ;;
    esac
    [ ! -e out ] || { fail "$*: wrote out" && rm -rf out; }
}

# train ARGUMENTS...: must succeed.
train() {
    "$program" --model tiny --train train.tsv --eval eval.tsv "$@" >stdout 2>stderr || fail "training $*: $(cat stderr)"
}

same() {
    cmp "$1" "$2" || fail "$1 and $2 differ"
}

# Texts of colours, fruit and animals; the label says which, so that a random model learns it.
rows() { # SEED COUNT
    awk -v seed="$1" -v count="$2" 'BEGIN {
        srand(seed)
        n["colour"] = split("red green blue black white", w1); n["fruit"] = split("apple pear plum melon cherry", w2)
        n["animal"] = split("cat dog horse mouse bird", w3)
        for (i = 0; i < count; i++) {
            k = i % 3; j = 1 + int(5 * rand())
            printf "%s\tthe %s is a %s\n", k == 0 ? "colour" : k == 1 ? "fruit" : "animal", k == 0 ? w1[j] : k == 1 ? w2[j] : w3[j], \
                   k == 0 ? w1[1 + int(5 * rand())] : k == 1 ? w2[1 + int(5 * rand())] : w3[1 + int(5 * rand())]
        }
    }'
}

check_refusals() {
    data="--model tiny --train train.tsv --eval eval.tsv --out out"
    # shellcheck disable=SC2086   # $data is words
    {
        refused 2 "--model is missing"
        refused 2 "--eval is missing" --model tiny --train train.tsv
        refused 2 "'--ranks'" $data --ranks 8
        refused 2 "requires an argument" $data --rank
        refused 2 "--rank 0: below 1" $data --rank 0
        refused 2 "--rank 8x: not a whole number" $data --rank 8x
        refused 2 "--lr nan: not a finite number" $data --lr nan
        refused 2 "--lr -1: below 0" $data --lr -1
        refused 2 "--alpha inf" $data --alpha inf
        refused 2 "not one of lora, dora, hora, doran" $data --method bitfit
        refused 2 "--steps and --epochs" $data --steps 5 --epochs 5
        refused 2 "query" $data --sites query,nothing
        refused 2 "must end in .svg or .png" $data --plot chart.pdf
        refused 2 "no-such-device" $data --device no-such-device
        refused 2 "--max-length 65" $data --train long.tsv --eval long.tsv --max-length 65
        refused 2 "nowhere" $data --resume nowhere
        refused 2 "not a checkpoint" $data --resume tiny/model.safetensors
        refused 2 "No space left" $data --log /dev/full
        refused 2 "stray" stray $data
    }
    mkdir none
    vendors=${OCL_ICD_VENDORS-/etc/OpenCL/vendors} # the loader's default
    export OCL_ICD_VENDORS="$tmp/none"
    # shellcheck disable=SC2086
    refused 2 "OpenCL" $data
    export OCL_ICD_VENDORS="$vendors"
}

check_bad_data() {
    printf 'a\tred\nb\tgreen \377\n' >utf8.tsv
    printf 'a\tred\nb green\n' >tab.tsv
    printf 'a\tred\na\tgreen\n' >one.tsv
    printf 'a\tred\n\tgreen\n' >label.tsv
    printf 'a\tred\nb\t\n' >text.tsv
    printf 'a\tred\nb\tg\000n\n' >nul.tsv
    printf 'planet\tred\n' >unknown.tsv
    : >empty.tsv
    head -c 1100000 /dev/zero | tr '\0' a >line.tsv
    bad() { # TEXT FILE
        refused 2 "$2$1" --model tiny --train "$2" --eval eval.tsv --out out
    }
    bad ": No such file" missing.tsv
    bad ": Is a directory" none
    bad ": no rows" empty.tsv
    bad ": all rows have the label a" one.tsv
    bad " line 2: invalid UTF-8 at byte 9" utf8.tsv
    bad " line 2: no tab" tab.tsv
    bad " line 2: the label is empty" label.tsv
    bad " line 2: the text is empty" text.tsv
    bad " line 2: a NUL byte" nul.tsv
    bad " line 1: longer than" line.tsv
    refused 2 "unknown.tsv line 1: the label planet" --model tiny --train train.tsv --eval unknown.tsv --out out
    refused 2 "utf8.tsv line 2" --model tiny --train train.tsv --eval utf8.tsv --out out
}

check_bad_models() {
    bad_model() { # TEXT FOLDER
        refused 2 "$1" --model "$2" --train train.tsv --eval eval.tsv --out out
    }
    bad_model "missing/vocab.txt: No such file" missing
    cp -r tiny truncated && head -c 60000 tiny/model.safetensors >truncated/model.safetensors
    bad_model "model.safetensors" truncated
    cp -r tiny gpt && sed 's/"bert"/"gpt2"/; s/BertModel/GPT2Model/' tiny/config.json >gpt/config.json
    bad_model "gpt2" gpt
    cp -r tiny words && echo surplus >>words/vocab.txt
    bad_model "vocab.txt has 27 tokens, the model 26" words
    cp -r tiny wide && sed 's/"hidden_size": 32/"hidden_size": 64/' tiny/config.json >wide/config.json
    bad_model "the model needs [26,64]" wide
    cp -r tiny json && echo '}' >>json/config.json
    bad_model "config.json" json
}

# The log is JSON lines of the documented form; the accuracy rises. One python program reads it.
check_log() { # FILE STEPS
    python3 - "$1" "$2" <<'END' || fail "log $1"
import json, sys
lines = [json.loads(line, parse_constant=lambda name: sys.exit(name)) for line in open(sys.argv[1])]
first, last, steps = lines[0], lines[-1], [l for l in lines if "loss" in l]
assert first["config"]["method"] == "doran" and first["config"]["lr"] == 0.01 and first["trainable"] > 0 and first["device"]
assert [l["step"] for l in steps] == list(range(1, int(sys.argv[2]) + 1))
assert all(l["tokens"] > 0 and l["seconds"] > 0 and l["grad_norm"] > 0 and "lr" in l for l in steps)
assert [l["step"] for l in lines if "eval_accuracy" in l] == [0, 25, 50, 60]
assert last["done"] is True and last["trainable"] == first["trainable"] and last["peak_memory_bytes"] > 1e6
assert last["seconds_per_step"] > 0 and last["accuracy_after"] >= 0.9 > last["accuracy_before"], last
END
}

check_training() {
    run="--lr 0.01 --steps 60 --batch 8 --warmup 5 --eval-every 25 --save-every 20 --dropout 0.1"
    # shellcheck disable=SC2086
    {
        train $run --out whole --log whole.jsonl --plot whole.svg --per-class --confusion
        check_log whole.jsonl 60
        grep -q 'animal .* %' stdout || fail "no table of classes"
        if command -v gnuplot >/dev/null; then
            grep -q '<svg' whole.svg || fail "no chart"
        fi
        train $run --out again
        same whole/checkpoint.safetensors again/checkpoint.safetensors
        same whole/best.safetensors again/best.safetensors

        "$program" --model tiny --train train.tsv --eval eval.tsv $run --out half --log half.jsonl --stop-at 33 >stdout
        [ $? -eq 130 ] || fail "stop: status"
        [ "$(grep -c loss stdout)" -gt 2 ] || fail "stop: no progress on stdout"
        command=$(tail -n 1 stdout)
        eval "$command" >/dev/null || fail "the command to resume: $command"
        same whole/checkpoint.safetensors half/checkpoint.safetensors
        same whole/best.safetensors half/best.safetensors

        refused 2 "--rank 4: the checkpoint was trained with 8" --model tiny --train train.tsv --eval eval.tsv --resume half --rank 4
        refused 2 "at step 60" --model tiny --train train.tsv --eval eval.tsv --resume half --steps 70
        refused 2 "not the rows" --model tiny --train eval.tsv --eval eval.tsv --resume half
    }
}

check_interrupt() {
    "$program" --model tiny --train train.tsv --eval eval.tsv --steps 100000 --eval-every 0 --out broken --log broken.jsonl >stdout &
    process=$!
    for _ in $(seq 600); do
        grep -q '"step":3,' broken.jsonl 2>/dev/null && break
        sleep 0.1
    done
    kill -INT $process
    wait $process
    [ $? -eq 130 ] || fail "Ctrl-C: status"
    tail -n 1 stdout | grep -q -- '--resume broken$' || fail "Ctrl-C: no word about resuming: $(cat stdout)"
    tail -n 1 broken.jsonl | grep -q '^{"stopped":"interrupted"' || fail "Ctrl-C: log"
    "$program" --model tiny --train train.tsv --eval eval.tsv --resume broken --stop-at 100000 --steps 99 >stdout 2>stderr
    [ $? -eq 2 ] || fail "shorter than the checkpoint's schedule"
}

check_divergence() {
    "$program" --model tiny --train train.tsv --eval eval.tsv --lr 1e30 --head-lr 1e30 --clip 0 --warmup 0 --max-skipped 4 --out far \
        --log far.jsonl >stdout 2>stderr
    [ $? -eq 3 ] || fail "divergence: status"
    [ "$(cat stderr)" = "finetune-text: stopped: 4 steps in a row were not finite" ] || fail "divergence: $(cat stderr)"
    grep -q '"grad_norm":null,"skipped":true' far.jsonl || fail "divergence: log"
    "$program" eval --model tiny --adapter far --eval eval.tsv >/dev/null || fail "divergence: the last good state"
}

check_use() {
    "$program" eval --model tiny --adapter whole --eval eval.tsv >stdout || fail "eval"
    right=$(sed -n 's/.*(\([0-9]*\) of 60).*/\1/p' stdout)
    cut -f 2 eval.tsv | "$program" predict --model tiny --adapter whole >predicted || fail "predict"
    cut -f 2 eval.tsv >texts
    "$program" predict --model tiny --adapter whole/checkpoint.safetensors texts | cmp - predicted || fail "predict: file and stdin differ"
    [ "$(cut -f 1 eval.tsv | paste - predicted | awk '$1 == $2' | wc -l)" = "$right" ] || fail "predict and eval disagree"
    grep -E -v -q "^[a-z]+	[01]\.[0-9]{4}$" predicted && fail "predict: form of lines"
    refused 2 "utf8.tsv line 2" predict --model tiny --adapter whole utf8.tsv
    refused 2 "--adapter is missing" predict --model tiny
    refused 2 "not a checkpoint" eval --model tiny --adapter tiny/model.safetensors --eval eval.tsv
    head -c 3000 whole/checkpoint.safetensors >cut.safetensors
    refused 2 "cut.safetensors" predict --model tiny --adapter cut.safetensors texts
    "$program" predict --model tiny --adapter whole texts >/dev/full 2>stderr
    [ "$? $(wc -l <stderr)" = "2 1" ] || fail "predict: full disk"
}

# A file size limit stands for a full disk; the kernels are compiled by now, so that the drivers write nothing large.
check_full_disk() {
    (
        export GCOV_PREFIX="$tmp/gcov" GCOV_ERROR_FILE=/dev/null # of a build that counts its lines: it writes too
        ulimit -f 4
        "$program" --model tiny --train train.tsv --eval eval.tsv --steps 60 --out out >/dev/null 2>"$tmp"/stderr
    )
    [ $? -eq 2 ] || fail "full disk: status: $(cat stderr)"
    [ "$(wc -l <stderr)" -eq 1 ] || fail "full disk: $(cat stderr)"
    [ ! -e out ] || fail "full disk: left $(ls out)"
}

check_without_gnuplot() {
    mkdir path && ln -s /bin/sh path/sh
    PATH=$tmp/path "$program" --model tiny --train train.tsv --eval eval.tsv --steps 2 --out nochart --plot no.svg >stdout 2>stderr ||
        fail "without gnuplot: $(cat stderr)"
    grep -q 'chart skipped: gnuplot is not installed' stdout || fail "without gnuplot: no word about it"
    [ ! -e no.svg ] || fail "without gnuplot: a chart"
}

# A real model on real text: interrupted and resumed is the same as not, and it learns.
check_real() {
    data="--model $CLPEFT_TEST_MODEL --train ${CLPEFT_TEST_WORDNET%.tsv}-train.tsv --eval real.tsv --steps 30 --method hora"
    head -n 200 "${CLPEFT_TEST_WORDNET%.tsv}-test.tsv" >real.tsv
    # shellcheck disable=SC2086
    {
        "$program" $data --out real --log real.jsonl >/dev/null || fail "real model"
        "$program" $data --out real-half --stop-at 11 >/dev/null
        "$program" $data --out real-half --resume real-half >/dev/null || fail "real model: resume"
    }
    same real/checkpoint.safetensors real-half/checkpoint.safetensors
    tail -n 1 real.jsonl | sed -n 's/.*"accuracy_after":\([0-9.]*\).*/\1/p' | awk '{ exit !($1 > 0.3) }' || fail "real model: accuracy"
}

python3 "$here/make_tiny_bert.py" tiny || exit 1
rows 1 90 >train.tsv
rows 2 60 >eval.tsv
awk 'BEGIN { for (k = 0; k < 2; k++) { printf "c%d\t", k; for (i = 0; i < 100; i++) printf "red "; print "red" } }' >long.tsv
check_refusals
check_bad_data
check_bad_models
check_training
check_interrupt
check_divergence
check_use
check_full_disk
check_without_gnuplot
if [ -n "${CLPEFT_TEST_MODEL:-}" ] && [ -n "${CLPEFT_TEST_WORDNET:-}" ]; then check_real; else echo "real model: skipped"; fi
[ $failed -eq 0 ] && echo "all checks passed"
exit $failed
