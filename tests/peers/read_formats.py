#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads awqrun's output of each format back with the tool that the format is for, and compares with
`awqrun eval`. Not part of the tests: needs torch, transformers, h5py, and autoawq (0.2.9) or
compressed-tensors (0.20; with `load` any that transformers takes).

    python tests/peers/read_formats.py awq GEMM_DIR GEMV_DIR GEMV_FAST_DIR
        AutoAWQ's own dequantizer on every linear of the first, put into transformers' model: its
        perplexity. AutoAWQ's own packers on these weights: the tensors of the others, compared to
        the byte; and its modules take the tensors under their names.
    python tests/peers/read_formats.py decompress DIR...
        compressed-tensors' own decompressor on every linear, put into transformers' model.
    python tests/peers/read_formats.py load DIR...
        transformers loads the directory by itself.

Each line ends with perplexity, and KL divergence from the original model's logits, of transformers
and of `awqrun eval` on the first 16 sequences of tests/data/demo-llama-outliers/eval.h5, in
float32. AWQRUN names the program.
"""

import json
import os
import pathlib
import subprocess
import sys

import h5py
import torch
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).parents[2]
DEMO = ROOT / "tests/data/demo-llama-outliers"
SEQUENCES = 16


def tensors_of(directory):
    tensors = {}
    for shard in sorted(directory.glob("*.safetensors")):
        tensors.update(load_file(shard))
    return tensors


def quantization_of(directory):
    return json.loads((directory / "config.json").read_text())["quantization_config"]


# ---- scores: (perplexity, KL divergence from the original) ----


def scores_of_awqrun(directory):
    program = os.environ.get("AWQRUN", ROOT / "build/dev/bin/awqrun")
    result = subprocess.run([program, "eval", "--model", directory, "--against", DEMO, "--tokens",
                             DEMO / "eval.h5", "--sequences", str(SEQUENCES), "--json", "--quiet"],
                            check=True, capture_output=True, text=True)
    found = json.loads(result.stdout)
    return found["perplexity"], found["kl"]


@torch.no_grad()
def scores(model):
    from transformers import AutoModelForCausalLM
    original = AutoModelForCausalLM.from_pretrained(DEMO, torch_dtype=torch.float32).eval()
    with h5py.File(DEMO / "eval.h5") as file:
        ids = torch.tensor(file["input_ids"][:SEQUENCES]).long()
    nll, kl = 0.0, 0.0
    for row in ids.split(4):
        p, q = (m(row).logits.double().log_softmax(-1) for m in (original, model))
        nll -= q[:, :-1].gather(-1, row[:, 1:, None]).sum().item()
        kl += (p.exp() * (p - q)).sum().item()
    return torch.tensor(nll / ids[:, 1:].numel()).exp().item(), kl / ids.numel()


def model_of(directory, weights):
    """transformers' model of a directory, in float32, with plain weights."""
    from transformers import AutoConfig, AutoModelForCausalLM
    config = AutoConfig.from_pretrained(directory)
    del config.quantization_config
    config.torch_dtype = None
    model = AutoModelForCausalLM.from_config(config).float().eval()
    missing, unexpected = model.load_state_dict({name: value.float()
                                                 for name, value in weights.items()}, strict=False)
    if set(missing) - {"lm_head.weight"} or unexpected:
        sys.exit(f"{directory}: missing {missing}, unexpected {unexpected}")
    return model


def report(directory, how, model):
    theirs, ours = scores(model), scores_of_awqrun(directory)
    print(f"{directory.name:24} {how:50} perplexity {theirs[0]:.6f} KL {theirs[1]:.8f}  "
          f"awqrun eval {ours[0]:.6f} {ours[1]:.8f}")


# ---- AutoAWQ ----


