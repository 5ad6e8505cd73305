# SPDX-License-Identifier: MIT
"""Mixtures of experts: mixtral, qwen2_moe and qwen3_moe against transformers' own forward pass
(tests/data/experts/expected.json, written by make.py beside it), and what is quantized of them
against a forward pass in numpy."""

import json
import re
import shutil
import unittest

import h5py
import numpy as np

from golden.test_checkpoint import unpack
from support import safetensors
from support.case import EXPERTS, Case, digest, read_json, write_json
from support.experts_reference import Mixture
from support.program import run
from support.statistics import statistics

EXPECTED = read_json(EXPERTS / "expected.json")["models"]
TOKENS = np.array(read_json(EXPERTS / "expected.json")["tokens"], np.int32)

# Relative; the program computes in float32, transformers in float64.
LIKELIHOOD_TOLERANCE = 1e-5

ROUTERS = {
    "mixtral": ["model.layers.0.block_sparse_moe.gate", "model.layers.1.block_sparse_moe.gate"],
    "qwen2_moe": ["model.layers.1.mlp.gate", "model.layers.1.mlp.shared_expert_gate"],
    "qwen3_moe": ["model.layers.0.mlp.gate", "model.layers.1.mlp.gate"],
}


class Experts(Case):
    def all_tokens(self, sequences=None):
        return self.tokens(TOKENS[:sequences])

    def copy(self, name):
        model = self.folder / f"copy-of-{name}"
        shutil.copytree(EXPERTS / name, model)
        return model

    def make(self, name, *options, out=None, model=None, tokens=None, **how):
        out = out or self.folder / f"{name}-awq"
        result = self.succeeds(self.quantize("--group-size", 32, *options, out=out,
                                             model=model or EXPERTS / name,
                                             tokens=tokens or self.all_tokens(), **how))
        return out, result


class Models(Experts):
    def test_the_likelihood_is_that_of_transformers(self):
        for name, expected in EXPECTED.items():
            with self.subTest(model=name):
                found = self.evaluate(EXPERTS / name, tokens=self.all_tokens())["mean_nll"]
                self.assertLess(abs(found / expected["mean_nll"] - 1), LIKELIHOOD_TOLERANCE)

    def test_awq_is_better_than_rounding_and_what_numpy_computes(self):
        for name in EXPECTED:
            with self.subTest(model=name):
                made, _ = self.make(name)
                rounded, _ = self.make(name, "--alpha-steps", 0, "--clip", "off", "--rounding",
                                       "nearest", out=self.folder / f"{name}-rounded")
                ours, plain = (self.evaluate(path, "--against", EXPERTS / name,
                                             tokens=self.all_tokens()) for path in (made, rounded))
                self.assertLess(ours["kl"], 0.6 * plain["kl"])
                expected = Mixture(made).mean_nll(TOKENS)
                self.assertLess(abs(ours["mean_nll"] / expected - 1), LIKELIHOOD_TOLERANCE)
                self.routers_are_folded(name, made)
                self.is_complete(name, made)

    def routers_are_folded(self, name, made):
        """In full precision, times the scales of their input, and said to be so."""
        listed = read_json(made / "config.json")["quantization_config"]["modules_to_not_convert"]
        self.assertEqual(sorted(listed), ROUTERS[name])
        source = safetensors.read(EXPERTS / name / "model.safetensors")
        ours = safetensors.read(made / "model.safetensors")
        with h5py.File(made / "awqrun.h5") as file:
            for router in ROUTERS[name]:
                layer = file[f"layers/{int(router.split('.')[2]):05}"]
                scales = layer["groups/gate_up/scales"][:]
                self.assertGreater(scales.max() / scales.min(), 1.5, "nothing was scaled")
                np.testing.assert_allclose(
                    ours[router + ".weight"].astype(np.float64),
                    source[router + ".weight"].astype(np.float64) * scales, rtol=2**-8)
                self.assertLess(layer.attrs["fold_error"], 1e-5)

    def is_complete(self, name, made):
        """Every linear packed but routers, nothing left behind."""
        source = safetensors.read(EXPERTS / name / "model.safetensors")
        expected = set()
        for tensor in source:
            base = tensor.removesuffix(".weight")
            if base.endswith(("_proj", ".w1", ".w2", ".w3")) and base != tensor:
                expected.update(f"{base}.{part}" for part in ("qweight", "qzeros", "scales"))
            else:
                expected.add(tensor)
        self.assertEqual(set(safetensors.read(made / "model.safetensors")), expected)

    def test_the_record_has_the_tokens_of_each_expert(self):
        for name, expected in EXPECTED.items():
            with self.subTest(model=name):
                made, _ = self.make(name, "--alpha-steps", 1)
                with h5py.File(made / "awqrun.h5") as file:
                    layers = [layer for layer in file["layers"].values()
                              if any(group.startswith("experts.") for group in layer["groups"])]
                    self.assertEqual(len(layers), len(expected["tokens_of_experts"]))
                    for layer, tokens in zip(layers, expected["tokens_of_experts"]):
                        self.assertEqual(
                            [layer[f"groups/experts.{e}.down"].attrs["tokens"]
                             for e in range(len(tokens))], tokens)

    def test_masked_tokens_do_not_count_for_their_expert(self):
        mask = np.ones(TOKENS.shape, np.uint8)
        mask[:8] = 0
        masked, _ = self.make("mixtral", tokens=self.tokens(TOKENS, mask, name="masked.h5"))
        half, _ = self.make("mixtral", tokens=self.tokens(TOKENS[8:], name="half.h5"),
                            out=self.folder / "half")
        for name in ("model.safetensors", "config.json"):
            self.assertEqual(digest(masked)[name], digest(half)[name])


