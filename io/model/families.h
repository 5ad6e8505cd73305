/* SPDX-License-Identifier: MIT
 * io/model/families.h - the families that can be quantized, a row of a table each: what a
 * model_type means where config.json is silent, which keys it may say, and how its tensors are
 * named. Inside io/model only. */
#ifndef AWQ_IO_MODEL_FAMILIES_H
#define AWQ_IO_MODEL_FAMILIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/core/activation.h"

/* Keys of config.json that change what a model computes, and that not every family has: one that a
 * family does not have is refused if it says anything. */
enum {
    AWQ_KEY_ATTENTION_BIAS = 1 << 0,
    AWQ_KEY_MLP_BIAS = 1 << 1,
    AWQ_KEY_QKV_BIAS = 1 << 2,
    AWQ_KEY_WINDOW = 1 << 3,        /* sliding_window */
    AWQ_KEY_WINDOW_SWITCH = 1 << 4, /* use_sliding_window; must be false without AWQ_KEY_WINDOW */
    AWQ_KEY_LAYER_TYPES = 1 << 5,   /* layers of a sliding window and others; silent: in turn, or
                                       by AWQ_KEY_NO_ROPE: those without rotary embedding */
    AWQ_KEY_SOFTCAPS = 1 << 6,      /* attn_logit_softcapping, final_logit_softcapping */
    AWQ_KEY_QUERY_SCALAR = 1 << 7,  /* query_pre_attn_scalar */
    AWQ_KEY_PARTIAL_ROTARY = 1 << 8,
    AWQ_KEY_MULTIPLIERS = 1 << 9, /* attention_, embedding_, residual_multiplier, logits_scaling;
                                     silent: 1 */
    AWQ_KEY_NO_ROPE = 1 << 10,    /* no_rope_layers, no_rope_layer_interval; silent: each fourth */
    AWQ_KEY_MROPE = 1 << 11       /* three positions a token, which are one where all is text */
};

/* How a family writes its mixtures of experts: keys of config.json, and names of modules. */
typedef struct awq_mixture {
    const char *count_key;
    const char *width_key; /* NULL: intermediate_size is an expert's */
    const char *shared_width_key;
    bool every_layer; /* no decoder_sparse_step and mlp_only_layers; weights are normalized */
    const char *module, *gate, *up, *down; /* "mlp", "gate_proj", "up_proj", "down_proj" */
    const char *router_alias;              /* of "gate"; NULL: none */
} awq_mixture;

/* What a text_config means that does not say its sizes: those of its class. 0: it must. */
typedef struct awq_sizes {
    int64_t hidden, intermediate, layers, heads, kv_heads, vocab;
} awq_sizes;

enum { AWQ_MAX_ALIASES = 3 };

typedef struct awq_family {
    const char *model_type;
    const char *also[AWQ_MAX_ALIASES]; /* model_types that are this one in all but name */
    awq_sizes sizes;
    int64_t max_positions;
    int64_t head_dim;           /* 0: hidden / heads */
    int64_t window;             /* 0: none */
    int64_t original_positions; /* before longrope extended the model; 0: no longrope */
    double rope_theta;          /* 0: 10000 */
    double norm_eps;            /* 0: 1e-6 */
    bool tied;                  /* the head is the embedding */
    bool qkv_bias;
    bool qk_norm;          /* of each head, before RoPE */
    bool fused;            /* qkv_proj, gate_up_proj */
    bool norm_offset;      /* norms multiply by 1 + weight */
    bool out_norms;        /* what attention and MLP put out is normalized, too */
    bool embedding_scaled; /* by the root of its width */
    awq_activation activation;
    const char *activation_key; /* NULL: hidden_act */
    unsigned keys;
    const awq_mixture *mixture; /* NULL: dense */
} awq_family;

/* By model_type; NULL: not supported. */
const awq_family *awq_family_find(const char *model_type);
/* "llama, mistral, .." */
void awq_family_list(char *out, size_t bytes);

#endif
