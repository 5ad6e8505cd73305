# SPDX-License-Identifier: MIT
"""What `awqrun plan` says, as JSON too; job files."""

import json
import unittest

from support.case import DEMO, Case
from support.program import ROOT, run


class Plan(Case):
    def plan(self, *options, **how):
        return run("plan", "--model", DEMO, "--tokens", DEMO / "calib.h5", *options, **how)

    def json(self, *options):
        return json.loads(self.succeeds(self.plan("--json", *options)).out)

    def test_json_has_what_the_text_has(self):
        plan = self.json("--sequences", 64, "--workers", 2, "--out", self.out)
        self.assertEqual(plan["model"], {"path": str(DEMO), "family": "llama", "layers": 4,
                                         "parameters": 3672320, "bytes": 7344640,
                                         "weights": "BF16"})
        self.assertEqual(plan["tokens"]["tiles"], 8)
        self.assertEqual(plan["stages"], [{"first": 0, "layers": 2, "worker": 1},
                                          {"first": 2, "layers": 2, "worker": 2}])
        self.assertEqual(plan["network_bytes"], 64 * 512 * 256 * 4)
        self.assertGreater(plan["disk"]["free_bytes"], plan["disk"]["checkpoint_bytes"])
        self.assertEqual(plan["memory"]["host_bytes"],
                         plan["memory"]["fixed_bytes"] + 2 * plan["memory"]["layer_bytes"])
        estimate = plan["estimate"]
        self.assertAlmostEqual(estimate["seconds"],
                               estimate["compute_seconds"] + estimate["storage_seconds"])

    def test_the_checkpoint_is_as_large_as_planned(self):
        planned = self.json("--sequences", 2)["disk"]["checkpoint_bytes"]
        self.succeeds(self.quantize(sequences=2))
        shards = sum(path.stat().st_size for path in self.out.glob("*.safetensors"))
        self.assertAlmostEqual(planned / shards, 1, delta=0.12)  # a small model: headers count

    def test_more_workers_take_less_time(self):
        one, two = (self.json("--workers", n)["estimate"]["compute_seconds"] for n in (1, 2))
        self.assertGreater(one / two, 1.5)
        self.assertLess(one / two, 2)

    def test_the_served_model_grows_with_context_and_batch(self):
        def cache(*options):
            return self.json(*options)["serving"]["kv_cache_bytes"]
        self.assertEqual(cache("--context", 512), 4 * 2 * 2 * 512 * 2 * 64)
        self.assertEqual(cache("--context", 512, "--batch", 3), 3 * cache("--context", 512))

    def test_it_says_where_engines_load_it_and_which_groups_would(self):
        # o reads 256 channels, down 768: on 8 GPUs 32 and 96 each, no whole groups of 64
        engines = {row.pop("format"): row for row in self.json("--group-size", 64)
                   ["serving"]["engines"]}
        self.assertEqual(engines["gemm"], {"vllm": [1, 2, 4], "sglang": [1, 2, 4],
                                           "advised_group_size": 32})
        out = self.succeeds(self.plan("--format", "gemv")).out
        self.assertRegex(out, r"(?m)^loads as   gemv in neither vLLM nor SGLang$")
        self.assertRegex(out, r"(?m)^ {11}compressed-tensors at tensor parallel 1")

    def test_text_names_the_gpus(self):
        out = self.succeeds(self.plan()).out
        self.assertRegex(out, r"(?m)^served +2\.95 MB of weights, .* \(context 1024, batch 1\)$")
        self.assertRegex(out, r"(?m)^ +held by 1 x 16 GB \(T4")
        self.assertRegex(out, r"(?m)^estimate +\S+ of arithmetic, at .* TFLOP/s for each of 1")


class JobFile(Case):
    def job_file(self, *lines):
        path = self.folder / "a.job"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    def test_a_job_runs_from_its_file_and_flags_win(self):
        path = self.job_file(f"model = {DEMO}", f"tokens = {DEMO / 'calib.h5'}", "sequences = 2",
                             f"out = {self.folder / 'other'}", "alpha-steps = 2")
        self.succeeds(run("quantize", "--out", self.out, "--job", path))
        self.assertTrue((self.out / "config.json").exists())
        self.assertFalse((self.folder / "other").exists())
        same = self.quantize("--alpha-steps", 2, sequences=2)
        self.assertIn("complete already", self.succeeds(same).out)

    def test_a_printed_job_is_the_same_job(self):
        path = self.job_file("model = tests", "tokens = calib.h5 # of today", "out = 'a b'",
                             "skip-nothing = 1")
        self.assertEqual(run("plan", "--job", path).code, 2)
        path = self.job_file("model = tests", "tokens = calib.h5 # of today", "out = a b",
                             "group-size = 64")
        first = self.succeeds(run("plan", "--job", path, "--print-job", cwd=ROOT)).out
        self.assertIn(f"model = {ROOT}/tests\n", first)
        self.assertIn("group-size = 64\n", first)
        path.write_text(first)
        self.assertEqual(run("plan", "--job", path, "--print-job").out, first)

    def test_all_its_problems_are_named(self):
        path = self.job_file("modell = x", "bits = 99")
        result = run("quantize", "--job", path, ranks=3)
        self.assertEqual(result.code, 2)
        self.assertEqual(result.errors, [
            f"'{path}' line 1: unknown option 'modell', did you mean 'model'?",
            f"'{path}' line 2: --bits must be between 3 and 8, not '99'"])


if __name__ == "__main__":
    unittest.main()
