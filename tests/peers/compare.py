#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""awqrun beside other tools: compare.py MODEL [--sequences N] [--tools "A;B"] [--python PYTHON]

Quantizes MODEL (a checkpoint with calib.h5 and eval.h5 beside it) with each tool on this CPU,
4 bits and groups of --group-size, from the same calibration tokens, and prints perplexity and KL
divergence to the original, with the time and peak memory of each process: by `awqrun eval` for all
of them, or with --scorer by transformers, in that python (torch_score.py), whatever the format.
PYTHON has the tools: tests/peers/README.md says which versions. A tool that fails has its last
words on stderr, and the table goes on."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from support.program import ENVIRONMENT

PEERS = ("autoawq", "llmcompressor-awq", "llmcompressor-gptq")  # where --tools is not given
AWQRUN = {
    "awqrun, plain rounding": ["--alpha-steps", "0", "--clip", "off", "--rounding", "nearest"],
    "awqrun --rounding nearest": ["--rounding", "nearest"],
    "awqrun": [],
}


def timed(command):
    """(seconds, CPU seconds, peak bytes, output) of one process; output None: it failed."""
    start = time.time()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=subprocess.STDOUT, env={**os.environ, **ENVIRONMENT})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        text = log.read()
    if process.returncode:
        print(f"{command[1]} {command[2]}: exit {process.returncode}\n{text[-2000:]}",
              file=sys.stderr)
    return (time.time() - start, usage.ru_utime + usage.ru_stime, 1024 * usage.ru_maxrss,
            None if process.returncode else text)


def score(options, out):
    sequences = ["--sequences", str(options.eval_sequences)]
    command = [options.awqrun, "eval", "--model", out, "--against", options.model, "--tokens",
               options.model / "eval.h5", "--json", "--quiet", *sequences]
    if options.scorer:
        command = [options.scorer, HERE / "torch_score.py", options.model, out, *sequences]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True,
                         env={**os.environ, **ENVIRONMENT})
    return json.loads(run.stdout)


def command_of(options, name, out):
    if name not in AWQRUN:
        return [options.python, HERE / "peer_tools.py", name, options.model, out,
                options.sequences, options.group_size]
    return [options.awqrun, "quantize", "--model", options.model, "--tokens",
            options.model / "calib.h5", "--out", out, "--sequences", options.sequences,
            "--group-size", options.group_size, *AWQRUN[name]]


def row(options, name, folder):
    out = folder / name.replace(" ", "-").replace(",", "")
    seconds, cpu, peak, log = timed(command_of(options, name, out))
    if log is None:
        return f"| {name} | failed | | | | |"
    result = score(options, out)
    return (f"| {name} | {result['perplexity']:.4f} | {1e3 * result['kl']:.3f} | {seconds:.0f} s | "
            f"{cpu:.0f} s | {peak / 1e6:.0f} MB |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--sequences", type=int, default=128, help="to calibrate with")
    parser.add_argument("--eval-sequences", type=int, default=64, help="to measure with")
    parser.add_argument("--group-size", type=int, default=128)
    parser.add_argument("--scorer", metavar="PYTHON", help="score by transformers of this one")
    parser.add_argument("--python", default=sys.executable, help="that has the peers")
    parser.add_argument("--awqrun", default=str(ROOT / "build" / "release" / "bin" / "awqrun"))
    parser.add_argument("--tools", type=lambda text: text.split(";"), default=[*AWQRUN, *PEERS],
                        help="names as printed or in peer_tools.py, separated by ;")
    options = parser.parse_args()
    print("| tool | perplexity | KL x 1000 | time | CPU time | peak memory |")
    print("|---|---:|---:|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.tools:
            print(row(options, name, pathlib.Path(folder)), flush=True)


if __name__ == "__main__":
    main()
