# Sourced by the tests of programs: $here is this folder, $tmp one that goes when the test ends, and fail notes what is wrong.
set -u
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

fail() {
    echo "FAIL: $*"
    failed=1
}
