#!/bin/sh
# scaling.sh SOURCE - the tables on the page about scaling are what its script makes of the measured numbers.
set -eu
page=$1/examples/scaling/README.md
tables=$(python3 "$1/examples/scaling/study.py" "$1/examples/scaling/measured.json" | grep '^|')
[ "$(printf '%s\n' "$tables" | wc -l)" -ge 40 ]
printf '%s\n' "$tables" | while IFS= read -r line; do grep -qxF -e "$line" "$page" || { echo "README.md lacks: $line" && exit 1; }; done
