# SPDX-License-Identifier: MIT
"""What a cluster does to a job: ranks are killed or hang, limits strike, disks fill, files are torn,
a job is started twice. After any of it the same command goes on, on any number of workers, and ends
with the bytes of an undisturbed run.

AWQ_KILLS is how many random kills there are (default 50); AWQ_SOAK_MINUTES makes it a matter of
time instead (ctest -L soak)."""

import json
import os
import pathlib
import random
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from support.case import DEMO, Case, digest
from support.statistics import statistics
from support.program import AWQRUN, ENVIRONMENT, SLOWER, kill_session, run

# Small stages, several tiles, few candidates: a job of about a second that is mostly boundaries
# and records.
JOB = ["quantize", "--model", DEMO, "--tokens", DEMO / "calib.h5", "--sequences", 8,
       "--stage-layers", 1, "--tile-tokens", 1024, "--alpha-steps", 4, "--max-shard-size", "1MB"]

LONG = 96  # sequences of a job that lasts long enough to be met in the middle

FAULT_POINTS = ["publish-before-fsync", "publish-before-rename", "publish-before-directory-fsync",
                "safetensors-append", "record-before-statistics", "merge-after-shards",
                "merge-before-config", "finish-before-removal"]


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
            return {0: self.process.pid}
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

    def wait_for(self, condition, seconds=30):
        """Whether the condition came true before the process or the time ended."""
        end = time.monotonic() + seconds * SLOWER
        while time.monotonic() < end and self.process.poll() is None:
            if condition():
                return True
            time.sleep(0.02)
        return condition()

    def finish(self, seconds=60):
        """(exit code, stdout, stderr); nothing of it survives."""
        try:
            out, err = self.process.communicate(timeout=seconds * SLOWER)
        except subprocess.TimeoutExpired:
            kill_session(self.process.pid)
            out, err = self.process.communicate()
            raise AssertionError(f"still running after {seconds} s\n{out}\n{err}") from None
        finally:
            kill_session(self.process.pid)
        return self.process.returncode, out, err


