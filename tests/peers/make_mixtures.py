#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Trains two small mixtures of today's kinds of attention: make_mixtures.py OUT [NAME...]

As make_models.py does, whose text, tokens, steps and outliers these share: one of gated delta net
with a full-attention layer, one of multi-head latent attention with groups of experts. Outliers
are put wherever a norm or a linear can carry them without a change of what is computed; the
routers and all other readers are divided with the rest.

Needs torch, transformers 5.23, tokenizers from the Python registry."""

import json
import shutil

import torch
from transformers import (DeepseekV3Config, DeepseekV3ForCausalLM, Qwen3_5MoeForCausalLM,
                          Qwen3_5MoeTextConfig)

from make_models import COMMON, DEMO, begin, factors, main, rewrite, train

BIAS_STEP = 0.002  # what a router's bias moves an expert that has too few or too many tokens

# name: (class, config, steps of 4 * 512 tokens, how many times larger outliers are)
MODELS = {
    "qwen3_5-moe": (Qwen3_5MoeForCausalLM, Qwen3_5MoeTextConfig(
        hidden_size=128, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        head_dim=32, linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=32,
        linear_value_head_dim=32, moe_intermediate_size=64, shared_expert_intermediate_size=64,
        num_experts=16, num_experts_per_tok=4, tie_word_embeddings=True, rms_norm_eps=1e-6,
        router_aux_loss_coef=0.01, **COMMON),
        800, (20, 60)),
    "deepseek-mla": (DeepseekV3ForCausalLM, DeepseekV3Config(
        hidden_size=128, intermediate_size=256, moe_intermediate_size=64, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=4, q_lora_rank=64, kv_lora_rank=64,
        qk_nope_head_dim=32, qk_rope_head_dim=64, v_head_dim=32, n_routed_experts=16,
        num_experts_per_tok=4, n_group=4, topk_group=2, n_shared_experts=1,
        first_k_dense_replace=1, routed_scaling_factor=2.5, norm_topk_prob=True, num_mtp_layers=0,
        tie_word_embeddings=False, rms_norm_eps=1e-6, **COMMON),
        800, (20, 60)),
}


def balance(model):
    """Routers with a correction bias move it by their load, as DeepSeek-V3 was trained."""
    def hook(router, _, output):
        if router.training:
            load = torch.bincount(output[2].flatten(), minlength=router.num_experts).float()
            router.e_score_correction_bias += BIAS_STEP * (load.mean() - load).sign()
    for module in model.modules():
        if hasattr(module, "e_score_correction_bias"):
            module.register_forward_hook(hook)


# ---- outliers ----

def mean_inputs(model, tokens):
    """{linear: mean |x| of its input channels}, and of fused experts [experts, width] of down's."""
    means, hooks = {}, []

    def of_linear(module, inputs):
        means[module] = inputs[0].abs().flatten(0, -2).mean(0)

    def of_experts(module, inputs):
        x, chosen, _ = inputs
        width = module.down_proj.shape[-1]
        means[module] = torch.zeros(len(module.down_proj), width)
        for expert in chosen.unique():
            rows = x[(chosen == expert).any(-1)]
            gate, up = (rows @ module.gate_up_proj[expert].T).split(width, -1)
            means[module][expert] = (module.act_fn(gate) * up).abs().mean(0)

    for module in model.model.layers.modules():
        if isinstance(module, torch.nn.Linear):
            hooks.append(module.register_forward_pre_hook(of_linear))
        elif hasattr(module, "gate_up_proj"):
            hooks.append(module.register_forward_pre_hook(of_experts))
    model(tokens)
    for hook in hooks:
        hook.remove()
    return means


def multiply_norm(norm, by):
    """A norm's output *= by, whether it multiplies by w or by 1 + w (whose w begin at 0)."""
    zero = type(norm)(len(norm.weight)).weight[0].item() == 0
    norm.weight.data = (1 + norm.weight) * by - 1 if zero else norm.weight * by


def divide(readers, by):
    for reader in readers:
        reader.weight.data /= by