class Sameness(Experts):
    COMMON = ("--tile-tokens", 400, "--alpha-steps", 4)

    def made(self, name, *options, out, **how):
        path, _ = self.make(name, *self.COMMON, *options, out=self.folder / out, **how)
        files = digest(path)
        del files["awqrun.h5"]
        return files, statistics(path / "awqrun.h5")

    def test_the_bytes_do_not_depend_on_ranks_threads_or_stages(self):
        for name in EXPECTED:
            first = self.made(name, "--threads", 1, out=f"{name}-1")
            self.assertTrue(any("experts.1.down" in key for key in first[1]))
            for ranks, threads, stage_layers in ((2, 2, 1), (3, 1, 1)):
                with self.subTest(model=name, ranks=ranks):
                    again = self.made(name, "--threads", threads, "--stage-layers", stage_layers,
                                      out=f"{name}-{ranks}", ranks=ranks)
                    self.assertEqual(first, again)

    def test_a_killed_run_resumes_to_the_same_bytes(self):
        options = ("--stage-layers", 1)
        first = self.made("qwen2_moe", *options, out="undisturbed")
        out = self.folder / "killed"
        result = self.quantize("--group-size", 32, *self.COMMON, *options, out=out,
                               model=EXPERTS / "qwen2_moe", tokens=self.all_tokens(),
                               env={"AWQ_FAULT": "record-before-statistics:2"})
        self.assertNotEqual(result.code, 0, "was not killed")
        self.assertTrue((out / ".awqrun").is_dir())
        self.assertEqual(self.made("qwen2_moe", *options, out="killed", ranks=2), first)


class Counting(Mixture):
    """Keeps the experts that each token goes to, a row a token: a list of the layers'."""

    def __init__(self, path):
        super().__init__(path)
        self.chosen = []

    def mix(self, y, prefix):
        order = np.argsort(-self.project(y, prefix + "mlp.gate"), -1, kind="stable")
        self.chosen.append(order[:, :self.config["num_experts_per_tok"]])
        return super().mix(y, prefix)

    def route(self, ids):
        """[layers, tokens, experts a token]"""
        self.chosen = []
        self.log_probabilities(ids)
        return np.array(self.chosen)


