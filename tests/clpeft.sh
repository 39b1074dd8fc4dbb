#!/bin/sh
# clpeft.sh CLPEFT FINETUNE_TEXT - the tool clpeft as a user sees it: what it writes, what it refuses. On a tiny random model.
. "$(dirname "$0")/scratch.sh"
clpeft=$(realpath "$1") finetune=$(realpath "$2")
cd "$tmp" || exit 1

# works TEXT ARGUMENTS...: the command succeeds, stderr stays empty, and stdout holds the text.
works() {
    text=$1
    shift
    "$clpeft" "$@" >stdout 2>stderr || fail "$*: status $?: $(cat stderr)"
    [ ! -s stderr ] || fail "$*: $(cat stderr)"
    grep -qF -- "$text" stdout || fail "$*: \"$text\" is not in: $(cat stdout)"
}

# refused TEXT ARGUMENTS...: status 2, one line on stderr that holds the text, and no file `new`. A program that ends like this
# frees nothing.
refused() {
    text=$1
    shift
    ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0 "$clpeft" "$@" >stdout 2>stderr
    status=$?
    [ $status -eq 2 ] || fail "$*: status $status"
    [ "$(wc -l <stderr)" -eq 1 ] || fail "$*: not one line of error: $(cat stderr)"
    grep -qF -- "$text" stderr || fail "$*: \"$text\" is not in: $(cat stderr)"
    [ ! -e new ] || { fail "$*: wrote something" && rm -rf new; }
}

python3 "$here/make_tiny_bert.py" model || exit 1
printf 'fruit\tthe apple is red\nanimal\tthe cat is black\nfruit\tthe pear is green\n' >rows.tsv
for pair in lora:query:2,value,1.down doran:query,value; do
    "$finetune" --model model --train rows.tsv --eval rows.tsv --steps 4 --rank 3 --lr 0.02 --method "${pair%%:*}" \
        --sites "${pair#*:}" --out "${pair%%:*}" >/dev/null || exit 1
done

# Out, in and out again: the same bytes.
works "saved in peft" export lora --to peft --out peft --base tiny/bert
works "saved in back/checkpoint.safetensors" import peft --model model --out back
works "saved in again" export back --to peft --out again --base tiny/bert
for file in adapter_config.json adapter_model.safetensors; do
    cmp "peft/$file" "again/$file" || fail "$file changed on its way"
done
works "saved in alone" export lora --to peft --out alone --no-head --type bf16
grep -q '"task_type": "FEATURE_EXTRACTION"' alone/adapter_config.json || fail "an adapter without head: $(cat alone/*.json)"
grep -q 'classifier' alone/adapter_config.json && fail "a head in $(cat alone/adapter_config.json)"

# A training starts from an adapter: from a checkpoint and from a PEFT folder, with the head where it fits.
init() { # FOLDER [OPTION]...: one step of the head, too small to change it; and an export
    folder=$1
    shift
    rm -rf started
    "$finetune" --model model --train rows.tsv --eval rows.tsv --init "$folder" --steps 1 --lr 0 --head-lr 1e-30 --out started --log log \
        "$@" >stdout 2>stderr || fail "--init $folder: $(cat stderr)"
    works "saved in exported" export started --to peft --out exported --base tiny/bert
}
for start in lora peft; do
    init $start
    cmp peft/adapter_model.safetensors exported/adapter_model.safetensors || fail "--init $start changed the adapter"
    grep -q '"method":"lora","rank":3,.*"sites":"query:2,value,1.down"' log || fail "settings of --init: $(head -n 1 log)"
done
for folder in "$here"/fixtures/peft/*/adapter; do
    init "$folder" --dropout 0.1
    python3 - "$folder" exported <<'END' || fail "--init $folder: other tensors"
import json, struct, sys

def tensors(folder):
    data = open(folder + "/adapter_model.safetensors", "rb").read()
    n = int.from_bytes(data[:8], "little")
    for name, t in json.loads(data[8:8 + n]).items():
        if "lora_" in name:
            first, end = t["data_offsets"]
            code, size = {"F16": ("e", 2), "F32": ("f", 4), "F64": ("d", 8), "BF16": ("H", 2)}[t["dtype"]]
            values = struct.unpack(f"<{(end - first) // size}{code}", data[8 + n + first:8 + n + end])
            wide = struct.pack("<%dI" % len(values), *(v << 16 for v in values)) if code == "H" else struct.pack("<%df" % len(values), *values)
            yield name.replace("model.bert.", "model."), wide

sys.exit(dict(tensors(sys.argv[1])) != dict(tensors(sys.argv[2])))
END
done
"$finetune" --model model --train rows.tsv --eval rows.tsv --init peft --rank 4 --out new >stdout 2>stderr
grep -q -- '--rank 4: the adapter in peft was made with 3' stderr || fail "--init with another rank: $(cat stderr)"

# A merged model is a model; from the checkpoint and from its PEFT folder it is the same.
works "saved in merged" merge lora --out merged
works "saved in merged2" merge alone --model model --out merged2
works "saved in merged3" merge peft --model model --out merged3
cmp merged/model.safetensors merged3/model.safetensors || fail "the PEFT folder merges to something else"
cmp -s merged/model.safetensors model/model.safetensors && fail "merging changed nothing"
for file in vocab.txt config.json; do
    cmp merged/$file model/$file || fail "merged lacks $file of the model"
done
works "saved in narrow" merge doran --out narrow --type f16
works "F16   encoder.layer.1.attention.self.query.weight [32,32]" info narrow
works "F32   encoder.layer.1.attention.self.key.weight [32,32]" info narrow

# llama.cpp
works "saved in adapter.gguf" export lora --to gguf --out adapter.gguf
works "blk.1.attn_v.weight.lora_b [32,3]" info adapter.gguf
works "adapter.lora.alpha = 16" info adapter.gguf
works "saved in folder/adapter.gguf" export peft --model model --to gguf --out folder --type f16
refused "merge this one into the model instead" export doran --to gguf --out new

# What there is to see.
works "clpeft.method = lora" info peft
works 'rank_pattern = {"bert.encoder.layer.0' info peft
works "step = 4" info lora
works "hidden_size = 32" info model
works "clpeft export DIR" --help
"$clpeft" info lora/checkpoint.safetensors | grep -q '^  F32   theta.blocks.1.down.A \[3,64\]$' || fail "info lacks a tensor"

refused "is missing; see --help"
refused "dance: not export, merge, import or info" dance lora
refused "export takes one folder or file" export
refused "--to is missing" export lora --out new
refused "--to onnx: not one of peft, gguf" export lora --to onnx --out new
refused "--out is missing" export lora --to peft
refused "No such file or directory" export nothing --to peft --out new
refused "neither F32 nor F16" export lora --to gguf --out new.gguf --type q8_0
refused "is none of F32, F16 and BF16" export lora --to peft --out new --type q8_0
refused "a PEFT folder: name its model" merge peft --out new
refused "that is the model itself" merge lora --out model
refused "not written as Q8_0" merge lora --out new --type q8_0
refused "--model is missing" import peft --out new
refused "say with --classes how many" import alone --model model --out new
refused "the classifier in peft has 2" import peft --model model --out new --classes 3
refused "adapter_config.json: No such file" import lora --model model --out new
refused "neither a safetensors nor a GGUF file" info rows.tsv
refused "neither a checkpoint, nor a PEFT adapter, nor a model" info "$here"
works "saved in other/checkpoint.safetensors" import alone --model model --out other --classes 3
mv model moved
refused "which is not there: name the model with --model" export lora --to peft --out new
works "saved in found" export lora --to peft --out found --model moved
exit $failed
