#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads awqrun's output with other tools: load.py ORIGINAL OUT [--sequences N] [--awqrun PROGRAM]

A compressed-tensors checkpoint is loaded by transformers itself. One of AutoAWQ's is unpacked by
AutoAWQ's own packing utilities into the original's architecture, since its linears have no forward
pass for the CPU. Both then run in float32 under torch on ORIGINAL/eval.h5, and perplexity and KL
divergence to the original must be what `awqrun eval` says, to 1e-3 of the perplexity and 2 % of the
KL."""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import h5py
import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from support.program import ENVIRONMENT


def tensors_of(folder):
    found = {}
    for shard in sorted(folder.glob("*.safetensors")):
        with safe_open(shard, "pt") as file:
            found.update({name: file.get_tensor(name) for name in file.keys()})
    return found


def unpacked_awq(tensors, quantization):
    """The state of a model in full precision, by AutoAWQ's dequantize_gemm."""
    from awq.utils.packing_utils import dequantize_gemm
    state = {}
    for name, tensor in tensors.items():
        linear, _, kind = name.rpartition(".")
        if kind == "qweight":
            weight = dequantize_gemm(tensor, tensors[linear + ".qzeros"],
                                     tensors[linear + ".scales"], quantization["bits"],
                                     quantization["group_size"])
            state[linear + ".weight"] = weight.T.contiguous().float()
        elif kind not in ("qzeros", "scales"):
            state[name] = tensor.float()
    return state


def load_quantized(folder):
    config = json.loads((folder / "config.json").read_text())
    quantization = config["quantization_config"]
    if quantization["quant_method"] != "awq":
        return AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32)
    settings = AutoConfig.from_pretrained(folder)
    del settings.quantization_config
    model = AutoModelForCausalLM.from_config(settings, torch_dtype=torch.float32)
    missing, unexpected = model.load_state_dict(unpacked_awq(tensors_of(folder), quantization),
                                                strict=False)
    if unexpected or [name for name in missing if name != "lm_head.weight"]:
        sys.exit(f"load: {folder} lacks {missing} and has {unexpected}")
    if settings.tie_word_embeddings:
        model.tie_weights()
    return model


@torch.no_grad()
def scores(original, quantized, rows):
    """(perplexity of quantized, mean KL(original || quantized))"""
    nll, divergence, predicted, positions = 0.0, 0.0, 0, 0
    for row in rows.split(4):
        p = original(row).logits.double().log_softmax(-1)
        q = quantized(row).logits.double().log_softmax(-1)
        nll -= q[:, :-1].gather(-1, row[:, 1:, None]).sum().item()
        divergence += (p.exp() * (p - q)).sum().item()
        predicted += row[:, 1:].numel()
        positions += row.numel()
    return torch.tensor(nll / predicted).exp().item(), divergence / positions


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("original", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--awqrun", default=str(ROOT / "build" / "release" / "bin" / "awqrun"))
    options = parser.parse_args()
    tokens = options.original / "eval.h5"
    with h5py.File(tokens) as file:
        rows = torch.tensor(file["input_ids"][:options.sequences]).long()
    original = AutoModelForCausalLM.from_pretrained(options.original, torch_dtype=torch.float32)
    perplexity, kl = scores(original.eval(), load_quantized(options.out).eval(), rows)
    run = subprocess.run([options.awqrun, "eval", "--model", options.out, "--against",
                          options.original, "--tokens", tokens, "--sequences",
                          str(options.sequences), "--json", "--quiet"], check=True, text=True,
                         stdout=subprocess.PIPE, env={**os.environ, **ENVIRONMENT})
    ours = json.loads(run.stdout)
    print(f"torch   perplexity {perplexity:.6f}, KL {kl:.8f}")
    print(f"awqrun  perplexity {ours['perplexity']:.6f}, KL {ours['kl']:.8f}")
    if abs(perplexity / ours["perplexity"] - 1) > 1e-3 or abs(kl / ours["kl"] - 1) > 0.02:
        sys.exit("load: they differ")


if __name__ == "__main__":
    main()
