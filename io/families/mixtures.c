/* SPDX-License-Identifier: MIT */
#include "io/families/mixtures.h"

/* Whoever's experts are called as those of llama's MLP. */
#define AS_MLP  .module = "mlp", .gate = "gate_proj", .up = "up_proj", .down = "down_proj"
#define AS_W123 .gate = "w1", .up = "w3", .down = "w2"

const awq_mixture awq_mixture_mixtral = {.count_key = "num_local_experts",
                                         .routing = {.normalized = true},
                                         .module = "block_sparse_moe",
                                         AS_W123,
                                         .router = "gate",
                                         .router_alias = "mlp.gate"};

const awq_mixture awq_mixture_phimoe = {
    .count_key = "num_local_experts",
    .active = 2,
    .routing = {.score = AWQ_SCORE_SPARSEMIXER, .margin_key = "router_jitter_noise"},
    .module = "block_sparse_moe",
    AS_W123,
    .router = "gate",
    .router_alias = "mlp.router"};

const awq_mixture awq_mixture_minimax_m2 = {
    .count_key = "num_local_experts",
    .routing = {.score = AWQ_SCORE_SIGMOID, .normalized = true},
    .module = "block_sparse_moe",
    AS_W123,
    .router = "gate",
    .router_alias = "mlp.gate",
    .correction = "block_sparse_moe.e_score_correction_bias",
    .correction_alias = "mlp.e_score_correction_bias"};

#define AS_QWEN2_MOE                                                                               \
    .count_key = "num_experts", .width_key = "moe_intermediate_size",                              \
    .shared_width_key = "shared_expert_intermediate_size", .shared = true, AS_MLP,                 \
    .router = "gate", .shared_module = "mlp.shared_expert", .shared_gate = "shared_expert_gate"

const awq_mixture awq_mixture_qwen2_moe = {AS_QWEN2_MOE, .layers = AWQ_SPARSE_STEP,
                                           .routing = {.normalized_key = "norm_topk_prob"}};

const awq_mixture awq_mixture_qwen3_next = {
    AS_QWEN2_MOE, .active = 10, .layers = AWQ_SPARSE_STEP,
    .routing = {.normalized = true, .normalized_key = "norm_topk_prob"}};

const awq_mixture awq_mixture_qwen3_5_moe = {
    AS_QWEN2_MOE, .active = 8, .routing = {.normalized = true, .normalized_fixed = true}};

const awq_mixture awq_mixture_qwen3_moe = {.count_key = "num_experts",
                                           .width_key = "moe_intermediate_size",
                                           .layers = AWQ_SPARSE_STEP,
                                           .routing = {.normalized_key = "norm_topk_prob"},
                                           AS_MLP,
                                           .router = "gate"};

static const awq_stacks qwen3_vl_moe = {"mlp.experts.gate_up_proj", "mlp.experts.down_proj",
                                        .transposed = true, .either = true};

const awq_mixture awq_mixture_qwen3_vl_moe = {.count_key = "num_experts",
                                              .active = 4,
                                              .width_key = "moe_intermediate_size",
                                              .layers = AWQ_SPARSE_STEP,
                                              .routing = {.normalized = true},
                                              AS_MLP,
                                              .router = "gate",
                                              .stacks = &qwen3_vl_moe};

const awq_mixture awq_mixture_olmoe = {.count_key = "num_experts",
                                       .active = 8,
                                       .routing = {.normalized_key = "norm_topk_prob"},
                                       AS_MLP,
                                       .router = "gate"};

static const awq_stacks granite = {.gate_up = "block_sparse_moe.input_linear.weight",
                                   .down = "block_sparse_moe.output_linear.weight"};

#define AS_GRANITE                                                                                 \
    .count_key = "num_local_experts", .active = 2, .routing = {.normalized = true},                \
    .module = "block_sparse_moe", AS_W123, .router = "router.layer",                               \
    .router_alias = "block_sparse_moe.router", .stacks = &granite

const awq_mixture awq_mixture_granitemoe = {AS_GRANITE};
const awq_mixture awq_mixture_granitemoeshared = {AS_GRANITE,
                                                  .shared_width_key = "shared_intermediate_size",
                                                  .shared = true,
                                                  .shared_optional = true,
                                                  .shared_module = "shared_mlp",
                                                  .shared_gate_up = "input_linear",
                                                  .shared_down = "output_linear"};

