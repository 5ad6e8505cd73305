#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes this folder's JSON files: for each small model its configuration, its tensors' names and
shapes, and what it scores, by transformers 5.23.0 and torch 2.6.0. The weights are not stored: they
follow from the names (tests/support/random_model.py).

    make.py [NAME...]        all, or those

What is made of which class is in dense.py and mixtures.py. A model's config.json and tensors are
what save_pretrained writes; where transformers lacks the class, hub.py makes them and says which
model of transformers computes the same."""

import json
import pathlib
import re
import sys
import tempfile

import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import hub  # noqa: E402
from delta_nets import DELTA_NETS  # noqa: E402
from dense import DENSE  # noqa: E402
from described import SIZES  # noqa: E402
from gemma4 import GEMMA4  # noqa: E402
from latents import LATENTS  # noqa: E402
from mixtures import MIXTURES  # noqa: E402
from support import random_model, safetensors  # noqa: E402

MODELS = DENSE | MIXTURES | DELTA_NETS | LATENTS | GEMMA4 | hub.MODELS

SHOWS = 2e-5  # relative, of what tests hold 1e-6: a change that is not seen proves nothing
ROUNDING = 3e-7  # relative, of float32: more is a token whose choice of experts hangs on a bit
SAME = "same"  # a change's label begins with it: another spelling


def tokens():
    return torch.tensor(json.loads((HERE.parent / "families/expected.json").read_text())["tokens"])


def as_the_hub_calls(name, entry):
    for pattern, hub_name in entry.names.items():
        name = re.sub(pattern, hub_name, name)
    return name


def described(entry):
    """What save_pretrained writes: the configuration, {name: shape}, {name: unusual dtype}."""
    config_class = getattr(transformers, entry.config_class)
    sizes = {} if "text_config" in entry.options else SIZES
    config = config_class(**{**sizes, **entry.options}, dtype=entry.dtype)
    model = getattr(transformers, entry.model_class)(config).to(getattr(torch, entry.dtype))
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, save_original_format=not entry.fused)
        config = json.loads((pathlib.Path(folder) / "config.json").read_text())
        header, _ = safetensors.read_header(pathlib.Path(folder) / "model.safetensors")
    for key in ("_name_or_path", "transformers_version"):
        config.pop(key, None)
    config.update(entry.keys)
    shapes = {as_the_hub_calls(name, entry): header[name]["shape"] for name in sorted(header)}
    shapes |= entry.copied | entry.dropped
    if entry.transposed:
        shapes = {name: [shape[0], shape[2], shape[1]] if "experts" in name else shape
                  for name, shape in shapes.items()}
    dtypes = {name: "F32" for name in shapes if re.search(entry.single, name)}
    return {"model_type": config["model_type"], "config": config, "tensors": shapes,
            "dtypes": dtypes, "norms": entry.norms, "scales": entry.scales,
            "copied": sorted(entry.copied), "dropped": sorted(entry.dropped)}


def losses(entry, description, changes, dtype=torch.float64):
    """Of each position but the first; every stored tensor is read, but for what is copied, and
    none is missing."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if entry.stand_in:
            config = random_model.changed(description["config"], changes)
            entry.stand_in(folder, config, random_model.tensors(description))
        else:
            random_model.write(folder, description, changes)
        model, info = getattr(transformers, entry.model_class).from_pretrained(
            folder, dtype=dtype, attn_implementation="eager", experts_implementation="eager",
            output_loading_info=True)
    info["unexpected_keys"] = set(info["unexpected_keys"]) - set(entry.copied | entry.dropped)
    wrong = {key: value for key, value in info.items() if value}
    assert not wrong, wrong
    if entry.corrected:
        entry.corrected(model)
    ids = tokens()
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits
    return logits, torch.nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")


def respelled(config):
    """config.json as transformers 4 writes it, where it is the base's in other words."""
    changes = {"dtype": random_model.ABSENT, "torch_dtype": config["dtype"]}
    rope = config.get("rope_parameters")
    if not rope:
        return changes
    changes["rope_parameters"] = random_model.ABSENT
    if "full_attention" in rope:
        full, sliding = (dict(rope[kind]) for kind in ("full_attention", "sliding_attention"))
        changes["rope_theta"] = full.pop("rope_theta")
        if sliding["rope_theta"] != changes["rope_theta"]:
            changes["rope_local_base_freq"] = sliding["rope_theta"]
        rope = full
    else:
        rope = dict(rope)
        changes["rope_theta"] = rope.pop("rope_theta")
    if "partial_rotary_factor" in rope:
        changes["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    changes["rope_scaling"] = rope if rope["rope_type"] != "default" else None
    return changes


def all_changes(entry, config):
    old = {f"{SAME}: as transformers 4 writes it": respelled(config)} if entry.respell else {}
    return {**old, **entry.changes}


def scored(entry, description, changes):
    """(logits, losses, their mean), which float32 computes too"""
    logits, each = losses(entry, description, changes)
    mean = each.mean().item()
    single = losses(entry, description, changes, torch.float32)[1].mean().item()
    assert abs(single / mean - 1) < ROUNDING, (changes, single / mean - 1)
    return logits, each, mean


def measured(name, entry):
    description = entry.describe() if entry.describe else described(entry)
    logits, base, mean = scored(entry, description, {})
    print(f"{name:22} {mean:.6f} logits {logits.std().item():.2f}")
    found = {}
    for label, changes in all_changes(entry, description["config"]).items():
        other = scored(entry, description, changes)[2]
        found[label] = {"config": changes, "mean_nll": other}
        difference = abs(other / mean - 1)
        print(f"    {label:34} {other:.6f} {difference:.1e}")
        assert difference < 1e-9 if label.startswith(SAME) else difference > SHOWS, (name, label)
    return description | {
        "mean_nll": mean, "nll_per_sequence": base.mean(1).tolist()[:4], "changed": found,
        "versions": {"transformers": transformers.__version__,
                     "torch": torch.__version__.split("+")[0]}}


def write(name, description):
    """A key a line, and a tensor a line."""
    def lines(value, indent):
        if indent and isinstance(value, dict) and value:
            inner = ",\n".join(f"{indent}{json.dumps(key)}: {json.dumps(item)}"
                               for key, item in value.items())
            return "{\n" + inner + "\n" + indent[1:] + "}"
        return json.dumps(value)
    text = ",\n".join(f" {json.dumps(key)}: "
                      + lines(value, "  " if key in ("tensors", "changed") else "")
                      for key, value in description.items() if value not in ({}, [], None))
    (HERE / f"{name}.json").write_text("{\n" + text + "\n}\n")


def main():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    names = sys.argv[1:] or list(MODELS)
    failed = []
    for name in names:
        try:
            write(name, measured(name, MODELS[name]))
        except Exception as error:  # pylint: disable=broad-except
            failed.append(name)
            print(f"{name}: {type(error).__name__}: {str(error)[:600]}")
    sys.exit(f"failed: {' '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
