#!/bin/sh
# cli-lm.sh FINETUNE_LM TEST_DOCUMENTS [sanitized] - the language model's trainer as a user sees it, on a tiny random model: what
# it learns, what it writes, how it resumes, what it refuses. TEST_DOCUMENTS is the unit test of its parts. With CLPEFT_TEST_GGUF
# also on a real model.
. "$(dirname "$0")/scratch.sh"
program=$(realpath "$1")
documents=$(realpath "$2")
build=${3:-}
cd "$tmp" || exit 1

run() { # ARGUMENTS...: must succeed
    "$program" "$@" >stdout 2>stderr </dev/null || fail "$*: $(cat stderr)"
}
# refused TEXT ARGUMENTS...: status 2, one line on stderr that holds the text, and no folder `out`. What is held when the program
# ends so is no leak.
refused() {
    text=$1
    shift
    ASAN_OPTIONS=detect_leaks=0 "$program" "$@" >stdout 2>stderr </dev/null
    [ $? -eq 2 ] || fail "$*: not status 2"
    [ "$(wc -l <stderr)" -eq 1 ] || fail "$*: not one line of error: $(cat stderr)"
    case $(cat stderr) in "finetune-lm: "*"$text"*) ;; *) fail "$*: \"$(cat stderr)\" lacks \"$text\"" ;; esac
    [ ! -e out ] || { fail "$*: wrote out" && rm -rf out; }
}
same() {
    cmp "$1" "$2" || fail "$1 and $2 differ"
}

python3 "$here/make_tiny_llama.py" tiny.gguf || exit 1
TINY=$tmp/tiny.gguf "$documents" || failed=1

# Words and what they are: a random model learns it.
rows() { # SEED COUNT
    awk -v seed="$1" -v count="$2" 'BEGIN {
        srand(seed)
        n = split("red green apple pear cat dog", word); split("colour colour fruit fruit animal animal", kind)
        for (i = 0; i < count; i++) {
            k = 1 + int(n * rand())
            printf "{\"prompt\":\"%s:\",\"completion\":\" the %s\"}\n", word[k], kind[k]
        }
    }'
}
rows 1 120 >train.jsonl
rows 2 30 >eval.jsonl
printf 'the cat and the dog\nlive in a house\n\nthe apple is red\n\nthe pear is green\n' >text.txt

check_training() {
    set -- --model tiny.gguf --train train.jsonl --eval eval.jsonl --sites all --lr 0.01 --tokens 96 --model-tokens 48 --max-length 40 \
        --steps 60 --warmup 5 --eval-every 25 --save-every 20 --dropout 0.05 --method doran --act silu
    run "$@" --out whole --log whole.jsonl --plot whole.svg --temperature 0
    grep -q '^after training:' stdout || fail "no samples: $(cat stdout)"
    grep -A 1 '^after training:' stdout | grep -q ': the [acf]' || fail "what it learned: $(cat stdout)"
    python3 - whole.jsonl <<'END' || fail "log"
import json, sys
lines = [json.loads(line, parse_constant=lambda name: sys.exit(name)) for line in open(sys.argv[1])]
steps, last = [l for l in lines if "loss" in l], lines[-1]
assert [l["step"] for l in steps] == list(range(1, 61)) and all(70 < l["tokens"] <= 96 for l in steps)
assert [l["step"] for l in lines if "eval_perplexity" in l] == [0, 25, 50, 60]
assert last["done"] and last["perplexity_before"] > 100 and last["perplexity_after"] < 2, last
END
    "$program" "$@" --out half --stop-at 33 >stdout
    [ $? -eq 130 ] || fail "stop: status"
    command=$(tail -n 1 stdout)
    eval "$command" >/dev/null || fail "the command to resume: $command"
    same whole/checkpoint.safetensors half/checkpoint.safetensors
    same whole/best.safetensors half/best.safetensors
    refused "not the rows" --model tiny.gguf --train eval.jsonl --eval eval.jsonl --resume half
    refused "--tokens 80: the checkpoint was trained with 96" --model tiny.gguf --train train.jsonl --eval eval.jsonl --resume half --tokens 80
}

# Start from an adapter: it predicts as well as before, with another optimizer's state, and can be resumed.
check_init() {
    set -- --model tiny.gguf --train train.jsonl --eval eval.jsonl --tokens 96 --samples 0
    run "$@" --init whole --steps 3 --out more --log more.jsonl
    tail -n 1 more.jsonl | grep -q '"perplexity_before":1\.' || fail "init: $(tail -n 1 more.jsonl)"
    head -n 1 more.jsonl | grep -q '"method":"doran".*"sites":"all"' || fail "init: $(head -n 1 more.jsonl)"
    "$program" "$@" --init whole/best.safetensors --steps 3 --out part --stop-at 2 >stdout
    command=$(tail -n 1 stdout)
    eval "$command" >/dev/null || fail "the command to resume: $command"
    same more/checkpoint.safetensors part/checkpoint.safetensors
    refused "--init and --resume: only one" "$@" --init whole --resume whole
    refused "--rank 4: the adapter in whole was made with 8" "$@" --init whole --rank 4 --out out
    refused "--method lora: the adapter in whole was made with doran" "$@" --init whole --method lora --out out
    refused "not a checkpoint of a trainer" "$@" --init tiny.gguf --out out
}

