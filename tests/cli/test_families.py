# SPDX-License-Identifier: MIT
"""Each family and each spelling of its configuration, against transformers' own forward pass
(tests/data/families/expected.json, written by make.py beside it)."""

import math
import shutil
import unittest

import h5py
import numpy as np

from support import safetensors
from support.case import DEMO, FAMILIES, Case, digest, read_json, write_json

EXPECTED = read_json(FAMILIES / "expected.json")["models"]

# Relative; the program computes in float32, transformers in float64.
LIKELIHOOD_TOLERANCE = 1e-6
# Relative difference of a layer's output before and after folding, which quantize checks too: the
# norms are stored in 16 bits, v_proj and up_proj are divided in float32.
FOLD_TOLERANCE = {"llama-linear-bias": 1e-5, "phi3-window": 1e-5, "gemma2-f32": 1e-5}
# Norms that absorb scales, where not all that are called layernorm do.
FOLDED_NORMS = {"gemma2": ("input_layernorm", "pre_feedforward_layernorm")}


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

    def test_the_likelihood_is_that_of_transformers(self):
        for name in EXPECTED:
            with self.subTest(model=name):
                self.likelihood_is_expected(name, FAMILIES / name)

    def test_the_configuration_of_transformers_5_means_the_same(self):
        for name in EXPECTED:
            with self.subTest(model=name):
                model = self.copy(name)
                shutil.move(model / "config-transformers5.json", model / "config.json")
                self.assertIn("rope_parameters", read_json(model / "config.json"))
                self.likelihood_is_expected(name, model)

    def test_no_trait_of_a_configuration_is_ignored(self):
        """transformers' numbers for the configuration with a key changed, or taken out."""
        changes = [(name, label, change) for name, expected in EXPECTED.items()
                   for label, change in expected.get("changed", {}).items()]
        self.assertGreater(len(changes), 20)
        for name, label, change in changes:
            with self.subTest(model=name, changed=label):
                model = self.copy(name)
                config = read_json(model / "config.json")
                for key, value in change["config"].items():
                    config[key] = value
                    if value == "absent":
                        del config[key]
                write_json(model / "config.json", config)
                found = self.evaluate(model, tokens=self.family_tokens())
                self.assertLess(abs(found["mean_nll"] / change["mean_nll"] - 1),
                                LIKELIHOOD_TOLERANCE)
                shutil.rmtree(model)

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

    def test_awq_of_each_family_is_no_worse_than_rounding(self):
        tokens = self.family_tokens()
        for name in EXPECTED:
            with self.subTest(model=name):
                divergence = {}
                for kind, options in (("awq", ()),
                                      ("rounding", ("--alpha-steps", "0", "--clip", "off"))):
                    out = self.folder / f"{name}-{kind}"
                    self.succeeds(self.quantize("--group-size", "32", *options, out=out,
                                                model=FAMILIES / name, tokens=tokens))
                    divergence[kind] = self.evaluate(out, "--against", FAMILIES / name,
                                                     tokens=tokens)["kl"]
                self.assertLessEqual(divergence["awq"], 1.05 * divergence["rounding"], name)
                self.folding_was_lossless(name)
                self.is_complete(name)

    def folding_was_lossless(self, name):
        with h5py.File(self.folder / f"{name}-awq" / "awqrun.h5") as file:
            for layer in file["layers"].values():
                self.assertLess(layer.attrs["fold_error"], FOLD_TOLERANCE.get(name, 1e-3))
                chosen = [group.attrs["chosen"] for group in layer["groups"].values()]
                self.assertTrue(any(index > 0 for index in chosen), "nothing was scaled")

    def is_complete(self, name):
        """Biases, q_norm, k_norm, embedding and head: there if and only if the source has them."""
        source = safetensors.read(FAMILIES / name / "model.safetensors")
        ours = safetensors.read(self.folder / f"{name}-awq" / "model.safetensors")
        folded = FOLDED_NORMS.get(name.removesuffix("-f32"), ("layernorm",))
        quantized = 0
        for tensor, value in source.items():
            base = tensor.removesuffix(".weight")
            if base.endswith("_proj"):
                quantized += 1
                self.assertNotIn(tensor, ours)
                for part in ("qweight", "qzeros", "scales"):
                    self.assertIn(f"{base}.{part}", ours)
            elif base.endswith((*folded, "v_proj.bias", "up_proj.bias")):
                self.assertEqual(ours[tensor].shape, value.shape, tensor)
                self.assertFalse(np.array_equal(ours[tensor], value), f"{tensor} absorbed nothing")
            else:
                np.testing.assert_array_equal(ours[tensor], value, tensor)
        self.assertEqual(len(ours), len(source) + 2 * quantized)
        self.assertNotIn("lm_head.weight", ours if "lm_head.weight" not in source else ())

    def test_each_family_is_the_same_on_several_ranks(self):
        tokens = self.family_tokens()
        for name in EXPECTED:
            with self.subTest(model=name):
                found = []
                for ranks in (1, 3):
                    out = self.folder / f"{name}-{ranks}"
                    self.succeeds(self.quantize("--group-size", "32", "--tile-tokens", "400",
                                                out=out, model=FAMILIES / name, tokens=tokens,
                                                ranks=ranks))
                    found.append({**digest(out), "awqrun.h5": ""})
                self.assertEqual(found[0], found[1])

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
