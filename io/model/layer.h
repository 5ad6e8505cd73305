/* SPDX-License-Identifier: MIT
 * io/model/layer.h - a decoder layer as data: its norms, linears, scale groups (docs/awq.md 1),
 * attention and MLPs, as arrays.
 *
 * A model has one description for each kind of layer that it has: dense or sparse, of a sliding
 * window or not, rotated or not. Whatever loads, runs, searches, folds, writes or verifies a layer
 * walks these arrays; what a family's layers are made of is said in io/families
 * and nowhere else. Things refer to one another by index; -1 is none.
 *
 *   half[..].norm -> group -> readers (linears) -> .. -> the residual
 *                      ^ producer: the norm, or the rows of a linear, that 1/s is folded into */
#ifndef AWQ_IO_MODEL_LAYER_H
#define AWQ_IO_MODEL_LAYER_H

#include <stdbool.h>
#include <stdint.h>

#include "io/core/activation.h"
#include "io/core/routing.h"

enum {
    AWQ_LAYER_NAME_BYTES = 64,
    AWQ_GROUP_NAME_BYTES = 40,
    AWQ_MAX_VECTORS = 16,
    AWQ_MAX_NORMS = 12
};

/* A small tensor that is no linear's weight or bias: a norm's weight or bias, sinks, a router's
 * correction, a convolution. It is kept in full precision. */
typedef struct awq_vector_spec {
    char name[AWQ_LAYER_NAME_BYTES]; /* in its layer: "input_layernorm.weight" */
    const char *alias; /* what a checkpoint may call it, too, static; NULL: nothing else */
    int64_t width;
    int64_t rows; /* it is stored as [rows, width / rows]; 0: [width] */
    bool middle;  /* .. as [rows, 1, width / rows] */
    int pieces;  /* it is stored in so many tensors, of which `name` has the number as %d; 0: one */
    bool offset; /* what is multiplied by is 1 + it */
    int absorbs; /* the group whose scales it absorbs; -1: none */
} awq_vector_spec;

/* x / sqrt(mean x^2 + eps) w + b; centered: of x without its mean. */
typedef struct awq_norm_spec {
    int weight, bias; /* vectors [cols, or once more for each head]; -1: ones, zeros */
    int64_t cols;     /* that are normalized together */
    float eps;
    bool centered;
} awq_norm_spec;

/* Some rows of a linear's weight, and so of what it puts out: all of v_proj's, a third of a fused
 * qkv_proj's. `times` runs of `count` rows, the first at row `first`, one every `period`. */
typedef struct awq_rows {
    int linear;
    int64_t first, count, period, times;
} awq_rows;

static inline int64_t awq_rows_count(const awq_rows *rows)
{
    return rows->count * rows->times;
}

static inline bool awq_rows_are(const awq_rows *a, const awq_rows *b)
{
    return a->linear == b->linear && a->first == b->first && a->count == b->count &&
           a->period == b->period && a->times == b->times;
}

/* The row of the linear that is the index-th of them. */
static inline int64_t awq_rows_at(const awq_rows *rows, int64_t index)
{
    return rows->first + index / rows->count * rows->period + index % rows->count;
}

/* A layer is x += attention(norm(x)), then x += MLPs(norm(x)); one of parallel halves is
 * x += attention(norm(x)) + MLPs(norm(x)). */
typedef enum awq_half { AWQ_HALF_ATTENTION, AWQ_HALF_MLP, AWQ_HALVES } awq_half;

/* The tensor that a checkpoint may hold the linears of all experts in, in place of one for each:
 * [experts, rows, in], or transposed [experts, in, rows]. */
typedef struct awq_stack_spec {
    const char *name;    /* in its layer: "mlp.experts.gate_up_proj", static; NULL: there is none */
    int64_t rows;        /* of an expert */
    int64_t first, step; /* the linear's row r is its expert's row first + r step */
    bool transposed;
    bool either; /* or not, where its shape says that */
} awq_stack_spec;

