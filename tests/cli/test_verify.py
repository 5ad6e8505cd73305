# SPDX-License-Identifier: MIT
"""awqrun verify: each kind of damage to a checkpoint is found and named, and nothing else is.
Against its source: test_verify_source.py."""

import json
import os
import re
import signal
import unittest
import zlib

import h5py
import numpy as np

from support import safetensors
from support.case import DEMO, INDEX, read_json, write_json
from support.faults import Started
from support.program import run
from support.verify import DOWN, Q, UP, VerifyCase, name


def catches(process, number):
    """Whether a process has a handler for a signal."""
    with open(f"/proc/{process}/status", encoding="ascii") as file:
        caught = re.search(r"^SigCgt:\t([0-9a-f]+)$", file.read(), re.M).group(1)
    return int(caught, 16) >> (number - 1) & 1


class Bytes(VerifyCase):
    def test_a_finished_checkpoint_is_clean(self):
        result = self.is_clean("--model", DEMO)
        tensors = sum(len(safetensors.read_header(path)[0])
                      for path in self.copy.glob("*.safetensors"))
        self.assertIn(f"looked at {tensors} tensors", result.out)
        self.assertIn(f"the crc32 of {tensors}\n", result.out)
        self.assertNotIn("not checked", result.out)

    def test_a_flipped_byte_is_found_in_every_kind_of_tensor(self):
        damaged = ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight",
                   name(0, Q, "qweight"), name(1, UP, "qzeros"), name(2, DOWN, "scales"),
                   "model.layers.3.input_layernorm.weight")
        for tensor in damaged:
            self.flip(tensor, byte=0)
        found = self.finds(*(rf"^tensor '{tensor}' in 'model-.*' is not what was written: its "
                             r"crc32 is [0-9a-f]{8}, recorded is [0-9a-f]{8}$"
                             for tensor in damaged))
        self.assertEqual({finding["kind"] for finding in found["findings"]}, {"bytes"})

    def test_it_says_where_engines_load_it(self):
        # groups of 64; o reads 256 channels, down 768: 32 and 96 each on 8 GPUs
        self.assertRegex(self.is_clean().out, "(?m)^  loads as gemm at tensor parallel 1, 2, 4 in "
                         "vLLM and SGLang; --group-size 32: 1, 2, 4, 8 in vLLM and SGLang$")
        found = json.loads(self.succeeds(self.verify("--json")).out)
        self.assertEqual(found["engines"], {"format": "gemm", "vllm": [1, 2, 4],
                                            "sglang": [1, 2, 4], "advised_group_size": 32})

    def test_swapped_tensors_are_both_named(self):
        a, b = name(1, "mlp.gate_proj", "qweight"), name(1, UP, "qweight")
        self.assertEqual(self.shard_of(a), self.shard_of(b))

        def swap(tensors):
            tensors[a], tensors[b] = tensors[b], tensors[a]
        self.change(a, swap)
        self.finds(f"'{a}'", f"'{b}'", "layer 1: mlp.gate_proj is not the source's weight",
                   "layer 1: mlp.up_proj is not the source's weight", options=("--model", DEMO))

    def test_values_that_are_not_finite_are_named(self):
        self.set_value(name(2, Q, "scales"), 256 + 7, 0x7E00)  # float16 nan
        self.set_value("model.embed_tokens.weight", 256 * 9 + 3, 0x7F80)  # bfloat16 infinity
        self.set_value("model.layers.1.post_attention_layernorm.weight", 5, 0x7FC0)
        self.finds("'model.embed_tokens.weight' .* is not what was written",
                   "'model.embed_tokens.weight' holds infinity at row 9, column 3",
                   "'model.layers.1.post_attention_layernorm.weight' .* is not what",
                   "'model.layers.1.post_attention_layernorm.weight' holds nan at element 5",
                   "'model.layers.2.self_attn.q_proj.scales' .* is not what was written",
                   "'model.layers.2.self_attn.q_proj.scales' holds nan at row 1, column 7")

    def test_values_are_looked_at_without_a_record(self):
        (self.copy / "awqrun.h5").unlink()
        self.set_value(name(2, Q, "scales"), 0, 0xFC00)
        found = self.finds("'model.layers.2.self_attn.q_proj.scales' holds infinity at row 0")
        self.assertRegex(found["not_checked"][0], "crc32: there is no awqrun.h5")

    def test_a_damaged_record_is_a_finding_and_is_not_believed(self):
        path = self.copy / "awqrun.h5"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(bytes(data))
        found = self.finds("'.*/awqrun.h5' is not what awqrun wrote: its checksum is wrong",
                           options=("--model", DEMO))
        self.assertEqual((found["tensors_with_crc32"], found["linears"]), (0, []))
        self.assertEqual(len(found["not_checked"]), 2)

    def test_sums_are_those_of_zlib(self):
        raw = {}
        for path in self.copy.glob("*.safetensors"):
            raw.update(safetensors.read_raw(path))
        with h5py.File(self.copy / "awqrun.h5") as file:
            names = [text.decode() for text in file["tensors/name"][:]]
            sums = dict(zip(names, file["tensors/crc32"][:]))
            sizes = dict(zip(names, file["tensors/bytes"][:]))
        self.assertEqual(sums, {key: zlib.crc32(data) for key, (_, _, data) in raw.items()})
        self.assertEqual(sizes, {key: len(data) for key, (_, _, data) in raw.items()})


