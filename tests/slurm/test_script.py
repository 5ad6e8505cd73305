# SPDX-License-Identifier: MIT
"""What `awqrun submit` asks of SLURM, and refuses, where there is no SLURM: dry runs."""

import re
import subprocess
import unittest

from support.case import DEMO, Case, digest
from support.faults import JOB
from support.program import ROOT, SLOWER, options_of, run

TOKENS = DEMO / "calib.h5"
ABSENT = {"PATH": "/nowhere"}  # no SLURM, whatever is installed


class SubmitCase(Case):
    def submit(self, *own, options=(), **how):
        return run("submit", *own, "--", "--model", DEMO, "--tokens", TOKENS, "--out", self.out,
                   *options, env={**ABSENT, **how.pop("env", {})}, **how)

    def tool(self, name, text):
        """The environment in which a command of SLURM is this shell script."""
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return {"PATH": f"{path.parent}:/usr/bin:/bin"}

    def script(self, *own, options=()):
        result = self.submit("--dry-run", *own, options=options)
        self.succeeds(result)
        self.assertFalse(self.out.exists())
        return result.out

    def directives(self, *own, options=()):
        return re.findall("^#SBATCH (.*)$", self.script(*own, options=options), re.MULTILINE)


class DryRun(SubmitCase):
    def test_it_prints_the_script_and_writes_nothing(self):
        result = self.succeeds(self.submit("--dry-run"))
        self.assertTrue(result.out.startswith("#!/bin/bash\n"))
        self.assertNotIn("@", result.out.replace("${options[@]}", "").replace("${launch[@]}", "")
                         .replace("${program[@]}", "").replace("USR1@", ""))
        self.assertRegex(result.err, r"(?m)^arithmetic [0-9.]+ TFLOP")
        self.assertFalse(self.out.exists())

    def test_shellcheck_has_no_complaint(self):
        path = self.folder / "job.sbatch"
        for own, options in (((), ()),
                             (("--nodes", 3, "--gpus-per-node", 8, "--sbatch=--mem=9G -x n7",
                               "--program", "apptainer exec --nv a.sif awqrun"),
                              ("--restart", "--verbose", "--out", self.folder / "it's mine"))):
            path.write_text(self.submit("--dry-run", *own, options=options).out)
            done = subprocess.run(["shellcheck", path], capture_output=True, text=True,
                                  check=False)
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_the_shell_reads_back_every_option(self):
        out = self.folder / "it's a $HOME \"quoted\" `dir`\\"
        text = self.submit("--dry-run", options=("--out", out, "--smooth", 0.1, "--keep-run",
                                                 "--device-memory", "75%", "--grace", "90s")).out
        options = text[text.index("options=(") : text.index("\n)\n") + 3]
        done = subprocess.run(["bash", "-c", options + 'printf "%s\\n" "${options[@]}"'],
                              capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.splitlines(),
                         [f"--model={DEMO}", f"--tokens={TOKENS}", f"--out={out}", "--smooth=0.1",
                          "--device-memory=75%", "--grace=90", "--keep-run"])

    def test_a_job_that_asks_for_gpus_computes_on_them(self):
        gpus = ("--gpus-per-node", 8, "--program", "awqrun")
        self.assertIn("--backend=cuda", self.script(*gpus))
        self.assertNotIn("--backend=", self.script())
        on_cpus = self.submit("--dry-run", *gpus, options=("--backend", "cpu"))
        self.assertIn("--backend=cpu", self.succeeds(on_cpus).out)
        self.assertIn("the job asks for GPUs, and computes with the cpu backend", on_cpus.err)

    def test_gpus_that_this_build_cannot_use_are_not_asked_for(self):
        if "\nCUDA " in run("version").out:
            self.skipTest("this build has the CUDA backend")
        self.fails_with(self.submit("--dry-run", "--gpus-per-node", 8),
                        "--gpus-per-node needs a build with CUDA, .*: backend 'cuda' is not in "
                        "this build")

    def test_auto_does_not_leave_the_gpus_that_slurm_gave_idle(self):
        given = {"SLURM_JOB_GPUS": "0,1"}
        job = ("quantize", "--model", DEMO, "--tokens", TOKENS, "--sequences", 2, "--alpha-steps",
               0, "--out", self.out)
        if re.search(r"(?m)^GPU 0 ", run("version").out):
            self.skipTest("there is a GPU here")
        self.fails_with(run(*job, env=given),
                        r"SLURM gave this job GPUs \(0,1\), and none can be used: .*; give "
                        "--backend cpu to compute without them")
        self.succeeds(run(*job, "--backend", "cpu", env=given))

    def test_gpus_have_a_worker_each(self):
        lines = self.directives("--nodes", 2, "--gpus-per-node", 8, "--program", "awqrun")
        for line in ("--nodes=2", "--ntasks-per-node=8", "--gpus-per-node=8", "--cpus-per-task=8"):
            self.assertIn(line, lines)
        self.assertNotIn("--exclusive", lines)

    def test_without_gpus_whole_nodes_are_asked_for(self):
        lines = self.directives()
        for line in ("--nodes=1", "--ntasks-per-node=1", "--exclusive", "--mem=0"):
            self.assertIn(line, lines)
        lines = self.directives("--workers-per-node", 2, "--cpus-per-worker", 16)
        self.assertIn("--cpus-per-task=16", lines)
        self.assertNotIn("--exclusive", lines)

    def test_what_the_user_gives_is_handed_on_and_sbatch_options_come_last(self):
        lines = self.directives("--partition", "gpu", "--account", "a1", "--qos", "high",
                                "--constraint", "h100&nvlink", "--mail-user", "me@example.org",
                                "--sbatch", "--reservation=r --exclude n7")
        for line in ("--partition=gpu", "--account=a1", "--qos=high", "--constraint=h100&nvlink",
                     "--mail-user=me@example.org", "--requeue", "--open-mode=append"):
            self.assertIn(line, lines)
        self.assertEqual(lines[-1], "--reservation=r --exclude n7")

    def test_the_signal_comes_before_the_limit_and_leaves_time_for_the_grace_period(self):
        def signal(time, *options):
            lines = self.directives("--time", time, options=options)
            return [line for line in lines if line.startswith(("--time", "--signal"))]

        self.assertEqual(signal("04:00:00"), ["--time=04:00:00", "--signal=B:USR1@120"])
        self.assertEqual(signal("1-12", "--grace", "10m"),
                         ["--time=1-12:00:00", "--signal=B:USR1@660"])
        self.assertEqual(signal("2"), ["--time=00:02:00", "--signal=B:USR1@60"])
        self.assertEqual(signal("90:30"), ["--time=01:30:30", "--signal=B:USR1@120"])

    def test_more_work_is_proposed_more_nodes_and_time(self):
        small = self.submit("--dry-run", "--cpus-per-worker", 1)
        large = self.submit("--dry-run", "--cpus-per-worker", 1,
                            options=("--alpha-steps", 1000, "--duo", "both"))
        estimate = r"estimate +(\S+) of arithmetic, at 0.03 TFLOP/s for each of 1 worker "
        self.assertNotEqual(re.search(estimate, small.err).group(1),
                            re.search(estimate, large.err).group(1))

    def test_nodes_and_time_are_proposed_within_the_partition(self):
        env = self.tool("sinfo", """cat <<END
gpu|64+|3|1-00:00:00
main*|16|2|infinite
main*|8+|1|4:00:00
short|4|1|10:00
END""")
        for own, cores, limit, most in (((), 8, "00:30:00", "04:00:00"),
                                        (("--partition", "gpu"), 64, "00:30:00", "1-00:00:00"),
                                        (("--partition", "short"), 4, "00:10:00", "00:10:00"),
                                        (("--partition", "none"), None, "00:30:00", "1-00:00:00")):
            text = self.succeeds(self.submit("--dry-run", *own, env=env)).err
            self.assertRegex(text, f"assumed: {cores or '[0-9]+'} cores? at 30 GFLOP/s")
            self.assertRegex(text, rf"time limit {limit}, proposed: .*, at most {most};")

    def test_a_restart_is_for_the_first_start_only(self):
        text = self.script(options=("--restart",))
        self.assertIn("\nrestart=yes ", text)
        self.assertNotIn("    --restart\n", text)
        self.assertIn("\nrestart=no ", self.script())

    def test_help_lists_the_options_of_submit(self):
        self.assertLessEqual({"nodes", "gpus-per-node", "time", "partition", "account", "qos",
                              "constraint", "mail-user", "sbatch", "dry-run", "max-requeues"},
                             set(options_of("submit")))