/* Whoever has DeepSeek-V3's experts. */
#define AS_DEEPSEEK_EXPERTS                                                                        \
    .count_key = "n_routed_experts", .width_key = "moe_intermediate_size",                         \
    .shared_count_key = "n_shared_experts", .shared = true, AS_MLP, .router = "gate",              \
    .shared_module = "mlp.shared_experts"
#define AS_DEEPSEEK                                                                                \
    AS_DEEPSEEK_EXPERTS, .layers = AWQ_SPARSE_FIRST_DENSE,                                         \
                         .correction = "mlp.gate.e_score_correction_bias"
#define AS_DEEPSEEK_ROUTES                                                                         \
    .score = AWQ_SCORE_SIGMOID, .normalized_key = "norm_topk_prob",                                \
    .factor_key = "routed_scaling_factor", .grouped = true

const awq_mixture awq_mixture_glm4_moe = {AS_DEEPSEEK, .active = 8, .first_dense = 1,
                                          .routing = {AS_DEEPSEEK_ROUTES, .normalized = true}};

const awq_mixture awq_mixture_dots1 = {AS_DEEPSEEK, .routing = {AS_DEEPSEEK_ROUTES}};

const awq_mixture awq_mixture_deepseek_v2 = {AS_DEEPSEEK_EXPERTS, .layers = AWQ_SPARSE_FIRST_DENSE,
                                             .routing = {.normalized_fixed = true,
                                                         .factor_key = "routed_scaling_factor",
                                                         .grouped = true,
                                                         .group_best = 1,
                                                         .group_method = true}};

#define AS_DEEPSEEK_V3_ROUTES                                                                      \
    AS_DEEPSEEK_ROUTES, .normalized = true, .factor = 2.5, .groups = 8, .active_groups = 4

const awq_mixture awq_mixture_deepseek_v3 = {AS_DEEPSEEK, .active = 8, .first_dense = 3,
                                             .routing = {AS_DEEPSEEK_V3_ROUTES}};

/* .. whose layers are listed. */
#define AS_DEEPSEEK_V32                                                                            \
    AS_DEEPSEEK_EXPERTS, .layers = AWQ_SPARSE_TYPES,                                               \
                         .correction = "mlp.gate.e_score_correction_bias"

const awq_mixture awq_mixture_deepseek_v32 = {AS_DEEPSEEK_V32, .active = 8, .first_dense = 3,
                                              .routing = {AS_DEEPSEEK_V3_ROUTES}};

const awq_mixture awq_mixture_glm_moe_dsa = {
    AS_DEEPSEEK_V32, .active = 8, .first_dense = 3,
    .routing = {AS_DEEPSEEK_ROUTES, .normalized = true, .factor = 2.5}};

const awq_mixture awq_mixture_glm4_moe_lite = {
    AS_DEEPSEEK_V32, .active = 4, .first_dense = 1,
    .routing = {AS_DEEPSEEK_ROUTES, .normalized = true, .factor = 1.8}};

const awq_mixture awq_mixture_mistral4 = {AS_DEEPSEEK_EXPERTS, .active = 4,
                                          .layers = AWQ_SPARSE_FIRST_DENSE,
                                          .routing = {.normalized = true,
                                                      .normalized_key = "norm_topk_prob",
                                                      .factor_key = "routed_scaling_factor",
                                                      .grouped = true}};

const awq_mixture awq_mixture_hy_v3 = {.count_key = "num_experts",
                                       .active = 8,
                                       .width_key = "moe_intermediate_size",
                                       .shared_count_key = "num_shared_experts",
                                       .shared = true,
                                       .layers = AWQ_SPARSE_TYPES,
                                       .first_dense = 1,
                                       .routing = {.score = AWQ_SCORE_SIGMOID,
                                                   .normalized = true,
                                                   .factor_key = "router_scaling_factor",
                                                   .factor = 2.826},
                                       AS_MLP,
                                       .router = "router.gate",
                                       .router_alias = "mlp.gate",
                                       .shared_module = "mlp.shared_mlp",
                                       .correction = "mlp.expert_bias",
                                       .correction_alias = "mlp.e_score_correction_bias"};

