# SPDX-License-Identifier: MIT
"""The models of tests/data/models on the emulated CUDA backend (AWQRUN is awqrun_emulated): what
they score, and that those whose layers have most of their own are quantized to the same bytes in
any order of threads and streams."""

import unittest
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from support import random_model
from support.case import Case, digest

DESCRIBED = {name: description for name, description in random_model.described().items()
             if name not in random_model.READ_OTHERWISE}
# Relative. The backend's activations have 16 bits, transformers computed in float64; so few bits
# send some tokens of a mixture to other experts.
DENSE_TOLERANCE, MIXTURE_TOLERANCE = 2e-3, 5e-3
TOGETHER = 2
ORDERS = [{"AWQ_EMULATOR_ORDER": order, "AWQ_EMULATOR_STREAMS": streams}
          for order, streams in (("up", "early"), ("shuffle", "late"))]
QUANTIZED = ("cohere2", "deepseek_v3-halves", "gpt_oss", "llama4_text", "olmo3", "qwen3_5_text",
             "starcoder2")


class Models(Case):
    def setUp(self):
        super().setUp()
        self.all_tokens = self.family_tokens()

    def each(self, check, names):
        with ThreadPoolExecutor(TOGETHER) as pool:
            for name, future in [(name, pool.submit(check, name)) for name in names]:
                with self.subTest(model=name):
                    future.result()

    def model(self, name):
        return random_model.write(self.folder / name, DESCRIBED[name])

    def test_the_likelihood_is_that_of_transformers(self):
        names = list(DESCRIBED)

        def check(name):
            order = ORDERS[names.index(name) % 2]
            mixture = any("expert" in tensor for tensor in DESCRIBED[name]["tensors"])
            sequences = 2 if mixture else 1
            found = self.evaluate(self.model(name), "--backend", "cuda", "--sequences", sequences,
                                  tokens=self.all_tokens, env=order)
            expected = np.mean(DESCRIBED[name]["nll_per_sequence"][:sequences])
            self.assertLess(abs(found["mean_nll"] / expected - 1),
                            MIXTURE_TOLERANCE if mixture else DENSE_TOLERANCE)
        self.each(check, names)

    def test_the_bytes_do_not_depend_on_the_order_of_threads_and_streams(self):
        def check(name):
            source, found = self.model(name), []
            for number, order in enumerate(ORDERS):
                out = self.folder / f"{name}-{number}"
                self.succeeds(self.quantize("--backend", "cuda", "--group-size", 32,
                                            "--alpha-steps", 1, out=out, model=source,
                                            tokens=self.all_tokens, sequences=1, env=order))
                found.append(digest(out)["model.safetensors"])
            self.assertEqual(*found)
        self.each(check, QUANTIZED)


if __name__ == "__main__":
    unittest.main()
