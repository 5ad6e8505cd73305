# SPDX-License-Identifier: MIT
"""awqrun verify: each kind of damage to a checkpoint is found and named, and nothing else is."""

import json
import os
import re
import shutil
import signal
import unittest

import h5py
import numpy as np

from support import safetensors
from support.case import DEMO, FAMILIES, INDEX, Case, digest, read_json, write_json
from support.faults import Started
from support.program import run

Q, UP, DOWN = "self_attn.q_proj", "mlp.up_proj", "mlp.down_proj"
OPTIONS = ("--alpha-steps", 4, "--group-size", 64)


def name(layer, linear, part):
    return f"model.layers.{layer}.{linear}.{part}"


def catches(process, number):
    """Whether a process has a handler for a signal."""
    with open(f"/proc/{process}/status", encoding="ascii") as file:
        caught = re.search(r"^SigCgt:\t([0-9a-f]+)$", file.read(), re.M).group(1)
    return int(caught, 16) >> (number - 1) & 1


class VerifyCase(Case):
    """One small quantization, in three shards, for all tests of a class; each damages a copy."""

    MAKE = (*OPTIONS, "--max-shard-size", "1MB")

    @classmethod
    def setUpClass(cls):
        case = Case("run")
        case.setUp()
        cls.addClassCleanup(case.doCleanups)
        case.succeeds(case.quantize(*cls.MAKE, sequences=2))
        cls.made = case.out

    def setUp(self):
        super().setUp()
        self.copy = self.folder / "copy"
        shutil.copytree(self.made, self.copy)

    # ---- damage ----

    def shard_of(self, tensor):
        return self.copy / read_json(self.copy / INDEX)["weight_map"][tensor]

    def change(self, tensor, edit, index=True):
        """edit({name: (dtype, shape, bytes)}) of the shard with a tensor; the index follows."""
        shard = self.shard_of(tensor)
        tensors = safetensors.read_raw(shard)
        edit(tensors)
        safetensors.write_raw(shard, tensors)
        if not index:
            return
        listed = read_json(self.copy / INDEX)
        kept = {t: s for t, s in listed["weight_map"].items() if s != shard.name}
        listed["weight_map"] = {**kept, **dict.fromkeys(tensors, shard.name)}
        listed["metadata"]["total_size"] = sum(
            len(raw[2]) for path in self.copy.glob("*.safetensors")
            for raw in safetensors.read_raw(path).values())
        write_json(self.copy / INDEX, listed)

    def flip(self, tensor, byte=-1, mask=1):
        def edit(tensors):
            dtype, shape, data = tensors[tensor]
            data = bytearray(data)
            data[byte] ^= mask
            tensors[tensor] = (dtype, shape, bytes(data))
        self.change(tensor, edit)

    def set_value(self, tensor, index, bits):
        """One 16-bit element."""
        def edit(tensors):
            dtype, shape, data = tensors[tensor]
            array = np.frombuffer(data, np.uint16).copy()
            array[index] = bits
            tensors[tensor] = (dtype, shape, array.tobytes())
        self.change(tensor, edit)

    def configure(self, **changes):
        config = read_json(self.copy / "config.json")
        config["quantization_config"].update(changes)
        write_json(self.copy / "config.json", config)

    # ---- what must hold ----

    def verify(self, *options, out=None, **how):
        return run("verify", out or self.copy, *options, **how)

    def is_clean(self, *options, **how):
        result = self.succeeds(self.verify(*options, **how))
        self.assertRegex(result.out, "nothing is wrong\n")
        return result

    def finds(self, *patterns, options=(), **how):
        """Exactly these findings, in this order, and exit code 1."""
        before = digest(self.copy)
        result = self.verify("--json", *options, **how)
        self.assertEqual(result.code, 1, result)
        found = [finding["text"] for finding in json.loads(result.out)["findings"]]
        self.assertEqual(len(found), len(patterns), result)
        for text, pattern in zip(found, patterns):
            self.assertRegex(text, pattern)
        self.assertEqual(digest(self.copy), before, "verify wrote something")
        return json.loads(result.out)


