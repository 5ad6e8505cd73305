# SPDX-License-Identifier: MIT
"""Files of a run directory that are torn, wrong or missing, and disks that fill."""

import os
import resource
import shutil
import subprocess
import unittest

from support.faults import JOB, LONG, FaultCase


class Files(FaultCase):
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
                    self.resumes()

    def test_swapped_records_are_done_again(self):
        self.partial()
        run_directory = self.out / ".awqrun"
        records = sorted((run_directory / "layers").glob("*.h5"))
        tensors = [record.with_suffix(".safetensors") for record in records]
        shutil.copy(records[0], run_directory / "layers/00003.h5")
        shutil.copy(tensors[0], run_directory / "layers/00003.safetensors")
        result = self.resumes()
        self.assertRegex(result.err, "warning: .*00003.*done again")

    def test_a_record_that_is_damaged_before_the_merge_is_named_and_made_again(self):
        """Nobody reads a record between its writing and the merge, whose only reading checks it."""
        for kind, ranks in (("flipped", 3), ("truncated", 1)):
            with self.subTest(damage=kind, ranks=ranks):
                shutil.rmtree(self.out, ignore_errors=True)
                started = self.start(*LONG, ranks=ranks)
                self.assertTrue(started.wait_for(lambda: self.layers_done() >= 1))
                record = min((self.out / ".awqrun/layers").glob("*.h5"))
                self.damage(record.with_suffix(".safetensors"), kind)
                code, _, err = started.finish()
                self.assertEqual(code, 1, err)
                self.assertRegex(err, f"awqrun: error: .*'.*{record.stem}.safetensors'")
                if kind == "flipped":
                    self.assertRegex(err, "layer [0-9] was damaged after it was written; the same "
                                          "command makes it again: .* another crc32")
                self.assertFalse((self.out / "config.json").exists())
                self.assertRegex(self.resumes(options=LONG).err,
                                 f"warning: .*{record.stem}.*done again")

    def boundaries(self):
        return {int(path.stem) for path in (self.out / ".awqrun/boundaries").glob("*.h5")}

    def test_boundaries_that_have_served_are_removed(self):
        """Killed in layer 2: nothing needs the input of layer 1 any more."""
        self.partial()
        self.assertIn(2, self.boundaries())
        self.assertNotIn(1, self.boundaries())

    def test_keep_run_keeps_boundaries_that_have_served(self):
        self.succeeds(self.job("--keep-run", "--stage-layers", 1))
        self.assertEqual(self.boundaries(), {1, 2, 3})

    def test_half_written_temporaries_are_swept(self):
        self.partial()
        for folder in ("layers", "boundaries", ""):
            (self.out / ".awqrun" / folder / ".00002.h5.node.1.tmp").write_bytes(b"half")
        self.resumes()

    def test_a_file_size_limit_is_one_line_with_path_and_bytes_and_is_resumed(self):
        """The limit comes while the job runs: MPI's own files need room at its start."""
        started = self.start(*LONG, ranks=3)
        self.assertTrue(started.wait_for(self.runs))
        for process in started.ranks().values():
            resource.prlimit(process, resource.RLIMIT_FSIZE, (200_000, 200_000))
        code, _, err = started.finish()
        errors = [line for line in err.splitlines() if line.startswith("awqrun: error:")]
        self.assertEqual(code, 1, err)
        self.assertEqual(len(errors), 1, err)
        self.assertRegex(errors[0], r"cannot write '.*'.*\d+ bytes")
        self.resumes(options=LONG)

    def test_a_merge_that_may_not_write_its_shards_names_one_and_is_resumed(self):
        """One stage and no boundaries: a shard is the first file that is too large."""
        self.options = [*JOB]
        self.options[JOB.index("--stage-layers") + 1] = 4
        started = self.start(*LONG, ranks=2)
        self.assertTrue(started.wait_for(self.runs))
        for process in started.ranks().values():
            resource.prlimit(process, resource.RLIMIT_FSIZE, (600_000, 600_000))
        code, _, err = started.finish()
        self.assertEqual(code, 1, err)
        self.assertRegex(err, r"awqrun: error: .*cannot write '.*model-0000\d-of-.*': file size "
                              r"limit reached, \d+ bytes needed; raise the limit")
        self.assertEqual(self.layers_done(), 4)
        self.assertFalse((self.out / "config.json").exists())
        self.resumes(ranks=4, options=LONG)

    @unittest.skipUnless(os.geteuid() == 0, "mounting a small tmpfs takes root")
    def test_a_full_disk_is_resumed_once_there_is_room(self):
        disk = self.folder / "disk"
        disk.mkdir()
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", disk],
                               capture_output=True, text=True, check=False)
        if mount.returncode:
            self.skipTest(f"cannot mount a tmpfs here: {mount.stderr.strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", disk], check=False)
        self.out = disk / "out"
        ballast = disk / "ballast"
        started = self.start(*LONG, ranks=3)
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
        refused = self.job(*LONG)
        self.assertRegex(refused.errors[0], "needs .* more .* has .* free")
        ballast.unlink()
        self.resumes(options=LONG)
