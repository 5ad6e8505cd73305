# SPDX-License-Identifier: MIT
"""Sources as they are published: FP8, MXFP4, integers, experts in one tensor. A checkpoint that
means the same values gives the same bytes, whatever it is stored in."""

import json
import re
import unittest

import numpy as np

from support import random_model, safetensors
from support.case import DEMO, EXPERTS, FAMILIES, Case, digest, read_json, write_json
from support.program import run
from support.stored import (LINEAR, Blocks, Float4, Integers, Rows, Tensors, float4_stacks, fuse,
                            pair, tensor, write_model)

Q = "model.layers.1.self_attn.q_proj"
COARSE = "is quantized already"
DESCRIBED = ("qwen3_5_moe_text", "kimi_k2")


class Sources(Case):
    def tokens_of(self, family):
        if family == "demo":
            return self.demo_tokens(4, 64)
        if family in DESCRIBED:
            return self.family_tokens()
        expected = read_json((FAMILIES if family in ("llama3", "qwen2", "phi3", "gemma2-f32")
                              else EXPERTS) / "expected.json")
        return self.tokens(np.array(expected["tokens"], np.int32)[:8])

    def pair(self, family, storage, name="pair"):
        folder = self.folder / name
        folder.mkdir()
        source = {"demo": DEMO}.get(family) or next(
            base / family for base in (FAMILIES, EXPERTS) if (base / family).is_dir())
        return pair(source, folder, storage)

    def checkpoint(self, model, family, *options, ranks=1):
        """The digests of what quantize writes, but for what tells where it came from."""
        out = self.folder / f"out-{model.parent.name}-{model.name}-{ranks}"
        result = self.succeeds(self.quantize("--group-size", 32, *options, model=model, out=out,
                                             tokens=self.tokens_of(family), ranks=ranks))
        return {**digest(out), "awqrun.h5": ""}, result

    def means_the_same(self, family, storage, *options, name="pair"):
        return self.are_the_same(*self.pair(family, storage, name), family, storage, *options)

    def are_the_same(self, plain, stored, family, storage, *options):
        expected, result = self.checkpoint(plain, family, *options)
        self.assertNotIn(COARSE, result.err)
        for ranks in (1, 3):
            found, result = self.checkpoint(stored, family, *options, ranks=ranks)
            self.assertEqual(found, expected, f"{family} as {storage.text} on {ranks} ranks")
            self.assertIn(f"weights='{storage.text}", result.err)
        return stored, result


