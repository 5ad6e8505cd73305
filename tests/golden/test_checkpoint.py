# SPDX-License-Identifier: MIT
"""The written checkpoint, read as a serving engine would read it, by none of the program's code:
the formulas here are those of AutoAWQ's and vLLM's AWQ GEMM format."""

import json
import unittest

import numpy as np

from support import safetensors
from support.case import COMPANIONS, DEMO, INDEX, SHARDS, Case, read_json

ORDER = (0, 2, 4, 6, 1, 3, 5, 7)  # nibble i of a word is column ORDER[i] of its eight
NORM_OF = {"self_attn.q_proj": "input_layernorm", "self_attn.k_proj": "input_layernorm",
           "self_attn.v_proj": "input_layernorm", "mlp.gate_proj": "post_attention_layernorm",
           "mlp.up_proj": "post_attention_layernorm"}
LINEARS = (*NORM_OF, "self_attn.o_proj", "mlp.down_proj")
SHAPES = {"self_attn.q_proj": (256, 256), "self_attn.k_proj": (128, 256),
          "self_attn.v_proj": (128, 256), "self_attn.o_proj": (256, 256),
          "mlp.gate_proj": (768, 256), "mlp.up_proj": (768, 256), "mlp.down_proj": (256, 768)}


def unpack(words):
    """int32 [rows, columns / 8] to codes [rows, columns]."""
    codes = np.empty((*words.shape, 8), np.int32)
    for nibble, column in enumerate(ORDER):
        codes[..., column] = (words.view(np.uint32) >> (4 * nibble)) & 15
    return codes.reshape(words.shape[0], -1)


