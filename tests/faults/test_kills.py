# SPDX-License-Identifier: MIT
"""Ranks that die or hang, at any moment, and mpirun with them.

AWQ_KILLS is how many random kills there are (default 50)."""

import os
import signal

from support.faults import LONG, FaultCase
from support.program import SLOWER, run


class Kills(FaultCase):
    def test_random_kills_of_ranks_and_mpirun_end_with_the_same_bytes(self):
        wanted = int(os.environ.get("AWQ_KILLS", "50"))
        self.kill_at_random(lambda kills: kills < wanted)

    def test_a_killed_worker_is_named_by_the_next_start_and_by_status(self):
        started = self.start(*LONG, ranks=3)
        self.assertTrue(started.wait_for(lambda: self.layers_done() >= 1))
        os.kill(started.ranks()[2], signal.SIGKILL)
        code, _, err = started.finish()
        self.assertNotEqual(code, 0)
        self.assertRegex(err, r"error: worker 2 \(.*\) was lost at layer \d")
        self.assertRegex(run("status", self.out).out, r"last error: worker 2 \(.*\) was lost")
        again = self.resumes(options=LONG)
        self.assertRegex(again.err, r"the last run ended: worker 2 \(.*\) was lost at layer \d")

    def test_a_hung_worker_is_named_and_ends_the_job(self):
        started = self.start("--worker-timeout", 2 * SLOWER, ranks=3)
        self.assertTrue(started.wait_for(self.runs))
        os.kill(started.ranks()[2], signal.SIGSTOP)
        code, _, err = started.finish(40)
        self.assertEqual(code, 1)
        self.assertRegex(err, r"awqrun: error: worker 2 \(.*\) has been silent for \d+ s, at layer")
        self.resumes(2)

    def test_a_hung_coordinator_ends_the_job(self):
        started = self.start("--worker-timeout", 2 * SLOWER, ranks=3)
        self.assertTrue(started.wait_for(self.runs))
        os.kill(started.ranks()[0], signal.SIGSTOP)
        code, _, err = started.finish(40)
        self.assertNotEqual(code, 0)
        self.assertRegex(err, r"awqrun: error: the coordinator has been silent for \d+ s")
        self.resumes(2)
