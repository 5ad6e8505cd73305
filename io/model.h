/* SPDX-License-Identifier: MIT
 * io/model.h - what config.json says of a model: family, sizes, and the tensors to expect.
 *
 * Pure description: names and shapes, no weights and no arithmetic. Both spellings of the keys in
 * the wild are read (docs/awq.md 4: rope_theta + rope_scaling or rope_parameters; rope_type or
 * type; torch_dtype or dtype). What is not understood is refused by name, never approximated. */
#ifndef AWQ_IO_MODEL_H
#define AWQ_IO_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "io/dtype.h"
#include "io/problems.h"
#include "io/quantization.h"

/* X(enum, model_type): the families that can be quantized. */
#define AWQ_FAMILY_LIST(X)                                                                         \
    X(AWQ_LLAMA, "llama")                                                                          \
    X(AWQ_MISTRAL, "mistral")                                                                      \
    X(AWQ_QWEN2, "qwen2")                                                                          \
    X(AWQ_QWEN3, "qwen3")                                                                          \
    X(AWQ_MIXTRAL, "mixtral")                                                                      \
    X(AWQ_QWEN2_MOE, "qwen2_moe")                                                                  \
    X(AWQ_QWEN3_MOE, "qwen3_moe")

typedef enum awq_family {
#define AWQ_FAMILY_ENUM(name, text) name,
    AWQ_FAMILY_LIST(AWQ_FAMILY_ENUM)
#undef AWQ_FAMILY_ENUM
} awq_family;

/* What a linear does. The first seven are the linears of a dense decoder layer, in the order of the
 * forward pass; the last two, of a sparse layer, are never quantized. */
#define AWQ_KIND_LIST(X)                                                                           \
    X(AWQ_Q, "self_attn.q_proj")                                                                   \
    X(AWQ_K, "self_attn.k_proj")                                                                   \
    X(AWQ_V, "self_attn.v_proj")                                                                   \
    X(AWQ_O, "self_attn.o_proj")                                                                   \
    X(AWQ_GATE, "mlp.gate_proj")                                                                   \
    X(AWQ_UP, "mlp.up_proj")                                                                       \
    X(AWQ_DOWN, "mlp.down_proj")                                                                   \
    X(AWQ_ROUTER, "mlp.gate")                                                                      \
    X(AWQ_SHARED_GATE, "mlp.shared_expert_gate")

typedef enum awq_kind {
#define AWQ_KIND_ENUM(name, text) name,
    AWQ_KIND_LIST(AWQ_KIND_ENUM)
#undef AWQ_KIND_ENUM
        AWQ_KINDS
} awq_kind;

/* A linear of a model's layers, by a number that means the same in all of them: the seven of a
 * dense layer by their kind; then gate, up, down of each expert, then of the shared one; then
 * router and shared-expert gate. A layer has some of them (awq_layer_has). */
typedef int awq_linear;

/* The scale groups (docs/awq.md 1), in search order, numbered likewise: those of a dense layer,
 * then down of each expert, then of the shared one. */
typedef int awq_group;

enum { AWQ_GROUP_QKV, AWQ_GROUP_O, AWQ_GROUP_GATE_UP, AWQ_GROUP_DOWN, AWQ_DENSE_GROUPS };

enum {
    AWQ_DENSE_LINEARS = AWQ_DOWN + 1,
    AWQ_MLP_LINEARS = 3, /* gate, up, down */
};

/* The norms of a decoder layer. Q and K norms exist where awq_model.qk_norm. */
#define AWQ_NORM_LIST(X)                                                                           \
    X(AWQ_INPUT_NORM, "input_layernorm")                                                           \
    X(AWQ_POST_NORM, "post_attention_layernorm")                                                   \
    X(AWQ_Q_NORM, "self_attn.q_norm")                                                              \
    X(AWQ_K_NORM, "self_attn.k_norm")

typedef enum awq_norm {
#define AWQ_NORM_ENUM(name, text) name,
    AWQ_NORM_LIST(AWQ_NORM_ENUM)
#undef AWQ_NORM_ENUM
        AWQ_NORMS
} awq_norm;

typedef enum awq_rope_type { AWQ_ROPE_DEFAULT, AWQ_ROPE_LINEAR, AWQ_ROPE_LLAMA3 } awq_rope_type;

typedef struct awq_rope {
    awq_rope_type type;
    double theta;
    double factor;             /* linear and llama3 */
    double low_freq_factor;    /* llama3 */
    double high_freq_factor;   /* llama3 */
    double original_positions; /* llama3: original_max_position_embeddings */
} awq_rope;

/* Experts of a layer; linears of all layers together: bits of awq_model.full_precision. */
enum { AWQ_MAX_LAYERS = 4096, AWQ_MAX_EXPERTS = 1024, AWQ_MAX_LINEARS = 1 << 18 };

/* The MLPs of sparse layers. */
typedef struct awq_experts {
    int64_t count;               /* 0: no layer is sparse */
    int64_t active;              /* that each token goes to */
    int64_t intermediate;        /* channels of one */
    int64_t shared_intermediate; /* of the one that all tokens go to as well; 0: there is none */
    bool normalized;             /* a token's weights are divided by their sum */
} awq_experts;