class SameBytes(Sources):
    def test_float8_in_blocks_is_its_16_bit_values(self):
        """128 divides the demo's widths, 48 and 40 leave partial blocks at both edges."""
        self.means_the_same("demo", Blocks(said=False))
        self.means_the_same("llama3", Blocks((48, 40)), name="edges")
        self.means_the_same("phi3", Blocks(), name="one")

    def test_scales_of_blocks_may_be_bfloat16(self):
        self.means_the_same("qwen2", Blocks((32, 64), "BF16"))

    def test_float8_in_a_float32_model_is_not_rounded_again(self):
        self.means_the_same("gemma2-f32", Blocks((64, 64)))

    def test_float8_with_a_scale_a_row_is_its_16_bit_values(self):
        self.means_the_same("llama3", Rows(flat=False))
        self.means_the_same("qwen2", Rows(flat=True), name="flat")

    def test_float8_with_one_scale_a_tensor_is_its_16_bit_values(self):
        self.means_the_same("llama3", Tensors("weight_scale", "input_scale", ()))
        self.means_the_same("qwen2", Tensors("weight_scale_inv", "activation_scale", (1,)),
                            name="one")

    def test_mxfp4_is_its_16_bit_values_and_warned_of(self):
        for name, storage in (("ct", Float4("weight_packed", "weight_scale", ("U8", "U8"))),
                              ("deepseek", Float4("weight", "scale", ("I8", "F8_E8M0")))):
            _, result = self.means_the_same("llama3", storage, name=name)
            self.assertEqual(result.err.count(COARSE), 1, result)

    def test_gpt_oss_as_published_is_its_16_bit_values(self):
        model, pair_of = self.folder / "gpt_oss", self.folder / "pair"
        pair_of.mkdir()
        random_model.write(model, random_model.described()["gpt_oss"])
        plain, stored = float4_stacks(model, pair_of)
        expected, _ = self.checkpoint(plain, "mixtral")
        found, result = self.checkpoint(stored, "mixtral", ranks=3)
        self.assertEqual(found, expected)
        self.assertIn("MXFP4", result.err)
        scores = [self.evaluate(path, tokens=self.tokens_of("mixtral"))["mean_nll"]
                  for path in (plain, stored)]
        self.assertEqual(*scores)

    def test_integers_are_their_16_bit_values_and_warned_of(self):
        """The linears that the source ignores, by a regular expression, are quantized, too."""
        for name, storage in (("asymmetric", Integers(32, False)),
                              ("symmetric", Integers(32, True, ("re:.*self_attn.*",)))):
            _, result = self.means_the_same("llama3", storage, name=name)
            self.assertEqual(result.err.count(COARSE), 1, result)

    def test_mixtures_are_their_16_bit_values(self):
        self.means_the_same("qwen3_moe", Blocks((128, 128)))
        self.means_the_same("mixtral", Integers(32, True), name="integers")

    def test_delta_nets_and_latent_attention_are_their_16_bit_values(self):
        """As published: b and a of a delta net, routers and their like are not in float8."""
        linear = re.compile(LINEAR.pattern + r"|.*\.in_proj_(qkv|z)\.weight")
        for name in DESCRIBED:
            with self.subTest(model=name):
                model = random_model.write(self.folder / name, random_model.described()[name])
                (self.folder / f"of-{name}").mkdir()
                pairs = pair(model, self.folder / f"of-{name}", Blocks((128, 128)), linear)
                self.are_the_same(*pairs, name, Blocks((128, 128)), "--sequences", 8)

    def test_what_is_skipped_is_written_in_the_models_type(self):
        skip = ("--skip", r"layers\.0\.self_attn|layers\.1\.mlp\.(gate|up)_proj")
        for name, storage in (("blocks", Blocks((48, 40))), ("integers", Integers(32, False))):
            stored, _ = self.means_the_same("llama3", storage, *skip, name=name)
            out = self.folder / f"out-{name}-{stored.name}-1"
            made = safetensors.read_raw(out / "model.safetensors")
            self.assertEqual(made["model.layers.0.self_attn.q_proj.weight"][0], "BF16")

    def test_the_sources_quantization_is_not_in_the_output(self):
        plain, stored = self.pair("llama3", Blocks())
        config = read_json(stored / "config.json")
        write_json(stored / "config.json",
                   {**config, "compression_config": {"quant_method": "other"}})
        self.checkpoint(stored, "llama3")
        made = read_json(self.folder / "out-pair-stored-1" / "config.json")
        self.assertEqual(made["quantization_config"]["quant_method"], "awq")
        self.assertNotIn("compression_config", made)
        self.assertLess(set(made) - {"quantization_config"}, set(config))
        self.assertTrue(plain.is_dir())


