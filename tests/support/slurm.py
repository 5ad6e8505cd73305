# SPDX-License-Identifier: MIT
"""Jobs on a real SLURM: a cluster for a module, jobs that are submitted, watched and disturbed."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from support.faults import JOB, FaultCase
from support.program import AWQRUN, ENVIRONMENT, ROOT, SLOWER

TESTCLUSTER = ROOT / "slurm" / "testcluster.sh"
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch")
OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")


def missing():
    """Why there can be no cluster here; "" if there can."""
    absent = [name for name in NEEDED if not shutil.which(name)]
    return f"SLURM is not installed here: no {', '.join(absent)}" if absent else ""


class Cluster:
    """slurm/testcluster.sh in a folder of its own, for as long as a module's tests run."""

    def __init__(self, cpus=4, gpus=2):
        if missing():
            raise unittest.SkipTest(missing())
        self.parent = pathlib.Path(tempfile.mkdtemp(prefix="awqrun-slurm-")).resolve()
        self.folder = self.parent / "cluster"
        path = os.pathsep.join([str(pathlib.Path(AWQRUN).parent), os.environ["PATH"]])
        self.environment = {**os.environ, **ENVIRONMENT, "PATH": path,
                            "AWQ_TESTCLUSTER": str(self.folder),
                            "AWQ_TESTCLUSTER_CPUS": str(cpus), "AWQ_TESTCLUSTER_GPUS": str(gpus),
                            "SLURM_CONF": str(self.folder / "etc/slurm.conf")}
        started = self.run(TESTCLUSTER, "start")
        if started.returncode:
            shutil.rmtree(self.parent, ignore_errors=True)
            raise AssertionError(f"no cluster: {started.stderr}")

    def stop(self):
        self.run(TESTCLUSTER, "stop", timeout=60)
        shutil.rmtree(self.parent, ignore_errors=True)

    def run(self, *command, timeout=60, cwd=None, env=None):
        return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                              errors="replace", cwd=cwd, timeout=timeout * SLOWER, check=False,
                              env={**self.environment, **(env or {})}, stdin=subprocess.DEVNULL)

    # ---- nodes ----

    def slurmd(self, node):
        """The process of a node's daemon; None when it is gone."""
        process = int((self.folder / f"run/slurmd.{node}.pid").read_text())
        try:
            with open(f"/proc/{process}/stat", encoding="latin-1") as file:
                return None if file.read().rpartition(") ")[2][0] in "ZX" else process
        except OSError:
            return None

    def kill_slurmd(self, node):
        os.kill(self.slurmd(node), signal.SIGKILL)
        while self.slurmd(node):
            time.sleep(0.01)

    def start_slurmd(self, node):
        """Brings a node's daemon back, if it is gone."""
        if not self.slurmd(node):
            assert self.run("slurmd", "-N", node).returncode == 0


class SlurmCase(FaultCase):
    """A module of such tests starts its Cluster in setUpModule."""

    cluster = None
    OPTIONS = ()  # of JOB, that change the result

    def setUp(self):
        super().setUp()
        self.addCleanup(self.cancel_all)

    def cancel_all(self):
        self.cluster.run("scancel", "--user", str(os.getuid()))
        self.wait_for(lambda: not self.cluster.run("squeue", "-h").stdout.strip(), 20)

    def is_undisturbed(self, out=None):
        """What was written is what one undisturbed rank writes."""
        self.assertEqual(self.written(out or self.out), self.reference(self.OPTIONS))

    def wait_for(self, condition, seconds):
        end = time.monotonic() + seconds * SLOWER
        while time.monotonic() < end:
            if condition():
                return True
            time.sleep(0.1)
        return bool(condition())

    # ---- jobs ----

    def submit(self, *options, own=("--cpus-per-worker", 1)):
        """awqrun submit; the job's number. `own` are options of submit, `options` of quantize."""
        words = ["submit", *own, "--", *JOB[1:], *self.OPTIONS, "--out", self.out, *options]
        result = self.cluster.run(AWQRUN, *words, cwd=self.folder)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.plan = result.stdout
        return re.search(r"^submitted  SLURM job (\d+)$", result.stdout, re.MULTILINE).group(1)

    def sbatch(self, *words, env=None):
        result = self.cluster.run("sbatch", "--parsable", *words, cwd=self.folder, env=env)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout.strip()

    def show(self, job):
        """{key: value} of `scontrol show job`."""
        text = self.cluster.run("scontrol", "show", "job", "-o", job).stdout
        return dict(re.findall(r"(\S+?)=(\S*)", text))

    def state(self, job):
        return self.show(job).get("JobState", "")

    def log(self, job):
        try:
            return (self.folder / f"slurm-{job}.out").read_text(errors="replace")
        except OSError:
            return ""

    def reaches(self, job, condition, what, seconds=30):
        if not self.wait_for(condition, seconds):
            self.fail(f"job {job} does not {what}: {self.show(job)}\n{self.log(job)}")

    def computes(self, job, layers=1, out=None):
        """Waits until a job has done some layers."""
        self.reaches(job, lambda: self.layers_done(out) >= layers, f"finish {layers} layers")

    def ends(self, job, state="COMPLETED", seconds=60):
        """Waits until a job is over, and has ended so."""
        self.reaches(job, lambda: self.state(job) in OVER, "end", seconds)
        self.assertEqual(self.state(job), state, self.log(job))

    def restarts(self, job):
        return int(self.show(job)["Restarts"])

    def status(self, out=None):
        """What `awqrun status` prints, and its JSON."""
        text = self.cluster.run(AWQRUN, "status", out or self.out)
        data = self.cluster.run(AWQRUN, "status", out or self.out, "--json")
        self.assertEqual((text.returncode, data.returncode), (0, 0), text.stderr + data.stderr)
        return text.stdout, json.loads(data.stdout)
