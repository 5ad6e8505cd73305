# SPDX-License-Identifier: MIT
"""The test case that the Python tests derive from: a folder of its own, models to damage, and what
must hold of every run that is refused."""

import hashlib
import json
import pathlib
import re
import shutil
import tempfile
import unittest

import h5py
import numpy as np

from support import safetensors
from support.program import ROOT, run

DATA = ROOT / "tests" / "data"
DEMO = DATA / "demo-llama-outliers"
FAMILIES = DATA / "families"
EXPERTS = DATA / "experts"
INDEX = "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
COMPANIONS = ("generation_config.json", "special_tokens_map.json", "tokenizer.json",
              "tokenizer_config.json")


def digest(directory):
    """{name: sha256} of all files below a directory."""
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(directory.rglob("*")) if path.is_file()}


def read_json(path):
    return json.loads(path.read_text())


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2))


def golden():
    """Expected numbers of the demo model, from reference implementations."""
    return read_json(DEMO / "golden.json")


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="awqrun-test-")).resolve()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.out = self.folder / "out"

    # ---- inputs ----

    def demo(self, name="model"):
        """A copy of the demo model, to be changed."""
        model = self.folder / name
        model.mkdir()
        for file in ("config.json", INDEX, *SHARDS, *COMPANIONS):
            shutil.copy(DEMO / file, model / file)
        return model

    def configured(self, **changes):
        """A copy of the demo model with other keys in config.json; None removes one."""
        model = self.demo()
        config = {**read_json(model / "config.json"), **changes}
        write_json(model / "config.json", {k: v for k, v in config.items() if v is not None})
        return model

    def with_tensors(self, change):
        """A copy of the demo model after change({name: (dtype, shape, bytes)}) of its shards,
        with an index that agrees."""
        model = self.demo()
        index = {"metadata": {}, "weight_map": {}}
        for shard in SHARDS:
            tensors = safetensors.read_raw(model / shard)
            change(tensors)
            safetensors.write_raw(model / shard, tensors)
            index["weight_map"].update(dict.fromkeys(tensors, shard))
        write_json(model / INDEX, index)
        return model

    def with_value(self, tensor, row, column, value):
        """A copy of the demo model with one weight set; row is None for a vector."""
        def change(tensors):
            if tensor not in tensors:
                return
            dtype, shape, data = tensors[tensor]
            array = np.frombuffer(data, np.uint16).reshape(shape).copy()
            array[column if row is None else (row, column)] = safetensors.to_bfloat16(
                np.float32(value))
            tensors[tensor] = (dtype, shape, array.tobytes())
        return self.with_tensors(change)

    def tokens(self, ids, mask=None, name="tokens.h5"):
        path = self.folder / name
        with h5py.File(path, "w") as file:
            file["input_ids"] = np.asarray(ids)
            if mask is not None:
                file["mask"] = np.asarray(mask)
        return path

    def demo_tokens(self, sequences=2, length=32):
        """The first tokens of the demo's calibration sequences."""
        with h5py.File(DEMO / "calib.h5") as file:
            return self.tokens(file["input_ids"][:sequences, :length])

    def family_tokens(self):
        """The tokens of tests/data/families/expected.json."""
        return self.tokens(np.array(read_json(FAMILIES / "expected.json")["tokens"], np.int32),
                           name="family-tokens.h5")

    # ---- runs ----

    def quantize(self, *options, model=DEMO, tokens=None, out=None, sequences=None, **how):
        command = ["quantize", "--model", model, "--tokens", tokens or DEMO / "calib.h5",
                   "--out", out or self.out, *options]
        if sequences:
            command += ["--sequences", sequences]
        return run(*command, **how)

    def evaluate(self, model, *options, tokens=DEMO / "eval.h5", **how):
        """The object that `awqrun eval --json` prints."""
        result = self.succeeds(run("eval", "--model", model, "--tokens", tokens, "--json",
                                   *options, **how))
        return json.loads(result.out)

    # ---- what must hold ----

    def succeeds(self, result):
        self.assertEqual(result.code, 0, result)
        self.assertEqual(result.errors, [], result)
        return result

    def fails_with(self, result, *patterns, code=1):
        """Exit code, and one error line for each pattern, in any order."""
        self.assertEqual(result.code, code, result)
        self.assertEqual(len(result.errors), len(patterns), result)
        for pattern in patterns:
            self.assertTrue(any(re.search(pattern, line) for line in result.errors),
                            f"no line matches {pattern!r}: {result}")
        return result

    def nothing_looks_finished(self, out=None):
        self.assertFalse(((out or self.out) / "config.json").exists())

    def refuses(self, *patterns, model=DEMO, code=1, ranks=(1,), options=(), **how):
        """Quantizing `model` fails with these error lines, prints no result, writes nothing that
        looks finished and leaves the source as it is."""
        before = digest(model) if model.is_dir() else None
        for count in ranks:
            with self.subTest(ranks=count):
                out = how.get("out") or self.folder / f"out{count}"
                result = self.quantize(*options, **{**how, "model": model, "out": out,
                                                    "ranks": count})
                self.fails_with(result, *patterns, code=code)
                self.assertEqual(result.out, "", result)
                self.nothing_looks_finished(out)
                if before is not None:
                    self.assertEqual(digest(model), before, "the source was changed")
