#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes ../published.json: of the largest models of each family config.json as published, as far
as it matters, the number of parameters that their cards say, and the names and shapes of their
tensors, by transformers 5.23.0 on no device. Towers beside the text are left out."""

import itertools
import json
import pathlib
import re
import sys

import torch
import transformers
from transformers.core_model_loading import revert_weight_conversion

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from published import DENSE  # noqa: E402
from published_attentions import ATTENTIONS  # noqa: E402
from published_mixtures import MIXTURES  # noqa: E402

BESIDE = re.compile(r"vision|visual|audio|multi_modal")


def meta_tensors(config, architecture, stacked=False):
    """{name as stored: shape} of transformers' class, without memory for it."""
    known = {key: value for key, value in config.items() if key != "architectures"}
    config = transformers.AutoConfig.for_model(**known)
    with torch.device("meta"):
        model = getattr(transformers, architecture)(config).to(torch.bfloat16)
    tied = getattr(config, "tie_word_embeddings", False)
    state = {name: tensor for name, tensor in model.state_dict().items()
             if not (tied and name == "lm_head.weight")}
    stored = state if stacked else revert_weight_conversion(model, state)
    return {name: list(tensor.shape) for name, tensor in stored.items()
            if not BESIDE.search(name)}


def spans(numbers):
    """[[first, last], ..] of sorted numbers"""
    found = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def folded(tensors):
    """[[name with a * for each number, shape, spans of the first number, ..]]"""
    groups = {}
    for name, shape in tensors.items():
        numbers = tuple(map(int, re.findall(r"(?<=\.)\d+(?=\.)", name)))
        key = re.sub(r"(?<=\.)\d+(?=\.)", "*", name), tuple(shape)
        groups.setdefault(key, []).append(numbers)
    rows = []
    for (pattern, shape), numbers in groups.items():
        axes = [sorted(set(axis)) for axis in zip(*numbers)]
        assert len(numbers) == len(list(itertools.product(*axes))), pattern
        rows.append([pattern, list(shape), *map(spans, axes)])
    return rows


def main():
    transformers.logging.set_verbosity_error()
    found = {}
    for name, (config, parameters, stand_in) in (DENSE | MIXTURES | ATTENTIONS).items():
        tensors = (stand_in(config, meta_tensors) if stand_in
                   else meta_tensors(config, config["architectures"][0]))
        total = sum(torch.Size(shape).numel() for shape in tensors.values())
        print(f"{name:40} {total / 1e9:.2f} {total / parameters - 1:+.2%}")
        assert abs(total / parameters - 1) < 0.01, name
        found[name] = {"parameters": parameters, "config": config, "tensors": folded(tensors)}
    rows = ",\n".join(f" {json.dumps(name)}: {json.dumps(model)}" for name, model in found.items())
    (HERE.parent / "published.json").write_text("{\n" + rows + "\n}\n")


if __name__ == "__main__":
    main()
