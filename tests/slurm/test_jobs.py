# SPDX-License-Identifier: MIT
"""Jobs of `awqrun submit` on a real SLURM, undisturbed and disturbed. Whatever happens to a job, it
ends with the bytes of an undisturbed run of one rank."""

import os
import signal
import unittest

from support import slurm
from support.faults import JOB


def setUpModule():
    slurm.SlurmCase.cluster = slurm.Cluster()
    unittest.addModuleCleanup(slurm.SlurmCase.cluster.stop)


class Undisturbed(slurm.SlurmCase):
    def test_a_worker_for_each_gpu(self):
        job = self.submit(own=("--gpus-per-node", 2, "--cpus-per-worker", 1))
        self.assertIn(f"awqrun status {self.out}", self.plan)
        self.assertRegex(self.plan, r"(?m)^arithmetic .* TFLOP")
        self.assertRegex(self.plan, r"(?m)^nodes +1, proposed")
        self.assertRegex(self.plan, r"(?m)^time limit 00:30:00, proposed")
        self.ends(job)
        self.assertRegex(self.log(job), r"start 0 on n[01], srun, 2 workers, .*: 0,1\n")
        self.assertRegex(self.log(job), r"quantizing .* workers=2 ")
        self.is_undisturbed()

    def test_two_nodes(self):
        job = self.submit(own=("--nodes", 2, "--workers-per-node", 2, "--launcher", "mpirun",
                               "--cpus-per-worker", 1))
        self.ends(job)
        self.assertRegex(self.log(job), r"on n\[0-1\], mpirun, 4 workers")
        self.assertRegex(self.log(job), r"quantizing .* workers=4 ")
        self.is_undisturbed()

    def test_a_whole_node_without_gpus(self):
        job = self.submit(own=("--max-requeues", 0))
        self.ends(job)
        self.assertEqual(self.show(job)["NumCPUs"], "4")
        self.is_undisturbed()

    def test_a_finished_job_is_not_submitted_again(self):
        self.ends(self.submit())
        result = self.cluster.run(slurm.AWQRUN, "submit", "--", *JOB[1:], "--out", self.out)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("complete already", result.stdout)
        self.assertNotIn("submitted", result.stdout)

    def test_status_follows_a_job_from_the_queue_to_its_end(self):
        job = self.submit(own=("--sbatch", "--hold"))
        text, data = self.status()
        self.assertIn(f"submitted as SLURM job {job}, not begun", text)
        self.assertRegex(text, rf"SLURM job {job}: PENDING \(JobHeldUser\), 0 requeues")
        self.assertEqual(data["slurm"]["state"], "PENDING")
        self.cluster.run("scontrol", "release", job)
        self.ends(job)
        self.assertEqual(self.status()[1], {"state": "complete"})

    def test_a_second_job_for_the_same_output_is_refused(self):
        job = self.submit(own=("--sbatch", "--hold"))
        result = self.cluster.run(slurm.AWQRUN, "submit", "--", *JOB[1:], "--out", self.out)
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"SLURM job {job} (PENDING) works on '{self.out}' already", result.stderr)

    def test_what_sbatch_refuses_is_told(self):
        result = self.cluster.run(slurm.AWQRUN, "submit", "--partition", "none", "--", *JOB[1:],
                                  "--out", self.out)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, "sbatch: error: .*invalid partition")
        self.assertIn("awqrun: error: sbatch refused the job", result.stderr)