check_use() {
    run eval --model tiny.gguf --adapter whole --eval eval.jsonl
    grep -q '^perplexity 1\.' stdout || fail "eval: $(cat stdout)"
    run generate --model tiny.gguf --adapter whole --temperature 0 'cat:'
    [ "$(cat stdout)" = " the animal" ] || fail "generate: $(cat stdout)"
    printf 'red:\npear:\n' | "$program" generate --model tiny.gguf --adapter whole --temperature 0 >stdout || fail "generate: lines"
    [ "$(tr '\n' . <stdout)" = " the colour. the fruit." ] || fail "generate: $(cat stdout)"
    run --model tiny.gguf --train text.txt --eval text.txt --epochs 2 --tokens 64 --out text --prompt 'the cat'
    grep -q '  the cat' stdout || fail "a prompt: $(cat stdout)"
}

check_refusals() {
    set -- --model tiny.gguf --train train.jsonl --eval eval.jsonl --out out
    refused "--model is missing"
    refused "'--head-lr'" "$@" --head-lr 1
    refused "'--batch'" "$@" --batch 8
    refused "--max-length 200" "$@" --max-length 200 --tokens 200 --train long.txt
    refused "longer than a step of 8" "$@" --tokens 8
    refused "neither a safetensors nor a GGUF file" "$@" --tokenizer train.jsonl
    refused "tiny.gguf: No such file" --model no-tiny.gguf --train train.jsonl --eval eval.jsonl --out out
    printf '{"prompt":"a","completion":"b"}\n[1]\n' >array.jsonl
    printf '{"prompt":"a","completion":""}\n' >empty.jsonl
    printf '{"prompt":1,"completion":"b"}\n' >number.jsonl
    printf '{"prompt":"a","completion":"b"\n' >open.jsonl
    printf 'a\377\n' >utf8.txt
    printf 'a\000b\n' >nul.txt
    : >nothing.txt
    refused "array.jsonl line 2: not a JSON object" "$@" --train array.jsonl
    refused "empty.jsonl line 1: the completion is empty" "$@" --train empty.jsonl
    refused "number.jsonl line 1: \"prompt\" is not a string" "$@" --train number.jsonl
    refused "open.jsonl line 1: not a JSON object" "$@" --eval open.jsonl
    refused "utf8.txt line 1: invalid UTF-8 at byte 2" "$@" --train utf8.txt
    refused "nul.txt line 1: a NUL byte" "$@" --train nul.txt
    refused "nothing.txt: no documents" "$@" --train nothing.txt
    refused "missing.txt: No such file" "$@" --train missing.txt
    refused "not a checkpoint of finetune-lm" eval --model tiny.gguf --adapter tiny.gguf --eval eval.jsonl
    refused "one prompt only" generate --model tiny.gguf --adapter whole a b
}

# The real model: ten steps of 512 tokens lower the perplexity of what it has not seen, in less than 700 MB. A step before them
# compiles the kernels: the memory that the compiler takes in the process is not counted, nor what a sanitizer adds, nor pages that
# nobody uses until the C library fills them (MALLOC_PERTURB_, which meson sets).
check_real() {
    unset MALLOC_PERTURB_
    sh "$here/../examples/data/wordnet-lm.sh" --train 2000 --test 60 . || return
    set -- --model "$CLPEFT_TEST_GGUF" --train wordnet-lm-train.jsonl --eval wordnet-lm-test.jsonl --tokens 512 --warmup 1
    run "$@" --steps 1 --samples 1 --sample-tokens 2 --out first
    run "$@" --steps 10 --out real --log real.jsonl
    tail -n 1 real.jsonl | python3 -c '
import json, sys
last, sanitized = json.loads(sys.stdin.read()), sys.argv[1] == "sanitized"
assert last["perplexity_after"] < 0.75 * last["perplexity_before"], last
assert sanitized or last["peak_memory_bytes"] < 700e6, last' "$build" || fail "real model"
}

awk 'BEGIN { for (i = 0; i < 300; i++) printf "red " }' >long.txt
check_training
check_init
check_use
check_refusals
if [ -n "${CLPEFT_TEST_GGUF:-}" ]; then check_real; else echo "real model: skipped"; fi
[ $failed -eq 0 ] && echo "all checks passed"
exit $failed
