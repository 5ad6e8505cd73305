# SPDX-License-Identifier: MIT
"""Mixtures with multi-head latent attention: k and v out of a latent, one rotated key for all
heads. Values are narrower than keys."""

import json

from described import SIZES, Model, rope, yarn
from support import random_model, safetensors
from support.random_model import ABSENT

LATENT = dict(num_key_value_heads=4, q_lora_rank=64, kv_lora_rank=32, qk_nope_head_dim=16,
              qk_rope_head_dim=16, v_head_dim=24)
ROUTED = dict(n_routed_experts=8, num_experts_per_tok=2, moe_intermediate_size=32, n_group=4,
              topk_group=2, n_shared_experts=2, routed_scaling_factor=1.7, norm_topk_prob=True)
MLA = dict(LATENT, **ROUTED, num_hidden_layers=3, attention_bias=True, rms_norm_eps=0.01)
INDEXED = dict(index_topk=128, index_n_heads=2, index_head_dim=32)
INDEXER = random_model.CORRECTION.pattern + r"|indexer\.weights_proj"


def grown(**more):
    return yarn(**{"mscale": 1.2, "mscale_all_dim": 0.8, **more})


def as_scaling(**more):
    """Of the hub's config.json, which has it at top level and calls it `type`."""
    scaling = grown(**more)
    del scaling["rope_theta"], scaling["rope_type"]
    return {"rope_parameters": ABSENT, "rope_theta": 500.0,
            "rope_scaling": {"type": "yarn", "beta_fast": 32, "beta_slow": 1, **scaling}}


HUB = dict(aux_loss_alpha=0.001, ep_size=1, moe_layer_freq=1, pretraining_tp=1, seq_aux=True,
           head_dim=ABSENT, qk_head_dim=ABSENT)
V3 = dict(HUB, scoring_func="sigmoid", topk_method="noaux_tc")
GROUPS = {
    "groups": {"topk_group": 1},
    "no-groups": {"n_group": 1, "topk_group": 1},
    "factor": {"routed_scaling_factor": 1.0},
    "not-divided": {"norm_topk_prob": False}}
YARN = {
    "mscale": {"rope_parameters.mscale": 0.6},
    "mscale-all-dim": {"rope_parameters.mscale_all_dim": 1.1},
    "no-mscales": {"rope_parameters.mscale": ABSENT, "rope_parameters.mscale_all_dim": ABSENT},
    "attention-factor": {"rope_parameters.attention_factor": 1.3},
    "no-scaling": {"rope_parameters": rope(500.0)}}
SILENT = {"rope_parameters": ABSENT, "rms_norm_eps": ABSENT, "norm_topk_prob": ABSENT,
          "routed_scaling_factor": ABSENT}


def further_layer(number):
    """Some of the tensors of a layer that predicts further tokens."""
    return {f"model.layers.{number}.{name}.weight": shape for name, shape in {
        "eh_proj": [64, 128], "enorm": [64], "hnorm": [64], "input_layernorm": [64],
        "self_attn.q_a_proj": [64, 64], "mlp.shared_experts.up_proj": [32, 64],
        "shared_head.norm": [64]}.items()}


def as_deepseek_v3(folder, config, tensors):
    """What moonshotai's own code computes: transformers has no model_type of this name."""
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "deepseek_v3"}))
    safetensors.write_raw(folder / "model.safetensors", tensors)


