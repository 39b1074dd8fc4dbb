#!/bin/sh
# run.sh [--quick | --only STAGE] - installs what is missing, builds, runs every test, and ends with the line
# "N passed, N failed, N skipped". Exit status: 0 all passed, 1 something failed, 2 packages are missing.
#
#   gcc       build with -Werror; all tests on the default OpenCL device ($CLPEFT_DEVICE chooses another)
#   clang     build with -Werror
#   sanitize  build with AddressSanitizer and UBSan; all tests
#   threads   build with ThreadSanitizer; the tests of concurrency
#   fuzz      libFuzzer with the same sanitizers on every reader of files, $CLPEFT_FUZZ_SECONDS each (3)
#   rusticl   the tests that judge a device on Mesa's llvmpipe, a second OpenCL implementation
#   intel     some of them on Intel's runtime for CPUs, a third; skipped when it can't be downloaded
#   release   optimized build with NDEBUG; the tests that judge a device, on one compute unit
#   oclgrind  small cases in a simulator that checks every access of a kernel, and races
#   coverage  only when named: the lines and branches of src/ that the tests run, and those that they do not (coverage.sh, gcovr)
#
# --quick is the stage gcc without downloads. Everything is written under build/tests. The caches of compiled kernels
# are there too and are emptied first: the first stage starts cold, the later ones warm.
# Tests on real models and data read these variables, and are skipped when the download fails:
#
#   CLPEFT_TEST_MODEL    folder of MiniLM-L6        CLPEFT_TEST_WORDNET  wordnet.tsv, its split beside it
#   CLPEFT_TEST_GGUF     SmolLM2-135M, a GGUF file  CLPEFT_TEST_BBC      bbc.tsv, its split beside it
#   CLPEFT_TEST_VIT      folder of DINOv2-small
set -u
cd "$(dirname "$0")/.." || exit 1
top=$(pwd)
build=$top/build/tests
passed=0 failed=0 skipped=0

packages() {
    sh examples/packages.sh gcc clang libc6-dev meson ninja-build pkg-config ocl-icd-opencl-dev opencl-headers \
        pocl-opencl-icd mesa-opencl-icd libclblast-dev libjansson-dev libutf8proc-dev check gnuplot-nox wordnet-base \
        libpng-dev libjpeg-dev zlib1g-dev libopenmpi-dev openmpi-bin g++ python3-numpy python3-pip unzip cmake man-db doxygen \
        oclgrind || exit 2
}

count() { # PASSED FAILED SKIPPED
    passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

# get VARIABLE SCRIPT FILE: runs a data script and points the variable at what it made.
get() {
    sh "examples/data/$2.sh" "$build/data/$2"
    case $? in
    0) export "$1=$build/data/$2/$3" ;;
    3) echo "$2 could not be downloaded: the tests that need it are skipped." ;;
    *) count 0 1 0 ;;
    esac
}

fetch_data() {
    export CLPEFT_DATA="${CLPEFT_DATA:-${XDG_CACHE_HOME:-$HOME/.cache}/clpeft/data}"
    get CLPEFT_TEST_WORDNET wordnet wordnet.tsv
    get CLPEFT_TEST_BBC bbc bbc.tsv
    get CLPEFT_TEST_MODEL minilm ""
    get CLPEFT_TEST_VIT dinov2 ""
    get CLPEFT_TEST_GGUF smollm2 SmolLM2-135M-Instruct.Q4_1.gguf
}

# compile NAME COMPILER OPTIONS...: counts a failure and shows the end of the log when it does not build. $targets: not all of it.
targets=
compile() {
    name=$1 compiler=$2 log=$build/$1.log
    shift 2
    # shellcheck disable=SC2086   # names of targets
    if { [ -f "$build/$name/build.ninja" ] || CC=$compiler meson setup "$build/$name" -Dwerror=true "$@"; } >"$log" 2>&1 &&
        meson compile -C "$build/$name" $targets >>"$log" 2>&1
    then
        return 0
    fi
    tail -n 60 "$log"
    count 0 1 0
    return 1
}

# check NAME COMMAND...: runs the tests of one build. A program written with check counts as often as it has tests.
check() {
    name=$1
    shift
    rm -f "$build/$name/meson-logs/"testlog*.json
    "$@" -C "$build/$name" --no-rebuild --print-errorlogs
    numbers=$(python3 tests/count.py "$build/$name/meson-logs/"testlog*.json) || numbers="0 1 0"
    # shellcheck disable=SC2086   # three numbers
    count $numbers
}

stage_gcc() {
    compile gcc gcc && check gcc meson test
}

stage_clang() {
    compile clang clang
}

stage_sanitize() {
    compile sanitize gcc -Db_sanitize=address,undefined -Dc_args=-fno-sanitize-recover=undefined || return
    # Only PoCL: the other drivers are unloaded before leaks are looked for, and then no name tells theirs from ours.
    check sanitize env OCL_ICD_VENDORS=/etc/OpenCL/vendors/pocl.icd CK_TIMEOUT_MULTIPLIER=10 \
        LSAN_OPTIONS="suppressions=$top/tests/sanitize.supp:print_suppressions=0" UBSAN_OPTIONS=print_stacktrace=1 \
        meson test --timeout-multiplier 10
}

stage_threads() {
    targets=test-threads
    compile threads gcc -Db_sanitize=thread -Db_lundef=false || return
    # Races of PoCL and LLVM are not looked for, nor of what they call.
    check threads env OCL_ICD_VENDORS=/etc/OpenCL/vendors/pocl.icd CK_TIMEOUT_MULTIPLIER=10 \
        TSAN_OPTIONS=ignore_noninstrumented_modules=1 CK_FORK=no meson test threads --timeout-multiplier 10
}