class Faults(Case):
    @classmethod
    def setUpClass(cls):
        cls.base = pathlib.Path(tempfile.mkdtemp(prefix="awqrun-faults-")).resolve()
        cls.addClassCleanup(shutil.rmtree, cls.base, ignore_errors=True)
        out = cls.base / "reference"
        result = run(*JOB, "--out", out)
        assert result.code == 0, result
        cls.reference = digest(out)
        cls.reference.pop("awqrun.h5")
        cls.reference_statistics = statistics(out / "awqrun.h5")

    def start(self, *options, **how):
        started = Started(*JOB, "--out", self.out, *options, **how)
        self.addCleanup(kill_session, started.process.pid)
        return started

    def job(self, *options, **how):
        return run(*JOB, "--out", self.out, *options, **how)

    def runs(self):
        """Whether a job has begun to work in the output directory."""
        try:
            return '"running"' in (self.out / ".awqrun/status.json").read_text()
        except OSError:
            return False

    def layers_done(self, out=None):
        return len(list((out or self.out).glob(".awqrun/layers/*.h5")))

    def same_bytes(self, out=None):
        written = digest(out or self.out)
        written.pop("awqrun.h5", None)
        self.assertEqual(written, self.reference)
        self.assertEqual(statistics((out or self.out) / "awqrun.h5"), self.reference_statistics)

    def goes_on(self, ranks=1, *options):
        """The same command again ends the job with the reference's bytes."""
        result = self.succeeds(self.job(*options, ranks=ranks))
        self.same_bytes()
        return result

    def partial(self):
        """A run directory with two layers done and a boundary on disk, made once."""
        made = self.base / "partial"
        if not made.exists():
            result = run(*JOB, "--out", made, ranks=2, env={"AWQ_FAULT": "record-before-statistics:3"})
            self.assertNotEqual(result.code, 0, result)
            self.assertGreaterEqual(self.layers_done(made), 1)
        shutil.copytree(made, self.out)

    # ---- ranks that die ----

    def test_random_kills_of_ranks_and_mpirun_end_with_the_same_bytes(self):
        minutes = float(os.environ.get("AWQ_SOAK_MINUTES", "0"))
        wanted = int(os.environ.get("AWQ_KILLS", "50"))
        end = time.monotonic() + 60 * minutes
        seed = int(os.environ.get("AWQ_SEED", random.randrange(10**6)))
        dice = random.Random(seed)
        kills = finished = 0
        while time.monotonic() < end if minutes else kills < wanted:
            ranks = dice.choice([1, 2, 3, 4, 6])
            started = self.start(ranks=ranks)
            time.sleep(dice.uniform(0.2, 1.3) * SLOWER)
            targets = list(started.ranks().values()) + [started.process.pid]
            if started.process.poll() is None:
                os.kill(dice.choice(targets), signal.SIGKILL)
                kills += 1
            code, out, err = started.finish()
            where = f"seed {seed}, kill {kills}, {ranks} ranks: exit {code}\n{out}{err}"
            self.assertTrue(code == 0 or "awqrun: error: " not in err or "was lost" in err, where)
            if (self.out / "config.json").exists():
                self.succeeds(self.job())  # clears away what a kill at the very end left
                self.same_bytes()
                shutil.rmtree(self.out)
                finished += 1
        if self.out.exists():
            self.goes_on(3)
        print(f"{kills} kills, {finished} jobs finished in between, seed {seed}")

    def test_a_killed_worker_is_named_by_the_next_start_and_by_status(self):
        started = self.start("--sequences", LONG, ranks=3)
        self.assertTrue(started.wait_for(lambda: self.layers_done() >= 1))
        os.kill(started.ranks()[2], signal.SIGKILL)
        code, _, err = started.finish()
        self.assertNotEqual(code, 0)
        self.assertRegex(err, r"error: worker 2 \(.*\) was lost at layer \d")
        self.assertRegex(run("status", self.out).out, r"last error: worker 2 \(.*\) was lost")
        again = self.job("--sequences", LONG)
        self.assertEqual(again.code, 0, again)
        self.assertRegex(again.err, r"the last run ended: worker 2 \(.*\) was lost at layer \d")

    def test_a_hung_worker_is_named_and_ends_the_job(self):
        started = self.start("--worker-timeout", 2 * SLOWER, ranks=3)
        self.assertTrue(started.wait_for(self.runs))
        os.kill(started.ranks()[2], signal.SIGSTOP)
        code, _, err = started.finish(40)
        self.assertEqual(code, 1)
        self.assertRegex(err, r"awqrun: error: worker 2 \(.*\) has been silent for \d+ s, at layer")
        self.goes_on(2)

    def test_a_hung_coordinator_ends_the_job(self):
        started = self.start("--worker-timeout", 2 * SLOWER, ranks=3)
        self.assertTrue(started.wait_for(self.runs))
        os.kill(started.ranks()[0], signal.SIGSTOP)
        code, _, err = started.finish(40)
        self.assertNotEqual(code, 0)
        self.assertRegex(err, r"awqrun: error: the coordinator has been silent for \d+ s")
        self.goes_on(2)

    def test_a_kill_at_each_named_point_is_gone_on_from(self):
        for point in FAULT_POINTS:
            for nth, ranks in ((1, 3), (5, 1)):
                with self.subTest(point=point, nth=nth, ranks=ranks):
                    shutil.rmtree(self.out, ignore_errors=True)
                    result = self.job(ranks=ranks, env={"AWQ_FAULT": f"{point}:{nth}"})
                    if result.code == 0:  # reached less often than that
                        self.assertGreater(nth, 1, result)
                        self.same_bytes()
                    else:
                        self.goes_on()

    # ---- signals and limits ----

    def test_usr1_finishes_the_layers_in_search_and_exits_75(self):
        started = self.start("--sequences", LONG, ranks=3)
        self.assertTrue(started.wait_for(lambda: self.layers_done() >= 1))
        os.kill(started.process.pid, signal.SIGUSR1)
        code, _, err = started.finish()
        self.assertEqual(code, 75, err)
        self.assertRegex(err, r"awqrun: interrupted by a signal; finishing the layers")
        self.assertRegex(err, r"awqrun: \d of 4 layers are done and kept in '.*'; run the same")
        self.assertFalse((self.out / "config.json").exists())
        self.assertRegex(run("status", self.out).out, r"interrupted, \d of 4 layers done")

    def test_term_and_int_to_a_single_rank_exit_75(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            started = self.start("--sequences", LONG, ranks=1)
            self.assertTrue(started.wait_for(self.runs))
            os.kill(started.process.pid, number)
            code, _, err = started.finish()
            self.assertEqual(code, 75, err)
        shutil.rmtree(self.out)

    def test_int_to_mpirun_leaves_a_run_that_goes_on(self):
        started = self.start("--sequences", LONG, ranks=3)
        self.assertTrue(started.wait_for(self.runs))
        os.kill(started.process.pid, signal.SIGINT)
        code, _, err = started.finish()
        self.assertNotEqual(code, 0)
        self.assertIn("run the same command again to go on", err)
        self.succeeds(self.job("--sequences", LONG))

    def test_a_second_signal_ends_at_once_and_is_gone_on_from(self):
        started = self.start("--sequences", LONG, ranks=1)
        self.assertTrue(started.wait_for(self.runs))
        os.kill(started.process.pid, signal.SIGTERM)
        time.sleep(0.05)
        os.kill(started.process.pid, signal.SIGTERM)
        code, _, _ = started.finish(5)
        self.assertEqual(code, 75)
        self.assertEqual(self.job("--sequences", LONG).code, 0)

    def test_a_time_limit_exits_75_until_the_job_is_done(self):
        codes = []
        while not codes or codes[-1] == 75:
            result = self.job("--sequences", LONG, "--time-limit", f"{2 * SLOWER}s", ranks=2)
            codes.append(result.code)
            self.assertLess(len(codes), 20, result)
        self.assertEqual(codes[-1], 0)
        self.assertIn(75, codes)

    # ---- files that are torn, wrong or missing ----

    @staticmethod
    def damage(file, kind):
        data = file.read_bytes()
        middle = len(data) // 2
        if kind == "truncated":
            file.write_bytes(data[:middle])
        elif kind == "flipped":
            file.write_bytes(data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1:])
        else:
            file.unlink()

    def test_damaged_files_of_a_run_directory_are_done_again_and_never_used(self):
        self.partial()
        names = [path.relative_to(self.out) for path in sorted(self.out.rglob("*"))
                 if path.is_file()]
        for name in names:
            for kind in ("truncated", "flipped", "deleted"):
                with self.subTest(file=str(name), damage=kind):
                    shutil.rmtree(self.out)
                    self.partial()
                    if (self.out / name).stat().st_size:
                        self.damage(self.out / name, kind)
                    self.goes_on()

    def test_swapped_records_are_done_again(self):
        self.partial()
        run_directory = self.out / ".awqrun"
        records = sorted((run_directory / "layers").glob("*.h5"))
        tensors = [record.with_suffix(".safetensors") for record in records]
        shutil.copy(records[0], run_directory / "layers/00003.h5")
        shutil.copy(tensors[0], run_directory / "layers/00003.safetensors")
        result = self.goes_on()
        self.assertRegex(result.err, "warning: .*00003.*done again")

    def test_boundaries_that_have_served_are_removed(self):
        result = self.succeeds(self.job("--keep-run", "--stage-layers", 1))
        self.assertEqual(list((self.out / ".awqrun/boundaries").glob("*.h5")), [], result)

    def test_half_written_temporaries_are_swept(self):
        self.partial()
        for folder in ("layers", "boundaries", ""):
            (self.out / ".awqrun" / folder / ".00002.h5.node.1.tmp").write_bytes(b"half")
        self.goes_on()

    # ---- disks that fill ----

    def test_a_file_size_limit_is_one_line_with_path_and_bytes_and_is_gone_on_from(self):
        """The limit comes while the job runs: MPI's own files need room at its start."""
        started = self.start("--sequences", LONG, ranks=3)
        self.assertTrue(started.wait_for(self.runs))
        for process in started.ranks().values():
            resource.prlimit(process, resource.RLIMIT_FSIZE, (200_000, 200_000))
        code, _, err = started.finish()
        errors = [line for line in err.splitlines() if line.startswith("awqrun: error:")]
        self.assertEqual(code, 1, err)
        self.assertEqual(len(errors), 1, err)
        self.assertRegex(errors[0], r"cannot write '.*'.*\d+ bytes")
        self.succeeds(self.job("--sequences", LONG))

    @unittest.skipUnless(os.geteuid() == 0, "mounting a small tmpfs takes root")
    def test_a_full_disk_is_gone_on_from_once_there_is_room(self):
        disk = self.folder / "disk"
        disk.mkdir()
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", disk],
                               capture_output=True, text=True, check=False)
        if mount.returncode:
            self.skipTest(f"cannot mount a tmpfs here: {mount.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", disk], check=False)
        self.out = disk / "out"
        ballast = disk / "ballast"
        started = self.start("--sequences", 64, ranks=3)
        self.assertTrue(started.wait_for(self.runs))
        with open(ballast, "wb") as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
                    file.flush()
            except OSError:
                pass
        code, _, err = started.finish()
        self.assertEqual(code, 1, err)
        self.assertRegex(err, r"awqrun: error: .*cannot write '.*'.*no space left on device")
        refused = self.job("--sequences", 64)
        self.assertRegex(refused.errors[0], "needs .* more .* has .* free")
        ballast.unlink()
        self.succeeds(self.job("--sequences", 64))

    # ---- two at once ----

    def test_a_second_job_is_refused_while_the_first_lives(self):
        started = self.start("--sequences", LONG, ranks=3)
        self.assertTrue(started.wait_for(self.runs))
        second = self.job("--sequences", LONG)
        self.assertEqual(second.code, 1, second)
        host = socket.gethostname()
        self.assertRegex(second.errors[0], rf"another job works .* \(host {host}, pid \d+")
        self.assertEqual(started.finish()[0], 0)

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
        self.assertRegex(self.goes_on().err, "warning: the last job here ended without a word")

    # ---- the same job or another ----

    def test_what_changes_the_result_is_refused_and_named(self):
        self.partial()
        result = self.job("--group-size", 64, "--sequences", 4)
        self.assertEqual(result.code, 1, result)
        text = "\n".join(result.errors)
        self.assertRegex(text, r'options group-size: "128" in the earlier run, "64" now')
        self.assertRegex(text, r"tokens sequences: 8 in the earlier run, 4 now")
        self.assertRegex(text, r"--restart")
        self.goes_on()

    def test_what_does_not_change_the_result_may_differ(self):
        self.partial()
        self.goes_on(3, "--threads", 1, "--stage-layers", 2, "--verbose", "--worker-timeout", 99,
                     "--device-memory", "2GB")

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
        result = self.goes_on()
        self.assertRegex(result.err, rf"quantizing layers=4 done={done} ")

    def test_a_complete_output_is_left_alone(self):
        self.goes_on()
        before = {path: path.stat().st_mtime_ns for path in self.out.rglob("*")}
        result = self.succeeds(self.job(ranks=2))
        self.assertIn("complete already", result.out)
        self.assertEqual({path: path.stat().st_mtime_ns for path in self.out.rglob("*")}, before)


if __name__ == "__main__":
    unittest.main()
