# SPDX-License-Identifier: MIT
"""awqrun convert: the same codes in another format, to the byte, or a refusal."""

import shutil
import unittest

import numpy as np

from support import safetensors
from support.case import COMPANIONS, DEMO, FAMILIES, INDEX, Case, digest, read_json, write_json
from support.program import run
from support.statistics import statistics

FORMATS = ("gemm", "gemv", "gemv-fast")
LIMIT = ("--max-shard-size", "700kB")  # several shards; some linears lie across two


class Convert(Case):
    @classmethod
    def setUpClass(cls):
        """The demo model in each format, as quantize writes it."""
        case = cls("test_the_check_sees_a_change")
        case.setUp()
        cls.addClassCleanup(case.doCleanups)
        cls.made = {}
        for name, options in ((*((f, ("--format", f)) for f in FORMATS),
                               ("packed", ("--format", "compressed-tensors")),
                               ("symmetric", ("--format", "compressed-tensors", "--symmetric",
                                              "--skip", "layers.1.mlp")),
                               ("packed3", ("--format", "compressed-tensors", "--bits", 3)))):
            cls.made[name] = case.folder / name
            case.succeeds(case.quantize(*options, *LIMIT, out=cls.made[name], sequences=4))

    def convert(self, source, *options, name="out", **how):
        return run("convert", source, "--out", self.folder / name, *options, **how)

    def converted(self, source, *options, name="out"):
        self.succeeds(self.convert(source, *options, *LIMIT, name=name))
        return self.folder / name

    def assert_same(self, out, made):
        """Every file of a checkpoint, but the statistics, which are the source's."""
        found, expected = digest(out), digest(made)
        self.assertIn(INDEX, found)
        for files in (found, expected):
            del files["awqrun.h5"]
        self.assertEqual(found, expected)

    def statistics_are_kept(self, out, source, target):
        """Of the layers those of the source, of the tensors those that now are there."""
        found, layers, tensors = (statistics(path / "awqrun.h5")
                                  for path in (out, source, target))
        expected = {key: value for key, value in layers.items() if not key.startswith("tensors/")}
        expected |= {key: value for key, value in tensors.items() if key.startswith("tensors/")}
        self.assertEqual(found, expected)

    def test_the_check_sees_a_change(self):
        with self.assertRaises(AssertionError):
            self.assert_same(self.made["gemm"], self.made["gemv"])

    def test_every_format_of_awq_becomes_every_other_to_the_byte(self):
        for source in FORMATS:
            for target in FORMATS:
                with self.subTest(source=source, target=target):
                    name = f"{source}-{target}"
                    out = self.converted(self.made[source], "--format", target, name=name)
                    self.assert_same(out, self.made[target])
                    self.statistics_are_kept(out, self.made[source], self.made[target])

    def test_compressed_tensors_survive_a_turn_through_another_format(self):
        for name, options in (("packed", ()), ("symmetric", ("--symmetric",))):
            for format_ in FORMATS:
                with self.subTest(name=name, format=format_):
                    there = self.converted(self.made[name], "--format", format_,
                                           name=f"{name}-{format_}")
                    back = self.converted(there, "--format", "compressed-tensors", *options,
                                          name=f"{name}-{format_}-back")
                    self.assert_same(back, self.made[name])
                    self.assertEqual(self.evaluate(there, "--sequences", 2)["mean_nll"],
                                     self.evaluate(back, "--sequences", 2)["mean_nll"])

    def test_a_checkpoint_of_another_tool_is_read(self):
        """No awqrun.h5, one file, AutoAWQ's spelling, float16; biases and tied embeddings."""
        source = self.folder / "theirs"
        self.succeeds(self.quantize("--group-size", 32, model=FAMILIES / "qwen2", out=source,
                                    tokens=self.family_tokens()))
        (source / "awqrun.h5").unlink()
        config = read_json(source / "config.json")
        config["quantization_config"].update(version="GEMM", backend="autoawq")
        write_json(source / "config.json", config)
        self.succeeds(self.convert(source, "--format", "gemv"))
        self.succeeds(self.convert(self.out, "--format", "gemm", name="back"))
        self.assertEqual((self.folder / "back/model.safetensors").read_bytes(),
                         (source / "model.safetensors").read_bytes())
        self.assertFalse((self.out / "awqrun.h5").exists())
        tokens = self.family_tokens()
        self.assertEqual(self.evaluate(source, tokens=tokens)["mean_nll"],
                         self.evaluate(self.out, tokens=tokens)["mean_nll"])

    def test_float16_scales_of_a_float16_model_are_kept(self):
        source = self.folder / "half"
        shutil.copytree(self.made["gemm"], source)
        write_json(source / "config.json", {**read_json(source / "config.json"),
                                            "torch_dtype": "float16"})
        out = self.converted(source, "--format", "compressed-tensors")
        scales = {raw[0] for shard in out.glob("*.safetensors")
                  for name, raw in safetensors.read_raw(shard).items() if "weight_scale" in name}
        self.assertEqual(scales, {"F16"})
        back = self.converted(out, "--format", "gemm", name="back")
        self.assertEqual(read_json(back / "config.json"), read_json(source / "config.json"))
        shutil.copy(source / "config.json", back)
        self.assert_same(back, source)

    def test_companions_and_the_index_come_along(self):
        out = self.converted(self.made["gemm"], "--format", "gemv")
        shards = {path.name for path in out.glob("model-*")}
        self.assertEqual({path.name for path in out.iterdir()},
                         {*COMPANIONS, *shards, INDEX, "config.json", "awqrun.h5"})
        self.assertEqual(set(read_json(out / INDEX)["weight_map"].values()), shards)
        single = self.folder / "single"
        self.succeeds(self.convert(self.made["gemm"], name="single"))
        self.assertEqual([path.name for path in single.glob("model*")], ["model.safetensors"])

    # ---- refusals ----

    def refused(self, source, *patterns, options=(), code=1):
        before = digest(source)
        result = self.fails_with(self.convert(source, *options), *patterns, code=code)
        self.assertEqual(result.out, "")
        self.nothing_looks_finished()
        self.assertFalse(self.out.exists())
        self.assertEqual(digest(source), before)

    def test_what_would_be_lost_is_refused(self):
        packed = ("--format", "compressed-tensors")
        self.refused(self.made["gemm"], r"\d+ of 24576 scales of .* are not exact in BF16.*"
                     "--format compressed-tensors instead", options=packed)
        self.refused(self.made["packed3"], "AWQ GEMM format holds 4 bits, not 3")
        self.refused(DEMO, "is not quantized; awqrun quantize writes every format")

    def test_zero_points_are_not_dropped(self):
        result = self.convert(self.made["packed"], "--format", "compressed-tensors", "--symmetric")
        self.fails_with(result, r"self_attn.q_proj: row \d+, group \d+ has the zero point \d+, and "
                        "symmetric groups have 8")
        self.nothing_looks_finished()

    def test_shapes_that_the_format_does_not_hold_are_refused(self):
        source = self.folder / "source"
        self.succeeds(self.quantize("--group-size", 32, model=FAMILIES / "qwen2", out=source,
                                    tokens=self.family_tokens()))
        config = read_json(source / "config.json")
        self.assertTrue(config["intermediate_size"] % 64)
        self.refused(source, "mlp.down_proj has .* inputs, and the AWQ GEMV-fast format needs a "
                     "multiple of 64", options=("--format", "gemv-fast"))

    def test_a_damaged_source_is_named(self):
        source = self.folder / "source"
        shutil.copytree(self.made["gemv-fast"], source)
        shard = next(source.glob("model-00002-*"))
        tensors = safetensors.read_raw(shard)
        name = next(name for name in tensors if name.endswith("qzeros"))
        dtype, shape, data = tensors[name]
        array = np.frombuffer(data, np.float16).copy()
        array[3] *= 1.3
        safetensors.write_raw(shard, {**tensors, name: (dtype, shape, array.tobytes())})
        self.fails_with(self.convert(source), f"'{name}' holds .* row 0, column 3, which is no "
                        "zero point")
        self.nothing_looks_finished()

    def test_directories_that_are_not_free_are_refused(self):
        source = self.made["gemm"]
        self.fails_with(run("convert", source, "--out", source), "is the same as the source")
        self.fails_with(run("convert", source, "--out", source / "in"), "is inside the source")
        self.out.mkdir()
        (self.out / "thesis.tex").write_text("")
        self.fails_with(self.convert(source), "holds 'thesis.tex', which is no file of an awqrun")
        (self.out / "thesis.tex").unlink()
        self.succeeds(self.convert(source))
        self.fails_with(self.convert(source), "holds a complete checkpoint; give another --out, or "
                        "--restart")
        self.succeeds(self.convert(source, "--restart", "--format", "gemv"))
        self.assertEqual(read_json(self.out / "config.json")["quantization_config"]["version"],
                         "gemv")

    def test_the_command_line_is_checked(self):
        self.fails_with(run("convert"), "which checkpoint", code=2)
        self.fails_with(run("convert", self.made["gemm"]), "--out DIR is missing", code=2)
        self.fails_with(run("convert", "a", "b", "--out", "c"), "unexpected argument 'b'", code=2)
        self.fails_with(run("convert", "a", "--out", "c", "--bits", 8), "unknown option '--bits'",
                        code=2)
        self.fails_with(self.convert(self.folder / "none"), "none")

    def test_a_full_disk_is_said_in_one_line(self):
        result = self.convert(self.made["gemm"], file_size=400_000)
        self.fails_with(result, "file size limit")
        self.nothing_looks_finished()

    # ---- killed ----

    def test_a_kill_is_resumed(self):
        for point in ("convert-after-shard:2", "safetensors-put:30", "publish-before-rename:2",
                      "publish-before-rename:9"):
            with self.subTest(point=point):
                shutil.rmtree(self.out, ignore_errors=True)
                options = ("--format", "gemv", *LIMIT)
                killed = self.convert(self.made["gemm"], *options, env={"AWQ_FAULT": point})
                self.assertNotEqual(killed.code, 0, killed)
                self.nothing_looks_finished()
                self.fails_with(self.convert(self.made["gemm"], "--format", "gemv-fast", *LIMIT),
                                "convert to: \"gemv\" in the earlier run, \"gemv-fast\" now",
                                "holds the run of another job.*--restart")
                self.succeeds(self.convert(self.made["gemm"], *options))
                self.assert_same(self.out, self.made["gemv"])


if __name__ == "__main__":
    unittest.main()
