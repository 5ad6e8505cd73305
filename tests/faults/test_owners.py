# SPDX-License-Identifier: MIT
"""Two jobs at once, another job's run directory, and outputs that are complete."""

import json
import os
import signal
import socket
import time

from support.faults import LONG, FaultCase


class Owners(FaultCase):
    def test_a_second_job_is_refused_while_the_first_lives(self):
        started = self.start(*LONG, ranks=3)
        self.assertTrue(started.wait_for(self.runs))
        started.signal(signal.SIGSTOP)  # it lives however long the second one takes to start
        second = self.job(*LONG)
        started.signal(signal.SIGCONT)
        self.assertEqual(second.code, 1, second)
        host = socket.gethostname()
        self.assertRegex(second.errors[0], rf"another job works .* \(host {host}, pid \d+")
        self.assertEqual(started.finish()[0], 0)
        self.same_bytes(*LONG)

    def lock_of(self, host, age):
        lock = self.out / ".awqrun" / "lock"
        lock.write_text(json.dumps({"host": host, "pid": 1, "slurm_job": "77"}))
        then = time.time() - age
        os.utime(lock, (then, then))

    def test_a_lock_of_another_host_holds_while_its_heart_beats(self):
        self.partial()
        self.lock_of("some-other-node", 5)
        result = self.job()
        self.assertEqual(result.code, 1, result)
        self.assertRegex(result.errors[0], "host some-other-node, pid 1, SLURM job 77")
        self.lock_of("some-other-node", 3600)
        self.assertRegex(self.resumes().err, "warning: the last job here ended without a word")

    def test_what_changes_the_result_is_refused_and_named(self):
        self.partial()
        result = self.job("--group-size", 64, "--sequences", 4)
        self.assertEqual(result.code, 1, result)
        text = "\n".join(result.errors)
        self.assertRegex(text, r'options group-size: "128" in the earlier run, "64" now')
        self.assertRegex(text, r"tokens sequences: 8 in the earlier run, 4 now")
        self.assertRegex(text, r"--restart")
        self.resumes()

    def test_what_does_not_change_the_result_may_differ(self):
        self.partial()
        self.resumes(3, how=("--threads", 1, "--stage-layers", 2, "--verbose", "--device-memory",
                             "2GB", "--worker-timeout", 99))

    def test_restart_discards_and_keep_run_keeps(self):
        self.partial()
        result = self.succeeds(self.job("--restart", "--keep-run"))
        self.assertRegex(result.err, r"quantizing layers=4 done=0")
        self.assertEqual(self.layers_done(), 4)
        self.succeeds(self.job())
        self.assertTrue((self.out / ".awqrun").exists())

    def test_finished_layers_are_not_done_again(self):
        self.partial()
        done = self.layers_done()
        result = self.resumes()
        self.assertRegex(result.err, rf"quantizing layers=4 done={done} ")

    def test_a_complete_output_of_another_job_is_refused(self):
        self.succeeds(self.job())
        result = self.job("--group-size", 64)
        self.assertEqual(result.code, 1, result)
        self.assertRegex("\n".join(result.errors), r'options group-size: "128" .* "64" now')
        self.same_bytes()

    def test_a_complete_output_is_left_alone(self):
        self.resumes()
        before = {path: path.stat().st_mtime_ns for path in self.out.rglob("*")}
        result = self.succeeds(self.job(ranks=2))
        self.assertIn("complete already", result.out)
        self.assertEqual({path: path.stat().st_mtime_ns for path in self.out.rglob("*")}, before)