class Fused(Sources):
    def test_experts_in_one_tensor_give_the_same_bytes(self):
        for family in ("mixtral", "qwen2_moe", "qwen3_moe"):
            with self.subTest(model=family):
                expected, _ = self.checkpoint(EXPERTS / family, family)
                fused = fuse(EXPERTS / family, self.folder / f"fused-{family}")
                for ranks in (1, 3):
                    found, result = self.checkpoint(fused, family, ranks=ranks)
                    found = {key: value for key, value in found.items()
                             if key != "generation_config.json"}
                    self.assertLessEqual(found.items(), expected.items())
                    self.assertRegex(result.err, r"weights='B?F16, fused experts'")

    def test_float8_experts_in_one_tensor_give_the_same_bytes(self):
        """Gate's and up's rows need not fill whole blocks alone: 32 rows each, blocks of 16."""
        plain, stored = self.pair("qwen3_moe", Blocks((16, 32)))
        expected, _ = self.checkpoint(plain, "qwen3_moe")
        found, result = self.checkpoint(fuse(stored, self.folder / "pair" / "fused"), "qwen3_moe")
        self.assertEqual(found, expected)
        self.assertIn("weights='FP8 in blocks of 16 x 32, fused experts'", result.err)

    def test_a_fused_source_scores_and_verifies_as_the_other(self):
        fused = fuse(EXPERTS / "qwen3_moe", self.folder / "fused")
        tokens = self.tokens_of("qwen3_moe")
        scores = [self.evaluate(model, tokens=tokens)["mean_nll"]
                  for model in (EXPERTS / "qwen3_moe", fused)]
        self.assertEqual(*scores)
        self.checkpoint(fused, "qwen3_moe")
        out = self.folder / f"out-{self.folder.name}-fused-1"
        self.succeeds(run("verify", out, "--model", fused, "--tokens", tokens, "--layer", 1))

    def test_the_number_of_experts_has_two_names(self):
        for family, key, other in (("qwen3_moe", "num_experts", "num_local_experts"),
                                   ("mixtral", "num_local_experts", "num_experts")):
            with self.subTest(model=family):
                tensors = safetensors.read_raw(EXPERTS / family / "model.safetensors")
                config = read_json(EXPERTS / family / "config.json")
                config[other] = config.pop(key)
                write_model(self.folder / family, config, tensors)
                tokens = self.tokens_of(family)
                self.assertEqual(
                    self.evaluate(self.folder / family, tokens=tokens)["mean_nll"],
                    self.evaluate(EXPERTS / family, tokens=tokens)["mean_nll"])
                config[key] = config[other] + 1
                write_json(self.folder / family / "config.json", config)
                self.refuses(f"{key} is {config[key]}, and {other} is {config[other]}",
                             model=self.folder / family, tokens=tokens)

    def test_experts_in_one_tensor_of_another_shape_are_refused(self):
        fused = fuse(EXPERTS / "qwen3_moe", self.folder / "fused")
        tensors = safetensors.read_raw(fused / "model.safetensors")
        name = "model.layers.0.mlp.experts.gate_up_proj"
        dtype, (experts, rows, cols), data = tensors[name]
        for shape in ([experts, cols, rows], [experts * rows, cols], [experts, rows * cols],
                      [experts // 2, 2 * rows, cols]):
            if shape == [experts, rows, cols]:
                continue
            tensors[name] = (dtype, shape, data)
            safetensors.write_raw(fused / "model.safetensors", tensors)
            self.refuses(f"{name}' is F16 {re.escape(str(shape))}, expected F32, F16 or BF16 "
                         f"{re.escape(str([experts, rows, cols]))}", model=fused,
                         tokens=self.tokens_of("qwen3_moe"))


class Commands(Sources):
    def test_plan_says_what_the_source_is(self):
        for name, storage in (("blocks", Blocks((48, 40))), ("int4", Integers(32, False))):
            _, stored = self.pair("llama3", storage, name)
            command = ("plan", "--model", stored, "--tokens", self.tokens_of("llama3"),
                       "--group-size", 32)
            self.assertRegex(self.succeeds(run(*command)).out, f"of {storage.text}\n")
            plan = json.loads(self.succeeds(run(*command, "--json")).out)
            self.assertEqual(plan["model"]["weights"], storage.text)

    def test_the_report_says_what_the_source_was(self):
        _, stored = self.pair("llama3", Blocks((48, 40)))
        self.checkpoint(stored, "llama3")
        out = self.folder / "out-pair-stored-1"
        self.succeeds(run("report", out))
        page = (out / "awqrun-report.html").read_text()
        data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>',
                                    page, re.DOTALL)[1])
        self.assertEqual([file["weights"] for file in data["job"]["model"] if "weights" in file],
                         ["FP8 in blocks of 48 x 40"])

    def test_eval_scores_what_float8_means(self):
        plain, stored = self.pair("llama3", Blocks((48, 40)))
        tokens = self.tokens_of("llama3")
        self.assertEqual(*(self.evaluate(model, tokens=tokens)["mean_nll"]
                           for model in (plain, stored)))
        self.assertLess(self.evaluate(stored, "--against", plain, tokens=tokens)["kl"], 1e-12)

    def test_verify_compares_with_such_a_source(self):
        for name, storage in (("blocks", Blocks((48, 40))), ("integers", Integers(32, False)),
                              ("mxfp4", Float4("weight_packed", "weight_scale", ("U8", "U8")))):
            with self.subTest(source=name):
                plain, stored = self.pair("llama3", storage, name)
                self.checkpoint(stored, "llama3", "--skip", "down_proj")
                out = self.folder / f"out-{name}-stored-1"
                for source in (stored, plain):
                    result = self.succeeds(run("verify", out, "--model", source))
                    self.assertIn("12 linears at most", result.out)
                self.succeeds(run("verify", out, "--model", stored, "--tokens",
                                  self.tokens_of("llama3"), "--layer", 1))
        other, _ = self.pair("llama3", Blocks((48, 40)), "other")
        tensors = safetensors.read_raw(other / "model.safetensors")
        dtype, shape, data = tensors[Q + ".weight"]
        tensors[Q + ".weight"] = (dtype, shape, data[::-1])
        safetensors.write_raw(other / "model.safetensors", tensors)
        self.assertIn("layer 1: self_attn.q_proj is not the source's weight",
                      run("verify", self.folder / "out-blocks-stored-1", "--model", other).out)


