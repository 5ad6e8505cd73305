/* SPDX-License-Identifier: MIT
 * io/families/families.h - the families that can be quantized, a row of a table each: what a
 * model_type means where config.json is silent, which keys it may say, and how its tensors are
 * named. Inside io/families only. */
#ifndef AWQ_IO_MODEL_FAMILIES_H
#define AWQ_IO_MODEL_FAMILIES_H

#include <stdbool.h>
#include <stdint.h>

#include "io/core/activation.h"
#include "io/families/mixtures.h"

/* Keys of config.json that change what a model computes, and that not every family has: one that a
 * family does not have is refused if it says anything. */
enum {
    AWQ_KEY_ATTENTION_BIAS = 1 << 0, /* attention_bias: of q, k, v and o */
    AWQ_KEY_MLP_BIAS = 1 << 1,
    AWQ_KEY_QKV_BIAS = 1 << 2,       /* qkv_bias, use_qkv_bias */
    AWQ_KEY_WINDOW = 1 << 3,         /* sliding_window */
    AWQ_KEY_WINDOW_SWITCH = 1 << 4,  /* .. only with use_sliding_window, false where silent */
    AWQ_KEY_LAYER_TYPES = 1 << 5,    /* layers of a sliding window and others; silent: by the
                                        family's window_pattern, or by AWQ_KEY_NO_ROPE: those without
                                        rotary embedding */
    AWQ_KEY_SOFTCAPS = 1 << 6,       /* attn_logit_softcapping, final_logit_softcapping */
    AWQ_KEY_QUERY_SCALAR = 1 << 7,   /* query_pre_attn_scalar */
    AWQ_KEY_PARTIAL_ROTARY = 1 << 8, /* partial_rotary_factor */
    AWQ_KEY_MULTIPLIERS = 1 << 9,    /* attention_, embedding_, residual_multiplier, logits_scaling;
                                        silent: 1 */
    AWQ_KEY_NO_ROPE = 1 << 10,     /* no_rope_layers, no_rope_layer_interval; silent: each fourth */
    AWQ_KEY_MROPE = 1 << 11,       /* three positions a token, which are one where all is text */
    AWQ_KEY_O_BIAS = 1 << 12,      /* attention_out_bias; attention_bias is of q, k and v alone */
    AWQ_KEY_USE_BIAS = 1 << 13,    /* use_bias, bias: of every linear */
    AWQ_KEY_PARALLEL = 1 << 14,    /* use_parallel_residual: both halves read the same norm */
    AWQ_KEY_LOGIT_SCALE = 1 << 15, /* logit_scale: logits are multiplied by it */
    AWQ_KEY_LOCAL_ROPE = 1 << 16,  /* layers of a window have a table of their own */
    AWQ_KEY_CHUNKS = 1 << 17,      /* attention_chunk_size: of layers with rotary embedding */
    AWQ_KEY_TEMPERATURE = 1 << 18, /* attn_temperature_tuning, floor_scale, attn_scale: of layers
                                      without */
    AWQ_KEY_POSITION_SCALE = 1 << 19, /* llama_4_scaling_beta, among the rope parameters */
    AWQ_KEY_HEAD_BIAS = 1 << 20,      /* lm_head_bias */
    AWQ_KEY_SWIGLU = 1 << 21,         /* swiglu_limit, swiglu_alpha */
    AWQ_KEY_ALPHA = 1 << 22,          /* a dynamic RoPE's alpha */
    AWQ_KEY_WINDOW_LAYERS = 1 << 23,  /* max_window_layers: the first so many have no window */
    AWQ_KEY_LATENT = 1 << 24,         /* q_lora_rank and what else latent attention has; a row that
                                         has this says `latent` */
    AWQ_KEY_CLAMP = 1 << 25,          /* clip_qkv */
    AWQ_KEY_LIST_ONLY = 1 << 26,      /* layer_types must say which layers have a window */
    AWQ_KEY_MUP = 1 << 28,            /* mup_enabled: the embedding is scaled */
    AWQ_KEY_ROTARY_DIM = 1 << 29,     /* rotary_dim */
    AWQ_KEY_QK_LAYERNORM = 1 << 27,   /* qk_layernorm, which is its qk_norm_key */
    AWQ_KEY_DELTA = 1 << 30           /* linear_num_value_heads and what else a gated delta net has;
                                         layer_types are of it and of full attention; a row that has
                                         this says `delta` */
};

/* Norms of a layer's halves: in front of each, behind each, both; or one in front of both, whose
 * outputs are added together. */
typedef enum awq_block { AWQ_PRE_NORM, AWQ_SANDWICH, AWQ_POST_NORM, AWQ_PARALLEL } awq_block;

/* What is normalized of queries and keys: each head, all heads together, each head with weights of
 * its own, each head without weights. */
typedef enum awq_qk_norm {
    AWQ_QK_NONE,
    AWQ_QK_HEAD,
    AWQ_QK_WHOLE,
    AWQ_QK_EACH,
    AWQ_QK_PIECES, /* .. in tensors of their own */
    AWQ_QK_PLAIN
} awq_qk_norm;

