#!/bin/bash
# SPDX-License-Identifier: MIT
# The CUDA backend on a real GPU: tests/gpu/README.md. run.sh [BUILD]: a build that is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build=${1-}
model=tests/data/demo-llama-outliers
layers=(accuracy fold_check)
sequences=64                                            # of the demo model's calibration
bench=(--preset 70b --layers 2 --sequences 128)         # of 512 tokens
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
if ((EUID == 0)); then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

step() {
    echo "== ${SECONDS}s: $*"
}

# conformance PROGRAM [command...]: a test program, under a command such as a sanitizer
conformance() {
    local program=$1 log="$build/gpu-${1##*/}.log"
    shift
    "$@" "$build/tests/unit/$program" >"$log" 2>&1 || {
        cat "$log" >&2
        fail "$program: failed; see above"
    }
    ! grep -q 'cuda does not open here' "$log" || fail "$program: the CUDA backend does not open"
    echo "$program: passed${*:+ under ${*:1:3}}"
}

# quantize NAME command...: the demo model to build/gpu-NAME, by this awqrun or several ranks of it
quantize() {
    local out="$build/gpu-$1"
    shift
    rm -rf "$out"
    "$@" quantize --model "$model" --tokens "$model/calib.h5" --sequences "$sequences" \
        --out "$out" "${options[@]}" --quiet >"$out.log"
}

# divergence NAME: of build/gpu-NAME from the original, both run by the CPU
divergence() {
    local out="$build/gpu-$1"
    "$build/bin/awqrun" eval --model "$out" --against "$model" --tokens "$model/eval.h5" \
        --sequences 32 --backend cpu --quiet --json >"$out.json"
    sed -n "s/^ *\"kl\": \([0-9.e-]*\),*$/\1/p" "$out.json" | head -n 1
}

tensors() {
    (cd "$build/gpu-$1" && sha256sum ./*.safetensors)
}

if [[ -z $build ]]; then
    build=build/gpu
    step "building into $build"
    cmake --preset release -B "$build" -DAWQ_CUDA=on -DAWQ_TESTS=ON
    cmake --build "$build"
fi
[[ -x $build/bin/awqrun ]] || fail "no '$build/bin/awqrun'; give a build directory, or nothing"
"$build/bin/awqrun" version
"$build/bin/awqrun" version | grep -q '^GPU [0-9]' || fail "awqrun sees no GPU here"

kernels=()
for program in "$build"/tests/unit/kernels/kernels_*; do # but the CPU's own
    [[ ! -f $program || $program == *_cpu ]] || kernels+=("kernels/${program##*/}")
done
((${#kernels[@]})) || fail "'$build' has no tests; configure it with -DAWQ_TESTS=ON"

step "the conformance suite"
for program in "${kernels[@]}"; do conformance "$program"; done
for part in "${layers[@]}"; do conformance "layers/layers_$part"; done

if [[ -x $build/tests/gpu/nccl_self ]]; then
    step "NCCL, one rank to itself"
    "$build/tests/gpu/nccl_self"
else
    echo "this build has no NCCL: tests/gpu/nccl_self is NOT run"
fi

step "the demo model on the CPU and on the GPU"
options=(--backend cpu)
quantize cpu "$build/bin/awqrun"
options=(--backend cuda)
quantize cuda "$build/bin/awqrun"
on_cpu=$(divergence cpu)
on_gpu=$(divergence cuda)
echo "KL to the original: cpu $on_cpu, cuda $on_gpu"
awk -v a="$on_cpu" -v b="$on_gpu" 'BEGIN { exit !(b > 0 && b <= 1.05 * a) }' ||
    fail "the CUDA backend's checkpoint is worse than the CPU's by more than 5 %"

step "two workers on one GPU"
options=(--backend cuda --share-gpu --transport mpi --stage-layers 1)
quantize shared mpirun -n 3 "$build/bin/awqrun"
[[ $(tensors shared) == "$(tensors cuda)" ]] ||
    fail "two workers on one GPU give other bytes than one: compare '$build/gpu-shared'"
echo "the same bytes as from one worker"

if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do
        step "compute-sanitizer: $tool"
        for program in "${kernels[@]}"; do
            conformance "$program" compute-sanitizer --tool "$tool" --error-exitcode 1
        done
    done
else
    echo "compute-sanitizer is not on the path: memcheck and racecheck are NOT run"
fi

step "the bench: tests/bench/layer_bench.py ${bench[*]}"
if python3 -c 'import h5py' 2>/dev/null; then
    python3 -B tests/bench/layer_bench.py --build "$build" --backend cuda "${bench[@]}"
else
    echo "python3 has no h5py: the bench is NOT run"
fi
step "done"
