# SPDX-License-Identifier: MIT
"""A layer's experts shared out over workers, in parts: the bytes are those of whole layers."""

import json
import re
import shutil
import unittest

import numpy as np

from support import safetensors
from support.case import EXPERTS, Case, digest, read_json
from support.program import run
from support.statistics import statistics

TOKENS = np.array(read_json(EXPERTS / "expected.json")["tokens"], np.int32)
COMMON = ("--group-size", 32, "--tile-tokens", 400, "--alpha-steps", 4)


class PartsCase(Case):
    def make(self, name, *options, out, parts=0, tokens=None, **how):
        """What was written and in how many parts; of the log, what the plan was."""
        out = self.folder / out
        result = self.succeeds(self.quantize(
            *COMMON, "--expert-parts", parts, *options, model=EXPERTS / name, out=out,
            tokens=tokens or self.tokens(TOKENS), **how))
        files = digest(out)
        files["awqrun.h5"] = statistics(out / "awqrun.h5")
        return files, result

    def plan_of(self, result):
        found = re.search(r"stages=(\d+) stage_layers=\d+ expert_parts=(\d+)", result.err)
        self.assertIsNotNone(found, result)
        return tuple(map(int, found.groups()))


class Sameness(PartsCase):
    """ranks, --expert-parts, and what is made of it: at most a part a worker, and rank 0 is none
    where there are several."""
    RUNS = ((1, 3, 1), (2, 2, 1), (3, 2, 2), (5, 3, 3), (5, 4, 4), (5, 2, 2))

    def same_in_parts(self, name, *options, runs=RUNS, tokens=None):
        whole, _ = self.make(name, *options, out=f"{name}-whole", parts=1, tokens=tokens)
        for ranks, wanted, parts in runs:
            with self.subTest(model=name, options=options, ranks=ranks, parts=wanted):
                out = f"{name}-{ranks}-{wanted}"
                made, result = self.make(name, *options, out=out, parts=wanted, tokens=tokens,
                                         ranks=ranks)
                self.assertEqual(self.plan_of(result)[1], parts)
                self.assertEqual(made, whole)

    def test_the_bytes_do_not_depend_on_parts_or_ranks(self):
        for name in ("qwen3_moe", "mixtral"):
            self.same_in_parts(name)

    def test_nor_with_a_shared_expert_and_dense_layers(self):
        self.same_in_parts("qwen2_moe", "--threads", 2)

    def test_nor_where_parts_choose_together_from_weights_and_between_alphas(self):
        self.same_in_parts("qwen2_moe", "--duo", "both", "--refine", 2, "--clip", "joint",
                           "--clip-shape", "asymmetric", runs=((3, 2, 2), (5, 3, 3)))
        self.same_in_parts("qwen3_moe", "--duo", "off", "--rounding", "nearest", "--refine", 1,
                           runs=((3, 2, 2), (5, 4, 4)))

    def test_nor_with_a_mask_and_few_tokens(self):
        mask = np.ones(TOKENS.shape, np.uint8)
        mask[:, :40] = 0
        self.same_in_parts("qwen2_moe", tokens=self.tokens(TOKENS, mask, name="masked.h5"),
                           runs=((3, 2, 2), (5, 3, 3)))

    def test_nor_where_some_experts_are_skipped(self):
        self.same_in_parts("mixtral", "--skip", r"experts\.[01]\.w[123]$",
                           runs=((3, 2, 2), (5, 4, 4)))

    def test_nor_with_inputs_in_files(self):
        self.same_in_parts("qwen3_moe", "--inputs-memory", 0, runs=((3, 2, 2),))

    def test_experts_without_tokens_are_told_by_their_part(self):
        few = self.tokens(TOKENS[:1, :2], name="few.h5")
        whole, told = self.make("qwen3_moe", out="whole", parts=1, tokens=few)
        made, result = self.make("qwen3_moe", out="parts", parts=2, tokens=few, ranks=3)
        self.assertEqual(made, whole)

        def unseen(err):
            found = re.findall(r"without calibration tokens.* layer=(\d) .*experts=(\S+)", err)
            return sorted((layer, expert) for layer, of in found for expert in of.split(","))
        self.assertEqual(unseen(result.err), unseen(told.err))
        self.assertTrue(unseen(told.err))


