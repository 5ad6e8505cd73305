# SPDX-License-Identifier: MIT
"""Latent attention and gated delta nets as users meet them: what is kept in full precision and
what an option changes of that, what is folded into what is kept, and sequences that an indexer
would have to choose among."""

import json
import unittest

import h5py
import numpy as np

from support import random_model, safetensors
from support.case import Case, digest, read_json
from support.program import run

DESCRIBED = random_model.described()
GROUP = ("--group-size", 32)
QUANTIZE_KV_B = ("--kv-b-proj", "quantize")
# Relative: a weight of a bfloat16 model, rounded once more.
ROUNDING = 2**-8


class Kinds(Case):
    def setUp(self):
        super().setUp()
        self.all_tokens = self.family_tokens()

    def source(self, name, **changes):
        folder = self.folder / name
        random_model.write(folder, DESCRIBED[name], changes)
        return folder

    def made(self, source, *options, out="out", **how):
        """A quantized checkpoint that verify finds nothing in."""
        folder = self.folder / out
        done = self.succeeds(self.quantize(*GROUP, *options, model=source, out=folder,
                                           tokens=self.all_tokens, sequences=4, **how))
        self.succeeds(run("verify", folder, "--model", source))
        return folder, done

    def read(self, folder):
        found = {}
        for path in sorted(folder.glob("*.safetensors")):
            found |= safetensors.read(path)
        return found

    def listed(self, folder):
        return read_json(folder / "config.json")["quantization_config"]["modules_to_not_convert"]

    # ---- what is folded ----

    def scales(self, folder, layer, group):
        with h5py.File(folder / "awqrun.h5") as file:
            return file[f"layers/{layer:05}/groups/{group}/scales"][:].astype(np.float64)

    def is_multiplied(self, source, folder, layer, group, *linears):
        """W' = W s, column by column, of linears of the layer that are kept."""
        before, after = self.read(source), self.read(folder)
        scales = self.scales(folder, layer, group)
        self.assertGreater(scales.max() / scales.min(), 1.5, "nothing was scaled")
        for linear in linears:
            name = f"model.layers.{layer}.{linear}.weight"
            np.testing.assert_allclose(after[name].astype(np.float64),
                                       before[name].astype(np.float64) * scales, rtol=ROUNDING)
            self.assertIn(name.removesuffix(".weight"), self.listed(folder))

    def test_an_indexers_linears_are_multiplied_and_kept(self):
        for name in ("deepseek_v32", "glm_moe_dsa"):
            with self.subTest(model=name):
                source = self.source(name)
                folder, _ = self.made(source, out=f"{name}-out")
                for layer in (0, 2):
                    self.is_multiplied(source, folder, layer, "qkv", "self_attn.indexer.wk",
                                       "self_attn.indexer.weights_proj")
                    self.is_multiplied(source, folder, layer, "q_b", "self_attn.indexer.wq_b")
                before, after = self.read(source), self.read(folder)
                for part in ("weight", "bias"):
                    norm = f"model.layers.0.self_attn.indexer.k_norm.{part}"
                    np.testing.assert_array_equal(before[norm], after[norm])

    def test_what_says_how_much_a_delta_net_learns_is_multiplied_and_kept(self):
        for name, linears in (("qwen3_next", ("linear_attn.in_proj_ba",)),
                              ("qwen3_5_text", ("linear_attn.in_proj_a", "linear_attn.in_proj_b"))):
            with self.subTest(model=name):
                source = self.source(name)
                folder, _ = self.made(source, out=f"{name}-out")
                self.is_multiplied(source, folder, 0, "qkv", *linears)

    def test_the_gated_norm_takes_one_scale_for_all_heads(self):
        source = self.source("qwen3_5_text")
        folder, _ = self.made(source)
        before, after = self.read(source), self.read(folder)
        for layer in (0, 2):
            scales = self.scales(folder, layer, "o").reshape(4, 32)
            np.testing.assert_array_equal(scales, np.tile(scales[0], (4, 1)))
            self.assertGreater(scales.max() / scales.min(), 1.5, "nothing was scaled")
            norm = f"model.layers.{layer}.linear_attn.norm.weight"
            np.testing.assert_allclose(after[norm].astype(np.float64) * scales[0],
                                       before[norm].astype(np.float64), rtol=1e-6)

    def test_convolutions_and_rates_are_copied(self):
        source = self.source("qwen3_next")
        folder, _ = self.made(source)
        before, after = self.read(source), self.read(folder)
        names = [name for name in before if name.endswith(("conv1d.weight", "A_log", "dt_bias"))]
        self.assertGreater(len(names), 5)
        for name in names:
            self.assertEqual(after[name].shape, before[name].shape)
            np.testing.assert_array_equal(after[name], before[name])

    # ---- kv_b_proj ----

    def kv_b(self, layer):
        return f"model.layers.{layer}.self_attn.kv_b_proj"

    def test_kv_b_proj_is_kept_and_multiplied_and_divided(self):
        """By the scales of its input; the rows of v by those of what o reads, which they make."""
        source = self.source("deepseek_v3")
        folder, _ = self.made(source)
        config = read_json(source / "config.json")
        heads, value = config["num_attention_heads"], config["v_head_dim"]
        before, after = self.read(source), self.read(folder)
        for layer in range(config["num_hidden_layers"]):
            name = self.kv_b(layer)
            self.assertIn(name, self.listed(folder))
            expected = before[f"{name}.weight"].astype(np.float64)
            expected = expected * self.scales(folder, layer, "kv_b")
            rows = expected.reshape(heads, -1, expected.shape[1])
            rows[:, -value:] /= self.scales(folder, layer, "o").reshape(heads, value, 1)
            np.testing.assert_allclose(after[f"{name}.weight"].astype(np.float64), expected,
                                       rtol=ROUNDING)

    def test_kv_b_proj_is_quantized_on_demand(self):
        source = self.source("deepseek_v3")
        kept, _ = self.made(source, out="kept")
        folder, _ = self.made(source, *QUANTIZE_KV_B)
        name = self.kv_b(0)
        self.assertNotIn(name, self.listed(folder))
        self.assertIn(f"{name}.qweight", self.read(folder))
        self.assertNotIn(f"{name}.weight", self.read(folder))
        self.assertIn(f"{name}.weight", self.read(kept))
        divergence = {path: self.evaluate(path, "--against", source, tokens=self.all_tokens)["kl"]
                      for path in (kept, folder)}
        self.assertLess(0, divergence[kept])
        self.assertLess(divergence[kept], divergence[folder])

    def test_a_model_without_one_has_none_to_quantize(self):
        self.fails_with(self.quantize("--group-size", 32, *QUANTIZE_KV_B), "no latent attention")

    def test_skipping_it_is_keeping_it(self):
        source = self.source("deepseek_v3")
        kept, _ = self.made(source, out="kept")
        skipped, _ = self.made(source, *QUANTIZE_KV_B, "--skip", r"kv_b_proj$", out="skipped")
        before, after = digest(kept), digest(skipped)
        names = [name for name in before if name != "awqrun.h5" and ".awqrun" not in name]
        self.assertIn("config.json", names)
        self.assertEqual({name: after.get(name) for name in names},
                         {name: before[name] for name in names})

    def test_what_is_kept_is_read_from_a_quantized_checkpoint_without_the_option(self):
        source = self.source("deepseek_v3")
        folder, _ = self.made(source, *QUANTIZE_KV_B)
        out = self.folder / "converted"
        self.succeeds(run("convert", folder, "--format", "gemv", "--out", out))
        numbers = [self.evaluate(path, tokens=self.all_tokens)["mean_nll"]
                   for path in (folder, out)]
        self.assertEqual(*numbers)
        codes = [self.read(path)[f"{self.kv_b(0)}.qweight"] for path in (folder, out)]
        self.assertNotEqual(codes[0].shape, codes[1].shape)  # which lie the other way round

    def test_a_run_is_not_resumed_with_another_choice(self):
        source = self.source("deepseek_v3")
        options = (*GROUP, "--stage-layers", 1)
        stopped = self.quantize(*options, "--time-limit", "0.01", model=source,
                                tokens=self.all_tokens, sequences=4)
        self.assertEqual(stopped.code, 75, stopped)
        self.fails_with(self.quantize(*options, *QUANTIZE_KV_B, model=source,
                                      tokens=self.all_tokens, sequences=4),
                        'kv-b-proj: "keep" in the earlier run, "quantize" now',
                        "the run of another job")

    def test_half_of_what_engines_load_as_one_is_warned_of(self):
        for name, pattern, fused in (
                ("deepseek_v3", "q_a_proj", "q_a_proj and kv_a_proj_with_mqa"),
                ("qwen3_5_text", "in_proj_z", "in_proj_qkv and in_proj_z")):
            with self.subTest(model=name):
                job = ("--model", self.source(name), "--tokens", self.all_tokens, *GROUP)
                self.assertIn(f"keeps some of {fused} of layer 0",
                              self.succeeds(run("plan", *job, "--skip", pattern)).err)
                both = fused.replace(" and ", "$|") + "$"
                self.assertNotIn("keeps some of",
                                 self.succeeds(run("plan", *job, "--skip", both)).err)

    # ---- sequences that are too long for an indexer ----

    def test_sequences_longer_than_an_indexer_chooses_are_refused_with_the_reason(self):
        with h5py.File(self.all_tokens) as file:
            length = file["input_ids"].shape[1]
        source = self.source("deepseek_v32", index_topk=length - 1)
        reason = (rf"sequences of {length} tokens are too long: .* indexer chooses.* use sequences "
                  rf"of {length - 1} tokens at most")
        tokens = ("--tokens", self.all_tokens)
        self.refuses(reason, model=source, tokens=self.all_tokens, options=GROUP)
        self.fails_with(run("plan", "--model", source, *tokens, *GROUP), reason)
        self.fails_with(run("eval", "--model", source, *tokens), reason)

    def test_sequences_of_as_many_tokens_are_not(self):
        with h5py.File(self.all_tokens) as file:
            length = file["input_ids"].shape[1]
        source = self.source("deepseek_v32", index_topk=length)
        plan = json.loads(self.succeeds(run("plan", "--json", "--model", source, "--tokens",
                                            self.all_tokens, *GROUP)).out)
        self.assertEqual(plan["model"]["family"], "deepseek_v32")

    def test_models_whose_indexers_choose_differently_are_not_compared(self):
        sources = [self.source("deepseek_v32")]
        other = self.folder / "other"
        random_model.write(other, DESCRIBED["deepseek_v32"], {"index_topk": 4096})
        self.fails_with(run("eval", "--model", sources[0], "--against", other, "--tokens",
                            self.all_tokens), "tokens that an indexer chooses: 4096, not 128")


if __name__ == "__main__":
    unittest.main()
