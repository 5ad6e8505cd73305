# SPDX-License-Identifier: MIT
"""An error on one rank ends all ranks within seconds, in one line that names the worker."""

import unittest

from support.case import DEMO, Case, read_json
from support.program import SLOWER, run


class Errors(Case):
    SECONDS = 15  # less than two on an idle machine

    def ends(self, result, *patterns):
        self.fails_with(result, *patterns)
        self.assertLess(result.lingered, self.SECONDS * SLOWER, result)
        self.assertEqual(result.out, "")
        self.nothing_looks_finished()

    def test_damaged_weights_name_the_worker_that_read_them(self):
        layers = {"model.layers.0.mlp.up_proj.weight": "worker 1",
                  "model.layers.3.mlp.up_proj.weight": "worker [1-4]"}
        for tensor, worker in layers.items():
            for ranks, stage_layers in ((2, 1), (3, 1), (5, 0)):
                with self.subTest(tensor=tensor, ranks=ranks, stage_layers=stage_layers):
                    self.doCleanups()
                    self.setUp()
                    model = self.with_value(tensor, 5, 6, float("nan"))
                    self.ends(self.quantize("--stage-layers", stage_layers, model=model,
                                            ranks=ranks, sequences=16),
                              f"^{worker} \\(.*\\): layer \\d: '{tensor}' holds nan at row 5, "
                              "column 6")

    def test_the_first_layers_stay_done_and_are_not_done_again(self):
        model = self.with_value("model.layers.3.mlp.up_proj.weight", 5, 6, float("nan"))
        result = self.quantize("--stage-layers", 1, "--alpha-steps", 4, model=model, ranks=2,
                               sequences=2)
        self.ends(result, "layer 3: ")
        self.assertIn("3 of 4 layers are done and kept", result.err)
        self.assertEqual(read_json(self.out / ".awqrun" / "status.json")["state"], "failed")
        again = self.quantize("--stage-layers", 1, "--alpha-steps", 4, model=model, ranks=3,
                              sequences=2)
        self.assertRegex(again.err, "quantizing layers=4 done=3")

    def test_eval_ends_too(self):
        model = self.with_value("model.layers.3.mlp.up_proj.weight", 5, 6, float("nan"))
        result = run("eval", "--model", model, "--tokens", DEMO / "eval.h5", "--stage-layers", 1,
                     "--sequences", 16, ranks=3)
        self.ends(result, "^worker \\d \\(.*\\): layer 3: 'model.layers.3.mlp.up_proj.weight'")


if __name__ == "__main__":
    unittest.main()
