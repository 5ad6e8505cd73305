# SPDX-License-Identifier: MIT
"""Models most of whose layers are gated delta nets."""

from described import FULL, LINEAR, SIZES, Model, rope
from support.random_model import ABSENT

# Values wider than keys, and two heads of values for each of keys.
DELTA = dict(linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=16,
             linear_value_head_dim=32, linear_conv_kernel_dim=4, head_dim=32, rms_norm_eps=0.01,
             attention_bias=True)
EXPERTS = dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=32,
               shared_expert_intermediate_size=96)
MROPE = dict(mrope_section=[3, 3, 2], mrope_interleaved=True)
TOWER = dict(depth=1, hidden_size=32, intermediate_size=32, num_heads=2, out_hidden_size=64,
             patch_size=2, num_position_embeddings=4)
MTP = {"mtp.fc.weight": [64, 128], "mtp.norm.weight": [64],
       "mtp.layers.0.mlp.up_proj.weight": [32, 64], "mtp.layers.0.self_attn.q_norm.weight": [32]}
# What the hub's config.json says besides, and nothing reads.
HUB = dict(attn_output_gate=True, mamba_ssm_dtype="float32", mlp_only_layers=[],
           mtp_num_hidden_layers=1, mtp_use_dedicated_embeddings=False)


def half(**more):
    return rope(500.0, partial_rotary_factor=0.5, **more)


def in_text(changes):
    return {f"text_config.{key}": value for key, value in changes.items()}


WRAPPED = dict(SIZES, **DELTA, dtype="bfloat16", tie_word_embeddings=False,
               layer_types=[LINEAR, FULL], rope_parameters=half(**MROPE))

DELTA_NETS = {
    "qwen3_next": Model("Qwen3NextForCausalLM", dict(
        DELTA, **EXPERTS, num_hidden_layers=4, mlp_only_layers=[0, 2], norm_topk_prob=False,
        rope_parameters=half()), {
            "divided": {"norm_topk_prob": True},
            "one-expert": {"num_experts_per_tok": 1},
            "whole-head": {"rope_parameters.partial_rotary_factor": 1.0},
            "a-quarter-if-silent": {"rope_parameters": rope(500.0)},
            "same: by decoder_sparse_step": {"mlp_only_layers": [], "decoder_sparse_step": 2},
            "same: every fourth layer, if silent": {"layer_types": ABSENT},
            "same: as the hub has it": {
                "layer_types": ABSENT, "full_attention_interval": 4, "rope_parameters": ABSENT,
                "rope_theta": 500.0, "partial_rotary_factor": 0.5, "rope_scaling": None},
            "defaults": {"rope_parameters": ABSENT, "rms_norm_eps": ABSENT,
                         "norm_topk_prob": ABSENT, "hidden_act": ABSENT,
                         "decoder_sparse_step": ABSENT}},
        norms="1 + w"),
    "qwen3_5_text": Model("Qwen3_5ForCausalLM", dict(
        DELTA, num_hidden_layers=3, layer_types=[LINEAR, FULL, LINEAR],
        rope_parameters=half(**MROPE)), {
            "theta": {"rope_parameters.rope_theta": 2000.0},
            "a-quarter-if-silent": {"rope_parameters": rope(500.0, **MROPE)},
            "same: as the hub has it": dict(HUB, partial_rotary_factor=0.5),
            "same: whatever mrope says": {"rope_parameters": half()},
            "same: every second layer": {"layer_types": ABSENT, "full_attention_interval": 2},
            "defaults": {"rope_parameters": ABSENT, "rms_norm_eps": ABSENT, "hidden_act": ABSENT}},
        config_class="Qwen3_5TextConfig", norms="1 + w", copied=MTP),
    "qwen3_5_text-linear": Model("Qwen3_5ForCausalLM", dict(
        DELTA, layer_types=[LINEAR, LINEAR], linear_value_head_dim=16, linear_num_value_heads=2,
        tie_word_embeddings=True, rope_parameters=half()),
        config_class="Qwen3_5TextConfig", norms="1 + w", dtype="float32", respell=False),
    "qwen3_5_text-full": Model("Qwen3_5ForCausalLM", dict(
        DELTA, layer_types=[FULL, FULL], attention_bias=False, rope_parameters=half()),
        config_class="Qwen3_5TextConfig", norms="1 + w", dtype="float16", respell=False),
    "qwen3_5": Model("Qwen3_5ForConditionalGeneration", dict(
        text_config=WRAPPED, vision_config=TOWER), {
            "theta": {"text_config.rope_parameters.rope_theta": 2000.0},
            "same: as the hub has it": in_text(dict(
                HUB, partial_rotary_factor=0.5, full_attention_interval=2))},
        config_class="Qwen3_5Config", norms="1 + w", respell=False, copied=MTP,
        single=r"A_log$|linear_attn\.norm"),
    "qwen3_5_moe_text": Model("Qwen3_5MoeForCausalLM", dict(
        DELTA, **EXPERTS, num_hidden_layers=4, layer_types=[LINEAR, FULL, LINEAR, FULL],
        rope_parameters=half(**MROPE)), {
            "three-experts": {"num_experts_per_tok": 3},
            "same: every second layer": {"layer_types": ABSENT, "full_attention_interval": 2},
            "same: as the hub has it": dict(HUB, partial_rotary_factor=0.5),
            "defaults": {"rope_parameters": ABSENT, "rms_norm_eps": ABSENT}},
        config_class="Qwen3_5MoeTextConfig", norms="1 + w"),
    "qwen3_5_moe": Model("Qwen3_5MoeForConditionalGeneration", dict(
        text_config=dict(WRAPPED, **EXPERTS), vision_config=TOWER), {
            "one-expert": {"text_config.num_experts_per_tok": 1}},
        config_class="Qwen3_5MoeConfig", norms="1 + w", fused=True, respell=False, copied=MTP),
}