class Bytes(VerifyCase):
    def test_a_finished_checkpoint_is_clean(self):
        result = self.is_clean("--model", DEMO)
        tensors = sum(len(safetensors.read_header(path)[0])
                      for path in self.copy.glob("*.safetensors"))
        self.assertIn(f"looked at {tensors} tensors", result.out)
        self.assertIn(f"the crc32 of {tensors}\n", result.out)
        self.assertNotIn("not checked", result.out)

    def test_a_flipped_byte_is_found_in_every_kind_of_tensor(self):
        for tensor in (name(0, Q, "qweight"), name(1, UP, "qzeros"), name(2, DOWN, "scales"),
                       "model.layers.3.input_layernorm.weight", "model.embed_tokens.weight",
                       "model.norm.weight", "lm_head.weight"):
            with self.subTest(tensor=tensor):
                self.flip(tensor, byte=0)
                self.finds(rf"^tensor '{tensor}' in 'model-.*' is not what was written: its "
                           r"crc32 is [0-9a-f]{8}, recorded is [0-9a-f]{8}$")
                self.flip(tensor, byte=0)

    def test_swapped_tensors_are_both_named(self):
        a, b = name(1, "mlp.gate_proj", "qweight"), name(1, UP, "qweight")
        self.assertEqual(self.shard_of(a), self.shard_of(b))

        def swap(tensors):
            tensors[a], tensors[b] = tensors[b], tensors[a]
        self.change(a, swap)
        self.finds(f"'{a}' .* is not what was written", f"'{b}' .* is not what was written")
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
        import zlib
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
        self.assertGreater(len(findings), 6)
        for finding in findings:
            self.assertRegex(finding["text"], r"qzeros' is I32 \[\d+, 4\], expected I32 \[4, \d+\]")
            self.assertEqual(finding["kind"], "structure")

    def test_a_wrong_group_size_is_one_finding(self):
        for size in (128, 32, -1):
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
        found = self.finds("model_type 'gpt2'", "'lm_head.weight' .* is not what was written")
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
        for leftover in ("model.safetensors", "model-00004-of-00009.safetensors",
                         "pytorch_model.bin", "quant_config.json", "adapter_config.json"):
            with self.subTest(leftover=leftover):
                (self.copy / leftover).write_bytes(b"x")
                self.finds(f"'{self.copy}/{leftover}' is no part of the checkpoint")
                (self.copy / leftover).unlink()
        (self.copy / "README.md").write_text("mine")
        (self.copy / ".model.safetensors.tmp").write_text("unfinished")
        self.is_clean()

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
        outputs = {self.verify("--model", DEMO, ranks=ranks).out for ranks in (1, 2, 3)}
        self.assertEqual(len(outputs), 1, outputs)
        text = outputs.pop().splitlines()
        for line, pattern in zip(text, expected):
            self.assertRegex(line, pattern)
        self.assertIn(": 6 findings", text[6])