# seeds TARGET: what a fuzzer starts from.
seeds() {
    case $1 in
    safetensors) find tests/fixtures/bad_safetensors tests/golden/written.safetensors -name '*.safetensors' ;;
    gguf) find tests/fixtures/bad_gguf tests/golden/written.gguf -name '*.gguf' ;;
    peft) find tests/fixtures/peft -name adapter_config.json ;;
    images) find tests/golden/image -type f -size -20k ;;
    *) find "tests/fuzz/seeds/$1" -type f ;;
    esac
}

stage_fuzz() {
    targets=fuzzers
    compile fuzz clang -Dfuzz=true -Db_lundef=false || return
    for program in "$build"/fuzz/tests/fuzz-*; do
        target=${program##*/fuzz-}
        case $target in *.*) continue ;; esac
        corpus=$build/corpus/$target
        mkdir -p "$corpus"
        seeds "$target" | while read -r seed; do cp "$seed" "$corpus/$(echo "$seed" | tr / -)"; done
        if "$program" -max_total_time="${CLPEFT_FUZZ_SECONDS:-3}" -max_len=20000 -rss_limit_mb=4096 -close_fd_mask=2 \
            -artifact_prefix="$build/crash-$target-" -print_final_stats=1 "$corpus" >"$build/fuzz-$target.log" 2>&1; then
            echo "fuzz-$target: $(sed -n 's/stat::number_of_executed_units: *//p' "$build/fuzz-$target.log") runs"
            count 1 0 0
        else
            tail -n 40 "$build/fuzz-$target.log"
            count 0 1 0
        fi
    done
}

stage_rusticl() {
    compile gcc gcc || return
    check gcc env RUSTICL_ENABLE=llvmpipe CLPEFT_DEVICE=llvmpipe CK_FORK=no CLPEFT_TEST_CASES=4 \
        meson test --suite device --no-suite models --timeout-multiplier 4
    # All its cases: some need as many steps of a work item's loops as this driver allows, and more.
    check gcc env RUSTICL_ENABLE=llvmpipe CLPEFT_DEVICE=llvmpipe CK_FORK=no meson test low-rank --timeout-multiplier 4
}

stage_intel() {
    compile gcc gcc || return
    sh tests/intel.sh "$build/intel"
    case $? in
    0) ;;
    3) count 0 0 1 && return ;;
    *) count 0 1 0 && return ;;
    esac
    check gcc env OCL_ICD_VENDORS="$build/intel/vendors" LD_LIBRARY_PATH="$build/intel/lib" CK_FORK=no \
        meson test --timeout-multiplier 4 block op loss optimizer model backward llama vit train adapter adapter-rows low-rank checkpoint golden
}

stage_release() {
    compile release gcc --buildtype=release || return
    # The number of threads of PoCL's CPU device, as versions before 5 and since call it.
    check release env CLPEFT_DEVICE=pocl POCL_MAX_PTHREAD_COUNT=1 POCL_CPU_MAX_CU_COUNT=1 meson test --suite device
}

# grind GEMM TESTS...: small cases of tests in oclgrind, with the kernels of panels or of clblast.
grind() {
    kernels=$build/cache/oclgrind gemm=$1
    shift
    check gcc env XDG_CACHE_HOME="$kernels" CLPEFT_DEVICE=oclgrind CLPEFT_GEMM="$gemm" CLPEFT_TEST_CASES=4 CK_FORK=no \
        meson test --wrapper "sh $top/tests/oclgrind.sh --data-races --check-api" --timeout-multiplier 4 "$@"
}

# Invalid accesses, races and wrong calls; in kernels for CPUs, then in those of groups of 64 work items.
stage_oclgrind() {
    compile gcc gcc || return
    grind panel gemm low-rank row element token loss attention attention-backward optimizer params golden
    grind clblast row element token loss optimizer params
}

# The counters of threads and processes are added up; a build without optimization has every line where it is written.
stage_coverage() {
    compile coverage gcc --buildtype=debug -Db_coverage=true "-Dc_args=-fprofile-update=atomic -Wno-format-truncation" || return
    find "$build/coverage" -name '*.gcda' -delete
    check coverage env CK_TIMEOUT_MULTIPLIER=10 meson test --timeout-multiplier 10
    sh tests/coverage.sh "$build/coverage"
    case $? in
    0) count 1 0 0 ;;
    3) count 0 0 1 ;;
    *) count 0 1 0 ;;
    esac
}

run() { # STAGE...
    for stage in "$@"; do
        echo "== $stage"
        targets= since=$(date +%s)
        "stage_$stage"
        echo "== $stage: $(($(date +%s) - since)) s"
    done
}

stages="gcc clang sanitize threads fuzz rusticl intel release oclgrind" data=yes
case ${1:-} in
'') ;;
--quick) stages=gcc data=no ;;
--only) case " $stages coverage " in *" ${2:-?} "*) stages=$2 ;; *) echo "stages: $stages coverage" >&2 && exit 2 ;; esac ;;
*) echo "usage: run.sh [--quick | --only STAGE]   stages: $stages coverage" >&2 && exit 2 ;;
esac

packages
rm -rf "$build/cache"
mkdir -p "$build/cache"
[ $data = no ] || fetch_data
export XDG_CACHE_HOME="$build/cache"
# shellcheck disable=SC2086   # names of stages
run $stages
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
