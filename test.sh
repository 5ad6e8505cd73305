#!/bin/bash
# SPDX-License-Identifier: MIT
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=cmake/setup.sh
. cmake/setup.sh

usage() {
    cat <<'END'
usage: ./test.sh [dev|asan|release] [ctest options]

Installs the Debian packages that are missing, builds and runs the test suite.

  dev       asserts on, warnings are errors (default)
  asan      address and undefined behaviour sanitizers
  release   the program as it is installed

Further arguments go to ctest, for example:

  ./test.sh -L cli              tests of the command line; labels: tests/README.md
  ./test.sh asan -R safetensors

AWQ_TEST_BROWSER=1 also installs Chromium (some 100 MB), for the test of the report's page; without
it that test is skipped.
END
}

preset=dev
case ${1-} in
-h | --help)
    usage
    exit
    ;;
dev | asan | release)
    preset=$1
    shift
    ;;
-* | '') ;;
*)
    usage >&2
    exit 2
    ;;
esac

install_packages "${build_packages[@]}" "${test_packages[@]}"
[[ -z ${AWQ_TEST_BROWSER-} ]] || install_packages "${browser_packages[@]}"
build "$preset" ON
# More tests at a time than cores: many of them mostly wait for MPI to start.
exec ctest --test-dir "build/$preset" --output-on-failure --no-tests=error -j4 "$@"