class Source(VerifyCase):
    def source(self, edit):
        """A copy of the demo model after edit({name: float array}) of each shard."""
        def change(tensors):
            for key, (dtype, shape, data) in list(tensors.items()):
                array = safetensors.widen(np.frombuffer(data, np.uint16)).reshape(shape).copy()
                if edit(key, array):
                    tensors[key] = (dtype, shape, safetensors.to_bfloat16(array).tobytes())
        return self.with_tensors(change)

    def distances(self, *options, **how):
        result = self.verify("--model", DEMO, "--json", *options, **how)
        return {(row["layer"], row["linear"]): row for row in json.loads(result.out)["linears"]}

    def test_distances_are_those_of_an_independent_unfolding(self):
        from golden.test_checkpoint import LINEARS, unpack
        ours = {key: value for path in self.copy.glob("*.safetensors")
                for key, value in safetensors.read(path).items()}
        source = {key: value for path in DEMO.glob("*.safetensors")
                  for key, value in safetensors.read(path).items()}
        found = self.distances()
        self.assertEqual(len(found), 28)
        with h5py.File(self.copy / "awqrun.h5") as file:
            for layer in range(4):
                scales = {group: record["scales"][:].astype(np.float64) for group, record
                          in file[f"layers/{layer:05}/groups"].items()}
                tied = scales["o"].reshape(4, 2, 32)[:, 0].ravel()  # kv head h: heads 2h, 2h + 1
                for linear in LINEARS:
                    part = f"model.layers.{layer}.{linear}."
                    steps = ours[part + "scales"].astype(np.float64).repeat(64, 0)
                    zeros = unpack(ours[part + "qzeros"]).repeat(64, 0)
                    served = ((unpack(ours[part + "qweight"]) - zeros) * steps).T
                    group = {"o_proj": "o", "down_proj": "down", "gate_proj": "gate_up",
                             "up_proj": "gate_up"}.get(linear.split(".")[1], "qkv")
                    rows = {"v_proj": tied, "up_proj": scales["down"]}.get(linear.split(".")[1], 1)
                    rows = np.broadcast_to(rows, len(served))[:, None]
                    weight = source[part + "weight"].astype(np.float64)
                    folded = weight * scales[group] / rows
                    row = found[layer, linear]
                    back = served / scales[group] * rows
                    self.assertAlmostEqual(
                        row["relative_error"] * np.linalg.norm(weight) /
                        np.linalg.norm(back - weight), 1, delta=1e-4)
                    self.assertAlmostEqual(
                        row["steps"] * np.linalg.norm(steps) / np.linalg.norm(served - folded), 1,
                        delta=1e-4)

    def test_rounding_alone_is_a_step_over_the_root_of_twelve(self):
        for (_, linear), row in self.distances().items():
            if linear in (Q, "self_attn.k_proj"):  # never clipped
                self.assertAlmostEqual(row["steps"], 12**-0.5, delta=0.003)

    def test_another_model_is_named(self):
        self.finds("the source '.*qwen3' is another model: 4 layers here, 2 there",
                   options=("--model", FAMILIES / "qwen3"))

    def test_other_weights_of_the_same_shape_are_named(self):
        target = name(1, DOWN, "weight")

        def edit(key, array):
            if key == target:
                array[:] = np.random.default_rng(1).normal(0, array.std(), array.shape)
            return key == target
        self.finds("layer 1: mlp.down_proj is not the source's weight: it is "
                   r"\d\.\d\d steps of its grid away", options=("--model", self.source(edit)))

    def test_a_weight_that_is_a_little_off_stands_out(self):
        target = name(2, UP, "weight")

        def edit(key, array):
            if key == target:
                array += np.random.default_rng(1).normal(0, 0.2 * array.std(), array.shape)
            return key == target
        self.finds(r"layer 2: mlp.up_proj stands out: it is 0\.\d\d steps of its grid away from the "
                   r"source's weight, 0\.[23]\d in the median of all layers",
                   options=("--model", self.source(edit)))

    def test_what_is_not_quantized_must_be_the_source_s(self):
        def edit(key, array):
            changed = key in ("model.embed_tokens.weight", "model.norm.weight",
                              "model.layers.2.input_layernorm.weight")
            if changed:
                array.flat[7] = 2 * array.flat[7] + 1
            return changed
        self.finds("'model.embed_tokens.weight' is not the source's, bit for bit",
                   "'model.norm.weight' is not the source's, bit for bit",
                   "'model.layers.2.input_layernorm.weight' is not the source's divided by the "
                   "layer's scales, first at element 7",
                   options=("--model", self.source(edit)))

    def test_without_a_record_unfolded_tensors_are_compared_all_the_same(self):
        (self.copy / "awqrun.h5").unlink()
        found = json.loads(self.succeeds(self.verify("--model", DEMO, "--json")).out)
        self.assertEqual((found["tensors_compared"], found["linears"]), (3, []))
        self.assertRegex("".join(found["not_checked"]), "folding cannot be undone")

    def test_a_damaged_source_is_an_error(self):
        model = self.demo()
        (model / "config.json").unlink()
        self.fails_with(self.verify("--model", model), "has no config.json")
        self.fails_with(self.verify("--model", self.made), "is quantized; give the full-precision")


