# SPDX-License-Identifier: MIT
"""Every model of tests/data/models from its configuration to a checkpoint that is verified:
transformers' likelihood with each key changed, the same bytes on several ranks, no worse than
rounding, complete, in another format and back. A model's weights follow from its description.
Those of tests/data/families, whose weights are stored, are held to the first half of it."""

import json
import pathlib
import re
import shutil
import tempfile
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np

from support import random_model, safetensors
from support.case import FAMILIES, Case, digest, read_json
from support.program import run


def stored():
    """{name: description} of tests/data/families"""
    return {name: {"config": read_json(FAMILIES / name / "config.json"), "tensors": {
        tensor: entry["shape"] for tensor, entry in
        safetensors.read_header(FAMILIES / name / "model.safetensors")[0].items()}, **expected}
        for name, expected in read_json(FAMILIES / "expected.json")["models"].items()}


STORED, GENERATED = stored(), random_model.described()
DESCRIBED = STORED | GENERATED
# What has most of its own: of each kind of layers and of names.
REPORTED = ("cohere2", "gpt_oss", "qwen3_5_moe", "deepseek_v3", "gemma4_text-shared")

# Relative; the program computes in float32, transformers in float64.
LIKELIHOOD_TOLERANCE = 1e-6
# Relative difference of a layer's output before and after folding, by the type of the norms.
FOLD_TOLERANCE = {"bfloat16": 1e-3, "float16": 1e-3, "float32": 1e-5}
RARE = "rare"  # a change's label begins with it: no published model says so; it may be refused
TOGETHER = 4  # programs at a time: most of a small model's run is MPI's start
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}

BESIDE = re.compile(r"vision|visual|audio|multi_modal|mm_projector")
# The weights that are quantized, in all families' words: one expert's or all experts'.
LINEAR = re.compile(r"\.((q|k|v|o|qkv|gate|up|down|gate_up|q_a|q_b|out)_proj|in_proj_(qkvz?|z)|"
                    r"kv_a_proj_with_mqa|w[123]|wqkv|wo|c_fc|c_proj|input_linear|output_linear)"
                    r"(\.weight)?$")
# What may absorb scales: norms in front of linears, what reads them and is not quantized, biases
# of producers.
ABSORBS = re.compile(r"(input_layernorm|pre_(feedforward|mlp)_layernorm(_2)?|attention_norm|"
                     r"ffn_norm|(q|kv)_a_layernorm|linear_attn\.norm)\.|"
                     r"\.(router|gate|wg|router\.layer|shared_expert_gate|in_proj_(ba?|a)|"
                     r"kv_b_proj|indexer\.(wk|wq_b|weights_proj))\.weight$|"
                     r"(v_proj|up_proj|qkv_proj|gate_up_proj|wqkv|c_fc)\.bias$")
POST_NORM = re.compile(r"post_attention_layernorm\.")  # it absorbs where the MLP has no other
FEEDFORWARD = re.compile(r"(pre|post)_feedforward_layernorm|pre_mlp_layernorm")
STACKED_BIAS = re.compile(r"_proj_bias$")  # of all experts; each has its own in the output
FUSED_NAME = (".mlp.", ".block_sparse_moe.")  # as transformers 5 names them in memory, and the hub
PACKED = (".qweight", ".qzeros", ".scales")
# A kind of attention each, and what travels beside hidden states.
RESUMED = ("llama-yarn", "qwen3_next", "deepseek_v3", "gemma4_text-shared")
NEAREST = ("--rounding", "nearest")
QUANTIZE = ("--group-size", 32, "--tile-tokens", 400, "--sequences", 8)

shared = pathlib.Path(tempfile.mkdtemp(prefix="awqrun-models-"))
unittest.addModuleCleanup(shutil.rmtree, shared, ignore_errors=True)
locks = {name: threading.Lock() for name in DESCRIBED}


def model(name):
    """The checkpoint's folder, made once for all tests of this module."""
    if name in STORED:
        return FAMILIES / name
    folder = shared / name
    with locks[name]:
        if not folder.exists():
            random_model.write(folder, DESCRIBED[name])
    return folder


def text(description):
    """{name: size} of the text model's tensors"""
    unread = description.get("copied", []) + description.get("dropped", [])
    return {name: int(np.prod(shape)) for name, shape in description["tensors"].items()
            if name not in unread and not BESIDE.search(name)}


def quantized(description):
    return {name: size for name, size in text(description).items() if LINEAR.search(name)}


