# SPDX-License-Identifier: MIT
"""Mixtures of experts."""

from described import CHUNK, FULL, SIZES, WINDOW, Model, rope, theta, yarn
from support.random_model import ABSENT

EXPERTS = dict(num_experts_per_tok=2)
GRANITE = {
    "embedding": {"embedding_multiplier": 1.7},
    "attention": {"attention_multiplier": 0.25},
    "residual": {"residual_multiplier": 0.22},
    "logits": {"logits_scaling": 5.0},
    "one-expert": {"num_experts_per_tok": 1},
    "defaults": {"rope_parameters": ABSENT, "embedding_multiplier": ABSENT,
                 "attention_multiplier": ABSENT, "residual_multiplier": ABSENT,
                 "logits_scaling": ABSENT, "rms_norm_eps": ABSENT}}


def long_factors(model):
    """As the hub's code and engines do: transformers 5.23 takes the short factors at any length,
    for it forgets to say the sequences' length."""
    rotary = model.model.rotary_emb
    forgetful = rotary.rope_init_fn
    rotary.rope_init_fn = lambda config: forgetful(config, seq_len=96)


QWEN3_VL_MOE = dict(
    text_config=dict(SIZES, **EXPERTS, num_experts=4, moe_intermediate_size=96, head_dim=32,
                     num_hidden_layers=3, mlp_only_layers=[1], attention_bias=True,
                     dtype="bfloat16", tie_word_embeddings=False,
                     rope_parameters=rope(500.0, mrope_section=[6, 5, 5],
                                          mrope_interleaved=True)),
    vision_config=dict(depth=1, hidden_size=32, intermediate_size=32, num_heads=2,
                       out_hidden_size=64, patch_size=2, num_position_embeddings=4,
                       deepstack_visual_indexes=[0]))

