# SPDX-License-Identifier: MIT
"""The largest models of families: {name: (config.json, parameters, how its tensors are found)}."""

from support.random_model import ABSENT, changed

BF16 = {"torch_dtype": "bfloat16", "use_cache": True, "initializer_range": 0.02}
FULL, WINDOW = "full_attention", "sliding_attention"


def model(architecture, model_type, hidden, inner, layers, heads, kv_heads, vocab, **more):
    return {"architectures": [architecture], "model_type": model_type, "hidden_size": hidden,
            "intermediate_size": inner, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": kv_heads, "vocab_size": vocab,
            **BF16, **more}


def pattern(layers, *kinds):
    return [kinds[i % len(kinds)] for i in range(layers)]


def as_llama(config, tensors):
    """Tensors of a model that is a Llama but for its keys."""
    return tensors(changed(config, {"model_type": "llama", "auto_map": ABSENT}),
                   "LlamaForCausalLM")


def internlm2(config, _):
    hidden, inner, layers = (config[key] for key in ("hidden_size", "intermediate_size",
                                                     "num_hidden_layers"))
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    rows = hidden // heads * (heads + 2 * kv_heads)
    layer = {"attention.wqkv": [rows, hidden], "attention.wo": [hidden, hidden],
             "attention_norm": [hidden], "ffn_norm": [hidden], "feed_forward.w1": [inner, hidden],
             "feed_forward.w3": [inner, hidden], "feed_forward.w2": [hidden, inner]}
    ends = {"model.tok_embeddings.weight": [config["vocab_size"], hidden],
            "model.norm.weight": [hidden], "output.weight": [config["vocab_size"], hidden]}
    return {f"model.layers.{i}.{name}.weight": shape for i in range(layers)
            for name, shape in layer.items()} | ends