/* One stored module: what is quantized and packed as one. */
typedef struct awq_linear_spec {
    char name[AWQ_LAYER_NAME_BYTES]; /* in its layer: "mlp.experts.3.up_proj" */
    bool whole_name;                 /* its short name would be another's */
    int64_t out, in;
    int group;   /* whose input it reads */
    int absorbs; /* the group whose scales some of its rows absorb; -1: none */
    int expert;  /* whose tokens it sees; -1: all of the layer's */
    awq_half half;
    bool bias;
    float scale;   /* of what it adds to the residual or, a router, to its logits, bias included;
                      1 in most models */
    bool exempt;   /* never quantized: a router, a gate of some rows, an indexer's */
    bool absorbed; /* engines may multiply it into its neighbours: kept in full precision unless
                      the job says otherwise */
    bool clipped;  /* its range may be cut: not q's and k's */
    const char *fused; /* what engines load it with as one linear, for messages: "the experts",
                          static and the same for all of these; NULL: nothing */
    const char *alias; /* what a checkpoint may call it, too, static; NULL: nothing else */
    awq_stack_spec stack;
} awq_linear_spec;

/* Who absorbs 1/s: a norm's weight, or rows of a linear and their bias; no one: the input's scales
 * stay 1. */
typedef struct awq_producer {
    enum { AWQ_BY_NO_ONE, AWQ_BY_NORM, AWQ_BY_ROWS } by;
    int norm;
    awq_rows rows; /* as many as there are free channels */
} awq_producer;

/* Linears that read the same input and share its channel scales. */
typedef struct awq_group_spec {
    char name[AWQ_GROUP_NAME_BYTES]; /* "qkv", "o", "gate_up", "down", "experts.3.down" */
    int64_t channels;
    awq_producer producer;
    int64_t run, repeat; /* each `run` channels stand `repeat` times in a row, with scales in common
                            (grouped-query attention, docs/awq.md 2.6); repeat 1: all are free */
    int expert;          /* whose tokens the input is of; -1: all of the layer's */
    int first, count;    /* its readers: awq_layer_spec.reader[first ..] */
} awq_group_spec;

typedef struct awq_half_spec {
    int norm;     /* of its input; -1: none, it reads the hidden states as they are */
    int out_norm; /* of its output, before that is added; -1: none. No producer: behind it is the
                     residual */
    int group;    /* that reads the input norm; of parallel halves it may be one for both */
} awq_half_spec;

typedef enum awq_attention_kind {
    AWQ_ATTENTION_GROUPED, /* grouped-query: o(attention(q, k, v) sigmoid(gate)) */
    AWQ_ATTENTION_LATENT,  /* the same of k and v, and mostly q, that are made of latent vectors */
    AWQ_ATTENTION_DELTA    /* a gated delta net: o(norm(state q) silu(gate)) */
} awq_attention_kind;

/* What some rows of a linear put out, normalized, which further linears read. */
typedef struct awq_latent_spec {
    awq_rows rows; /* linear -1: there is none */
    int norm;
    int group; /* that reads it */
} awq_latent_spec;

/* Of a gated delta net: a depthwise convolution over the tokens, and how its state decays and
 * learns. */
typedef struct awq_delta_spec {
    int convolution;  /* vector [channels of q, then k, then v; taps] */
    int rate, step;   /* vectors [heads]: A_log, dt_bias */
    awq_rows beta, a; /* [heads] */
    int64_t taps;
} awq_delta_spec;

typedef struct awq_attention_spec {
    awq_attention_kind kind;
    awq_rows q, k, v; /* latent attention: k is what stands in front of its shared part */
    awq_rows gate;    /* of what the heads put out; linear -1: there is none */
    int o;
    int q_norm, k_norm;    /* of each head, or of all together; -1: none */
    int v_norm;            /* of each head of v; -1: none */
    int o_norm;            /* of what each head puts out; -1: none */
    bool norms_last;       /* they come after RoPE, not before */
    int q_rope, k_rope;    /* which of awq_model.rope turns them; -1: none */
    int q_still;           /* which scales q's channels in front of those that turn; -1: none */
    bool rope_interleaved; /* pairs are of neighbours, not of the halves */
    int k_plane, v_plane;  /* of awq_model.plane, float32: where k and v, normalized and turned, are
                              put for later layers; or where they come from, if k's linear is -1;
                              -1: neither */
    int sinks;             /* vector [heads]: one more logit in each softmax; -1: none */
    int64_t heads;         /* of q, or a delta net's state */
    int64_t kv_heads;      /* of k and v, or a delta net's q and k */
    int64_t head_dim, value_dim; /* channels of a head of q and k; of v and what comes of it */
    awq_latent_spec q_latent, kv_latent;
    awq_rows shared_k; /* latent attention: what all heads' keys end in, which is what turns */
    awq_delta_spec delta;
    int64_t window; /* tokens that a token attends to, itself included; 0: all before it */
    bool chunked;   /* the window is a chunk's: those of its own chunk before it, itself included */
    float scale;    /* of the logits */
    float clamp;    /* q, k and v, normalized, are cut to +-clamp; 0: as they are */
    float softcap;  /* logits are softcap tanh(logits / softcap); 0: as they are */
} awq_attention_spec;

