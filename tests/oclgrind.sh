#!/bin/sh
# oclgrind.sh OPTIONS... PROGRAM ARGUMENTS... - runs a test in oclgrind, an OpenCL device that checks every access of a kernel, and
# fails if it has anything to tell: oclgrind itself exits 0 after an invalid access. Its --log is not used: version 21.10 leaves it empty.
log=$(mktemp) || exit 1
oclgrind "$@" 2>"$log"
status=$?
if grep -v '^[0-9]* warnings\{0,1\} generated\.$' "$log" >&2; then # what its compiler counts
    status=1
fi
rm -f "$log"
exit $status
