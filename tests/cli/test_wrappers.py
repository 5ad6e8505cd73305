# SPDX-License-Identifier: MIT
"""Wrappers: a text model in text_config with towers beside it, against transformers' own forward
pass (tests/data/wrappers/expected.json, written by make.py beside it); and models with another
head, or none."""

import json
import shutil
import unittest

import numpy as np

from support import safetensors
from support.case import DATA, FAMILIES, INDEX, Case, digest, read_json, write_json
from support.program import run

WRAPPERS = DATA / "wrappers"
EXPECTED = read_json(WRAPPERS / "expected.json")["models"]
# Relative; the program computes in float32, transformers in float64.
LIKELIHOOD_TOLERANCE = 1e-6
# What the names of each model's text begin with, and its head.
ROOTS = {"llava": ("language_model.model.", "language_model.lm_head"),
         "mistral3": ("language_model.model.", "language_model.lm_head"),
         "qwen2_5_vl": ("model.", "lm_head"), "qwen3_vl": ("model.language_model.", "lm_head"),
         "classifier": ("model.", "lm_head"), "embedder": ("", "lm_head")}
# llava, as transformers 4.52 and later call its modules.
RENAMED = (("language_model.model.", "model.language_model."),
           ("language_model.lm_head.", "lm_head."), ("vision_tower.", "model.vision_tower."),
           ("multi_modal_projector.", "model.multi_modal_projector."))
SINGLE = "model.safetensors"
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def renamed(tensors, names):
    """{name: tensor} with the beginnings of names replaced."""
    for old, new in names:
        tensors = {new + name[len(old):] if name.startswith(old) else name: value
                   for name, value in tensors.items()}
    return tensors


def beside(name, tensors):
    """The names that are not the text model's, in their order."""
    root, head = ROOTS[name]
    own = (f"{root}embed_tokens.", f"{root}layers.", f"{root}norm.", f"{head}.")
    return [tensor for tensor in tensors if not tensor.startswith(own)]


def matrices(tensors, names):
    return [name[:-len(".weight")] for name in names
            if name.endswith(".weight") and len(tensors[name][1]) == 2]


class WrapperCase(Case):
    def copy(self, name, source=WRAPPERS):
        model = self.folder / name
        shutil.copytree(source / name, model)
        return model

    def edited(self, name, change, source=WRAPPERS, **keys):
        """A copy after change({name: (dtype, shape, bytes)}), with other keys in config.json."""
        model = self.copy(name, source)
        tensors = safetensors.read_raw(model / SINGLE)
        safetensors.write_raw(model / SINGLE, change(tensors) or tensors)
        write_json(model / "config.json", {**read_json(model / "config.json"), **keys})
        return model

    def make(self, model, *options, out=None, **how):
        out = out or self.out
        self.succeeds(self.quantize("--group-size", "32", *options, model=model, out=out,
                                    tokens=self.family_tokens(), **how))
        return out

    def is_clean(self, out, model):
        self.succeeds(run("verify", "--model", model, out))

    def finds(self, pattern, out, *options):
        result = run("verify", *options, out)
        self.assertEqual(result.code, 1, result)
        self.assertRegex(result.out + result.err, pattern)

    def likelihood_is_expected(self, name, model):
        found = self.evaluate(model, tokens=self.family_tokens())["mean_nll"]
        self.assertLess(abs(found / EXPECTED[name]["mean_nll"] - 1), LIKELIHOOD_TOLERANCE, name)


