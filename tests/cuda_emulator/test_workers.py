# SPDX-License-Identifier: MIT
"""Workers and their GPUs, on the emulated CUDA backend (AWQRUN is awqrun_emulated): who takes
which, who may share one, what is refused for lack of memory."""

import json
import re
import unittest

import numpy as np

from support import headers
from support.case import FAMILIES, Case, digest, read_json
from support.program import run

MODEL = FAMILIES / "llama3"
TILE = 96  # tokens: a sequence


class Workers(Case):
    def gpu_job(self, *options, gpus=1, ranks=1, env=None, **how):
        return self.quantize("--backend", "cuda", "--group-size", 32, "--alpha-steps", 2,
                             "--rounding", "nearest", "--clip", "off", "--transport", "mpi",
                             *options, model=MODEL,
                             tokens=self.family_tokens(), sequences=4, ranks=ranks,
                             env={"AWQ_EMULATOR_GPUS": str(gpus), **(env or {})}, **how)

    def test_workers_of_a_node_take_its_gpus_in_turn_and_give_the_bytes_of_one(self):
        two = self.succeeds(self.gpu_job("--verbose", gpus=2, ranks=3))
        self.assertRegex(two.err, r"worker=1 .*device='GPU 0, ")
        self.assertRegex(two.err, r"worker=2 .*device='GPU 1, ")
        one = self.folder / "one"
        self.succeeds(self.gpu_job(out=one))
        self.assertEqual(*({name: sha for name, sha in digest(out).items()
                            if name != "awqrun.h5"} for out in (self.out, one)))

    def test_a_worker_takes_the_gpu_that_it_may_see(self):
        result = self.succeeds(self.gpu_job("--verbose", gpus=4,
                                            env={"CUDA_VISIBLE_DEVICES": "3"}))
        self.assertIn("device='GPU 0, ", result.err)  # the first, as CUDA numbers those it shows

    def test_two_workers_on_one_gpu_are_refused_unless_they_are_told_to_share_it(self):
        self.fails_with(self.gpu_job(ranks=3),
                        r"workers 1 and 2 on \S+ would share GPU 0, .* \(GPU-0{8}-.*\); start one "
                        r"worker for each GPU, or give --share-gpu")
        self.nothing_looks_finished()
        alone = self.succeeds(self.gpu_job("--verbose", out=self.folder / "alone"))
        shared = self.succeeds(self.gpu_job("--share-gpu", "--stage-layers", 1, ranks=3))
        self.assertNotIn("error", shared.err)
        self.assertEqual(*({name: sha for name, sha in digest(out).items()
                            if name != "awqrun.h5"} for out in (self.out, self.folder / "alone")))
        self.assertIn("worker ready", alone.err)

    def test_tiles_between_stages_of_one_worker_stay_on_its_gpu_as_far_as_there_is_room(self):
        job = ("--stage-layers", 1, "--tile-tokens", TILE, "--keep-run", "--verbose")
        all_stay = self.succeeds(self.gpu_job(*job, env={"AWQ_EMULATOR_STREAMS": "late"}))
        self.assertIn("stay on the device places=4 tiles=4", all_stay.err)
        layer, fixed = map(int, re.search(r"layer_bytes=(\d+) fixed_bytes=(\d+)",
                                          all_stay.err).groups())
        tile = 4 * TILE * read_json(MODEL / "config.json")["hidden_size"]
        written = []
        for places in (0, 1):
            out = self.folder / f"places-{places}"
            result = self.succeeds(self.gpu_job(*job, "--device-memory",
                                                fixed + layer + places * tile, out=out))
            self.assertEqual(re.findall(r"stay on the device (.*)", result.err),
                             [f"places={places} tiles=4"] if places else [])
            written.append(out)
        whole = self.folder / "whole"
        self.assertNotIn("stay on", self.succeeds(self.gpu_job("--tile-tokens", TILE, "--verbose",
                                                               out=whole)).err)
        shards = {digest(out)["model.safetensors"] for out in (self.out, whole, *written)}
        self.assertEqual(len(shards), 1)
        boundaries = [[file.read_bytes() for file in sorted(out.glob(".awqrun/boundaries/*.h5"))]
                      for out in (self.out, *written)]
        self.assertTrue(boundaries[0])
        self.assertEqual(boundaries[0], boundaries[1])
        self.assertEqual(boundaries[0], boundaries[2])

    def test_a_percentage_is_of_what_a_shared_gpu_leaves_each(self):
        # 1.6 GB hold what a process takes and the layers; half of it does not
        small = {"AWQ_EMULATOR_MEMORY": "1600000000"}
        self.succeeds(self.gpu_job(env=small, out=self.folder / "alone"))
        self.fails_with(self.gpu_job("--share-gpu", ranks=3, env=small),
                        r"worker 1 \(.*\): one decoder layer needs .* GB, and the worker with the "
                        r"least memory may use 0\.72 GB")

    def test_without_a_gpu_auto_takes_the_cpu_and_says_why(self):
        none = {"CUDA_VISIBLE_DEVICES": ""}
        result = self.succeeds(self.quantize("--alpha-steps", 2, "--group-size", 32, model=MODEL,
                                             tokens=self.family_tokens(), sequences=2, env=none))
        self.assertIn("backend=cpu: the NVIDIA driver gives no GPU", result.err)
        self.fails_with(self.gpu_job("--restart", env=none),
                        r"the NVIDIA driver gives no GPU: .*; ask the scheduler for one, or check "
                        r"CUDA_VISIBLE_DEVICES, or run with --backend cpu")

    def test_auto_takes_the_gpu(self):
        result = self.succeeds(self.quantize("--alpha-steps", 0, "--group-size", 32, "--verbose",
                                             model=MODEL, tokens=self.family_tokens(),
                                             sequences=2))
        self.assertIn("device='GPU 0, ", result.err)

    def test_a_run_belongs_to_one_type_of_gpu(self):
        job = ("--stage-layers", 1, "--keep-run")
        stopped = self.gpu_job(*job, env={"AWQ_FAULT": "record-before-statistics:2"})
        self.assertNotEqual(stopped.code, 0)
        other = {"AWQ_EMULATOR_NAME": "another GPU"}
        self.fails_with(self.gpu_job(*job, env=other),
                        r'backend: "cuda on emulated on the CPU, scratch 128 MiB, cuBLAS [0-9.]+" '
                        r'in the earlier run, "cuda on another GPU, .*" now',
                        r"or --restart to discard it")
        self.succeeds(self.gpu_job(*job))
        verify = ("verify", self.out, "--model", MODEL, "--tokens", self.family_tokens(),
                  "--layer", 1)
        self.assertIn("layer 1 reproduced: 23 of 23", self.succeeds(run(*verify)).out)
        self.assertRegex(run(*verify, env=other).out,
                         "layer 1, by reproducing it: it was made by cuda on emulated on the "
                         "CPU, scratch .*, and here is cuda on another GPU, scratch ")

    def test_memory_that_is_not_there_is_named_with_what_to_lower(self):
        # another process takes it after the plan was made
        result = self.quantize("--backend", "cuda", sequences=16,
                               env={"AWQ_EMULATOR_TAKEN": str((4 << 30) - 48000000)})
        self.fails_with(result, r"no memory on GPU 0 for .+: 0\.\d\d GB are needed, 0\.\d\d of "
                                r"4\.29 GB are free; lower --device-memory, .* --tile-tokens")

    def test_a_plan_counts_on_what_others_leave_of_a_gpu(self):
        result = self.quantize("--backend", "cuda", "--device-memory", "8GB", sequences=16,
                               env={"AWQ_EMULATOR_MEMORY": "48000000"})
        self.assertIn("GPU 0, emulated on the CPU: 0.05 of 0.05 GB are free, less than the 8.00 GB "
                      "of --device-memory", result.err)
        self.fails_with(result, r"one decoder layer needs 1\.\d+ GB, .* may use 0\.05 GB")


