#!/bin/sh
# study.sh FINETUNE_TEXT SOURCE - the runner of examples/study on a tiny random model: killed and resumed it leaves every run once; and its
# report's numbers are those of a calculation by hand.
# The page's tables are what the report makes of the measured runs.
. "$(dirname "$0")/scratch.sh"
programs=$(dirname "$(realpath "$1")")
study=$2/examples/study

has() { # FILE TEXT
    grep -qF -e "$2" "$1" || fail "$1 lacks: $2"
}

# Takes the place of the shell, so that it can be killed: only for a subshell.
run() { # OPTION...
    exec python3 "$study/study.py" --data "$tmp/data" --programs "$programs" --out "$tmp/out" --tasks "$tmp/tasks.json" --method lora --method doran \
        --seeds 2 "$@"
}

# Two methods: 2 rates to choose from and 2 seeds, 8 runs.
check_resume() {
    python3 "$2/tests/make_tiny_bert.py" "$tmp/data/tiny" || exit 1
    awk 'BEGIN {
        n = split("red green blue black white apple pear plum melon cherry cat dog horse mouse bird", w)
        for (i = 0; i < n; i++) for (j = 0; j < 6; j++) printf "c%d\tthe %s was a %s\n", int(i / 5), w[i + 1], w[5 * int(i / 5) + 1 + j % 5]
    }' | sort -u >"$tmp/data/rows.tsv"
    cat >"$tmp/tasks.json" <<'END'
{"colours": {"program": "finetune-text", "model": "tiny", "data": "rows.tsv", "form": "classes", "measure": "eval_accuracy",
    "test": 20, "validation": 10, "sizes": {"20": 12}, "rates": [0.001, 0.01], "options": {"batch": 8, "warmup": 2}, "equal": {}}}
END
    run >"$tmp/stdout" 2>"$tmp/stderr" &
    runner=$!
    for _ in $(seq 600); do
        [ "$(grep -c . "$tmp/out/results.jsonl" 2>/dev/null)" -ge 2 ] 2>/dev/null && break
        sleep 0.1
    done
    (run 2>"$tmp/second") && fail "a second runner beside the first"
    has "$tmp/second" "another study.py"
    kill $runner
    wait $runner
    [ $? -eq 143 ] || fail "killed: status; $(cat "$tmp/stderr")"
    [ -z "$(ls -A "$tmp/out/running")" ] || fail "killed: left $(ls "$tmp/out/running")"
    before=$(wc -l <"$tmp/out/results.jsonl")
    [ "$before" -lt 8 ] || fail "killed too late"
    cp "$tmp/out/results.jsonl" "$tmp/first"
    printf '{"settings": {"part"' >>"$tmp/out/results.jsonl" # as if the power went
    (run --hours 0 >/dev/null 2>"$tmp/stderr") && fail "no time: status"
    has "$tmp/stderr" "the time is up"
    cmp "$tmp/first" "$tmp/out/results.jsonl" || fail "no time: the finished runs changed"
    (run >/dev/null) || fail "resume"
    head -n "$before" "$tmp/out/results.jsonl" | cmp - "$tmp/first" || fail "resume: the finished runs changed"
    (run >"$tmp/again") || fail "once more"
    [ ! -s "$tmp/again" ] || fail "once more: ran $(cat "$tmp/again")"
    python3 "$study/report.py" "$tmp/out/results.jsonl" >"$tmp/report" || fail "report"
    python3 - "$tmp/out/results.jsonl" "$tmp/report" <<'END' || fail "the report of the runs: $(cat "$tmp/report")"
import json, math, sys
runs = [json.loads(line) for line in open(sys.argv[1])]
assert len(runs) == 8 and len({json.dumps(run["settings"]) for run in runs}) == 8
assert all(run["settings"]["steps"] == 12 and run["result"]["trainable"] > 0 for run in runs)
tested = {}
for s, r in ((run["settings"], run["result"]) for run in runs):
    if s["split"] == "test":
        tested.setdefault(s["name"], {})[s["seed"]] = r["score"]
report = open(sys.argv[2], encoding="utf-8").read()
for name in ("lora", "doran"):
    a, b = tested[name][1], tested[name][2]
    assert f"| 2 | {(a + b) / 2:.2f} ± {12.706 * abs(a - b) / 2:.2f} |" in report, name
a, b = (tested["doran"][seed] - tested["lora"][seed] for seed in (1, 2))
assert f" {(a + b) / 2:+.2f} ± {12.706 * abs(a - b) / 2:.2f} " in report
END
}