class Models(Case):
    def setUp(self):
        super().setUp()
        self.all_tokens = self.family_tokens()

    def each(self, check, items=tuple(DESCRIBED)):
        """check(item) for all, some at a time; each failure is its own."""
        with ThreadPoolExecutor(TOGETHER) as pool:
            for item, future in [(item, pool.submit(check, item)) for item in items]:
                with self.subTest(item=item):
                    future.result()

    def output(self, *arguments):
        return self.succeeds(run(*arguments, env=ONE_THREAD)).out

    def refusal(self, folder):
        """The error lines of an evaluation that is refused, or nothing."""
        return "\n".join(run("eval", "--model", folder, "--tokens", self.all_tokens,
                             env=ONE_THREAD).errors)

    def likelihood_is(self, expected, folder):
        found = self.evaluate(folder, tokens=self.all_tokens, env=ONE_THREAD)["mean_nll"]
        self.assertLess(abs(found / expected - 1), LIKELIHOOD_TOLERANCE)

    def made(self, name, *options, ranks=1):
        """Quantized once for all tests of this module."""
        out = shared / "-".join(map(str, (name, ranks, *options)))
        source = model(name)
        with locks[name]:
            if not (out / "config.json").exists():
                self.succeeds(self.quantize(*QUANTIZE, *options, model=source, out=out,
                                            tokens=self.all_tokens, ranks=ranks,
                                            env=ONE_THREAD))
        return out

    def divergence(self, name, out):
        return self.evaluate(out, "--against", model(name), tokens=self.all_tokens,
                             env=ONE_THREAD)["kl"]

    # ---- the forward pass ----

    def test_the_likelihood_is_that_of_transformers(self):
        self.each(lambda name: self.likelihood_is(DESCRIBED[name]["mean_nll"], model(name)))

    def test_no_trait_of_a_configuration_is_ignored(self):
        """transformers' numbers for a configuration with a key changed, taken out or respelled."""
        changes = [(name, label) for name, description in DESCRIBED.items()
                   for label in description.get("changed", {})]
        self.assertGreater(len(changes), 350)

        def check(item):
            name, label = item
            change = DESCRIBED[name]["changed"][label]
            folder = self.folder / f"{name}-{changes.index(item)}"
            folder.mkdir()
            random_model.configure(folder, DESCRIBED[name], change["config"])
            (folder / "model.safetensors").symlink_to(model(name) / "model.safetensors")
            if label.startswith(RARE) and (errors := self.refusal(folder)):
                self.assertTrue(all(key in errors for key in change["config"]), errors)
            else:
                self.likelihood_is(change["mean_nll"], folder)
        self.each(check, changes)

    def test_a_llama_by_another_name_that_says_more_is_refused(self):
        for key, value in (("residual_multiplier", 0.5), ("use_qk_norm", True),
                           ("partial_rotary_factor", 0.5), ("num_local_experts", 4)):
            with self.subTest(key=key):
                folder = random_model.write(self.folder / key, DESCRIBED["some_llama"],
                                            {key: value})
                self.fails_with(run("eval", "--model", folder, "--tokens", self.all_tokens,
                                    env=ONE_THREAD), key)

    # ---- what is quantized ----

    def test_the_bytes_are_the_same_on_several_ranks(self):
        names = list(DESCRIBED)

        def check(name):
            several = (3, 2, 5)[names.index(name) % 3]
            files = [digest(self.made(name, ranks=ranks)) for ranks in (1, several)]
            for found in files:
                del found["awqrun.h5"]
            self.assertEqual(*files)
        self.each(check)

    def test_a_killed_run_of_any_kind_of_attention_resumes_to_the_same_bytes(self):
        """Killed on two ranks, in its second layer; resumed on five."""
        def check(name):
            out = self.folder / name
            job = (*QUANTIZE, "--stage-layers", 1)
            killed = self.quantize(*job, model=model(name), out=out, tokens=self.all_tokens,
                                   ranks=2, env={**ONE_THREAD,
                                                 "AWQ_FAULT": "record-before-statistics:2"})
            self.assertNotEqual(killed.code, 0, killed)
            self.succeeds(self.quantize(*job, model=model(name), out=out, tokens=self.all_tokens,
                                        ranks=5, env=ONE_THREAD))
            whole, resumed = digest(self.made(name)), digest(out)
            self.assertEqual({**resumed, "awqrun.h5": ""}, {**whole, "awqrun.h5": ""})
        self.each(check, RESUMED)

    def test_scales_are_no_worse_than_none_and_feedback_no_worse_than_scales(self):
        def check(name):
            feedback, scales, none = (
                self.divergence(name, self.made(name, *options))
                for options in ((), NEAREST, (*NEAREST, "--alpha-steps", 0, "--clip", "off")))
            self.assertLessEqual(scales, 1.05 * none)
            self.assertLessEqual(feedback, 1.05 * scales)
        self.each(check, [name for name in DESCRIBED if name not in random_model.READ_OTHERWISE])

    def test_folding_changes_no_layer(self):
        def check(name):
            chosen, config = [], DESCRIBED[name]["config"]
            with h5py.File(self.made(name) / "awqrun.h5") as file:
                for layer in file["layers"].values():
                    self.assertLess(layer.attrs["fold_error"], FOLD_TOLERANCE[config["dtype"]])
                    chosen += [group.attrs["chosen"] for group in layer["groups"].values()]
            self.assertTrue(any(index > 0 for index in chosen), "nothing was scaled")
        for name in DESCRIBED:  # HDF5 is no library for several threads
            with self.subTest(model=name):
                check(name)

    def test_every_linear_is_quantized_and_all_else_is_there(self):
        for name, description in DESCRIBED.items():
            with self.subTest(model=name):
                self.is_complete(description, safetensors.read(model(name) / "model.safetensors"),
                                 safetensors.read(self.made(name) / "model.safetensors"))

    def is_complete(self, description, source, ours):
        linears, expected = quantized(description), text(description)
        codes = sum(8 * array.size for tensor, array in ours.items()
                    if tensor.endswith(".qweight"))
        self.assertEqual(codes, sum(linears.values()))
        before_mlp = not any(map(FEEDFORWARD.search, source))
        left = {tensor: array for tensor, array in ours.items() if not tensor.endswith(PACKED)}
        source = {tensor: array for tensor, array in source.items()
                  if tensor not in description.get("dropped", ())}
        for tensor, array in source.items():
            absorbs = tensor in expected and (
                ABSORBS.search(tensor) or before_mlp and POST_NORM.search(tensor))
            if tensor in linears:
                self.assertNotIn(tensor, ours)
            elif STACKED_BIAS.search(tensor):
                continue
            elif not absorbs:
                np.testing.assert_array_equal(left[tensor], array, tensor)
            else:
                kept = tensor if tensor in left else tensor.replace(*FUSED_NAME)
                self.assertEqual(left[kept].shape, array.shape, tensor)
        self.assertEqual(sum(array.size for array in left.values()),
                         sum(array.size for array in source.values()) - sum(linears.values()))

    # ---- the other commands ----

    def test_a_checkpoint_is_verified_beside_its_source(self):
        def check(name):
            self.assertIn("nothing is wrong",
                          self.output("verify", self.made(name), "--model", model(name)))
        self.each(check, GENERATED)

    def test_a_vector_that_the_source_calls_otherwise_is_compared_too(self):
        source, out = self.folder / "source", self.folder / "out"
        shutil.copytree(model("minimax_m2"), source)
        ours, theirs = "block_sparse_moe.e_score", "mlp.e_score"
        tensors = safetensors.read_raw(source / "model.safetensors")
        safetensors.write_raw(source / "model.safetensors",
                              {name.replace(ours, theirs): raw for name, raw in tensors.items()})
        self.succeeds(self.quantize(*QUANTIZE, model=source, out=out, tokens=self.all_tokens))
        self.assertIn("nothing is wrong", self.output("verify", out, "--model", source))
        made = safetensors.read_raw(out / "model.safetensors")
        name = f"model.layers.0.{ours}_correction_bias"
        dtype, shape, data = made[name]
        made[name] = (dtype, shape, data[4:] + data[:4])
        safetensors.write_raw(out / "model.safetensors", made)
        self.assertIn(f"tensor '{name}' is not the source's, bit for bit",
                      run("verify", out, "--model", source, env=ONE_THREAD).out)

    def test_another_format_computes_the_same_and_converts_back(self):
        def check(name):
            made = self.made(name)
            there, back = self.folder / f"{name}-gemv", self.folder / f"{name}-back"
            self.output("convert", made, "--format", "gemv", "--out", there)
            self.output("convert", there, "--format", "gemm", "--out", back)
            for file in ("model.safetensors", "config.json"):
                self.assertEqual(digest(made)[file], digest(back)[file])
            if name in REPORTED:
                self.assertEqual(self.divergence(name, there), self.divergence(name, made))
        self.each(check, GENERATED)

    def test_a_report_names_every_layer(self):
        def check(name):
            out = self.output("report", self.made(name), "--html", self.folder / f"{name}.html")
            config = DESCRIBED[name]["config"]
            layers = config.get("text_config", config)["num_hidden_layers"]
            self.assertIn(f"{layers} of {layers} layers", out)
        self.each(check, REPORTED)

    def test_a_plan_counts_the_parameters(self):
        def check(name):
            plan = json.loads(self.output(
                "plan", "--json", "--model", model(name), "--tokens", self.all_tokens,
                "--out", self.folder / "none", "--group-size", 32))
            self.assertEqual(plan["model"]["parameters"], sum(text(DESCRIBED[name]).values()))
        self.each(check, GENERATED)


if __name__ == "__main__":
    unittest.main()
