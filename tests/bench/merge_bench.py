#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How fast awqrun merges records into shards, beside `cp` of the same bytes.

Makes a checkpoint of random weights and quantizes it once with --keep-run: only o_proj, the other
linears are skipped and kept in bfloat16, so that gigabytes of records take a minute or two. Then,
again and again and in turn: the shards are removed and the same command merges them anew, which its
log times (from the plan of the shards to config.json, each file flushed to the disk); `cp` copies
the records beside them, and `sync` flushes those. The records are in the page cache: a start reads
them all, to see which layers are done."""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))
from bench.layer_work import PRESETS, config_of
from support.program import ENVIRONMENT

JOB = ("--sequences", 1, "--stage-layers", 1, "--skip", r"mlp|[qkv]_proj", "--alpha-steps", 1,
       "--clip", "off", "--rounding", "nearest", "--backend", "cpu", "--keep-run")


def make_model(options, folder):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config_of(options.preset, options.layers)))
    subprocess.run([str(options.build / "tests" / "bench" / "make_checkpoint"), str(folder), "1",
                    str(options.length)], check=True)


def quantize(options, model, out):
    """Its log."""
    command = [str(options.build / "bin" / "awqrun"), "quantize", "--model", model, "--tokens",
               model / "tokens.h5", "--out", out, "--max-shard-size", options.shard_size, *JOB]
    if options.workers > 1:
        command = ["mpirun", "--bind-to", "none", "-n", options.workers + 1, *command]
    run = subprocess.run([*map(str, command)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, check=False,
                         env={**os.environ, **ENVIRONMENT})
    if run.returncode:
        sys.exit(f"merge_bench: {run.stderr.strip().splitlines()[-1:]}")
    return run.stderr


def merge(options, model, out):
    """(seconds, bytes)"""
    for file in [*out.glob("*.safetensors"), out / "config.json"]:
        file.unlink()
    found = re.search(r"merged shards=\d+ bytes=(\d+) seconds=([\d.]+)",
                      quantize(options, model, out))
    return float(found[2]), int(found[1])


def copy(records, folder):
    """Seconds of cp, and of cp and sync."""
    folder.mkdir()
    start = time.monotonic()
    subprocess.run(["cp", *map(str, records), str(folder)], check=True)
    copied = time.monotonic() - start
    subprocess.run(["sync", *map(str, folder.iterdir())], check=True)
    synced = time.monotonic() - start
    shutil.rmtree(folder)
    return copied, synced


def row(name, sizes, seconds):
    rates = [1e-9 * size / taken for size, taken in zip(sizes, seconds)]
    print(f"{name:<14}{statistics.median(rates):10.2f}{max(rates):10.2f}   "
          f"{' '.join(f'{rate:.2f}' for rate in rates)}")
    return statistics.median(rates)


def bench(options, folder):
    model, out = folder / "model", folder / "out"
    make_model(options, model)
    quantize(options, model, out)
    records = sorted((out / ".awqrun" / "layers").glob("*.safetensors"))
    size = sum(file.stat().st_size for file in records)
    turns = []
    for turn in range(options.times):  # who is first has the disk to itself: in turn
        if turn % 2:
            copied = copy(records, folder / "copies")
            turns.append((*merge(options, model, out), *copied))
        else:
            turns.append((*merge(options, model, out), *copy(records, folder / "copies")))
    seconds, sizes, copied, synced = zip(*turns)
    print(f"{1e-9 * size:.2f} GB of records, {options.layers} of them, {options.workers} workers, "
          f"shards of {options.shard_size}")
    print(f"{'GB/s':<14}{'median':>10}{'best':>10}   each")
    ours = row("merge", sizes, seconds)
    row("cp", [size] * len(turns), copied)
    theirs = row("cp and sync", [size] * len(turns), synced)
    print(f"merge is {100 * ours / theirs:.0f} % of cp and sync")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="8b", help="layer shapes (8b)")
    parser.add_argument("--layers", type=int, default=10, help="10 of 8b's are 4 GB")
    parser.add_argument("--length", type=int, default=64, help="tokens of the one sequence")
    parser.add_argument("--workers", type=int, default=1,
                        help="1 runs awqrun alone; more run under mpirun, beside a coordinator")
    parser.add_argument("--shard-size", default="5GB", help="--max-shard-size (5GB)")
    parser.add_argument("--times", type=int, default=6, help="turns (6)")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--directory", help="where the temporary files go")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="merge_bench-", dir=options.directory) as folder:
        bench(options, pathlib.Path(folder))


if __name__ == "__main__":
    main()
