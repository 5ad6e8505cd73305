# SPDX-License-Identifier: MIT
"""A job that is disturbed: in the background, half done, resumed.

Every disturbed job must end with the bytes of an undisturbed one of a single rank."""

import os
import pathlib
import random
import shutil
import signal
import subprocess
import tempfile
import time

from support.case import DEMO, Case, digest
from support.program import AWQRUN, ENVIRONMENT, SLOWER, kill_session, kill_writers, run
from support.statistics import statistics

# Small stages, several tiles, few candidates: a job of about a second that is mostly boundaries
# and records.
JOB = ["quantize", "--model", DEMO, "--tokens", DEMO / "calib.h5", "--sequences", 8,
       "--stage-layers", 1, "--tile-tokens", 1024, "--alpha-steps", 4, "--max-shard-size", "1MB",
       "--backend", "cpu"]

LONG = ("--sequences", 64)  # a job that lasts long enough to be met in the middle


class Started:
    """awqrun under mpirun (or alone), in the background."""

    def __init__(self, *options, ranks=4, env=None):
        command = [AWQRUN, *map(str, options)]
        if ranks > 1:
            command = ["mpirun", "-n", str(ranks), *command]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace", start_new_session=True,
            env={**os.environ, **ENVIRONMENT, **(env or {})})
        self.alone = ranks == 1

    def ranks(self):
        """{rank: process id} of the ranks that live now."""
        if self.alone:
            return {0: self.process.pid} if self.process.poll() is None else {}
        found = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat", encoding="latin-1") as file:
                    fields = file.read().rpartition(")")[2].split()
                if int(fields[3]) != self.process.pid or int(name) == self.process.pid:
                    continue
                with open(f"/proc/{name}/environ", encoding="latin-1") as file:
                    variables = dict(v.partition("=")[::2] for v in file.read().split("\0"))
                found[int(variables["PMIX_RANK"])] = int(name)
            except (OSError, KeyError, ValueError, IndexError):
                continue
        return found

    def signal(self, number):
        for process in self.ranks().values():
            os.kill(process, number)

    def wait_for(self, condition, seconds=30):
        """Whether the condition came true before the process or the time ended."""
        end = time.monotonic() + seconds * SLOWER
        while time.monotonic() < end and self.process.poll() is None:
            if condition():
                return True
            time.sleep(0.02)
        return condition()

    def finish(self, seconds=60):
        """(exit code, stdout, stderr); nothing of it survives.

        Open MPI's mpirun, or the daemon of a rank without it, can hang when a rank dies while it
        starts: ended here after ten seconds without a living rank, and told on stdout."""
        end = time.monotonic() + seconds * SLOWER
        seen = time.monotonic()  # when a rank was last alive
        try:
            while True:
                try:
                    out, err = self.process.communicate(timeout=1)
                    return self.process.returncode, out, err
                except subprocess.TimeoutExpired:
                    now = time.monotonic()
                    ranks = self.ranks()
                    seen = now if ranks else seen
                    if now < end and now < seen + 10 * SLOWER:
                        continue
                table = subprocess.run(["ps", "-o", "pid,stat,etimes,wchan:24,args", "-s",
                                        str(self.process.pid)], capture_output=True, text=True,
                                       check=False).stdout
                kill_session(self.process.pid)
                kill_writers(self.process.stderr)
                out, err = self.process.communicate()
                if ranks:
                    raise AssertionError(f"still running after {seconds} s\n{table}{out}{err}")
                print(f"Open MPI hung without ranks:\n{table}{err}", flush=True)
                return self.process.returncode, out, err
        finally:
            kill_session(self.process.pid)


class FaultCase(Case):
    options = JOB  # of the job that is disturbed

    @classmethod
    def setUpClass(cls):
        cls.base = pathlib.Path(tempfile.mkdtemp(prefix="awqrun-faults-")).resolve()
        cls.addClassCleanup(shutil.rmtree, cls.base, ignore_errors=True)
        cls.references = {}

    def reference(self, options):
        """Digests and statistics of the undisturbed job with these options, made once."""
        if options not in self.references:
            out = self.base / f"reference-{len(self.references)}"
            self.succeeds(run(*self.options, "--out", out, *options))
            self.references[options] = self.written(out)
        return self.references[options]

    @staticmethod
    def written(out):
        """What must be the same: every byte, but the times in awqrun.h5."""
        files = digest(out)
        files["awqrun.h5"] = statistics(out / "awqrun.h5")
        return files

    def start(self, *options, **how):
        started = Started(*self.options, "--out", self.out, *options, **how)
        self.addCleanup(kill_session, started.process.pid)
        return started

    def job(self, *options, **how):
        return run(*self.options, "--out", self.out, *options, **how)

    def runs(self):
        """Whether a job has begun to work in the output directory."""
        try:
            return '"running"' in (self.out / ".awqrun/status.json").read_text()
        except OSError:
            return False

    def layers_done(self, out=None):
        return len(list((out or self.out).glob(".awqrun/layers/*.h5")))

    def same_bytes(self, *options):
        self.assertEqual(self.written(self.out), self.reference(options))

    def resumes(self, ranks=1, options=(), how=()):
        """The same command again ends the job with the bytes of an undisturbed one; `how` are
        options that do not change the result."""
        result = self.succeeds(self.job(*options, *how, ranks=ranks))
        self.same_bytes(*options)
        return result

    def partial(self):
        """A run directory with two layers done and a boundary on disk, made once."""
        made = self.base / "partial"
        if not made.exists():
            result = run(*self.options, "--out", made, ranks=2,
                         env={"AWQ_FAULT": "record-before-statistics:3"})
            self.assertNotEqual(result.code, 0, result)
            self.assertGreaterEqual(self.layers_done(made), 1)
        shutil.copytree(made, self.out)

    def kill_at_random(self, more):
        """Starts the job again and again, on another number of ranks each time, and kills a
        rank or mpirun at some moment, while more(kills so far). What gets done must be as
        undisturbed."""
        seed = int(os.environ.get("AWQ_SEED", random.randrange(10**6)))
        dice = random.Random(seed)
        kills = finished = 0
        print(f"seed {seed}", flush=True)  # for a run that is ended by its limit
        while more(kills):
            ranks = dice.choice([1, 2, 3, 4, 6])
            started = self.start(ranks=ranks)
            time.sleep(dice.uniform(0.2, 1.3) * SLOWER)
            targets = [*started.ranks().values(), started.process.pid]
            if started.process.poll() is None:
                os.kill(dice.choice(targets), signal.SIGKILL)
                kills += 1
            code, out, err = started.finish()
            self.assertTrue(code == 0 or "awqrun: error: " not in err or "was lost" in err,
                            f"seed {seed}, kill {kills}, {ranks} ranks: exit {code}\n{out}{err}")
            if (self.out / "config.json").exists():
                self.succeeds(self.job())  # clears away what a kill at the very end left
                self.same_bytes()
                shutil.rmtree(self.out)
                finished += 1
        if self.out.exists():
            self.resumes(3)
        print(f"{kills} kills, {finished} jobs finished in between, seed {seed}")