class Refused(SubmitCase):
    def refused(self, pattern, *own, code=1, options=()):
        self.fails_with(self.submit(*own, options=options), pattern, code=code)
        self.assertFalse(self.out.exists())

    def test_an_impossible_job_is_refused_before_it_is_queued(self):
        self.refused("one decoder layer needs", options=("--device-memory", "1MB"))
        self.refused("is the same as the source", options=("--out", DEMO))

    def test_wrong_options_are_usage_errors(self):
        self.refused("--time takes a time", "--time", "soon", code=2)
        self.refused("--partition takes one word", "--partition", "a b", code=2)
        self.refused("--sbatch takes options of sbatch", "--sbatch", "mem=1G", code=2)
        self.refused("--sbatch takes one line", "--sbatch", "--mem=1G\nrm -rf /", code=2)
        self.refused("unknown option '--noddes'", "--noddes", 2, code=2)

    def test_the_options_of_quantize_come_after_two_dashes(self):
        self.fails_with(run("submit", "--nodes", 2), "give them after '--'", code=2)
        self.fails_with(run("submit", "--model", DEMO), "unknown option", "give them after", code=2)

    def test_the_run_of_another_job_is_refused(self):
        ended = run(*JOB, "--out", self.out, "--time-limit", 0.1, "--sequences", 256)
        self.assertEqual(ended.code, 75, ended)
        before = digest(self.out)
        result = self.submit("--dry-run", options=(*JOB[5:], "--sequences", 256, "--bits", 4,
                                                   "--group-size", 64))
        self.fails_with(result, "group-size", "holds the run of another job")
        self.assertEqual(digest(self.out), before)
        self.succeeds(self.submit("--dry-run", options=(*JOB[5:], "--sequences", 256)))

    def test_without_sbatch_the_script_stays_for_a_machine_that_has_one(self):
        result = self.submit()
        script = self.out / ".awqrun/job.sbatch"
        self.fails_with(result, f"cannot run 'sbatch': .*; the script is '{script}'")
        self.assertEqual(script.read_text(), self.submit("--dry-run").out)
        self.succeeds(run("quantize", *JOB[1:], "--out", self.out))


