# SPDX-License-Identifier: MIT
"""The bench itself, on a model that takes a second. Nothing here depends on how fast it is."""

import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

from bench import layer_work

BENCH = pathlib.Path(__file__).with_name("layer_bench.py")
BUILD = os.environ.get("AWQ_BUILD_DIR", "build/release")
SANITIZED = os.environ.get("AWQ_TEST_SLOWER", "1") != "1"  # which multiplies memory
PHASES = ("read", "forward", "gram", "search", "clip", "feedback", "pack", "write")


EMULATED = pathlib.Path(BUILD) / "tests" / "cuda_emulator" / "machine_rate_emulated"


# What nvidia-smi prints: MiB of each of two GPUs, once or again and again.
NVIDIA_SMI = """#!/bin/sh
echo 100; echo 7
case $* in *-lms*) echo 300; echo 57; echo 120; echo 7; exec sleep 100;; esac
"""


def bench(*arguments, check=() if SANITIZED else ("--check-memory",), tools=None):
    """What it prints, for four sequences of a tiny model of two layers."""
    environment = {name: value for name, value in os.environ.items()
                   if name != "CUDA_VISIBLE_DEVICES"}  # of the tests, which are to see no GPU
    if tools:
        environment["PATH"] = f"{tools}:{environment['PATH']}"
    run = subprocess.run([sys.executable, "-B", BENCH, "--build", BUILD, "--preset", "tiny",
                          "--sequences", "4", *check, *arguments], env=environment,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if run.returncode:
        raise AssertionError(run.stdout + run.stderr)
    return run.stdout


class LayerBench(unittest.TestCase):
    def test_prints_every_phase_and_the_arithmetic_that_the_plan_says(self):
        printed = bench("--threads", "2", "--", "--alpha-steps", "4", "--rounding", "feedback",
                        "--search", "exhaustive")
        rows = dict(re.findall(r"^(\w+) +[\d.]+ +[\d.]+ +([\d.]+) +[\d.]+ +\d+%$", printed,
                               re.MULTILINE))
        self.assertEqual(set(rows), set(PHASES), printed)
        planned = float(re.search(r"^arithmetic ([\d.e-]+) TFLOP", printed, re.MULTILINE)[1])
        counted = sum(float(rows[phase]) for phase in PHASES if phase not in ("read", "write"))
        self.assertAlmostEqual(2e-3 * counted / planned, 1, delta=0.002, msg=printed)

    @unittest.skipUnless(EMULATED.exists(), "the CUDA backend is not emulated in this build")
    def test_a_gpus_phases_are_beside_its_own_products_and_its_peak_is_nvidia_smis(self):
        with tempfile.TemporaryDirectory() as tools:
            tool = pathlib.Path(tools) / "nvidia-smi"
            tool.write_text(NVIDIA_SMI)
            tool.chmod(0o755)
            printed = bench("--emulated", "--backend", "cuda", "--preset", "micro", "--layers", "1",
                            "--sequences", "2", "--length", "32", "--", "--alpha-steps", "1",
                            "--group-size", "64", check=(), tools=tools)
        self.assertEqual(set(re.findall(r"^(\w+) +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ +\d+%$", printed,
                                        re.MULTILINE)), set(PHASES), printed)
        self.assertRegex(printed, r"(?m)^GPU before +GEMM [\d.]+ GFLOP/s")
        self.assertRegex(printed, r"TFLOP +TFLOP/s +of GEMM")
        self.assertRegex(printed, r"(?m)^GPU +[\d.]+ +262\.1 ")  # 250 MiB

    def test_the_merges_rate_is_beside_that_of_cp(self):
        run = subprocess.run([sys.executable, "-B", BENCH.with_name("merge_bench.py"), "--build",
                              BUILD, "--preset", "tiny", "--layers", "2", "--times", "2"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(run.returncode, 0, run.stderr)
        rate = r" +[\d.]+ +[\d.]+   [\d.]+ [\d.]+\n"
        self.assertRegex(run.stdout, f"merge{rate}cp{rate}cp and sync{rate}"
                                     r"merge is \d+ % of cp and sync\n")

    def test_without_a_gpu_one_sentence_says_so(self):
        run = subprocess.run([pathlib.Path(BUILD) / "tests" / "bench" / "machine_rate", "1",
                              __file__, "cuda"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, check=False, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
        self.assertEqual((run.returncode, run.stdout), (1, ""))
        self.assertRegex(run.stderr, r"^machine_rate: .*(GPU|driver|no backend 'cuda').*\n$")

    def refused(self, *arguments):
        """The one line that it says."""
        run = subprocess.run([sys.executable, "-B", BENCH, "--build", BUILD, "--preset", "micro",
                              "--memory-only", "--layers", "1", "--sequences", "1", *arguments],
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                             check=False)
        self.assertEqual(run.returncode, 1, run.stderr)
        self.assertEqual(len(run.stderr.splitlines()), 1, run.stderr)
        return run.stderr

    def test_an_error_of_awqrun_is_one_line(self):
        self.assertRegex(self.refused("--", "--group-size", "7"), "^layer_bench: awqrun: error: ")

    def test_a_run_that_takes_too_long_is_ended(self):
        self.assertRegex(self.refused("--timeout", "0.01", "--", "--group-size", "64"),
                         "still running after 0.01 s")  # not one that is refused by then

    def test_a_checkpoint_has_the_same_bytes_on_any_number_of_cores(self):
        with tempfile.TemporaryDirectory() as folder:
            sums = set()
            allowed = sorted(os.sched_getaffinity(0))
            if len(allowed) < 2:
                self.skipTest("there is one core here")
            for cores in (str(allowed[0]), ",".join(map(str, allowed))):
                model = pathlib.Path(folder) / str(len(cores))
                model.mkdir()
                (model / "config.json").write_text(json.dumps(layer_work.config_of("tiny", 1)))
                subprocess.run(["taskset", "-c", cores,
                                pathlib.Path(BUILD) / "tests" / "bench" / "make_checkpoint", model,
                                "1", "8"], check=True)
                sums.add(hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest())
        self.assertEqual(len(sums), 1)

    def test_the_memory_of_two_workers_and_more_stages_is_as_planned(self):
        printed = bench("--memory-only", "--workers", "2", "--layers", "3", "--threads", "1",
                        "--stage-layers", "1", "--", "--alpha-steps", "1", "--clip", "off")
        self.assertEqual(len(re.findall(r"^[12] +[\d.]+ +[\d.]+ +-?[\d.]+%$", printed,
                                        re.MULTILINE)), 2, printed)

    def test_the_memory_of_error_feedback_is_as_planned(self):
        bench("--memory-only", "--", "--alpha-steps", "1", "--rounding", "feedback")

    def test_the_memory_of_the_module_objective_is_as_planned(self):
        bench("--memory-only", "--layers", "3", "--", "--alpha-steps", "1", "--clip", "off",
              "--objective", "module", "--objective-tokens", "0")

    @unittest.skipIf(SANITIZED, "sanitizers multiply memory")
    def test_the_memory_of_five_hundred_experts_is_as_planned(self):
        """Not that of all their Gram matrices, which would be 143 MB a layer more; and of a layer
        in three parts that of one, which the plan alone says."""
        shape = ("--preset", "experts", "--memory-only", "--sequences", "8", "--length", "256")
        few = ("--alpha-steps", "1", "--clip", "off", "--group-size", "64", "--rounding", "nearest")
        whole = bench(*shape, "--", *few)
        self.assertLess(float(re.search(r"^1 +[\d.]+ +([\d.]+)", whole, re.MULTILINE)[1]), 420)
        parts = bench(*shape, "--workers", "3", "--layers", "3", "--threads", "1", "--", *few,
                      "--expert-parts", "3", check=())
        planned = float(re.search(r"^memory +([\d.]+) MB", parts, re.MULTILINE)[1])
        peak = max(map(float, re.findall(r"^[123] +[\d.]+ +([\d.]+)", parts, re.MULTILINE)))
        self.assertLess(0.8 * peak, planned, parts)
        self.assertLess(planned, 1.2 * peak + 64, parts)

    def test_the_memory_of_an_evaluation_is_as_planned(self):
        bench("--memory-only", "--eval", "--against")


if __name__ == "__main__":
    unittest.main()
