# SPDX-License-Identifier: MIT
"""The whole program on the emulated CUDA backend (AWQRUN is awqrun_emulated): what the conformance
suite cannot see, the order in which the layers use the verbs."""

import unittest

import numpy as np

from support.case import EXPERTS, FAMILIES, Case, digest, read_json

EXPECTED = read_json(FAMILIES / "expected.json")["models"]

# Relative. The backend's activations have 16 bits, transformers computed in float64.
LIKELIHOOD_TOLERANCE = 2e-3


class Program(Case):
    def test_the_likelihood_is_that_of_transformers(self):
        for name, expected in EXPECTED.items():
            with self.subTest(model=name):
                found = self.evaluate(FAMILIES / name, "--backend", "cuda",
                                      tokens=self.family_tokens())
                self.assertLess(abs(found["mean_nll"] / expected["mean_nll"] - 1),
                                LIKELIHOOD_TOLERANCE)

    def test_the_likelihood_of_mixtures_of_experts_is_that_of_transformers(self):
        expected = read_json(EXPERTS / "expected.json")
        tokens = self.tokens(np.array(expected["tokens"], np.int32))
        for name, model in expected["models"].items():
            with self.subTest(model=name):
                found = self.evaluate(EXPERTS / name, "--backend", "cuda", tokens=tokens)
                self.assertLess(abs(found["mean_nll"] / model["mean_nll"] - 1),
                                LIKELIHOOD_TOLERANCE)

    def test_the_bytes_do_not_depend_on_the_order_of_threads_and_streams(self):
        found = []
        for order, streams in (("up", "early"), ("shuffle", "late")):
            out = self.folder / f"{order}-{streams}"
            for model, options in ((FAMILIES / "llama3", ("--alpha-steps", "4")),
                                   (FAMILIES / "phi3", ("--alpha-steps", "1")),
                                   (FAMILIES / "gemma2", ("--alpha-steps", "1")),
                                   (EXPERTS / "qwen2_moe", ("--alpha-steps", "1"))):
                self.succeeds(self.quantize(
                    "--backend", "cuda", "--group-size", "32", *options, out=out / model.name,
                    model=model, tokens=self.family_tokens(), sequences=4,
                    env={"AWQ_EMULATOR_ORDER": order, "AWQ_EMULATOR_STREAMS": streams}))
            found.append({name: sha for name, sha in digest(out).items()
                          if name.endswith(".safetensors")})
        self.assertTrue(found[0])
        self.assertEqual(found[0], found[1])


if __name__ == "__main__":
    unittest.main()
