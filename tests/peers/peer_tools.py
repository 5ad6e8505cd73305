#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Quantizes one checkpoint by another tool, on the CPU: peer_tools.py TOOL MODEL OUT SEQUENCES

TOOL is autoawq, llmcompressor-awq or llmcompressor-gptq; 4 bits, groups of 128, zero points where
the tool has them. Calibrated on the first SEQUENCES rows of MODEL/calib.h5, each as it is. Run by
compare.py, in a process of its own so that time and memory are its own."""

import inspect
import pathlib
import sys
import textwrap

import h5py
import torch


def token_rows(model, sequences):
    with h5py.File(model / "calib.h5") as file:
        return file["input_ids"][:sequences].tolist()


def mend(module, owner, name):
    """Both AWQ searches keep the weights by `v.cpu()` and put them back after each candidate. From
    a GPU that is a copy; on the CPU it is the weights themselves, which candidates write over, so
    that what is chosen is as bad as no scales or worse. They get the copy they count on."""
    source = textwrap.dedent(inspect.getsource(getattr(owner, name)))
    mended = source.replace("v.cpu() for k, v in", "v.cpu().clone() for k, v in")
    if mended == source:
        sys.exit(f"peer_tools: {owner.__name__}.{name} has no v.cpu(); is it mended?")
    exec(mended, vars(module))
    setattr(owner, name, vars(module).pop(name))


def autoawq(model, out, rows):
    from awq import AutoAWQForCausalLM
    from awq.quantize import quantizer
    from transformers import AutoTokenizer
    mend(quantizer, quantizer.AwqQuantizer, "_compute_best_scale")
    quantized = AutoAWQForCausalLM.from_pretrained(str(model), device_map="cpu",
                                                   torch_dtype=torch.float32, safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(str(model))
    quantized.quantize(tokenizer, calib_data=rows, max_calib_samples=len(rows),
                       max_calib_seq_len=len(rows[0]),
                       quant_config={"zero_point": True, "q_group_size": 128, "w_bit": 4,
                                     "version": "GEMM"})
    quantized.save_quantized(str(out))


def compress(model, out, rows, modifier):
    from datasets import Dataset
    from llmcompressor import oneshot
    from transformers import AutoModelForCausalLM
    original = AutoModelForCausalLM.from_pretrained(str(model), torch_dtype=torch.float32,
                                                    device_map="cpu")
    data = Dataset.from_dict({"input_ids": rows,
                              "attention_mask": [[1] * len(row) for row in rows]})
    oneshot(model=original, dataset=data, recipe=[modifier], max_seq_length=len(rows[0]),
            num_calibration_samples=len(rows), output_dir=str(out))


def llmcompressor_awq(model, out, rows):
    from llmcompressor.modifiers.awq import AWQModifier, base
    mend(base, AWQModifier, "_compute_best_scale")
    compress(model, out, rows, AWQModifier(ignore=["lm_head"], scheme="W4A16_ASYM",
                                           targets=["Linear"]))


def llmcompressor_gptq(model, out, rows):
    from llmcompressor.modifiers.quantization import GPTQModifier
    compress(model, out, rows, GPTQModifier(ignore=["lm_head"], scheme="W4A16",
                                            targets=["Linear"]))


TOOLS = {"autoawq": autoawq, "llmcompressor-awq": llmcompressor_awq,
         "llmcompressor-gptq": llmcompressor_gptq}


def main():
    tool, model, out, sequences = sys.argv[1:]
    model = pathlib.Path(model)
    TOOLS[tool](model, pathlib.Path(out), token_rows(model, int(sequences)))


if __name__ == "__main__":
    main()
