#!/bin/sh
# cli-images.sh FINETUNE_IMAGES CLPEFT - the image classifier's trainer as a user sees it, on a tiny random model and on ten small
# images: folders and lists, resuming to the same bits, prediction, contact sheet, damaged images, refusals.
. "$(dirname "$0")/scratch.sh"
program=$(realpath "$1")
clpeft=$(realpath "$2")
golden=$here/golden
cd "$tmp" || exit 1

run() { # ARGUMENTS...: must succeed
    "$program" "$@" >stdout 2>stderr || fail "$*: $(cat stderr)"
}
# refused TEXT ARGUMENTS...: status 2 and one line on stderr that holds the text.
refused() {
    text=$1
    shift
    "$program" "$@" >stdout 2>stderr
    [ $? -eq 2 ] || fail "$*: not status 2"
    [ "$(wc -l <stderr)" -eq 1 ] || fail "$*: not one line of error"
    case $(cat stderr) in *"$text"*) ;; *) fail "$*: \"$(cat stderr)\" lacks \"$text\"" ;; esac
}
same() {
    cmp "$1" "$2" || fail "$1 and $2 differ"
}

mkdir -p data/colour data/gray
cp "$golden"/image/rgb.png "$golden"/image/palette.png "$golden"/image/full.jpg "$golden"/image/half.jpg data/colour
cp "$golden"/image/gray.png "$golden"/image/bits.png "$golden"/image/grayalpha.png "$golden"/image/gray.jpg data/gray
for class in colour gray; do for file in data/$class/*; do printf '%s\t%s\n' $class "$file"; done; done >list.tsv
set -- --model "$golden/vit/dinov2" --image-size 12 --batch 5 --warmup 0 --eval-every 4 --save-every 4 --lr 0.01

# Learns; augmentation, threads and interruption change no bit.
run "$@" --train data --eval data --steps 12 --flip --least-area 0.5 --out whole --log log --per-class --grid whole.png
grep -q '"images":5' log || fail "the log lacks images"
grep -q 'accuracy .* after 12 steps' stdout || fail "no result: $(cat stdout)"
"$program" "$@" --train data --eval data --steps 12 --flip --least-area 0.5 --out part --stop-at 5 --threads 5 >stdout 2>stderr
[ $? -eq 130 ] || fail "--stop-at: $(cat stderr)"
run --model "$golden/vit/dinov2" --resume part --train data --eval data --eval-every 4 --save-every 4
same whole/checkpoint.safetensors part/checkpoint.safetensors

# A list names the same images.
run "$@" --train list.tsv --eval list.tsv --steps 12 --flip --least-area 0.5 --out listed
same whole/checkpoint.safetensors listed/checkpoint.safetensors

# What a model's folder says of mean and deviation is heeded; the default is ImageNet's.
cp -r "$golden/vit/dinov2" model
printf '{"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}' >model/preprocessor_config.json
run "$@" --model model --train data --eval data --steps 2 --out said --log said.log
run "$@" --train data --eval data --steps 2 --out unsaid --log unsaid.log
[ "$(grep -o '"eval_loss":[0-9.]*' said.log)" = "$(grep -o '"eval_loss":[0-9.]*' unsaid.log)" ] || fail "ImageNet's mean is not the default"
printf '{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}' >model/preprocessor_config.json
run "$@" --model model --train data --eval data --steps 2 --out said --log said.log
[ "$(grep -o '"eval_loss":[0-9.]*' said.log)" != "$(grep -o '"eval_loss":[0-9.]*' unsaid.log)" ] || fail "preprocessor_config.json is not heeded"
printf '{"image_std": [0, 1, 1]}' >model/preprocessor_config.json
refused "image_std is not three numbers" "$@" --model model --train data --eval data --out bad

# A training starts from an adapter and its head.
run "$@" --train data --eval data --steps 1 --init whole --out more --log started
[ "$(sed -n 's/.*"step":0,"eval_accuracy":\([^,]*\).*/\1/p' started)" = "$(sed -n 's/.*"step":12,"eval_accuracy":\([^,]*\).*/\1/p' log)" ] ||
    fail "--init: $(cat started)"

# Out to PEFT and in again, with the head.
for command in "export whole --to peft --out doran" "import doran --model $golden/vit/dinov2 --out dora --pool first" \
    "export dora --to peft --out peft" "import peft --model $golden/vit/dinov2 --out back --pool first" \
    "export back --to peft --out again"; do
    # shellcheck disable=SC2086   # words
    "$clpeft" $command >stdout 2>stderr || fail "clpeft $command: $(cat stderr)"
done
cmp peft/adapter_model.safetensors again/adapter_model.safetensors || fail "the adapter changed on its way"

trained="--model $golden/vit/dinov2 --adapter whole"
# shellcheck disable=SC2086   # $trained is words
{
    run eval $trained --eval list.tsv --confusion --grid eval.png
    grep -q 'accuracy' stdout || fail "eval: $(cat stdout)"
    cmp -s whole.png eval.png || fail "two contact sheets of the same predictions differ"
    run predict $trained data/gray/bits.png data/colour/full.jpg
    awk -F '\t' 'NF != 3 || ($2 != "gray" && $2 != "colour") || $3 < 0.5 || $3 > 1 { exit 1 } END { exit NR != 2 }' stdout ||
        fail "predict: $(cat stdout)"

    # Damaged images.
    head -c 300 "$golden/image/rgb.png" >data/gray/broken.png
    cp "$golden/image/bomb.png" data/gray
    refused "at most" predict $trained data/gray/bomb.png
    refused "broken.png: PNG" predict $trained data/gray/broken.png
    run predict $trained --bad-images skip data/gray/broken.png data/gray/bits.png
    grep -q 'skipped: data/gray/broken.png' stdout || fail "skip: $(cat stdout)"
    run eval $trained --eval data --bad-images skip
    refused "needs image files" predict $trained
    refused "not the name of a .png file" eval $trained --eval list.tsv --grid sheet.svg
}
refused "data/gray/b" "$@" --train data --eval data --steps 12 --out bad
run "$@" --train data --eval data --steps 12 --flip --least-area 0.5 --bad-images skip --out skipped
same whole/checkpoint.safetensors skipped/checkpoint.safetensors
refused "unrecognized option '--max-length'" "$@" --max-length 3 --train list.tsv --eval list.tsv --out bad
refused "multiple of the patch size" "$@" --image-size 13 --train list.tsv --eval list.tsv --out bad
printf 'colour data/x.png\n' >bad.tsv
refused "bad.tsv line 1: not class<TAB>file" "$@" --train bad.tsv --eval list.tsv --out bad
mkdir -p other/third && cp data/gray/bits.png other/third
refused "other: the label third is none of the 2 that are trained" "$@" --train list.tsv --eval other --out bad
refused "none: No such file" "$@" --train none --eval list.tsv --out bad
[ $failed -eq 0 ] && echo "all checks passed"
exit $failed