class Text(WrapperCase):
    def test_the_likelihood_is_that_of_transformers(self):
        for name in EXPECTED:
            with self.subTest(model=name):
                self.likelihood_is_expected(name, WRAPPERS / name)

    def test_the_configuration_of_transformers_5_means_the_same(self):
        for name in EXPECTED:
            with self.subTest(model=name):
                model = self.copy(name)
                shutil.move(model / "config-transformers5.json", model / "config.json")
                self.assertIn("rope_parameters", read_json(model / "config.json")["text_config"])
                self.likelihood_is_expected(name, model)

    def test_both_layouts_of_names_mean_the_same(self):
        self.likelihood_is_expected(
            "llava", self.edited("llava", lambda tensors: renamed(tensors, RENAMED)))

    def test_a_configuration_without_text_config_means_the_same(self):
        """As the first releases of Qwen2.5-VL have it: the text model's keys at top level, three
        positions a token by name."""
        model = self.copy("qwen2_5_vl")
        config = read_json(model / "config.json")
        text = config.pop("text_config")
        text["rope_scaling"] = {"type": "mrope", "mrope_section": [2, 3, 3]}
        write_json(model / "config.json", {**text, **config})
        self.likelihood_is_expected("qwen2_5_vl", model)

    def test_the_layers_are_those_of_the_text_model_alone(self):
        for name, (root, head) in ROOTS.items():
            with self.subTest(model=name):
                source = safetensors.read_raw(WRAPPERS / name / SINGLE)
                names = ((root, "model."), (f"{head}.", "lm_head."))
                alone = self.folder / f"{name}-alone"
                alone.mkdir()
                safetensors.write_raw(alone / SINGLE, renamed(
                    {tensor: value for tensor, value in source.items()
                     if tensor not in beside(name, source)}, names))
                config = read_json(WRAPPERS / name / "config.json")
                write_json(alone / "config.json", {
                    "dtype": config["dtype"], "architectures": config.get("architectures"),
                    **config.get("text_config", config)})
                ours = safetensors.read_raw(
                    self.make(WRAPPERS / name, out=self.folder / f"{name}-out") / SINGLE)
                other = safetensors.read_raw(
                    self.make(alone, out=self.folder / f"{name}-alone-out") / SINGLE)
                self.assertEqual(len(ours), len(other) + len(beside(name, source)))
                self.assertEqual(renamed({tensor: value for tensor, value in ours.items()
                                          if tensor not in beside(name, source)}, names), other)

    def test_problems_of_a_text_config_say_so(self):
        config = read_json(WRAPPERS / "llava" / "config.json")
        for change, pattern in (
                ({"model_type": "mamba", "state_size": 16},
                 "text_config': model_type 'mamba' is not supported"),
                ({"model_type": None}, "text_config': key 'model_type' is missing"),
                ({"hidden_size": "x"}, "text_config': key 'hidden_size' is a string"),
                ({"hidden_act": "gelu"}, "text_config': hidden_act 'gelu' is not supported")):
            with self.subTest(change=change):
                model = self.edited("llava", lambda _: None,
                                    text_config={**config["text_config"], **change})
                self.refuses(pattern, model=model, options=("--group-size", "32"),
                             tokens=self.family_tokens())
                shutil.rmtree(model)
        self.refuses("config.json': key 'text_config' is not an object",
                     model=self.edited("llava", lambda _: None, text_config=[1]),
                     tokens=self.family_tokens())

    def test_keys_that_stand_at_top_level_are_read_there(self):
        """Whether the head is tied: by text_config, and where that is silent by config.json."""
        config = read_json(WRAPPERS / "qwen2_5_vl" / "config.json")
        text = {key: value for key, value in config["text_config"].items()
                if key != "tie_word_embeddings"}
        model = self.edited("qwen2_5_vl", lambda _: None, text_config=text,
                            tie_word_embeddings=True)
        self.likelihood_is_expected("qwen2_5_vl", model)
        write_json(model / "config.json", {**config, "text_config": text})
        self.refuses("lacks tensors .*'lm_head.weight'", model=model, tokens=self.family_tokens(),
                     options=("--group-size", "32"))