class MadeAgain(VerifyCase):
    def again(self, layer, *options, **how):
        return self.verify("--model", DEMO, "--tokens", DEMO / "calib.h5", "--layer", layer,
                           *options, **how)

    def test_a_layer_made_again_has_the_same_bytes(self):
        for layer, ranks in ((0, 1), (3, 1), (2, 3)):
            with self.subTest(layer=layer, ranks=ranks):
                result = self.succeeds(self.again(layer, ranks=ranks))
                self.assertIn(f"layer {layer} made again: 23 of 23 tensors have the same bytes",
                              result.out)

    def test_a_code_that_is_not_the_one_is_found(self):
        self.flip(name(1, DOWN, "qweight"), byte=400)
        found = self.finds("is not what was written",
                           r"tensor 'model.layers.1.mlp.down_proj.qweight': made again, it has 1 of "
                           r"\d+ bytes other than here",
                           options=("--model", DEMO, "--tokens", DEMO / "calib.h5", "--layer", 1))
        self.assertEqual(found["made_again"], {"layer": 1, "tensors": 23, "same": 22})

    def test_it_starts_from_a_boundary_that_was_kept(self):
        shutil.rmtree(self.out, ignore_errors=True)
        self.succeeds(self.quantize(*self.MAKE, "--keep-run", "--stage-layers", 1, sequences=2))
        boundary = self.out / ".awqrun/boundaries/00002.h5"
        self.assertTrue(boundary.exists())
        result = self.again(2, out=self.out)
        self.assertIn("23 of 23 tensors have the same bytes", self.succeeds(result).out)
        with h5py.File(boundary, "r+") as file:  # the layer's input is what is in there
            file["hidden"][:] = file["hidden"][:] * np.float32(1.5)
        result = self.again(2, out=self.out)
        self.assertEqual(result.code, 1, result)
        self.assertIn("made again, it has", result.out)

    def test_other_inputs_are_refused_by_name(self):
        result = run("verify", self.copy, "--model", DEMO, "--tokens", DEMO / "eval.h5",
                     "--layer", 1)
        self.fails_with(result, "tokens crc32: ", "layer 1 cannot be made again")
        self.fails_with(self.again(4), "--layer 4: the layers are 0 to 3", code=2)

    def test_without_a_record_it_says_that_it_cannot(self):
        (self.copy / "awqrun.h5").unlink()
        result = self.succeeds(self.again(1))
        self.assertRegex(result.out, "not checked: layer 1, by making it again: there is no sound")


class Formats(VerifyCase):
    def test_every_format_is_understood(self):
        for options in (("--format", "gemv"), ("--format", "gemv-fast"),
                        ("--format", "compressed-tensors", "--bits", 3),
                        ("--format", "compressed-tensors", "--bits", 8, "--symmetric"),
                        ("--skip", "layers.1.mlp.down_proj"), ("--group-size", -1)):
            with self.subTest(options=options):
                out = self.folder / "-".join(map(str, options)).replace("/", "_")
                self.succeeds(self.quantize(*OPTIONS, *options, out=out, sequences=2))
                result = self.verify("--model", DEMO, "--tokens", DEMO / "calib.h5", "--layer", 1,
                                     out=out)
                self.succeeds(result)
                steps = float(re.search(r"at most (\d\.\d+) steps", result.out).group(1))
                self.assertLess(steps, 0.35)

    def test_parts_that_contradict_each_other_are_named(self):
        shutil.rmtree(self.copy)
        self.succeeds(self.quantize(*OPTIONS, "--format", "compressed-tensors", out=self.copy,
                                    sequences=2))
        path = self.copy / "model.safetensors"
        tensors = safetensors.read_raw(path)
        key = name(1, UP, "weight_shape")
        tensors[key] = ("I64", [2], np.array([768, 255], np.int64).tobytes())
        safetensors.write_raw(path, tensors)
        self.finds(f"'{key}' .* is not what was written",
                   rf"'{key}' says \[768, 255\], expected \[768, 256\]", options=("--model", DEMO))

    def test_a_skipped_linear_must_be_the_source_s_folded(self):
        shutil.rmtree(self.copy)
        self.succeeds(self.quantize(*OPTIONS, "--skip", "layers.1.mlp.down_proj", out=self.copy,
                                    sequences=2))
        path = self.copy / "model.safetensors"
        tensors = safetensors.read_raw(path)
        key = name(1, DOWN, "weight")
        dtype, shape, data = tensors[key]
        tensors[key] = (dtype, shape, np.frombuffer(data, np.uint16)[::-1].tobytes())
        safetensors.write_raw(path, tensors)
        self.finds("is not what was written", f"'{key}', which is left in full precision, is not",
                   options=("--model", DEMO))


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