MIXTURES = {
    "mixtral5": Model("MixtralForCausalLM", dict(
        EXPERTS, intermediate_size=64, num_local_experts=4, head_dim=32, sliding_window=40,
        rope_parameters=yarn()), {
            "window-less-one": {"sliding_window": 39},
            "no-window": {"sliding_window": None},
            "one-expert": {"num_experts_per_tok": 1},
            "no-scaling": theta(500.0)}),
    "mixtral-fused": Model("MixtralForCausalLM", dict(
        EXPERTS, intermediate_size=64, num_local_experts=4, rope_parameters=rope(500.0)),
        fused=True, respell=False),
    "qwen2_moe5": Model("Qwen2MoeForCausalLM", dict(
        EXPERTS, num_experts=4, moe_intermediate_size=32, shared_expert_intermediate_size=96,
        num_hidden_layers=3, decoder_sparse_step=2, norm_topk_prob=True, qkv_bias=True,
        use_sliding_window=True, sliding_window=40, max_window_layers=1,
        rope_parameters=rope(500.0)), {
            "window-less-one": {"sliding_window": 39},
            "not-divided": {"norm_topk_prob": False}}),
    "qwen3_moe5": Model("Qwen3MoeForCausalLM", dict(
        EXPERTS, num_experts=6, moe_intermediate_size=32, num_hidden_layers=3,
        mlp_only_layers=[1], norm_topk_prob=True, head_dim=32, attention_bias=True,
        use_sliding_window=True, sliding_window=40, max_window_layers=1,
        rope_parameters=yarn()), {
            "window-less-one": {"sliding_window": 39},
            "not-divided": {"norm_topk_prob": False},
            "no-scaling": theta(500.0)},
        dtype="float32"),
    "qwen3_moe-fused": Model("Qwen3MoeForCausalLM", dict(
        EXPERTS, num_experts=6, moe_intermediate_size=32, norm_topk_prob=True, head_dim=16,
        rope_parameters=rope(500.0)), fused=True, respell=False),
    "qwen3_vl_moe": Model("Qwen3VLMoeForConditionalGeneration", QWEN3_VL_MOE, {
        "theta": {"text_config.rope_parameters.rope_theta": 2000.0},
        "one-expert": {"text_config.num_experts_per_tok": 1},
        "same: the wrapper says whose the head is": {
            "text_config.tie_word_embeddings": ABSENT}},
        config_class="Qwen3VLMoeConfig", respell=False),
    "qwen3_vl_moe-hub": Model(
        "Qwen3VLMoeForConditionalGeneration", QWEN3_VL_MOE,
        {"theta": {"text_config.rope_parameters.rope_theta": 2000.0}},
        config_class="Qwen3VLMoeConfig", transposed=True, respell=False),
    "llama4_text": Model("Llama4ForCausalLM", dict(
        EXPERTS, num_experts_per_tok=1, num_local_experts=4, num_hidden_layers=4,
        intermediate_size=64, intermediate_size_mlp=96, head_dim=32, attention_chunk_size=40,
        interleave_moe_layer_step=2, no_rope_layers=[1, 0, 1, 0], use_qk_norm=True,
        floor_scale=32, attn_scale=0.4, attention_bias=True, rms_norm_eps=0.01,
        rope_parameters=rope(500.0)), {
            "chunk": {"attention_chunk_size": 48},
            "one-step": {"floor_scale": 16},
            "attn-scale": {"attn_scale": 0.2},
            "no-temperature": {"attn_temperature_tuning": False},
            "no-qk-norm": {"use_qk_norm": False},
            "rope-elsewhere": {"no_rope_layers": [0, 1, 1, 0], "layer_types": ABSENT},
            "interval": {"no_rope_layers": ABSENT, "no_rope_layer_interval": 3,
                         "layer_types": ABSENT},
            "layers-elsewhere": {"layer_types": [FULL, CHUNK, CHUNK, FULL]},
            "two-experts": {"num_experts_per_tok": 2},
            "same: sparse layers by the step": {"moe_layers": ABSENT},
            "defaults": {**theta(), "attention_chunk_size": ABSENT, "floor_scale": ABSENT,
                         "attn_scale": ABSENT, "rms_norm_eps": ABSENT, "no_rope_layers": ABSENT,
                         "layer_types": ABSENT, "use_qk_norm": ABSENT,
                         "attn_temperature_tuning": ABSENT}},
        config_class="Llama4TextConfig"),
    "llama4": Model("Llama4ForConditionalGeneration", dict(
        text_config=dict(SIZES, num_experts_per_tok=1, num_local_experts=4, intermediate_size=64,
                         intermediate_size_mlp=96, head_dim=32, attention_chunk_size=40,
                         interleave_moe_layer_step=2, no_rope_layers=[1, 0], use_qk_norm=False,
                         attn_temperature_tuning=False, dtype="bfloat16",
                         rope_parameters=rope(500.0)),
        vision_config=dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1,
                           num_attention_heads=2, image_size=4, patch_size=2,
                           vision_output_dim=32, projector_input_dim=32, projector_output_dim=32),
        image_token_index=127, boi_token_index=126, eoi_token_index=125), {
            "chunk": {"text_config.attention_chunk_size": 48},
            "qk-norm": {"text_config.use_qk_norm": True}},
        config_class="Llama4Config", respell=False),
    "gpt_oss": Model("GptOssForCausalLM", dict(
        EXPERTS, num_local_experts=4, num_hidden_layers=3, intermediate_size=64, head_dim=32,
        sliding_window=40, layer_types=[FULL, WINDOW, WINDOW], attention_bias=True,
        rms_norm_eps=0.01, swiglu_limit=1.5,
        rope_parameters=yarn(truncate=False, beta_fast=3.0)), {
            "window-less-one": {"sliding_window": 39},
            "layer-types-absent": {"layer_types": ABSENT},
            "limit": {"swiglu_limit": 2.5},
            "rare: alpha": {"swiglu_alpha": 1.3},
            "truncated": {"rope_parameters.truncate": True},
            "one-expert": {"num_experts_per_tok": 1},
            "no-scaling": theta(500.0),
            "defaults": {**theta(), "sliding_window": ABSENT, "layer_types": ABSENT,
                         "rms_norm_eps": ABSENT, "swiglu_limit": ABSENT,
                         "swiglu_alpha": ABSENT}},
        scales={r"experts\.gate_up_proj$": 1.5},
        dtype="float32"),
    "glm4_moe": Model("Glm4MoeForCausalLM", dict(
        EXPERTS, n_routed_experts=8, n_shared_experts=1, moe_intermediate_size=32, n_group=4,
        topk_group=2, first_k_dense_replace=1, num_hidden_layers=3, routed_scaling_factor=1.7,
        norm_topk_prob=True, use_qk_norm=True, attention_bias=True, head_dim=32,
        num_nextn_predict_layers=0,
        rms_norm_eps=0.01, rope_parameters=rope(500.0, partial_rotary_factor=0.5)), {
            "groups": {"topk_group": 1},
            "no-groups": {"n_group": 1, "topk_group": 1},
            "factor": {"routed_scaling_factor": 1.0},
            "not-divided": {"norm_topk_prob": False},
            "whole-head": {"rope_parameters": rope(500.0, partial_rotary_factor=1.0)},
            "defaults": {**theta(), "norm_topk_prob": ABSENT, "routed_scaling_factor": ABSENT,
                         "n_group": ABSENT, "topk_group": ABSENT, "rms_norm_eps": ABSENT}}),
    "minimax_m2": Model("MiniMaxM2ForCausalLM", dict(
        EXPERTS, num_local_experts=8, intermediate_size=32, head_dim=32, rms_norm_eps=0.01,
        rope_parameters=rope(500.0, partial_rotary_factor=0.5)), {
            "whole-head": {"rope_parameters": rope(500.0, partial_rotary_factor=1.0)},
            "one-expert": {"num_experts_per_tok": 1},
            "same: as the hub has it": {
                "rope_parameters": ABSENT, "rope_theta": 500.0, "rotary_dim": 16,
                "use_qk_norm": True, "qk_norm_type": "per_layer", "use_routing_bias": True,
                "scoring_func": "sigmoid", "shared_intermediate_size": 0, "use_mtp": True,
                "num_mtp_modules": 3, "mtp_transformer_layers": 1, "attn_type_list": [1, 1]},
            "defaults": {**theta(), "rms_norm_eps": ABSENT}}),
    "hunyuan_v1_moe": Model("HunYuanMoEV1ForCausalLM", dict(
        num_experts=4, moe_topk=[1, 2, 2], num_hidden_layers=3, intermediate_size=64, head_dim=32,
        attention_bias=True, rms_norm_eps=0.01, tie_word_embeddings=True,
        rope_parameters=rope(500.0, rope_type="dynamic", alpha=50.0, factor=1.0)), {
            "alpha": {"rope_parameters.alpha": 1000.0},
            "two-experts": {"moe_topk": 2},
            "same: as the hub has it": {
                "moe_intermediate_size": [64, 64, 64], "num_shared_expert": [1, 1, 1],
                "use_mixed_mlp_moe": True, "use_qk_norm": True, "use_cla": False,
                "attention_head_dim": 32, "mlp_bias": False},
            "no-scaling": theta(500.0),
            "defaults": {**theta(), "rms_norm_eps": ABSENT}}),
    "hy_v3": Model("HYV3ForCausalLM", dict(
        EXPERTS, num_experts=8, num_shared_experts=1, moe_intermediate_size=32,
        num_hidden_layers=3, mlp_layer_types=["dense", "sparse", "sparse"],
        router_scaling_factor=1.7, head_dim=32, attention_bias=True, rms_norm_eps=0.01,
        rope_parameters=rope(500.0)), {
            "factor": {"router_scaling_factor": 1.0},
            "one-expert": {"num_experts_per_tok": 1},
            "same: the first is dense": {"mlp_layer_types": ABSENT},
            "same: as the hub has it": {"mlp_layer_types": ABSENT, "first_k_dense_replace": 1,
                                        "expert_hidden_dim": 32},
            "defaults": {**theta(), "router_scaling_factor": ABSENT, "rms_norm_eps": ABSENT}}),
    "ernie4_5_moe": Model("Ernie4_5_MoeForCausalLM", dict(
        moe_k=2, moe_num_experts=8, moe_num_shared_experts=2, moe_intermediate_size=32,
        num_hidden_layers=4, moe_layer_start_index=1, moe_layer_end_index=2,
        intermediate_size=96, use_bias=True, rms_norm_eps=0.01, rope_parameters=rope(500.0)), {
            "one-expert": {"moe_k": 1},
            "rare: divided by more": {"moe_norm_min": 0.9},
            "defaults": {**theta(), "moe_k": ABSENT, "rms_norm_eps": ABSENT}}),
    "dots1": Model("Dots1ForCausalLM", dict(
        EXPERTS, n_routed_experts=8, n_shared_experts=2, moe_intermediate_size=32, n_group=2,
        topk_group=1, first_k_dense_replace=1, num_hidden_layers=3, routed_scaling_factor=1.7,
        norm_topk_prob=True, attention_bias=True, head_dim=32, sliding_window=40,
        max_window_layers=2, rms_norm_eps=0.01, rope_parameters=rope(500.0)), {
            "no-groups": {"n_group": 1},
            "factor": {"routed_scaling_factor": 1.0},
            "not-divided": {"norm_topk_prob": False},
            "window-less-one": {"sliding_window": 39},
            "same: by max_window_layers": {"layer_types": ABSENT},
            "windows-elsewhere": {"layer_types": [WINDOW, FULL, WINDOW]},
            "defaults": {**theta(), "norm_topk_prob": ABSENT, "routed_scaling_factor": ABSENT,
                         "n_group": ABSENT, "topk_group": ABSENT, "rms_norm_eps": ABSENT,
                         "sliding_window": ABSENT, "max_window_layers": ABSENT,
                         "layer_types": ABSENT}},
        dtype="float16"),
    "olmoe": Model("OlmoeForCausalLM", dict(
        EXPERTS, num_experts=8, intermediate_size=32, norm_topk_prob=True, clip_qkv=1.5,
        attention_bias=True, rms_norm_eps=0.01, rope_parameters=rope(500.0)), {
            "not-divided": {"norm_topk_prob": False},
            "clip": {"clip_qkv": 1.0},
            "no-clip": {"clip_qkv": None},
            "defaults": {**theta(), "norm_topk_prob": ABSENT, "rms_norm_eps": ABSENT}}),
    "granitemoe": Model("GraniteMoeForCausalLM", dict(
        EXPERTS, num_local_experts=8, intermediate_size=32, attention_bias=True,
        embedding_multiplier=2.3, attention_multiplier=0.17, residual_multiplier=0.7,
        logits_scaling=3.0, rms_norm_eps=0.01, tie_word_embeddings=True,
        rope_parameters=rope(500.0)), GRANITE),
    "granitemoeshared": Model("GraniteMoeSharedForCausalLM", dict(
        EXPERTS, num_local_experts=4, intermediate_size=32, shared_intermediate_size=96,
        embedding_multiplier=2.3, attention_multiplier=0.17, residual_multiplier=0.7,
        logits_scaling=3.0, rms_norm_eps=0.01, rope_parameters=rope(500.0)), GRANITE),
    "afmoe": Model("AfmoeForCausalLM", dict(
        EXPERTS, num_experts=8, num_shared_experts=2, moe_intermediate_size=32, num_dense_layers=1,
        num_hidden_layers=4, route_scale=1.7, mup_enabled=True, attention_bias=True, head_dim=32,
        sliding_window=40, global_attn_every_n_layers=2, rms_norm_eps=0.01,
        rope_parameters=rope(500.0)), {
            "factor": {"route_scale": 1.0},
            "embedding": {"mup_enabled": False},
            "window-less-one": {"sliding_window": 39},
            "one-expert": {"num_experts_per_tok": 1},
            "same: by global_attn_every_n_layers": {"layer_types": ABSENT},
            "defaults": {**theta(), "route_scale": ABSENT, "mup_enabled": ABSENT,
                         "rms_norm_eps": ABSENT, "sliding_window": ABSENT}}),
    "phimoe": Model("PhimoeForCausalLM", dict(
        EXPERTS, num_local_experts=4, intermediate_size=64, attention_bias=True, lm_head_bias=True,
        sliding_window=40, router_jitter_noise=0.2, rms_norm_eps=0.01,
        rope_parameters=rope(500.0)), {
            "window-less-one": {"sliding_window": 39},
            "jitter": {"router_jitter_noise": 0.01},
            "theta": theta(2000.0),
            "defaults": {**theta(), "rms_norm_eps": ABSENT, "router_jitter_noise": ABSENT,
                         "sliding_window": ABSENT}}),
    "phimoe-longrope": Model("PhimoeForCausalLM", dict(
        EXPERTS, num_local_experts=4, intermediate_size=64, attention_bias=True, lm_head_bias=True,
        rope_parameters=rope(500.0, rope_type="longrope", original_max_position_embeddings=64,
                             short_mscale=1.2, long_mscale=1.3,
                             short_factor=[1.0, 1.05, 1.1, 1.2, 1.3, 1.5, 1.7, 2.0],
                             long_factor=[1.0, 1.5, 2.0, 3.0, 4.5, 6.0, 8.0, 10.0])), {
            "short": {"rope_parameters.original_max_position_embeddings": 96,
                      "original_max_position_embeddings": 96},
            "long-mscale": {"rope_parameters.long_mscale": 1.1},
            "long-factor": {"rope_parameters.long_factor": [2.0] * 8}},
        corrected=long_factors),
}