class Structure(VerifyCase):
    def test_a_deleted_tensor_is_named(self):
        gone = name(1, UP, "scales")
        self.change(gone, lambda tensors: tensors.pop(gone))
        self.finds(f"lacks tensor '{gone}'")

    def test_a_deleted_tensor_that_the_index_lists_is_named_once(self):
        gone = name(1, UP, "scales")
        self.change(gone, lambda tensors: tensors.pop(gone), index=False)
        self.finds(f"lacks tensor '{gone}', which .* says it holds", "total_size is ")

    def test_a_full_precision_twin_is_named(self):
        twin, beside = name(2, DOWN, "weight"), name(2, DOWN, "qweight")
        self.change(beside, lambda tensors: tensors.update(
            {twin: ("BF16", [256, 768], bytes(2 * 256 * 768))}))
        self.finds(f"holds a full-precision twin of a quantized weight.* '{twin}'")

    def test_a_tensor_that_nobody_asked_for_is_named(self):
        self.change("model.norm.weight", lambda tensors: tensors.update(
            {"model.layers.9.mlp.up_proj.qweight": ("I32", [2], bytes(8))}))
        self.finds("does not call for: 'model.layers.9.mlp.up_proj.qweight'")

    def test_a_tensor_in_two_shards_is_named(self):
        norm = {"model.norm.weight": ("BF16", [256], bytes(512))}
        self.change("model.embed_tokens.weight", lambda tensors: tensors.update(norm))
        self.finds("tensor 'model.norm.weight' is in both 'model-00001-.*' and 'model-0000",
                   "'model.norm.weight' in 'model-00001-.*' is not what was written")

    def test_wrong_shapes_and_types_are_all_named(self):
        def edit(tensors):
            for layer in (0, 1):
                for linear in (Q, "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", UP):
                    key = name(layer, linear, "qzeros")
                    if key in tensors:
                        dtype, shape, data = tensors[key]
                        tensors[key] = (dtype, [shape[1], shape[0]], data)
        self.change(name(0, Q, "qzeros"), edit)
        found = self.verify("--json")
        findings = json.loads(found.out)["findings"]
        self.assertEqual(len(findings), 6)
        for finding in findings:
            self.assertRegex(finding["text"], r"qzeros' is I32 \[\d+, 4\], expected I32 \[4, \d+\]")
            self.assertEqual(finding["kind"], "structure")

    def test_a_wrong_group_size_is_one_finding(self):
        for size in (128, -1):
            self.configure(group_size=size)
            self.finds(rf"quantization_config says groups of {size}, and the tensors have groups "
                       "of 64", options=("--model", DEMO))

    def test_wrong_bits_are_one_finding(self):
        self.configure(bits=8)
        self.finds("quantization_config says 8 bits, and the tensors' shapes are those of 4")

    def test_a_config_without_its_quantization_is_one_finding(self):
        config = read_json(self.copy / "config.json")
        del config["quantization_config"]
        write_json(self.copy / "config.json", config)
        self.finds("has no quantization_config, and the tensors are quantized",
                   options=("--model", DEMO))

    def test_a_config_that_describes_nothing_leaves_the_bytes_to_be_checked(self):
        self.flip("lm_head.weight")
        write_json(self.copy / "config.json", {"model_type": "gpt2"})
        found = self.finds("has no quantization_config", "model_type 'gpt2'",
                           "'lm_head.weight' .* is not what was written")
        self.assertTrue(any("config.json" in why for why in found["not_checked"]), found)
        self.assertEqual(found["tensors_with_crc32"], 95)

    def test_a_truncated_shard_is_named_and_the_others_are_looked_at(self):
        path = self.shard_of("model.embed_tokens.weight")
        path.write_bytes(path.read_bytes()[:-1])
        self.flip("lm_head.weight")
        self.finds(rf"'.*{path.name}'.*", "'lm_head.weight' .* is not what was written")

    def test_an_index_that_names_a_wrong_shard_is_found(self):
        index = read_json(self.copy / INDEX)
        first, last = min(index["weight_map"].values()), max(index["weight_map"].values())
        index["weight_map"]["model.embed_tokens.weight"] = last
        write_json(self.copy / INDEX, index)
        self.finds(rf"{last}' lacks tensor 'model.embed_tokens.weight', which .* it is in {first}")

    def test_an_index_with_a_wrong_total_is_found(self):
        index = read_json(self.copy / INDEX)
        index["metadata"]["total_size"] += 1
        write_json(self.copy / INDEX, index)
        self.finds(r"total_size is \d+, and the tensors have \d+ bytes")

    def test_files_that_a_loader_would_read_are_found(self):
        leftovers = ("adapter_config.json", "model-00004-of-00009.safetensors",
                     "model.safetensors", "pytorch_model.bin", "quant_config.json")
        for other in (*leftovers, "README.md", ".model.safetensors.tmp"):
            (self.copy / other).write_bytes(b"x")
        self.finds(*(f"'{self.copy}/{leftover}' is no part of the checkpoint"
                     for leftover in leftovers))

    def test_several_at_once_are_all_listed(self):
        self.flip(name(3, Q, "qweight"))
        self.set_value(name(1, UP, "scales"), 3, 0x7E00)
        gone = name(2, DOWN, "qzeros")
        self.change(gone, lambda tensors: tensors.pop(gone))
        self.configure(group_size=128)
        (self.copy / "model.safetensors").write_bytes(b"")
        expected = ("groups of 128, and the tensors have groups of 64", f"lacks tensor '{gone}'",
                    "model.safetensors' is no part", "up_proj.scales' .* is not what was written",
                    "up_proj.scales' holds nan", "q_proj.qweight' .* is not what was written")
        self.finds(*expected)
        outputs = {self.verify("--model", DEMO, ranks=ranks).out for ranks in (1, 3)}
        self.assertEqual(len(outputs), 1, outputs)
        text = outputs.pop().splitlines()
        for line, pattern in zip(text, expected):
            self.assertRegex(line, pattern)
        self.assertIn(": 6 findings", text[6])


