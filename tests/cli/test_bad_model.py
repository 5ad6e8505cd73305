# SPDX-License-Identifier: MIT
"""Models that cannot be quantized are refused, each problem in one line, before any work."""

import json
import unittest

from support import safetensors
from support.case import DEMO, FAMILIES, INDEX, SHARDS, Case, read_json, write_json

FIRST, SECOND = SHARDS
QUERY = "model.layers.1.self_attn.q_proj.weight"


class Shards(Case):
    def lying(self, change):
        """The demo model, whose first shard's header is changed by change({name: entry})."""
        model = self.demo()
        header, start = safetensors.read_header(model / FIRST)
        data = (model / FIRST).read_bytes()[start:]
        text = change(header)
        safetensors.write_with_header(model / FIRST, text or json.dumps(header), data)
        return model

    def test_a_truncated_shard_is_refused(self):
        model = self.demo()
        data = (model / FIRST).read_bytes()
        (model / FIRST).write_bytes(data[:-1000])
        self.refuses(f"{FIRST}': tensor '.*truncated", model=model, ranks=(1, 3))

    def test_a_shard_cut_inside_its_header_is_refused(self):
        model = self.demo()
        (model / FIRST).write_bytes((model / FIRST).read_bytes()[:100])
        self.refuses(f"{FIRST}' is truncated", model=model)

    def test_an_empty_shard_is_refused(self):
        model = self.demo()
        (model / FIRST).write_bytes(b"")
        self.refuses(f"{FIRST}' is not a safetensors file", model=model)

    def test_a_header_longer_than_the_file_is_refused(self):
        for length in (10**9, 2**63, 2**64 - 1, 0):
            with self.subTest(length=length):
                model = self.demo(f"model{length}")
                safetensors.write_with_header(model / FIRST, "{}", b"", length)
                self.refuses(FIRST + "'.*(header claims|not a safetensors file)", model=model)

    def test_a_header_that_is_not_json_is_refused(self):
        for i, text in enumerate(('{"a": ', "{]", '{"\udcff": {}}', "[" * 10000, "null", '"text"')):
            with self.subTest(text=text[:10]):
                model = self.demo(f"model{i}")
                data = text.encode(errors="surrogateescape")
                (model / FIRST).write_bytes(len(data).to_bytes(8, "little") + data)
                self.refuses(FIRST, model=model)

    def test_a_pickle_named_safetensors_is_refused(self):
        model = self.demo()
        (model / FIRST).write_bytes(b"PK\x03\x04" * 4096)
        self.refuses(f"{FIRST}' is truncated or not a safetensors file", model=model)

    def test_a_tensor_that_ends_beyond_the_file_is_refused(self):
        def change(header):
            header[QUERY]["data_offsets"] = [2**40, 2**40 + 131072]
        self.refuses(f"{FIRST}': tensor '{QUERY}'", model=self.lying(change))

    def test_a_negative_offset_is_refused(self):
        def change(header):
            header[QUERY]["data_offsets"] = [-131072, 0]
        self.refuses(f"{FIRST}': tensor '{QUERY}': data_offsets", model=self.lying(change))

    def test_an_offset_that_is_no_integer_is_refused(self):
        def change(header):
            header[QUERY]["data_offsets"] = [0.5, "x"]
        self.refuses(f"{FIRST}': tensor '{QUERY}': data_offsets", model=self.lying(change))

    def test_overlapping_tensors_are_refused(self):
        def change(header):
            other = header["model.layers.1.self_attn.o_proj.weight"]
            header[QUERY]["data_offsets"] = other["data_offsets"]
        self.refuses(f"{FIRST}': tensor '.*(overlap|gap)", model=self.lying(change))

    def test_a_gap_between_tensors_is_refused(self):
        def change(header):
            del header[QUERY]
        self.refuses(f"{FIRST}': tensor '.*gap before", model=self.lying(change))

    def test_a_tensor_named_twice_is_refused(self):
        def change(header):
            text = json.dumps(header)
            entry = json.dumps(header[QUERY])
            return text[:-1] + f', "{QUERY}": {entry}}}'
        self.refuses(f"{FIRST}'.*duplicate", model=self.lying(change))

    def test_an_unknown_dtype_is_refused(self):
        def change(header):
            header[QUERY]["dtype"] = "F4"
        self.refuses(f"{FIRST}': tensor '{QUERY}': dtype 'F4'", model=self.lying(change))

    def test_a_dtype_that_is_no_weight_is_refused(self):
        def change(header):
            header[QUERY]["dtype"] = "I16"
        self.refuses(f"{FIRST}': tensor '{QUERY}' is I16 .*expected F32, F16 or BF16",
                     model=self.lying(change))

    def test_a_shape_of_another_size_is_refused(self):
        def change(header):
            header[QUERY]["shape"] = [256, 255]
        self.refuses(f"{FIRST}': tensor '{QUERY}': shape \\[256, 255\\]", model=self.lying(change))

    def test_a_shape_that_overflows_is_refused(self):
        def change(header):
            header[QUERY]["shape"] = [2**32, 2**32, 2]
        self.refuses(f"{FIRST}': tensor '{QUERY}': shape overflows", model=self.lying(change))

    def test_a_shape_of_the_same_size_but_transposed_is_refused(self):
        name = "model.layers.0.mlp.gate_proj.weight"

        def change(header):
            header[name]["shape"].reverse()
        self.refuses(f"{FIRST}': tensor '{name}' is BF16 \\[256, 768\\], expected .*\\[768, 256\\]",
                     model=self.lying(change), ranks=(1, 3))

    def test_a_shard_that_is_a_directory_is_refused(self):
        model = self.demo()
        (model / FIRST).unlink()
        (model / FIRST).mkdir()
        self.refuses(FIRST, model=model)


