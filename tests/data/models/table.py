# SPDX-License-Identifier: MIT
"""The models that make.py makes: what is said to the class, and what is changed once. Every trait of
a family is switched on, and each key is changed in a way that the likelihood shows."""

import dataclasses
import typing

import hub
from support.random_model import ABSENT

# Sequences are of 96 tokens: windows are shorter, and original lengths lie on either side.
SIZES = dict(vocab_size=128, hidden_size=64, intermediate_size=160, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
             bos_token_id=1, eos_token_id=2, pad_token_id=0)
FULL, WINDOW, CHUNK = "full_attention", "sliding_attention", "chunked_attention"
GEMMA_EMBEDDING = {r"embed_tokens": 0.6}  # multiplied by the root of the width


@dataclasses.dataclass
class Model:
    model_class: str
    options: dict
    changes: dict = dataclasses.field(default_factory=dict)
    config_class: str = ""
    dtype: str = "bfloat16"
    norms: typing.Optional[str] = None  # "1 + w"
    scales: dict = dataclasses.field(default_factory=dict)  # of random_model, by pattern
    fused: bool = False  # as transformers 5 names tensors in memory
    respell: bool = True
    describe: typing.Optional[typing.Callable] = None  # of what transformers lacks
    stand_in: typing.Optional[typing.Callable] = None

    def __post_init__(self):
        base = self.model_class.removesuffix("ForCausalLM")
        self.config_class = self.config_class or base + "Config"


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


def rope(theta, **more):
    return {"rope_type": "default", "rope_theta": theta, **more}


def yarn(**more):
    return rope(500.0, **{"rope_type": "yarn", "factor": 4.0,
                          "original_max_position_embeddings": 64, **more})


def theta(value=ABSENT):
    return {"rope_parameters": ABSENT if value == ABSENT else rope(value)}