class Tokens(Experts):
    def told(self, result):
        """(fewer than channels, experts, channels, none, median, least), and the advice"""
        found = re.search(r"(?m)^  experts: (\d+) of (\d+) had fewer tokens than channels \((\d+)\)"
                          r", (\d+) had none; median (\d+), least (\d+)"
                          r"(?:; --sequences (\d+) would give the median as many)?$", result.out)
        self.assertTrue(found, result.out)
        *numbers, advice = found.groups()
        return [int(number) for number in numbers], advice and int(advice)

    def test_a_line_says_how_many_tokens_experts_had_beside_their_channels(self):
        counts = sorted(np.ravel(EXPECTED["qwen3_moe"]["tokens_of_experts"]))  # transformers'
        _, result = self.make("qwen3_moe")
        self.assertEqual(self.told(result), ([0, 16, 64, 0, counts[7], counts[0]], None))

    def test_it_says_how_many_sequences_would_do(self):
        _, result = self.make("qwen3_moe", tokens=self.tokens(TOKENS[:1]))
        chosen = Counting(EXPERTS / "qwen3_moe").route(TOKENS[0])
        counts = np.sort([np.bincount(layer.ravel(), minlength=8) for layer in chosen], axis=None)
        self.assertLess(counts[7], 64)
        self.assertEqual(self.told(result), (
            [(counts < 64).sum(), 16, 64, (counts == 0).sum(), counts[7], counts[0]],
            -(-64 // counts[7])))

    def test_a_dense_model_has_no_such_line(self):
        self.assertNotIn("experts:", self.succeeds(self.quantize(sequences=1)).out)


class FewTokens(Experts):
    """Of the tokens that go to expert 5 of layer 0 all but a few are masked; the others have
    hundreds."""

    def make_with(self, count, *options):
        model = Counting(EXPERTS / "qwen3_moe")
        there = np.array([(model.route(ids)[0] == 5).any(-1) for ids in TOKENS])
        mask = (~there).astype(np.uint8)
        mask[tuple(np.argwhere(there)[:count].T)] = 1
        made, _ = self.make("qwen3_moe", *options, tokens=self.tokens(TOKENS, mask),
                            out=self.folder / f"with-{count}")
        with h5py.File(made / "awqrun.h5") as file:
            groups = file["layers/00000/groups"]
            tokens = [groups[f"experts.{expert}.down"].attrs["tokens"] for expert in range(8)]
        self.assertEqual(tokens.pop(5), count)
        self.assertGreater(min(tokens), 128)
        return made

    def findings(self, made, source=EXPERTS / "qwen3_moe"):
        result = run("verify", made, "--model", source, "--json")
        return [finding["text"] for finding in json.loads(result.out)["findings"]]

    def test_what_few_tokens_explain_is_no_finding(self):
        for count in (1, 16, 32, 48):  # down reads 32 channels: 32 tokens take it furthest
            with self.subTest(tokens=count):
                self.assertEqual(self.findings(self.make_with(count)), [])

    def source_with(self, expert, change):
        """The model with expert's down in layer 0 replaced by change(its weight, expert 6's)."""
        model = self.copy("qwen3_moe")
        tensors = safetensors.read_raw(model / "model.safetensors")
        names = [f"model.layers.0.mlp.experts.{e}.down_proj.weight" for e in (expert, 6)]
        weights = [np.frombuffer(tensors[name][2], np.float16) for name in names]
        dtype, shape, _ = tensors[names[0]]
        tensors[names[0]] = (dtype, shape, change(*weights).astype(np.float16).tobytes())
        safetensors.write_raw(model / "model.safetensors", tensors)
        return model

    def test_another_weight_of_such_an_expert_is_found(self):
        made = self.make_with(32)
        found = self.findings(made, self.source_with(5, lambda _, other: other))
        self.assertEqual(len(found), 1, found)
        self.assertRegex(found[0], r"layer 0: mlp.experts.5.down_proj is not the source's weight: "
                         r"it is \d\.\d\d steps")

    def test_experts_with_tokens_enough_are_compared_as_before(self):
        made = self.make_with(32)
        noise = np.random.default_rng(4).normal(0, 0.17, 64 * 32)
        found = self.findings(made, self.source_with(
            4, lambda weight, _: weight + weight.std() * noise))
        self.assertEqual(len(found), 1, found)
        self.assertRegex(found[0], r"layer 0: mlp.experts.4.down_proj stands out: it is 0\.\d\d "
                         "steps of its grid away")


class Unseen(Experts):
    """Two tokens cannot go to all of eight experts."""

    def test_an_expert_without_tokens_is_rounded_plainly_and_told(self):
        made, result = self.make("qwen3_moe", "--clip-shape", "asymmetric",
                                 tokens=self.tokens(TOKENS[:1, :2]))
        ours = safetensors.read(made / "model.safetensors")
        source = safetensors.read(EXPERTS / "qwen3_moe/model.safetensors")
        for layer in range(2):
            unseen = self.unseen_of(made, layer)
            self.assertIn(len(unseen), range(2, 6))
            self.assertRegex(result.err, f"experts without calibration tokens.* layer={layer} "
                             f"count={len(unseen)} experts={','.join(map(str, unseen))}\n")
            for expert in unseen:
                base = f"model.layers.{layer}.mlp.experts.{expert}.down_proj"
                weight = source[base + ".weight"].astype(np.float32)
                codes, scales, zeros = self.round_plainly(weight)
                np.testing.assert_array_equal(ours[base + ".scales"].T, scales)
                np.testing.assert_array_equal(unpack(ours[base + ".qzeros"]).T, zeros)
                np.testing.assert_array_equal(unpack(ours[base + ".qweight"]).T, codes)
        self.assertTrue(np.isfinite(self.evaluate(made, tokens=self.all_tokens())["mean_nll"]))

    def unseen_of(self, made, layer):
        unseen = []
        with h5py.File(made / "awqrun.h5") as file:
            record = file[f"layers/{layer:05}"]
            for expert in range(8):
                group = record[f"groups/experts.{expert}.down"]
                if group.attrs["tokens"]:
                    self.assertGreaterEqual(group.attrs["chosen"], 0)
                    continue
                unseen.append(expert)
                self.assertEqual(group.attrs["chosen"], -1)
                self.assertEqual(group["alpha"].shape, (0,))
                np.testing.assert_array_equal(group["scales"][:], 1)
                linear = record[f"linears/experts.{expert}.down_proj"].attrs
                self.assertEqual((linear["damp"], linear["clipped_groups"]), (0, 0))
        return unseen

    @staticmethod
    def round_plainly(weight, group=32):
        """docs/awq.md 2.4, in float32: codes [out, in], scales and zeros [out, groups]."""
        grouped = weight.reshape(len(weight), -1, group)
        high = np.maximum(grouped.max(-1), 0)
        low = np.minimum(grouped.min(-1), 0)
        scales = (np.maximum(high - low, np.float32(1e-5)) / np.float32(15)).astype(np.float16)
        wide = scales.astype(np.float32)
        zeros = np.clip(-np.rint(low / wide), 0, 15)
        codes = np.clip(np.rint(grouped / wide[..., None]) + zeros[..., None], 0, 15)
        return codes.reshape(weight.shape).astype(int), scales, zeros.astype(int)


class Commands(Experts):
    def test_verify_finds_nothing_wrong_and_makes_a_layer_again(self):
        for name in EXPECTED:
            with self.subTest(model=name):
                made, _ = self.make(name)
                result = self.succeeds(run("verify", made, "--model", EXPERTS / name, "--tokens",
                                           self.all_tokens(), "--layer", 1, "--json"))
                found = json.loads(result.out)
                self.assertTrue(found["clean"])
                self.assertEqual(found["reproduced"]["same"], found["reproduced"]["tensors"])
                source = safetensors.read(EXPERTS / name / "model.safetensors")
                linears = sum(tensor.endswith(("_proj.weight", ".w1.weight", ".w2.weight",
                                               ".w3.weight")) for tensor in source)
                self.assertEqual(len(found["linears"]), linears)

    def test_verify_finds_a_router_that_was_not_folded(self):
        made, _ = self.make("qwen2_moe")
        raw = safetensors.read_raw(made / "model.safetensors")
        source = safetensors.read_raw(EXPERTS / "qwen2_moe/model.safetensors")
        for router in ROUTERS["qwen2_moe"]:
            raw[router + ".weight"] = source[router + ".weight"]
        safetensors.write_raw(made / "model.safetensors", raw)
        result = run("verify", made, "--model", EXPERTS / "qwen2_moe", "--json")
        self.assertEqual(result.code, 1, result)
        values = [finding["text"] for finding in json.loads(result.out)["findings"]
                  if finding["kind"] == "values"]
        for router in ROUTERS["qwen2_moe"]:
            self.assertTrue(any(f"'{router}.weight'" in text and "kept in full precision" in text
                                for text in values), values)

    def test_converting_there_and_back_changes_no_byte(self):
        made, _ = self.make("qwen2_moe")
        there, back = self.folder / "there", self.folder / "back"
        self.succeeds(run("convert", made, "--format", "gemv", "--out", there))
        self.succeeds(run("convert", there, "--format", "gemm", "--out", back))
        for name in ("model.safetensors", "config.json"):
            self.assertEqual(digest(back)[name], digest(made)[name])
        self.assertEqual(self.evaluate(there, tokens=self.all_tokens())["mean_nll"],
                         self.evaluate(made, tokens=self.all_tokens())["mean_nll"])

    def test_compressed_tensors_lists_routers_to_be_ignored(self):
        made, _ = self.make("qwen3_moe", "--format", "compressed-tensors")
        ignored = read_json(made / "config.json")["quantization_config"]["ignore"]
        self.assertEqual(sorted(ignored), sorted([*ROUTERS["qwen3_moe"], *(
            ["lm_head"] if "lm_head" in ignored else [])]))
        found = self.evaluate(made, "--against", EXPERTS / "qwen3_moe", tokens=self.all_tokens())
        self.assertLess(found["kl"], 0.3)

    def test_skip_leaves_linears_of_experts_by_their_name(self):
        made, result = self.make("mixtral", "--skip", r"experts\.[01]\.w[123]$")
        self.assertRegex(result.err, "some of the experts of layer 0")
        source = safetensors.read(EXPERTS / "mixtral/model.safetensors")
        ours = safetensors.read(made / "model.safetensors")
        with h5py.File(made / "awqrun.h5") as file:
            groups = file["layers/00001/groups"]
            columns = {"w1": groups["gate_up/scales"][:], "w3": groups["gate_up/scales"][:],
                       "w2": groups["experts.1.down/scales"][:]}
        for linear in ("w1", "w2", "w3"):
            name = f"model.layers.1.block_sparse_moe.experts.1.{linear}.weight"
            self.assertNotIn(name.replace("experts.1", "experts.2"), ours)
            np.testing.assert_allclose(ours[name], source[name] * columns[linear], rtol=2**-8)
        np.testing.assert_array_equal(columns["w2"], 1)  # nobody is quantized who reads it
        found = self.evaluate(made, tokens=self.all_tokens())["mean_nll"]
        self.assertLess(abs(found / Mixture(made).mean_nll(TOKENS) - 1), LIKELIHOOD_TOLERANCE)

    def test_plan_counts_all_parameters_and_those_of_a_token(self):
        for name in EXPECTED:
            with self.subTest(model=name):
                source = safetensors.read(EXPERTS / name / "model.safetensors")
                config = read_json(EXPERTS / name / "config.json")
                experts = config.get("num_experts") or config["num_local_experts"]
                of_experts = sum(value.size for tensor, value in source.items()
                                 if re.search(r"\.experts\.\d+\.", tensor))
                everything = sum(value.size for value in source.values())
                idle = of_experts * (experts - config["num_experts_per_tok"]) // experts
                plan = self.succeeds(run("plan", "--model", EXPERTS / name, "--tokens",
                                         self.all_tokens(), "--group-size", 32, "--json"))
                model = json.loads(plan.out)["model"]
                self.assertEqual(model["parameters"], everything)
                self.assertEqual(model["active_parameters"], everything - idle)

    def test_plan_says_how_many_tokens_an_expert_will_have(self):
        # one sequence of 96, three experts of eight for each token, 64 channels
        few = ("plan", "--model", EXPERTS / "qwen3_moe", "--tokens", self.all_tokens(),
               "--group-size", 32, "--sequences", 1)
        self.assertRegex(self.succeeds(run(*few)).out, "(?m)^experts    36 tokens each in the mean,"
                         " for 64 channels; --sequences 2 would give as many$")
        self.assertEqual(json.loads(self.succeeds(run(*few, "--json")).out)["experts"],
                         {"mean_tokens": 36, "channels": 64, "sequences_for_as_many": 2})

    def test_the_report_has_a_line_for_each_linear(self):
        made, _ = self.make("qwen2_moe")
        lines = self.succeeds(run("report", made, "--csv")).out.splitlines()
        rows = [line.split(",")[:3] for line in lines[1:]]
        self.assertEqual(len(rows), 3 * 7 + 4 + 3 * 7 + 2)
        self.assertIn(["1", "experts.5.down_proj", "experts.5.down"], rows)
        self.assertIn(["1", "shared_expert.up_proj", "gate_up"], rows)
        self.assertIn(["3", "down_proj", "down"], rows)


class Refusals(Experts):
    def configured(self, name, **changes):
        model = self.folder / f"{name}-{'-'.join(changes)}"
        shutil.copytree(EXPERTS / name, model)
        config = {**read_json(model / "config.json"), **changes}
        write_json(model / "config.json", {k: v for k, v in config.items() if v is not None})
        return model

    def is_refused(self, model, *patterns, options=()):
        self.refuses(*patterns, model=model, options=("--group-size", 32, *options),
                     tokens=self.all_tokens(2), out=self.folder / f"out-of-{model.name}")

    def test_a_configuration_that_is_not_understood_is_refused_by_name(self):
        for name, changes, pattern in (
                ("qwen3_moe", {"num_experts_per_tok": 9}, "num_experts_per_tok 9 is above num_exp"),
                ("mixtral", {"num_experts_per_tok": 5},
                 "num_experts_per_tok 5 is above num_local_experts 4"),
                ("qwen3_moe", {"num_experts_per_tok": 0}, "'num_experts_per_tok' is 0"),
                ("qwen3_moe", {"num_experts": None}, "key 'num_experts' is missing"),
                ("qwen3_moe", {"num_experts": 5000}, "'num_experts' is 5000, expected 1 to 1024"),
                ("mixtral", {"num_local_experts": None}, "key 'num_local_experts' is missing"),
                ("qwen2_moe", {"moe_intermediate_size": None}, "'moe_intermediate_size' is missi"),
                ("qwen2_moe", {"shared_expert_intermediate_size": None},
                 "'shared_expert_intermediate_size' is missing"),
                ("qwen2_moe", {"mlp_only_layers": [4]}, "mlp_only_layers holds what is not"),
                ("qwen2_moe", {"mlp_only_layers": 3}, "'mlp_only_layers' is not an array"),
                ("qwen2_moe", {"decoder_sparse_step": 0}, "'decoder_sparse_step' is 0"),
                ("qwen3_moe", {"norm_topk_prob": "yes"}, "'norm_topk_prob'"),
                ("qwen3_moe", {"n_group": 2},
                 "key 'n_group' is not supported for model_type 'qwen3_moe'")):
            with self.subTest(model=name, changes=changes):
                self.is_refused(self.configured(name, **changes), pattern)
                shutil.rmtree(self.folder, ignore_errors=True)
                self.folder.mkdir()

    def test_another_choice_of_sparse_layers_lacks_its_tensors(self):
        model = self.configured("qwen2_moe", mlp_only_layers=[])
        self.is_refused(model, "lacks tensors .*layers.3.mlp.experts.0.gate_proj",
                        "does not call for: .*layers.3.mlp.down_proj")

    def with_tensors(self, name, change):
        model = self.copy(name)
        tensors = safetensors.read_raw(model / "model.safetensors")
        change(tensors)
        safetensors.write_raw(model / "model.safetensors", tensors)
        return model

    def test_a_missing_expert_is_named(self):
        name = "model.layers.1.block_sparse_moe.experts.2.w3.weight"
        self.is_refused(self.with_tensors("mixtral", lambda tensors: tensors.pop(name)),
                        f"lacks tensors that its config.json calls for: '{re.escape(name)}'")

    def test_a_router_of_another_shape_is_named(self):
        def cut(tensors):
            dtype, (rows, columns), data = tensors["model.layers.0.mlp.gate.weight"]
            tensors["model.layers.0.mlp.gate.weight"] = (
                dtype, (rows - 1, columns), data[:-len(data) // rows])
        self.is_refused(self.with_tensors("qwen3_moe", cut),
                        r"'model.layers.0.mlp.gate.weight' .*\[7, 64\].*\[8, 64\]")

    def test_a_router_that_is_not_finite_is_named(self):
        def spoil(tensors):
            dtype, shape, data = tensors["model.layers.0.mlp.gate.weight"]
            array = np.frombuffer(data, np.float16).copy()
            array[3 * 64 + 5] = np.nan
            tensors["model.layers.0.mlp.gate.weight"] = (dtype, shape, array.tobytes())
        self.is_refused(self.with_tensors("qwen3_moe", spoil),
                        "layer 0: 'model.layers.0.mlp.gate.weight' holds nan at row 3, column 5")

    def test_the_module_objective_is_refused(self):
        self.is_refused(self.copy("mixtral"), "--objective module .*mixture of experts",
                        options=("--objective", "module"))

    def test_a_group_size_that_does_not_divide_an_expert_names_it(self):
        model = self.copy("qwen3_moe")
        self.refuses(r"--group-size 64 does not divide the 32 inputs of "
                     r"mlp.experts.0.down_proj", model=model, options=("--group-size", 64),
                     tokens=self.all_tokens(2))


if __name__ == "__main__":
    unittest.main()
