# SPDX-License-Identifier: MIT
"""Signals and time limits: stop gracefully, exit 75, resume."""

import os
import signal
import time

from support.faults import LONG, FaultCase
from support.program import SLOWER, run


class Signals(FaultCase):
    def test_usr1_finishes_the_layers_in_search_and_exits_75(self):
        started = self.start(*LONG, ranks=3)
        self.assertTrue(started.wait_for(lambda: self.layers_done() >= 1))
        os.kill(started.process.pid, signal.SIGUSR1)
        code, _, err = started.finish()
        self.assertEqual(code, 75, err)
        self.assertRegex(err, r"awqrun: interrupted by a signal; finishing the layers")
        self.assertRegex(err, r"awqrun: \d of 4 layers are done and kept in '.*'; run the same")
        self.assertFalse((self.out / "config.json").exists())
        self.assertRegex(run("status", self.out).out, r"interrupted, \d of 4 layers done")
        self.resumes(2, LONG)

    def test_term_and_int_to_a_single_rank_exit_75(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            started = self.start(*LONG, ranks=1)
            self.assertTrue(started.wait_for(self.runs))
            os.kill(started.process.pid, number)
            code, _, err = started.finish()
            self.assertEqual(code, 75, err)
        self.resumes(options=LONG)

    def test_int_to_mpirun_leaves_a_run_that_is_resumed(self):
        started = self.start(*LONG, ranks=3)
        self.assertTrue(started.wait_for(self.runs))
        os.kill(started.process.pid, signal.SIGINT)
        code, _, err = started.finish()
        self.assertNotEqual(code, 0)
        self.assertIn("run the same command again to resume", err)
        self.resumes(options=LONG)

    def test_a_second_signal_ends_at_once_and_is_resumed(self):
        started = self.start(*LONG, ranks=1)
        self.assertTrue(started.wait_for(self.runs))
        os.kill(started.process.pid, signal.SIGTERM)
        time.sleep(0.05)
        os.kill(started.process.pid, signal.SIGTERM)
        code, _, _ = started.finish(5)
        self.assertEqual(code, 75)
        self.resumes(options=LONG)

    def test_a_time_limit_exits_75_until_the_job_is_done(self):
        codes, seconds = [], 0.25 * SLOWER  # less than any machine takes; then longer ones
        while not codes or codes[-1] == 75:
            result = self.job(*LONG, "--time-limit", f"{seconds}s", ranks=2)
            codes.append(result.code)
            seconds *= 1.5
            self.assertLess(len(codes), 20, result)
        self.assertEqual(codes[-1], 0, result)
        self.assertIn(75, codes)
        self.same_bytes(*LONG)