/* Multi-head latent attention; what sizes are where config.json is silent. */
typedef struct awq_latent {
    int64_t q_rank, kv_rank;
    int64_t nope, rope, value; /* channels of a head: of q and k that pass and that turn; of v */
    bool always_interleaved;   /* rope_interleave is not read */
    int64_t index_heads;       /* 0: it sees all keys, and has no indexer */
    bool index_types;          /* indexer_types, index_topk_pattern, index_topk_freq */
} awq_latent;

/* How a gated delta net's linears are stored: those of q, k, v, z in one by key heads, and those
 * of b, a; or q, k and v in one, and the others apart. */
typedef enum awq_delta { AWQ_DELTA_NONE, AWQ_DELTA_FUSED, AWQ_DELTA_APART } awq_delta;

/* Names of modules in a layer; NULL: as llama has it, or there is none. */
typedef struct awq_names {
    const char *attention_gate; /* of what attention puts out; NULL: none */
    const char *attention, *o;  /* "self_attn", "o_proj" */
    const char *qkv;            /* q, k and v in one; NULL: q_proj, k_proj, v_proj */
    const char *mlp, *gate, *up, *down, *gate_up; /* "mlp"..; gate and up in one */
    const char *in_norm, *attention_norm;         /* in front of attention, behind it */
    const char *mlp_norm, *mlp_out_norm;          /* likewise of the MLP */
    const char *q_norm, *k_norm;                  /* in `attention` */
} awq_names;

/* What a text_config means that does not say its sizes: those of its class. 0: it must. */
typedef struct awq_sizes {
    int64_t hidden, intermediate, layers, heads, kv_heads, vocab;
} awq_sizes;

enum { AWQ_MAX_ALIASES = 4 };

typedef struct awq_family {
    const char *model_type;
    const char *also[AWQ_MAX_ALIASES]; /* model_types that are this one in all but name */
    awq_sizes sizes;
    int64_t max_positions;
    int64_t head_dim;           /* 0: hidden / heads */
    int64_t full_head_dim;      /* of layers without a window; 0: as of the others, and
                                   config_layers.c's keys are not read */
    int64_t layer_input;        /* hidden_size_per_layer_input where it is silent; 0: no layer is
                                   given anything */
    int64_t window;             /* 0: none */
    int64_t window_pattern;     /* each so many-th layer has none; 0: all have it */
    const char *pattern_key;    /* says window_pattern; NULL: nothing does */
    int64_t window_layers;      /* max_window_layers */
    bool rope_in_windows;       /* where some layers have a window, only they have RoPE */
    int64_t original_positions; /* before longrope extended the model; 0: no longrope */
    double rope_theta;          /* 0: 10000 */
    double local_theta;         /* of layers of a window, with AWQ_KEY_LOCAL_ROPE; 0: rope_theta */
    double partial;             /* partial_rotary_factor; 0: 1 */
    const char *rope_silent;    /* rope_parameters where config.json has none; NULL: default */
    bool interleaved;           /* RoPE turns pairs of neighbours */
    const char *eps_key;        /* NULL: rms_norm_eps */
    double norm_eps;            /* 0: 1e-6 */
    bool norm_offset;           /* norms multiply by 1 + weight, .. */
    bool norm_centered;         /* .. subtract the mean, .. */
    bool norm_bias;             /* .. add a bias */
    awq_block block;
    bool tied; /* the head is the embedding */
    bool bias; /* what is said of biases where config is silent */
    const char *attention_bias_key, *mlp_bias_key; /* NULL: attention_bias, mlp_bias */
    bool qkv_bias;
    awq_qk_norm qk_norm;
    const char *qk_norm_key; /* says whether there is one; NULL: there is */
    bool qk_norm_silent;     /* what it means where it is silent */
    bool qk_norm_last;       /* behind RoPE */
    bool v_norm;             /* of each head of v, without weights */
    bool unscaled;           /* attention's logits are not divided by the root of the width */
    const char *scalar;      /* the layer's output is multiplied by it, a vector; NULL: it is not */
    bool sinks;
    bool embedding_scaled; /* by the root of its width */
    double logit_scale;
    bool ungated; /* down(activation(up(x))) */
    awq_activation activation;
    const char *activation_key;  /* NULL: hidden_act */
    const char *activation_name; /* what that says; NULL: the activation's */
    const awq_names *names;      /* NULL: as llama */
    bool gated_q;                /* q_proj has each head's q, then the gate of what it puts out */
    const awq_latent *latent;    /* NULL: grouped-query attention */
    awq_delta delta;
    unsigned keys;
    const awq_mixture *mixture; /* NULL: dense */
} awq_family;

/* By model_type; NULL: not supported. */
const awq_family *awq_family_find(const char *model_type);
/* The index-th row; NULL past the last. */
const awq_family *awq_family_at(int index);

#endif
