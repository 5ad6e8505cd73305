# SPDX-License-Identifier: MIT
"""Checkpoints to be damaged, and what `awqrun verify` must find in them."""

import json
import pathlib
import shutil
import tempfile
import unittest

import numpy as np

from support import safetensors
from support.case import INDEX, Case, digest, read_json, write_json
from support.program import run

Q, UP, DOWN = "self_attn.q_proj", "mlp.up_proj", "mlp.down_proj"
OPTIONS = ("--alpha-steps", 4, "--group-size", 64, "--rounding", "nearest")
MAKE = (*OPTIONS, "--max-shard-size", "1MB")


def name(layer, linear, part):
    return f"model.layers.{layer}.{linear}.{part}"


class VerifyCase(Case):
    """One small quantization, in three shards, for all tests of a module; each damages a copy."""

    made = None

    def setUp(self):
        super().setUp()
        if not VerifyCase.made:
            VerifyCase.made = self.make_once()
        self.copy = self.folder / "copy"
        shutil.copytree(self.made, self.copy)

    def make_once(self):
        parent = pathlib.Path(tempfile.mkdtemp(prefix="awqrun-verify-"))
        unittest.addModuleCleanup(shutil.rmtree, parent, ignore_errors=True)
        self.succeeds(self.quantize(*MAKE, sequences=2, out=parent / "made"))
        return parent / "made"

    # ---- damage ----

    def shard_of(self, tensor):
        return self.copy / read_json(self.copy / INDEX)["weight_map"][tensor]

    def change(self, tensor, edit, index=True):
        """edit({name: (dtype, shape, bytes)}) of the shard with a tensor; the index follows."""
        shard = self.shard_of(tensor)
        tensors = safetensors.read_raw(shard)
        edit(tensors)
        safetensors.write_raw(shard, tensors)
        if not index:
            return
        listed = read_json(self.copy / INDEX)
        kept = {t: s for t, s in listed["weight_map"].items() if s != shard.name}
        listed["weight_map"] = {**kept, **dict.fromkeys(tensors, shard.name)}
        listed["metadata"]["total_size"] = sum(
            len(raw[2]) for path in self.copy.glob("*.safetensors")
            for raw in safetensors.read_raw(path).values())
        write_json(self.copy / INDEX, listed)

    def flip(self, tensor, byte=-1, mask=1):
        def edit(tensors):
            dtype, shape, data = tensors[tensor]
            data = bytearray(data)
            data[byte] ^= mask
            tensors[tensor] = (dtype, shape, bytes(data))
        self.change(tensor, edit)

    def set_value(self, tensor, index, bits):
        """One 16-bit element."""
        def edit(tensors):
            dtype, shape, data = tensors[tensor]
            array = np.frombuffer(data, np.uint16).copy()
            array[index] = bits
            tensors[tensor] = (dtype, shape, array.tobytes())
        self.change(tensor, edit)

    def configure(self, **changes):
        config = read_json(self.copy / "config.json")
        config["quantization_config"].update(changes)
        write_json(self.copy / "config.json", config)

    # ---- what must hold ----

    def verify(self, *options, out=None, **how):
        return run("verify", out or self.copy, *options, **how)

    def is_clean(self, *options, **how):
        result = self.succeeds(self.verify(*options, **how))
        self.assertRegex(result.out, "nothing is wrong\n")
        return result

    def finds(self, *patterns, options=(), **how):
        """Exactly these findings, in this order, and exit code 1."""
        before = digest(self.copy)
        result = self.verify("--json", *options, **how)
        self.assertEqual(result.code, 1, result)
        found = [finding["text"] for finding in json.loads(result.out)["findings"]]
        self.assertEqual(len(found), len(patterns), result)
        for text, pattern in zip(found, patterns):
            self.assertRegex(text, pattern)
        self.assertEqual(digest(self.copy), before, "verify wrote something")
        return json.loads(result.out)
