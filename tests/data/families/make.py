#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the small random models of this folder and what they must score, by transformers.

One model a family and a way of writing the configuration, with weights large enough that every
part of the forward pass shows in the result. Run once, with torch 2.5.1 and transformers 4.57.6;
run again with transformers 5.23.0, it writes each config-transformers5.json. The tests read what
it wrote and need none of them. New models go to the end: all take their numbers from one
generator."""

import json
import pathlib
import tempfile

import torch
import transformers
from transformers import (Gemma2Config, Gemma2ForCausalLM, GraniteConfig, GraniteForCausalLM,
                          LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM,
                          Phi3Config, Phi3ForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config,
                          Qwen3ForCausalLM, SmolLM3Config, SmolLM3ForCausalLM)

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
    # fused projections, part of a head rotated, sequences that take the long factors
    "phi3": (Phi3ForCausalLM, Phi3Config, torch.bfloat16, dict(
        pad_token_id=0, rope_theta=500.0, partial_rotary_factor=0.75,
        original_max_position_embeddings=64, rope_scaling=dict(
            type="longrope", short_factor=[1.0, 1.05, 1.1, 1.25, 1.5, 1.75],
            long_factor=[1.0, 1.5, 2.5, 4.0, 6.5, 9.0]))),
    # a window shorter than the sequences in each layer, sequences that take the short factors
    "phi3-window": (Phi3ForCausalLM, Phi3Config, torch.float32, dict(
        pad_token_id=0, rope_theta=500.0, sliding_window=40,
        original_max_position_embeddings=128, rope_scaling=dict(
            type="longrope", short_factor=[1.0, 1.05, 1.1, 1.2, 1.3, 1.5, 1.7, 2.0],
            long_factor=[1.0, 1.5, 2.0, 3.0, 4.5, 6.0, 8.0, 10.0]))),
    # norms of 1 + w, also behind attention and MLP; capped scores and logits; a window in every
    # other layer; a scale of the scores that is not the head's
    "gemma2": (Gemma2ForCausalLM, Gemma2Config, torch.bfloat16, dict(
        pad_token_id=0, num_hidden_layers=3, head_dim=32, query_pre_attn_scalar=24,
        attn_logit_softcapping=5.0, final_logit_softcapping=12.0, sliding_window=40)),
    # a width whose root, by which the embedding is multiplied, is no number of 16 bits
    "gemma2-f32": (Gemma2ForCausalLM, Gemma2Config, torch.float32, dict(
        hidden_size=96, pad_token_id=0, num_hidden_layers=3, head_dim=32,
        query_pre_attn_scalar=24, attn_logit_softcapping=5.0, final_logit_softcapping=12.0,
        sliding_window=40)),
    # what is multiplied, biases of the halves' last linears with it
    "granite": (GraniteForCausalLM, GraniteConfig, torch.bfloat16, dict(
        tie_word_embeddings=True, attention_bias=True, mlp_bias=True, rope_theta=1000.0,
        embedding_multiplier=2.3, attention_multiplier=0.17, residual_multiplier=0.7,
        logits_scaling=3.0)),
    # layers with rotary embedding and without, of a window and not: all four
    "smollm3": (SmolLM3ForCausalLM, SmolLM3Config, torch.bfloat16, dict(
        pad_token_id=0, num_hidden_layers=4, intermediate_size=96, attention_bias=True,
        mlp_bias=True, rope_theta=500.0, no_rope_layer_interval=2, use_sliding_window=True,
        sliding_window=40, layer_types=["full_attention", "sliding_attention",
                                        "sliding_attention", "full_attention"])),
}

# What the same weights score with other values in config.json; ABSENT removes one. Each shows that
# a key is not ignored, where its default is, or on which side of a limit the length of 96 falls.
ABSENT = "absent"
PHI3_CHANGES = {
    "no-scaling": dict(rope_scaling=None),
    "whole-head": dict(rope_scaling=None, partial_rotary_factor=1.0),
    "attention-factor": dict(max_position_embeddings=128),
    "length-is-original": dict(original_max_position_embeddings=96),
    "length-is-beyond": dict(original_max_position_embeddings=95),
}
WINDOW_CHANGES = {
    "no-window": dict(sliding_window=None),
    "window-less-one": dict(sliding_window=39),
    "window-is-length": dict(sliding_window=96),
    "no-scaling": dict(rope_scaling=None),
    "long": dict(original_max_position_embeddings=64),
}
GEMMA2_CHANGES = {
    "no-window": dict(sliding_window=256),
    "window-less-one": dict(sliding_window=39),
    "windows-elsewhere": dict(layer_types=["full_attention", "sliding_attention",
                                           "full_attention"]),
    "layer-types-absent": dict(layer_types=ABSENT),
    "scores-not-capped": dict(attn_logit_softcapping=None),
    "logits-not-capped": dict(final_logit_softcapping=None),
    "scale-of-the-head": dict(query_pre_attn_scalar=32),
    "defaults": dict(attn_logit_softcapping=ABSENT, final_logit_softcapping=ABSENT,
                     query_pre_attn_scalar=ABSENT, sliding_window=ABSENT,
                     hidden_activation=ABSENT),
}
GRANITE_CHANGES = {
    "embedding": dict(embedding_multiplier=1.7),
    "attention": dict(attention_multiplier=0.25),
    "residual": dict(residual_multiplier=0.22),
    "logits": dict(logits_scaling=5),
    "defaults": dict(embedding_multiplier=ABSENT, attention_multiplier=ABSENT,
                     residual_multiplier=ABSENT, logits_scaling=ABSENT),
}
SMOLLM3_CHANGES = {
    "other-layers": dict(no_rope_layers=[0, 1, 1, 0]),
    "rope-everywhere": dict(no_rope_layers=[1, 1, 1, 1]),
    "rope-nowhere": dict(no_rope_layers=[0, 0, 0, 0]),
    "interval": dict(no_rope_layers=ABSENT, no_rope_layer_interval=3),
    "layer-types-absent": dict(layer_types=ABSENT),
    "window-less-one": dict(sliding_window=39),
    "no-window": dict(sliding_window=None, layer_types=ABSENT),
    "window-off": dict(use_sliding_window=False, layer_types=ABSENT),
    "defaults": dict(no_rope_layers=ABSENT, no_rope_layer_interval=ABSENT, layer_types=ABSENT,
                     use_sliding_window=ABSENT, rope_theta=ABSENT),
}
CHANGES = {"phi3": PHI3_CHANGES, "phi3-window": WINDOW_CHANGES, "gemma2": GEMMA2_CHANGES,
           "gemma2-f32": GEMMA2_CHANGES, "granite": GRANITE_CHANGES,
           "smollm3": SMOLLM3_CHANGES}


def randomize(model, generator):
    """Projections that keep the size of what goes through, norms with a few loud channels: those
    that linears read. Gemma's norms are of 1 + w, and such that 1 + w is as the others' w; its
    embedding is small, for it is multiplied by the root of its width."""
    gemma = isinstance(model, Gemma2ForCausalLM)
    quiet = ("post_attention_layernorm.weight", "post_feedforward_layernorm.weight")
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if name.endswith("bias"):
            weight.data = 0.3 * noise
        elif weight.dim() == 1:
            weight.data = (1 + 0.2 * noise).abs()
            if name.endswith("layernorm.weight") and not (gemma and name.endswith(quiet)):
                weight.data[torch.randperm(len(weight), generator=generator)[:2]] *= 8
            if gemma:
                weight.data -= 1
        elif "embed" in name or "lm_head" in name:
            weight.data = (1.6 / weight.shape[1] ** 0.5 if gemma else 0.3) * noise
        else:
            weight.data = noise / weight.shape[1] ** 0.5


def forward(model_class, folder, tokens):
    """(logits, loss of each position but the first) of a stored model, in float64."""
    model = model_class.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
    with torch.no_grad():
        logits = model(tokens, use_cache=False).logits
    return logits, torch.nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none")


def changed(model_class, source, changes, tokens):
    """{name: {"config": changes, "mean_nll": number}}"""
    found = {}
    for name, change in changes.items():
        config = json.loads((source / "config.json").read_text()) | change
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "config.json").write_text(json.dumps(
                {key: value for key, value in config.items() if value != ABSENT}))
            (folder / "model.safetensors").symlink_to(source / "model.safetensors")
            losses = forward(model_class, folder, tokens)[1]
        found[name] = {"config": change, "mean_nll": losses.mean().item()}
        print(f"  {name:20} {losses.mean().item():.6f}")
    return found


def respell():
    """The configurations as transformers 5 writes them."""
    for name, (_, config_class, _, _) in FAMILIES.items():
        with tempfile.TemporaryDirectory() as folder:
            config_class.from_pretrained(HERE / name).save_pretrained(folder)
            text = (pathlib.Path(folder) / "config.json").read_text()
        (HERE / name / "config-transformers5.json").write_text(text)


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
        model.save_pretrained(folder)
        logits, losses = forward(model_class, folder, tokens)
        expected["models"][name] = {
            "mean_nll": losses.mean().item(),
            "nll_per_sequence": losses.mean(1).tolist(),
            "logits_first_sequence_last_position_first8": logits[0, -1, :8].tolist()}
        print(f"{name:20} {losses.mean().item():.6f} logits std {logits.std().item():.2f}")
        if name in CHANGES:
            expected["models"][name]["changed"] = changed(model_class, folder, CHANGES[name],
                                                          tokens)
    (HERE / "expected.json").write_text(json.dumps(expected) + "\n")


if transformers.__version__.startswith("5."):
    respell()
else:
    main()
