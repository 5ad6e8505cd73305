#!/bin/bash
# SPDX-License-Identifier: MIT
# Quantizes the demo model with one coordinator and three workers, once by plain rounding and once
# by AWQ, and measures what each costs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=cmake/setup.sh
. cmake/setup.sh

install_packages "${build_packages[@]}"
build release OFF

model=tests/data/demo-llama-outliers
out=build/demo
rm -rf "$out"
mkdir -p "$out"

# quantize NAME option...: shows the command as one would type it, and runs it.
quantize() {
    echo "\$ mpirun -n 4 awqrun quantize --model $model \\"
    echo "    --tokens $model/calib.h5 --sequences 128 \\"
    echo "    --max-shard-size 2MB --out $out/$1${2:+ ${*:2}}"
    mpirun -n 4 build/release/bin/awqrun quantize --model "$model" --tokens "$model/calib.h5" \
        --sequences 128 --max-shard-size 2MB --out "$out/$1" --quiet "${@:2}" | sed "s|$PWD/||"
    echo
}

# evaluate NAME: the result goes to build/demo/NAME.json
evaluate() {
    mpirun -n 4 build/release/bin/awqrun eval --model "$out/$1" --against "$model" \
        --tokens "$model/eval.h5" --sequences 64 --quiet --json >"$out/$1.json"
}

# field FILE KEY [N]: the Nth number (default 1) called KEY in a result
field() {
    sed -n "s/^ *\"$2\": \([0-9.e-]*\),*$/\1/p" "$1" | sed -n "${3-1}p"
}

# row NAME PERPLEXITY KL
row() {
    LC_ALL=C printf '  %-28s %12.4f %16.6f\n' "$@"
}

quantize rounding --alpha-steps 0 --clip off --rounding nearest
quantize awq
evaluate rounding
evaluate awq

printf '  %-28s %12s %16s\n' '' perplexity 'KL to original'
row 'before (bfloat16)' "$(field "$out/awq.json" perplexity 2)" 0
row 'after plain rounding' "$(field "$out/rounding.json" perplexity)" \
    "$(field "$out/rounding.json" kl)"
row 'after AWQ' "$(field "$out/awq.json" perplexity)" "$(field "$out/awq.json" kl)"
echo
echo "The AWQ checkpoint, $out/awq:"
(cd "$out/awq" && stat --printf '  %-34n %10s bytes\n' -- *)