DENSE = {
    "google/gemma-7b": (model(
        "GemmaForCausalLM", "gemma", 3072, 24576, 28, 16, 16, 256000, head_dim=256,
        hidden_act="gelu", hidden_activation=None, max_position_embeddings=8192,
        rms_norm_eps=1e-6, rope_scaling=None, rope_theta=10000.0, attention_bias=False,
        bos_token_id=2, eos_token_id=1, pad_token_id=0), 8.54e9, None),
    "google/gemma-3-27b-it": ({
        "architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3",
        "boi_token_index": 255999, "eoi_token_index": 256000, "image_token_index": 262144,
        "initializer_range": 0.02, "mm_tokens_per_image": 256, "torch_dtype": "bfloat16",
        "text_config": {
            "head_dim": 128, "hidden_size": 5376, "intermediate_size": 21504,
            "model_type": "gemma3_text", "num_attention_heads": 32, "num_hidden_layers": 62,
            "num_key_value_heads": 16, "query_pre_attn_scalar": 168,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024},
        "vision_config": {
            "hidden_size": 1152, "image_size": 896, "intermediate_size": 4304,
            "model_type": "siglip_vision_model", "num_attention_heads": 16,
            "num_hidden_layers": 27, "patch_size": 14, "vision_use_head": False}}, 27.0e9, None),
    "zai-org/glm-4-9b-chat-hf": (model(
        "GlmForCausalLM", "glm", 4096, 13696, 40, 32, 2, 151552, head_dim=128, hidden_act="silu",
        attention_bias=True, attention_dropout=0.0, max_position_embeddings=131072,
        partial_rotary_factor=0.5, rms_norm_eps=1.5625e-07, rope_theta=10000.0,
        tie_word_embeddings=False), 9.4e9, None),
    "zai-org/GLM-4-32B-0414": (model(
        "Glm4ForCausalLM", "glm4", 6144, 23040, 61, 48, 2, 151552, head_dim=128,
        hidden_act="silu", attention_bias=False, attention_dropout=0.0,
        max_position_embeddings=32768, partial_rotary_factor=0.5, rms_norm_eps=1e-5,
        rope_theta=10000.0, tie_word_embeddings=False), 32.6e9, None),
    "allenai/OLMo-2-0325-32B": (model(
        "Olmo2ForCausalLM", "olmo2", 5120, 27648, 64, 40, 8, 100352, hidden_act="silu",
        attention_bias=False, max_position_embeddings=4096, rms_norm_eps=1e-6,
        rope_scaling=None, rope_theta=500000, tie_word_embeddings=False), 32.2e9, None),
    "allenai/Olmo-3-32B-Think": (model(
        "Olmo3ForCausalLM", "olmo3", 5120, 27648, 64, 40, 8, 100278, hidden_act="silu",
        attention_bias=False, max_position_embeddings=65536, rms_norm_eps=1e-6,
        sliding_window=4096, layer_types=pattern(64, WINDOW, WINDOW, WINDOW, FULL),
        rope_scaling={"attention_factor": 1.2079441541679836, "beta_fast": 32.0,
                      "beta_slow": 1.0, "factor": 8.0, "rope_type": "yarn",
                      "original_max_position_embeddings": 8192},
        rope_theta=500000, tie_word_embeddings=False), 32.2e9, None),
    "CohereLabs/c4ai-command-r-plus": (model(
        "CohereForCausalLM", "cohere", 12288, 33792, 64, 96, 8, 256000, hidden_act="silu",
        attention_bias=False, layer_norm_eps=1e-5, logit_scale=0.8333333333333334,
        max_position_embeddings=131072, rope_theta=75000000.0, use_qk_norm=True,
        tie_word_embeddings=True, bos_token_id=5, eos_token_id=255001, pad_token_id=0),
        103.8e9, None),
    "CohereLabs/c4ai-command-a-03-2025": (model(
        "Cohere2ForCausalLM", "cohere2", 12288, 36864, 64, 96, 8, 256000, head_dim=128,
        hidden_act="silu", attention_bias=False, layer_norm_eps=1e-5, logit_scale=0.25,
        max_position_embeddings=131072, order_of_interleaved_layers="local_attn_first",
        position_embedding_type="rope_gptj", rope_scaling=None, rope_theta=50000,
        rotary_pct=1.0, sliding_window=4096, sliding_window_pattern=4, use_embedding_sharing=True,
        use_gated_activation=True, use_parallel_block=True, use_parallel_embedding=True,
        use_qk_norm=False, cache_implementation="hybrid", tie_word_embeddings=True),
        111e9, None),
    "LGAI-EXAONE/EXAONE-4.0-32B": (model(
        "Exaone4ForCausalLM", "exaone4", 5120, 27392, 64, 40, 8, 102400, head_dim=128,
        hidden_act="silu", max_position_embeddings=131072, rms_norm_eps=1e-5,
        rope_scaling={"factor": 16.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                      "original_max_position_embeddings": 8192, "rope_type": "llama3"},
        rope_theta=1000000, sliding_window=4096, sliding_window_pattern="LLLG",
        layer_types=pattern(64, WINDOW, WINDOW, WINDOW, FULL), tie_word_embeddings=False),
        32.0e9, None),
    "bigcode/starcoder2-15b": (model(
        "Starcoder2ForCausalLM", "starcoder2", 6144, 24576, 40, 48, 4, 49152,
        hidden_act="gelu_pytorch_tanh", max_position_embeddings=16384, mlp_type="default",
        norm_epsilon=1e-5, norm_type="layer_norm", rope_theta=100000, sliding_window=4096,
        use_bias=True, tie_word_embeddings=False), 15.96e9, None),
    "stabilityai/stablelm-2-12b": (model(
        "StableLmForCausalLM", "stablelm", 5120, 13824, 40, 32, 8, 100352, hidden_act="silu",
        layer_norm_eps=1e-5, max_position_embeddings=4096, partial_rotary_factor=0.25,
        qk_layernorm=True, rope_theta=10000, use_parallel_residual=True, use_qkv_bias=False,
        tie_word_embeddings=False), 12.1e9, None),
    "nvidia/Nemotron-4-340B-Instruct": (model(
        "NemotronForCausalLM", "nemotron", 18432, 73728, 96, 96, 8, 256000, head_dim=192,
        hidden_act="relu2", attention_bias=False, mlp_bias=False, norm_eps=1e-5,
        max_position_embeddings=4096, partial_rotary_factor=0.5, rope_theta=10000,
        tie_word_embeddings=False), 341e9, None),
    "ByteDance-Seed/Seed-OSS-36B-Instruct": (model(
        "SeedOssForCausalLM", "seed_oss", 5120, 27648, 64, 80, 8, 155136, head_dim=128,
        hidden_act="silu", attention_bias=True, attention_out_bias=False, mlp_bias=False,
        attention_dropout=0.1, residual_dropout=0.1, max_position_embeddings=524288,
        rms_norm_eps=1e-6, rope_scaling={"rope_type": "default"}, rope_theta=10000000.0,
        tie_word_embeddings=False), 36.15e9, None),
    "tencent/Hunyuan-7B-Instruct": (model(
        "HunYuanDenseV1ForCausalLM", "hunyuan_v1_dense", 4096, 14336, 32, 32, 8, 128167,
        head_dim=128, attention_head_dim=128, hidden_act="silu", attention_bias=False,
        mlp_bias=False, max_position_embeddings=262144, rms_norm_eps=1e-5, norm_type="rms",
        rope_scaling={"alpha": 1000.0, "beta_fast": 32, "beta_slow": 1, "factor": 1.0,
                      "mscale": 1.0, "mscale_all_dim": 1.0, "type": "dynamic"},
        rope_theta=10000.0, use_qk_norm=True, use_cla=False, cla_share_factor=2,
        tie_word_embeddings=True), 7.5e9, None),
    "baidu/ERNIE-4.5-0.3B-PT": (model(
        "Ernie4_5ForCausalLM", "ernie4_5", 1024, 3072, 18, 16, 2, 103424, head_dim=128,
        hidden_act="silu", max_position_embeddings=131072, rms_norm_eps=1e-5,
        rope_theta=500000.0, use_bias=False, tie_word_embeddings=True), 0.361e9, None),
    "mistralai/Devstral-2-123B-Instruct-2512": (model(
        "Ministral3ForCausalLM", "ministral3", 12288, 28672, 88, 96, 8, 131072, head_dim=128,
        hidden_act="silu", attention_dropout=0.0, max_position_embeddings=262144,
        rms_norm_eps=1e-5, sliding_window=None, tie_word_embeddings=False,
        rope_parameters={"beta_fast": 4.0, "beta_slow": 1.0, "factor": 64.0, "mscale": 1.0,
                         "mscale_all_dim": 0.0, "original_max_position_embeddings": 4096,
                         "llama_4_scaling_beta": 0.0, "rope_theta": 1000000.0,
                         "rope_type": "yarn", "type": "yarn"}), 125e9, None),
    "mistralai/Mistral-Small-3.2-24B-Instruct-2506": ({
        "architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3",
        "image_token_index": 10, "multimodal_projector_bias": False,
        "projector_hidden_act": "gelu", "spatial_merge_size": 2, "torch_dtype": "bfloat16",
        "vision_feature_layer": -1, "tie_word_embeddings": False,
        "text_config": {
            "attention_dropout": 0.0, "head_dim": 128, "hidden_act": "silu", "hidden_size": 5120,
            "initializer_range": 0.02, "intermediate_size": 32768,
            "max_position_embeddings": 131072, "model_type": "mistral",
            "num_attention_heads": 32, "num_hidden_layers": 40, "num_key_value_heads": 8,
            "rms_norm_eps": 1e-5, "rope_theta": 1000000000.0, "sliding_window": None,
            "use_cache": True, "vocab_size": 131072},
        "vision_config": {
            "attention_dropout": 0.0, "head_dim": 64, "hidden_act": "silu", "hidden_size": 1024,
            "image_size": 1540, "initializer_range": 0.02, "intermediate_size": 4096,
            "model_type": "pixtral", "num_attention_heads": 16, "num_channels": 3,
            "num_hidden_layers": 24, "patch_size": 14, "rope_theta": 10000.0}}, 23.57e9, None),
    "internlm/internlm-20b": (model(
        "InternLMForCausalLM", "internlm", 5120, 13824, 60, 40, 40, 103168, hidden_act="silu",
        bias=False, max_position_embeddings=4096, rms_norm_eps=1e-6, tie_word_embeddings=False,
        auto_map={"AutoModelForCausalLM": "modeling_internlm.InternLMForCausalLM"}),
        20.1e9, as_llama),
    "internlm/internlm2_5-20b-chat": (model(
        "InternLM2ForCausalLM", "internlm2", 6144, 16384, 48, 48, 8, 92544, hidden_act="silu",
        attn_implementation="eager", bias=False, max_position_embeddings=32768,
        pretraining_tp=1, rms_norm_eps=1e-5, rope_scaling={"factor": 2.5, "type": "dynamic"},
        rope_theta=50000000, tie_word_embeddings=False,
        auto_map={"AutoModelForCausalLM": "modeling_internlm2.InternLM2ForCausalLM"}),
        19.86e9, internlm2),
    "internlm/internlm3-8b-instruct": (model(
        "InternLM3ForCausalLM", "internlm3", 4096, 10240, 48, 32, 2, 128512, head_dim=128,
        hidden_act="silu", attention_dropout=0.0, bias=False, qkv_bias=False,
        max_position_embeddings=32768, rms_norm_eps=1e-5,
        rope_scaling={"factor": 6.0, "rope_type": "dynamic"}, rope_theta=50000000,
        tie_word_embeddings=False,
        auto_map={"AutoModelForCausalLM": "modeling_internlm3.InternLM3ForCausalLM"}),
        8.8e9, as_llama),
}