class Directory(Case):
    def test_a_missing_shard_is_one_line(self):
        model = self.demo()
        (model / SECOND).unlink()
        self.refuses(f"cannot open '.*{SECOND}': No such file", model=model, ranks=(1, 3))

    def test_a_missing_tensor_is_named(self):
        model = self.with_tensors(lambda tensors: tensors.pop(QUERY, None))
        self.refuses(f"lacks tensors that its config.json calls for: '{QUERY}'", model=model)

    def test_an_index_entry_that_its_shard_lacks_is_one_line(self):
        def change(tensors):
            tensors.pop(QUERY, None)
        model = self.with_tensors(change)
        index = read_json(model / INDEX)
        index["weight_map"][QUERY] = FIRST
        write_json(model / INDEX, index)
        self.refuses(f"{FIRST}' lacks tensor '{QUERY}'", model=model, ranks=(1, 3))

    def test_an_index_that_names_the_wrong_shard_is_one_line(self):
        model = self.demo()
        index = read_json(model / INDEX)
        index["weight_map"][QUERY] = SECOND
        write_json(model / INDEX, index)
        self.refuses(f"{SECOND}' lacks tensor '{QUERY}'.* it is in {FIRST}", model=model)

    def test_a_tensor_in_two_shards_is_refused(self):
        kept = {}

        def change(tensors):
            kept.update({QUERY: tensors[QUERY]} if QUERY in tensors else {})
            tensors.update(kept)
        model = self.with_tensors(change)
        self.refuses(f"tensor '{QUERY}' is in both '{FIRST}' and '{SECOND}'", model=model)

    def test_an_index_that_leaves_the_directory_is_refused(self):
        for name in ("../model/" + FIRST, "/etc/passwd", "", ".hidden"):
            with self.subTest(name=name):
                model = self.demo(f"model{len(name)}")
                index = read_json(model / INDEX)
                for tensor, shard in index["weight_map"].items():
                    if shard == FIRST:
                        index["weight_map"][tensor] = name
                write_json(model / INDEX, index)
                self.refuses("is not the name of a file in this directory", model=model)

    def test_an_index_that_is_no_index_is_refused(self):
        for i, text in enumerate(("", "{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {}}',
                                  '{"weight_map": {"a": 1}}')):
            with self.subTest(text=text):
                model = self.demo(f"model{i}")
                (model / INDEX).write_text(text)
                self.refuses(INDEX, model=model)

    def test_unknown_tensors_are_named(self):
        def change(tensors):
            if QUERY in tensors:
                tensors["model.layers.1.self_attn.q_proj.lora_A"] = tensors[QUERY]
        self.refuses("holds tensors that its config.json does not call for: "
                     "'model.layers.1.self_attn.q_proj.lora_A'", model=self.with_tensors(change))

    def test_rotary_inv_freq_buffers_are_dropped(self):
        def change(tensors):
            for layer in range(4):
                if f"model.layers.{layer}.input_layernorm.weight" in tensors:
                    name = f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"
                    tensors[name] = ("F32", [16], bytes(64))
        result = self.succeeds(self.quantize(model=self.with_tensors(change),
                                             tokens=self.demo_tokens()))
        self.assertNotIn("inv_freq", result.err)
        self.assertNotIn("inv_freq", "".join(safetensors.read(self.out / "model.safetensors")))

    def test_a_directory_without_weights_is_refused(self):
        model = self.demo()
        for name in (*SHARDS, INDEX):
            (model / name).unlink()
        self.refuses("has no weights", model=model)

    def test_pickled_weights_are_refused(self):
        model = self.demo()
        for name in (*SHARDS, INDEX):
            (model / name).unlink()
        (model / "pytorch_model.bin").write_bytes(b"PK")
        self.refuses("pytorch_model.bin'.*convert", model=model)

    def test_a_missing_directory_is_refused(self):
        self.refuses("cannot open model '.*nowhere'", model=self.folder / "nowhere", ranks=(1, 3))

    def test_a_directory_that_is_a_file_is_refused(self):
        self.refuses("cannot open model '.*config.json'", model=DEMO / "config.json")

    def test_a_directory_without_a_config_is_refused(self):
        model = self.demo()
        (model / "config.json").unlink()
        self.refuses("has no config.json", model=model)


