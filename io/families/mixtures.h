/* SPDX-License-Identifier: MIT
 * io/families/mixtures.h - how families write their mixtures of experts: keys of config.json, names
 * of modules, and what a token's experts are chosen by. Inside io/families only. */
#ifndef AWQ_IO_MODEL_MIXTURES_H
#define AWQ_IO_MODEL_MIXTURES_H

#include <stdbool.h>
#include <stdint.h>

#include "io/core/routing.h"

/* Which layers are sparse. */
typedef enum awq_sparse_layers {
    AWQ_SPARSE_ALL,
    AWQ_SPARSE_STEP,        /* each decoder_sparse_step-th that is not in mlp_only_layers */
    AWQ_SPARSE_FIRST_DENSE, /* all but the first_k_dense_replace first */
    AWQ_SPARSE_TYPES,       /* those that mlp_layer_types calls so; silent: all but the
                               first_k_dense_replace first, or one */
    AWQ_SPARSE_RANGE, /* each moe_layer_interval-th from moe_layer_start_index to _end_index */
    AWQ_SPARSE_LISTED /* moe_layers, or each interleave_moe_layer_step-th */
} awq_sparse_layers;

/* A router's choice; what the config may say of it. */
typedef struct awq_routing_keys {
    awq_router_score score;
    bool normalized; /* where normalized_key is silent or NULL */
    const char *normalized_key;
    bool normalized_fixed;         /* norm_topk_prob, which is not read, may say nothing else */
    const char *factor_key;        /* NULL: 1 */
    double factor;                 /* where it is silent; 0: 1 */
    bool grouped;                  /* n_group, topk_group */
    int64_t groups, active_groups; /* where they are silent; 0: 1 */
    int64_t group_best;            /* a group is chosen by the sum of so many of its best; 0: two */
    bool group_method;             /* topk_method says whether there are any */
    const char *margin_key;        /* of the sparse mixer */
} awq_routing_keys;

/* All experts' weights in one tensor each; NULL: as transformers 5 writes it. */
typedef struct awq_stacks {
    const char *gate_up, *down;
    bool transposed, interleaved;
    bool either; /* it is not transposed where its shape says so */
} awq_stacks;

/* Names of norms in a layer, of the router, the experts and the shared one each. */
typedef struct awq_apart {
    const char *router; /* a weight, whole */
    const char *experts_in, *experts_out, *shared_in, *shared_out;
} awq_apart;

typedef struct awq_mixture {
    const char *enabled_key; /* says that there are experts; NULL: there are */
    const char *count_key;
    const char *active_key;       /* NULL: num_experts_per_tok */
    int64_t active;               /* where it is silent; 0: it must not be */
    const char *width_key;        /* NULL: intermediate_size is an expert's */
    const char *dense_width_key;  /* NULL: intermediate_size is a dense layer's */
    const char *shared_width_key; /* of the shared one, which is there if it is above 0 */
    const char *shared_count_key; /* it is so many experts wide */
    bool shared;                  /* there is one; without the keys above as wide as an expert */
    bool shared_optional;         /* silence means none */
    awq_sparse_layers layers;
    const char *first_dense_key; /* NULL: first_k_dense_replace */
    int64_t first_dense;         /* where that is silent */
    awq_routing_keys routing;
    bool weighs_inputs; /* a token's weight multiplies what its expert reads */
    bool router_bias, expert_bias;
    const char *module, *gate, *up, *down;     /* "mlp", or "" where experts are the layer's own;
                                                  "gate_proj", "up_proj", "down_proj" */
    const char *router, *router_alias;         /* "gate"; another name in the layer, or NULL */
    const char *shared_module;                 /* in the layer: "mlp.shared_expert" */
    const char *shared_gate_up;                /* its gate and up in one; NULL: apart */
    const char *shared_down;                   /* NULL: `down` */
    const char *shared_gate;                   /* "shared_expert_gate"; NULL: it is not weighed */
    const char *correction, *correction_alias; /* in the layer; NULL: none */
    bool correction_row;                       /* it is stored as [1, experts] */
    const awq_stacks *stacks;                  /* NULL: transformers 5's */
    const char *expert_scale;                  /* a weight of each expert more, whole; NULL: none */
    const awq_apart *apart;                    /* NULL: all read the half's norm */
} awq_mixture;

extern const awq_mixture awq_mixture_mixtral, awq_mixture_phimoe, awq_mixture_minimax_m2,
    awq_mixture_qwen2_moe, awq_mixture_qwen3_moe, awq_mixture_qwen3_vl_moe, awq_mixture_olmoe,
    awq_mixture_granitemoe, awq_mixture_granitemoeshared, awq_mixture_glm4_moe, awq_mixture_dots1,
    awq_mixture_hy_v3, awq_mixture_hunyuan_v1_moe, awq_mixture_ernie4_5_moe, awq_mixture_llama4,
    awq_mixture_gpt_oss, awq_mixture_afmoe, awq_mixture_gemma4, awq_mixture_qwen3_next,
    awq_mixture_qwen3_5_moe, awq_mixture_deepseek_v2, awq_mixture_deepseek_v3,
    awq_mixture_deepseek_v32, awq_mixture_glm_moe_dsa, awq_mixture_glm4_moe_lite,
    awq_mixture_mistral4;

#endif
