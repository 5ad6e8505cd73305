#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How much of all tokens' Gram matrix an expert's own should get: expert_share.py MODEL [BITS]

Error feedback (docs/awq.md 2.9) of each expert's gate in numpy, by G_e + p c (G / T): an expert's
own t tokens and p c of all tokens' kind, c channels. Prints the relative output error on tokens of
the expert that were not seen, the geometric mean over experts; a row is t / c, a column p. MODEL is
one of make_models.py's mixtures. The table is in docs/quality.md."""

import argparse
import pathlib

import h5py
import numpy as np
import torch
from transformers import AutoModelForCausalLM

COMMON = 8  # tokens a channel behind G
SHARES = (0, 0.03, 0.1, 0.3, 1, 3, 10)
FED = (0.06, 0.16, 0.5, 1, 2, 8)
GROUP = 64


def inputs(model, ids):
    """What each layer's router and experts read, [tokens, channels]."""
    kept = [[] for _ in model.model.layers]
    hooks = [layer.post_attention_layernorm.register_forward_hook(
        lambda _, __, output, rows=rows: rows.append(output.flatten(0, -2).numpy()))
             for layer, rows in zip(model.model.layers, kept)]
    with torch.no_grad():
        for part in torch.from_numpy(ids.astype(np.int64)).split(4):
            model(part)
    for hook in hooks:
        hook.remove()
    return [np.concatenate(rows) for rows in kept]


def feedback(weight, gram, most):
    gram = gram + 0.01 * np.diag(gram).mean() * np.eye(len(gram))
    grouped = weight.reshape(len(weight), -1, GROUP)
    low = np.minimum(grouped.min(-1), 0)
    steps = np.maximum(np.maximum(grouped.max(-1), 0) - low, 1e-5) / most
    zeros = np.clip(-np.rint(low / steps), 0, most).repeat(GROUP, 1)
    steps = steps.repeat(GROUP, 1)
    order = np.argsort(-np.diag(gram), kind="stable")
    factor = np.linalg.cholesky(np.linalg.inv(gram[order][:, order])).T
    left, made = weight.copy(), np.empty_like(weight)
    for place, column in enumerate(order):
        codes = np.rint(left[:, column] / steps[:, column]) + zeros[:, column]
        made[:, column] = (np.clip(codes, 0, most) - zeros[:, column]) * steps[:, column]
        error = (left[:, column] - made[:, column]) / factor[place, place]
        left[:, order[place + 1:]] -= np.outer(error, factor[place, place + 1:])
    return made


def measure(weight, own, common, held, most, random):
    """Log errors [FED, SHARES]; own tokens are drawn."""
    channels = weight.shape[1]
    put_out = np.linalg.norm(held @ weight.T)
    table = np.empty((len(FED), len(SHARES)))
    for i, fed in enumerate(FED):
        seen = own[random.choice(len(own), max(1, round(fed * channels)), replace=False)]
        for j, share in enumerate(SHARES):
            made = feedback(weight, seen.T @ seen + share * channels * common, most)
            table[i, j] = np.log(np.linalg.norm(held @ (made - weight).T) / put_out)
    return table


def experts_of(layer):
    """The router's weight; each expert's gate."""
    mlp = layer.block_sparse_moe if hasattr(layer, "block_sparse_moe") else layer.mlp
    gates = [expert.w1 if hasattr(expert, "w1") else expert.gate_proj for expert in mlp.experts]
    return [linear.weight.detach().numpy().astype(np.float64) for linear in (mlp.gate, *gates)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("bits", type=int, nargs="?", default=4)
    options = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(options.model, torch_dtype=torch.float32).eval()
    active, random = model.config.num_experts_per_tok, np.random.default_rng(1)
    sets = []
    for name, sequences in (("calib", 64), ("eval", 24)):
        with h5py.File(options.model / f"{name}.h5") as file:
            sets.append(inputs(model, file["input_ids"][:sequences]))
    tables = []
    for layer, seen, unseen in zip(model.model.layers, *sets):
        router, *gates = experts_of(layer)
        went = [np.argsort(-(rows @ router.T), -1)[:, :active] for rows in (seen, unseen)]
        channels = router.shape[1]
        scales = np.sqrt(np.abs(seen).mean(0))  # plain, alpha 1/2
        drawn = seen[random.choice(len(seen), COMMON * channels, replace=False)] / scales
        common = drawn.T @ drawn / len(drawn)
        for expert, weight in enumerate(gates):
            own, held = (rows[(to == expert).any(-1)] / scales
                         for rows, to in zip((seen, unseen), went))
            if len(own) >= max(FED) * channels and len(held) >= 64:
                tables.append(measure(weight * scales, own, common, held, 2**options.bits - 1,
                                      random))
    print(f"{len(tables)} experts\n| t / c |" + "".join(f" {share} |" for share in SHARES))
    for fed, row in zip(FED, np.exp(np.mean(tables, 0))):
        print(f"| {fed} |" + "".join(f" {100 * error:.2f} |" for error in row))


main()
