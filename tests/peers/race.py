#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Whether a race chooses as an exhaustive search does: race.py MODEL ... [--only BITS/GROUP,...]

Quantizes each model by `--search race` and `--search exhaustive` at each width and group size, and
prints for each: the scale groups in which both chose the same candidate, the worst ratio of the
exact losses of the two choices, the share of all measurements that the race took, and the KL
divergence of both outputs. A MODEL is a checkpoint with calib.h5 and eval.h5 beside it, or with one
file of tokens, and then KL is not measured. Options of awqrun may follow --."""

import argparse
import pathlib
import sys
import tempfile

import h5py
import numpy as np

from quality import SETTINGS, Setting, awqrun, measure


def groups_of(path):
    """{(layer, group): (chosen, losses, measured)} of a checkpoint that was quantized."""
    found = {}
    with h5py.File(path / "awqrun.h5") as file:
        for layer in file["layers"]:
            for name, group in file[f"layers/{layer}/groups"].items():
                chosen = int(group.attrs["chosen"])
                if chosen >= 0 and len(group["loss"]) > 1:
                    found[layer, name] = (chosen, group["loss"][:], group["measured"][:])
    return found


def search(options, model, setting, how):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out"
        packing = [] if setting.bits == 4 else ["--format", "compressed-tensors"]
        awqrun(options, "quantize", "--model", model, "--tokens", sorted(model.glob("*.h5"))[0],
               "--out", out, "--bits", setting.bits, "--group-size", setting.group, "--rounding",
               "nearest", "--clip", "off", "--sequences", options.sequences, *packing, "--search",
               how, *options.extra)
        return groups_of(out)


def compare(options, model, setting):
    race = search(options, model, setting, "race")
    exact = search(options, model, setting, "exhaustive")
    same, ratios, work = 0, [], []
    for key, (best, losses, _) in exact.items():
        chosen, _, measured = race[key]
        same += chosen == best
        ratios.append(losses[chosen] / losses[best])
        work.append(np.mean(measured))
    row = [model.name, setting.bits, setting.group, f"{same} of {len(exact)}",
           f"{max(ratios):.5f}", f"{np.mean(work):.2f}"]
    for how in ("race", "exhaustive"):
        if (model / "eval.h5").exists() and (model / "calib.h5").exists():
            score = measure(options, model, setting, ["--search", how, *options.extra])
            row.append(f"{1000 * score['kl']:.3f}")
        else:
            row.append("")
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=pathlib.Path, metavar="MODEL")
    parser.add_argument("--awqrun", default="build/release/bin/awqrun")
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--eval-sequences", type=int, default=64)
    parser.add_argument("--only", type=lambda text: [Setting(*map(int, item.split("/")))
                                                     for item in text.split(",")],
                        default=SETTINGS)
    arguments, extra = sys.argv[1:], []
    if "--" in arguments:
        at = arguments.index("--")
        arguments, extra = arguments[:at], arguments[at + 1:]
    options = parser.parse_args(arguments)
    options.extra = extra
    print("| model | bits | group | same | worst ratio | work | KL x 1000 | exhaustive |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for model in options.models:
        for setting in options.only:
            print("|", " | ".join(map(str, compare(options, model, setting))), "|", flush=True)


if __name__ == "__main__":
    main()
