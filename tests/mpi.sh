#!/bin/sh
# mpi.sh FINETUNE_TEXT FINETUNE_LM - several ranks train as one process does: equal losses, equal bits on all ranks, a checkpoint of some
# ranks resumed by others, several devices in a process, ranks that differ, a rank that dies. On tiny random models; skipped without MPI.
. "$(dirname "$0")/scratch.sh"
[ "$1" != none ] && command -v mpirun >/dev/null 2>&1 || { echo "no MPI: skipped" && exit 77; }
text=$(realpath "$1")
lm=$(realpath "$2")
cd "$tmp" || exit 1
# One thread each: the ranks share this machine. Leaks of MPI and of the drivers are not ours.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_base_warn_component_unused=0 POCL_MAX_PTHREAD_COUNT=1
export ASAN_OPTIONS="detect_leaks=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"

ranks() { # N COMMAND...: with a limit of time, and stdout and stderr in files
    n=$1
    shift
    timeout 120 mpirun --oversubscribe --bind-to none -n "$n" "$@" >stdout 2>stderr </dev/null
}

# losses A.jsonl B.jsonl: as many steps and evaluations, the same batches, losses within 1e-5.
losses() {
    python3 - "$1" "$2" <<'END_PY' || fail "$1 and $2"
import json, sys
one, many = ([json.loads(line) for line in open(path)] for path in sys.argv[1:])
worst = 0
for key in "loss", "eval_loss", "grad_norm":
    a, b = ([(l["step"], l.get("tokens"), l[key]) for l in log if key in l] for log in (one, many))
    assert a and [x[:2] for x in a] == [x[:2] for x in b], key
    worst = max([worst] + [abs(x[2] - y[2]) / max(1, abs(x[2])) for x, y in zip(a, b)])
assert worst <= 1e-5, worst
steps = [l for l in many if "waiting_seconds" in l]
send = sorted(l["sending_seconds"] for l in steps)
print("%s: largest difference %.1e; gradients are summed in %.2f ms" % (sys.argv[2], worst, 1e3 * send[len(send) // 2] if send else 0))
END_PY
}

same_bits() { # the line of the end says that all ranks have the same hash, which the program has compared
    grep -q "$1 ranks: .*parameters [0-9a-f]* on all" stdout || fail "$1 ranks: no word of equal bits: $(tail -n 3 stdout)"
}

# 11 rows: of 12, four per class would make the head bias' first gradient 0 but for rounding, and AdamW's first step goes by its sign.
check_text() {
    set -- --model tiny --train train.tsv --eval eval.tsv --lr 0.01 --steps 20 --warmup 5 --eval-every 7 --save-every 10 --dropout 0.1
    "$text" "$@" --batch 11 --out one --log one.jsonl >stdout || fail "one process"
    for n in 2 4; do
        ranks $n "$text" "$@" --batch 11 --out $n --log $n.jsonl || fail "$n ranks: $(cat stderr)"
        losses one.jsonl $n.jsonl
        same_bits $n
        cp stdout $n.out
    done
    [ "$(grep -c 'step 7: accuracy' 4.out)" -eq 1 ] || fail "more than one rank is heard"
    ranks 4 "$text" "$@" --batch 11 --out again || fail "4 ranks again: $(cat stderr)"
    cmp 4/checkpoint.safetensors again/checkpoint.safetensors || fail "4 ranks are not repeatable"
    ranks 4 "$text" "$@" --batch 3 --out few --log few.jsonl || fail "ranks without a row: $(cat stderr)"
    "$text" "$@" --batch 3 --out few-one --log few-one.jsonl >stdout || fail "a batch of 3"
    losses few-one.jsonl few.jsonl
}

# A checkpoint of 4 ranks goes on with 2, and then with one process.
check_elastic() {
    set -- --model tiny --train train.tsv --eval eval.tsv
    ranks 4 "$text" "$@" --lr 0.01 --steps 20 --warmup 5 --eval-every 7 --save-every 10 --dropout 0.1 --batch 11 --out parts --log parts.jsonl \
        --stop-at 8
    [ $? -eq 130 ] || fail "stop: status"
    ranks 2 "$text" "$@" --resume parts --eval-every 7 --log parts.jsonl --stop-at 15
    [ $? -eq 130 ] || fail "stop again: status: $(cat stderr)"
    "$text" "$@" --resume parts --eval-every 7 --log parts.jsonl >stdout || fail "resume by one process"
    losses one.jsonl parts.jsonl
}

# At three times the rate, differences of rounding grow from 1e-7 to 2e-5 in the last steps.
check_lm() {
    set -- --model tiny.gguf --train train.jsonl --eval eval.jsonl --sites all --lr 0.003 --tokens 96 --model-tokens 48 --max-length 40 \
        --steps 12 --warmup 5 --eval-every 5 --dropout 0.05 --method doran --act silu
    "$lm" "$@" --out lm --log lm.jsonl >stdout || fail "one process"
    for n in 2 4; do
        ranks $n "$lm" "$@" --out lm$n --log lm$n.jsonl || fail "$n ranks: $(cat stderr)"
        losses lm.jsonl lm$n.jsonl
        same_bits $n
    done
    [ "$(grep -c '^after training' stdout)" -eq 1 ] || fail "samples: $(tail -c 300 stdout)"
}

# Two replicas on the device, in one process and in two ranks.
check_devices() {
    set -- --model tiny --train train.tsv --eval eval.tsv --lr 0.01 --steps 20 --warmup 5 --eval-every 7 --save-every 10 --dropout 0.1 --batch 11
    "$text" "$@" --device 0,0 --out devices --log devices.jsonl >stdout || fail "two devices"
    losses one.jsonl devices.jsonl
    ranks 2 "$text" "$@" --device 0,0 --out devices2 --log devices2.jsonl || fail "two devices each: $(cat stderr)"
    losses one.jsonl devices2.jsonl
    "$text" "$@" --device 0,0 --out half --log half.jsonl --stop-at 13 >stdout
    "$text" --model tiny --train train.tsv --eval eval.tsv --eval-every 7 --device 0,0 --resume half --log half.jsonl >stdout || fail "two devices: resume"
    cmp devices/checkpoint.safetensors half/checkpoint.safetensors || fail "two devices: resumed is not uninterrupted"
}

# differs TEXT ARGUMENTS-OF-THE-SECOND-RANK...: both say so, end with 2 and write nothing. $second begins the second one's command.
second=env
differs() {
    what=$1
    shift
    base="--train train.tsv --eval eval.tsv --steps 4 --out differs"
    # shellcheck disable=SC2086   # words
    timeout 60 mpirun --oversubscribe --bind-to none -n 1 "$text" --model tiny $base : -n 1 $second "$text" --model tiny $base "$@" >stdout 2>stderr </dev/null
    [ $? -eq 2 ] || fail "differs $*: status"
    for rank in 0 1; do grep -q "^finetune-text, rank $rank: $what" stderr || fail "$*: rank $rank: $(cat stderr)"; done
    [ ! -e differs ] || fail "$*: wrote"
}

# A rank with another library, where one can be laid over it.
differs_version() {
    echo 'const char *clpeft_version(void); const char *clpeft_version(void) { return "9.9"; }' | cc -shared -fPIC -x c - -o other.so || return
    second="env LD_PRELOAD=$tmp/other.so"
    differs "the library's version differs: .* 9.9 at rank 1"
    second=env
}

check_differing() {
    differs "--rank differs" --rank 4
    differs "the hash of the training rows differs" --train eval.tsv
    differs "the hash of the model differs" --model other
    nm -D --undefined-only "$text" | grep -q '__[at]san_init' || differs_version
    ranks 2 "$text" --model tiny --train train.tsv --eval eval.tsv --out one2 --rank 0
    [ $? -ne 0 ] || fail "refused options"
    grep -q -- '--rank 0: below 1' stderr || fail "refused options: $(cat stderr)"
}

wait_for() { # TEXT FILE
    for _ in $(seq 300); do
        grep -q "$1" "$2" 2>/dev/null && return
        sleep 0.1
    done
    fail "no $1 in $2"
}

# Each rank leaves its process id; $1 is sent to process $2 when some steps are done.
long_run() {
    printf '#!/bin/sh\necho $$ >pid.$OMPI_COMM_WORLD_RANK\nexec "$@"\n' >named.sh
    rm -f long.jsonl pid.*
    timeout 120 mpirun --oversubscribe --bind-to none -n 3 sh named.sh "$text" --model tiny --train train.tsv --eval eval.tsv --steps 1000000 \
        --decay none --eval-every 0 --save-every 20 --out long --log long.jsonl >stdout 2>stderr </dev/null &
    echo $! >pid.mpirun
    wait_for '"step":45,' long.jsonl
}

# One step after the checkpoint of long, which is one of every 20.
next_step() {
    python3 - <<'END_PY'
import json, struct
with open("long/checkpoint.safetensors", "rb") as f:
    print(int(json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))["__metadata__"]["step"]) + 1)
END_PY
}

check_ends() {
    # With its single-copy mechanism Open MPI itself ends a rank that just reads from the memory of one that is killed.
    export OMPI_MCA_btl_vader_single_copy_mechanism=none
    long_run
    kill -KILL "$(cat pid.1)"
    wait "$(cat pid.mpirun)"
    [ $? -ne 0 ] || fail "killed rank: status"
    for rank in 0 2; do grep -q "^finetune-text, rank $rank: ended, because another rank" stderr || fail "killed rank: $(cat stderr)"; done
    ranks 2 "$text" --model tiny --train train.tsv --eval eval.tsv --resume long --log resumed.jsonl --steps 1000000 --stop-at "$(next_step)"
    [ $? -eq 130 ] || fail "killed rank: resume: $(cat stderr)"
    sed -n 's/.*"first_step":\([0-9]*\).*/\1/p' resumed.jsonl | awk '{ exit !($1 >= 41 && $1 % 20 == 1) }' || fail "killed rank: $(cat resumed.jsonl)"

    long_run
    kill -USR2 "$(cat pid.0)"
    wait "$(cat pid.mpirun)"
    [ $? -eq 130 ] || fail "stopped: status: $(cat stderr)"
    grep -q 'stopped and saved' stdout || fail "stopped: $(tail -c 300 stdout)"
}

rows() { # SEED COUNT
    awk -v seed="$1" -v count="$2" 'BEGIN {
        srand(seed); n = split("red green blue apple pear cat dog", word); split("colour colour colour fruit fruit animal animal", kind)
        for (i = 0; i < count; i++) {
            j = 1 + int(n * rand())
            printf "%s\tthe %s is a %s%s\n", kind[j], word[j], word[1 + int(n * rand())], i % 5 ? "" : " and the cat is a dog"
        }
    }'
}
python3 "$here/make_tiny_bert.py" tiny && python3 "$here/make_tiny_llama.py" tiny.gguf || exit 1
rows 1 90 >train.tsv
rows 2 50 >eval.tsv
for set in train eval; do
    awk -F '\t' '{ split($2, w, " "); printf "{\"prompt\":\"%s:\",\"completion\":\" the %s\"}\n", w[2], $1 }' $set.tsv >$set.jsonl
done
cp -r tiny other
python3 - <<'END_PY'
data = bytearray(open("other/model.safetensors", "rb").read())
data[-4] ^= 1
open("other/model.safetensors", "wb").write(data)
END_PY
check_text
check_elastic
check_devices
check_lm
check_differing
check_ends
[ $failed -eq 0 ] && echo "all checks passed"
exit $failed