class Refused(Sources):
    def damaged(self, change, storage=None, family="llama3"):
        """A stored model after change({name: (dtype, shape, bytes)})."""
        self.count = getattr(self, "count", 0) + 1
        _, stored = self.pair(family, storage or Blocks((48, 40)), f"damaged{self.count}")
        tensors = safetensors.read_raw(stored / "model.safetensors")
        change(tensors)
        safetensors.write_raw(stored / "model.safetensors", tensors)
        return stored

    def refused(self, pattern, change, storage=None, **how):
        model = self.damaged(change, storage)
        self.refuses(pattern, model=model, tokens=self.tokens_of("llama3"),
                     options=("--group-size", 32), out=self.folder / f"refused{self.count}", **how)

    def test_a_float8_tensor_without_its_scale_is_named(self):
        self.refused(f"'{Q}.weight' is of small floats, and its scales are missing: there is no "
                     f"'{Q}.weight_scale_inv'",
                     lambda tensors: tensors.pop(Q + ".weight_scale_inv"))

    def test_a_float4_tensor_without_its_scale_is_named_by_what_scales_are_called(self):
        self.refused(f"'{Q}.weight_packed' is of small floats, and its scales are missing: there "
                     f"is no '{Q}.weight_scale'",
                     lambda tensors: tensors.pop(Q + ".weight_scale"),
                     Float4("weight_packed", "weight_scale", ("U8", "U8")))

    def test_a_scale_without_its_tensor_is_named(self):
        def plain(tensors):
            _, shape, data = tensors[Q + ".weight"]
            tensors[Q + ".weight"] = ("BF16", shape, 2 * data)
        self.refused(f"'{Q}.weight_scale_inv' is the scales of a weight of small floats that is "
                     "not there", plain)

        def gone(tensors):
            del tensors[Q + ".weight"]
        model = self.damaged(gone)
        self.refuses(f"lacks tensors .*'{Q}.weight'", f"'{Q}.weight_scale_inv' is the scales of",
                     model=model, tokens=self.tokens_of("llama3"))

    def test_a_scale_that_is_no_scale_is_named(self):
        for value, text in ((np.nan, "-?nan"), (np.inf, "inf"), (0, "0"), (-1, "-1")):
            def change(tensors, value=value):
                dtype, shape, data = tensors[Q + ".weight_scale_inv"]
                scales = np.frombuffer(data, np.float32).reshape(shape).copy()
                scales[1, 0] = value
                tensors[Q + ".weight_scale_inv"] = (dtype, shape, scales.tobytes())
            with self.subTest(scale=value):
                self.refused(f"layer 1: '{Q}.weight_scale_inv' holds {text} at row 1, column 0, "
                             "and a scale is finite and above zero", change, ranks=(1, 3))

        def power(tensors):
            dtype, shape, data = tensors[Q + ".weight_scale"]
            tensors[Q + ".weight_scale"] = (dtype, shape, b"\xff" + data[1:])
        self.refused(f"'{Q}.weight_scale' holds -?nan at row 0, column 0", power,
                     Float4("weight_packed", "weight_scale", ("U8", "U8")))

    def test_a_scale_of_another_shape_is_named(self):
        for shape in ((2, 3), (4,), (1, 1, 2, 2), (0, 4)):
            def change(tensors, shape=shape):
                tensors[Q + ".weight_scale_inv"] = tensor("F32", np.ones(shape, np.float32))
            with self.subTest(shape=shape):
                self.refused(f"'{Q}.weight_scale_inv' is F32 {re.escape(str(list(shape)))}, "
                             r"expected F32, F16 or BF16 \[2, 2\]", change)

        def packed(tensors):
            tensors[Q + ".weight_packed"] = ("U8", [64, 16], bytes(64 * 16))
        self.refused(rf"'{Q}.weight_packed' is U8 \[64, 16\], expected U8 \[64, 32\]", packed,
                     Float4("weight_packed", "weight_scale", ("U8", "U8")))

    def test_a_float8_code_that_is_nan_is_named(self):
        def change(tensors):
            dtype, shape, data = tensors[Q + ".weight"]
            at = 5 * shape[1] + 7
            tensors[Q + ".weight"] = (dtype, shape, data[:at] + b"\x7f" + data[at + 1:])
        self.refused(f"layer 1: '{Q}.weight' holds nan at row 5, column 7; the checkpoint is "
                     "damaged", change)

    def test_integers_that_say_another_shape_are_named(self):
        def change(tensors):
            tensors[Q + ".weight_shape"] = ("I64", [2], np.array([64, 65], np.int64).tobytes())
        self.refused(rf"'{Q}.weight_shape' says \[64, 65\], expected \[64, 64\]", change,
                     Integers(32, False))

    def test_a_source_in_awqs_own_format_is_still_refused(self):
        self.checkpoint(FAMILIES / "llama3", "llama3")
        model = self.folder / "out-families-llama3-1"
        self.refuses("already quantized to 4 bits", model=model, tokens=self.tokens_of("llama3"))

    def test_configurations_that_are_not_understood_are_named(self):
        for config, pattern in (
                ({"quant_method": "fp8", "weight_block_size": [128]}, "weight_block_size is not"),
                ({"quant_method": "fp8", "weight_block_size": [0, 128]}, "weight_block_size is"),
                ({"quant_method": "nvfp4"}, "quant_method 'nvfp4'"),
                ({"quant_method": "compressed-tensors", "format": "float-quantized",
                  "config_groups": {"a": {"weights": {"type": "int", "num_bits": 8}}}},
                 "weights of '8 bits of int'")):
            with self.subTest(config=config):
                model = self.configured(quantization_config=config)
                self.refuses(pattern, model=model)
                for file in model.iterdir():
                    file.unlink()
                model.rmdir()


if __name__ == "__main__":
    unittest.main()