def linears_of(tensors):
    return sorted(name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight"))


def served_by_autoawq(directory):
    """{name: weight} of an AWQ GEMM directory, by AutoAWQ's dequantizer."""
    from awq.utils.packing_utils import dequantize_gemm
    tensors, config = tensors_of(directory), quantization_of(directory)
    for name in linears_of(tensors):
        qweight, qzeros, scales = (tensors.pop(f"{name}.{part}")
                                   for part in ("qweight", "qzeros", "scales"))
        size = config["group_size"] if config["group_size"] > 0 else qweight.shape[0]
        tensors[f"{name}.weight"] = dequantize_gemm(qweight, qzeros, scales.float(),
                                                    config["bits"], size).t().contiguous()
    return tensors


def plain_zeros(gemm, name, bits=4):
    """Scales and zero points [out, groups] of a linear, by AutoAWQ's unpacker."""
    from awq.utils.packing_utils import reverse_awq_order, unpack_awq
    codes, zeros = unpack_awq(gemm[f"{name}.qweight"], gemm[f"{name}.qzeros"], bits)
    codes, zeros = reverse_awq_order(codes, zeros, bits)
    return gemm[f"{name}.scales"].t().contiguous(), (zeros.int() & 15).t().contiguous()


def packed_by_autoawq(module, gemm, weights, name, size):
    scales, zeros = plain_zeros(gemm, name)
    weight = weights[f"{name}.weight"]
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight.data = weight.double()
    return module.from_linear(linear, 4, size, scales=scales, zeros=zeros)


def check_bytes(directory, module, gemm, weights):
    """How many linears of a directory are what AutoAWQ's packer makes, and load into its module."""
    tensors, size = tensors_of(directory), quantization_of(directory)["group_size"]
    equal, names = 0, linears_of(tensors)
    for name in names:
        packed = packed_by_autoawq(module, gemm, weights, name, size)
        parts = {part: tensors[f"{name}.{part}"] for part in ("qweight", "qzeros", "scales")}
        packed.load_state_dict(parts)  # strict: names and shapes
        expected = packed_by_autoawq(module, gemm, weights, name, size).state_dict()
        equal += all(torch.equal(parts[part], expected[part]) and
                     parts[part].dtype == expected[part].dtype for part in parts)
    print(f"{directory.name:24} {module.__name__}: {equal} of {len(names)} linears equal to the "
          f"bytes of AutoAWQ's packer")


def awq(gemm, gemv, gemv_fast):
    from awq.modules.linear.gemv import WQLinear_GEMV
    from awq.modules.linear.gemv_fast import WQLinear_GEMVFast
    weights = served_by_autoawq(gemm)
    report(gemm, "AutoAWQ's dequantizer, transformers' model", model_of(gemm, weights))
    check_bytes(gemv, WQLinear_GEMV, tensors_of(gemm), weights)
    check_bytes(gemv_fast, WQLinear_GEMVFast, tensors_of(gemm), weights)


# ---- compressed-tensors ----


def decompress(*directories):
    from compressed_tensors.compressors import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationConfig
    for directory in directories:
        tensors = tensors_of(directory)
        config = QuantizationConfig.model_validate(quantization_of(directory))
        (scheme,) = config.config_groups.values()
        for name in sorted(n.removesuffix(".weight_packed") for n in tensors if "_packed" in n):
            parts = {part: tensors.pop(f"{name}.{part}")
                     for part in PackedQuantizationCompressor.compression_param_names(scheme)}
            parts["weight_scale"] = parts["weight_scale"].float()
            tensors[f"{name}.weight"] = PackedQuantizationCompressor.decompress(parts,
                                                                                scheme)["weight"]
        report(directory, "compressed-tensors' decompressor, transformers' model",
               model_of(directory, tensors))


def load(*directories):
    import transformers
    for directory in directories:
        model = transformers.AutoModelForCausalLM.from_pretrained(directory,
                                                                  torch_dtype=torch.float32)
        report(directory, f"transformers {transformers.__version__} loads it", model.eval())


if __name__ == "__main__":
    {"awq": awq, "decompress": decompress, "load": load}[sys.argv[1]](
        *(pathlib.Path(path) for path in sys.argv[2:]))
