# SPDX-License-Identifier: MIT
"""Experts by the hundred: their statistics are made one at a time from what they read, which is
kept in memory or in the run directory, and none of that shows in the output."""

import json
import subprocess
import unittest

import numpy as np

from support import safetensors
from support.case import Case, digest
from support.program import run
from support.statistics import statistics

HIDDEN, WIDTH, EXPERTS, ACTIVE, LAYERS, VOCABULARY = 32, 32, 512, 4, 2, 64
SEQUENCES, LENGTH = 12, 64
CONFIG = {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe",
          "torch_dtype": "bfloat16", "hidden_size": HIDDEN, "intermediate_size": 64,
          "num_hidden_layers": LAYERS, "num_attention_heads": 2, "num_key_value_heads": 1,
          "head_dim": 16, "vocab_size": VOCABULARY, "max_position_embeddings": 128,
          "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": True,
          "num_experts": EXPERTS, "num_experts_per_tok": ACTIVE, "moe_intermediate_size": WIDTH,
          "norm_topk_prob": True, "hidden_act": "silu"}


def shapes():
    layer = {"self_attn.q_proj": (32, HIDDEN), "self_attn.k_proj": (16, HIDDEN),
             "self_attn.v_proj": (16, HIDDEN), "self_attn.o_proj": (HIDDEN, 32),
             "self_attn.q_norm": (16,), "self_attn.k_norm": (16,), "input_layernorm": (HIDDEN,),
             "post_attention_layernorm": (HIDDEN,), "mlp.gate": (EXPERTS, HIDDEN)}
    for expert in range(EXPERTS):
        layer |= {f"mlp.experts.{expert}.gate_proj": (WIDTH, HIDDEN),
                  f"mlp.experts.{expert}.up_proj": (WIDTH, HIDDEN),
                  f"mlp.experts.{expert}.down_proj": (HIDDEN, WIDTH)}
    found = {f"model.layers.{i}.{name}.weight": shape
             for i in range(LAYERS) for name, shape in layer.items()}
    return found | {"model.embed_tokens.weight": (VOCABULARY, HIDDEN),
                    "model.norm.weight": (HIDDEN,)}


class Hundreds(Case):
    def setUp(self):
        super().setUp()
        random = np.random.default_rng(7)
        self.model = self.folder / "mixture"
        self.model.mkdir()
        (self.model / "config.json").write_text(json.dumps(CONFIG))
        tensors = {}
        for name, shape in shapes().items():
            values = random.standard_normal(shape) / (1 if len(shape) == 1 else shape[1] ** 0.5)
            bits = safetensors.to_bfloat16(values + (len(shape) == 1))
            tensors[name] = ("BF16", shape, bits.tobytes())
        safetensors.write_raw(self.model / "model.safetensors", tensors)
        # some tokens more often than others, so that some experts have few, and some none
        ids = random.integers(0, VOCABULARY, (SEQUENCES, LENGTH)) ** 2 // VOCABULARY
        mask = random.integers(0, 8, (SEQUENCES, LENGTH)) > 0
        self.calibration = self.tokens(ids.astype(np.int32), mask.astype(np.uint8))

    def make(self, out, *options, **how):
        return self.quantize("--group-size", 32, "--alpha-steps", 3, "--tile-tokens", 256,
                             *options, model=self.model, tokens=self.calibration,
                             out=self.folder / out, **how)

    def made(self, out, *options, **how):
        self.succeeds(self.make(out, *options, **how))
        files = digest(self.folder / out)
        del files["awqrun.h5"]
        return files, statistics(self.folder / out / "awqrun.h5")

    def test_the_bytes_do_not_depend_on_ranks_or_where_inputs_are_kept(self):
        first = self.made("one", "--threads", 1)
        seen = [value for key, value in first[1].items() if key.endswith("down@tokens")]
        self.assertEqual(len(seen), LAYERS * EXPERTS)
        self.assertIn(0, seen)
        for ranks, *options in ((1, "--inputs-memory", 0, "--threads", 2),
                                (2, "--inputs-memory", "150kB", "--stage-layers", 2),
                                (3, "--inputs-memory", 0), (5,)):
            with self.subTest(ranks=ranks, options=options):
                self.assertEqual(self.made(f"ranks-{ranks}-{len(options)}", *options, ranks=ranks),
                                 first)

    def test_a_killed_run_leaves_no_inputs_and_resumes_to_the_same_bytes(self):
        first = self.made("undisturbed")
        result = self.make("killed", "--inputs-memory", 0, "--stage-layers", 1,
                           env={"AWQ_FAULT": "record-before-statistics:2"})
        self.assertNotEqual(result.code, 0, "was not killed")
        run = self.folder / "killed" / ".awqrun"
        self.assertEqual([path.name for path in run.iterdir() if path.name.startswith("kept")], [])
        self.assertEqual(self.made("killed", ranks=2), first)

    def test_a_disk_without_room_for_inputs_is_refused_before_any_work(self):
        def disk(size):
            plan = run("plan", "--model", self.model, "--tokens", self.calibration, "--group-size",
                       32, "--inputs-memory", size, "--json")
            planned = json.loads(self.succeeds(plan).out)["disk"]
            return planned["checkpoint_bytes"] + planned["run_bytes"]
        all_of_it, least = disk(0), disk("1GB")
        self.assertGreater(all_of_it - least, LAYERS * SEQUENCES * LENGTH * HIDDEN * 4)
        small = self.folder / "small"
        small.mkdir()
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={(all_of_it + least) // 2}",
                                "tmpfs", small], capture_output=True, check=False)
        if mount.returncode:
            self.skipTest("mounting a file system is not allowed here")
        self.addCleanup(subprocess.run, ["umount", "-l", small], check=False)
        self.fails_with(self.make("small/out", "--inputs-memory", 0),
                        "needs .* more while the job runs, and its disk has .* free; make room")
        self.assertNotIn("needs", self.make("small/out").err)

    def test_a_disk_without_room_for_inputs_is_named(self):
        result = self.make("full", "--inputs-memory", 0, file_size=65536)
        self.fails_with(result, r"layer 0: .* a higher --inputs-memory .*: cannot write a "
                                r"temporary file in '.*/full/\.awqrun': File too large")


if __name__ == "__main__":
    unittest.main()
