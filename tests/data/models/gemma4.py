# SPDX-License-Identifier: MIT
"""Gemma 4: values without weights in their norm, wider heads in full layers, whose keys are the
values, too; a dense MLP beside experts; k and v of earlier layers, and inputs of each layer."""

from described import FULL, GEMMA_EMBEDDING, SIZES, WINDOW, Model, rope
from support.random_model import ABSENT

ROPE = {FULL: rope(2000.0, rope_type="proportional", partial_rotary_factor=0.5),
        WINDOW: rope(100.0)}
GEMMA = dict(head_dim=16, global_head_dim=32, num_global_key_value_heads=1, attention_k_eq_v=True,
             sliding_window=40, final_logit_softcapping=4.0, hidden_size_per_layer_input=0,
             rms_norm_eps=0.01, attention_bias=True, rope_parameters=ROPE)
UNIFIED = {key: value for key, value in GEMMA.items() if key != "hidden_size_per_layer_input"}
EXPERTS = dict(enable_moe_block=True, num_experts=6, top_k_experts=2, moe_intermediate_size=32)
GLOBAL = {"per_layer_config": ABSENT, "global_head_dim": 32, "num_global_key_value_heads": 1}
TOWER = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
             num_key_value_heads=2, head_dim=16, patch_size=2, position_embedding_size=4,
             pooling_kernel_size=1)

GEMMA4 = {
    "gemma4_text": Model("Gemma4ForCausalLM", dict(
        GEMMA, num_hidden_layers=3, layer_types=[WINDOW, WINDOW, FULL]), {
            "window-less-one": {"sliding_window": 39},
            "cap": {"final_logit_softcapping": 8.0},
            "no-cap": {"final_logit_softcapping": None},
            "theta": {f"rope_parameters.{FULL}.rope_theta": 500.0},
            "window-theta": {f"rope_parameters.{WINDOW}.rope_theta": 500.0},
            "proportion": {f"rope_parameters.{FULL}.partial_rotary_factor": 0.25},
            "whole-if-silent": {f"rope_parameters.{FULL}.partial_rotary_factor": ABSENT},
            "factor": {f"rope_parameters.{FULL}.factor": 8.0},
            "same: the last is full, if silent": {"layer_types": ABSENT},
            "same: as the hub has it": {**GLOBAL, "use_bidirectional_attention": "vision"},
            "defaults": {"rope_parameters": ABSENT, "sliding_window": ABSENT,
                         "rms_norm_eps": ABSENT, "final_logit_softcapping": ABSENT,
                         "hidden_activation": ABSENT, "tie_word_embeddings": ABSENT,
                         "enable_moe_block": ABSENT, "num_kv_shared_layers": ABSENT}},
        config_class="Gemma4TextConfig", scales=GEMMA_EMBEDDING, respell=False),
    "gemma4_text-experts": Model("Gemma4ForCausalLM", dict(
        GEMMA, **EXPERTS, attention_bias=False, layer_types=[WINDOW, FULL]), {
            "one-expert": {"top_k_experts": 1},
            "same: as the hub has it": GLOBAL},
        config_class="Gemma4TextConfig", scales=GEMMA_EMBEDDING, respell=False),
    "gemma4_text-shared": Model("Gemma4ForCausalLM", dict(
        GEMMA, attention_k_eq_v=False, num_global_key_value_heads=None, num_hidden_layers=6,
        layer_types=[WINDOW, WINDOW, FULL, WINDOW, WINDOW, FULL], num_kv_shared_layers=3,
        use_double_wide_mlp=True, intermediate_size=96, hidden_size_per_layer_input=32,
        vocab_size_per_layer_input=128, attention_bias=False), {
            "window-less-one": {"sliding_window": 39},
            "proportion": {f"rope_parameters.{FULL}.partial_rotary_factor": 0.25},
            "same: as the hub has it": {"per_layer_config": ABSENT, "global_head_dim": 32,
                                        "num_global_key_value_heads": None}},
        config_class="Gemma4TextConfig", scales=GEMMA_EMBEDDING, respell=False,
        dropped={"model.layers.3.self_attn.k_proj.weight": [32, 64],
                "model.layers.3.self_attn.v_proj.weight": [32, 64],
                "model.layers.3.self_attn.k_norm.weight": [16],
                "model.layers.5.self_attn.k_proj.weight": [64, 64]}),
    "gemma4_unified_text": Model("Gemma4UnifiedForCausalLM", dict(
        UNIFIED, num_hidden_layers=3, layer_types=[WINDOW, FULL, FULL], num_kv_shared_layers=1), {
            "proportion": {f"rope_parameters.{FULL}.partial_rotary_factor": 0.25},
            "defaults": {"rope_parameters": ABSENT, "sliding_window": ABSENT,
                         "use_bidirectional_attention": ABSENT, "rms_norm_eps": ABSENT}},
        config_class="Gemma4UnifiedTextConfig", scales=GEMMA_EMBEDDING, respell=False),
    "gemma4": Model("Gemma4ForConditionalGeneration", dict(
        text_config=dict(SIZES, **GEMMA, **EXPERTS, layer_types=[WINDOW, FULL], dtype="bfloat16"),
        vision_config=TOWER, audio_config=None, image_token_id=1127, video_token_id=1126,
        audio_token_id=1125), {
            "window-less-one": {"text_config.sliding_window": 39}},
        config_class="Gemma4Config", scales=GEMMA_EMBEDDING, respell=False),
}