LATENTS = {
    "deepseek_v2": Model("DeepseekV2ForCausalLM", dict(
        MLA, norm_topk_prob=False, topk_method="group_limited_greedy", topk_group=1,
        first_k_dense_replace=1, rope_parameters=grown()), {
            "greedy": {"topk_method": "greedy"},
            "factor": {"routed_scaling_factor": 1.0},
            **YARN,
            "same: as the hub has it": {**HUB, **as_scaling(), "scoring_func": "softmax"},
            "defaults": {**SILENT, "topk_method": ABSENT, "n_group": ABSENT,
                         "topk_group": ABSENT}}),
    "deepseek_v2-lite": Model("DeepseekV2ForCausalLM", dict(
        MLA, q_lora_rank=None, norm_topk_prob=False, topk_method="greedy", n_group=1,
        topk_group=1, attention_bias=False, routed_scaling_factor=1.0, num_hidden_layers=2,
        n_shared_experts=1, tie_word_embeddings=True, rope_parameters=grown()), {
            "theta": {"rope_parameters.rope_theta": 2000.0}}, dtype="float16"),
    "deepseek_v3": Model("DeepseekV3ForCausalLM", dict(
        MLA, first_k_dense_replace=1, rope_parameters=grown()), {
            **GROUPS, **YARN,
            "halves": {"rope_interleave": False},
            "linear": {"rope_parameters": rope(500.0, rope_type="linear", factor=4.0)},
            "same: pairs, if silent": {"rope_interleave": ABSENT},
            "same: as the hub has it": {**V3, **as_scaling(), "num_nextn_predict_layers": 1},
            "defaults": {**SILENT, "rope_interleave": ABSENT}},
        copied=further_layer(3)),
    "deepseek_v3-halves": Model("DeepseekV3ForCausalLM", dict(
        MLA, q_lora_rank=None, v_head_dim=32, n_group=1, topk_group=1, attention_bias=False,
        n_shared_experts=1, num_hidden_layers=2, first_k_dense_replace=0, rope_interleave=False,
        num_mtp_layers=0, rope_parameters=rope(500.0)), {
            "pairs": {"rope_interleave": True}}, dtype="float32"),
    "kimi_k2": Model("DeepseekV3ForCausalLM", dict(
        MLA, n_group=1, topk_group=1, n_shared_experts=1, attention_bias=False,
        first_k_dense_replace=1, num_hidden_layers=2, num_mtp_layers=0,
        rope_parameters=grown(mscale=1.0, mscale_all_dim=1.0)), {
            "factor": {"routed_scaling_factor": 1.0},
            "same: as the hub has it": {**V3, **as_scaling(mscale=1.0, mscale_all_dim=1.0)}},
        keys={"model_type": "kimi_k2"}, stand_in=as_deepseek_v3),
    "kimi_k25": Model("Kimi_K25ForConditionalGeneration", dict(
        text_config=dict(SIZES, **MLA, model_type="deepseek_v3", dtype="bfloat16",
                         tie_word_embeddings=False, first_k_dense_replace=1, num_mtp_layers=0,
                         rope_parameters=grown(mscale=1.0, mscale_all_dim=1.0)),
        vision_config=dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1,
                           num_attention_heads=2, patch_size=2, pos_emb_height=4,
                           pos_emb_width=4, pos_emb_time=2),
        projection_hidden_size=32, tie_word_embeddings=False), {
            "factor": {"text_config.routed_scaling_factor": 1.0},
            "same: as the hub has it": {"text_config.model_type": "kimi_k2"}},
        config_class="Kimi_K25Config", respell=False,
        names={r"^(language_model\.model)\.blocks": r"\1.layers",
               r"^model\.(mm_projector)": r"\1"}),
    "deepseek_v32": Model("DeepseekV32ForCausalLM", dict(
        MLA, **INDEXED, first_k_dense_replace=1, rope_parameters=grown()), {
            "groups": {"topk_group": 1},
            "mscale-all-dim": {"rope_parameters.mscale_all_dim": 1.1},
            "same: as many keys as tokens": {"index_topk": 96},
            "same: as the hub has it": {
                **V3, **as_scaling(), "mlp_layer_types": ABSENT, "layer_types": ABSENT,
                "first_k_dense_replace": 1},
            "defaults": {**SILENT, "index_topk": ABSENT}},
        single=INDEXER, copied=further_layer(3), keys={"num_nextn_predict_layers": 1}),
    "glm_moe_dsa": Model("GlmMoeDsaForCausalLM", dict(
        MLA, **INDEXED, first_k_dense_replace=1, indexer_types=["full", "shared", "full"],
        rope_parameters=rope(500.0)), {
            "groups": {"topk_group": 1},
            "same: every second indexer": {
                "indexer_types": ABSENT, "index_topk_freq": 2, "index_skip_topk_offset": 1},
            "same: a pattern of indexers": {"indexer_types": ABSENT, "index_topk_pattern": "FSF"},
            "same: as the hub has it": {
                "head_dim": 192, "index_topk_pattern": None, "index_topk_freq": 2,
                "index_skip_topk_offset": 1, "index_share_for_mtp_iteration": True,
                "indexer_rope_interleave": True, "rope_interleave": True, "moe_layer_freq": 1,
                "scoring_func": "sigmoid", "topk_method": "noaux_tc"},
            "defaults": {**SILENT, "n_group": ABSENT, "topk_group": ABSENT}},
        single=INDEXER),
    "glm4_moe_lite": Model("Glm4MoeLiteForCausalLM", dict(
        MLA, norm_topk_prob=False, rope_parameters=rope(500.0)), {
            "halves": {"rope_interleave": False},
            "same: the first is dense": {"mlp_layer_types": ABSENT},
            "same: as the hub has it": {
                "mlp_layer_types": ABSENT, "first_k_dense_replace": 1, "topk_method": "noaux_tc",
                "rope_scaling": None, "rope_theta": 500.0, "rope_parameters": ABSENT,
                "partial_rotary_factor": 1.0},
            "defaults": {**SILENT, "n_group": ABSENT, "topk_group": ABSENT,
                         "rope_interleave": ABSENT}}),
    "mistral4": Model("Mistral4ForCausalLM", dict(
        MLA, first_k_dense_replace=1, rope_parameters=grown(llama_4_scaling_beta=0.3)), {
            **GROUPS,
            "mscale-all-dim": {"rope_parameters.mscale_all_dim": 1.1},
            "halves": {"rope_interleave": False},
            "beta": {"rope_parameters.llama_4_scaling_beta": 0.1},
            "length": {"rope_parameters.original_max_position_embeddings": 32},
            "defaults": {**SILENT, "n_group": ABSENT, "topk_group": ABSENT}}),
    "mistral4-wrapped": Model("Mistral3ForConditionalGeneration", dict(
        text_config=dict(SIZES, **MLA, model_type="mistral4", dtype="bfloat16",
                         tie_word_embeddings=False, first_k_dense_replace=0,
                         rope_parameters=grown(llama_4_scaling_beta=0.3)),
        vision_config=dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1,
                           num_attention_heads=2, head_dim=16, image_size=4, patch_size=2,
                           model_type="pixtral"),
        image_token_index=200, tie_word_embeddings=False), {
            "beta": {"text_config.rope_parameters.llama_4_scaling_beta": 0.1}},
        config_class="Mistral3Config", respell=False),
}