class Disturbed(slurm.SlurmCase):
    # Some seconds on one worker: long enough to be met in the middle.
    OPTIONS = ("--sequences", 40)

    def test_a_requeued_job_resumes(self):
        job = self.submit()
        self.computes(job)
        text, data = self.status()
        self.assertRegex(text, r"running, \d of 4 layers done")
        self.assertRegex(text, rf"(?m)^  SLURM job {job}: RUNNING on n[01], 0 requeues$")
        self.assertEqual(data["slurm"]["job"], job)
        self.cluster.run("scontrol", "requeue", job)
        self.reaches(job, lambda: self.restarts(job) == 1, "restart")
        self.assertRegex(self.status()[0], rf"SLURM job {job}: .*, 1 requeue\n")
        self.ends(job)
        self.assertRegex(self.log(job), r"start 1 on .*\n(.*\n)*.*quantizing layers=4 done=[1-4]")
        self.is_undisturbed()

    def test_a_preempted_job_resumes(self):
        job = self.submit()
        self.computes(job)
        urgent = self.sbatch("-p", "urgent", "-N", 2, "--exclusive", "--wrap", "sleep 1")
        self.ends(urgent)
        self.ends(job)
        self.assertEqual(self.restarts(job), 1)
        self.is_undisturbed()

    def test_a_cancelled_job_is_resumed_on_other_nodes(self):
        job = self.submit()
        self.computes(job)
        self.cluster.run("scancel", job)
        self.ends(job, "CANCELLED")
        self.assertIn("stopping gracefully", self.log(job))
        self.assertEqual(self.restarts(job), 0)
        self.assertRegex(self.status()[0], r"\d of 4 layers done")
        self.assertIn(f"  SLURM job {job}: CANCELLED", self.status()[0])
        again = self.submit(own=("--nodes", 2, "--launcher", "mpirun", "--cpus-per-worker", 1))
        self.ends(again)
        self.assertRegex(self.log(again), r"quantizing layers=4 done=[1-4] .* workers=2")
        self.is_undisturbed()

    def test_requeues_are_bounded_and_counted_in_the_run_directory(self):
        job = self.submit(own=("--max-requeues", 1, "--cpus-per-worker", 1))
        self.computes(job)
        self.cluster.run("scancel", "-b", "-s", "USR1", job)
        self.reaches(job, lambda: self.restarts(job) == 1, "restart")
        self.assertRegex((self.out / ".awqrun/requeues").read_text(),
                         rf"^job {job} interrupted \S+\n$")
        self.reaches(job, lambda: "start 1 on" in self.log(job), "start")
        self.reaches(job, lambda: self.log(job).count("quantizing layers") == 2, "resume")
        self.cluster.run("scancel", "-b", "-s", "USR1", job)
        self.ends(job, "FAILED")
        self.assertIn("interrupted, and back in the queue 1 times already", self.log(job))
        script = self.out / ".awqrun/job.sbatch"
        self.ends(self.sbatch(script))
        self.is_undisturbed()

    def test_an_error_ends_the_job_without_a_requeue(self):
        job = self.submit()
        self.computes(job)
        record = min(self.out.glob(".awqrun/layers/*.h5"))
        self.cluster.run("scancel", job)
        self.ends(job, "CANCELLED")
        (self.out / "foreign").write_text("not ours")
        again = self.sbatch(self.out / ".awqrun/job.sbatch")
        self.ends(again, "FAILED")
        self.assertIn("awqrun: error: output directory", self.log(again))
        self.assertEqual(self.restarts(again), 0)
        self.assertTrue(record.exists())

    def test_the_processes_of_a_node_without_its_slurmd_are_waited_for(self):
        """They live on, and hold the lock, while SLURM starts the job on another node."""
        job = self.submit(own=("--launcher", "mpirun", "--cpus-per-worker", 1))
        self.computes(job)
        node = self.show(job)["NodeList"]
        self.signal_job(job, node, signal.SIGSTOP)  # else they are done before SLURM notices
        self.lose_slurmd(node)
        self.reaches(job, lambda: "waiting for its end" in self.log(job), "start elsewhere", 60)
        self.assertNotEqual(self.show(job)["NodeList"], node)
        self.cluster.start_slurmd(node)  # ends them
        self.ends(job)
        self.assertEqual(self.restarts(job), 1)
        self.is_undisturbed()

    def test_a_lost_node_is_replaced(self):
        job = self.submit(own=("--nodes", 2, "--launcher", "mpirun", "--cpus-per-worker", 1))
        self.computes(job)
        self.lose_slurmd("n1")
        self.signal_job(job, "n1", signal.SIGKILL)
        self.reaches(job, lambda: "killed; back into the queue, time 1 of" in self.log(job),
                     "go back into the queue")
        self.cluster.start_slurmd("n1")
        self.ends(job)
        self.assertRegex(self.log(job), r"quantizing layers=4 done=[1-4] .* workers=2")
        self.is_undisturbed()

    def lose_slurmd(self, node):
        self.cluster.kill_slurmd(node)
        self.addCleanup(self.cluster.start_slurmd, node)

    @staticmethod
    def signal_job(job, node, number):
        """To all processes of a job on a node."""
        wanted = {f"SLURM_JOB_ID={job}".encode(), f"SLURMD_NODENAME={node}".encode()}
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    if wanted <= set(file.read().split(b"\0")):
                        os.kill(int(name), number)
            except OSError:
                continue


class TimeLimit(slurm.SlurmCase):
    """SLURM looks at time limits twice a minute, and knows none below one minute."""

    OPTIONS = ("--sequences", 256, "--alpha-steps", 150)

    def test_a_job_that_reaches_its_limit_goes_back_into_the_queue_and_resumes(self):
        job = self.submit("--threads", 1, own=("--time", 1, "--cpus-per-worker", 1))
        self.reference(self.OPTIONS)  # meanwhile
        self.reaches(job, lambda: "stopping gracefully" in self.log(job), "hear of its limit", 60)
        self.reaches(job, lambda: "back into the queue, time 1 of at most 20" in self.log(job),
                     "go back into the queue")
        self.ends(job, seconds=200)
        self.assertGreaterEqual(self.restarts(job), 1)
        self.assertRegex(self.log(job), r"start 1 on .*\n(.*\n)*.*quantizing layers=4 done=[1-4]")
        self.is_undisturbed()


if __name__ == "__main__":
    unittest.main()