class SeventyBillion(Case):
    """What the plan puts on a GPU, of a model that no machine here could hold."""

    def plan(self, gigabytes, workers):
        model = self.folder / "model"
        if not model.exists():
            headers.write(model, headers.LLAMA_70B)
        tokens = self.tokens(np.zeros((128, 512), np.int32))
        result = run("plan", "--model", model, "--tokens", tokens, "--backend", "cuda",
                     "--workers", workers, "--json",
                     env={"AWQ_EMULATOR_MEMORY": str(gigabytes * 10**9)})
        return json.loads(self.succeeds(result).out)

    def test_eight_gpus_of_80_gb_hold_ten_layers_each(self):
        stages = self.plan(80, 8)["stages"]
        self.assertEqual([stage["layers"] for stage in stages], [10] * 8)
        self.assertEqual([stage["worker"] for stage in stages], list(range(1, 9)))

    def test_one_gpu_of_24_gb_is_enough_for_three_layers_at_a_time(self):
        plan = self.plan(24, 1)
        self.assertEqual([stage["layers"] for stage in plan["stages"]], [3] * 26 + [2])
        self.assertLess(plan["memory"]["device_bytes"], 0.9 * 24e9)
        self.assertGreater(plan["memory"]["host_bytes"], 128 * 512 * 8192 * 4)  # a boundary


class Mixture(Case):
    """Qwen3-235B: 94 layers of 128 experts."""

    def plan(self, gigabytes, *options):
        model = self.folder / "model"
        if not model.exists():
            headers.write(model, headers.QWEN3_235B)
        tokens = self.tokens(np.zeros((128, 512), np.int32))
        result = run("plan", "--model", model, "--tokens", tokens, "--backend", "cuda", "--json",
                     *options, env={"AWQ_EMULATOR_MEMORY": str(gigabytes * 10**9)})
        return json.loads(self.succeeds(result).out)

    def test_one_gpu_holds_more_layers_the_more_memory_it_has(self):
        weights = 2 * (128 * 3 * 4096 * 1536 + 4096 * (2 * 8192 + 2 * 512 + 128))
        inputs = 128 * 512 * 4096 * 2
        held = []
        for gigabytes in (80, 141):
            plan = self.plan(gigabytes)
            memory = plan["memory"]
            # beside the weights: Gram matrices of three inputs, of 4096, 8192 and 4096 channels
            self.assertGreater(memory["layer_bytes"], weights + 2 * (2 * 4096**2 + 8192**2))
            self.assertLess(memory["layer_bytes"], 1.1 * weights)
            self.assertLess(memory["device_bytes"], 0.9e9 * gigabytes)
            held.append(max(stage["layers"] for stage in plan["stages"]))
            self.assertGreater(memory["host_bytes"], held[-1] * inputs)
        self.assertGreater(held[0], 8)
        self.assertGreater(held[1], 1.8 * held[0])

    def test_what_experts_read_goes_to_the_run_directory_beyond_the_memory_for_it(self):
        inputs = 128 * 512 * (4096 * 2 + 8 * 5)  # and the lists of who read it
        kept, least = (self.plan(80, "--inputs-memory", size) for size in ("16GB", 0))
        layers = max(stage["layers"] for stage in kept["stages"])
        self.assertEqual(kept["memory"]["host_bytes"] - least["memory"]["host_bytes"],
                         layers * inputs)
        self.assertEqual(least["disk"]["run_bytes"] - kept["disk"]["run_bytes"], layers * inputs)


if __name__ == "__main__":
    unittest.main()