MODELS = {
    "gemma": Model("GemmaForCausalLM", dict(head_dim=32, rope_parameters=rope(1000.0)),
                   {"theta": theta(300.0),
                    "defaults": {**theta(), "hidden_act": ABSENT, "rms_norm_eps": ABSENT},
                    "same: gelu means tanh's": {"hidden_act": "gelu"}},
                   norms="1 + w", scales=GEMMA_EMBEDDING),
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
    "glm4": Model("Glm4ForCausalLM", dict(head_dim=32, attention_bias=True, rms_norm_eps=0.01,
                                          rope_parameters=rope(500.0, partial_rotary_factor=0.5)), {
        "whole-head": {"rope_parameters": rope(500.0, partial_rotary_factor=1.0)},
        "defaults": {**theta(), "rms_norm_eps": ABSENT}}),
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
            "layer-types-absent": {"layer_types": ABSENT},
            "pattern": {"layer_types": ABSENT, "sliding_window_pattern": 2},
            "defaults": {**theta(), "logit_scale": ABSENT, "layer_norm_eps": ABSENT,
                         "sliding_window": ABSENT, "layer_types": ABSENT}}),
    "exaone4": Model("Exaone4ForCausalLM", dict(
        sliding_window=None, layer_types=[FULL, FULL], head_dim=16, rms_norm_eps=0.01,
        rope_parameters=rope(500.0, rope_type="llama3", factor=8.0, low_freq_factor=1.0,
                             high_freq_factor=4.0, original_max_position_embeddings=64)), {
            "no-scaling": theta(500.0),
            "defaults": {**theta(), "rms_norm_eps": ABSENT}}),
    "exaone4-window": Model("Exaone4ForCausalLM", dict(
        num_hidden_layers=4, intermediate_size=96, head_dim=32, sliding_window=40,
        sliding_window_pattern=2, layer_types=[WINDOW, FULL, FULL, WINDOW],
        rope_parameters=rope(500.0)), {
            "window-less-one": {"sliding_window": 39},
            "layers-elsewhere": {"layer_types": [FULL, WINDOW, WINDOW, FULL]},
            "pattern": {"layer_types": ABSENT},
            "defaults": {**theta(), "layer_types": ABSENT, "sliding_window_pattern": ABSENT,
                         "sliding_window": ABSENT}}),
    "starcoder2": Model("Starcoder2ForCausalLM", dict(
        use_bias=True, sliding_window=40, norm_epsilon=0.01, rope_parameters=rope(500.0)), {
            "window-less-one": {"sliding_window": 39},
            "no-window": {"sliding_window": None},
            "defaults": {**theta(), "norm_epsilon": ABSENT, "hidden_act": ABSENT,
                         "sliding_window": ABSENT}}),
    "stablelm": Model("StableLmForCausalLM", dict(
        num_attention_heads=2, num_key_value_heads=1, use_qkv_bias=True, layer_norm_eps=0.01,
        rope_parameters=rope(500.0, partial_rotary_factor=0.5)), {
            "whole-head": {"rope_parameters": rope(500.0, partial_rotary_factor=1.0)},
            "defaults": {**theta(), "layer_norm_eps": ABSENT}}),
    "stablelm-parallel": Model("StableLmForCausalLM", dict(
        num_attention_heads=2, num_key_value_heads=2, use_qkv_bias=True,
        use_parallel_residual=True, rope_parameters=rope(500.0, partial_rotary_factor=0.25)), {
            "whole-head": {"rope_parameters": rope(500.0, partial_rotary_factor=1.0)}}),
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

    # ---- mixtures ----
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
            "no-scaling": theta(500.0)}),
    "qwen3_moe-fused": Model("Qwen3MoeForCausalLM", dict(
        EXPERTS, num_experts=6, moe_intermediate_size=32, norm_topk_prob=True, head_dim=16,
        rope_parameters=rope(500.0)), fused=True, respell=False),
    "qwen3_vl_moe": Model("Qwen3VLMoeForConditionalGeneration", dict(
        text_config=dict(SIZES, **EXPERTS, num_experts=4, moe_intermediate_size=32, head_dim=32,
                         num_hidden_layers=3, mlp_only_layers=[1], attention_bias=True,
                         dtype="bfloat16", tie_word_embeddings=False,
                         rope_parameters=rope(500.0, mrope_section=[6, 5, 5],
                                              mrope_interleaved=True)),
        vision_config=dict(depth=1, hidden_size=32, intermediate_size=32, num_heads=2,
                           out_hidden_size=64, patch_size=2, num_position_embeddings=4,
                           deepstack_visual_indexes=[0])), {
            "theta": {"text_config.rope_parameters.rope_theta": 2000.0},
            "one-expert": {"text_config.num_experts_per_tok": 1},
            "same: the wrapper says whose the head is": {
                "text_config.tie_word_embeddings": ABSENT}},
        config_class="Qwen3VLMoeConfig", respell=False),
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
    "gpt_oss": Model("GptOssForCausalLM", dict(
        EXPERTS, num_local_experts=4, num_hidden_layers=3, intermediate_size=64, head_dim=32,
        sliding_window=40, layer_types=[FULL, WINDOW, WINDOW], attention_bias=True,
        rms_norm_eps=0.01, swiglu_limit=1.5,
        rope_parameters=yarn(truncate=False, beta_fast=3.0)), {
            "window-less-one": {"sliding_window": 39},
            "layer-types-absent": {"layer_types": ABSENT},
            "limit": {"swiglu_limit": 2.5},
            "alpha": {"swiglu_alpha": 1.3},
            "truncated": {"rope_parameters.truncate": True},
            "one-expert": {"num_experts_per_tok": 1},
            "no-scaling": theta(500.0),
            "defaults": {**theta(), "sliding_window": ABSENT, "layer_types": ABSENT,
                         "rms_norm_eps": ABSENT, "swiglu_limit": ABSENT,
                         "swiglu_alpha": ABSENT}},
        scales={r"experts\.gate_up_proj$": 1.5}),
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
            "same: rotary_dim": {"rope_parameters": ABSENT, "rope_theta": 500.0,
                                 "rotary_dim": 16},
            "defaults": {**theta(), "rms_norm_eps": ABSENT}}),
    "hunyuan_v1_moe": Model("HunYuanMoEV1ForCausalLM", dict(
        num_experts=4, moe_topk=[1, 2, 2], num_hidden_layers=3, intermediate_size=64, head_dim=32,
        attention_bias=True, rms_norm_eps=0.01, tie_word_embeddings=True,
        rope_parameters=rope(500.0, rope_type="dynamic", alpha=50.0, factor=1.0)), {
            "alpha": {"rope_parameters.alpha": 1000.0},
            "two-experts": {"moe_topk": 2},
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
            "defaults": {**theta(), "router_scaling_factor": ABSENT, "rms_norm_eps": ABSENT}}),
    "ernie4_5_moe": Model("Ernie4_5_MoeForCausalLM", dict(
        moe_k=2, moe_num_experts=8, moe_num_shared_experts=2, moe_intermediate_size=32,
        num_hidden_layers=4, moe_layer_start_index=1, moe_layer_end_index=2,
        intermediate_size=96, use_bias=True, rms_norm_eps=0.01, rope_parameters=rope(500.0)), {
            "one-expert": {"moe_k": 1},
            "divided-by-more": {"moe_norm_min": 0.9},
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
                         "layer_types": ABSENT}}),
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
            "short": {"rope_parameters.original_max_position_embeddings": 96},
            "long-mscale": {"rope_parameters.long_mscale": 1.1}}),

    # ---- what transformers has no class of ----
    **{name: Model("LlamaForCausalLM", {}, changes, describe=describe, stand_in=stand_in,
                   respell=False)
       for name, (describe, stand_in, changes) in hub.TABLE.items()},
}
