#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The bytes that a change which is to alter nothing must leave as they are.

    tests/record.py --awqrun OLD/bin/awqrun --out sums.json
    tests/record.py --awqrun NEW/bin/awqrun --compare sums.json

runs the list of commands below, writes {case: {file: sha256}} and says which cases differ. A case
is MODEL/VARIANT/PLACE, such as `qwen2/clip-joint/cpu-3`: one option varied at a time, on one or
three ranks; places `cuda-1` and `cuda-3` are there with --emulated, the program of
tests/cuda_emulator, which is slow and so has several options in a case. /convert.., /eval and
/verify below a case are commands on its output. A command that fails is recorded with its error.

Sums are of one machine: OpenBLAS takes its kernels by the processor. Of awqrun.h5 it is the
contents (`statistics_sum`)."""

import argparse
import concurrent.futures
import hashlib
import json
import pathlib
import re
import shutil
import sys
import tempfile

import h5py
import numpy as np

from support import safetensors
from support.case import DEMO, EXPERTS, FAMILIES, digest, read_json
from support.program import AWQRUN, run

MODELS = {path.name: path.resolve()
          for path in (DEMO, *sorted(FAMILIES.iterdir()), *sorted(EXPERTS.iterdir()))
          if (path / "config.json").exists()}

# Attributes of awqrun.h5 that say how it is laid out, or which job wrote it.
IGNORED = {"index", "group", "expert", "tokens", "fingerprint", "job", "awqrun"}

# Five sequences in tiles of two.
COMMON = {"--threads": 1, "--group-size": 32, "--alpha-steps": 2, "--tile-tokens": 192}
SLOW = {"--alpha-steps": 1, "--tile-tokens": 80}

VARIANTS = {
    "base": {},
    "gemv": {"--format": "gemv"},
    "gemv-fast": {"--format": "gemv-fast"},
    "compressed-tensors": {"--format": "compressed-tensors"},
    "compressed-symmetric": {"--format": "compressed-tensors", "--symmetric": None},
    "bits-3": {"--format": "compressed-tensors", "--bits": 3},
    "bits-8": {"--format": "compressed-tensors", "--bits": 8},
    "symmetric": {"--symmetric": None},
    "group-64": {"--group-size": 64},
    "group-128": {"--group-size": 128},
    "group-row": {"--group-size": -1},
    "nearest": {"--rounding": "nearest"},
    "identity": {"--alpha-steps": 0},
    "module": {"--objective": "module"},
    "module-some": {"--objective": "module", "--objective-tokens": 200},
    "clip-off": {"--clip": "off"},
    "clip-joint": {"--clip": "joint"},
    "clip-asymmetric": {"--clip-shape": "asymmetric"},
    "clip-joint-asymmetric": {"--clip": "joint", "--clip-shape": "asymmetric"},
    "duo-off": {"--duo": "off"},
    "duo-both": {"--duo": "both"},
    "o-proj-skip": {"--o-proj": "skip"},
    "refine": {"--refine": 1},
    "smooth": {"--smooth": 0.5},
    "skip": {"--skip": r"k_proj|layers\.1\..*(down_proj|\.w2)"},
    "mask": {},
    "shards": {"--max-shard-size": "50kB", "--stage-layers": 1},
}
EMULATED = {
    "base": {},
    "module-joint": {"--objective": "module", "--clip": "joint", "--clip-shape": "asymmetric"},
    "nearest-duo": {"--rounding": "nearest", "--duo": "both", "--o-proj": "skip",
                    "--symmetric": None},
    "bits-8-refine": {"--format": "compressed-tensors", "--bits": 8, "--clip": "off",
                      "--refine": 1, "--smooth": 0.5},
}
EMULATED_ON_THREE = ("base", "nearest-duo")


def has_experts(model):
    config = read_json(model / "config.json")
    return "num_experts" in config or "num_local_experts" in config


def narrow(model, multiple):
    """Last parts of the names of linears whose inputs are no multiple of this."""
    found = set()
    for file in model.glob("*.safetensors"):
        for name, entry in safetensors.read_header(file)[0].items():
            shape = entry["shape"]
            if ".layers." in name and len(shape) == 2 and shape[1] % multiple:
                found.add(name.split(".")[-2])
    return sorted(found)


def options_for(model, options):
    """Those of a variant as this model takes them; None where awqrun refuses them: groups that do
    not divide each linear's inputs, the module objective for a mixture of experts. GEMV-fast needs
    multiples of 64 inputs: other linears are skipped."""
    if options.get("--group-size", -1) > 0 and narrow(model, options["--group-size"]):
        return None
    if options.get("--objective") == "module" and has_experts(model):
        return None
    if options.get("--format") == "gemv-fast" and narrow(model, 64):
        return {**options, "--skip": "|".join(narrow(model, 64))}
    return options


def conversions(model, variant):
    """Formats to convert to. compressed-tensors takes scales of the model's own type, and those of
    AWQ are float16."""
    if variant != "base":
        return ("gemm",)
    config = read_json(model / "config.json")
    exact = "float16" in (config.get("dtype"), config.get("torch_dtype"))
    return ("gemv", "compressed-tensors") if exact else ("gemv",)


def units(emulated):
    """[(model, variant, options, backend, ranks)]; the slow ones first."""
    found = []
    for name, model in MODELS.items():
        slow = list(EMULATED.items()) if emulated else []
        if model.name == DEMO.name:  # ten times as large as the others
            slow = slow[:1]
        for backend, variants in (("cuda", slow), ("cpu", VARIANTS.items())):
            for variant, options in variants:
                taken = options_for(model, options)
                for ranks in (1, 3) if taken is not None else ():
                    if backend == "cpu" or ranks == 1 or variant in EMULATED_ON_THREE:
                        found.append((name, variant, taken, backend, ranks))
    return sorted(found, key=lambda unit: (unit[3] != "cuda", unit[0] != DEMO.name))


def name_of(unit):
    model, variant, _, backend, ranks = unit
    return f"{model}/{variant}/{backend}-{ranks}"


def statistics_sum(path):
    """Of names, types, shapes and bytes of all that awqrun.h5 holds, but what differs between two
    runs of a job and what IGNORED names."""
    total = hashlib.sha256()

    def add(name, value):
        value = np.asarray(value)
        total.update(f"{name} {value.dtype.str} {value.shape}\n".encode() + value.tobytes())

    def visit(name, item):
        if "seconds" in name.split("/"):
            return
        for key in sorted(set(item.attrs) - IGNORED):
            add(f"{name}@{key}", item.attrs[key])
        if isinstance(item, h5py.Dataset):
            add(name, item[()])

    with h5py.File(path) as file:
        visit("", file)
        file.visititems(visit)
    return total.hexdigest()


def sums(directory):
    return {name: statistics_sum(directory / name) if name == "awqrun.h5" else sha
            for name, sha in digest(directory).items()}


class Recorder:
    def __init__(self, folder, programs):
        self.folder, self.programs = folder, programs
        self.tokens = {name: self.write_tokens(name) for name in ("demo", "family", "short",
                                                                  "mask")}

    def write_tokens(self, name):
        """Few tokens: five sequences of the demo's text or of random ones; three short ones."""
        with h5py.File(DEMO / "calib.h5") as file:
            ids = file["input_ids"][:5, :96]
        if name != "demo":
            ids = np.array(read_json(FAMILIES / "expected.json")["tokens"][:5], np.int32)
        if name == "short":
            ids = ids[:3, :40]
        path = self.folder / f"{name}.h5"
        with h5py.File(path, "w") as file:
            file["input_ids"] = ids
            if name == "mask":
                file["mask"] = (np.arange(ids.size).reshape(ids.shape) % 5 > 1).astype(np.uint8)
        return path

    def tokens_of(self, unit):
        model, variant, _, backend, _ = unit
        if backend == "cuda":
            return self.tokens["short"]
        if variant == "mask":
            return self.tokens["mask"]
        return self.tokens["demo" if model == DEMO.name else "family"]

    def command(self, unit, *words):
        """Runs awqrun where the unit says; (its stdout without paths, None) or (None, error)."""
        _, _, _, backend, ranks = unit
        where = {"ranks": ranks, "program": self.programs[backend], "timeout": 600}
        if backend == "cuda":
            where["env"] = {"AWQ_EMULATOR_GPUS": str(ranks)}
            words += ("--transport", "mpi")
        if words[0] != "convert":
            words += ("--backend", backend, "--threads", 1)
        result = run(*words, "--quiet", **where)
        if result.code:
            said = "; ".join(result.errors) or result.err[-300:]
            return None, self.without_paths(f"exit {result.code}: {said}")
        return self.without_paths(result.out), None

    def without_paths(self, text):
        text = re.sub(re.escape(str(self.folder)) + r"""[^"' ]*""", "OUT", text)
        return text.replace(str(DEMO.resolve().parent), "DATA")

    def printed(self, unit, *words):
        text, error = self.command(unit, *words, "--json")
        return {"error": error} if error else {
            "stdout": hashlib.sha256(text.encode()).hexdigest()}

    def written(self, unit, out, *words):
        _, error = self.command(unit, *words, "--out", out)
        return {"error": error} if error else sums(out)

    def record(self, unit):
        """{case: {file: sum}} of a unit and of what follows from its output."""
        model, variant, options, backend, _ = unit
        name, out, source = name_of(unit), self.folder / name_of(unit), MODELS[model]
        out.parent.mkdir(parents=True, exist_ok=True)
        merged = {**COMMON, **(SLOW if backend == "cuda" else {}), **options}
        del merged["--threads"]
        words = [word for pair in merged.items() for word in pair if word is not None]
        found = {name: self.written(unit, out, "quantize", "--model", source, "--tokens",
                                    self.tokens_of(unit), *words)}
        if "error" not in found[name] and variant in ("base", "compressed-tensors"):
            for after, result in self.follow(unit, out, source):
                found[f"{name}/{after}"] = result
        shutil.rmtree(out, ignore_errors=True)
        return found

    def follow(self, unit, out, source):
        _, variant, _, backend, ranks = unit
        tokens = ("--tokens", self.tokens_of(unit))
        if variant == "base":
            yield "eval", self.printed(unit, "eval", "--model", out, "--against", source, *tokens)
        if backend == "cuda":
            return
        if variant == "base":
            yield "eval-source", self.printed(unit, "eval", "--model", source, *tokens)
        if ranks > 1:
            return
        if variant == "base":
            yield "verify", self.printed(unit, "verify", out, "--model", source)
            yield "verify-layer", self.printed(unit, "verify", out, "--model", source, *tokens,
                                               "--layer", 1)
        for kind in conversions(source, variant):
            other = out.with_name(f"{out.name}-{kind}")
            yield f"convert-{kind}", self.written(unit, other, "convert", out, "--format", kind)
            yield f"eval-{kind}", self.printed(unit, "eval", "--model", other, *tokens)
            shutil.rmtree(other, ignore_errors=True)