DENSE |= {
    "mistralai/Mistral-Large-Instruct-2411": (model(
        "MistralForCausalLM", "mistral", 12288, 28672, 88, 96, 8, 32768, head_dim=128,
        hidden_act="silu", max_position_embeddings=131072, rms_norm_eps=1e-5,
        rope_theta=1000000.0, sliding_window=None, tie_word_embeddings=False), 122.6e9, None),
    "Qwen/Qwen2.5-72B-Instruct": (model(
        "Qwen2ForCausalLM", "qwen2", 8192, 29568, 80, 64, 8, 152064, hidden_act="silu",
        max_position_embeddings=32768, max_window_layers=70, rms_norm_eps=1e-6,
        rope_theta=1000000.0, sliding_window=131072, use_sliding_window=False,
        tie_word_embeddings=False), 72.7e9, None),
    "Qwen/Qwen3-32B": (model(
        "Qwen3ForCausalLM", "qwen3", 5120, 25600, 64, 64, 8, 151936, head_dim=128,
        attention_bias=False, hidden_act="silu", max_position_embeddings=40960,
        max_window_layers=64, rms_norm_eps=1e-6, rope_scaling=None, rope_theta=1000000,
        sliding_window=None, use_sliding_window=False, tie_word_embeddings=False), 32.8e9, None),
    "microsoft/phi-4": (model(
        "Phi3ForCausalLM", "phi3", 5120, 17920, 40, 40, 10, 100352, attention_bias=False,
        hidden_act="silu", max_position_embeddings=16384, original_max_position_embeddings=16384,
        rms_norm_eps=1e-5, rope_scaling=None, rope_theta=250000, sliding_window=None,
        tie_word_embeddings=False, pad_token_id=100349), 14.7e9, None),
    "google/gemma-2-27b-it": (model(
        "Gemma2ForCausalLM", "gemma2", 4608, 36864, 46, 32, 16, 256000, head_dim=128,
        attention_bias=False, attn_logit_softcapping=50.0, final_logit_softcapping=30.0,
        hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh",
        max_position_embeddings=8192, query_pre_attn_scalar=144, rms_norm_eps=1e-6,
        rope_theta=10000.0, sliding_window=4096), 27.2e9, None),
    "ibm-granite/granite-3.1-8b-instruct": (model(
        "GraniteForCausalLM", "granite", 4096, 12800, 40, 32, 8, 49155, attention_bias=False,
        attention_multiplier=0.0078125, embedding_multiplier=12.0, hidden_act="silu",
        logits_scaling=16.0, max_position_embeddings=131072, mlp_bias=False,
        residual_multiplier=0.22, rms_norm_eps=1e-5, rope_scaling=None, rope_theta=10000000.0,
        tie_word_embeddings=True), 8.17e9, None),
    "HuggingFaceTB/SmolLM3-3B": (model(
        "SmolLM3ForCausalLM", "smollm3", 2048, 11008, 36, 16, 4, 128256, attention_bias=False,
        hidden_act="silu", max_position_embeddings=65536, mlp_bias=False,
        no_rope_layer_interval=4, rms_norm_eps=1e-6, rope_scaling=None, rope_theta=5000000.0,
        sliding_window=None, use_sliding_window=False, tie_word_embeddings=True), 3.08e9, None),
}
