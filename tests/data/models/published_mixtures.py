# SPDX-License-Identifier: MIT
"""The largest mixtures of families, as published.py."""

from published import model


def as_on_the_hub(config, tensors):
    """With the stacks of experts the other way round than transformers 5 has them."""
    return {name: [shape[0], shape[2], shape[1]] if len(shape) == 3 else shape
            for name, shape in tensors(config, config["architectures"][0]).items()}


HUNYUAN_ROPE = {"alpha": 1000.0, "beta_fast": 32, "beta_slow": 1, "factor": 1.0, "mscale": 1.0,
                "mscale_all_dim": 1.0, "type": "dynamic"}

MIXTURES = {
    "zai-org/GLM-4.6": (model(
        "Glm4MoeForCausalLM", "glm4_moe", 5120, 12288, 92, 96, 8, 151552, head_dim=128,
        hidden_act="silu", attention_bias=True, attention_dropout=0.0,
        partial_rotary_factor=0.5, max_position_embeddings=202752, moe_intermediate_size=1536,
        norm_topk_prob=True, n_group=1, topk_group=1, n_routed_experts=160, n_shared_experts=1,
        routed_scaling_factor=2.5, num_experts_per_tok=8, first_k_dense_replace=3,
        num_nextn_predict_layers=1, rms_norm_eps=1e-5, rope_scaling=None, rope_theta=1000000,
        tie_word_embeddings=False, use_qk_norm=True), 355e9, None),
    "MiniMaxAI/MiniMax-M2": (model(
        "MiniMaxM2ForCausalLM", "minimax_m2", 3072, 1536, 62, 48, 8, 200064, head_dim=128,
        hidden_act="silu", attn_type_list=[1] * 62, attention_dropout=0.0,
        max_position_embeddings=196608, mtp_transformer_layers=1, num_experts_per_tok=8,
        num_local_experts=256, num_mtp_modules=3, output_router_logits=False,
        qk_norm_type="per_layer", rms_norm_eps=1e-6, rope_theta=5000000, rotary_dim=64,
        router_aux_loss_coef=0.001, router_jitter_noise=0.0, scoring_func="sigmoid",
        shared_intermediate_size=0, sliding_window=None, tie_word_embeddings=False,
        use_mtp=True, use_qk_norm=True, use_routing_bias=True), 229e9, None),
    "tencent/Hy3": (model(
        "HYV3ForCausalLM", "hy_v3", 4096, 13312, 80, 64, 8, 120832, head_dim=128,
        hidden_act="silu", expert_hidden_dim=1536, moe_intermediate_size=1536,
        first_k_dense_replace=1, max_position_embeddings=262144, num_experts=192,
        num_experts_per_tok=8, num_nextn_predict_layers=1, num_shared_experts=1,
        rms_norm_eps=1e-5, rope_theta=11158840.0, router_scaling_factor=2.826,
        tie_word_embeddings=False), 295e9, None),
    "tencent/Hunyuan-A13B-Instruct": (model(
        "HunYuanMoEV1ForCausalLM", "hunyuan_v1_moe", 4096, 3072, 32, 32, 8, 128167,
        head_dim=128, attention_head_dim=128, hidden_act="silu", attention_bias=False,
        mlp_bias=False, max_position_embeddings=32768, moe_intermediate_size=[3072] * 32,
        moe_topk=[8] * 32, num_experts=64, num_shared_expert=[1] * 32, norm_type="rms",
        rms_norm_eps=1e-5, rope_scaling=HUNYUAN_ROPE, rope_theta=10000.0,
        tie_word_embeddings=True, use_cla=False, cla_share_factor=2, use_mixed_mlp_moe=True,
        use_qk_norm=True), 80.4e9, None),
    "meta-llama/Llama-4-Maverick-17B-128E-Instruct": ({
        "architectures": ["Llama4ForConditionalGeneration"], "model_type": "llama4",
        "boi_token_index": 200080, "eoi_token_index": 200081, "image_token_index": 200092,
        "tie_word_embeddings": False, "torch_dtype": "bfloat16",
        "text_config": {
            "attention_bias": False, "attention_chunk_size": 8192, "attention_dropout": 0.0,
            "attn_scale": 0.1, "attn_temperature_tuning": True, "bos_token_id": 200000,
            "eos_token_id": [200001, 200007, 200008], "floor_scale": 8192,
            "for_llm_compressor": False, "head_dim": 128, "hidden_act": "silu",
            "hidden_size": 5120, "initializer_range": 0.02, "interleave_moe_layer_step": 2,
            "intermediate_size": 8192, "intermediate_size_mlp": 16384,
            "max_position_embeddings": 1048576, "model_type": "llama4_text",
            "moe_layers": list(range(1, 48, 2)), "no_rope_layers": [1, 1, 1, 0] * 12,
            "num_attention_heads": 40, "num_experts_per_tok": 1, "num_hidden_layers": 48,
            "num_key_value_heads": 8, "num_local_experts": 128, "output_router_logits": False,
            "pad_token_id": 200018, "rms_norm_eps": 1e-5, "rope_scaling": None,
            "rope_theta": 500000.0, "router_aux_loss_coef": 0.001, "router_jitter_noise": 0.0,
            "torch_dtype": "bfloat16", "use_cache": True, "use_qk_norm": False,
            "vocab_size": 202048},
        "vision_config": {
            "hidden_size": 1408, "image_size": 336, "intermediate_size": 5632,
            "model_type": "llama4_vision_model", "num_attention_heads": 16,
            "num_hidden_layers": 34, "patch_size": 14, "projector_input_dim": 4096,
            "projector_output_dim": 4096, "vision_output_dim": 4096}}, 400e9, None),
    "openai/gpt-oss-120b": (model(
        "GptOssForCausalLM", "gpt_oss", 2880, 2880, 36, 64, 8, 201088, head_dim=64,
        hidden_act="silu", attention_bias=True, attention_dropout=0.0, experts_per_token=4,
        initial_context_length=4096, layer_types=["sliding_attention", "full_attention"] * 18,
        max_position_embeddings=131072, num_experts_per_tok=4, num_local_experts=128,
        output_router_logits=False, rms_norm_eps=1e-5,
        rope_scaling={"beta_fast": 32.0, "beta_slow": 1.0, "factor": 32.0,
                      "original_max_position_embeddings": 4096, "rope_type": "yarn",
                      "truncate": False},
        rope_theta=150000, router_aux_loss_coef=0.9, sliding_window=128, swiglu_limit=7.0,
        tie_word_embeddings=False), 116.8e9, None),
    "rednote-hilab/dots.llm1.inst": (model(
        "Dots1ForCausalLM", "dots1", 4096, 10944, 62, 32, 32, 152064, hidden_act="silu",
        attention_bias=False, attention_dropout=0.0, first_k_dense_replace=1,
        max_position_embeddings=32768, max_window_layers=62, moe_intermediate_size=1408,
        moe_layer_freq=1, n_group=1, n_routed_experts=128, n_shared_experts=2,
        norm_topk_prob=True, num_experts_per_tok=6, rms_norm_eps=1e-5, rope_scaling=None,
        rope_theta=10000000, routed_scaling_factor=2.5, scoring_func="noaux_tc",
        sliding_window=None, tie_word_embeddings=False, topk_group=1,
        use_sliding_window=False), 142.8e9, None),
    "baidu/ERNIE-4.5-300B-A47B-PT": (model(
        "Ernie4_5_MoeForCausalLM", "ernie4_5_moe", 8192, 28672, 54, 64, 8, 103424,
        hidden_act="silu", max_position_embeddings=131072, moe_intermediate_size=3584, moe_k=8,
        moe_layer_end_index=53, moe_layer_interval=1, moe_layer_start_index=3,
        moe_num_experts=64, moe_num_shared_experts=0, rms_norm_eps=1e-5, rope_theta=500000.0,
        tie_word_embeddings=False, use_bias=False), 299.6e9, None),
    "allenai/OLMoE-1B-7B-0924": (model(
        "OlmoeForCausalLM", "olmoe", 2048, 1024, 16, 16, 16, 50304, hidden_act="silu",
        attention_bias=False, clip_qkv=None, max_position_embeddings=4096,
        norm_topk_prob=False, num_experts=64, num_experts_per_tok=8,
        output_router_logits=False, rms_norm_eps=1e-5, rope_scaling=None, rope_theta=10000.0,
        router_aux_loss_coef=0.01, tie_word_embeddings=False), 6.92e9, None),
    "ibm-granite/granite-3.1-3b-a800m-instruct": (model(
        "GraniteMoeForCausalLM", "granitemoe", 1536, 512, 32, 24, 8, 49155, hidden_act="silu",
        attention_bias=False, attention_dropout=0.0, attention_multiplier=0.015625,
        embedding_multiplier=12.0, logits_scaling=6.0, max_position_embeddings=131072,
        num_experts_per_tok=8, num_local_experts=40, output_router_logits=False,
        residual_multiplier=0.22, rms_norm_eps=1e-6, rope_scaling=None, rope_theta=10000000.0,
        router_aux_loss_coef=0.0, tie_word_embeddings=True), 3.3e9, None),
    "microsoft/Phi-3.5-MoE-instruct": (model(
        "PhimoeForCausalLM", "phimoe", 4096, 6400, 32, 32, 8, 32064, hidden_act="silu",
        attention_bias=True, attention_dropout=0.0, hidden_dropout=0.0, input_jitter_noise=0.01,
        lm_head_bias=True, max_position_embeddings=131072, num_experts_per_tok=2,
        num_local_experts=16, output_router_logits=False, rms_norm_eps=1e-5,
        rope_theta=10000.0, router_aux_loss_coef=0.0, router_jitter_noise=0.01,
        sliding_window=131072, tie_word_embeddings=False), 41.9e9, None),
    "Qwen/Qwen3-VL-235B-A22B-Instruct": ({
        "architectures": ["Qwen3VLMoeForConditionalGeneration"], "model_type": "qwen3_vl_moe",
        "image_token_id": 151655, "video_token_id": 151656, "vision_start_token_id": 151652,
        "vision_end_token_id": 151653, "tie_word_embeddings": False,
        "text_config": {
            "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 151643,
            "decoder_sparse_step": 1, "dtype": "bfloat16", "eos_token_id": 151645,
            "head_dim": 128, "hidden_act": "silu", "hidden_size": 4096,
            "initializer_range": 0.02, "intermediate_size": 12288,
            "max_position_embeddings": 262144, "mlp_only_layers": [],
            "model_type": "qwen3_vl_moe_text", "moe_intermediate_size": 1536,
            "norm_topk_prob": True, "num_attention_heads": 64, "num_experts": 128,
            "num_experts_per_tok": 8, "num_hidden_layers": 94, "num_key_value_heads": 4,
            "rms_norm_eps": 1e-6,
            "rope_scaling": {"mrope_interleaved": True, "mrope_section": [24, 20, 20],
                             "rope_type": "default"},
            "rope_theta": 5000000, "use_cache": True, "vocab_size": 151936},
        "vision_config": {
            "deepstack_visual_indexes": [8, 16, 24], "depth": 27,
            "hidden_act": "gelu_pytorch_tanh", "hidden_size": 1152, "in_channels": 3,
            "initializer_range": 0.02, "intermediate_size": 4304, "model_type": "qwen3_vl_moe",
            "num_heads": 16, "num_position_embeddings": 2304, "out_hidden_size": 4096,
            "patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2}},
        235e9, as_on_the_hub),
}

MIXTURES |= {
    "mistralai/Mixtral-8x22B-Instruct-v0.1": (model(
        "MixtralForCausalLM", "mixtral", 6144, 16384, 56, 48, 8, 32768, hidden_act="silu",
        max_position_embeddings=65536, num_experts_per_tok=2, num_local_experts=8,
        rms_norm_eps=1e-5, rope_theta=1000000.0, sliding_window=None, tie_word_embeddings=False),
        140.6e9, None),
    "Qwen/Qwen2-57B-A14B-Instruct": (model(
        "Qwen2MoeForCausalLM", "qwen2_moe", 3584, 18944, 28, 28, 4, 151936, hidden_act="silu",
        decoder_sparse_step=1, max_position_embeddings=32768, max_window_layers=28,
        moe_intermediate_size=2560, norm_topk_prob=False, num_experts=64, num_experts_per_tok=8,
        rms_norm_eps=1e-6, rope_theta=1000000.0, shared_expert_intermediate_size=20480,
        sliding_window=65536, use_sliding_window=False, tie_word_embeddings=False), 57.4e9, None),
}