class Copied(WrapperCase):
    def is_copied(self, source, out, names):
        """These tensors of `source`, bit for bit, are the last of `out`, in order."""
        shards = sorted(out.glob("model*.safetensors"))
        made = {name: value for shard in shards
                for name, value in safetensors.read_raw(shard).items()}
        self.assertEqual(list(made)[-len(names):], names)
        for name in names:
            self.assertEqual(made[name], source[name], name)
        if len(shards) > 1:
            self.assertEqual(list(read_json(out / INDEX)["weight_map"]), list(made))

    def test_what_stands_beside_the_text_model_is_copied_bit_for_bit(self):
        for name in ROOTS:
            source = safetensors.read_raw(WRAPPERS / name / SINGLE)
            names = beside(name, source)
            self.assertEqual(bool(names), name != "embedder")
            for size in ("1GB", "50kB") if names else ():
                with self.subTest(model=name, shards=size):
                    out = self.make(WRAPPERS / name, "--max-shard-size", size,
                                    out=self.folder / f"{name}-{size}")
                    self.is_copied(source, out, names)
                    self.is_clean(out, WRAPPERS / name)

    def test_layers_that_predict_further_tokens_are_copied(self):
        """mtp.*, and layers behind the last as far as config.json counts them."""
        further = {}

        def change(tensors):
            for name, value in list(tensors.items()):
                if ".layers.1." in name:
                    further[name.replace(".layers.1.", ".layers.2.")] = value
            further["model.layers.2.eh_proj.weight"] = ("BF16", [64, 128], bytes(2 * 64 * 128))
            further["mtp.fc.weight"] = ("BF16", [64, 128], bytes(range(256)) * 64)
            further["mtp.layers.0.mlp.up_proj.weight"] = ("BF16", [4, 64], bytes(512))
            for stack in ("gate_up_proj", "down_proj"):
                further[f"mtp.layers.1.mlp.experts.{stack}"] = ("BF16", [2, 4, 4], bytes(64))
            tensors.update(further)
        model = self.edited("qwen3", change, FAMILIES, num_nextn_predict_layers=1)
        out = self.make(model)
        self.is_copied(further, out, list(further))
        self.is_clean(out, model)
        linears = [f"model.layers.2.{half}.{linear}" for half, names in
                   (("self_attn", LINEARS[:4]), ("mlp", LINEARS[4:])) for linear in names]
        listed = read_json(out / "config.json")["quantization_config"]["modules_to_not_convert"]
        self.assertLessEqual({*linears, "mtp.fc", "mtp.layers.0.mlp.up_proj",
                              "mtp.layers.1.mlp.experts", "model.layers.2.eh_proj"}, set(listed))
        self.assertEqual(len(set(listed)), len(listed))
        plain = self.make(FAMILIES / "qwen3", out=self.folder / "plain")
        ours = safetensors.read_raw(out / SINGLE)
        for name, value in safetensors.read_raw(plain / SINGLE).items():
            self.assertEqual(ours[name], value, name)

    def test_layers_that_no_key_speaks_of_are_refused(self):
        def change(tensors):
            for name, value in list(tensors.items()):
                if ".layers.1." in name:
                    tensors[name.replace(".layers.1.", ".layers.2.")] = value
        self.refuses("holds tensors that its config.json does not call for: 'model.layers.2.",
                     model=self.edited("qwen3", change, FAMILIES), tokens=self.family_tokens(),
                     options=("--group-size", "32"))

    def test_a_stray_tensor_of_the_text_model_is_refused(self):
        for name in ("language_model.model.layers.1.self_attn.q_proj.bias",
                     "language_model.model.layers.0.mlp.extra.weight",
                     "language_model.model.embed_tokens.scales",
                     "language_model.lm_head.bias"):
            with self.subTest(tensor=name):
                model = self.edited("llava", lambda tensors, name=name: tensors.update(
                    {name: ("BF16", [64], bytes(128))}))
                self.refuses(f"does not call for: '{name}'", model=model,
                             tokens=self.family_tokens(), options=("--group-size", "32"))
                shutil.rmtree(model)

    def test_a_missing_tensor_of_the_text_model_is_refused(self):
        for name in ("language_model.model.layers.1.mlp.up_proj.weight",
                     "language_model.model.norm.weight", "language_model.lm_head.weight"):
            with self.subTest(tensor=name):
                model = self.edited("llava", lambda tensors, name=name: tensors.pop(name) and None)
                self.refuses(f"lacks tensors .*'{name}'", model=model,
                             tokens=self.family_tokens(), options=("--group-size", "32"))
                shutil.rmtree(model)

    def test_a_name_that_cannot_be_written_is_refused_at_the_start(self):
        for name in ('vision "tower".weight', "vision\\tower.weight", "visi\u00f3n.weight"):
            with self.subTest(tensor=name):
                model = self.edited("llava", lambda tensors, name=name: tensors.update(
                    {name: ("BF16", [64], bytes(128))}))
                self.refuses("does not call for: 'vis", model=model, tokens=self.family_tokens(),
                             options=("--group-size", "32"))
                shutil.rmtree(model)

    def test_any_dtype_shape_and_value_is_copied(self):
        odd = {"vision_tower.steps": ("I64", [], bytes(8)),
               "vision_tower.table": ("F64", [2, 1, 3], bytes(range(48))),
               "vision_tower.mask": ("BOOL", [5], bytes([1, 0, 1, 1, 0])),
               "vision_tower.none": ("F32", [0, 4], b""),
               "vision_tower." + 300 * "long": ("F32", [1], bytes(4)),
               "vision_tower.small.weight": ("F8_E4M3", [4, 4], bytes(range(16))),
               "vision_tower.nan.weight": ("F32", [2], np.array([np.nan, np.inf], "<f4").tobytes())}
        model = self.edited("llava", lambda tensors: tensors.update(odd))
        out = self.make(model)
        self.is_copied(odd, out, list(odd))
        self.is_clean(out, model)
        result = self.quantize("--group-size", "32", model=model, tokens=self.family_tokens(),
                               out=self.folder / "again")
        self.assertRegex(result.err,
                         r"warning: 1 tensors .* \(F8_E4M3\) .*'vision_tower.small.weight'")

    def test_the_output_is_the_same_on_several_ranks_and_after_kills(self):
        whole = digest(self.make(WRAPPERS / "llava", "--max-shard-size", "50kB"))
        for ranks, point in ((1, "merge-before-config"), (3, "merge-after-shards"),
                             (3, "record-before-statistics"), (3, None)):
            with self.subTest(ranks=ranks, killed=point):
                out = self.folder / f"{ranks}-{point}"
                options = ("--max-shard-size", "50kB", "--stage-layers", "1")
                if point:
                    killed = self.quantize(
                        "--group-size", "32", *options, model=WRAPPERS / "llava", out=out,
                        tokens=self.family_tokens(), ranks=ranks, env={"AWQ_FAULT": f"{point}:1"})
                    self.assertNotEqual(killed.code, 0, killed)
                    self.nothing_looks_finished(out)
                self.make(WRAPPERS / "llava", *options, out=out, ranks=ranks)
                self.assertEqual({**digest(out), "awqrun.h5": ""}, {**whole, "awqrun.h5": ""})

    def test_verify_finds_what_is_not_as_it_was_copied(self):
        made = self.make(WRAPPERS / "qwen3_vl")
        name = "model.visual.merger.norm.bias"

        def damaged(change):
            out = self.folder / "damaged"
            shutil.rmtree(out, ignore_errors=True)
            shutil.copytree(made, out)
            tensors = safetensors.read_raw(out / SINGLE)
            change(tensors)
            safetensors.write_raw(out / SINGLE, tensors)
            return out

        def flip(tensors):
            dtype, shape, data = tensors[name]
            tensors[name] = (dtype, shape, data[:-1] + bytes([data[-1] ^ 1]))
        source = ("--model", WRAPPERS / "qwen3_vl")
        def reshape(tensors):
            dtype, shape, data = tensors[name]
            tensors[name] = (dtype, [1, *shape], data)
        self.finds(f"tensor '{name}' is not the source's, bit for bit", damaged(reshape), *source)
        self.finds(f"tensor '{name}' in .* is not what was written", damaged(flip))
        self.finds(f"tensor '{name}' is not the source's, bit for bit", damaged(flip), *source)
        self.finds(f"lacks tensor '{name}', which was written",
                   damaged(lambda tensors: tensors.pop(name)))
        self.finds("holds tensor 'other.weight', which was not written",
                   damaged(lambda tensors: tensors.update(
                       {"other.weight": ("F32", [1], bytes(4))})))
        out = damaged(lambda tensors: tensors.pop(name))
        (out / "awqrun.h5").unlink()
        self.finds(f"tensor '{name}', which the source has beside the model, is missing", out,
                   *source)

    def test_convert_copies_it_too(self):
        source = safetensors.read_raw(WRAPPERS / "mistral3" / SINGLE)
        made = self.make(WRAPPERS / "mistral3")  # float16, whose scales both formats hold
        back = made
        for format_ in ("compressed-tensors", "gemv", "gemm"):
            out = self.folder / format_
            self.succeeds(run("convert", "--format", format_, "--out", out, back))
            self.is_copied(source, out, beside("mistral3", source))
            self.is_clean(out, WRAPPERS / "mistral3")
            back = out
        self.assertEqual((back / SINGLE).read_bytes(), (made / SINGLE).read_bytes())
        self.assertEqual(read_json(back / "config.json"), read_json(made / "config.json"))

    def test_convert_refuses_a_tower_that_is_quantized(self):
        made = self.make(WRAPPERS / "mistral3")
        tensors = safetensors.read_raw(made / SINGLE)
        tensors["vision_tower.x.qweight"] = ("I32", [8, 1], bytes(32))
        safetensors.write_raw(made / SINGLE, tensors)
        result = run("convert", "--format", "gemv", "--out", self.folder / "to", made)
        self.fails_with(result, "'vision_tower.x.qweight' is quantized")


