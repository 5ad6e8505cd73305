#!/bin/bash
# SPDX-License-Identifier: MIT
# The CUDA backend on a real GPU: usage() below, and README.md beside this.
set -uo pipefail
from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
self=tests/gpu/run.sh

steps=(smoke probe conformance accuracy nccl_self demo shared bench ptx memcheck racecheck)
declare -A limits=([smoke]=30 [probe]=60 [conformance]=120 [accuracy]=60 [nccl_self]=60 [demo]=90
    [shared]=60 [bench]=200 [ptx]=60 [memcheck]=60 [racecheck]=60)
model=tests/data/demo-llama-outliers
not_run=77 # a step's status when it lacks a tool

# Of the demo model's sequences, those to calibrate with and to judge by; the bench's shape.
sequences=64 judged=32 options=()
bench=(--preset 70b --layers 2 --sequences 128)
if [[ ${AWQ_GPU_SMALL-} ]]; then # to try this script with the programs of tests/cuda_emulator
    sequences=1 judged=1 options=(--alpha-steps 2 --rounding nearest)
    bench=(--preset micro --layers 1 --sequences 2 --length 32 --emulated)
fi

usage() {
    cat <<END
usage: tests/gpu/run.sh [--build DIR] [--seconds N] [--logs DIR] [STEP...]

Runs these on a machine with a GPU, all of them if none is named, in this order, whatever became of
those before; prints a line a step. The exit status is 1 if one failed, took too long, or was not
run for want of a GPU or of time; not if it lacks a tool, such as compute-sanitizer.

  ${steps[*]}

  --build DIR    a build, or a folder that \`cmake --install\` made (this one; where it is a
                 source tree, build/gpu, which is built first)
  --seconds N    for all steps together (420); each has a limit of its own, too
  --logs DIR     a log of each step (gpu-logs)
END
}

fail() {
    echo "FAILED: $*"
    exit 1
}

lacks() {
    echo "$*"
    exit "$not_run"
}

# ---- steps; the last line of what one says is its summary ----

step_smoke() {
    nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader ||
        echo "nvidia-smi says nothing"
    local missing
    missing=$(find "$build/bin" "$build/tests" -type f -perm -u+x -exec ldd {} + 2>&1 |
        grep 'not found' | sort -u)
    [[ -z $missing ]] || fail "libraries are missing: ${missing//$'\n'/,}"
    # shellcheck disable=SC2016 # a rank's
    mpirun -n 3 sh -c 'echo "rank $OMPI_COMM_WORLD_RANK of $OMPI_COMM_WORLD_SIZE"' ||
        fail "mpirun does not start three processes"
    "$build/bin/awqrun" version || fail "awqrun does not start"
    [[ $gpu == [0-9]* ]] || fail "awqrun sees no GPU: $gpu"
    echo "GPU $gpu; $threads cores"
}

step_probe() {
    [[ -x $build/tests/gpu/gpu_probe ]] || lacks "this build has no gpu_probe"
    "$build/tests/gpu/gpu_probe"
}

# try PROGRAM [command...]: a test program, under a command such as a sanitizer
try() {
    local program=$1 log=$work/${1##*/}.log begin=$SECONDS rc
    shift
    "$@" "$program" >"$log" 2>&1 </dev/null
    rc=$?
    if ((!rc)) && grep -q 'cuda does not open here' "$log"; then rc=1; fi
    case $rc in
    0) echo "${program##*/}: passed, $((SECONDS - begin)) s" ;;
    124 | 137) echo "${program##*/}: not done after $((SECONDS - begin)) s" ;;
    *) head -c 20000 "$log" && echo "${program##*/}: FAILED, $((SECONDS - begin)) s" ;;
    esac
    return $rc
}

try_all() {
    local program failed=()
    for program in "$@"; do
        [[ -x $program ]] || fail "no '$program'; was the build configured with -DAWQ_TESTS=ON?"
        try "$program" timeout -k 5 60 || failed+=("${program##*/}")
    done
    ((${#failed[@]} == 0)) || fail "${#failed[@]} of $#: ${failed[*]}"
    echo "$# programs passed"
}

step_conformance() {
    local program programs=()
    for program in "$build"/tests/unit/kernels/kernels_*; do # but the CPU's own
        [[ $program == *_cpu || $program == *_blas || -d $program ]] || programs+=("$program")
    done
    try_all "${programs[@]}"
}

step_accuracy() {
    try_all "$build"/tests/unit/layers/layers_{accuracy,fold_check}
}

step_nccl_self() {
    [[ -x $build/tests/gpu/nccl_self ]] || lacks "this build has no NCCL"
    NCCL_DEBUG=WARN "$build/tests/gpu/nccl_self"
}

# quantize NAME OPTIONS... -- [command...]: the demo model to $work/NAME, by awqrun or ranks of it
quantize() {
    local out=$work/$1 arguments=() begin=$SECONDS
    shift
    while [[ $1 != -- ]]; do arguments+=("$1") && shift; done
    shift
    rm -rf "$out"
    "$@" "$build/bin/awqrun" quantize --model "$model" --tokens "$model/calib.h5" --out "$out" \
        --sequences "$sequences" "${options[@]}" "${arguments[@]}" --quiet || exit 1 # it said why
    echo "${out##*/}: quantized in $((SECONDS - begin)) s"
}

# divergence NAME: of $work/NAME from the original, both run by the CPU
divergence() {
    "$build/bin/awqrun" eval --model "$work/$1" --against "$model" --tokens "$model/eval.h5" \
        --sequences "$judged" --backend cpu --quiet --json >"$work/$1.json" || return 1
    sed -n 's/^ *"kl": \([0-9.e-]*\),*$/\1/p' "$work/$1.json" | head -n 1
}

sums() {
    (cd "$work/$1" && sha256sum ./*.safetensors)
}

# The GPU first: without one that works, nothing else is worth its time.
step_demo() {
    local on_gpu on_cpu
    quantize gpu --backend cuda --
    quantize again --backend cuda --
    [[ $(sums gpu) == "$(sums again)" ]] || fail "the GPU gives other bytes the second time"
    on_gpu=$(divergence gpu) || fail "eval of the GPU's checkpoint"
    quantize cpu --backend cpu --
    on_cpu=$(divergence cpu) || fail "eval of the CPU's checkpoint"
    awk -v cpu="$on_cpu" -v gpu="$on_gpu" 'BEGIN { exit !(gpu > 0 && gpu <= 1.05 * cpu) }' ||
        fail "KL to the original: GPU $on_gpu, more than 5 % above the CPU's $on_cpu"
    echo "the same bytes twice; KL to the original: GPU $on_gpu, CPU $on_cpu"
}

step_shared() {
    command -v mpirun >/dev/null || lacks "there is no mpirun"
    [[ -e $work/gpu/config.json ]] || quantize gpu --backend cuda --
    quantize shared --backend cuda --share-gpu --transport mpi --stage-layers 1 -- mpirun -n 3
    [[ $(sums gpu) == "$(sums shared)" ]] || fail "two workers give other bytes than one"
    echo "two workers on one GPU: the same bytes as from one"
}

step_bench() {
    local log=$work/bench.log python
    for python in python3 /usr/bin/python3 ''; do # there may be another one before the system's
        [[ -z $python ]] || "$python" -c 'import h5py' 2>/dev/null && break
    done
    [[ $python ]] || lacks "python3 has no h5py"
    [[ -z ${AWQ_GPU_SMALL-} ]] || options+=(--group-size 64)
    "$python" -B tests/bench/layer_bench.py --build "$build" --backend cuda --directory "$work" \
        --threads "$threads" --timeout "$limit" "${bench[@]}" -- "${options[@]}" 2>&1 |
        tee "$log" || fail "$(tail -n 1 "$log")"
    grep '^a layer' "$log" | tr -s ' ' | sed 's/$/ s: mean, least/'
}

# What a card that comes will do: compile the kernels for itself.
step_ptx() {
    [[ -x $build/tests/gpu/kernels_forward_ptx ]] || lacks "this build has no kernels_*_ptx"
    CUDA_CACHE_PATH=$work/compiled \
        try_all "$build"/tests/gpu/kernels_{forward,attention,delta,search,feedback}_ptx
}

# sanitize TOOL PART...: as many of the suite's programs as there is time for
sanitize() {
    local tool=$1 part left late=() passed=() failed=() flags=(--error-exitcode 99 --print-limit 20)
    shift
    command -v compute-sanitizer || lacks "compute-sanitizer is not on the path"
    # Not what cuBLAS asks the driver and does not get.
    if [[ $tool == memcheck ]] && compute-sanitizer --help | grep -q report-api-errors; then
        flags+=(--report-api-errors no)
    fi
    for part in "$@"; do
        left=$((limit - SECONDS - 4))
        ((left < 5)) && late+=("$part") && continue
        try "$build/tests/unit/kernels/kernels_$part" timeout -k 3 "$left" \
            compute-sanitizer --tool "$tool" "${flags[@]}"
        case $? in
        0) passed+=("$part") ;;
        124 | 137) late+=("$part") ;;
        *) failed+=("$part") ;;
        esac
    done
    local said="${passed[*]} passed${late:+; no time for ${late[*]}}"
    ((${#failed[@]} == 0 && ${#passed[@]})) || fail "$said; failed: ${failed[*]:-none}"
    echo "$tool: $said"
}

step_memcheck() {
    sanitize memcheck edges search feedback clip quantize statistics experts forward attention \
        delta
}

step_racecheck() {
    sanitize racecheck forward attention delta search
}

if [[ ${1-} == --inner ]]; then
    "step_$2"
    exit
fi

# ---- all of them ----

# The folder of a library that is loaded by name and that the loader does not know: the toolkit's,
# or that of a Python package.
folder_of() {
    local folder
    for folder in "${CUDA_HOME:-/usr/local/cuda}"/lib64 /usr/local/cuda*/targets/*/lib; do
        [[ ! -e $folder/$1 ]] || { echo "$folder" && return; }
    done
    python3 - "$1" 2>/dev/null <<'P'
import pathlib, sys
for root in dict.fromkeys(sys.path):
    for found in sorted(pathlib.Path(root or ".").glob("nvidia/*/lib/" + sys.argv[1])):
        print(found.parent)
        sys.exit()
P
}

prepare() {
    local library folder
    if [[ -e $build/env.sh ]]; then
        # shellcheck disable=SC1091 # of an installed folder: Open MPI's, wherever that is
        . "$build/env.sh"
    fi
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
    command -v ssh >/dev/null || export OMPI_MCA_plm_rsh_agent=/bin/false
    PATH=$PATH:/usr/local/cuda/bin:/usr/local/cuda/compute-sanitizer
    for library in "$(grep -ao 'libcublas\.so\.[0-9]*' "$build/bin/awqrun" | head -n 1)" \
        libnccl.so.2; do
        [[ -z $library ]] || ldconfig -p 2>/dev/null | grep -q "^\s*$library " && continue
        folder=$(folder_of "$library")
        export LD_LIBRARY_PATH=${LD_LIBRARY_PATH-}${LD_LIBRARY_PATH:+${folder:+:}}$folder
    done
    threads=$(nproc)
    gpu=$("$build/bin/awqrun" version 2>&1 | sed -n 's/^GPU *//p' | head -n 1)
    export build work threads gpu
}

# run STEP: sets `line`; its status is 0 if the step passed or lacks a tool
run() {
    local begin=$SECONDS log=$logs/$1.log rc=1 how="NOT RUN" left=$((seconds - SECONDS))
    export limit=$((limits[$1] < left ? limits[$1] : left))
    if [[ $1 != smoke && $gpu != [0-9]* ]]; then
        echo "no GPU: ${gpu:-awqrun does not start}" >"$log"
    elif ((limit < 5)); then
        echo "no time: the $seconds s are used up" >"$log"
    else
        timeout -k 5 "$limit" bash "$self" --inner "$1" >"$log" 2>&1 </dev/null
        rc=$?
        case $rc in
        0) how=pass ;;
        "$not_run") rc=0 ;;
        124 | 137) how="TOO LONG" ;;
        *) how=FAIL ;;
        esac
        ((!rc)) || { echo "---- the end of $log:" && tail -n 15 "$log" | cut -c 1-300; }
    fi
    line=$(printf '%-12s%4d s  %-9s %s' "$1" $((SECONDS - begin)) "$how" \
        "$(grep -a '[^[:space:]]' "$log" | tail -n 1 | cut -c 1-200)")
    return "$rc"
}

build='' seconds=420 logs=gpu-logs chosen=()
while (($#)); do
    case $1 in
    --build | --seconds | --logs)
        (($# > 1)) || { usage >&2 && exit 2; }
        declare "${1#--}=$2" && shift
        ;;
    -h | --help) usage && exit ;;
    *)
        [[ ${limits[$1]-} ]] || { usage >&2 && exit 2; }
        chosen+=("$1")
        ;;
    esac
    shift
done
((${#chosen[@]})) || chosen=("${steps[@]}")
if [[ $build ]]; then
    build=$(cd "$from" && realpath -m "$build")
elif [[ -x bin/awqrun ]]; then
    build=$PWD
else
    build=$PWD/build/gpu
    echo "building into $build"
    cmake --preset release -B "$build" -DAWQ_CUDA=on -DAWQ_TESTS=ON && cmake --build "$build" ||
        exit 2
fi
[[ -x $build/bin/awqrun ]] || { echo "run.sh: no '$build/bin/awqrun'" >&2 && exit 2; }
logs=$(cd "$from" && realpath -m "$logs")
mkdir -p "$logs" && work=$(mktemp -d -t awqrun-gpu-XXXXXX) || exit 2
trap 'rm -rf "$work"' EXIT
SECONDS=0
prepare
lines=() bad=0
for step in "${chosen[@]}"; do
    run "$step" || bad=$((bad + 1))
    lines+=("$line")
    echo "$line"
done
{
    echo "==== $((${#chosen[@]} - bad)) of ${#chosen[@]} steps well, $SECONDS s; logs in $logs"
    printf '%s\n' "${lines[@]}"
} | tee "$logs/summary.txt"
((!bad))