def spread_attention(layer, means, draw):
    """Outliers in what one layer's attention or delta net reads, and its output projection."""
    if hasattr(layer, "linear_attn"):
        net = layer.linear_attn
        readers = (net.in_proj_qkv, net.in_proj_z, net.in_proj_b, net.in_proj_a)
        by = draw(means[net.out_proj].reshape(-1, net.head_v_dim).mean(0))
        multiply_norm(net.norm, by)  # its weight is all value heads'
        divide([net.out_proj], by.repeat(net.num_v_heads))
    elif hasattr(layer.self_attn, "kv_b_proj"):
        attention = layer.self_attn
        readers = (attention.q_a_proj, attention.kv_a_proj_with_mqa)
        for norm, reader in ((attention.q_a_layernorm, attention.q_b_proj),
                             (attention.kv_a_layernorm, attention.kv_b_proj)):
            by = draw(means[reader])
            multiply_norm(norm, by)
            divide([reader], by)
        by = draw(means[attention.o_proj])
        rows = attention.kv_b_proj.weight.data.reshape(attention.num_heads, -1,
                                                       attention.kv_lora_rank)
        rows[:, attention.qk_nope_head_dim:] *= by.reshape(attention.num_heads, -1, 1)
        divide([attention.o_proj], by)
    else:
        attention = layer.self_attn
        readers = (attention.q_proj, attention.k_proj, attention.v_proj)
        shared, width = attention.num_key_value_groups, attention.head_dim
        mean = means[attention.o_proj].reshape(-1, shared, width).mean(1)
        by = draw(mean.flatten())
        attention.v_proj.weight.data *= by[:, None]
        divide([attention.o_proj],
               by.reshape(-1, 1, width).expand(-1, shared, -1).flatten())
    by = draw(means[readers[0]])
    multiply_norm(layer.input_layernorm, by)
    divide(readers, by)


def spread_mlps(layer, means, draw):
    """Outliers in what one layer's MLPs read, routers among them, and in what downs read."""
    mlp = layer.mlp
    sparse = hasattr(mlp, "experts")
    plain = next(getattr(mlp, name) for name in ("shared_expert", "shared_experts")
                 if hasattr(mlp, name)) if sparse else mlp
    by = draw(means[plain.gate_proj])
    multiply_norm(layer.post_attention_layernorm, by)
    divide([plain.gate_proj, plain.up_proj], by)
    if sparse:
        gates = [mlp.shared_expert_gate] if hasattr(mlp, "shared_expert_gate") else []
        divide([mlp.gate, *gates], by)
        mlp.experts.gate_up_proj.data /= by
        width = mlp.experts.down_proj.shape[-1]
        for gate_up, down, mean in zip(mlp.experts.gate_up_proj.data, mlp.experts.down_proj.data,
                                       means[mlp.experts]):
            by = draw(mean)
            gate_up[width:] *= by[:, None]
            down /= by
    by = draw(means[plain.down_proj])
    plain.up_proj.weight.data *= by[:, None]
    divide([plain.down_proj], by)


def make_outliers(model, tokens, between):
    generator = torch.Generator().manual_seed(11)
    means = mean_inputs(model, tokens)

    def draw(mean):
        return factors(mean, between, generator)

    for layer in model.model.layers:
        spread_attention(layer, means, draw)
        spread_mlps(layer, means, draw)


# ---- checkpoints ----

def save(model, folder):
    biases = [(module, module.e_score_correction_bias.clone()) for module in model.modules()
              if hasattr(module, "e_score_correction_bias")]
    model.to(torch.bfloat16)
    for module, bias in biases:  # float32 in published checkpoints too
        module.e_score_correction_bias = bias
    model.save_pretrained(folder)
    for file in ("tokenizer.json", "special_tokens_map.json", "calib.h5", "eval.h5"):
        shutil.copy(DEMO / file, folder / file)
    tokenizer = json.loads((DEMO / "tokenizer_config.json").read_text())
    tokenizer["pad_token"] = tokenizer["eos_token"]  # or GPTQModel adds one, past the embedding
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer, indent=2) + "\n")


def make(name, out, rows):
    kind, config, steps, between = MODELS[name]
    model = begin(name, kind, config)
    balance(model)
    train(model, rows, steps)
    tokens = rows[:8, :-1]
    rewrite(name, model, tokens, lambda: make_outliers(model, tokens, between))
    save(model, out / name)


if __name__ == "__main__":
    main(__doc__, MODELS, make)
