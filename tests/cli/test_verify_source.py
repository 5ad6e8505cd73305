# SPDX-License-Identifier: MIT
"""awqrun verify against the model that a checkpoint was made of: distances, tensors that must be
the source's, a layer reproduced, and all formats."""

import json
import re
import shutil
import unittest

import h5py
import numpy as np

from golden.test_checkpoint import LINEARS, unpack
from support import safetensors
from support.case import DEMO, FAMILIES
from support.program import run
from support.verify import DOWN, MAKE, OPTIONS, Q, UP, VerifyCase, name


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
        self.finds("the source '.*qwen3' is another model: layers: 2, not 4",
                   options=("--model", FAMILIES / "qwen3"))

    def test_other_weights_of_the_same_shape_are_named(self):
        target = name(1, DOWN, "weight")

        def edit(key, array):
            if key == target:
                array[:] = np.random.default_rng(1).normal(0, array.std(), array.shape)
            return key == target
        self.finds("layer 1: mlp.down_proj is not the source's weight: it is "
                   r"\d+\.\d\d steps of its grid away", options=("--model", self.source(edit)))

    def test_a_weight_that_is_a_little_off_stands_out(self):
        target = name(2, UP, "weight")

        def edit(key, array):
            if key == target:
                array += np.random.default_rng(1).normal(0, 0.0025 * array.std(), array.shape)
            return key == target
        self.finds(r"layer 2: mlp.up_proj stands out: it is 0\.\d\d steps of its grid away from "
                   r"the source's weight, 0\.[23]\d in the median of all layers",
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

    def test_a_layer_reproduced_has_the_same_bytes(self):
        for layer, ranks in ((0, 1), (3, 3)):
            with self.subTest(layer=layer, ranks=ranks):
                result = self.succeeds(self.again(layer, ranks=ranks))
                self.assertIn(f"layer {layer} reproduced: 23 of 23 tensors have the same bytes",
                              result.out)

    def test_a_code_that_is_not_the_one_is_found(self):
        self.flip(name(1, DOWN, "qweight"), byte=400)
        found = self.finds("is not what was written",
                           r"tensor 'model.layers.1.mlp.down_proj.qweight': reproduced, it has 1 "
                           r"of \d+ bytes other than here",
                           options=("--model", DEMO, "--tokens", DEMO / "calib.h5", "--layer", 1))
        self.assertEqual(found["reproduced"], {"layer": 1, "tensors": 23, "same": 22})

    def test_it_starts_from_a_boundary_that_was_kept(self):
        shutil.rmtree(self.out, ignore_errors=True)
        self.succeeds(self.quantize(*MAKE, "--keep-run", "--stage-layers", 1, sequences=2))
        boundary = self.out / ".awqrun/boundaries/00002.h5"
        self.assertTrue(boundary.exists())
        result = self.again(2, out=self.out)
        self.assertIn("23 of 23 tensors have the same bytes", self.succeeds(result).out)
        with h5py.File(boundary, "r+") as file:  # the layer's input is what is in there
            file["hidden"][:] = file["hidden"][:] * np.float32(1.5)
        result = self.again(2, out=self.out)
        self.assertEqual(result.code, 1, result)
        self.assertIn("reproduced, it has", result.out)

    def test_other_inputs_are_refused_by_name(self):
        result = run("verify", self.copy, "--model", DEMO, "--tokens", DEMO / "eval.h5",
                     "--layer", 1)
        self.fails_with(result, "tokens crc32: ", "layer 1 cannot be reproduced")
        self.fails_with(self.again(4), "--layer 4: the layers are 0 to 3", code=2)

    def test_without_a_record_it_says_that_it_cannot(self):
        (self.copy / "awqrun.h5").unlink()
        result = self.succeeds(self.again(1))
        self.assertRegex(result.out, "not checked: layer 1, by reproducing it: there is no sound")


class Families(VerifyCase):
    def test_biases_head_norms_and_types_of_every_family_are_followed(self):
        tokens = self.family_tokens()
        for family in ("llama-linear-bias", "mistral", "qwen2", "qwen3"):
            with self.subTest(family=family):
                out = self.folder / family
                self.succeeds(self.quantize("--group-size", 32, "--alpha-steps", 4, out=out,
                                            model=FAMILIES / family, tokens=tokens))
                self.succeeds(self.verify("--model", FAMILIES / family, out=out))
                tensors = safetensors.read_raw(out / "model.safetensors")
                key = next((k for k in tensors if k.endswith("up_proj.bias")),
                           next((k for k in tensors if k.endswith("v_proj.bias")),
                                next((k for k in tensors if k.endswith("k_norm.weight")),
                                     "model.layers.0.post_attention_layernorm.weight")))
                dtype, shape, data = tensors[key]
                tensors[key] = (dtype, shape, data[:2] + bytes([data[2] ^ 255, data[3] ^ 15])
                                + data[4:])
                safetensors.write_raw(out / "model.safetensors", tensors)
                result = self.verify("--model", FAMILIES / family, out=out)
                self.assertRegex(result.out, rf"'{key}' in .* is not what was written")
                self.assertRegex(result.out, rf"'{key}' is not the source's")


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

    def test_a_converted_checkpoint_is_looked_at_as_it_is_now(self):
        out = self.folder / "converted"
        self.succeeds(run("convert", self.copy, "--format", "gemv-fast", "--out", out))
        result = self.verify("--model", DEMO, "--tokens", DEMO / "calib.h5", "--layer", 1, out=out)
        self.assertIn("AWQ GEMV-fast checkpoint", self.succeeds(result).out)
        self.assertIn("the crc32 of 95\n", result.out)
        self.assertIn("23 of 23 tensors have the same bytes", result.out)

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
        self.finds("is not what was written", f"'{key}', which is kept in full precision, is not",
                   options=("--model", DEMO))


del VerifyCase  # it has no tests

if __name__ == "__main__":
    unittest.main()
