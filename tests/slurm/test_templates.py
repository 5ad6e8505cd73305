# SPDX-License-Identifier: MIT
"""The hand-written batch scripts of slurm/, and the cluster that they are tested on."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

from support import slurm
from support.case import DEMO
from support.faults import JOB
from support.program import ROOT

TEMPLATES = ROOT / "slurm"
SMALL = ("--ntasks-per-node=2", "--gpus-per-node=2", "--cpus-per-task=1")


def setUpModule():
    slurm.SlurmCase.cluster = slurm.Cluster()
    unittest.addModuleCleanup(slurm.SlurmCase.cluster.stop)


class Templates(slurm.SlurmCase):
    def job_file(self, name, out):
        """The options of JOB as a job file."""
        words = list(map(str, JOB[1:]))
        options = dict(zip(words[::2], words[1::2]))
        lines = [f"{key[2:]} = {value}" for key, value in {**options, "--out": out}.items()]
        path = self.folder / name
        path.write_text("# a job file\n\n" + "\n".join(lines) + "\n")
        return path

    def template(self, name, **options):
        """A copy of a template with other options of quantize."""
        text = (TEMPLATES / name).read_text()
        words = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in options.items())
        changed = text.replace("options=(--group-size 128)", f"options=({words})")
        self.assertNotEqual(text, changed)
        copy = self.folder / name
        copy.write_text(changed)
        return copy

    def small_options(self):
        words = list(map(str, JOB[5:]))
        return {key[2:]: value for key, value in zip(words[::2], words[1::2])}

    def environment(self):
        return {"MODEL": str(DEMO), "TOKENS": str(DEMO / "calib.h5"), "OUT": str(self.out),
                "EVAL_TOKENS": str(self.demo_tokens()), "RESULT": str(self.folder / "eval.json")}

    def test_quantize_resumes_after_a_signal(self):
        options = {**self.small_options(), "sequences": 40}
        script = self.template("quantize.sbatch", **options)
        job = self.sbatch(*SMALL, script, env=self.environment())
        self.computes(job)
        self.cluster.run("scancel", "-b", "-s", "USR1", job)
        self.ends(job)
        self.assertEqual(self.restarts(job), 1)
        self.assertRegex(self.log(job), r"quantizing layers=4 done=[1-4] .* workers=2 ")

    def test_array_quantizes_several_models(self):
        outs = [self.folder / f"out{i}" for i in range(2)]
        files = [self.job_file(f"{i}.job", out) for i, out in enumerate(outs)]
        job = self.sbatch("--array=0-1", *SMALL, TEMPLATES / "array.sbatch", *files)
        for task in range(2):
            self.ends(f"{job}_{task}")
        for out in outs:
            self.is_undisturbed(out)

    def test_eval_follows_a_quantization(self):
        script = self.template("quantize.sbatch", **self.small_options())
        job = self.sbatch(*SMALL, "--hold", script, env=self.environment())
        after = self.sbatch(*SMALL, f"--dependency=afterok:{job}", "--kill-on-invalid-dep=yes",
                            "--gpus-per-node=0", TEMPLATES / "eval.sbatch",
                            env=self.environment())
        self.assertIn("afterok", self.show(after)["Dependency"])
        self.cluster.run("scontrol", "release", job)
        self.ends(job)
        self.is_undisturbed()
        self.ends(after)
        result = json.loads((self.folder / "eval.json").read_text())
        self.assertGreater(result["kl"], 0)

    def test_eval_does_not_follow_a_failure(self):
        script = self.template("quantize.sbatch", group_size=100)
        job = self.sbatch(*SMALL, "--hold", script, env=self.environment())
        after = self.sbatch(*SMALL, f"--dependency=afterok:{job}", "--kill-on-invalid-dep=yes",
                            TEMPLATES / "eval.sbatch", env=self.environment())
        self.cluster.run("scontrol", "release", job)
        self.ends(job, "FAILED")
        self.ends(after, "CANCELLED")


class TestCluster(unittest.TestCase):
    """Beside the module's own: clusters do not disturb each other."""

    def test_run_leaves_nothing_behind(self):
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "TMPDIR": folder}
            environment.pop("AWQ_TESTCLUSTER", None)
            done = subprocess.run(
                [TEMPLATES / "testcluster.sh", "run", "sh", "-c",
                 "echo $SLURM_CONF; srun -N 2 --gpus-per-node=1 sh -c 'echo $CUDA_VISIBLE_DEVICES';"
                 " sbatch --wrap 'sleep 100' >&2; exit 7"],
                capture_output=True, text=True, env=environment, check=False, timeout=60)
            self.assertEqual(done.returncode, 7, done.stderr)
            conf, *devices = done.stdout.split()
            self.assertEqual(devices, ["0", "0"])
            self.assertEqual(list(pathlib.Path(folder).iterdir()), [])
            for process in pathlib.Path("/proc").glob("[0-9]*"):
                try:
                    self.assertNotIn(os.path.dirname(conf), (process / "cmdline").read_text())
                except OSError:
                    continue
        cluster = slurm.SlurmCase.cluster
        self.assertEqual(cluster.run("sinfo", "-h", "-p", "main", "-t", "idle", "-o", "%D").stdout,
                         "2\n")


if __name__ == "__main__":
    unittest.main()