class Configuration(WrapperCase):
    def listed(self, name, format_):
        out = self.make(WRAPPERS / name, "--format", format_, out=self.folder / f"{name}-{format_}")
        found = read_json(out / "config.json")
        quantization = found.pop("quantization_config")
        self.assertEqual(found, read_json(WRAPPERS / name / "config.json"))
        return quantization

    def test_config_json_stays_the_wrappers_and_names_the_modules_beside_the_text(self):
        for name in ROOTS:
            with self.subTest(model=name):
                source = safetensors.read_raw(WRAPPERS / name / SINGLE)
                modules = matrices(source, beside(name, source))
                head = [] if name in ("classifier", "embedder") else [ROOTS[name][1]]
                self.assertEqual(self.listed(name, "gemm")["modules_to_not_convert"],
                                 modules or None)
                self.assertEqual(self.listed(name, "compressed-tensors")["ignore"], head + modules)

    def test_a_module_whose_name_is_part_of_linears_names_is_not_listed(self):
        """Readers look for the names of modules_to_not_convert inside those of modules."""
        model = self.edited("qwen3", lambda tensors: tensors.update(
            {"proj.weight": ("BF16", [2, 2], bytes(8)),
             "visual.proj.weight": ("BF16", [2, 2], bytes(8))}), FAMILIES)
        out = self.make(model)
        self.assertEqual(read_json(out / "config.json")["quantization_config"]
                         ["modules_to_not_convert"], ["visual.proj"])
        self.is_clean(out, model)

    def test_a_quantization_config_inside_text_config_is_read_and_replaced(self):
        made = self.make(WRAPPERS / "mistral3")
        config = read_json(made / "config.json")
        moved = {**config, "text_config": {
            **config["text_config"], "quantization_config": config["quantization_config"]}}
        del moved["quantization_config"]
        write_json(made / "config.json", moved)
        self.is_clean(made, WRAPPERS / "mistral3")
        out = self.folder / "to"
        self.succeeds(run("convert", "--format", "gemm", "--out", out, made))
        self.assertEqual(read_json(out / "config.json"), config)

    def test_skip_matches_the_name_with_the_wrappers_prefix_and_without(self):
        digests = []
        for i, pattern in enumerate((r"^model\.layers\.1\.mlp\.down_proj$",
                                     r"^language_model\.model\.layers\.1\.mlp\.down_proj$")):
            out = self.make(WRAPPERS / "llava", "--skip", pattern, out=self.folder / f"skip{i}")
            self.assertIn("language_model.model.layers.1.mlp.down_proj",
                          read_json(out / "config.json")["quantization_config"]
                          ["modules_to_not_convert"])
            self.assertIn("language_model.model.layers.1.mlp.down_proj.weight",
                          safetensors.read_header(out / SINGLE)[0])
            digests.append(digest(out)[SINGLE])
        self.assertEqual(*digests)


