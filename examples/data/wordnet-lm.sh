#!/bin/sh
# wordnet-lm.sh [--train N] [--test N] [--seed N] DIR - definitions of WordNet 3.0 for a language model, as rows of JSON:
#
#     {"prompt":"dog (noun):","completion":" a member of the genus Canis ..."}
#
#     DIR/wordnet-lm-train.jsonl   --train of them (20000)
#     DIR/wordnet-lm-test.jsonl    --test others (2000), drawn at random
#
# Nouns, verbs, adjectives and adverbs, each with the first word of its set of synonyms. The split depends on nothing but the
# three numbers (--seed: 1). Source: Debian's package wordnet-base.
set -eu
here=$(dirname "$0")
. "$here/common.sh"
export LC_ALL=C

folder=/usr/share/wordnet
split_options 20000 2000 "$@"
for part in noun verb adj adv; do
    [ -r $folder/data.$part ] || fail 1 "$folder/data.$part is missing: install the Debian package wordnet-base"
done

awk -v OFS='\t' '
BEGIN { name["n"] = "noun"; name["v"] = "verb"; name["a"] = name["s"] = "adjective"; name["r"] = "adverb" }
function json(text)
{
    gsub(/\\/, "\\\\", text)
    gsub(/"/, "\\\"", text)
    return "\"" text "\""
}
/^[0-9]/ && (bar = index($0, "| ")) {
    word = $5
    sub(/\((a|p|ip)\)$/, "", word)      # where an adjective may stand
    gsub(/_/, " ", word)
    gloss = substr($0, bar + 2)
    gsub(/^ +| +$/, "", gloss)
    print name[$3], "{\"prompt\":" json(word " (" name[$3] "):") ",\"completion\":" json(" " gloss) "}"
}' $folder/data.noun $folder/data.verb $folder/data.adj $folder/data.adv >"$work/wordnet-lm.tsv"

to=$out out=$work/split
mkdir "$out"
split_rows wordnet-lm 117659
for part in train test; do cut -f 2 "$out/wordnet-lm-$part.tsv" >"$work/wordnet-lm-$part.jsonl"; done
mv "$work/wordnet-lm-train.jsonl" "$work/wordnet-lm-test.jsonl" "$to/"
