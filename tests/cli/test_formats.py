# SPDX-License-Identifier: MIT
"""--format, --bits, --symmetric and --skip from end to end. The bytes of each packing against the
real tools: tests/unit/io/test_format_fixtures.c."""

import shutil
import unittest

import h5py
import numpy as np

from support import safetensors
from support.case import DEMO, SHARDS, Case, read_json, write_json
from support.program import run

QUICK = ("--sequences", 4)
DOWN = "model.layers.{}.mlp.down_proj"


class Formats(Case):
    def made(self, *options, name="out", **how):
        """A quantized demo model, its directory."""
        out = self.folder / name
        self.succeeds(self.quantize(*options, *QUICK, out=out, **how))
        return out

    def tensors(self, out):
        return safetensors.read_raw(out / "model.safetensors")

    def kl(self, out):
        return self.evaluate(out, "--against", DEMO, *QUICK)["kl"]

    # ---- formats ----

    def test_awq_s_formats_are_one_model(self):
        found = {}
        for format_ in ("gemm", "gemv", "gemv-fast"):
            out = self.made("--format", format_, name=format_)
            found[format_] = self.evaluate(out, *QUICK)["mean_nll"]
            config = read_json(out / "config.json")["quantization_config"]
            self.assertEqual(config["version"], format_.replace("-", "_"))
            self.assertEqual(config["quant_method"], "awq")
        self.assertEqual(found["gemv"], found["gemm"])
        self.assertEqual(found["gemv-fast"], found["gemm"])

    def test_compressed_tensors_scales_are_exact_in_the_model_s_type(self):
        """The scales are rounded before codes are chosen, so nothing is lost where bfloat16 is
        served, and float16 would hold them as well."""
        out = self.made("--format", "compressed-tensors")
        tensors = self.tensors(out)
        scales = [raw for name, raw in tensors.items() if name.endswith("weight_scale")]
        self.assertEqual(len(scales), 28)
        for dtype, shape, data in scales:
            self.assertEqual(dtype, "BF16")
            values = safetensors.to_array(dtype, shape, data)
            np.testing.assert_array_equal(values, values.astype(np.float16).astype(np.float32))
        dtype, shape, data = tensors[DOWN.format(0) + ".weight_shape"]
        self.assertEqual((dtype, shape), ("I64", [2]))
        self.assertEqual(list(np.frombuffer(data, np.int64)), [256, 768])
        self.assertLess(self.kl(out), 0.006)  # gemm's, with float16 scales, is 0.0045

    def test_more_bits_are_nearer(self):
        kl = {bits: self.kl(self.made("--format", "compressed-tensors", "--bits", bits,
                                      name=f"bits{bits}")) for bits in (3, 4, 8)}
        self.assertLess(kl[8], 2e-4)
        self.assertLess(10 * kl[8], kl[4])
        self.assertLess(2 * kl[4], kl[3])
        self.assertLess(kl[3], 0.05)

    def test_every_group_size_is_served(self):
        kl = {}
        for format_ in ("gemv", "compressed-tensors"):
            for size in (32, 256, -1):
                kl[size] = self.kl(self.made("--format", format_, "--group-size", size,
                                             name=f"{format_}{size}"))
            self.assertLess(kl[32], kl[256])
            self.assertLess(kl[256], 1.5 * kl[-1])
            self.assertLess(kl[-1], 0.1)

    def test_symmetric_zero_points_are_in_the_middle(self):
        out = self.made("--symmetric")
        for name, (_, _, data) in self.tensors(out).items():
            if name.endswith("qzeros"):
                self.assertEqual(set(data), {0x88}, name)
        packed = self.made("--symmetric", "--format", "compressed-tensors", name="packed")
        self.assertFalse([name for name in self.tensors(packed) if "zero_point" in name])
        weights = read_json(packed / "config.json")["quantization_config"]["config_groups"]
        self.assertTrue(weights["group_0"]["weights"]["symmetric"])
        for made in (out, packed):
            self.assertLess(self.kl(made), 0.02)

    # ---- small weights ----

    @staticmethod
    def multiply(tensors, linear, factor, rows=slice(None)):
        for name, (dtype, shape, data) in tensors.items():
            if name.endswith(linear + ".weight"):
                weight = safetensors.to_array(dtype, shape, data).copy()
                weight[rows] *= np.float32(factor)
                tensors[name] = (dtype, shape, safetensors.to_bfloat16(weight).tobytes())

    def smaller(self, power):
        """The demo model with up_proj times 2^-power and down_proj times 2^power: the same."""
        def change(tensors):
            self.multiply(tensors, "up_proj", 2.0 ** -power)
            self.multiply(tensors, "down_proj", 2.0 ** power)
        shutil.rmtree(self.folder / "model", ignore_errors=True)
        return self.with_tensors(change)

    def test_small_weights_lose_no_more_than_others(self):
        for power, options in ((12, ()), (8, ("--format", "compressed-tensors", "--bits", 8))):
            out = self.folder / f"small{len(options)}"
            result = self.succeeds(self.quantize(*options, *QUICK, out=out,
                                                 model=self.smaller(power)))
            self.assertNotIn("too small", result.err)
            ordinary = self.made(*options, name=f"ordinary{len(options)}")
            self.assertLess(self.kl(out), 1.1 * self.kl(ordinary))
            scales = [safetensors.to_array(*raw) for name, raw in self.tensors(out).items()
                      if name.endswith(("up_proj.scales", "up_proj.weight_scale"))]
            self.assertEqual(len(scales), 4)
            for values in scales:
                self.assertLess(np.median(values), 2.0 ** -14)
                np.testing.assert_array_equal(values * 2.0 ** 24, np.rint(values * 2.0 ** 24))

    def test_linears_that_no_scale_holds_are_named(self):
        small = self.smaller(17)
        result = self.succeeds(self.quantize(*QUICK, model=small))
        warnings = [line for line in result.err.splitlines() if "too small for a float" in line]
        self.assertEqual(len(warnings), 4)
        for layer, line in enumerate(warnings):
            self.assertRegex(line, rf"^awqrun: warning: 'model.layers.{layer}.mlp.up_proj': the "
                                   r"weights of (100|[89]\d\.?\d*)% of its groups .* --skip")
        skipped = self.succeeds(self.quantize("--skip", "up_proj", *QUICK, model=small,
                                              out=self.folder / "skipped"))
        self.assertNotIn("too small", skipped.err)

    def test_rows_that_are_as_good_as_nothing_are_not_named(self):
        model = self.with_tensors(lambda tensors: self.multiply(tensors, "up_proj", 2.0 ** -40,
                                                                slice(0, 300)))
        self.assertNotIn("too small", self.succeeds(self.quantize(*QUICK, model=model)).err)

    # ---- what a format cannot hold ----

    def test_what_a_format_cannot_hold_is_refused_at_the_start(self):
        self.refuses("--bits 3: the AWQ GEMM format holds 4 bits, not 3; --format "
                     "compressed-tensors holds", options=("--bits", 3), code=2)
        self.refuses("--bits 5: the compressed-tensors format holds 3, 4 or 8 bits, not 5",
                     options=("--bits", 5, "--format", "compressed-tensors"), code=2)
        self.refuses("self_attn.q_proj has 96 inputs, and the AWQ GEMV-fast format needs a "
                     "multiple of 64", "--group-size 32 does not divide the 80 inputs of mlp.down",
                     "mlp.down_proj has 80 inputs, and the AWQ GEMV-fast format needs",
                     options=("--format", "gemv-fast", "--group-size", 32),
                     model=self.odd_model(), tokens=self.demo_tokens())

    def odd_model(self):
        """The demo model with a hidden size of 96, an intermediate one of 80."""
        rng = np.random.default_rng(5)
        config = {**read_json(DEMO / "config.json"), "hidden_size": 96, "intermediate_size": 80,
                  "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 4,
                  "head_dim": 24}
        shapes = {"model.embed_tokens": (config["vocab_size"], 96), "model.norm": (96,),
                  "lm_head": (config["vocab_size"], 96)}
        layer = {"input_layernorm": (96,), "post_attention_layernorm": (96,),
                 "mlp.gate_proj": (80, 96), "mlp.up_proj": (80, 96), "mlp.down_proj": (96, 80),
                 **{f"self_attn.{x}_proj": (96, 96) for x in "qkvo"}}
        shapes.update({f"model.layers.0.{name}": shape for name, shape in layer.items()})
        model = self.folder / "odd"
        model.mkdir()
        write_json(model / "config.json", config)
        tensors = {}
        for name, shape in shapes.items():
            value = rng.standard_normal(shape).astype(np.float32) * 0.1
            tensors[name + ".weight"] = ("BF16", shape, safetensors.to_bfloat16(value).tobytes())
        safetensors.write_raw(model / "model.safetensors", tensors)
        return model

    def test_a_linear_that_does_not_fit_may_be_skipped(self):
        model, tokens = self.odd_model(), self.demo_tokens()
        out = self.folder / "out"
        self.succeeds(self.quantize("--group-size", 32, "--skip", "down_proj", model=model,
                                    tokens=tokens))
        self.assertEqual(self.tensors(out)["model.layers.0.mlp.down_proj.weight"],
                         self.tensors(model)["model.layers.0.mlp.down_proj.weight"])
        self.evaluate(out, tokens=tokens)

    # ---- skip ----

    def source(self):
        tensors = {}
        for shard in SHARDS:
            tensors.update(safetensors.read_raw(DEMO / shard))
        return tensors

    def test_a_group_that_is_skipped_whole_stays_bit_for_bit(self):
        """down reads what up makes: neither is scaled for the other. Attention of layer 1: its norm
        stays too."""
        out = self.made("--skip", r"layers\.1\.self_attn|layers\.[03]\.mlp\.down_proj$")
        made, source = self.tensors(out), self.source()
        kept = {f"model.layers.1.self_attn.{x}_proj.weight" for x in "qkvo"}
        kept |= {f"{DOWN.format(layer)}.weight" for layer in (0, 3)}
        for name in (*kept, "model.layers.1.input_layernorm.weight"):
            self.assertEqual(made[name], source[name], name)
        self.assertEqual({name for name in made if name.endswith("proj.weight")}, kept)
        self.assertNotIn(DOWN.format(0) + ".qweight", made)
        self.assertNotEqual(made["model.layers.0.input_layernorm.weight"],
                            source["model.layers.0.input_layernorm.weight"])
        names = read_json(out / "config.json")["quantization_config"]["modules_to_not_convert"]
        self.assertEqual({name + ".weight" for name in names}, kept)
        self.assertLess(self.kl(out), 0.01)
        with h5py.File(out / "awqrun.h5") as file:
            for group, candidates in (("qkv", 0), ("o", 0), ("gate_up", 22), ("down", 22)):
                searched = file[f"layers/00001/groups/{group}"]
                self.assertEqual(len(searched["loss"]), candidates, group)

    def test_a_skipped_producer_is_divided(self):
        """gate and up are all that read the norm, which so keeps its weights; up's rows are divided
        by down's scales, and rounded to bfloat16 once."""
        out = self.made("--skip", "layers.2.mlp.(gate|up)_proj", "--format", "compressed-tensors")
        made, source = self.tensors(out), self.source()
        ignored = read_json(out / "config.json")["quantization_config"]["ignore"]
        self.assertEqual(ignored, ["model.layers.2.mlp.gate_proj", "model.layers.2.mlp.up_proj",
                                   "lm_head"])
        value = lambda tensors, name: safetensors.to_array(
            *tensors[f"model.layers.2.{name}.weight"])
        with h5py.File(out / "awqrun.h5") as file:
            down = file["layers/00002/groups/down/scales"][:]
        self.assertGreater(down.max() / down.min(), 1.5)  # something was folded
        np.testing.assert_array_equal(value(made, "post_attention_layernorm"),
                                      value(source, "post_attention_layernorm"))
        up = value(source, "mlp.up_proj") / down[:, None]
        np.testing.assert_array_equal(value(made, "mlp.up_proj"),
                                      safetensors.widen(safetensors.to_bfloat16(up)))
        self.assertEqual(made["model.layers.2.mlp.gate_proj.weight"],
                         source["model.layers.2.mlp.gate_proj.weight"])
        self.assertLess(self.kl(out), 0.01)

    def test_one_skipped_reader_is_scaled_with_the_others(self):
        result = self.quantize("--skip", "layers.0.mlp.gate_proj", *QUICK)
        self.succeeds(result)
        self.assertRegex(result.err, "warning: .*some of gate_proj and up_proj of layer 0")
        made, source = self.tensors(self.out), self.source()
        norm = "model.layers.0.post_attention_layernorm.weight"
        scales = safetensors.to_array(*source[norm]) / safetensors.to_array(*made[norm])
        self.assertGreater(scales.max() / scales.min(), 1.5)
        gate = "model.layers.0.mlp.gate_proj.weight"
        expected = safetensors.to_bfloat16(safetensors.to_array(*source[gate]) * scales)
        self.assertEqual(made[gate][2], expected.tobytes())
        self.assertLess(self.kl(self.out), 0.01)

    def test_a_skip_that_cannot_be_is_refused(self):
        self.refuses("--skip 'layers.9.mlp' matches no linear of .*model.layers.0.mlp.down_proj",
                     options=("--skip", "layers.9.mlp"))
        self.refuses("--skip '.' matches every linear of .*nothing would be quantized",
                     options=("--skip", "."))
        self.refuses(r"--skip takes a regular expression, and 'mlp.\(gate' is none: missing .* at "
                     "character 10", options=("--skip", "mlp.(gate"), code=2)
        self.refuses("--skip cannot be matched with 'model.layers.0.self_attn.q_proj'",
                     options=("--skip", r"^((\w+)+\.?)+$(?<=\d)"), code=2)

    # ---- reading ----

    def test_a_config_that_contradicts_its_tensors_is_refused(self):
        out = self.made("--skip", "layers.1.self_attn")
        config = read_json(out / "config.json")
        config["quantization_config"]["modules_to_not_convert"] = None
        write_json(out / "config.json", config)
        self.fails_with(self.eval(out), "lacks tensors.*layers.1.self_attn.q_proj.qweight",
                        "does not call for: .*layers.1.self_attn.k_proj.weight")

    def eval(self, model):
        return run("eval", "--model", model, "--tokens", DEMO / "eval.h5", *QUICK)

    def test_damaged_parts_are_named(self):
        out = self.made("--format", "gemv-fast")
        path = out / "model.safetensors"
        tensors = self.tensors(out)
        for part, value, message in (
                ("scales", np.nan, "'model.layers.1.mlp.up_proj.scales' holds nan at row 1, "
                                   "column 7"),
                ("qzeros", 7e4, "'model.layers.1.mlp.up_proj.qzeros' holds -?inf at row 1, column "
                                "7, which is no zero point")):
            name = f"model.layers.1.mlp.up_proj.{part}"
            dtype, shape, data = tensors[name]
            array = np.frombuffer(data, np.float16).reshape(shape).copy()
            with np.errstate(over="ignore"):
                array[1, 7] = value
            safetensors.write_raw(path, {**tensors, name: (dtype, shape, array.tobytes())})
            self.fails_with(self.eval(out), message)


if __name__ == "__main__":
    unittest.main()