# The model with tiny norms computes what the model does: the same bits of every loss while the head learns. With an adapter it does not.
check_tiny_norms() {
    python3 "$study/tiny_norms.py" "$tmp/data/tiny" "$tmp/data/tiny-norms" || fail "tiny_norms.py"
    cmp -s "$tmp/data/tiny/model.safetensors" "$tmp/data/tiny-norms/model.safetensors" && fail "tiny_norms.py: nothing changed"
    for lr in 0 0.01; do
        for model in tiny tiny-norms; do
            "$programs/finetune-text" --model "$tmp/data/$model" --train "$tmp/data/rows.tsv" --eval "$tmp/data/rows.tsv" --method dora \
                --lr $lr --warmup 1 --clip 0 --steps 8 --batch 16 --out "$tmp/$model" --log "$tmp/$model-$lr" \
                >/dev/null 2>"$tmp/stderr" || fail "$model: $(cat "$tmp/stderr")"
            grep -o '"loss":[^,]*' "$tmp/$model-$lr" >"$tmp/losses-$model-$lr"
        done
    done
    [ "$(sort -u "$tmp/losses-tiny-0" | wc -l)" -ge 8 ] || fail "tiny norms: losses $(cat "$tmp/losses-tiny-0")"
    cmp "$tmp/losses-tiny-0" "$tmp/losses-tiny-norms-0" || fail "tiny norms: another function"
    cmp -s "$tmp/losses-tiny-0.01" "$tmp/losses-tiny-norms-0.01" && fail "tiny norms: the norms are as before"
}

# Scores of three seeds, for which mean, interval and differences were calculated by hand:  lora 60 61 62: mean 61, s 1, half width
# 4.303 / sqrt(3) = 2.48;  hora - lora 1 1 1.3: 1.10, s 0.1732, 0.43;  dora - lora 0.5 -0.5 1: 0.33, s 0.7638, 1.90;  hora - dora 0.77,
# s 0.6429, 1.60.  HoRA goes from 60.1 at 100 examples to 62.1 at 400 and meets 61 at 100 x 4^0.45 = 187.
# Loss variances 0.01 0.02 and 0.005 0.008: logarithms of the ratios -0.693 -0.916, mean -0.805, half width 1.418: 0.45, 0.11 to 1.85.
check_by_hand() {
    python3 - >"$tmp/hand.jsonl" <<'END'
import json
def line(part, split, size, name, seed, lr, score, variance=0.5, options={}):
    settings = dict(part=part, task="t", size=size, split=split, seed=seed, lr=lr, method=name.split(",")[0], name=name, options=options, steps=1)
    print(json.dumps({"settings": settings, "result": dict(measure="eval_accuracy", score=score, trainable=1234, diverged=score is None,
                                                           last_loss=1.5, loss_variance=variance)}))
scores = {"lora": [60, 61, 62], "dora": [60.5, 60.5, 63], "hora": [61, 62, 63.3]}
for name, values in scores.items():
    for rate, score in ((0.001, 50), (0.003, 52), (0.01, 51)):
        for size in (100, 400):
            line("main", "validation", size, name, 101, rate, score)
    for seed, score in enumerate(values, 1):
        line("main", "test", 400, name, seed, 0.003, score)
        line("main", "test", 400, name, seed, 0.001, 99)      # not the chosen rate: not reported
        line("main", "test", 100, name, seed, 0.003, score - (2 if name == "hora" else 1))
for name, values in (("dora, tau none", (0.01, 0.02)), ("doran, tau learned", (0.005, 0.008))):
    for seed, variance in enumerate(values, 1):
        line("stability", "probe", 100, name, seed, 0.1, 30 if seed == 1 else None, variance, dict(weights="f32"))
END
    python3 "$study/report.py" "$tmp/hand.jsonl" "$tmp/chart.svg" >"$tmp/hand" || fail "report by hand"
    has "$tmp/hand" "| lora | 1,234 | 0.003 | 3 | 61.00 ± 2.48 |  | -0.33 ± 1.90 |"
    has "$tmp/hand" "| dora | 1,234 | 0.003 | 3 | 61.33 ± 3.59 | +0.33 ± 1.90 |  |"
    has "$tmp/hand" "| hora | 1,234 | 0.003 | 3 | 62.10 ± 2.87 | +1.10 ± 0.43 * | +0.77 ± 1.60 |"
    has "$tmp/hand" "t: HoRA reaches what LoRA has at 400 examples with 187."
    has "$tmp/hand" "| f32 | 0.1 | doran, tau learned | 2 | 1 | 30.0 | +0.00, one seed | 1.5 | 0.0065 | 0.45 (0.11 to 1.85) |"
    has "$tmp/hand" "t 400: hora is better than lora by 1.10 ± 0.43 %, 3 seeds"
    has "$tmp/hand" "7 differences have an interval"
    [ "$(grep -c '^- ' "$tmp/hand")" -eq 1 ] || fail "claims: $(cat "$tmp/hand")"
    if command -v gnuplot >/dev/null; then has "$tmp/chart.svg" "<svg"; fi
}

# The tables of the page are those of the runs beside it, and the first one stands in the README too.
check_page() {
    python3 "$study/report.py" "$study/results.jsonl" | grep '^[|-]' >"$tmp/tables" || fail "report"
    [ "$(wc -l <"$tmp/tables")" -ge 20 ] || fail "few measured runs"
    while IFS= read -r line; do grep -qxF -e "$line" "$study/README.md" || fail "README.md lacks: $line"; done <"$tmp/tables"
    python3 "$study/report.py" "$study/results.jsonl" | awk '/^#/ { on = /At a glance/ } on && /^[|]/' >"$tmp/glance"
    [ "$(wc -l <"$tmp/glance")" -ge 8 ] || fail "nothing at a glance"
    while IFS= read -r line; do has "$2/README.md" "$line"; done <"$tmp/glance"
}

check_resume "$@"
check_tiny_norms
check_by_hand
check_page "$@"
[ $failed -eq 0 ] && echo "all checks passed"
exit $failed
