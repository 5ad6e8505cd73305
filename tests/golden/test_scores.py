# SPDX-License-Identifier: MIT
"""Each number that eval prints, by quarter of the window and with a mask, against a forward pass in
numpy (tests/support/reference.py) of the full-precision and of the quantized checkpoint."""

import math
import re
import unittest

import h5py
import numpy as np

from support.case import DEMO, Case
from support.program import run
from support.reference import Llama

SEQUENCES, LENGTH = 3, 102  # quarters of 26, 25, 26 and 25 positions
RANGES = [(0, 25), (26, 50), (51, 76), (77, 101)]


class Scores(Case):
    @classmethod
    def setUpClass(cls):
        case = cls("test_without_a_comparison_there_is_no_divergence")
        case.setUp()
        cls.addClassCleanup(case.doCleanups)
        case.succeeds(case.quantize("--group-size", 64, sequences=4))
        cls.made = case.out
        with h5py.File(DEMO / "eval.h5") as file:
            cls.ids = file["input_ids"][:SEQUENCES, :LENGTH]
        cls.log_p, cls.log_q = (np.stack([model.log_probabilities(row) for row in cls.ids])
                                for model in (Llama(DEMO), Llama(cls.made)))

    def expected(self, first, last, mask):
        """As eval --json prints them, of positions first..last of each window."""
        told = np.concatenate([mask[:, 1:], mask[:, -1:]], 1).astype(bool)
        told[:, :first] = told[:, last + 1:] = False
        predicts = told[:, :-1]
        nll = [-np.take_along_axis(x[:, :-1], self.ids[:, 1:, None], -1)[..., 0][predicts]
               for x in (self.log_q, self.log_p)]
        kl = (np.exp(self.log_p) * (self.log_p - self.log_q)).sum(-1)[told]
        agreed = (self.log_p.argmax(-1) == self.log_q.argmax(-1))[told]
        return {"mean_nll": nll[0].mean(), "other": nll[1].mean(), "kl": kl.mean(),
                "top1_agreement": agreed.mean(), "tokens": predicts.sum(),
                "positions": told.sum()}

    def agrees(self, found, expected):
        self.assertEqual((found["tokens"], found["positions"]),
                         (expected["tokens"], expected["positions"]))
        self.assertAlmostEqual(found["mean_nll"], expected["mean_nll"], delta=1e-5)
        self.assertAlmostEqual(found["against"]["mean_nll"], expected["other"], delta=1e-5)
        self.assertAlmostEqual(found["kl"] / expected["kl"], 1, delta=1e-3)
        # two logits that are equal but for float32's rounding may change places: one position
        self.assertAlmostEqual(found["top1_agreement"], expected["top1_agreement"],
                               delta=1.5 / expected["positions"])
        for part in (found, found["against"]):
            self.assertAlmostEqual(math.log(part["perplexity"]), part["mean_nll"], places=9)

    def all_agree(self, mask):
        tokens = self.tokens(self.ids, None if mask.all() else mask)
        found = self.evaluate(self.made, "--against", DEMO, "--tile-tokens", 2 * LENGTH,
                              tokens=tokens)
        self.agrees(found, self.expected(0, LENGTH - 1, mask))
        self.assertEqual([(q["first"], q["last"]) for q in found["quarters"]], RANGES)
        for quarter in found["quarters"]:
            with self.subTest(quarter=quarter["first"]):
                self.agrees(quarter, self.expected(quarter["first"], quarter["last"], mask))
        return found

    def test_every_number_is_the_reference_s(self):
        self.all_agree(np.ones((SEQUENCES, LENGTH), np.uint8))

    def test_tokens_that_do_not_count_are_in_no_number(self):
        mask = (np.arange(SEQUENCES * LENGTH).reshape(SEQUENCES, LENGTH) % 7 != 3).astype(np.uint8)
        mask[1, :80] = 0  # a prompt
        mask[2, -1] = 0
        found = self.all_agree(mask)
        self.assertLess(found["positions"], 0.7 * SEQUENCES * LENGTH)

    def test_a_quarter_in_which_nothing_counts_has_no_numbers(self):
        mask = np.ones((SEQUENCES, LENGTH), np.uint8)
        mask[:, :60] = 0
        tokens = self.tokens(self.ids, mask)
        quarters = self.evaluate(self.made, "--against", DEMO, tokens=tokens)["quarters"]
        self.assertEqual((quarters[0]["tokens"], quarters[0]["positions"]), (0, 0))
        self.assertIsNone(quarters[0]["perplexity"])
        self.assertIsNone(quarters[0]["kl"])
        self.assertEqual(quarters[3]["positions"], SEQUENCES * 25)
        text = run("eval", "--model", self.made, "--tokens", tokens, "--against", DEMO).out
        self.assertRegex(text, r"(?m)^  0-25 +- +- +- +-%$")

    def test_the_text_has_the_numbers_of_the_json(self):
        tokens = self.tokens(self.ids)
        options = ("eval", "--model", self.made, "--tokens", tokens, "--against", DEMO)
        text = self.succeeds(run(*options)).out
        found = self.evaluate(self.made, "--against", DEMO, tokens=tokens)
        self.assertIn(f"top-1 agreement {100 * found['top1_agreement']:.2f}%", text)
        rows = re.findall(r"^  (\d+)-(\d+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)%$", text, re.M)
        self.assertEqual(rows, [
            (str(q["first"]), str(q["last"]), f"{q['perplexity']:.6f}",
             f"{q['against']['perplexity']:.6f}", f"{q['kl']:.8f}",
             f"{100 * q['top1_agreement']:.2f}") for q in found["quarters"]])

    def test_without_a_comparison_there_is_no_divergence(self):
        found = self.evaluate(DEMO, tokens=self.tokens(self.ids))
        expected = self.expected(0, LENGTH - 1, np.ones((SEQUENCES, LENGTH), np.uint8))
        self.assertAlmostEqual(found["mean_nll"], expected["other"], delta=1e-5)
        for part in (found, *found["quarters"]):
            self.assertFalse({"kl", "against", "top1_agreement", "positions"} & set(part))

    def test_windows_shorter_than_four_leave_quarters_out(self):
        found = self.evaluate(DEMO, tokens=self.tokens(self.ids[:, :3]))
        self.assertEqual([q["tokens"] for q in found["quarters"]], [SEQUENCES, SEQUENCES, 0, 0])
        self.assertEqual(found["tokens"], 2 * SEQUENCES)

    def test_a_mask_that_leaves_nothing_to_predict_is_refused(self):
        mask = np.zeros((SEQUENCES, LENGTH), np.uint8)
        mask[:, 0] = 1
        result = run("eval", "--model", DEMO, "--tokens", self.tokens(self.ids, mask))
        self.fails_with(result, "/mask leaves no token but the first of a sequence")


if __name__ == "__main__":
    unittest.main()