/* down(activation(gate(x)) * up(x)); without a gate down(activation(up(x))). */
typedef struct awq_mlp_spec {
    awq_rows gate, up; /* gate.linear -1: there is none */
    int down;
    int expert; /* -1: all tokens go through it */
} awq_mlp_spec;

/* The MLPs of a layer, each for itself, of which one or, by the router's choice, more see a token.
 */
typedef struct awq_mlps_spec {
    awq_mlp_spec *mlp; /* [count], owned: a dense layer's one; or experts in their order,
                          then the shared one */
    int count;
    awq_activation activation;
    float limit;                  /* of what the activation reads (io/core/activation.h); 0: none */
    awq_routing_rule routing;     /* experts 0: a dense layer */
    int64_t intermediate, shared; /* channels of a routed or a dense one; of the shared one, or 0 */
    bool weighs_inputs;           /* a token's weight multiplies what its expert reads */
    int router, shared_gate;      /* linears; -1: none */
    int correction;               /* vector [experts], of the scores in the choice; -1: none */
    int expert_scale; /* vector [experts]: each one's weight is multiplied by it; -1: none */
    /* Norms of what only some of these read; -1: what the half's norm puts out: */
    int router_norm, shared_norm;
    /* and of what the experts put out together and the shared one does, before that is added: */
    int experts_out_norm, shared_out_norm;
} awq_mlps_spec;

/* Behind the halves: x += norm(projection(activation(gate(x)) * what the layer is given beside
 * hidden states)). The activation is the MLPs'. */
typedef struct awq_layer_input_spec {
    int gate, projection; /* linears; -1: there are none */
    int out_norm;
} awq_layer_input_spec;

typedef struct awq_layer_spec {
    awq_vector_spec vector[AWQ_MAX_VECTORS];
    awq_norm_spec norm[AWQ_MAX_NORMS];
    awq_linear_spec *linear; /* [linears], owned, in the order that they are searched and stored */
    awq_group_spec *group;   /* [groups], owned, in search order */
    int *reader;             /* [linears], owned */
    int vectors, norms, linears, groups;
    awq_half_spec half[AWQ_HALVES];
    bool parallel; /* both halves read what the layer is given */
    awq_attention_spec attention;
    awq_mlps_spec mlps;
    awq_layer_input_spec input;
    int scalar;                /* vector [1]: at last x *= it; -1: none */
    const char *const *unread; /* modules that a checkpoint may hold of it although nothing reads
                                  them, left out of the output; static, ends in NULL; NULL: none */
} awq_layer_spec;

/* "experts.3.up_proj" of "mlp.experts.3.up_proj", as records and messages about one layer have it;
 * "up_proj", which the linears of all experts have in common. */
const char *awq_linear_short_name(const awq_linear_spec *linear);
const char *awq_linear_type(const awq_linear_spec *linear);

static inline int awq_vector_pieces(const awq_vector_spec *vector)
{
    return vector->pieces ? vector->pieces : 1;
}

/* Channels of a group that are free to have a scale of their own, and the one that `channel`
 * follows. */
static inline int64_t awq_free_channels(const awq_group_spec *group)
{
    return group->channels / group->repeat;
}

static inline int64_t awq_free_channel(const awq_group_spec *group, int64_t channel)
{
    return channel / group->run / group->repeat * group->run + channel % group->run;
}

/* The linear of the index-th reader of a group. */
static inline int awq_group_reader(const awq_layer_spec *layer, const awq_group_spec *group,
                                   int index)
{
    return layer->reader[group->first + index];
}

/* Channels that the attention's heads put out together. */
static inline int64_t awq_attention_channels(const awq_layer_spec *layer)
{
    return layer->attention.heads * layer->attention.value_dim;
}

/* Elements of weights, biases and norms. */
int64_t awq_layer_parameters(const awq_layer_spec *layer);

#endif
