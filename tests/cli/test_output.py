# SPDX-License-Identifier: MIT
"""The output directory: where it may be, what it must not hold, what a finished one is."""

import os
import shutil
import subprocess
import unittest

from support.case import COMPANIONS, DEMO, Case, digest, read_json
from support.program import run


class Place(Case):
    def test_the_source_itself_is_refused(self):
        model = self.demo()
        for out in (model, f"{model}/", f"{model}/../model", f"{model}/."):
            with self.subTest(out=out):
                before = digest(model)
                self.fails_with(self.quantize(model=model, out=out), "is the same as the source")
                self.assertEqual(digest(model), before)

    def test_a_directory_inside_the_source_is_refused(self):
        model = self.demo()
        self.refuses("is inside the source", model=model, out=model / "awq", ranks=(1, 3))
        self.assertFalse((model / "awq").exists())

    def test_a_link_to_the_source_is_refused(self):
        model = self.demo()
        link = self.folder / "link"
        link.symlink_to(model)
        before = digest(model)
        self.fails_with(self.quantize(model=model, out=link), "is the same as the source")
        self.fails_with(self.quantize(model=model, out=link / "new"), "is inside the source")
        self.assertEqual(digest(model), before)

    def test_a_directory_with_foreign_files_is_refused(self):
        for name in ("notes.txt", "config.json", "model.safetensors"):
            with self.subTest(name=name):
                out = self.folder / name
                out.mkdir()
                (out / name).write_text("mine")
                self.fails_with(self.quantize(out=out), f"holds '{name}', which is no file of an")
                self.assertEqual([path.name for path in out.iterdir()], [name])
                self.assertEqual((out / name).read_text(), "mine")

    def test_an_empty_directory_is_taken(self):
        self.out.mkdir()
        self.succeeds(self.quantize(tokens=self.demo_tokens()))

    def test_missing_parents_are_made(self):
        out = self.folder / "a" / "b" / "c"
        self.succeeds(self.quantize(tokens=self.demo_tokens(), out=out))
        self.assertTrue((out / "config.json").exists())

    def test_a_path_below_a_file_is_refused(self):
        file = self.folder / "file"
        file.write_text("")
        self.fails_with(self.quantize(out=file / "out"), "file' is not a directory")
        self.fails_with(self.quantize(out=file), "file")
        self.assertEqual(file.read_text(), "")

    def test_a_place_where_nothing_can_be_made_is_refused(self):
        for ranks in (1, 3):
            with self.subTest(ranks=ranks):
                self.fails_with(self.quantize(out="/proc/awqrun", ranks=ranks), "/proc/awqrun'")

    @unittest.skipIf(os.geteuid() == 0, "root may write into any directory")
    def test_a_directory_without_permission_is_refused(self):
        self.out.mkdir(mode=0o555)
        self.fails_with(self.quantize(), "cannot write into .*: Permission denied")


class SmallDisk(Case):
    """A file system of a few megabytes, where this machine lets us mount one."""

    def mount(self, options):
        self.out.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "awqrun-test", self.out],
                                 capture_output=True, check=False)
        if mounted.returncode:
            self.skipTest("mounting a file system is not allowed here")
        self.addCleanup(subprocess.run, ["umount", "-l", self.out], check=False)

    def test_a_disk_too_small_is_refused_before_any_work(self):
        self.mount("size=2m")
        for ranks in (1, 3):
            with self.subTest(ranks=ranks):
                result = self.quantize(tokens=self.demo_tokens(), ranks=ranks)
                self.fails_with(result, "needs .* more .* its disk has .* free; make room")
                self.assertEqual(list(self.out.iterdir()), [])

    def test_a_disk_that_is_full_when_the_layers_are_written_ends_the_job(self):
        self.mount("size=16m,nr_inodes=12")
        for ranks in (1, 3):
            with self.subTest(ranks=ranks):
                result = self.quantize(tokens=self.demo_tokens(), ranks=ranks)
                self.fails_with(result, "no space left on device.*free space and run")
                self.nothing_looks_finished()

    def test_a_read_only_disk_is_refused(self):
        self.mount("size=2m,ro")
        self.fails_with(self.quantize(tokens=self.demo_tokens()), "Read-only file system")


