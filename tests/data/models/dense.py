# SPDX-License-Identifier: MIT
"""Dense models, and those inside a wrapper."""

from described import FULL, GEMMA_EMBEDDING, SIZES, WINDOW, Model, rope, theta, yarn
from support.random_model import ABSENT

DENSE = {
    "gemma": Model("GemmaForCausalLM", dict(head_dim=32, rope_parameters=rope(1000.0)),
                   {"theta": theta(300.0),
                    "defaults": {**theta(), "hidden_act": ABSENT, "rms_norm_eps": ABSENT},
                    "same: gelu means tanh's": {"hidden_act": "gelu"}},
                   norms="1 + w", scales=GEMMA_EMBEDDING,
        dtype="float32"),
    "gemma3_text": Model("Gemma3ForCausalLM", dict(
        num_hidden_layers=3, head_dim=32, query_pre_attn_scalar=24, sliding_window=40,
        layer_types=[WINDOW, FULL, WINDOW], final_logit_softcapping=12.0,
        rms_norm_eps=0.01,
        rope_parameters={FULL: rope(2000.0, rope_type="linear", factor=8.0),
                         WINDOW: rope(100.0)}), {
            "window-less-one": {"sliding_window": 39},
            "windows-elsewhere": {"layer_types": [FULL, WINDOW, FULL]},
            "same: by the pattern": {"layer_types": ABSENT, "sliding_window_pattern": 2},
            "pattern": {"layer_types": ABSENT, "sliding_window_pattern": 3},
            "layer-types-absent": {"layer_types": ABSENT},
            "no-scaling": {"rope_parameters": {FULL: rope(2000.0), WINDOW: rope(100.0)}},
            "theta-of-windows": {"rope_parameters": {
                FULL: rope(2000.0, rope_type="linear", factor=8.0), WINDOW: rope(200.0)}},
            "scale-of-the-head": {"query_pre_attn_scalar": 32},
            "logits-not-capped": {"final_logit_softcapping": ABSENT},
            "defaults": {**theta(), "query_pre_attn_scalar": ABSENT, "sliding_window": ABSENT,
                         "layer_types": ABSENT, "rms_norm_eps": ABSENT,
                         "hidden_activation": ABSENT}},
        config_class="Gemma3TextConfig", norms="1 + w", scales=GEMMA_EMBEDDING),
    "glm": Model("GlmForCausalLM", dict(head_dim=32, attention_bias=True, rms_norm_eps=0.01,
                                        rope_parameters=rope(500.0, partial_rotary_factor=0.5)), {
        "whole-head": {"rope_parameters": rope(500.0, partial_rotary_factor=1.0)},
        "quarter": {"rope_parameters": rope(500.0, partial_rotary_factor=0.25)},
        "defaults": {**theta(), "rms_norm_eps": ABSENT}}),
    "helium": Model("HeliumForCausalLM", dict(head_dim=16, attention_bias=True, mlp_bias=True,
                                              rope_parameters=rope(500.0)), {
        "theta": theta(2000.0),
        "defaults": {**theta(), "rms_norm_eps": ABSENT}}),
    "glm4": Model("Glm4ForCausalLM", dict(head_dim=32, attention_bias=True, rms_norm_eps=0.01,
                                          rope_parameters=rope(500.0, partial_rotary_factor=0.5)), {
        "whole-head": {"rope_parameters": rope(500.0, partial_rotary_factor=1.0)},
        "defaults": {**theta(), "rms_norm_eps": ABSENT}},
        dtype="float16"),
    "olmo2": Model("Olmo2ForCausalLM", dict(attention_bias=True, rms_norm_eps=0.01,
                                            rope_parameters=rope(500.0)), {
        "theta": theta(2000.0),
        "defaults": {**theta(), "rms_norm_eps": ABSENT}}),
    "olmo3": Model("Olmo3ForCausalLM", dict(
        num_hidden_layers=3, sliding_window=40, layer_types=[WINDOW, FULL, WINDOW],
        attention_bias=True, rms_norm_eps=0.01,
        rope_parameters={FULL: yarn(rope_theta=5e5, attention_factor=1.3), WINDOW: rope(5e5)}), {
            "window-less-one": {"sliding_window": 39},
            "windows-elsewhere": {"layer_types": [FULL, WINDOW, FULL]},
            "layer-types-absent": {"layer_types": ABSENT},
            "thetas": {"rope_parameters": {FULL: rope(500.0), WINDOW: rope(300.0)}},
            "defaults": {**theta(), "layer_types": ABSENT, "sliding_window": ABSENT,
                         "rms_norm_eps": ABSENT}}),
    "cohere": Model("CohereForCausalLM", dict(
        use_qk_norm=True, logit_scale=0.7, layer_norm_eps=0.01, attention_bias=True,
        rope_parameters=rope(500.0)), {
            "logit-scale": {"logit_scale": 0.5},
            "defaults": {**theta(), "logit_scale": ABSENT, "layer_norm_eps": ABSENT}}),
    "cohere2": Model("Cohere2ForCausalLM", dict(
        num_hidden_layers=4, logit_scale=0.7, layer_norm_eps=0.01, attention_bias=True,
        sliding_window=40, layer_types=[WINDOW, FULL, FULL, WINDOW], intermediate_size=96,
        rope_parameters=rope(500.0)), {
            "window-less-one": {"sliding_window": 39},
            "layers-elsewhere": {"layer_types": [FULL, WINDOW, WINDOW, FULL]},
            "same: as the hub has it": {
                "use_parallel_block": True, "use_gated_activation": True, "use_qk_norm": False,
                "use_parallel_embedding": False, "use_embedding_sharing": True, "rotary_pct": 1.0,
                "position_embedding_type": "rope_gptj", "cache_implementation": "hybrid",
                "order_of_interleaved_layers": "local_attn_first", "sliding_window_pattern": 4},
            "layer-types-absent": {"layer_types": ABSENT},
            "pattern": {"layer_types": ABSENT, "sliding_window_pattern": 2},
            "defaults": {**theta(), "logit_scale": ABSENT, "layer_norm_eps": ABSENT,
                         "sliding_window": ABSENT, "layer_types": ABSENT}},
        dtype="float32"),
    "exaone4": Model("Exaone4ForCausalLM", dict(
        sliding_window=None, layer_types=[FULL, FULL], head_dim=16, rms_norm_eps=0.01,
        rope_parameters=rope(500.0, rope_type="llama3", factor=8.0, low_freq_factor=1.0,
                             high_freq_factor=4.0, original_max_position_embeddings=64)), {
            "no-scaling": theta(500.0),
            "defaults": {**theta(), "rms_norm_eps": ABSENT}},
        dtype="float32"),
    "exaone4-window": Model("Exaone4ForCausalLM", dict(
        num_hidden_layers=4, intermediate_size=96, head_dim=32, sliding_window=40,
        sliding_window_pattern=2, layer_types=[WINDOW, FULL, FULL, WINDOW],
        rope_parameters=rope(500.0)), {
            "window-less-one": {"sliding_window": 39},
            "layers-elsewhere": {"layer_types": [FULL, WINDOW, WINDOW, FULL]},
            "pattern": {"layer_types": ABSENT},
            "same: letters beside the types": {"sliding_window_pattern": "LLLG"},
            "defaults": {**theta(), "layer_types": ABSENT, "sliding_window_pattern": ABSENT,
                         "sliding_window": ABSENT}}),
    "starcoder2": Model("Starcoder2ForCausalLM", dict(
        use_bias=True, sliding_window=40, norm_epsilon=0.01, rope_parameters=rope(500.0)), {
            "window-less-one": {"sliding_window": 39},
            "no-window": {"sliding_window": None},
            "defaults": {**theta(), "norm_epsilon": ABSENT, "hidden_act": ABSENT,
                         "sliding_window": ABSENT}},
        dtype="float32"),
    "stablelm": Model("StableLmForCausalLM", dict(
        num_attention_heads=2, num_key_value_heads=1, use_qkv_bias=True, layer_norm_eps=0.01,
        rope_parameters=rope(500.0, partial_rotary_factor=0.5)), {
            "whole-head": {"rope_parameters": rope(500.0, partial_rotary_factor=1.0)},
            "defaults": {**theta(), "layer_norm_eps": ABSENT}}),
    "stablelm-parallel": Model("StableLmForCausalLM", dict(
        num_attention_heads=2, num_key_value_heads=2, use_qkv_bias=True,
        use_parallel_residual=True, rope_parameters=rope(500.0, partial_rotary_factor=0.25)), {
            "whole-head": {"rope_parameters": rope(500.0, partial_rotary_factor=1.0)}},
        dtype="float16"),
    "stablelm-qk": Model("StableLmForCausalLM", dict(
        qk_layernorm=True, use_parallel_residual=True,
        rope_parameters=rope(500.0, partial_rotary_factor=0.5)), {
            "whole-head": {"rope_parameters": rope(500.0, partial_rotary_factor=1.0)}}),
    "nemotron": Model("NemotronForCausalLM", dict(
        head_dim=32, attention_bias=True, mlp_bias=True, norm_eps=0.01,
        rope_parameters=rope(500.0, partial_rotary_factor=0.5)), {
            "whole-head": {"rope_parameters": rope(500.0, partial_rotary_factor=1.0)},
            "defaults": {**theta(), "norm_eps": ABSENT, "hidden_act": ABSENT}},
        norms="1 + w"),
    "seed_oss": Model("SeedOssForCausalLM", dict(
        head_dim=32, attention_bias=True, attention_out_bias=True, mlp_bias=True,
        rms_norm_eps=0.01, rope_parameters=rope(500.0)), {
            "theta": theta(2000.0),
            "defaults": {**theta(), "rms_norm_eps": ABSENT}}),
    "hunyuan_v1_dense": Model("HunYuanDenseV1ForCausalLM", dict(
        head_dim=32, attention_bias=True, rms_norm_eps=0.01, tie_word_embeddings=True,
        rope_parameters=rope(500.0, rope_type="dynamic", alpha=50.0, factor=1.0)), {
            "alpha": {"rope_parameters.alpha": 1000.0},
            "no-scaling": theta(500.0),
            "defaults": {**theta(), "rms_norm_eps": ABSENT}}),
    "ernie4_5": Model("Ernie4_5ForCausalLM", dict(
        head_dim=32, use_bias=True, rms_norm_eps=0.01, rope_parameters=rope(500.0)), {
            "theta": theta(2000.0),
            "defaults": {**theta(), "rms_norm_eps": ABSENT}}),
    "ministral3": Model("Ministral3ForCausalLM", dict(
        head_dim=32, sliding_window=None, rope_parameters=yarn(
            original_max_position_embeddings=32, mscale=1.0, mscale_all_dim=0.5,
            llama_4_scaling_beta=0.4, beta_fast=2.0, beta_slow=0.5)), {
            "beta": {"rope_parameters.llama_4_scaling_beta": 0.8},
            "beta-fast": {"rope_parameters.beta_fast": 4.0},
            "beta-slow": {"rope_parameters.beta_slow": 1.0},
            "mscales-equal": {"rope_parameters.mscale": 0.5},
            "factor": {"rope_parameters.factor": 16.0},
            "original": {"rope_parameters.original_max_position_embeddings": 24},
            "window": {"sliding_window": 40}}),
    "llama-yarn": Model("LlamaForCausalLM", dict(
        rms_norm_eps=0.01, rope_parameters=yarn(beta_fast=3.0)), {
            "no-scaling": theta(500.0),
            "attention-factor": {"rope_parameters.attention_factor": 1.5},
            "not-truncated": {"rope_parameters.truncate": False},
            "betas-absent": {"rope_parameters.beta_fast": ABSENT},
            "beta-slow": {"rope_parameters.beta_slow": 0.3},
            "original-longer": {"rope_parameters.original_max_position_embeddings": 128},
            "mscales": {"rope_parameters.mscale": 0.7,
                        "rope_parameters.mscale_all_dim": 1.0},
            "mscale-alone": {"rope_parameters.mscale": 0.7, "rope_parameters.factor": 8.0},
            "defaults": {**theta(), "rms_norm_eps": ABSENT}}),
    "llama-dynamic": Model("LlamaForCausalLM", dict(
        attention_bias=True, mlp_bias=True,
        rope_parameters=rope(500.0, rope_type="dynamic", factor=4.0)), {
            "same: within its positions": theta(500.0), "theta": theta(2000.0)}),
    "mistral-window": Model("MistralForCausalLM", dict(
        head_dim=32, sliding_window=40, rope_parameters=yarn()), {
            "window-less-one": {"sliding_window": 39},
            "no-window": {"sliding_window": None},
            "no-scaling": theta(500.0)}),
    "qwen2-window": Model("Qwen2ForCausalLM", dict(
        num_hidden_layers=3, use_sliding_window=True, sliding_window=40, max_window_layers=1,
        layer_types=None, rope_parameters=yarn()), {
            "window-less-one": {"sliding_window": 39},
            "layers-elsewhere": {"layer_types": [WINDOW, FULL, WINDOW]},
            "same: by max_window_layers": {"layer_types": ABSENT},
            "two-without": {"layer_types": ABSENT, "max_window_layers": 2},
            "window-off": {"layer_types": ABSENT, "use_sliding_window": False},
            "no-scaling": theta(500.0)}),
    "qwen3-window": Model("Qwen3ForCausalLM", dict(
        num_hidden_layers=3, head_dim=32, use_sliding_window=True, sliding_window=40,
        max_window_layers=1, attention_bias=True, rope_parameters=rope(1000.0)), {
            "window-less-one": {"sliding_window": 39},
            "layers-elsewhere": {"layer_types": [WINDOW, FULL, WINDOW]},
            "same: by max_window_layers": {"layer_types": ABSENT},
            "window-off": {"layer_types": ABSENT, "use_sliding_window": False},
            "yarn": {"rope_parameters": yarn()}}),
    "gemma3": Model("Gemma3ForConditionalGeneration", dict(
        text_config=dict(SIZES, num_hidden_layers=3, head_dim=32, query_pre_attn_scalar=24,
                         sliding_window=40, layer_types=[WINDOW, FULL, WINDOW],
                         dtype="bfloat16",
                         rope_parameters={FULL: rope(2000.0, rope_type="linear", factor=8.0),
                                          WINDOW: rope(100.0)}),
        vision_config=dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1,
                           num_attention_heads=2, image_size=4, patch_size=2),
        image_token_index=127, boi_token_index=126, eoi_token_index=125), {
            "window-less-one": {"text_config.sliding_window": 39},
            "scale-of-the-head": {"text_config.query_pre_attn_scalar": 32}},
        config_class="Gemma3Config", norms="1 + w", scales=GEMMA_EMBEDDING, respell=False),
    "mistral3": Model("Mistral3ForConditionalGeneration", dict(
        text_config=dict(SIZES, model_type="ministral3", head_dim=32, sliding_window=None,
                         dtype="bfloat16",
                         rope_parameters=yarn(original_max_position_embeddings=32,
                                              mscale=1.0, mscale_all_dim=1.0,
                                              llama_4_scaling_beta=0.4)),
        vision_config=dict(model_type="pixtral", hidden_size=32, intermediate_size=32,
                           num_hidden_layers=1, num_attention_heads=2, image_size=4,
                           patch_size=2), image_token_index=127, tie_word_embeddings=False), {
            "beta": {"text_config.rope_parameters.llama_4_scaling_beta": 0.8},
            "factor": {"text_config.rope_parameters.factor": 16.0}},
        config_class="Mistral3Config", respell=False),
}
