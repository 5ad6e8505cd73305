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
    X(AWQ_QWEN3, "qwen3")

typedef enum awq_family {
#define AWQ_FAMILY_ENUM(name, text) name,
    AWQ_FAMILY_LIST(AWQ_FAMILY_ENUM)
#undef AWQ_FAMILY_ENUM
} awq_family;

/* The linears of a decoder layer, in the order of the forward pass. */
#define AWQ_LINEAR_LIST(X)                                                                         \
    X(AWQ_Q, "self_attn.q_proj")                                                                   \
    X(AWQ_K, "self_attn.k_proj")                                                                   \
    X(AWQ_V, "self_attn.v_proj")                                                                   \
    X(AWQ_O, "self_attn.o_proj")                                                                   \
    X(AWQ_GATE, "mlp.gate_proj")                                                                   \
    X(AWQ_UP, "mlp.up_proj")                                                                       \
    X(AWQ_DOWN, "mlp.down_proj")

typedef enum awq_linear {
#define AWQ_LINEAR_ENUM(name, text) name,
    AWQ_LINEAR_LIST(AWQ_LINEAR_ENUM)
#undef AWQ_LINEAR_ENUM
        AWQ_LINEARS
} awq_linear;

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

enum { AWQ_MAX_LAYERS = 4096 };

typedef struct awq_model {
    awq_family family;
    int64_t layers;
    int64_t hidden;
    int64_t intermediate;
    int64_t heads;
    int64_t kv_heads;
    int64_t head_dim;
    int64_t vocab;
    int64_t max_positions;
    int64_t sliding_window; /* tokens that a token attends to; 0: all before it */
    float norm_eps;
    awq_rope rope;
    bool bias[AWQ_LINEARS]; /* which linears carry a bias */
    bool qk_norm;
    bool tied;       /* lm_head is the embedding */
    awq_dtype dtype; /* torch_dtype; BF16 where config.json is silent */
    /* Set when the checkpoint is quantized already: */
    bool quantized;
    awq_quantization quantization;
    /* Of each layer, the linears that are not: a bit for each awq_linear. A model that is not
     * quantized yet has the ones that shall be left so. */
    uint8_t full_precision[AWQ_MAX_LAYERS];
} awq_model;

/* Reads config.json's object. What is wrong becomes problems; returns false if any was added. A
 * quantization_config that io/awq_format.h has no format for is a problem. */
bool awq_model_from_config(const json_t *config, awq_model *out, awq_problems *problems);

const char *awq_family_name(awq_family family);
const char *awq_linear_name(awq_linear linear);
const char *awq_norm_name(awq_norm norm);

/* Whether a linear of this model is quantized. */
bool awq_model_packs(const awq_model *model, int64_t layer, awq_linear linear);
/* Whether a linear is, or shall be, left in full precision. */
bool awq_model_leaves(const awq_model *model, int64_t layer, awq_linear linear);
/* Whether it is in every layer. */
bool awq_model_leaves_all(const awq_model *model, awq_linear linear);

/* Rows (out) and columns (in) of a linear's weight. */
void awq_linear_shape(const awq_model *model, awq_linear linear, int64_t *out, int64_t *in);
bool awq_model_has_norm(const awq_model *model, awq_norm norm);
/* Elements of a norm's weight: hidden, or head_dim for Q and K norms. */
int64_t awq_norm_elements(const awq_model *model, awq_norm norm);

/* Tensor names: "model.layers.7.self_attn.q_proj.weight". `suffix` is "weight", "bias",
 * "qweight"... */
enum { AWQ_NAME_BYTES = 256 };
char *awq_linear_tensor_name(char out[AWQ_NAME_BYTES], int64_t layer, awq_linear linear,
                             const char *suffix);
/* "model.layers.7.self_attn.q_proj" */
char *awq_linear_full_name(char out[AWQ_NAME_BYTES], int64_t layer, awq_linear linear);
char *awq_norm_tensor_name(char out[AWQ_NAME_BYTES], int64_t layer, awq_norm norm);
#define AWQ_EMBEDDING_NAME  "model.embed_tokens.weight"
#define AWQ_FINAL_NORM_NAME "model.norm.weight"
#define AWQ_HEAD_NAME       "lm_head.weight"

/* Parameters of the whole model, embeddings and head (once when tied) included. */
int64_t awq_model_parameters(const awq_model *model);
int64_t awq_model_layer_parameters(const awq_model *model);

#endif