class Config(Case):
    def test_an_unknown_model_type_is_refused_and_where_the_known_are_listed_is_said(self):
        self.refuses("model_type 'nemotron_h' is not supported; 'awqrun version --models' lists .*"
                     "its key 'mamba_num_heads' is not llama's",
                     model=self.configured(model_type="nemotron_h", mamba_num_heads=4),
                     ranks=(1, 3))

    def test_so_is_a_missing_one(self):
        self.refuses("'model_type' is missing; 'awqrun version --models' lists",
                     model=self.configured(model_type=None))

    def test_a_hidden_size_that_heads_do_not_divide_is_one_line(self):
        self.refuses("hidden_size 256 is not a multiple of num_attention_heads 7",
                     model=self.configured(num_attention_heads=7, num_key_value_heads=7,
                                           head_dim=None))

    def test_heads_that_key_value_heads_do_not_divide_are_one_line(self):
        self.refuses("num_attention_heads 8 is not a multiple of num_key_value_heads 3",
                     model=self.configured(num_key_value_heads=3))

    def test_sizes_out_of_range_are_named(self):
        for key in ("hidden_size", "num_hidden_layers", "vocab_size", "intermediate_size"):
            for value in (0, -1, 2**62, 1.5, "big"):
                with self.subTest(key=key, value=value):
                    model = self.configured(**{key: value})
                    self.refuses(f"key '{key}'", model=model)
                    self.doCleanups()
                    self.setUp()

    def test_each_problem_of_a_config_has_its_line(self):
        self.refuses("hidden_act 'gelu'", "rope type 'longrope'", "rms_norm_eps",
                     model=self.configured(hidden_act="gelu", rms_norm_eps=0,
                                           rope_scaling={"type": "longrope", "factor": 2}))

    def test_a_config_that_is_not_json_is_refused(self):
        for i, text in enumerate(("", "{", '{"a": 1, "a": 2}', "[]", "\0\0\0")):
            with self.subTest(text=text):
                model = self.demo(f"model{i}")
                (model / "config.json").write_text(text)
                self.refuses("config.json'", model=model)

    def test_a_config_of_another_model_names_few_tensors_and_counts_the_rest(self):
        result = self.quantize(model=self.configured(intermediate_size=1024))
        self.assertEqual(result.code, 1, result)
        self.assertLessEqual(len(result.errors), 6, result)
        self.assertRegex(result.err, "expected F32, F16 or BF16 \\[1024, 256\\]")
        self.assertRegex(result.err, "more tensors have another shape")

    def test_more_layers_than_the_shards_hold_is_one_line(self):
        self.refuses("lacks tensors that its config.json calls for: 'model.layers.4",
                     model=self.configured(num_hidden_layers=5))

    def test_a_model_that_is_already_quantized_is_refused(self):
        self.succeeds(self.quantize(tokens=self.demo_tokens()))
        again = self.folder / "again"
        self.refuses("is already quantized to 4 bits; give the full-precision one",
                     model=self.out, out=again, ranks=(1, 3))

    def test_a_model_quantized_by_another_method_is_refused(self):
        self.refuses("quant_method 'gptq'",
                     model=self.configured(quantization_config={"quant_method": "gptq",
                                                                "bits": 4}))


