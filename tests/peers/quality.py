#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Which options give the best model: quality.py RESULTS MODEL ... [--only NAME,...]

Quantizes each model with each set of options in SETS at each width and group size, measures
perplexity and KL divergence to the original on held-out tokens, and prints the tables of
docs/quality.md. A MODEL is a checkpoint with calib.h5 and eval.h5 beside it. What has been
measured is in RESULTS, a file of JSON lines, and is not measured again."""

import argparse
import collections
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from support.program import ENVIRONMENT

CLIP = ["--clip", "after", "--clip-shape", "symmetric"]
FEEDBACK = ["--rounding", "feedback", "--duo", "off"]
DUO = ["--rounding", "feedback", "--duo", "on"]
SETS = {
    "rounding": ["--alpha-steps", "0", "--clip", "off", "--rounding", "nearest"],
    "nearest": ["--rounding", "nearest", "--duo", "off", *CLIP],
    "nearest, duo on": ["--rounding", "nearest", "--duo", "on", *CLIP],
    "feedback": [*FEEDBACK, *CLIP],
    "feedback, no scales": [*FEEDBACK, *CLIP, "--alpha-steps", "0"],
    "feedback, joint": [*FEEDBACK, "--clip", "joint"],
    "feedback, asymmetric": [*FEEDBACK, "--clip", "after", "--clip-shape", "asymmetric"],
    "feedback, duo on": [*DUO, *CLIP],
    "feedback, duo both": [*DUO, *CLIP, "--duo", "both"],
    "feedback, duo on, no clip": [*DUO, "--clip", "off"],
    "feedback, duo on, joint": [*DUO, "--clip", "joint"],
    "feedback, duo on, asymmetric": [*DUO, "--clip", "after", "--clip-shape", "asymmetric"],
    "feedback, duo on, refine 8": [*DUO, *CLIP, "--refine", "8"],
    "feedback, duo on, smooth 0.2": [*DUO, *CLIP, "--smooth", "0.2"],
    "feedback, duo on, module": [*DUO, *CLIP, "--objective", "module"],
}

Setting = collections.namedtuple("Setting", "bits group")
SETTINGS = [Setting(4, 128), Setting(4, 64), Setting(3, 128), Setting(3, 64)]


# ---- measuring ----

def awqrun(options, *arguments):
    run = subprocess.run([options.awqrun, *map(str, arguments), "--quiet"], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                         env={**os.environ, **ENVIRONMENT})
    if run.returncode:
        sys.exit(f"quality: {' '.join(map(str, arguments))}\n{run.stderr}")
    return run.stdout


def measure(options, model, setting, extra):
    """{"perplexity", "kl", "original"} of one quantization."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out"
        # packed codes of 3 bits: only compressed-tensors has a place for them
        packing = [] if setting.bits == 4 else ["--format", "compressed-tensors"]
        awqrun(options, "quantize", "--model", model, "--tokens", model / "calib.h5", "--out", out,
               "--sequences", options.sequences, "--bits", setting.bits, "--group-size",
               setting.group, *packing, *extra)
        score = json.loads(awqrun(options, "eval", "--model", out, "--against", model, "--tokens",
                                  model / "eval.h5", "--sequences", options.eval_sequences,
                                  "--json"))
    return {"perplexity": score["perplexity"], "kl": score["kl"],
            "original": score["against"]["perplexity"]}


def load(path):
    """{(model, bits, group, set): result}"""
    if not path.exists():
        return {}
    lines = map(json.loads, path.read_text().splitlines())
    return {tuple(line["key"]): line["result"] for line in lines}


def measure_all(options, results):
    for setting in options.settings:
        for name in options.only:
            for model in options.models:
                key = (model.name, setting.bits, setting.group, name)
                if key in results:
                    continue
                results[key] = measure(options, model, setting, SETS[name])
                with options.results.open("a") as file:
                    file.write(json.dumps({"key": key, "result": results[key]}) + "\n")
                print(*key, results[key], file=sys.stderr, flush=True)


# ---- tables ----

def mean_ratio(results, keys, against):
    """Geometric mean of the KL of `keys` over that of another set on the same model."""
    ratios = [results[key]["kl"] / results[(*key[:3], against)]["kl"] for key in keys]
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def print_setting(results, models, setting):
    sets = [name for name in SETS
            if any((model, *setting, name) in results for model in models)]
    if not sets:
        return
    print(f"\n**INT{setting.bits}, groups of {setting.group}**: KL x 1000 (perplexity)\n")
    print("| | " + " | ".join(models) + " | KL to `nearest` |")
    print("|---|" + "---:|" * (len(models) + 1))
    for name in sets:
        cells, keys = [], []
        for model in models:
            key = (model, *setting, name)
            if key not in results:
                cells.append("")
                continue
            cells.append(f"{1e3 * results[key]['kl']:.3f} ({results[key]['perplexity']:.4f})")
            if (*key[:3], "nearest") in results:
                keys.append(key)
        ratio = f"{mean_ratio(results, keys, 'nearest'):.3f}" if keys else ""
        print(f"| {name} | " + " | ".join(cells) + f" | {ratio} |")


def print_tables(results, models):
    print("| | " + " | ".join(models) + " |\n|---|" + "---:|" * len(models))
    found = {key[0]: result["original"] for key, result in results.items()}
    print("| original perplexity | " + " | ".join(f"{found[model]:.4f}" if model in found else ""
                                                  for model in models) + " |")
    for setting in SETTINGS:
        print_setting(results, models, setting)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=pathlib.Path)
    parser.add_argument("models", type=pathlib.Path, nargs="+", metavar="model")
    parser.add_argument("--awqrun", default=str(ROOT / "build" / "release" / "bin" / "awqrun"))
    parser.add_argument("--only", type=lambda text: text.split(";"), default=list(SETS),
                        help="names of sets, separated by ;")
    parser.add_argument("--settings", type=lambda text: [Setting(*map(int, part.split("g")))
                                                         for part in text.split(",")],
                        default=SETTINGS, help="such as 4g128,3g64")
    parser.add_argument("--sequences", type=int, default=64, help="to calibrate with")
    parser.add_argument("--eval-sequences", type=int, default=32, help="to measure with")
    return parser.parse_args()


def main():
    options = parse()
    results = load(options.results)
    measure_all(options, results)
    print_tables(results, [model.name for model in options.models])


if __name__ == "__main__":
    main()
