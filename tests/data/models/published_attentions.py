# SPDX-License-Identifier: MIT
"""The largest models with gated delta nets, with latent attention, and of Gemma 4, as
published.py."""

from published import FULL, WINDOW, model, pattern
from support.random_model import changed

LINEAR = "linear_attention"


def in_stacks(config, tensors):
    """With all experts of a layer in one tensor, as transformers 5 has them in memory."""
    return tensors(config, config["architectures"][0], stacked=True)


def as_deepseek_v3(config, tensors):
    return tensors(changed(config, {"model_type": "deepseek_v3"}), config["architectures"][0])


# ---- gated delta nets ----

def qwen3_5(hidden, layers, heads, kv_heads, value_heads, **more):
    return {
        "attention_bias": False, "attention_dropout": 0.0, "attn_output_gate": True,
        "bos_token_id": 248044, "dtype": "bfloat16", "eos_token_id": 248044,
        "full_attention_interval": 4, "head_dim": 256, "hidden_act": "silu",
        "hidden_size": hidden, "initializer_range": 0.02,
        "layer_types": pattern(layers, LINEAR, LINEAR, LINEAR, FULL),
        "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_num_key_heads": 16,
        "linear_num_value_heads": value_heads, "linear_value_head_dim": 128,
        "mamba_ssm_dtype": "float32", "max_position_embeddings": 262144,
        "mtp_num_hidden_layers": 1, "mtp_use_dedicated_embeddings": False,
        "num_attention_heads": heads, "num_hidden_layers": layers,
        "num_key_value_heads": kv_heads, "rms_norm_eps": 1e-6,
        "rope_parameters": {"mrope_interleaved": True, "mrope_section": [11, 11, 10],
                            "rope_type": "default", "rope_theta": 10000000,
                            "partial_rotary_factor": 0.25},
        "use_cache": True, "vocab_size": 248320, **more}