typedef struct awq_model {
    awq_family family;
    int64_t layers;
    int64_t hidden;
    int64_t intermediate; /* of dense layers */
    int64_t heads;
    int64_t kv_heads;
    int64_t head_dim;
    int64_t vocab;
    int64_t max_positions;
    int64_t sliding_window; /* tokens that a token attends to; 0: all before it */
    float norm_eps;
    awq_rope rope;
    bool bias[AWQ_KINDS]; /* which linears carry a bias */
    bool qk_norm;
    bool tied;       /* lm_head is the embedding */
    awq_dtype dtype; /* torch_dtype; BF16 where config.json is silent */
    /* Set when the checkpoint is quantized already: */
    bool quantized;
    awq_quantization quantization;
    awq_experts experts;
    bool sparse[AWQ_MAX_LAYERS]; /* which layers have experts, and no MLP of their own */
    /* The linears that are left in full precision, or shall be: awq_model_leave. */
    uint32_t full_precision[AWQ_MAX_LINEARS / 32];
} awq_model;

/* Reads config.json's object. What is wrong becomes problems; returns false if any was added. A
 * quantization_config that io/awq_format.h has no format for is a problem. */
bool awq_model_from_config(const json_t *config, awq_model *out, awq_problems *problems);

const char *awq_family_name(awq_family family);
const char *awq_norm_name(awq_norm norm);

/* ---- what a layer consists of (model_linears.c) ---- */

/* How many linears and groups are numbered; dense models: AWQ_DENSE_LINEARS, AWQ_DENSE_GROUPS. */
awq_linear awq_model_linears(const awq_model *model);
awq_group awq_model_groups(const awq_model *model);
/* Whether a layer has a linear, a group. */
bool awq_layer_has(const awq_model *model, int64_t layer, awq_linear linear);
bool awq_layer_has_group(const awq_model *model, int64_t layer, awq_group group);
/* The first layer of each sort that a model has, dense or sparse: returns how many, one at least.
 */
int awq_model_sorts(const awq_model *model, int64_t layer[2]);

/* The MLPs that are numbered: 0 is a dense layer's, 1 the first expert, the last the shared one. */
int awq_model_mlps(const awq_model *model);
/* The shared expert's number; 0: there is none. */
int awq_model_shared_mlp(const awq_model *model);
/* Channels between its linears. */
int64_t awq_mlp_intermediate(const awq_model *model, int mlp);
/* Its gate, up or down. */
awq_linear awq_mlp_linear(int mlp, awq_kind kind);
/* The group of its down. */
awq_group awq_mlp_down_group(int mlp);

awq_kind awq_linear_kind(const awq_model *model, awq_linear linear);
/* The MLP that a gate, up or down belongs to. */
int awq_linear_mlp(awq_linear linear);
/* The linear of a kind that a model has once: all but gate, up and down of experts. */
awq_linear awq_model_linear(const awq_model *model, awq_kind kind);
/* The group whose input a linear reads. */
awq_group awq_linear_group(const awq_model *model, awq_linear linear);
/* The channels of that input. */
int64_t awq_group_channels(const awq_model *model, awq_group group);
/* The group that the rows of a linear feed channel by channel, so that they absorb its scales: o's
 * for v, down's for up; -1: none. */
awq_group awq_linear_feeds(const awq_model *model, awq_linear linear);

/* Whether a linear of this model is quantized. */
bool awq_model_packs(const awq_model *model, int64_t layer, awq_linear linear);
/* Whether a linear is, or shall be, left in full precision: routers always are. */
bool awq_model_leaves(const awq_model *model, int64_t layer, awq_linear linear);
/* Whether it is in every layer that has it. */
bool awq_model_leaves_all(const awq_model *model, awq_linear linear);
/* Says that it shall be. */
void awq_model_leave(awq_model *model, int64_t layer, awq_linear linear);

/* Rows (out) and columns (in) of a linear's weight. */
void awq_linear_shape(const awq_model *model, awq_linear linear, int64_t *out, int64_t *in);
bool awq_model_has_norm(const awq_model *model, awq_norm norm);
/* Elements of a norm's weight: hidden, or head_dim for Q and K norms. */
int64_t awq_norm_elements(const awq_model *model, awq_norm norm);

/* Names: "mlp.experts.3.up_proj"; "experts.3.up_proj", as records and messages about one layer have
 * it; "model.layers.7.mlp.experts.3.up_proj"; and that with `suffix`, "weight", "bias",
 * "qweight"... */
enum { AWQ_NAME_BYTES = 256 };
char *awq_linear_name(char out[AWQ_NAME_BYTES], const awq_model *model, awq_linear linear);
char *awq_linear_short_name(char out[AWQ_NAME_BYTES], const awq_model *model, awq_linear linear);
char *awq_linear_full_name(char out[AWQ_NAME_BYTES], const awq_model *model, int64_t layer,
                           awq_linear linear);
char *awq_linear_tensor_name(char out[AWQ_NAME_BYTES], const awq_model *model, int64_t layer,
                             awq_linear linear, const char *suffix);
/* "qkv", "o", "gate_up", "down", "experts.3.down", "shared_expert.down" */
char *awq_group_name(char out[AWQ_NAME_BYTES], const awq_model *model, awq_group group);
/* The same of a dense layer's linears and groups, without a model. */
const char *awq_dense_linear_name(awq_linear linear);
const char *awq_dense_group_name(awq_group group);
char *awq_norm_tensor_name(char out[AWQ_NAME_BYTES], int64_t layer, awq_norm norm);
#define AWQ_EMBEDDING_NAME  "model.embed_tokens.weight"
#define AWQ_FINAL_NORM_NAME "model.norm.weight"
#define AWQ_HEAD_NAME       "lm_head.weight"

/* Parameters of the whole model, embeddings and head (once when tied) included; of them, those that
 * a token is multiplied with; of one layer. */
int64_t awq_model_parameters(const awq_model *model);
int64_t awq_model_active_parameters(const awq_model *model);
int64_t awq_model_layer_parameters(const awq_model *model, int64_t layer);

#endif
