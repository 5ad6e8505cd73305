#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the small random mixtures of experts of this folder and what they must score, by
transformers, as ../families/make.py does for dense models.

Run once, with torch 2.6.0 and transformers 4.51.3; the tests read what it wrote and need
neither."""

import json
import pathlib
import shutil

import torch
from transformers import (MixtralConfig, MixtralForCausalLM, Qwen2MoeConfig, Qwen2MoeForCausalLM,
                          Qwen3MoeConfig, Qwen3MoeForCausalLM)

HERE = pathlib.Path(__file__).parent
SEQUENCES, LENGTH = 16, 96
SIZES = dict(vocab_size=128, hidden_size=64, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=256, bos_token_id=1, eos_token_id=2)

FAMILIES = {
    # all layers sparse, a choice of two whose weights add up to one
    "mixtral": (MixtralForCausalLM, MixtralConfig, torch.bfloat16, dict(
        num_hidden_layers=2, intermediate_size=96, num_local_experts=4, num_experts_per_tok=2,
        rope_theta=1e4, sliding_window=None)),
    # of four layers the second has experts, the fourth would have; biases; a shared expert
    "qwen2_moe": (Qwen2MoeForCausalLM, Qwen2MoeConfig, torch.bfloat16, dict(
        num_hidden_layers=4, intermediate_size=96, moe_intermediate_size=32, num_experts=6,
        num_experts_per_tok=2, shared_expert_intermediate_size=64, decoder_sparse_step=2,
        mlp_only_layers=[3], norm_topk_prob=False, use_sliding_window=False)),
    # q_norm and k_norm; narrow experts
    "qwen3_moe": (Qwen3MoeForCausalLM, Qwen3MoeConfig, torch.float16, dict(
        num_hidden_layers=2, intermediate_size=96, moe_intermediate_size=32, num_experts=8,
        num_experts_per_tok=3, norm_topk_prob=True, head_dim=32, tie_word_embeddings=True)),
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
    generator = torch.Generator().manual_seed(20251)
    tokens = torch.randint(3, SIZES["vocab_size"], (SEQUENCES, LENGTH), generator=generator)
    expected = {"how": "torch " + torch.__version__ + ", float64 forward (norms and softmax in "
                       "float32 where transformers does so) from the stored weights; mean over "
                       "positions 1.. of each sequence, natural log; counts of tokens that each "
                       "expert of a layer gets",
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
        model = model_class.from_pretrained(folder, torch_dtype=torch.float64,
                                            attn_implementation="eager")
        with torch.no_grad():
            output = model(tokens, output_router_logits=True)
        losses = torch.nn.functional.cross_entropy(
            output.logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")
        counts = [router.topk(config.num_experts_per_tok).indices.flatten().bincount(
            minlength=router.shape[1]).tolist() for router in output.router_logits]
        gaps = [router.sort(descending=True).values for router in output.router_logits]
        gap = min((sorted_[:, config.num_experts_per_tok - 1] -
                   sorted_[:, config.num_experts_per_tok]).min().item() for sorted_ in gaps)
        expected["models"][name] = {
            "mean_nll": losses.mean().item(),
            "nll_per_sequence": losses.mean(1).tolist(),
            "tokens_of_experts": counts}
        print(f"{name:20} {losses.mean().item():.6f} least gap of logits {gap:.1e} {counts}")
    (HERE / "expected.json").write_text(json.dumps(expected) + "\n")


main()
