#!/bin/sh
# intel.sh DIR - puts Intel's OpenCL runtime for CPUs into DIR/lib, from Python packages of which nothing is installed, and names it in
# DIR/vendors. To use it:  OCL_ICD_VENDORS=DIR/vendors LD_LIBRARY_PATH=DIR/lib. Exit status 3: it can't be downloaded.
set -eu
. "$(dirname "$0")/../examples/data/common.sh"
[ $# -eq 1 ] || fail 2 "usage: intel.sh DIR"
mkdir -p "$1"
dir=$(cd "$1" && pwd)
[ -f "$dir/vendors/intel.icd" ] && exit 0
work=$(mktemp -d "$dir/.part.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --retries 2 --no-deps --only-binary=:all: --dest "$work" \
    intel-opencl-rt==2026.2.0 intel-cmplr-lib-rt==2026.2.0 tbb==2023.2.0 tcmlib==1.6.0 umf==1.2.0 >&2 ||
    fail 3 "cannot download Intel's OpenCL runtime"
for wheel in "$work"/*.whl; do unzip -q -o "$wheel" -d "$work"; done
mkdir -p "$work/lib" "$dir/vendors"
cp -a "$work"/*.data/data/lib/. "$work/lib"
rm -f "$work"/lib/libOpenCL.so* # the loader is the system's
mv "$work/lib" "$dir/lib"
echo "$dir/lib/libintelocl.so" >"$dir/vendors/intel.icd"
