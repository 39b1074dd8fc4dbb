#!/bin/sh
# golden-training.sh PROGRAM FILE... - replay the files on the model in CLPEFT_TEST_MODEL; 77, skipped, without it.
program=$1
shift
[ -n "${CLPEFT_TEST_MODEL:-}" ] || exit 77
exec "$program" "$CLPEFT_TEST_MODEL" "$@"
