# SPDX-License-Identifier: MIT
"""run.sh itself: limits, failures and what is not run, with programs that only pretend."""

import os
import pathlib
import subprocess
import tempfile
import unittest

RUN = pathlib.Path(__file__).with_name("run.sh")
GPU = "#!/bin/sh\necho 'GPU 0     pretended'\n"
NO_GPU = "#!/bin/sh\necho 'GPU       none: no driver is loaded here'\n"


class Run(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.build = pathlib.Path(folder.name)

    def program(self, name, script):
        path = self.build / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)

    def run_steps(self, *arguments, code):
        """{step: its line}"""
        done = subprocess.run([RUN, "--build", self.build, "--logs", self.build / "logs",
                               *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False, env={**os.environ, "TMPDIR": str(self.build)})
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        lines = (self.build / "logs/summary.txt").read_text().splitlines()[1:]
        return {line.split()[0]: line for line in lines}

    def test_without_a_gpu_each_step_says_why_and_the_status_is_1(self):
        self.program("bin/awqrun", NO_GPU)
        lines = self.run_steps(code=1)
        self.assertEqual(len(lines), 11)
        self.assertRegex(lines.pop("smoke"), "FAIL ")
        for line in lines.values():
            self.assertRegex(line, "NOT RUN +no GPU: none: no driver is loaded here$")

    def test_a_step_that_fails_or_hangs_does_not_end_the_others(self):
        self.program("bin/awqrun", GPU)
        self.program("tests/gpu/gpu_probe", "#!/bin/sh\necho BAD; exit 3\n")
        self.program("tests/unit/layers/layers_accuracy", "#!/bin/sh\necho well\n")
        self.program("tests/unit/layers/layers_fold_check", "#!/bin/sh\necho well\n")
        self.program("tests/gpu/nccl_self", "#!/bin/sh\necho waiting; exec sleep 100\n")
        lines = self.run_steps("--seconds", "16", "probe", "accuracy", "nccl_self", "ptx", code=1)
        self.assertRegex(lines["probe"], "FAIL +BAD$")
        self.assertRegex(lines["accuracy"], "pass +2 programs passed$")
        self.assertRegex(lines["nccl_self"], "TOO LONG +waiting$")
        self.assertRegex(lines["ptx"], "NOT RUN +no time")

    def test_a_program_that_skips_the_gpu_has_failed(self):
        self.program("bin/awqrun", GPU)
        self.program("tests/unit/kernels/kernels_some", "#!/bin/sh\necho cuda does not open here\n")
        self.program("tests/unit/kernels/kernels_cpu", "#!/bin/sh\nexit 1\n")
        lines = self.run_steps("conformance", code=1)
        self.assertRegex(lines["conformance"], "FAIL +FAILED: 1 of 1: kernels_some$")

    def test_what_lacks_a_tool_is_not_run_and_is_no_failure(self):
        self.program("bin/awqrun", GPU)
        lines = self.run_steps("nccl_self", "ptx", code=0)
        self.assertRegex(lines["nccl_self"], "NOT RUN +this build has no NCCL$")

    def test_a_step_that_is_not_known_is_refused(self):
        self.program("bin/awqrun", GPU)
        done = subprocess.run([RUN, "--build", self.build, "smokes"], capture_output=True,
                              text=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("usage: ", done.stderr)


if __name__ == "__main__":
    unittest.main()
