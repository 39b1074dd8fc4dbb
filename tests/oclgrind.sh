#!/bin/sh
# oclgrind.sh OPTIONS... PROGRAM ARGUMENTS... - runs a test in oclgrind, an OpenCL device that checks every access of a kernel, and
# fails if it has anything to tell: oclgrind itself exits 0 after an invalid access.
log=$(mktemp) || exit 1
oclgrind --log "$log" "$@"
status=$?
if [ -s "$log" ]; then
    cat "$log" >&2
    status=1
fi
rm -f "$log"
exit $status
