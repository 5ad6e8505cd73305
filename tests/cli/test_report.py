# SPDX-License-Identifier: MIT
"""`awqrun report`: what it writes, of finished checkpoints and unfinished runs, and what it
refuses. How the page looks is test_report_page's."""

import csv
import io
import json
import os
import pathlib
import re
import shutil
import tempfile
import unittest

import h5py
import numpy as np

from support import seventy
from support.case import DEMO, Case
from support.program import run

PAGE = "awqrun-report.html"
SMALL = {"hidden": 256, "intermediate": 768, "kv": 128, "layers": 2}


def data_of(page):
    """The JSON within a page."""
    text = page.read_text()
    start = '<script type="application/json" id="data">'
    assert text.count(start) == 1
    return json.loads(text.partition(start)[2].partition("</script>")[0])


def table_of(text):
    return list(csv.DictReader(io.StringIO(text)))


class Quantized(Case):
    """Each test has a copy of what one run of `options` on the demo model left."""
    options = ()
    ranks = 1

    @classmethod
    def setUpClass(cls):
        cls.made = pathlib.Path(tempfile.mkdtemp(prefix="awqrun-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.made, ignore_errors=True)
        result = run("quantize", "--model", DEMO, "--tokens", DEMO / "calib.h5", "--sequences", "4",
                     "--out", cls.made / "out", *cls.options, ranks=cls.ranks)
        assert result.code == 0, result

    def setUp(self):
        super().setUp()
        shutil.copytree(self.made / "out", self.out)


class Finished(Quantized):
    """The demo model's report, against what h5py reads."""
    ranks = 3

    def report(self):
        result = run("report", self.out)
        self.succeeds(result)
        return data_of(self.out / PAGE)

    def test_the_page_is_written_into_the_checkpoint(self):
        result = run("report", self.out)
        self.assertEqual((result.code, result.err), (0, ""), result)
        self.assertRegex(result.out, rf"^{re.escape(str(self.out))}/{PAGE}: 4 of 4 layers, ")

    def test_it_can_be_written_elsewhere(self):
        page = self.folder / "page.html"
        self.succeeds(run("report", self.out, "--html", page))
        self.assertEqual(len(data_of(page)["records"]), 4)
        self.assertFalse((self.out / PAGE).exists())

    def test_it_is_no_foreign_file_in_the_output_directory(self):
        self.succeeds(run("report", self.out))
        self.assertIn("complete", run("status", self.out).out)
        self.succeeds(self.quantize(sequences=4))
        self.succeeds(self.quantize("--restart", sequences=4))
        self.assertFalse((self.out / PAGE).exists(), "it is about a run that was discarded")

    def test_it_needs_nothing_but_itself(self):
        self.succeeds(run("report", self.out))
        text = (self.out / PAGE).read_text().replace("http://www.w3.org/2000/svg", "")
        for pattern in (r"https?:", r"\bsrc=", r"<link", r"@import", r"url\((?!#)", r"\bfetch\("):
            self.assertNotRegex(text, pattern)

    def test_losses_and_alphas_are_those_of_the_file(self):
        data = self.report()
        with h5py.File(self.out / "awqrun.h5") as file:
            for record in data["records"]:
                layer = file["layers"][f"{record['layer']:05}"]
                for name, found in record["groups"].items():
                    group = layer["groups"][name]
                    grid = data["grids"][found["grid"]]
                    np.testing.assert_allclose(grid["alpha"], group["alpha"], rtol=1e-5)
                    np.testing.assert_array_equal(grid["duo"], group["duo"])
                    np.testing.assert_allclose(found["loss"], group["loss"], rtol=1e-5)
                    np.testing.assert_allclose(found["measured"], group["measured"], rtol=1e-5)
                    self.assertEqual(found["chosen"], group.attrs["chosen"])
                for name, found in record["linears"].items():
                    expected = layer["linears"][name].attrs
                    for key, attribute in (("loss", "loss"), ("rounding", "loss_rounding"),
                                           ("energy", "energy"), ("clipped", "clipped_groups")):
                        np.testing.assert_allclose(found[key], expected[attribute], rtol=1e-5)
                    if found["clipped"]:
                        np.testing.assert_array_equal(found["clips"],
                                                      layer["linears"][name]["clip_counts"])

    def test_channels_are_those_of_the_file(self):
        data = self.report()
        with h5py.File(self.out / "awqrun.h5") as file:
            for record in data["records"]:
                for name, found in record["groups"].items():
                    group = file[f"layers/{record['layer']:05}/groups/{name}"]
                    values, channels = group["mean_abs"][()], found["channels"]
                    self.assertEqual(channels["count"], len(values))
                    expected = np.quantile(values, [0, .01, .1, .5, .9, .99, .999, 1],
                                           method="lower")
                    np.testing.assert_allclose(channels["quantiles"], expected, rtol=1e-5)
                    largest = np.array(channels["largest"]).reshape(-1, 3)
                    order = np.argsort(-values, kind="stable")[:16]
                    np.testing.assert_array_equal(largest[:, 0], order)
                    np.testing.assert_allclose(largest[:, 1], values[order], rtol=1e-5)
                    np.testing.assert_allclose(largest[:, 2], group["scales"][()][order], rtol=1e-5)

    def test_who_worked_when_is_told(self):
        data = self.report()
        self.assertEqual({record["when"]["worker"] for record in data["records"]}, {1, 2})
        names = data["spans"]
        for record in data["records"]:
            when = record["when"]
            self.assertEqual(when["host"], os.uname().nodename[:63])
            for begin, end in zip(when["begin"], when["end"]):
                self.assertGreater(begin, 1.6e12)
                self.assertLessEqual(begin, end)
            for before, after in (("read", "flow"), ("flow", "search"), ("search", "pack"),
                                  ("pack", "write")):
                self.assertLessEqual(when["end"][names.index(before)],
                                     when["begin"][names.index(after)] + 1)

    def test_a_layer_is_read_while_the_one_before_it_is_at_work(self):
        self.out = self.folder / "ahead"
        self.succeeds(self.quantize("--stage-layers", 1, "--alpha-steps", 1, sequences=2))
        data = self.report()
        read, pack = (data["spans"].index(name) for name in ("read", "pack"))
        records = data["records"]
        for before, after in zip(records, records[1:]):
            self.assertLess(after["when"]["begin"][read], before["when"]["end"][pack])

    def test_facts_are_those_of_the_job(self):
        data = self.report()
        self.assertEqual((data["state"], data["layers"], data["name"]), ("complete", 4, "out"))
        self.assertEqual(data["job"]["options"]["group-size"], "128")
        self.assertEqual(data["job"]["tokens"]["sequences"], 4)
        self.assertEqual(data["config"]["model_type"], "llama")
        self.assertRegex(data["fingerprint"], "^[0-9a-f]{8}$")

    def test_csv_has_a_line_for_each_layer_and_linear(self):
        result = run("report", self.out, "--csv")
        self.assertEqual((result.code, result.err), (0, ""), result)
        rows = table_of(result.out)
        self.assertEqual(len(rows), 4 * 7)
        with h5py.File(self.out / "awqrun.h5") as file:
            for row in rows:
                layer = file["layers"][f"{int(row['layer']):05}"]
                linear = layer["linears"][row["linear"]].attrs
                group = layer["groups"][row["scale_group"]]
                chosen = group.attrs["chosen"]
                self.assertAlmostEqual(float(row["alpha"]), group["alpha"][chosen])
                for key, expected in (
                        ("damp", linear["damp"]), ("loss", linear["loss"]),
                        ("group_loss", group["loss"][chosen]),
                        ("group_loss_measured", group["measured"][chosen]),
                        ("relative_error", (linear["loss"] / linear["energy"]) ** 0.5),
                        ("relative_error_rounding",
                         (linear["loss_rounding"] / linear["energy"]) ** 0.5)):
                    np.testing.assert_allclose(float(row[key]), expected, rtol=1e-6)
                for phase, seconds in layer["seconds"].attrs.items():
                    np.testing.assert_allclose(float(row[f"{phase}_s"]), seconds, rtol=1e-6)
                self.assertNotIn(None, row, "more fields than the header has")
        consumers = {row["linear"]: row["scale_group"] for row in rows}
        self.assertEqual(consumers, {
            "q_proj": "qkv", "k_proj": "qkv", "v_proj": "qkv", "o_proj": "o",
            "gate_proj": "gate_up", "up_proj": "gate_up", "down_proj": "down"})
        self.assertFalse((self.out / PAGE).exists())


class Unfinished(Quantized):
    """A run of four stages of one layer each, without its last three records."""
    options = ("--keep-run", "--stage-layers", "1")

    def setUp(self):
        super().setUp()
        self.records = self.out / ".awqrun" / "layers"
        for layer in (1, 2, 3):
            (self.records / f"{layer:05}.h5").unlink()
        (self.out / "awqrun.h5").unlink()
        (self.out / "config.json").unlink()

    def test_it_shows_what_there_is_and_says_so(self):
        result = run("report", self.out)
        self.assertEqual((result.code, result.err), (0, ""), result)
        self.assertIn("1 of 4 layers, the run is not finished", result.out)
        data = data_of(self.out / PAGE)
        self.assertEqual(data["state"], "unfinished")
        self.assertEqual(data["layers"], 4)
        self.assertEqual([record["layer"] for record in data["records"]], [0])
        self.assertEqual(data["job"]["tokens"]["sequences"], 4)

    def test_its_csv_has_the_layers_that_are_done(self):
        rows = table_of(run("report", self.out, "--csv").out)
        self.assertEqual({row["layer"] for row in rows}, {"0"})

    def test_a_damaged_record_is_left_out_with_a_warning(self):
        whole = (self.records / "00000.h5").read_bytes()
        (self.records / "00002.h5").write_bytes(whole[:len(whole) // 2])
        (self.records / "notes.h5").write_bytes(b"")
        result = run("report", self.out)
        self.assertEqual(result.code, 0, result)
        self.assertRegex(result.err, r"warning: .*00002\.h5.*; the layer is left out")
        self.assertEqual([record["layer"] for record in data_of(self.out / PAGE)["records"]], [0])

    def test_nothing_done_yet_is_a_page_too(self):
        (self.records / "00000.h5").unlink()
        result = run("report", self.out)
        self.assertIn("0 of 4 layers", result.out)
        self.assertEqual(data_of(self.out / PAGE)["records"], [])

    def test_the_run_can_be_resumed(self):
        self.succeeds(run("report", self.out))
        self.succeeds(self.quantize("--stage-layers", "1", sequences=4))

    def test_a_job_file_that_is_not_ours_is_refused(self):
        (self.out / ".awqrun" / "job.json").write_text('{"awqrun": 1}')
        self.fails_with(run("report", self.out), "job.json' is not what awqrun wrote")


class Refused(Quantized):
    def test_a_directory_without_a_job_is_refused(self):
        self.fails_with(run("report", self.folder / "missing"),
                        "cannot open '.*/missing': No such file or directory")
        for out in (self.folder, DEMO):
            self.fails_with(run("report", out), "holds no awqrun job")

    def test_a_command_line_that_says_two_things_is_refused(self):
        self.fails_with(run("report", self.out, "--csv", "--html", "x"), "give one of them",
                        code=2)
        self.fails_with(run("report"), "give its output directory", code=2)
        self.fails_with(run("report", self.out, "--bits", "4"), "unknown option '--bits'", code=2)

    def test_statistics_that_are_not_ours_are_refused(self):
        path = self.out / "awqrun.h5"
        path.write_text("not HDF5 at all")
        self.fails_with(run("report", self.out), "awqrun.h5' is truncated")
        with h5py.File(path, "w", userblock_size=seventy.SEAL_BYTES) as file:
            file["numbers"] = [1, 2]
        self.fails_with(run("report", self.out), "checksum is wrong; expected the statistics")
        seventy.seal(path)
        self.fails_with(run("report", self.out), "is HDF5, but not the statistics of a checkpoint")

    def test_statistics_that_are_damaged_are_refused(self):
        path = self.out / "awqrun.h5"
        whole = path.read_bytes()
        for part in (2, 50):
            path.write_bytes(whole[:len(whole) // part])
            self.fails_with(run("report", self.out), "awqrun.h5")
        for change in (lambda file: file.__delitem__("layers/00002"),
                       lambda file: file.__delitem__("layers/00002/groups/o/loss"),
                       lambda file: file["layers/00002"].attrs.__setitem__("layer", 7)):
            path.write_bytes(whole)
            with h5py.File(path, "r+") as file:
                change(file)
            self.fails_with(run("report", self.out), "awqrun.h5' .* checksum is wrong")
            seventy.seal(path)
            for option in ([], ["--csv"]):
                self.fails_with(run("report", self.out, *option),
                                "lacks parts of the record of layer")

    def test_a_page_that_cannot_be_written_is_an_error(self):
        self.fails_with(run("report", self.out, "--html", self.folder / "no" / "page.html"),
                        "no/page.html")
        self.assertFalse((self.out / PAGE).exists())


class Large(Case):
    def test_eighty_layers_of_llama_70b_are_less_than_a_megabyte(self):
        seventy.write_statistics(self.out)
        self.succeeds(run("report", self.out))
        self.assertLess((self.out / PAGE).stat().st_size, 1_000_000)
        data = data_of(self.out / PAGE)
        self.assertEqual(len(data["records"]), 80)
        self.assertEqual(data["records"][79]["groups"]["down"]["channels"]["count"], 28672)

    def test_eighty_layers_of_128_experts_are_less_than_a_megabyte(self):
        """By what each layer adds to the page."""
        sizes = {}
        for layers in (2, 8):
            out = self.folder / f"mixture-{layers}"
            seventy.write_statistics(out, {**seventy.MIXTURE, "layers": layers}, 1)
            self.succeeds(run("report", out))
            sizes[layers] = (out / PAGE).stat().st_size
            record = data_of(out / PAGE)["records"][1]
            self.assertEqual([len(numbers) for numbers in record["experts"].values()], [128] * 4)
            self.assertEqual(list(record["groups"]), ["qkv", "o", "gate_up"])
            self.assertEqual(list(record["linears"])[4:], [
                f"experts.{kind}_proj" for kind in ("gate", "up", "down")])
        a_layer = (sizes[8] - sizes[2]) / 6
        self.assertLess(sizes[8] + 72 * a_layer, 1_000_000)
        self.assertGreater(a_layer, 1000)

    def test_a_loss_that_is_not_finite_is_told_as_such(self):
        seventy.write_statistics(self.out, SMALL)
        with h5py.File(self.out / "awqrun.h5", "r+") as file:
            loss = file["layers/00001/groups/qkv/loss"]
            loss[3], loss[4] = np.nan, np.inf
        seventy.seal(self.out / "awqrun.h5")
        self.succeeds(run("report", self.out))
        loss = data_of(self.out / PAGE)["records"][1]["groups"]["qkv"]["loss"]
        self.assertEqual((loss[3], loss[4]), (None, None))
        self.assertEqual(sum(value is None for value in loss), 2)


class Names(Case):
    def test_a_name_cannot_end_its_element(self):
        self.out = self.folder / "a<b>&\"'"
        seventy.write_statistics(self.out, SMALL)
        self.succeeds(run("report", self.out))
        text = (self.out / PAGE).read_text()
        self.assertIn("<title>a&lt;b&gt;&amp;&quot;&#39;: quantization report</title>", text)
        self.assertEqual(text.count("a<b"), 0)
        self.assertEqual(data_of(self.out / PAGE)["name"], self.out.name)


if __name__ == "__main__":
    unittest.main()