class Plan(WrapperCase):
    def plan(self, name, *options):
        return self.succeeds(run("plan", "--model", WRAPPERS / name, "--tokens",
                                 self.family_tokens(), "--group-size", "32", *options)).out

    def test_plan_lists_what_would_be_copied(self):
        source = safetensors.read_raw(WRAPPERS / "llava" / SINGLE)
        names = beside("llava", source)
        total = sum(len(source[name][2]) for name in names)
        lines = self.plan("llava", "--copied").splitlines()
        expected = [f"{name}  {source[name][0]} {source[name][1]}  {len(source[name][2])}"
                    for name in names]
        self.assertEqual(lines[:-1], expected)
        self.assertEqual(lines[-1], f"{len(names)} tensors, {total / 1e3:.1f} kB would be copied "
                                    "as they are")
        found = json.loads(self.plan("llava", "--copied", "--json"))
        self.assertEqual([(item["name"], item["dtype"], item["shape"], item["bytes"])
                          for item in found["list"]],
                         [(name, *source[name][:2], len(source[name][2])) for name in names])
        self.assertEqual((found["tensors"], found["bytes"]), (len(names), total))
        self.assertEqual(json.loads(self.plan("llava", "--json"))["copied"],
                         {"tensors": len(names), "bytes": total})

    def test_plan_has_one_line_for_it_and_counts_it(self):
        self.assertRegex(self.plan("llava"), "(?m)^copied     43 tensors, 47.0 kB, as they are: "
                                             "multi_modal_projector, vision_tower$")
        self.assertNotIn("copied", self.plan("embedder"))
        self.assertEqual(self.plan("embedder", "--copied"), "0 tensors, 0 B would be copied as "
                                                            "they are\n")
        for name in ROOTS:
            planned = json.loads(self.plan(name, "--json"))["disk"]["checkpoint_bytes"]
            out = self.make(WRAPPERS / name, out=self.folder / name)
            written = (out / SINGLE).stat().st_size
            self.assertTrue(written <= planned <= written + 200e3, (name, planned, written))


