# SPDX-License-Identifier: MIT
"""Jobs whose layers are in parts, killed and stopped in the middle of one: they are resumed in
other parts, by other ranks, to the same bytes."""

import os
import random
import shutil
import signal
import time
import unittest

import h5py
import numpy as np

from support.case import EXPERTS, read_json
from support.faults import FaultCase
from support.program import SLOWER, run

TOKENS = np.array(read_json(EXPERTS / "expected.json")["tokens"], np.int32)
KILLS, STOPS = 12, 6


class Parts(FaultCase):
    """A job of a second or two, most of it search."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with h5py.File(cls.base / "tokens.h5", "w") as file:
            file["input_ids"] = np.tile(TOKENS, (16, 1))
        cls.options = ["quantize", "--model", EXPERTS / "qwen3_moe", "--tokens",
                       cls.base / "tokens.h5", "--group-size", 32, "--tile-tokens", 400,
                       "--alpha-steps", 1000, "--duo", "both", "--refine", 50, "--backend", "cpu"]

    def layers_are_whole(self, also=""):
        """What is in the run directory is whole layers, in pairs, whatever parts they were in."""
        for path in self.out.glob(".awqrun/layers/*"):
            self.assertRegex(path.name, rf"^(\d{{5}}\.(h5|safetensors){also})$")

    def clear_if_complete(self):
        if (self.out / "config.json").exists():
            self.succeeds(self.job())  # clears away what a kill at the very end left
            self.same_bytes()
            shutil.rmtree(self.out)

    def test_a_worker_killed_in_the_middle_leaves_whole_layers_or_none(self):
        seed = int(os.environ.get("AWQ_SEED", random.randrange(10**6)))
        dice, met = random.Random(seed), 0
        print(f"seed {seed}", flush=True)
        while met < KILLS:
            ranks, parts = dice.choice([(3, 2), (5, 2), (5, 4), (4, 3)])
            started = self.start("--expert-parts", parts, ranks=ranks)
            started.wait_for(self.runs)
            time.sleep(dice.uniform(0, 1.5) * SLOWER)
            processes = started.ranks()
            if started.process.poll() is None and len(processes) == ranks:
                os.kill(processes[dice.randrange(1, ranks)], signal.SIGKILL)
                met += 1
            code, out, err = started.finish()
            self.assertTrue(code == 0 or "awqrun: error: " not in err or "was lost" in err,
                            f"seed {seed}: {out}{err}")
            self.layers_are_whole(also=r"|.*\.tmp")
            self.clear_if_complete()
        self.resumes(dice.choice([1, 2, 3]))

    def test_kills_at_named_points_are_resumed_in_other_parts(self):
        for point, nth, ranks, parts, again in (("safetensors-append", 5, 3, 2, (5, 3)),
                                                ("record-before-statistics", 1, 5, 4, (1, 1)),
                                                ("publish-before-rename", 3, 3, 2, (2, 1))):
            with self.subTest(point=point):
                result = self.job("--expert-parts", parts, ranks=ranks,
                                  env={"AWQ_FAULT": f"{point}:{nth}"})
                self.assertNotEqual(result.code, 0, "was not killed")
                self.resumes(again[0], how=("--expert-parts", again[1]))
                self.succeeds(run("verify", self.out))
                shutil.rmtree(self.out)

    def test_a_layer_is_finished_by_all_of_its_parts_or_by_none(self):
        """Stopped gracefully at any moment, it ends soon, and nothing is left in halves."""
        dice, stopped = random.Random(7), 0
        while stopped < STOPS:
            started = self.start("--expert-parts", 2, ranks=4)
            started.wait_for(self.runs)
            time.sleep(dice.uniform(0, 1.2) * SLOWER)
            if started.process.poll() is None:
                os.kill(started.process.pid, signal.SIGUSR1)
            begin = time.monotonic()
            code, _, err = started.finish()
            self.assertIn(code, (0, 75), err)
            self.assertLess(time.monotonic() - begin, 20 * SLOWER, err)
            self.assertNotIn("awqrun: error: ", err)
            self.layers_are_whole()
            stopped += code == 75
            self.clear_if_complete()
        self.resumes(3, how=("--expert-parts", 1))


if __name__ == "__main__":
    unittest.main()
