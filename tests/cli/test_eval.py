# SPDX-License-Identifier: MIT
"""awqrun eval: what it prints and what it refuses. Its numbers: tests/golden, test_families.py."""

import json
import math
import shutil
import unittest

import numpy as np

from support.case import DEMO, FAMILIES, Case, read_json, write_json
from support.program import run


class Eval(Case):
    def eval(self, *options, model=FAMILIES / "qwen2", tokens=None, **how):
        return run("eval", "--model", model, "--tokens", tokens or self.family_tokens(), *options,
                   **how)

    def test_the_text_says_what_the_json_says(self):
        text = self.succeeds(self.eval("--against", FAMILIES / "qwen2")).out
        found = json.loads(self.succeeds(self.eval("--against", FAMILIES / "qwen2", "--json")).out)
        self.assertIn(f"perplexity {found['perplexity']:.6f}", text)
        self.assertIn(f"mean negative log likelihood {found['mean_nll']:.6f}", text)
        self.assertIn(f"KL divergence {found['kl']:.8f}", text)
        self.assertEqual(found["tokens"], 16 * 95)
        self.assertEqual(found["positions"], 16 * 96)
        self.assertAlmostEqual(math.exp(found["mean_nll"]), found["perplexity"], places=6)

    def test_a_model_diverges_from_itself_by_nothing(self):
        found = self.evaluate(FAMILIES / "qwen2", "--against", FAMILIES / "qwen2",
                              tokens=self.family_tokens())
        self.assertLess(abs(found["kl"]), 1e-9)
        self.assertEqual(found["against"]["mean_nll"], found["mean_nll"])

    def test_another_model_cannot_be_compared_with(self):
        for ranks in (1, 3):
            self.fails_with(self.eval("--against", FAMILIES / "qwen3", ranks=ranks),
                            "is another model than .*qwen2': .*: \\d+, not \\d+")

    def test_a_quantized_model_cannot_be_compared_with(self):
        self.succeeds(self.quantize("--group-size", "32", model=FAMILIES / "qwen2",
                                    tokens=self.family_tokens()))
        self.fails_with(self.eval("--against", self.out), "is quantized; give the full-precision")

    def test_sequences_of_one_token_have_no_perplexity(self):
        self.fails_with(self.eval(tokens=self.tokens(np.zeros((4, 1), np.int32), name="1.h5")),
                        "one token; perplexity needs two")

    def test_tokens_that_do_not_fit_are_refused(self):
        self.fails_with(self.eval(tokens=DEMO / "eval.h5"), "outside the vocabulary of 128",
                        "longer than the model's 256 positions")

    def test_a_damaged_embedding_or_head_is_refused(self):
        for tensor in ("model.embed_tokens.weight", "lm_head.weight"):
            with self.subTest(tensor=tensor):
                model = self.with_value(tensor, 1000, 7, float("inf"))
                self.fails_with(self.eval(model=model, tokens=self.demo_tokens()),
                                f"'{tensor}' holds infinity at row 1000, column 7")
                self.doCleanups()
                self.setUp()

    def test_a_damaged_model_is_refused(self):
        model = self.with_value("model.layers.2.mlp.down_proj.weight", 17, 300, float("nan"))
        for ranks in (1, 3):
            with self.subTest(ranks=ranks):
                result = self.eval(model=model, tokens=self.demo_tokens(), ranks=ranks)
                self.fails_with(result, "down_proj.weight' holds nan at row 17, column 300")
                self.assertEqual(result.out, "")

    def test_logits_that_overflow_have_no_likelihood(self):
        model = self.folder / "model"
        shutil.copytree(FAMILIES / "granite", model)
        write_json(model / "config.json",
                   {**read_json(model / "config.json"), "logits_scaling": 1.2e-38})
        for options in ((), ("--json",)):
            result = self.eval(*options, model=model)
            self.fails_with(result, f"'{model}': its logits are not finite")
            self.assertEqual(result.out, "")

    def test_nothing_is_written(self):
        self.succeeds(self.eval(cwd=self.folder))
        self.assertEqual([path.name for path in self.folder.iterdir()], ["family-tokens.h5"])


if __name__ == "__main__":
    unittest.main()
