# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What demo.sh and test.sh share: Debian packages, the build, and how to start ranks on one
# machine. Sourced, from the repository's root.

# shellcheck disable=SC2034 # used where this is sourced
build_packages=(gcc libc6-dev cmake ninja-build pkg-config libopenmpi-dev openmpi-bin libhdf5-dev
    zlib1g-dev libdeflate-dev libjansson-dev libpcre2-dev libutf8proc-dev libopenblas-dev)
# shellcheck disable=SC2034
test_packages=(procps dpkg-dev file g++ libcmocka-dev python3 python3-numpy python3-h5py clang-14
    clang-format-14 shellcheck slurmctld slurmd slurm-client munge)
# Large, and for one test, which is skipped without it: installed where AWQ_TEST_BROWSER is set.
# shellcheck disable=SC2034
browser_packages=(chromium)

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# run_logged LOG command...: its output is shown only if it fails.
run_logged() {
    local log=$1
    shift
    if ! "$@" >"$log" 2>&1; then
        cat "$log" >&2
        fail "'$*' failed"
    fi
}

# install_packages name...: installs those that are missing; with none missing, asks nobody.
install_packages() {
    local missing=() package as_root=() log
    if ! command -v dpkg-query >/dev/null; then
        echo "not a Debian system; taken as installed: $*" >&2
        return
    fi
    for package in "$@"; do
        # shellcheck disable=SC2016 # the dollar is dpkg-query's
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
            missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    if ((EUID)); then
        command -v sudo >/dev/null ||
            fail "no sudo; as root: apt-get install --no-install-recommends ${missing[*]}"
        as_root=(sudo)
    fi
    echo "installing ${missing[*]}" >&2
    log=$(mktemp)
    as_root+=(env DEBIAN_FRONTEND=noninteractive)
    run_logged "$log" "${as_root[@]}" apt-get update -q
    run_logged "$log" "${as_root[@]}" apt-get install -qy --no-install-recommends "${missing[@]}"
    rm -f "$log"
}

# build PRESET TESTS: configures build/PRESET once, with AWQ_TESTS at least TESTS (ON or OFF), and
# makes what is out of date.
build() {
    local folder=build/$1 log=build/$1.log
    mkdir -p "$folder"
    if ! grep -qsE "^AWQ_TESTS:BOOL=(ON|$2)$" "$folder/CMakeCache.txt" ||
        [[ ! -e $folder/build.ninja ]]; then
        echo "configuring $folder" >&2
        run_logged "$log" cmake --preset "$1" -DAWQ_TESTS="$2"
    fi
    if [[ $(ninja -C "$folder" -n) != *"no work to do"* ]]; then
        echo "building $folder" >&2
        run_logged "$log" cmake --build "$folder"
    fi
}

# Several ranks on one machine, whoever runs them and however few its cores.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
command -v ssh >/dev/null || export OMPI_MCA_plm_rsh_agent=/bin/false
