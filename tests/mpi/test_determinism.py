# SPDX-License-Identifier: MIT
"""The output is a function of model, tokens and options: not of ranks, threads or stages."""

import unittest

from support import random_model
from support.case import DEMO, Case, digest
from support.statistics import statistics

SEQUENCES = 10
COMMON = ("--sequences", SEQUENCES, "--tile-tokens", 1024, "--max-shard-size", "900kB")

# ranks, --threads, --stage-layers: each value of each with each other at least once; four layers,
# so there are more stages than workers and more workers than layers.
RUNS = [(1, 2, 1), (2, 1, 2), (2, 2, 1), (3, 1, 1), (3, 2, 0), (3, 1, 2), (5, 1, 0), (5, 2, 1),
        (6, 1, 0), (1, 1, 2)]


class Determinism(Case):
    def make(self, ranks, threads, stage_layers, *more, steps=8):
        out = self.folder / f"out-{ranks}-{threads}-{stage_layers}"
        result = self.succeeds(self.quantize(*COMMON, "--threads", threads, "--stage-layers",
                                             stage_layers, "--alpha-steps", steps, *more, out=out,
                                             ranks=ranks))
        files = digest(out)
        del files["awqrun.h5"]
        return result, files, statistics(out / "awqrun.h5")

    def test_the_bytes_do_not_depend_on_ranks_threads_or_stages(self):
        first, files, record = self.make(1, 1, 0)
        self.assertRegex(first.err, "sequences=10 length=512")
        self.assertGreater(len([name for name in files if name.startswith("model-")]), 2)
        self.assertGreater(len(record), 4 * 4 * 5)
        for run in RUNS:
            with self.subTest(ranks=run[0], threads=run[1], stage_layers=run[2]):
                _, ours, statistics_of_ours = self.make(*run)
                self.assertEqual(ours, files)
                self.assertEqual(statistics_of_ours, record)

    def test_nor_do_those_of_all_that_a_search_can_do(self):
        """Two tiles of two sequences are scored, in stages that keep them for each layer."""
        options = ("--objective", "module", "--objective-tokens", 3 * 512, "--clip", "joint",
                   "--clip-shape", "asymmetric", "--duo", "both", "--refine", 1, "--group-size",
                   64)
        _, files, record = self.make(1, 2, 0, *options, steps=1)
        for run in ((1, 1, 1), (3, 1, 2)):
            with self.subTest(ranks=run[0], threads=run[1], stage_layers=run[2]):
                _, ours, statistics_of_ours = self.make(*run, *options, steps=1)
                self.assertEqual(ours, files)
                self.assertEqual(statistics_of_ours, record)

    def test_the_tile_size_is_part_of_the_job(self):
        _, _, one = self.make(1, 1, 0)
        _, _, other = self.make(2, 2, 1, "--tile-tokens", 512 * SEQUENCES)
        self.assertEqual({name for name in one if "loss" in name},
                         {name for name in other if "loss" in name})
        self.assertNotEqual(one["@job"], other["@job"])


class Travelling(Case):
    """Keys and values that later layers read, and what each layer is given of a token, travel with
    the tiles: six layers, of which the last three read those of the second and the third."""

    def setUp(self):
        super().setUp()
        self.model = random_model.write(self.folder / "model",
                                        random_model.described()["gemma4_text-shared"])
        self.all_tokens = self.family_tokens()

    def make(self, name, *options, ranks=1, stage_layers=0):
        out = self.folder / name
        self.succeeds(self.quantize("--sequences", 7, "--tile-tokens", 2 * 96, "--group-size", 32,
                                    "--alpha-steps", 4, "--stage-layers", stage_layers, *options,
                                    model=self.model, tokens=self.all_tokens, out=out,
                                    ranks=ranks))
        return digest(out)["model.safetensors"], statistics(out / "awqrun.h5")

    def test_what_travels_is_the_same_on_any_ranks_and_stages(self):
        # of three kept sequences one is in a tile of its own
        for name, options in (("linear", ()), ("module", ("--objective", "module",
                                                         "--objective-tokens", 3 * 96))):
            expected = self.make(name, *options)
            for ranks, stage_layers in ((1, 1), (2, 2), (3, 1), (5, 0)):
                with self.subTest(objective=name, ranks=ranks, stage_layers=stage_layers):
                    self.assertEqual(expected, self.make(f"{name}-{ranks}", *options, ranks=ranks,
                                                         stage_layers=stage_layers))


class Evaluation(Case):
    def test_perplexity_and_divergence_are_the_same_bit_for_bit(self):
        self.succeeds(self.quantize("--sequences", 2, "--alpha-steps", 2, "--clip", "off"))
        for model, options in ((DEMO, ()), (self.out, ("--against", DEMO))):
            alone = self.evaluate(model, "--sequences", 6, "--tile-tokens", 1024, *options)
            for ranks, threads, stage_layers in ((2, 2, 1), (3, 1, 1), (5, 1, 0), (3, 1, 3)):
                with self.subTest(model=model.name, ranks=ranks, stage_layers=stage_layers):
                    found = self.evaluate(model, "--sequences", 6, "--tile-tokens", 1024,
                                          "--threads", threads, "--stage-layers", stage_layers,
                                          *options, ranks=ranks)
                    self.assertEqual(found, alone)


if __name__ == "__main__":
    unittest.main()