class Others(VerifyCase):
    """Checkpoints that are not awqrun's, and calls that make no sense."""

    def test_a_checkpoint_of_others_is_looked_at_as_far_as_it_goes(self):
        for companion in ("awqrun.h5", "tokenizer.json", "generation_config.json"):
            (self.copy / companion).unlink()
        result = self.is_clean()
        self.assertIn("not checked: tensors against their crc32: there is no awqrun.h5",
                      result.out)

    def test_a_full_precision_model_is_not_a_quantized_one(self):
        result = self.verify(out=DEMO)
        self.assertEqual(result.code, 1)
        self.assertRegex(result.out, "is not quantized: its config.json has no quantization_config")

    def test_an_unfinished_one_is_refused(self):
        (self.copy / "config.json").unlink()
        self.fails_with(self.verify(), "is not finished .*run the same 'awqrun quantize' again")

    def test_what_is_no_checkpoint_is_refused(self):
        self.fails_with(self.verify(out=self.folder / "none"), "No such file or directory")
        (self.folder / "empty").mkdir()
        self.fails_with(self.verify(out=self.folder / "empty"), "has no config.json")
        self.fails_with(run("verify"), "which checkpoint", code=2)
        self.fails_with(self.verify("--layer", 1), "--layer needs --model and --tokens", code=2)
        self.fails_with(self.verify("--tokens", DEMO / "calib.h5"), "--tokens is for a --layer",
                        code=2)

    def test_an_interrupted_one_says_so_and_leaves_nothing(self):
        started = Started("verify", self.copy, "--model", DEMO, "--tokens", DEMO / "calib.h5",
                          "--layer", 3, ranks=1)
        self.assertTrue(started.wait_for(lambda: catches(started.process.pid, signal.SIGTERM)))
        os.kill(started.process.pid, signal.SIGTERM)
        code, out, err = started.finish()
        self.assertEqual((code, out), (1, ""), err)
        self.assertIn("awqrun: error: interrupted by a signal", err)


del VerifyCase  # it has no tests

if __name__ == "__main__":
    unittest.main()
