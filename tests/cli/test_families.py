# SPDX-License-Identifier: MIT
"""Spellings of the configurations of tests/data/families, against transformers' own forward pass
(expected.json, written by make.py beside it), and a few options. Their likelihoods, each key
changed, and their quantization are in test_models.py."""

import math
import shutil
import unittest

from support import safetensors
from support.case import DEMO, FAMILIES, Case, digest, read_json, write_json

EXPECTED = read_json(FAMILIES / "expected.json")["models"]

# Relative; the program computes in float32, transformers in float64.
LIKELIHOOD_TOLERANCE = 1e-6


class Family(Case):
    def copy(self, name):
        model = self.folder / name
        shutil.copytree(FAMILIES / name, model)
        return model

    def likelihood_is_expected(self, name, model, **how):
        found = self.evaluate(model, tokens=self.family_tokens(), **how)
        expected = EXPECTED[name]["mean_nll"]
        self.assertLess(abs(found["mean_nll"] / expected - 1), LIKELIHOOD_TOLERANCE, name)
        self.assertLess(abs(found["perplexity"] / math.exp(expected) - 1), 1e-4, name)

    def test_the_configuration_of_transformers_5_means_the_same(self):
        for name in EXPECTED:
            with self.subTest(model=name):
                model = self.copy(name)
                shutil.move(model / "config-transformers5.json", model / "config.json")
                self.assertIn("rope_parameters", read_json(model / "config.json"))
                self.likelihood_is_expected(name, model)

    def test_older_spellings_mean_the_same(self):
        for name in ("llama3", "llama-linear-bias"):
            with self.subTest(model=name):
                model = self.copy(name)
                config = read_json(model / "config.json")
                config["torch_dtype"] = config.pop("dtype")
                config["rope_scaling"]["type"] = config["rope_scaling"].pop("rope_type")
                del config["head_dim"]
                write_json(model / "config.json", config)
                self.likelihood_is_expected(name, model)

    def test_rope_scaling_is_not_ignored(self):
        for name in ("llama3", "llama-linear-bias"):
            with self.subTest(model=name):
                model = self.copy(name)
                config = read_json(model / "config.json")
                config["rope_scaling"] = None
                write_json(model / "config.json", config)
                found = self.evaluate(model, tokens=self.family_tokens())
                self.assertGreater(abs(found["mean_nll"] / EXPECTED[name]["mean_nll"] - 1), 1e-3)

    def test_a_head_that_is_tied_may_be_stored_all_the_same(self):
        model = self.copy("qwen2")
        tensors = safetensors.read_raw(model / "model.safetensors")
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
        safetensors.write_raw(model / "model.safetensors", tensors)
        self.likelihood_is_expected("qwen2", model)

    def test_options_of_the_search_are_taken(self):
        tokens = self.demo_tokens(4, 64)
        digests = set()
        for options in ((), ("--duo", "off"), ("--duo", "both"), ("--o-proj", "skip"),
                        ("--clip", "off"), ("--smooth", "0.5"), ("--group-size", "-1"),
                        ("--group-size", "64"), ("--alpha-steps", "4")):
            with self.subTest(options=options):
                out = self.folder / "-".join(("out", *options))
                self.succeeds(self.quantize(*options, model=DEMO, tokens=tokens, out=out))
                digests.add(digest(out)["model.safetensors"])
        self.assertEqual(len(digests), 9, "an option changes nothing")


if __name__ == "__main__":
    unittest.main()