class Heads(WrapperCase):
    def test_a_model_without_a_head_is_quantized_and_has_no_perplexity(self):
        for name in ("classifier", "embedder"):
            with self.subTest(model=name):
                out = self.make(WRAPPERS / name, out=self.folder / name)
                self.is_clean(out, WRAPPERS / name)
                self.assertFalse([tensor for tensor in safetensors.read_header(out / SINGLE)[0]
                                  if "lm_head" in tensor])
                for model in (WRAPPERS / name, out):
                    self.fails_with(run("eval", "--model", model, "--tokens",
                                        self.family_tokens()), "has no head that predicts tokens")

    def test_a_model_that_generates_must_have_its_head(self):
        model = self.copy("classifier")
        write_json(model / "config.json", {**read_json(model / "config.json"),
                                           "architectures": ["Qwen2ForCausalLM"]})
        self.refuses("lacks tensors that its config.json calls for: 'lm_head.weight'", model=model,
                     tokens=self.family_tokens(), options=("--group-size", "32"))

    def test_a_head_of_another_kind_beside_the_usual_one_is_copied(self):
        score = {"score.weight": ("BF16", [1, 64], bytes(range(128))),
                 "score.bias": ("BF16", [1], bytes(2))}
        model = self.edited("qwen3", lambda tensors: tensors.update(score), FAMILIES)
        made = safetensors.read_raw(self.make(model) / SINGLE)
        self.assertEqual({name: made[name] for name in score}, score)


if __name__ == "__main__":
    unittest.main()
