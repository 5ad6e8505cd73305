# SPDX-License-Identifier: MIT
"""What the search says that candidates cost, against docs/awq.md computed again in float64 by
support/search_reference.py: both objectives, with a clip in each candidate and without."""

import unittest

import h5py
import numpy as np

from support.case import DEMO, Case
from support.reference import Llama
from support.search_reference import GROUPS, Layer, clip, mean_weight, round_trip, scales

SEQUENCES, LENGTH, SIZE = 5, 40, 64
# The program computes in float32: a weight in some ten thousand lies so near to the middle of two
# codes that it is rounded to the other one. With a clip in the candidate there are also cuts that
# come so near to one another that the other one is chosen.
TOLERANCE = 2e-3
TOLERANCE_OF_CUTS = 5e-3


class Losses(Case):
    def setUp(self):
        super().setUp()
        with h5py.File(DEMO / "calib.h5") as file:
            self.ids = file["input_ids"][:SEQUENCES, :LENGTH]
        self.mask = np.random.default_rng(7).random(self.ids.shape) > 0.3
        self.llama = Llama(DEMO)

    def quantized(self, *options, steps=4):
        """Searched in tiles of two sequences; the groups of layers 0 and 1 in awqrun.h5."""
        tokens = self.tokens(self.ids, self.mask.astype(np.uint8))
        self.succeeds(self.quantize("--group-size", SIZE, "--alpha-steps", steps, "--tile-tokens",
                                    2 * LENGTH, *options, tokens=tokens))
        with h5py.File(self.out / "awqrun.h5") as file:
            return [{group: {**{name: data[()] for name, data in found.items()}, **found.attrs}
                     for group, found in file[f"layers/{layer:05}/groups"].items()}
                    for layer in range(2)]

    def compare(self, found, module=False, shape=None, scored=SEQUENCES, layers=(0, 1)):
        """Losses that were measured in these layers are those of the reference, estimates are of
        candidates that are worse, and the choice is the reference's."""
        hidden = self.llama.tensors["model.embed_tokens.weight"][self.ids]
        for index, groups in enumerate(found):
            layer = Layer(self.llama, index)
            inputs, hidden = layer.inputs(hidden)
            for group, searched in groups.items() if index in layers else ():
                with self.subTest(layer=index, group=group):
                    expected = [self.loss(group, layer, inputs[group], candidate, shape,
                                          scored if module and len(GROUPS[group]) > 1 else None)
                                for candidate in zip(searched["alpha"], searched["duo"])]
                    whole = searched["measured"] == 1
                    np.testing.assert_allclose(searched["loss"][whole], np.array(expected)[whole],
                                               rtol=TOLERANCE_OF_CUTS if shape else TOLERANCE)
                    self.assertEqual(searched["chosen"], np.argmin(expected))
                    self.assertTrue(whole[searched["chosen"]] and whole[0])
                    self.assertGreaterEqual(min(searched["loss"]), min(searched["loss"][whole]))
                    np.testing.assert_allclose(
                        searched["mean_abs"], np.abs(inputs[group][self.mask]).mean(0), rtol=1e-4)

    def loss(self, group, layer, x, candidate, shape, scored):
        weights = {name: layer.weights[name] for name in GROUPS[group]}
        rows = x[self.mask]
        gram = rows.T @ rows
        s = self.candidate_scales(group, weights, rows, *candidate)
        trial = {name: (clip(w, s, gram, SIZE, shape) if shape and name not in "qk" else
                        round_trip(w * s, SIZE)) / s for name, w in weights.items()}
        if scored:
            error = (layer.module(group, x[:scored], trial) -
                     layer.module(group, x[:scored], {}))
            return np.mean(error[self.mask[:scored]] ** 2)
        errors = [weights[name] - trial[name] for name in weights]
        return (sum(np.sum(d @ gram * d) for d in errors) /
                (len(rows) * sum(len(d) for d in errors)))

    def candidate_scales(self, group, weights, rows, alpha, duo):
        m, w = np.abs(rows).mean(0), mean_weight(weights.values(), SIZE)
        if group != "o":
            return scales(alpha, duo, m, w)
        config = self.llama.config
        kv, dim = config["num_key_value_heads"], config["head_dim"]
        tied = [a.reshape(kv, -1, dim).mean(1).ravel() for a in (m, w)]
        repeat = config["num_attention_heads"] // kv
        return scales(alpha, duo, *tied).reshape(kv, 1, dim).repeat(repeat, axis=1).ravel()

    def test_linear_losses_are_the_reference_s(self):
        found = self.quantized("--duo", "both", "--refine", 3, "--search", "exhaustive")
        self.assertEqual(len(found[0]["qkv"]["loss"]), 5 + 5 + 3)
        for group in found[0].values():
            self.assertTrue(all(group["measured"] == 1))
        self.compare(found)

    def test_a_race_chooses_as_the_reference_does(self):
        found = self.quantized("--duo", "both", "--refine", 3)
        self.assertTrue(any(min(group["measured"]) < 1 for layer in found
                            for group in layer.values()))
        self.compare(found)

    def test_module_losses_are_the_reference_s(self):
        self.compare(self.quantized("--objective", "module", "--objective-tokens", 0, "--refine",
                                    2, "--duo", "on"), module=True)

    def test_the_module_objective_looks_at_the_first_tokens(self):
        self.compare(self.quantized("--objective", "module", "--objective-tokens",
                                    3 * LENGTH + 5), module=True, scored=3)

    def test_a_joint_clip_is_in_the_losses(self):
        self.compare(self.quantized("--clip", "joint"), shape="symmetric")

    def test_a_joint_asymmetric_clip_is_in_the_module_losses(self):
        self.compare(self.quantized("--clip", "joint", "--clip-shape", "asymmetric", "--objective",
                                    "module", "--objective-tokens", 0, steps=2),
                     module=True, shape="asymmetric", layers=(1,))


if __name__ == "__main__":
    unittest.main()
