#!/bin/sh
# wordnet.sh [--train N] [--test N] [--seed N] DIR - noun definitions of WordNet 3.0, to be sorted into 26 kinds
# (noun.animal, noun.food, ...), as rows "label<TAB>text".
#
#     DIR/wordnet.tsv         all 82,115 definitions in the order of the dictionary
#     DIR/wordnet-train.tsv   --train of them (1040), one of every kind, the rest at random
#     DIR/wordnet-test.tsv    --test others (2000), drawn at random
#
# The split depends on nothing but the three numbers (--seed: 1). Source: Debian's package wordnet-base. The labels are
# the names of its lexicographer files, in the order of their numbers (lexnames(5WN)).
set -eu
here=$(dirname "$0")
. "$here/common.sh"
export LC_ALL=C

noun=/usr/share/wordnet/data.noun
split_options 1040 2000 "$@"
[ -r $noun ] || fail 1 "$noun is missing: install the Debian package wordnet-base"

awk -v OFS='\t' '
BEGIN {
    n = split("Tops act animal artifact attribute body cognition communication event feeling food group location " \
              "motive object person phenomenon plant possession process quantity relation shape state substance time",
              kind, " ")
}
/^[0-9]/ && (bar = index($0, "| ")) {
    text = substr($0, bar + 2)
    gsub(/^ +| +$/, "", text)
    print "noun." kind[$2 - 2], text
}' $noun >"$work/wordnet.tsv"
split_rows wordnet 82115
