# SPDX-License-Identifier: MIT
"""`awqrun plan` of the largest models of each family: their config.json as it was published and
their tensors' headers (tests/data/published.json, by data/models/make_published.py)."""

import json
import math
import unittest
from concurrent.futures import ThreadPoolExecutor

from support import headers
from support.case import DATA, DEMO, Case, read_json
from support.program import run

PUBLISHED = read_json(DATA / "published.json")


class Published(Case):
    def plan(self, name):
        model = PUBLISHED[name]
        tensors = headers.unfolded(model["tensors"])
        folder = self.folder / name.replace("/", "--")
        headers.write(folder, model["config"], tensors)
        result = run("plan", "--json", "--model", folder, "--tokens", DEMO / "calib.h5",
                     "--group-size", 32, "--device-memory", "400GB")
        return json.loads(self.succeeds(result).out), tensors

    def test_their_parameters_are_counted_and_those_that_they_are_known_by(self):
        def check(name):
            plan, tensors = self.plan(name)
            config = PUBLISHED[name]["config"]
            text = config.get("text_config", config)
            self.assertEqual(plan["model"]["layers"], text["num_hidden_layers"])
            self.assertEqual(plan["model"]["parameters"], sum(map(math.prod, tensors.values())))
            known = PUBLISHED[name]["parameters"]
            self.assertLess(abs(plan["model"]["parameters"] / known - 1), 0.01)
        with ThreadPoolExecutor(2) as pool:
            for name, future in [(name, pool.submit(check, name)) for name in PUBLISHED]:
                with self.subTest(model=name):
                    future.result()


if __name__ == "__main__":
    unittest.main()
