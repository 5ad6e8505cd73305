#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the small random models of this folder and what they must score, by transformers.

One model a family and a way of writing the configuration, with weights large enough that every
part of the forward pass shows in the result. Run once, with torch 2.5.1 and transformers 4.57.6;
the tests read what it wrote and need neither."""

import json
import pathlib
import shutil

import torch
from transformers import (LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM,
                          Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

HERE = pathlib.Path(__file__).parent
SEQUENCES, LENGTH = 16, 96
SIZES = dict(vocab_size=128, hidden_size=64, intermediate_size=160, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
             bos_token_id=1, eos_token_id=2)

FAMILIES = {
    "llama3": (LlamaForCausalLM, LlamaConfig, torch.bfloat16, dict(
        rope_theta=500.0, rms_norm_eps=1e-5, rope_scaling=dict(
            rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=64))),
    "llama-linear-bias": (LlamaForCausalLM, LlamaConfig, torch.float32, dict(
        attention_bias=True, mlp_bias=True, rope_scaling=dict(rope_type="linear", factor=2.0))),
    "mistral": (MistralForCausalLM, MistralConfig, torch.float16, dict(
        head_dim=32, sliding_window=None, rope_theta=1000.0)),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, torch.bfloat16, dict(tie_word_embeddings=True)),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, torch.bfloat16, dict(
        head_dim=32, tie_word_embeddings=True, rope_theta=1000.0)),
}


def randomize(model, generator):
    """Projections that keep the size of what goes through, norms with a few loud channels."""
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if name.endswith("bias"):
            weight.data = 0.3 * noise
        elif weight.dim() == 1:
            weight.data = (1 + 0.2 * noise).abs()
            if name.endswith("layernorm.weight"):
                weight.data[torch.randperm(64, generator=generator)[:2]] *= 8
        elif "embed" in name or "lm_head" in name:
            weight.data = 0.3 * noise
        else:
            weight.data = noise / weight.shape[1] ** 0.5


def main():
    generator = torch.Generator().manual_seed(20250)
    tokens = torch.randint(3, SIZES["vocab_size"], (SEQUENCES, LENGTH), generator=generator)
    expected = {"how": "torch " + torch.__version__ + ", float64 forward (norms and softmax in "
                       "float32 where transformers does so) from the stored weights; mean over "
                       "positions 1.. of each sequence, natural log",
                "tokens": tokens.tolist(), "models": {}}
    for name, (model_class, config_class, dtype, options) in FAMILIES.items():
        config = config_class(**{**SIZES, **options}, attn_implementation="eager")
        model = model_class(config)
        randomize(model, generator)
        model.tie_weights()
        model.to(dtype)  # rounds RoPE too, which reading the files anew does not
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder)
        model = model_class.from_pretrained(folder, dtype=torch.float64,
                                            attn_implementation="eager")
        with torch.no_grad():
            logits = model(tokens).logits
        losses = torch.nn.functional.cross_entropy(
            logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")
        expected["models"][name] = {
            "mean_nll": losses.mean().item(),
            "nll_per_sequence": losses.mean(1).tolist(),
            "logits_first_sequence_last_position_first8": logits[0, -1, :8].tolist()}
        print(f"{name:20} {losses.mean().item():.6f} logits std {logits.std().item():.2f}")
    (HERE / "expected.json").write_text(json.dumps(expected) + "\n")


main()