class FullDisk(Case):
    def test_a_write_that_fails_ends_the_job_and_names_the_file(self):
        result = self.quantize(tokens=self.demo_tokens(), file_size=400_000)
        self.fails_with(result, "layers/00000.safetensors.: file size limit reached")
        self.nothing_looks_finished()

    def test_a_merge_that_fails_is_taken_up_again(self):
        tokens = self.demo_tokens()
        self.fails_with(self.quantize(tokens=tokens, file_size=1_000_000),
                        "model.safetensors.: file size limit reached")
        self.nothing_looks_finished()
        self.succeeds(self.quantize(tokens=tokens))
        reference = self.folder / "reference"
        self.succeeds(self.quantize(tokens=tokens, out=reference))
        ours, theirs = digest(self.out), digest(reference)
        self.assertEqual(set(ours), set(theirs))
        for name in set(ours) - {"awqrun.h5"}:
            self.assertEqual(ours[name], theirs[name], name)


class Finished(Case):
    def setUp(self):
        super().setUp()
        self.small = self.demo_tokens()
        self.first = self.succeeds(self.quantize(tokens=self.small))

    def test_a_complete_output_is_left_alone(self):
        before = digest(self.out)
        for ranks in (1, 3):
            with self.subTest(ranks=ranks):
                result = self.succeeds(self.quantize(tokens=self.small, ranks=ranks))
                self.assertIn("complete already", result.out)
        self.assertEqual(digest(self.out), before)

    def test_restart_makes_it_anew_with_equal_bytes(self):
        before = digest(self.out)
        (self.out / "model.safetensors").write_bytes(b"spoilt")
        self.succeeds(self.quantize("--restart", tokens=self.small))
        after = digest(self.out)
        self.assertEqual(set(after), set(before))
        for name in set(before) - {"awqrun.h5"}:
            self.assertEqual(after[name], before[name], name)

    def test_companions_are_copied_bit_for_bit_and_nothing_else_is_there(self):
        for name in COMPANIONS:
            self.assertEqual((self.out / name).read_bytes(), (DEMO / name).read_bytes(), name)
        self.assertEqual(sorted(path.name for path in self.out.iterdir()),
                         sorted((*COMPANIONS, "awqrun.h5", "config.json", "model.safetensors")))

    def test_the_shards_and_the_errors_are_printed(self):
        self.assertRegex(self.first.out, "model.safetensors +2.70 MB")
        self.assertRegex(self.first.out, "relative error .*\\d%")

    def test_the_source_is_as_it_was(self):
        model, out = self.demo(), self.folder / "again"
        before = digest(model)
        self.succeeds(self.quantize(model=model, tokens=self.small, out=out))
        self.assertEqual(digest(model), before)

    def test_status_says_complete(self):
        self.assertIn("complete", self.succeeds(run("status", self.out)).out)
        result = self.succeeds(run("status", self.out, "--json"))
        self.assertIn('"state": "complete"', result.out)

    def test_plan_for_it_is_still_printed(self):
        self.succeeds(run("plan", "--model", DEMO, "--tokens", self.small, "--out", self.out))


class RunDirectory(Case):
    def test_keep_run_keeps_it_with_a_state_of_complete(self):
        self.succeeds(self.quantize("--keep-run", tokens=self.demo_tokens()))
        kept = self.out / ".awqrun"
        self.assertTrue((kept / "layers" / "00003.h5").exists())
        self.assertEqual(read_json(kept / "status.json")["state"], "complete")

    def test_another_job_in_the_same_directory_is_refused(self):
        tokens = self.demo_tokens()
        self.fails_with(self.quantize(tokens=tokens, file_size=1_000_000), "file size limit")
        kept = digest(self.out / ".awqrun" / "layers")
        result = self.quantize("--group-size", "64", tokens=tokens)
        self.fails_with(result, "group-size.*128.*64", "run of another job.*--restart")
        self.assertEqual(digest(self.out / ".awqrun" / "layers"), kept)
        self.assertRegex(self.succeeds(run("status", self.out)).out, "failed")
        self.succeeds(self.quantize("--group-size", "64", "--restart", tokens=tokens))
        self.assertEqual(read_json(self.out / "config.json")["quantization_config"]["group_size"],
                         64)

    def test_a_directory_that_is_no_job_has_no_status(self):
        shutil.copytree(DEMO, self.out)
        self.fails_with(run("status", self.out), "holds no awqrun job")
        self.fails_with(run("status", self.folder / "nowhere"),
                        "cannot open '.*/nowhere': No such file or directory")


if __name__ == "__main__":
    unittest.main()