class Weights(Case):
    def test_nan_and_infinite_weights_are_named_with_row_and_column(self):
        for tensor, row, column, value, word in (
                ("model.layers.2.mlp.down_proj.weight", 17, 300, float("nan"), "nan"),
                ("model.layers.0.self_attn.v_proj.weight", 0, 0, float("inf"), "inf"),
                ("model.layers.3.mlp.up_proj.weight", 767, 255, -float("inf"), "inf")):
            with self.subTest(tensor=tensor):
                model = self.with_value(tensor, row, column, value)
                self.refuses(f"'{tensor}'.*row {row}, column {column}", model=model,
                             tokens=self.demo_tokens(), ranks=(1, 3))
                self.doCleanups()
                self.setUp()

    def test_nan_in_a_norm_is_named(self):
        model = self.with_value("model.layers.1.input_layernorm.weight", None, 5, float("nan"))
        self.refuses("'model.layers.1.input_layernorm.weight'.* 5", model=model,
                     tokens=self.demo_tokens())

    def test_nan_in_the_embedding_is_named(self):
        model = self.with_value("model.embed_tokens.weight", 1000, 7, float("nan"))
        self.refuses("'model.embed_tokens.weight'.*row 1000, column 7", model=model,
                     tokens=self.demo_tokens())

    def test_nan_in_the_head_or_final_norm_is_named(self):
        for tensor, row in (("lm_head.weight", 3), ("model.norm.weight", None)):
            with self.subTest(tensor=tensor):
                self.refuses(f"'{tensor}'", model=self.with_value(tensor, row, 4, float("nan")),
                             tokens=self.demo_tokens())
                self.doCleanups()
                self.setUp()

    def test_a_group_scale_beyond_float16_is_named(self):
        tensor = "model.layers.1.mlp.gate_proj.weight"
        self.refuses(f"'{tensor}': the scale of row 9, group 1 overflows float16",
                     model=self.with_value(tensor, 9, 200, 3e6), tokens=self.demo_tokens(),
                     ranks=(1, 3))


class GroupSize(Case):
    def test_a_group_size_that_does_not_divide_is_one_line_for_each_width(self):
        self.refuses("--group-size 128 does not divide the 64 inputs of self_attn.q_proj",
                     "--group-size 128 does not divide the 160 inputs of mlp.down_proj",
                     model=FAMILIES / "llama3", tokens=self.family_tokens())

    def test_a_group_size_that_no_format_knows_is_a_usage_error(self):
        self.refuses("--group-size takes 32, 64, 128, 256 or -1, not 96", code=2,
                     options=("--group-size", "96"))


if __name__ == "__main__":
    unittest.main()