def with_tower(architecture, model_type, text):
    return {
        "architectures": [architecture], "model_type": model_type, "image_token_id": 248056,
        "video_token_id": 248057, "vision_start_token_id": 248053,
        "vision_end_token_id": 248054, "tie_word_embeddings": False, "text_config": text,
        "vision_config": {
            "deepstack_visual_indexes": [], "depth": 27, "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": 1152, "in_channels": 3, "initializer_range": 0.02,
            "intermediate_size": 4304, "model_type": model_type, "num_heads": 16,
            "num_position_embeddings": 2304, "out_hidden_size": text["hidden_size"],
            "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2}}


def experts(count, chosen, width):
    return dict(num_experts=count, num_experts_per_tok=chosen, moe_intermediate_size=width,
                shared_expert_intermediate_size=width, output_router_logits=False,
                router_aux_loss_coef=0.001, model_type="qwen3_5_moe_text")


DELTA_NETS = {
    "Qwen/Qwen3-Next-80B-A3B-Instruct": (model(
        "Qwen3NextForCausalLM", "qwen3_next", 2048, 5120, 48, 16, 2, 151936, head_dim=256,
        hidden_act="silu", attention_bias=False, attention_dropout=0.0, decoder_sparse_step=1,
        full_attention_interval=4, linear_conv_kernel_dim=4, linear_key_head_dim=128,
        linear_num_key_heads=16, linear_num_value_heads=32, linear_value_head_dim=128,
        max_position_embeddings=262144, mlp_only_layers=[], moe_intermediate_size=512,
        norm_topk_prob=True, num_experts=512, num_experts_per_tok=10, output_router_logits=False,
        partial_rotary_factor=0.25, rms_norm_eps=1e-6, rope_scaling=None, rope_theta=10000000,
        router_aux_loss_coef=0.001, shared_expert_intermediate_size=512,
        tie_word_embeddings=False), 79.7e9, None),
    "Qwen/Qwen3.5-27B": (with_tower(
        "Qwen3_5ForConditionalGeneration", "qwen3_5",
        qwen3_5(5120, 64, 24, 4, 48, intermediate_size=17408, mlp_only_layers=[],
                model_type="qwen3_5_text")), 27.0e9, None),
    "Qwen/Qwen3.5-35B-A3B": (with_tower(
        "Qwen3_5MoeForConditionalGeneration", "qwen3_5_moe",
        qwen3_5(2048, 40, 16, 2, 32, mlp_only_layers=[], **experts(256, 8, 512))),
        34.7e9, in_stacks),
    "Qwen/Qwen3.5-397B-A17B": (with_tower(
        "Qwen3_5MoeForConditionalGeneration", "qwen3_5_moe",
        qwen3_5(4096, 60, 32, 2, 64, mlp_only_layers=[], **experts(512, 10, 1024))),
        397e9, in_stacks),
    "Qwen/Qwen3.8-2.4T-A95B": (dict(
        qwen3_5(8192, 92, 64, 4, 128, architectures=["Qwen3_5MoeForCausalLM"],
                output_gate_type="swish", partial_rotary_factor=0.25,
                tie_word_embeddings=False, **experts(512, 10, 2048))), 2.42e12, in_stacks),
}

# ---- latent attention ----


def latent(q_rank, nope, values, **more):
    return dict(attention_bias=False, attention_dropout=0.0, ep_size=1, hidden_act="silu",
                kv_lora_rank=512, moe_layer_freq=1, norm_topk_prob=True, pretraining_tp=1,
                q_lora_rank=q_rank, qk_nope_head_dim=nope, qk_rope_head_dim=64,
                scoring_func="sigmoid", tie_word_embeddings=False, topk_method="noaux_tc",
                v_head_dim=values, **more)


def yarn(factor, **more):
    return {"beta_fast": 32, "beta_slow": 1, "factor": factor, "mscale": 1.0,
            "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096, "type": "yarn",
            **more}


DEEPSEEK_V3 = latent(
    1536, 128, 128, aux_loss_alpha=0.001, first_k_dense_replace=3,
    max_position_embeddings=163840, moe_intermediate_size=2048, n_group=8, n_routed_experts=256,
    n_shared_experts=1, num_experts_per_tok=8, num_nextn_predict_layers=1, rms_norm_eps=1e-6,
    rope_scaling=yarn(40), rope_theta=10000, routed_scaling_factor=2.5, seq_aux=True,
    topk_group=4)

LATENTS = {
    "deepseek-ai/DeepSeek-V2-Lite": (model(
        "DeepseekV2ForCausalLM", "deepseek_v2", 2048, 10944, 27, 16, 16, 102400,
        **dict(latent(None, 128, 128), aux_loss_alpha=0.001, first_k_dense_replace=1,
               max_position_embeddings=163840, moe_intermediate_size=1408, n_group=1,
               n_routed_experts=64, n_shared_experts=2, norm_topk_prob=False,
               num_experts_per_tok=6, rms_norm_eps=1e-6,
               rope_scaling=yarn(40, mscale=0.707, mscale_all_dim=0.707), rope_theta=10000,
               routed_scaling_factor=1.0, scoring_func="softmax", seq_aux=True, topk_group=1,
               topk_method="greedy")), 15.7e9, None),
    "deepseek-ai/DeepSeek-V3": (model(
        "DeepseekV3ForCausalLM", "deepseek_v3", 7168, 18432, 61, 128, 128, 129280,
        **DEEPSEEK_V3), 671e9, None),
    "moonshotai/Kimi-K2-Instruct": (model(
        "DeepseekV3ForCausalLM", "kimi_k2", 7168, 18432, 61, 64, 64, 163840,
        **dict(DEEPSEEK_V3, first_k_dense_replace=1, max_position_embeddings=131072, n_group=1,
               n_routed_experts=384, num_nextn_predict_layers=0,
               rope_scaling=yarn(32.0, beta_fast=1.0, beta_slow=1.0), rope_theta=50000.0,
               routed_scaling_factor=2.827, topk_group=1)), 1.026e12, as_deepseek_v3),
    "deepseek-ai/DeepSeek-V3.2": (model(
        "DeepseekV32ForCausalLM", "deepseek_v32", 7168, 18432, 61, 128, 128, 129280,
        **DEEPSEEK_V3, index_head_dim=128, index_n_heads=64, index_topk=2048), 671e9, None),
    "zai-org/GLM-5": (model(
        "GlmMoeDsaForCausalLM", "glm_moe_dsa", 6144, 12288, 78, 64, 64, 154880,
        **latent(2048, 192, 256), first_k_dense_replace=3, index_head_dim=128, index_n_heads=32,
        index_topk=2048, max_position_embeddings=202752, moe_intermediate_size=2048, n_group=1,
        n_routed_experts=256, n_shared_experts=1, num_experts_per_tok=8,
        num_nextn_predict_layers=1, rms_norm_eps=1e-5,
        rope_parameters={"rope_theta": 1000000, "rope_type": "default"},
        routed_scaling_factor=2.5, topk_group=1), 744e9, None),
    "zai-org/GLM-4.7-Flash": (model(
        "Glm4MoeLiteForCausalLM", "glm4_moe_lite", 2048, 10240, 47, 20, 20, 154880,
        **latent(768, 192, 256), first_k_dense_replace=1, max_position_embeddings=202752,
        moe_intermediate_size=1536, n_group=1, n_routed_experts=64, n_shared_experts=1,
        num_experts_per_tok=4, num_nextn_predict_layers=1, partial_rotary_factor=1.0,
        rms_norm_eps=1e-5, rope_scaling=None, rope_theta=1000000, routed_scaling_factor=1.8,
        topk_group=1), 30e9, None),
    "mistralai/Mistral-Small-4-119B-2603": ({
        "architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3",
        "dtype": "bfloat16", "tie_word_embeddings": False, "image_token_index": 10,
        "spatial_merge_size": 2,
        "text_config": {
            "attention_bias": False, "attention_dropout": 0.0, "dtype": "bfloat16",
            "first_k_dense_replace": 0, "hidden_act": "silu", "hidden_size": 4096,
            "intermediate_size": 12288, "kv_lora_rank": 256,
            "max_position_embeddings": 1048576, "model_type": "mistral4",
            "moe_intermediate_size": 2048, "n_group": 1, "n_routed_experts": 128,
            "n_shared_experts": 1, "norm_topk_prob": True, "num_attention_heads": 32,
            "num_experts_per_tok": 4, "num_hidden_layers": 36, "num_key_value_heads": 32,
            "q_lora_rank": 1024, "qk_nope_head_dim": 64, "qk_rope_head_dim": 64,
            "rms_norm_eps": 1e-6, "rope_interleave": True,
            "rope_parameters": {
                "beta_fast": 32.0, "beta_slow": 1.0, "factor": 128.0,
                "llama_4_scaling_beta": 0.1, "max_position_embeddings": 1048576, "mscale": 1.0,
                "mscale_all_dim": 1.0, "original_max_position_embeddings": 8192,
                "partial_rotary_factor": 0.5, "rope_theta": 10000.0, "rope_type": "yarn",
                "type": "yarn"},
            "routed_scaling_factor": 1.0, "tie_word_embeddings": False, "topk_group": 1,
            "v_head_dim": 128, "vocab_size": 131072},
        "vision_config": {"head_dim": 64, "hidden_size": 1024, "image_size": 1540,
                          "intermediate_size": 4096, "model_type": "pixtral",
                          "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14}},
        119e9, None),
}

# ---- Gemma 4 ----


def gemma4(hidden, inner, layer_types, heads, kv_heads, **more):
    return {
        "architectures": ["Gemma4ForConditionalGeneration"], "model_type": "gemma4",
        "dtype": "bfloat16", "tie_word_embeddings": True, "audio_config": None,
        "vision_config": {"model_type": "gemma4_vision"},
        "text_config": {
            "attention_bias": False, "attention_dropout": 0.0, "attention_k_eq_v": False,
            "dtype": "bfloat16", "enable_moe_block": False, "final_logit_softcapping": 30.0,
            "global_head_dim": 512, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh",
            "hidden_size": hidden, "hidden_size_per_layer_input": 0,
            "intermediate_size": inner, "layer_types": layer_types,
            "max_position_embeddings": 262144, "model_type": "gemma4_text",
            "num_attention_heads": heads, "num_global_key_value_heads": None,
            "num_hidden_layers": len(layer_types), "num_key_value_heads": kv_heads,
            "num_kv_shared_layers": 0, "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1000000.0,
                                   "rope_type": "proportional"},
                "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"}},
            "sliding_window": 1024, "tie_word_embeddings": True, "use_cache": True,
            "use_double_wide_mlp": False, "vocab_size": 262144,
            "vocab_size_per_layer_input": 262144, **more}}


SMALL = dict(hidden_size_per_layer_input=256, max_position_embeddings=131072, sliding_window=512)
TOWERS = 0.167e9 + 0.305e9  # of images and of sound, which their cards count
FIVE_TO_ONE = [WINDOW] * 5 + [FULL]

GEMMA4 = {
    "google/gemma-4-31B-it": (gemma4(
        5376, 21504, FIVE_TO_ONE * 10, 32, 16, attention_k_eq_v=True,
        num_global_key_value_heads=4, use_bidirectional_attention="vision"), 30.7e9, None),
    "google/gemma-4-26B-A4B-it": (gemma4(
        2816, 2112, FIVE_TO_ONE * 5, 16, 8, attention_k_eq_v=True, enable_moe_block=True,
        moe_intermediate_size=704, num_experts=128, num_global_key_value_heads=2,
        top_k_experts=8, use_bidirectional_attention="vision"), 25.2e9, None),
    "google/gemma-4-E4B-it": (gemma4(
        2560, 10240, FIVE_TO_ONE * 7, 8, 2, num_kv_shared_layers=18, **SMALL),
        8.0e9 - TOWERS, None),
    "google/gemma-4-E2B-it": (gemma4(
        1536, 6144, ([WINDOW] * 4 + [FULL]) * 7, 8, 1, num_kv_shared_layers=20,
        use_double_wide_mlp=True, **SMALL), 5.1e9 - TOWERS, None),
}

ATTENTIONS = DELTA_NETS | LATENTS | GEMMA4