class Status(SubmitCase):
    """SLURM may be absent, slow, or have forgotten the job: status says what else it knows."""

    def setUp(self):
        super().setUp()
        ended = run(*JOB, "--out", self.out, "--time-limit", 0.1, "--sequences", 256,
                    env={"SLURM_JOB_ID": "4711"})
        self.assertEqual(ended.code, 75, ended)

    def status(self, env, *options):
        return self.succeeds(run("status", self.out, *options, env=env))

    def test_it_does_without_slurm(self):
        for env in (ABSENT, self.tool("scontrol", "exit 1"), self.tool("scontrol", "echo nonsense"),
                    self.tool("scontrol", "kill -9 $$")):
            result = self.status(env)
            self.assertRegex(result.out, "interrupted, 0 of 4 layers done")
            self.assertNotIn("SLURM job 4711:", result.out)
            self.assertNotIn('"slurm":', self.status(env, "--json").out)

    def test_it_does_not_wait_long_for_slurm(self):
        result = self.status(self.tool("scontrol", "exec sleep 60"))
        self.assertLess(result.seconds, 15 * SLOWER)
        self.assertIn("interrupted", result.out)

    def test_it_shows_what_slurm_knows(self):
        env = self.tool("scontrol", r"""[ "$*" = "show job 4711" ] || exit 1
printf 'JobId=4711 JobName=a JobState=PENDING\n   JobState=PENDING Reason=Priority Dependency=(null)
   Requeue=1 Restarts=2 BatchFlag=1\n   NodeList=(null)\n   StdOut=/a b/slurm-4711.out\n\n'""")
        result = self.status(env)
        self.assertIn("  SLURM job 4711: PENDING (Priority), 2 requeues\n", result.out)
        self.assertIn("  log /a b/slurm-4711.out\n", result.out)


class Ranks(Case):
    def test_ranks_that_do_not_know_of_each_other_are_an_error(self):
        result = run(*JOB, "--out", self.out, ranks=2, env={"AWQ_RANKS": "9"})
        self.assertNotEqual(result.code, 0)
        self.assertRegex(result.err, "awqrun: error: 9 ranks were started, and MPI knows of 2; .*"
                                     "--launcher mpirun")
        self.assertFalse(self.out.exists())


class Folder(unittest.TestCase):
    def test_templates_are_short(self):
        for path in sorted((ROOT / "slurm").glob("*.sbatch")):
            self.assertLess(len(path.read_text().splitlines()), 60, path)


if __name__ == "__main__":
    unittest.main()