const awq_mixture awq_mixture_hunyuan_v1_moe = {.count_key = "num_experts",
                                                .active_key = "moe_topk",
                                                .active = 1,
                                                .shared = true,
                                                .routing = {.normalized = true},
                                                AS_MLP,
                                                .router = "gate.wg",
                                                .shared_module = "mlp.shared_mlp"};

const awq_mixture awq_mixture_ernie4_5_moe = {
    .count_key = "moe_num_experts",
    .active_key = "moe_k",
    .active = 6,
    .width_key = "moe_intermediate_size",
    .shared_count_key = "moe_num_shared_experts",
    .shared = true,
    .layers = AWQ_SPARSE_RANGE,
    .routing = {.normalized = true},
    AS_MLP,
    .router = "gate",
    .shared_module = "mlp.shared_experts",
    .correction = "mlp.moe_statics.e_score_correction_bias",
    .correction_alias = "mlp.gate.moe_statics.e_score_correction_bias",
    .correction_row = true};

static const awq_stacks llama4 = {"feed_forward.experts.gate_up_proj",
                                  "feed_forward.experts.down_proj", .transposed = true};

const awq_mixture awq_mixture_llama4 = {.count_key = "num_local_experts",
                                        .active = 1,
                                        .dense_width_key = "intermediate_size_mlp",
                                        .shared = true,
                                        .layers = AWQ_SPARSE_LISTED,
                                        .routing = {.score = AWQ_SCORE_SIGMOID},
                                        .weighs_inputs = true,
                                        .module = "feed_forward",
                                        .gate = "gate_proj",
                                        .up = "up_proj",
                                        .down = "down_proj",
                                        .router = "router",
                                        .shared_module = "feed_forward.shared_expert",
                                        .stacks = &llama4};

static const awq_stacks gpt_oss = {"mlp.experts.gate_up_proj", "mlp.experts.down_proj",
                                   .transposed = true, .interleaved = true};

const awq_mixture awq_mixture_gpt_oss = {.count_key = "num_local_experts",
                                         .active = 4,
                                         .routing = {.normalized = true},
                                         .router_bias = true,
                                         .expert_bias = true,
                                         AS_MLP,
                                         .router = "router",
                                         .stacks = &gpt_oss};

const awq_mixture awq_mixture_afmoe = {
    .count_key = "num_experts",
    .active = 6,
    .width_key = "moe_intermediate_size",
    .shared_count_key = "num_shared_experts",
    .shared = true,
    .layers = AWQ_SPARSE_FIRST_DENSE,
    .first_dense_key = "num_dense_layers",
    .first_dense = 1,
    .routing = {.score = AWQ_SCORE_SIGMOID, .normalized = true, .factor_key = "route_scale"},
    AS_MLP,
    .router = "router.gate",
    .shared_module = "mlp.shared_experts",
    .correction = "mlp.expert_bias"};

static const awq_stacks gemma4 = {"experts.gate_up_proj", "experts.down_proj", .transposed = false};
static const awq_apart gemma4_norms = {.router = "router.scale",
                                       .experts_in = "pre_feedforward_layernorm_2",
                                       .experts_out = "post_feedforward_layernorm_2",
                                       .shared_in = "pre_feedforward_layernorm",
                                       .shared_out = "post_feedforward_layernorm_1"};

/* The MLP of a dense layer is the shared expert of a sparse one. */
const awq_mixture awq_mixture_gemma4 = {.enabled_key = "enable_moe_block",
                                        .count_key = "num_experts",
                                        .active_key = "top_k_experts",
                                        .width_key = "moe_intermediate_size",
                                        .shared_width_key = "intermediate_size",
                                        .shared = true,
                                        .routing = {.normalized = true},
                                        .module = "",
                                        .gate = "gate_proj",
                                        .up = "up_proj",
                                        .down = "down_proj",
                                        .router = "router.proj",
                                        .shared_module = "mlp",
                                        .stacks = &gemma4,
                                        .expert_scale = "router.per_expert_scale",
                                        .apart = &gemma4_norms};