class Plan(PartsCase):
    def plan(self, name, *options, tokens=TOKENS):
        result = run("plan", "--model", EXPERTS / name, "--tokens", self.tokens(tokens),
                     "--group-size", 32, "--json", *options)
        return json.loads(self.succeeds(result).out)

    def test_workers_to_spare_share_the_experts(self):
        whole, _ = self.make("qwen3_moe", out="whole")
        made, result = self.make("qwen3_moe", out="shared", ranks=6)  # five workers, two layers
        self.assertEqual(self.plan_of(result), (4, 2))
        self.assertEqual(made, whole)
        _, result = self.make("qwen3_moe", "--stage-layers", 1, out="staged", ranks=6)
        self.assertEqual(self.plan_of(result), (2, 1))

    def test_a_plan_lists_each_parts_experts(self):
        stages = self.plan("qwen2_moe", "--workers", 3, "--expert-parts", 3)["stages"]
        found = [(stage["first"], stage["worker"], stage.get("experts")) for stage in stages]
        self.assertEqual(found, [(0, 1, None), (1, 2, [0, 1]), (1, 3, [2, 3]), (1, 1, [4, 5]),
                                 (2, 2, None), (3, 3, None)])
        text = self.succeeds(run("plan", "--model", EXPERTS / "qwen2_moe", "--tokens",
                                 self.tokens(TOKENS), "--group-size", 32, "--workers", 3,
                                 "--expert-parts", 3)).out
        self.assertIn("layers 1-1, experts 2-3  worker 3", text)

    def needs(self, name, parts, tokens):
        plan = self.plan(name, "--workers", 4, "--threads", 1, "--expert-parts", parts,
                         tokens=tokens)
        return plan["memory"]["host_bytes"]

    def test_a_budget_that_holds_half_a_layer_takes_two_parts(self):
        few = TOKENS[:2, :8]  # or what is kept of them outweighs small experts
        whole, two = (self.needs("qwen3_moe", parts, few) for parts in (1, 2))
        self.assertLess(two, whole)
        budget = ("--threads", 1, "--device-memory", (whole + two) // 2)
        tokens = self.tokens(few)
        made, result = self.make("qwen3_moe", *budget, out="parts", ranks=5, tokens=tokens)
        self.assertEqual(self.plan_of(result)[1], 2)
        self.assertEqual(made, self.make("qwen3_moe", out="whole", tokens=tokens)[0])
        self.refuses("one decoder layer needs .*more in all: they share a layer's experts",
                     model=EXPERTS / "qwen3_moe", tokens=tokens,
                     options=(*COMMON, *budget, "--stage-layers", 1), ranks=(2,),
                     out=self.folder / "refused")


class Errors(PartsCase):
    def test_an_error_of_one_part_ends_the_job_in_its_own_words(self):
        """Of an expert of the second part, whose neighbours wait for what it measures."""
        model = self.folder / "damaged"
        shutil.copytree(EXPERTS / "mixtral", model)
        name = "model.layers.1.block_sparse_moe.experts.3.w3.weight"
        tensors = safetensors.read_raw(model / "model.safetensors")
        dtype, shape, data = tensors[name]
        array = np.frombuffer(data, np.uint16).reshape(shape).copy()
        array[5, 40] = safetensors.to_bfloat16(np.float32(3e6))
        tensors[name] = (dtype, shape, array.tobytes())
        safetensors.write_raw(model / "model.safetensors", tensors)
        self.refuses(rf"layer 1: .*'{name}': the scale of row 5, group 1 overflows float16",
                     model=model, tokens=self.tokens(TOKENS), ranks=(3, 5),
                     options=(*COMMON, "--expert-parts", 2))


if __name__ == "__main__":
    unittest.main()
