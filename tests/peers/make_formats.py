#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes tests/data/formats: one small linear a file, as plain codes and as the tool of its
format stores it. Not part of the tests: needs torch and autoawq (0.2.9), or torch and
compressed-tensors (0.20), which may want different versions of transformers.

Each file holds `plain.codes` U8 [out, in], `plain.zeros` U8 [out, groups], `plain.scales` F32
[out, groups], and the tensors that the tool made of them, under its names. The file's name says
how: FORMAT-BITS-GROUP[-symmetric].safetensors, GROUP 0 for a whole row.

    python tests/peers/make_formats.py awq tests/data/formats
    python tests/peers/make_formats.py compressed-tensors tests/data/formats
"""

import pathlib
import sys

import torch
from safetensors.torch import save_file

IN = 256
ROWS = {"awq": 32,  # AutoAWQ packs no fewer
        "compressed-tensors": 20}  # zero points that leave words unfilled


def random_linear(rows, bits, group, symmetric, dtype):
    """codes, zeros, scales [rows first]; scales are exact in dtype."""
    generator = torch.Generator().manual_seed(bits * 1000 + group)
    groups = IN // (group or IN)
    codes = torch.randint(0, 2 ** bits, (rows, IN), generator=generator)
    zeros = torch.randint(0, 2 ** bits, (rows, groups), generator=generator)
    if symmetric:
        zeros.fill_(2 ** (bits - 1))
    scales = (torch.rand((rows, groups), generator=generator) * 0.03 + 0.001).to(dtype)
    return codes, zeros, scales


def linear_of(codes, zeros, scales):
    """The torch linear that the codes stand for, in float32 or more."""
    group = IN // zeros.shape[1]
    repeat = lambda x: x.double().repeat_interleave(group, 1)
    linear = torch.nn.Linear(IN, len(codes), bias=False)
    linear.weight.data = ((codes - repeat(zeros)) * repeat(scales)).double()
    return linear


def awq(module, group):
    codes, zeros, scales = random_linear(ROWS["awq"], 4, group, False, torch.float16)
    turn = (lambda x: x.t().contiguous()) if module.__name__ == "WQLinear_GEMM" else (lambda x: x)
    packed = module.from_linear(linear_of(codes, zeros, scales), 4, group or IN,
                                scales=turn(scales), zeros=turn(zeros))
    return codes, zeros, scales, {name: getattr(packed, name)
                                  for name in ("qweight", "qzeros", "scales")}


def awq_cases():
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.modules.linear.gemv import WQLinear_GEMV
    from awq.modules.linear.gemv_fast import WQLinear_GEMVFast
    return {"gemm-4-64": awq(WQLinear_GEMM, 64), "gemm-4-0": awq(WQLinear_GEMM, 0),
            "gemv-4-32": awq(WQLinear_GEMV, 32), "gemv-4-64": awq(WQLinear_GEMV, 64),
            "gemv-4-128": awq(WQLinear_GEMV, 128), "gemv-fast-4-64": awq(WQLinear_GEMVFast, 64),
            "gemv-fast-4-128": awq(WQLinear_GEMVFast, 128)}


def compressed(bits, group, symmetric, dtype):
    from compressed_tensors.compressors import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    codes, zeros, scales = random_linear(ROWS["compressed-tensors"], bits, group, symmetric, dtype)
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(
        num_bits=bits, symmetric=symmetric, group_size=group or -1,
        strategy="group" if group else "channel"))
    state = {"weight": linear_of(codes, zeros, scales).weight.data, "weight_scale": scales,
             "weight_zero_point": (zeros - 2 ** (bits - 1)).to(torch.int8)}
    return codes, zeros, scales, PackedQuantizationCompressor.compress(state, scheme)


def compressed_cases():
    return {"compressed-tensors-4-32": compressed(4, 32, False, torch.bfloat16),
            "compressed-tensors-3-64": compressed(3, 64, False, torch.float16),
            "compressed-tensors-3-0-symmetric": compressed(3, 0, True, torch.bfloat16),
            "compressed-tensors-8-128": compressed(8, 128, False, torch.float32),
            "compressed-tensors-8-0-symmetric": compressed(8, 0, True, torch.bfloat16)}


def main(tool, folder):
    cases = awq_cases() if tool == "awq" else compressed_cases()
    for name, (codes, zeros, scales, tensors) in cases.items():
        plain = {"plain.codes": codes.to(torch.uint8), "plain.zeros": zeros.to(torch.uint8),
                 "plain.scales": scales.float()}
        tensors = {key: value.clone().contiguous() for key, value in tensors.items()}
        save_file({**plain, **tensors}, folder / f"{name}.safetensors")


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(sys.argv[2]))
