#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Quantizes a checkpoint by another tool, on the CPU: peer_tools.py TOOL MODEL OUT SEQUENCES GROUP

TOOL is a name in TOOLS; 4 bits, groups of GROUP, zero points where the tool has them. Calibrated on
the first SEQUENCES rows of MODEL/calib.h5, each as it is. What awqrun leaves in full precision is
left so here. Run by compare.py, in a process of its own so that time and memory are its own."""

import inspect
import os
import pathlib
import sys
import textwrap

import h5py
import torch

# The head, routers, the gates of shared experts and value heads, and the latents' second half.
IGNORED = ["lm_head", "re:.*mlp.gate$", "re:.*shared_expert_gate$", "re:.*in_proj_[ab]$",
           "re:.*kv_b_proj$"]


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


# ---- AutoAWQ ----

def autoawq(model, out, rows, group):
    from awq import AutoAWQForCausalLM
    from awq.quantize import quantizer
    from transformers import AutoTokenizer
    mend(quantizer, quantizer.AwqQuantizer, "_compute_best_scale")
    quantized = AutoAWQForCausalLM.from_pretrained(str(model), device_map="cpu",
                                                   torch_dtype=torch.float32, safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(str(model))
    quantized.quantize(tokenizer, calib_data=rows, max_calib_samples=len(rows),
                       max_calib_seq_len=len(rows[0]),
                       quant_config={"zero_point": True, "q_group_size": group, "w_bit": 4,
                                     "version": "GEMM"})
    quantized.save_quantized(str(out))


# ---- llm-compressor ----

def compress(model, out, rows, recipe):
    from datasets import Dataset
    from llmcompressor import oneshot
    from transformers import AutoModelForCausalLM
    original = AutoModelForCausalLM.from_pretrained(str(model), torch_dtype=torch.float32,
                                                    device_map="cpu")
    data = Dataset.from_dict({"input_ids": rows,
                              "attention_mask": [[1] * len(row) for row in rows]})
    oneshot(model=original, dataset=data, recipe=recipe(original), max_seq_length=len(rows[0]),
            num_calibration_samples=len(rows), output_dir=str(out))


def scheme(group, symmetric):
    """What W4A16 and W4A16_ASYM say, with another group size."""
    weights = {"num_bits": 4, "type": "int", "symmetric": symmetric, "strategy": "group",
               "group_size": group}
    return {"ignore": IGNORED,
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}}}


def llmcompressor_rounding(model, out, rows, group):
    from llmcompressor.modifiers.quantization import QuantizationModifier
    compress(model, out, rows, lambda _: [QuantizationModifier(**scheme(group, False))])


def llmcompressor_awq(model, out, rows, group, mappings_of=lambda original: None):
    """mappings_of: another table of what is smoothed than its own for the family"""
    try:
        from llmcompressor.modifiers.transform.awq import AWQModifier
        from llmcompressor.modifiers.quantization import QuantizationModifier
        from llmcompressor.pipelines.cache import IntermediatesCache
        IntermediatesCache.pin_memory = lambda *_: None  # pins even where no GPU is
    except ImportError:  # before 0.10 the one modifier did both
        from llmcompressor.modifiers.awq import AWQModifier, base
        mend(base, AWQModifier, "_compute_best_scale")
        compress(model, out, rows, lambda _: [AWQModifier(**scheme(group, False))])
        return
    compress(model, out, rows, lambda original: [AWQModifier(mappings=mappings_of(original)),
                                                 QuantizationModifier(**scheme(group, False))])


def llmcompressor_awq_glm(model, out, rows, group):
    """By its table for GLM-5, which is DeepSeek-V3's without the router."""
    from llmcompressor.modifiers.transform.awq import AWQ_MAPPING_REGISTRY
    llmcompressor_awq(model, out, rows, group,
                      lambda _: AWQ_MAPPING_REGISTRY["GlmMoeDsaForCausalLM"])


def llmcompressor_awq_router(model, out, rows, group):
    """By its table for the family, but that routers are divided with the rest, and that layers
    without one have a row of their own."""
    from llmcompressor.modifiers.transform.awq import AWQMapping, get_layer_mappings_from_model

    def row_of(layers, *readers):
        chosen = f"re:.*layers\\.({'|'.join(map(str, layers))})\\."
        return AWQMapping(f"{chosen}post_attention_layernorm$", [chosen + end for end in readers])

    def mappings_of(original):
        layers = list(enumerate(original.model.layers))
        sparse = [i for i, layer in layers if hasattr(layer.mlp, "experts")]
        dense = [i for i, layer in layers if i not in sparse]
        gates = ["mlp.shared_expert_gate$"] if hasattr(layers[-1][1].mlp,
                                                       "shared_expert_gate") else []
        rest = [mapping for mapping in get_layer_mappings_from_model(original)
                if "post_attention_layernorm" not in mapping.smooth_layer]
        return [*rest, row_of(sparse, "mlp.*gate_proj$", "mlp.*up_proj$", "mlp.gate$", *gates),
                *([row_of(dense, "mlp.gate_proj$", "mlp.up_proj$")] if dense else [])]

    llmcompressor_awq(model, out, rows, group, mappings_of)


def llmcompressor_gptq(model, out, rows, group):
    try:
        from llmcompressor.modifiers.gptq import GPTQModifier
    except ImportError:
        from llmcompressor.modifiers.quantization import GPTQModifier
    compress(model, out, rows, lambda _: [GPTQModifier(**scheme(group, True))])


# ---- GPTQModel ----

def gptqmodel(model, out, rows, kind, settings):
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")  # its pool refuses one, of two cores
    from gptqmodel import GPTQModel, quantization
    skipped = {"-:" + name.removeprefix("re:"): {} for name in IGNORED}
    config = getattr(quantization, kind)(bits=4, dynamic=skipped, **settings)
    quantized = GPTQModel.load(str(model), config, device="cpu")
    quantized.quantize([{"input_ids": row, "attention_mask": [1] * len(row)} for row in rows],
                       batch_size=4)
    quantized.save(str(out))


def gptqmodel_awq(model, out, rows, group):
    gptqmodel(model, out, rows, "AWQConfig", {"group_size": group, "sym": False})


def gptqmodel_awq_norms(model, out, rows, group):
    """With the norms of 1 + w divided as such: of those it knows Gemma's, and no others."""
    from gptqmodel.quantization.awq.quantize import scale
    from transformers.models.qwen3_5_moe.modeling_qwen3_5_moe import Qwen3_5MoeRMSNorm
    scale.GemmaRMSNorm = (scale.GemmaRMSNorm, Qwen3_5MoeRMSNorm)  # is read by isinstance alone
    gptqmodel_awq(model, out, rows, group)


def gptqmodel_gptq(model, out, rows, group):
    gptqmodel(model, out, rows, "GPTQConfig", {"group_size": group})


TOOLS = {"autoawq": autoawq, "llmcompressor-rounding": llmcompressor_rounding,
         "llmcompressor-awq": llmcompressor_awq, "llmcompressor-awq-glm": llmcompressor_awq_glm,
         "llmcompressor-awq-router": llmcompressor_awq_router,
         "llmcompressor-gptq": llmcompressor_gptq,
         "gptqmodel-awq": gptqmodel_awq, "gptqmodel-awq-norms": gptqmodel_awq_norms,
         "gptqmodel-gptq": gptqmodel_gptq}


def main():
    tool, model, out, sequences, group = sys.argv[1:]
    model = pathlib.Path(model)
    TOOLS[tool](model, pathlib.Path(out), token_rows(model, int(sequences)), int(group))


if __name__ == "__main__":
    main()
