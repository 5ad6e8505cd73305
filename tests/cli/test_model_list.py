# SPDX-License-Identifier: MIT
"""What is said of the families: `awqrun version --models`, docs/models.md and README.md say the
same; a family's words are true of the tensors that transformers writes; and a model that is llama
under another name is called so."""

import json
import re
import unittest

from support import random_model
from support.case import DATA, FAMILIES, Case, read_json
from support.program import ROOT, run

DESCRIBED = random_model.described()
PUBLISHED = read_json(DATA / "published.json")
PAGE = (ROOT / "docs/models.md").read_text()
README = (ROOT / "README.md").read_text()
UNKNOWN = "some_llama"
# What a family's words say where tensors of such names are in its models, in one of them or each.
SIGNS = {r"\.experts\.|input_linear": "router", r"self_attn\.sinks": "sinks",
         r"self_attn\.(q_norm|q_layernorm|query_layernorm)": "q/k norm",
         r"(qkv_proj|wqkv)\.": "fused q/k/v", r"\.mlp\.gate_up_proj\.weight": "fused gate/up",
         r"shared_(expert|mlp)": "shared expert", r"shared_expert_gate": "gated shared expert",
         r"(correction_bias|expert_bias)$": "correction", r"layernorm\.bias|\.norm\.bias":
         "LayerNorm( of 1 \\+ w)? with bias",
         r"self_attn\.gate_proj|linear_attn": "gated attention",
         r"linear_attn\.": "gated delta nets and full attention",
         r"kv_b_proj": "latent attention( with an indexer)?",
         r"self_attn\.indexer": "latent attention with an indexer",
         r"(q_proj|wqkv|qkv_proj)\.bias": "biases", r"lm_head\.bias": "head with bias"}


def text_config(config):
    return config.get("text_config", config)


def section(text, heading):
    return re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)[1]


def table():
    """{model_type: the other columns} of docs/models.md's table, and other names for it."""
    rows, names = {}, []
    for line in section(PAGE, "Families").splitlines():
        match = re.match(r"\| `(\w+)`(.*?) \| (.*) \|$", line)
        if match and match[1] != "model_type":
            rows[match[1]] = match[3].split(" | ")
            names += [match[1], *re.findall(r"`(\w+)`", match[2])]
    return rows, names


class ModelList(Case):
    def families(self):
        return json.loads(self.succeeds(run("version", "--models", "--json")).out)

    def names(self):
        return [name for family in self.families()
                for name in (family["model_type"], *family["also"])]

    def test_each_family_has_a_line_that_says_what_json_says(self):
        lines = self.succeeds(run("version", "--models")).out.splitlines()
        self.assertGreater(len(lines), 40)
        for line, family in zip(lines, self.families(), strict=True):
            also = "; also " + ", ".join(family["also"]) if family["also"] else ""
            self.assertEqual(line, f"{family['model_type']:18} "
                             f"{'mixture' if family['mixture'] else 'dense':8} {family['traits']}; "
                             f"in full precision: {family['full_precision']}{also}")

    def test_every_family_is_one_whose_model_is_tested(self):
        tested = {text_config(model["config"])["model_type"] for model in DESCRIBED.values()}
        for folder in ("families", "experts", "wrappers"):
            tested |= {text_config(read_json(path))["model_type"]
                       for path in (DATA / folder).glob("*/config.json")}
        self.assertEqual([family["model_type"] for family in self.families()
                          if not tested & {family["model_type"], *family["also"]}], [])

    def test_traits_are_those_that_transformers_tensors_have(self):
        tensors = {}
        for model in DESCRIBED.values():
            tensors.setdefault(text_config(model["config"])["model_type"], []).append(
                [name for name in model["tensors"] if "vision" not in name and
                 "visual" not in name and name not in model.get("copied", ())])
        checked = 0
        for family in self.families():
            traits, models = family["traits"], tensors.get(family["model_type"], [])
            for sign, words in SIGNS.items():
                found = [any(re.search(sign, name) for name in names) for names in models]
                with self.subTest(family=family["model_type"], sign=sign):
                    if any(found):
                        self.assertRegex(traits, words)
                        checked += 1
                    elif found and words not in ("biases", "head with bias"):
                        self.assertNotRegex(traits, rf"(^|, ){words}(,|$)")
            if models:
                experts = any(re.search(r"experts\.|input_linear", name)
                              for names in models for name in names)
                self.assertEqual(family["mixture"], experts, family["model_type"])
        self.assertGreater(checked, 60)

    # ---- pages ----

    def test_the_page_has_a_row_for_each_family_in_the_programs_order_and_words(self):
        rows, names = table()
        self.assertEqual(names, self.names())
        for family in self.families():
            with self.subTest(family=family["model_type"]):
                kind = "mixture: " if family["mixture"] else ""
                self.assertEqual(rows[family["model_type"]][0], kind + family["traits"])

    def test_the_page_names_the_models_that_were_planned_and_no_others(self):
        rows, _ = table()
        row_of = {name: family["model_type"] for family in self.families()
                  for name in (family["model_type"], *family["also"])}
        planned = {}
        for name, model in PUBLISHED.items():
            model_type = text_config(model["config"])["model_type"]
            planned.setdefault(row_of.get(model_type), set()).add(name)
        for model_type, row in rows.items():
            with self.subTest(family=model_type):
                self.assertEqual(set(re.findall(r"[\w.-]+/[\w.-]+", row[-1])),
                                 planned.get(model_type, set()))

    def test_the_readme_lists_the_model_types_in_the_programs_order(self):
        lines = re.findall(r"^ {4}(.*)$", section(README, "Models"), re.MULTILINE)
        self.assertEqual(re.findall(r"\w+", " ".join(lines)), self.names())

    # ---- llama under another name ----

    def test_a_model_that_is_llama_under_another_name_is_called_so(self):
        source = random_model.write(self.folder / "model", DESCRIBED[UNKNOWN])
        warning = (rf"model_type '{UNKNOWN}', which is not known; its config\.json says nothing "
                   r"that llama's does not, so it is taken as llama")
        job = ("--model", source, "--tokens", self.family_tokens(), "--group-size", 32)
        plan = self.succeeds(run("plan", *job))
        self.assertRegex(plan.err, f"warning: .*{warning}")
        self.assertRegex(plan.out, rf"^model .*: {UNKNOWN}, as llama, ")
        model = json.loads(self.succeeds(run("plan", "--json", *job)).out)["model"]
        self.assertEqual((model["family"], model["unknown_model_type"]), ("llama", UNKNOWN))
        done = self.succeeds(run("quantize", *job, "--out", self.out))
        self.assertRegex(done.err, warning)
        self.succeeds(run("report", self.out))
        data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>',
                                    (self.out / "awqrun-report.html").read_text(), re.DOTALL)[1])
        self.assertEqual([file.get("taken_as") for file in data["job"]["model"]
                          if file["file"] == "config.json"], ["llama"])

    def test_of_a_model_that_is_known_nothing_is_said(self):
        done = self.succeeds(run("plan", "--model", FAMILIES / "llama3", "--tokens",
                                 self.family_tokens(), "--group-size", 32))
        self.assertNotIn("not known", done.err)
        self.assertRegex(done.out, "^model .*: llama, ")


if __name__ == "__main__":
    unittest.main()
