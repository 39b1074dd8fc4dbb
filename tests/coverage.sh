#!/bin/sh
# coverage.sh BUILD - how much of src/ the tests of a build with -Db_coverage=true have run, after they did (run.sh --only coverage).
# Fails under 90 % of the lines or 80 % of the branches, and when a line that did not run is not in uncovered.txt. Status 3: no gcovr.
set -eu
build=$1
cd "$(dirname "$0")/.."
if command -v gcovr >/dev/null 2>&1; then set -- gcovr
elif python3 -m gcovr --version >/dev/null 2>&1; then set -- python3 -m gcovr
else echo "gcovr is missing: python3 -m pip install gcovr, or gcovr of the distribution" && exit 3
fi
"$@" --root . --filter src/ --object-directory "$build" --json "$build/coverage.json" --print-summary \
    --fail-under-line 90 --fail-under-branch 80 "$build"
python3 - "$build/coverage.json" tests/uncovered.txt <<'END'
import json
import sys

# uncovered.txt: "# ..." is a reason, "src/FILE:" what the lines below it are of, each the text of a line without its indentation.
explained, path = {}, None
for line in open(sys.argv[2]):
    line = line.strip()
    if line.startswith("src/") and line.endswith(":"):
        path = line[:-1]
    elif line and not line.startswith("#"):
        explained[path, line] = False
missing = 0
for file in json.load(open(sys.argv[1]))["files"]:
    source = open(file["file"]).read().splitlines()
    for number in sorted({x["line_number"] for x in file["lines"]}):
        runs = sum(x["count"] for x in file["lines"] if x["line_number"] == number)
        key = file["file"], source[number - 1].strip()
        if runs == 0 and key not in explained:
            print(f"{file['file']}:{number}: not run and not explained: {key[1]}")
            missing += 1
        elif runs == 0:
            explained[key] = True
for (path, text), seen in explained.items():
    if not any(text == line.strip() for line in open(path)):
        print(f"uncovered.txt: no such line in {path}: {text}")
        missing += 1
print(f"{sum(explained.values())} lines did not run, as uncovered.txt explains; {missing} to look at")
sys.exit(missing > 0)
END
