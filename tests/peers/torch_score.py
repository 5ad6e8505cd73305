#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Perplexity of a 4-bit output and its KL divergence from the original, by transformers:
torch_score.py MODEL OUT [--sequences N] [--restore REGEX] [--same-experts]

OUT is compressed-tensors (pack-quantized), AWQ GEMM or GPTQ, of whatever tool. Its weights are
unpacked here, by no tool's code, and put in transformers' model of MODEL's config.json in float32;
the first N rows of MODEL/eval.h5 are what `awqrun eval` is given. --restore puts MODEL's own
tensors in for those whose names match: what a reader costs that is not divided with the others.
--same-experts lets the original's routers choose and weigh the experts in both.

Needs torch, transformers 5, h5py."""

import argparse
import json
import pathlib
import re
import shutil
import tempfile

import h5py
import torch
from safetensors.torch import load_file, save_file

NIBBLES = 4 * torch.arange(8)
AWQ_COLUMNS = [0, 4, 1, 5, 2, 6, 3, 7]  # which nibble of a word each of 8 columns is in


def tensors_of(folder):
    tensors = {}
    for shard in sorted(folder.glob("*.safetensors")):
        tensors.update(load_file(shard))
    return tensors


# ---- unpacking: weight [out, in] of one linear ----

def codes_of(words, order=slice(None)):
    """int32 [rows, cols] -> 4-bit codes [rows, 8 cols]"""
    codes = (words.int()[..., None] >> NIBBLES) & 15
    return codes[..., order].flatten(-2)


def grouped(codes, zeros, scales):
    """codes [out, in], zeros and scales [out, groups]"""
    size = codes.shape[1] // scales.shape[1]
    codes = codes.unflatten(1, (-1, size)).float()
    return ((codes - zeros.float()[..., None]) * scales.float()[..., None]).flatten(1)


def compressed(take, _):
    """Codes are signed ones plus 8; so are zero points, which are packed along the rows."""
    if take("weight_g_idx") is not None:
        raise SystemExit("torch_score: weight_g_idx is not read")
    rows, columns = take("weight_shape").tolist()
    scales = take("weight_scale")
    zeros = take("weight_zero_point")
    zeros = torch.full_like(scales, 8) if zeros is None else codes_of(zeros.t()).t()[:rows]
    return grouped(codes_of(take("weight_packed"))[:, :columns], zeros, scales)


def awq(take, _):
    codes, zeros = (codes_of(take(part), AWQ_COLUMNS).t() for part in ("qweight", "qzeros"))
    return grouped(codes, zeros, take("scales").t())


def gptq(take, config):
    """Of "gptq" zero points are one less than meant; of "gptq_v2" they are not."""
    one = 0 if config.get("checkpoint_format", config.get("format")) == "gptq_v2" else 1
    codes = codes_of(take("qweight").t())
    zeros = codes_of(take("qzeros")) + one
    groups, scales = take("g_idx").long(), take("scales").float()
    return (codes - zeros.t()[:, groups]) * scales.t()[:, groups]


def plain_tensors(folder):
    """{name: tensor} of a quantized output, as if it were a plain checkpoint."""
    tensors = tensors_of(folder)
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    unpack = {"compressed-tensors": compressed, "awq": awq, "gptq": gptq}[config["quant_method"]]
    for name in [name for name in tensors if name.endswith((".qweight", ".weight_packed"))]:
        base = name.rpartition(".")[0]
        tensors[f"{base}.weight"] = unpack(lambda part: tensors.pop(f"{base}.{part}", None), config)
    return {name: value.float().contiguous() for name, value in tensors.items()
            if value.is_floating_point()}


# ---- scores ----

def load(model, tensors=None):
    """transformers' model in float32, of these tensors if there are some."""
    from transformers import AutoModelForCausalLM
    with tempfile.TemporaryDirectory() as folder:
        if tensors is not None:
            shutil.copy(model / "config.json", folder)
            save_file(tensors, pathlib.Path(folder) / "model.safetensors", {"format": "pt"})
        loaded, info = AutoModelForCausalLM.from_pretrained(
            folder if tensors is not None else model, dtype=torch.float32, output_loading_info=True)
    wrong = [info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")]
    if any(wrong):
        raise SystemExit(f"torch_score: missing, unexpected, other shapes: {wrong}")
    return loaded.eval()


def rows_of(model, sequences):
    with h5py.File(model / "eval.h5") as file:
        return torch.tensor(file["input_ids"][:sequences]).long()


def follow(original, model):
    """Each router of model answers what the original's did just before."""
    theirs, ours = ([layer.mlp.gate for layer in of.model.layers if hasattr(layer.mlp, "experts")]
                    for of in (original, model))
    for leader, router in zip(theirs, ours):
        answers = {}
        leader.register_forward_hook(lambda _, x, output, to=answers: to.update(it=output))
        router.register_forward_hook(lambda _, x, output, of=answers: of["it"])


@torch.no_grad()
def score(original, model, rows):
    nll, kl = 0.0, 0.0
    for batch in rows.split(4):
        p, q = (m(batch).logits.double().log_softmax(-1) for m in (original, model))
        nll -= q[:, :-1].gather(-1, batch[:, 1:, None]).sum().item()
        kl += (p.exp() * (p - q)).sum().item()
    return {"perplexity": torch.tensor(nll / rows[:, 1:].numel()).exp().item(),
            "kl": kl / rows.numel()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--sequences", type=int, default=64)
    parser.add_argument("--restore", type=re.compile, metavar="REGEX")
    parser.add_argument("--same-experts", action="store_true")
    options = parser.parse_args()
    tensors = plain_tensors(options.out)
    if options.restore:
        own = tensors_of(options.model)
        tensors.update((name, own[name].float()) for name in tensors
                       if options.restore.search(name))
    original, model = load(options.model), load(options.model, tensors)
    if options.same_experts:
        follow(original, model)
    print(json.dumps(score(original, model, rows_of(options.model, options.sequences))))


if __name__ == "__main__":
    main()
