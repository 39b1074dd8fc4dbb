#!/bin/sh
# peft-forward.sh PROGRAM [minilm] - adapters that PEFT made compute here what PEFT computed: on a tiny model, or on MiniLM
# in CLPEFT_TEST_MODEL (status 77 without it). The fixtures are from make_peft_fixtures.py.
set -u
program=$(realpath "$1")
cd "$(dirname "$0")" || exit 1
failed=0

if [ "${2:-}" = minilm ]; then
    [ -n "${CLPEFT_TEST_MODEL:-}" ] || exit 77
    model=$CLPEFT_TEST_MODEL fixtures=fixtures/peft-minilm
else
    model=$(mktemp -d) fixtures=fixtures/peft
    trap 'rm -rf "$model"' EXIT
    python3 make_tiny_bert.py "$model" || exit 1
fi
for folder in "$fixtures"/*; do
    echo "$folder"
    "$program" "$model" "$folder/adapter" "$folder/expected.safetensors" || failed=1
done

# No adapter, or the numbers of another one, is an error.
"$program" "$model" fixtures/peft/none "$folder/expected.safetensors" 2>/dev/null && failed=1
first=$(echo "$fixtures"/* | cut -d ' ' -f 1)
"$program" "$model" "$first/adapter" "$folder/expected.safetensors" >/dev/null 2>&1 && failed=1
exit $failed