class Checkpoint(Case):
    GROUP = 64
    LIMIT = 700_000

    @classmethod
    def setUpClass(cls):
        """One quantization for all: --max-shard-size gives several shards, and rounding to nearest
        codes of which one can say how far they are from the weights."""
        case = cls("test_the_packing_is_awq_s")
        case.setUp()
        cls.addClassCleanup(case.doCleanups)
        case.succeeds(case.quantize("--group-size", cls.GROUP, "--max-shard-size", cls.LIMIT,
                                    "--rounding", "nearest", sequences=16))
        cls.made = case.out
        cls.shards = sorted(cls.made.glob("model-*.safetensors"))
        cls.tensors = {}
        for shard in cls.shards:
            cls.tensors.update(safetensors.read(shard))
        cls.source = {}
        for shard in SHARDS:
            cls.source.update(safetensors.read(DEMO / shard))

    def names(self, layer):
        return {linear: f"model.layers.{layer}.{linear}" for linear in LINEARS}

    def norm_of(self, layer, linear):
        return f"model.layers.{layer}.{NORM_OF[linear]}.weight"

    def served(self, name):
        """What a serving engine computes with, [out, in]: (code - zero) * scale."""
        codes = unpack(self.tensors[name + ".qweight"])
        zeros = unpack(self.tensors[name + ".qzeros"]).repeat(self.GROUP, axis=0)
        scales = self.tensors[name + ".scales"].astype(np.float32).repeat(self.GROUP, axis=0)
        return ((codes - zeros) * scales).T

    def test_the_packing_is_awq_s(self):
        """The published check values: what columns 0..7 hold, and the word that is."""
        for values, word in (((0, 1, 2, 3, 4, 5, 6, 7), 0x75316420),
                             ((15, 0, 8, 7, 3, 12, 1, 9), 0x9C70138F)):
            words = np.array([[word]], np.uint32).view(np.int32)
            np.testing.assert_array_equal(unpack(words), [values])

    def test_every_tensor_has_the_shape_and_dtype_of_the_format(self):
        expected = {}
        for layer in range(4):
            for linear, name in self.names(layer).items():
                rows, columns = SHAPES[linear]
                expected[name + ".qweight"] = (np.int32, (columns, rows // 8))
                expected[name + ".qzeros"] = (np.int32, (columns // self.GROUP, rows // 8))
                expected[name + ".scales"] = (np.float16, (columns // self.GROUP, rows))
        for name, value in self.source.items():
            if not name.endswith("_proj.weight"):
                expected[name] = (np.float32, value.shape)  # BF16, widened
        self.assertEqual({name: (value.dtype.type, value.shape)
                          for name, value in self.tensors.items()}, expected)

    def test_what_is_not_quantized_keeps_its_type_and_bits(self):
        kept = {}
        for shard in SHARDS:
            kept.update(safetensors.read_raw(DEMO / shard))
        for shard in self.shards:
            for name, raw in safetensors.read_raw(shard).items():
                if name in ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"):
                    self.assertEqual(raw, kept[name], name)
                elif "layernorm" in name:
                    self.assertEqual(raw[0], "BF16")

    def test_norms_times_folded_weights_are_the_original_within_a_code(self):
        """Columns that were multiplied by s are multiplied by norm'/norm = 1/s again: W back, but
        for rounding to a code, which is half a step (a whole one where a range was clipped or a
        code was clamped), in the columns' own unit."""
        for layer in range(4):
            for linear in ("self_attn.q_proj", "self_attn.k_proj", "mlp.gate_proj"):
                name, norm = self.names(layer)[linear], self.norm_of(layer, linear)
                back = self.tensors[norm] / self.source[norm]
                self.assertTrue(np.isfinite(back).all() and (back > 0).all())
                step = self.tensors[name + ".scales"].astype(np.float32)
                step = step.repeat(self.GROUP, axis=0).T * back
                error = np.abs(self.served(name) * back - self.source[name + ".weight"]) / step
                if linear == "mlp.gate_proj":
                    self.assertLess(np.quantile(error, 0.98), 0.75, name)
                else:  # never clipped
                    self.assertLessEqual(error.max(), 0.51, name)

    def test_up_times_down_and_v_times_o_are_the_original(self):
        """up's rows are divided and down's columns multiplied by one vector (v and o likewise, the
        heads of a group sharing it): the product over the inner channels is the original."""
        for layer in range(4):
            names = self.names(layer)
            for first, second, heads_of_a_group in (
                    ("mlp.up_proj", "mlp.down_proj", 1),
                    ("self_attn.v_proj", "self_attn.o_proj", 2)):
                norm = self.norm_of(layer, first)
                inner = self.served(names[first]) * (self.tensors[norm] / self.source[norm])
                inner_then = self.source[names[first] + ".weight"]
                scale = (inner * inner_then).sum(1) / (inner_then**2).sum(1)  # 1/s of each row
                self.assert_close(inner, inner_then * scale[:, None], (layer, first))
                if heads_of_a_group > 1:  # kv head h serves query heads 2h and 2h + 1
                    scale = scale.reshape(-1, 1, 32).repeat(heads_of_a_group, axis=1).ravel()
                self.assert_close(self.served(names[second]) * scale,
                                  self.source[names[second] + ".weight"], (layer, second))

    def assert_close(self, found, expected, what):
        """Within the noise of 4 bits."""
        relative = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        self.assertLess(relative, 0.15, what)

    def test_codes_use_their_range(self):
        for layer in range(4):
            for name in self.names(layer).values():
                codes = unpack(self.tensors[name + ".qweight"])
                self.assertEqual((codes.min(), codes.max()), (0, 15), name)
                self.assertTrue((self.tensors[name + ".scales"] > 0).all(), name)

    def test_shards_are_within_the_limit_and_the_index_agrees(self):
        index = read_json(self.made / INDEX)
        count = len(self.shards)
        self.assertGreater(count, 3)
        self.assertEqual([shard.name for shard in self.shards],
                         [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)])
        total, where = 0, {}
        for shard in self.shards:
            self.assertLessEqual(shard.stat().st_size, self.LIMIT)
            for name, (_, _, data) in safetensors.read_raw(shard).items():
                self.assertNotIn(name, where)
                where[name] = shard.name
                total += len(data)
        self.assertEqual(index["weight_map"], where)
        self.assertEqual(index["metadata"]["total_size"], total)

    def test_the_headers_are_as_the_format_wants_them(self):
        for shard in self.shards:
            data = shard.read_bytes()
            length = int.from_bytes(data[:8], "little")
            self.assertEqual(length % 8, 0)
            header = json.loads(data[8:8 + length])
            self.assertEqual(header.pop("__metadata__"), {"format": "pt"})
            end = 0
            for entry in sorted(header.values(), key=lambda e: e["data_offsets"]):
                self.assertEqual(entry["data_offsets"][0], end)
                end = entry["data_offsets"][1]
            self.assertEqual(8 + length + end, len(data))

    def test_the_config_is_the_source_s_and_says_how_it_was_quantized(self):
        config, source = read_json(self.made / "config.json"), read_json(DEMO / "config.json")
        self.assertEqual(config.pop("quantization_config"), {
            "quant_method": "awq", "bits": 4, "group_size": self.GROUP, "zero_point": True,
            "version": "gemm", "modules_to_not_convert": None})
        self.assertEqual(config, source)

    def test_nothing_else_was_written(self):
        self.assertEqual({path.name for path in self.made.iterdir()},
                         {*COMPANIONS, "config.json", INDEX, "awqrun.h5",
                          *(shard.name for shard in self.shards)})


if __name__ == "__main__":
    unittest.main()