def record_all(chosen, programs, jobs):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="awqrun-record-")).resolve()
    try:
        recorder, found = Recorder(folder, programs), {}
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for done, part in enumerate(pool.map(recorder.record, chosen), 1):
                found.update(part)
                if sys.stderr.isatty():
                    print(f"\r{done} of {len(chosen)}", end="", file=sys.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return dict(sorted(found.items()))


def compare(old, new, is_chosen):
    """Lines about the cases that differ; cases that only the new list has are none."""
    lines = []
    for case in sorted(name for name in old if is_chosen(name)):
        if case not in new:
            lines.append(f"{case}: is not there any more")
        elif old[case] != new[case]:
            files = [file for file in sorted(set(old[case]) | set(new[case]))
                     if old[case].get(file) != new[case].get(file)]
            lines.append(f"{case}: {', '.join(files)}")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--awqrun", default=AWQRUN, help="the program")
    parser.add_argument("--emulated", help="awqrun_emulated, for the cases of the CUDA backend")
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time")
    parser.add_argument("-k", dest="part", default="", help="only cases with this in the name")
    parser.add_argument("--out", type=pathlib.Path, help="file for the sums, else stdout")
    parser.add_argument("--compare", type=pathlib.Path, help="sums to compare with")
    options = parser.parse_args()

    chosen = [unit for unit in units(options.emulated) if options.part in name_of(unit)]
    new = record_all(chosen, {"cpu": options.awqrun, "cuda": options.emulated}, options.jobs)
    text = json.dumps(new, indent=1) + "\n"
    if options.out:
        options.out.write_text(text)
    elif not options.compare:
        print(text, end="")
    failed = [f"{case}: {result['error']}" for case, result in new.items() if "error" in result]
    print(f"{len(new)} cases, {len(failed)} failed", *failed, sep="\n", file=sys.stderr)
    if not options.compare:
        return 1 if failed else 0

    def is_chosen(case):
        unit = "/".join(case.split("/")[:3])
        return options.part in unit and (options.emulated or "/cuda-" not in unit)

    old = read_json(options.compare)
    differing = compare(old, new, is_chosen)
    print(f"{len(differing)} differ, {len(set(new) - set(old))} are new", *differing, sep="\n")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
