#!/bin/bash
# SPDX-License-Identifier: MIT
# The CUDA backend on a real GPU: tests/gpu/README.md. run.sh [BUILD]: a build that is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build=${1-}
model=tests/data/demo-llama-outliers
parts=(forward statistics search clip quantize feedback edges)

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

if [[ -z $build ]]; then
    build=build/gpu
    cmake --preset release -B "$build" -DAWQ_CUDA=on -DAWQ_TESTS=ON
    cmake --build "$build"
fi
[[ -x $build/bin/awqrun ]] || fail "no '$build/bin/awqrun'; give a build directory, or nothing"
"$build/bin/awqrun" version
"$build/bin/awqrun" version | grep -q '^GPU [0-9]' || fail "awqrun sees no GPU here"

# conformance PART [command...]: under a command, such as a sanitizer
conformance() {
    local part=$1 log="$build/gpu-$1.log"
    shift
    "$@" "$build/tests/unit/kernels/kernels_$part" >"$log" 2>&1 || {
        cat "$log" >&2
        fail "$part: failed; see above"
    }
    ! grep -q 'cuda does not open here' "$log" || fail "$part: the CUDA backend does not open"
    echo "$part: passed${*:+ under ${*:1:3}}"
}

for part in "${parts[@]}"; do conformance "$part"; done

# quantize BACKEND: prints how far the result is from the original
quantize() {
    local out="$build/gpu-$1"
    rm -rf "$out"
    "$build/bin/awqrun" quantize --model "$model" --tokens "$model/calib.h5" --sequences 64 \
        --out "$out" --backend "$1" --quiet >"$out.log"
    "$build/bin/awqrun" eval --model "$out" --against "$model" --tokens "$model/eval.h5" \
        --sequences 32 --backend cpu --quiet --json >"$out.json"
    sed -n "s/^ *\"kl\": \([0-9.e-]*\),*$/\1/p" "$out.json" | head -n 1
}

on_cpu=$(quantize cpu)
on_gpu=$(quantize cuda)
echo "KL to the original: cpu $on_cpu, cuda $on_gpu"
awk -v a="$on_cpu" -v b="$on_gpu" 'BEGIN { exit !(b > 0 && b < 1.1 * a) }' ||
    fail "the CUDA backend's checkpoint is worse than the CPU's by more than a tenth"

if ! command -v compute-sanitizer >/dev/null; then
    echo "compute-sanitizer is not on the path: not run"
    exit 0
fi
for part in "${parts[@]}"; do
    conformance "$part" compute-sanitizer --tool memcheck --error-exitcode 1
    conformance "$part" compute-sanitizer --tool racecheck --error-exitcode 1
done
