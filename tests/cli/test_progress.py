# SPDX-License-Identifier: MIT
"""What a person, a log file and a program see of a job that runs."""

import json
import os
import pty
import re
import select
import subprocess
import unittest

from support.case import DEMO, Case
from support.program import AWQRUN, ENVIRONMENT, SLOWER

# Some seconds, in several tiles and stages.
OPTIONS = ["--sequences", "32", "--alpha-steps", "30", "--stage-layers", "2"]


class Progress(Case):
    def command(self, *options):
        return [AWQRUN, "quantize", "--model", str(DEMO), "--tokens", str(DEMO / "calib.h5"),
                "--out", str(self.out), *OPTIONS, *options]

    def on_terminal(self, command):
        """What the command writes to a terminal of 80 columns."""
        control, terminal = pty.openpty()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=terminal, env={**os.environ, **ENVIRONMENT})
        os.close(terminal)
        written = b""
        while select.select([control], [], [], 120 * SLOWER)[0]:
            try:
                part = os.read(control, 65536)
            except OSError:  # the other end is closed
                break
            written += part
        os.close(control)
        self.assertEqual(process.wait(10), 0, written)
        return written.decode()

    def test_a_bar_fits_80_columns_and_is_gone_at_the_end(self):
        for launcher in ([], ["mpirun", "-n", "3"]):
            with self.subTest(launcher=launcher):
                written = self.on_terminal([*launcher, *self.command("--restart")])
                bars = re.findall(r"\r\x1b\[K(\[[#-]+\][^\r\n]+)", written)
                self.assertGreater(len(bars), 3, written)
                for bar in bars:
                    self.assertLess(len(bar), 80)
                    self.assertRegex(bar, r"^\[#*-*\] +\d+%  layers \d/4  stages \d/2  "
                                          r"tiles \d+/8  \d+ tok/s  left \S+$")
                shares = [int(re.search(r"(\d+)%", bar).group(1)) for bar in bars]
                self.assertEqual(shares, sorted(shares))
                self.assertTrue(written.rstrip("\r\n").endswith("\x1b[K")
                                or "\x1b[K" in written[written.rindex(bars[-1]):])

    def test_json_lines_are_all_that_is_logged(self):
        result = self.succeeds_with_json("-v")
        messages = [line["message"] for line in result]
        self.assertIn("quantizing", messages)
        layers = [line for line in result if line["message"] == "layer done"]
        self.assertEqual(sorted(line["layer"] for line in layers), [0, 1, 2, 3])
        for line in result:
            self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
            self.assertIn(line["level"], ("info", "verbose"))

    def succeeds_with_json(self, *options):
        process = subprocess.run(self.command("--log-json", *options), stdin=subprocess.DEVNULL,
                                 capture_output=True, text=True, check=False,
                                 timeout=120 * SLOWER, env={**os.environ, **ENVIRONMENT})
        self.assertEqual(process.returncode, 0, process.stderr)
        return [json.loads(line) for line in process.stderr.splitlines()]

    def test_quiet_says_nothing(self):
        process = subprocess.run(self.command("-q"), stdin=subprocess.DEVNULL, capture_output=True,
                                 text=True, check=True, timeout=120 * SLOWER,
                                 env={**os.environ, **ENVIRONMENT})
        self.assertEqual(process.stderr, "")


if __name__ == "__main__":
    unittest.main()
