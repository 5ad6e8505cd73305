# SPDX-License-Identifier: MIT
"""Which kernels of OpenBLAS compute: the best that the processor has, whatever OpenBLAS thinks of
its model; named wherever bytes are, and kept by a run that is resumed."""

import json
import os
import pathlib
import platform
import re
import subprocess
import unittest

from support.case import DEMO, Case, digest
from support.program import AWQRUN, ENVIRONMENT, run
from support.statistics import statistics

UNSET = {"OPENBLAS_CORETYPE": "", "OPENBLAS_L2_SIZE": ""}
JOB = ("--sequences", 4, "--alpha-steps", 2, "--stage-layers", 1)


def flags():
    """What the kernel says that all processors here can do."""
    if platform.machine() != "x86_64":
        return set()
    lines = re.findall(r"^flags\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return set.intersection(*(set(line.split()) for line in lines))


def best():
    if {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl", "fma"} <= flags():
        return "SkylakeX"
    return "Haswell" if {"avx2", "fma"} <= flags() else None


BEST = best()


def versions(**environment):
    return json.loads(run("version", "--json", env={**UNSET, **environment}).out)


@unittest.skipUnless(BEST, "a processor without AVX2: OpenBLAS chooses by itself")
class Processor(Case):
    def job(self, core, *more, out=None):
        return self.succeeds(self.quantize(*JOB, *more, out=out or self.out,
                                           env={**UNSET, "OPENBLAS_CORETYPE": core}))

    def kind(self, out):
        """Which backend and kernels made a checkpoint."""
        return json.loads(statistics(out / "awqrun.h5")["@job"])["backend"]

    def test_version_names_the_kernels_that_would_compute(self):
        found = versions()
        self.assertRegex(found["OpenBLAS"], rf"^\d[\d.]+, {BEST} kernels$")
        self.assertNotIn("warning", found)
        self.assertIn(f", {BEST} kernels\n", run("version", env=UNSET).out)

    def test_kernels_below_the_processors_are_warned_of(self):
        found = versions(OPENBLAS_CORETYPE="Prescott")
        self.assertRegex(found["OpenBLAS"], ", Prescott kernels$")
        self.assertRegex(found["warning"], f"Prescott.*{BEST}: OPENBLAS_CORETYPE is set")
        result = self.job("Prescott")
        self.assertEqual(result.err.count("warning: OpenBLAS runs its Prescott kernels"), 1)

    def test_they_give_the_bytes_that_they_give_when_asked_for_by_name(self):
        made = {}
        for core in ("", BEST):
            out = self.folder / f"out-{core}"
            result = self.job(core, out=out)
            self.assertRegex(result.err, rf"backend='cpu on OpenBLAS \d[\d.]+ {BEST}'")
            self.assertRegex(self.kind(out), f" {BEST}$")
            made[core] = digest(out)
            del made[core]["awqrun.h5"]
        self.assertEqual(made[""], made[BEST])

    def test_a_run_resumes_with_the_kernels_that_it_was_begun_with(self):
        self.job("Haswell", "--keep-run")
        before = digest(self.out)
        (self.out / "config.json").unlink()
        for path in (self.out / ".awqrun/layers").glob("00002.*"):
            path.unlink()
        result = self.job("", "--keep-run")
        self.assertRegex(result.err, r"done=3 .* backend='cpu on OpenBLAS \d[\d.]+ Haswell'")
        after = digest(self.out)
        for name in before:
            if name.endswith(".safetensors"):
                self.assertEqual(before[name], after[name], name)

    def test_a_run_is_not_resumed_by_other_kernels(self):
        self.job(BEST, "--keep-run")
        (self.out / "config.json").unlink()
        self.fails_with(self.quantize(*JOB, "--keep-run", out=self.out,
                                      env={**UNSET, "OPENBLAS_CORETYPE": "Prescott"}),
                        rf'backend: "cpu on OpenBLAS \S+ {BEST}" in the earlier run, '
                        r'"cpu on OpenBLAS \S+ Prescott" now', "holds the run of another job")

    def test_a_layer_is_reproduced_by_the_kernels_that_made_it(self):
        self.job("Haswell")
        source = ("--model", DEMO, "--tokens", DEMO / "calib.h5", "--layer", 1)
        result = self.succeeds(run("verify", self.out, *source, env=UNSET))
        self.assertRegex(result.out, "layer 1 reproduced: .* the same bytes")
        result = self.succeeds(run("verify", self.out, *source,
                                   env={**UNSET, "OPENBLAS_CORETYPE": "Prescott"}))
        self.assertRegex(result.out, "not checked: layer 1.*Haswell, and here is .*Prescott")

    def test_workers_that_would_give_other_bytes_are_refused(self):
        quantize = [AWQRUN, "quantize", "--model", DEMO, "--tokens", DEMO / "calib.h5", "--out",
                    self.out]
        done = subprocess.run(
            [str(word) for word in ("mpirun", "-n", 2, *quantize, ":", "-n", 1, "env",
                                    "OPENBLAS_CORETYPE=Prescott", *quantize)],
            env={**os.environ, **ENVIRONMENT, **UNSET}, capture_output=True, text=True, timeout=60,
            check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, rf"worker 1 on \S+ computes by cpu on OpenBLAS \S+ {BEST} "
                         r"and worker 2 on \S+ by cpu on OpenBLAS \S+ Prescott, which do not give")


if __name__ == "__main__":
    unittest.main()
