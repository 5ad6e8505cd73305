/* SPDX-License-Identifier: MIT
 * io/model/model.h - what config.json says of a model: family, sizes, and its layers as data.
 *
 * Pure description: names and shapes, no weights and no arithmetic. What is not understood is
 * refused by name, never approximated. */
#ifndef AWQ_IO_MODEL_MODEL_H
#define AWQ_IO_MODEL_MODEL_H

#include <jansson.h>

#include "io/core/dtype.h"
#include "io/core/problems.h"
#include "io/model/layer.h"
#include "io/model/quantization.h"

typedef enum awq_rope_type {
    AWQ_ROPE_DEFAULT,
    AWQ_ROPE_LINEAR,
    AWQ_ROPE_LLAMA3,
    AWQ_ROPE_LONGROPE,
    AWQ_ROPE_YARN,
    AWQ_ROPE_DYNAMIC,
    AWQ_ROPE_PROPORTIONAL, /* pairs are of the whole head, and only the first turn */
    AWQ_ROPE_STILL         /* no channel turns: for what multiplies by position alone */
} awq_rope_type;

enum { AWQ_MAX_ROPE_FACTORS = 256, AWQ_MAX_ROPES = 4 };

/* A table of cosines and sines by position. */
typedef struct awq_rope {
    awq_rope_type type;
    int64_t head_dim;
    int64_t dim; /* channels of a head that it turns, the first; the rest passes */
    double theta;
    int64_t turning;              /* proportional: pairs that turn */
    double factor;                /* linear, llama3, yarn, dynamic and proportional */
    double low_freq_factor;       /* llama3 */
    double high_freq_factor;      /* llama3 */
    double original_positions;    /* llama3, longrope and yarn: original_max_position_embeddings;
                                     dynamic: beyond which theta grows */
    double ramp_begin, ramp_end;  /* yarn: pairs up to the first keep their angle, those from the
                                     second on have it divided by the factor */
    double attention_factor;      /* longrope and yarn: cos and sin are multiplied by it, .. */
    double long_attention_factor; /* .. longrope: by this in sequences above original_positions */
    double
        short_factor[AWQ_MAX_ROPE_FACTORS];   /* longrope: of each pair of channels, in sequences */
    double long_factor[AWQ_MAX_ROPE_FACTORS]; /* of original_positions at most; in longer ones */
    /* cos and sin of position p are multiplied by 1 + growth ln(1 + floor((p + offset) / span)) */
    double growth; /* 0: they are not */
    double growth_span, growth_offset;
} awq_rope;

/* Experts of a layer; linears of all layers together: bits of awq_model.kept. */
enum { AWQ_MAX_LAYERS = 4096, AWQ_MAX_EXPERTS = 1024, AWQ_MAX_LINEARS = 1 << 18 };
enum { AWQ_MAX_KINDS = 8, AWQ_MAX_PLANES = 5, AWQ_TYPE_BYTES = 64 };

/* How the names of a model's tensors begin: alone, inside a wrapper, or without its head. */
typedef struct awq_root {
    const char *decoder;   /* "model.": in front of layers, embedding and final norm */
    const char *head;      /* "lm_head" */
    bool base;             /* as a model that has no head is written */
    const char *embedding; /* "embed_tokens" */
} awq_root;

/* The tensors in front of the layers and behind them, in the order of the output. */
typedef enum awq_end {
    AWQ_EMBEDDING,
    AWQ_FINAL_NORM,
    AWQ_FINAL_NORM_BIAS,
    AWQ_HEAD,
    AWQ_HEAD_BIAS,
    AWQ_INPUTS_TABLE, /* of what layers are given beside hidden states */
    AWQ_INPUTS_PROJECTION,
    AWQ_INPUTS_NORM,
    AWQ_ENDS
} awq_end;

/* x / sqrt(mean x^2 + eps) w + b, as awq_norm_spec has it. */
typedef struct awq_final_norm {
    bool offset; /* w is 1 + what is stored */
    bool centered;
    bool bias;
} awq_final_norm;

/* What travels with hidden states from layer to layer. A tile of `rows` tokens is [rows, hidden],
 * and behind that its planes: float32 [rows, width] each, `count` of one kind after another. */
typedef struct awq_plane {
    int64_t first; /* floats of a token in front of them */
    int64_t width, count;
} awq_plane;

/* What each layer is given of a token, a plane of its own: (norm(projection of its embedding) + its
 * row of a table) / sqrt(2). */
typedef struct awq_layer_inputs {
    int64_t width; /* 0: layers are given nothing */
    int64_t vocab; /* rows of the table */
    float scale;   /* those are multiplied by it */
    int plane;
} awq_layer_inputs;

typedef struct awq_model {
    const char *family;                /* model_type, static */
    char unknown_type[AWQ_TYPE_BYTES]; /* "": family is what config.json says; else that is this,
                                          which is not known and taken for that */
    const awq_root *root;              /* of its names, static */
    int64_t layers;
    int64_t hidden;   /* channels of the embedding and of what norms read */
    int64_t residual; /* floats of a token between layers: hidden states, then its planes */
    awq_plane plane[AWQ_MAX_PLANES];
    int planes;
    awq_layer_inputs inputs;
    int64_t vocab;
    int64_t max_positions;
    int64_t most_attended; /* tokens that a token may attend to, chosen by an indexer that is not
                              run: longer sequences cannot be computed; 0: all */
    float norm_eps;
    awq_final_norm final_norm;
    bool head_bias;
    float embedding_scale; /* rows of the embedding are multiplied by it */
    float logits_scale;    /* logits are multiplied by it, */
    float final_softcap;   /* then cap tanh(logits / cap); 0: as they are */
    awq_rope rope[AWQ_MAX_ROPES];
    int ropes;
    bool tied;       /* the head is the embedding */
    bool generates;  /* config.json does not say that it is made for something else */
    bool headless;   /* it has no head: it embeds, or has one of another kind beside it */
    int64_t further; /* layers behind the last that predict further tokens: not the model's */
    awq_dtype dtype; /* torch_dtype; BF16 where config.json is silent */
    /* Set when the checkpoint is quantized already: */
    bool quantized;
    awq_quantization quantization;
    /* Rows and columns of a float8 weight that share a scale, unless its scales' shape is another.
     */
    int64_t block[2];
    /* The kinds of layers, and each layer's. */
    awq_layer_spec kind[AWQ_MAX_KINDS]; /* owned */
    int kinds;
    uint8_t kind_of[AWQ_MAX_LAYERS];
    int widest; /* linears of the kind that has the most */
    /* The linears that are, or shall be, kept in full precision: awq_model_keep. */
    uint32_t kept[AWQ_MAX_LINEARS / 32];
} awq_model;

void awq_model_release(awq_model *model);

static inline const awq_layer_spec *awq_model_layer(const awq_model *model, int64_t layer)
{
    return &model->kind[model->kind_of[layer]];
}

/* The MLPs of a sparse layer; NULL: the model has none. */
const awq_mlps_spec *awq_model_experts(const awq_model *model);

/* Whether a linear of this model is quantized. */
bool awq_model_packs(const awq_model *model, int64_t layer, int linear);
/* Whether a linear is, or shall be, kept in full precision: routers always are. */
bool awq_model_keeps(const awq_model *model, int64_t layer, int linear);
/* Whether it is in every layer of a kind. */
bool awq_model_keeps_all(const awq_model *model, int kind, int linear);
/* Says that it shall be. */
void awq_model_keep(awq_model *model, int64_t layer, int linear);

/* Names: "model.layers.7.mlp.experts.3.up_proj"; and that with `suffix`, "weight", "bias",
 * "qweight"... */
enum { AWQ_NAME_BYTES = 256 };
/* Roots in the order in which they are looked for, the plain one first; NULL past the last. */
const awq_root *awq_root_at(int index);
/* The number of the layer whose name this is under a root; -1: of none. */
int64_t awq_root_layer_of(const awq_root *root, const char *name);
/* How much of a tensor's name tells which part it is of: "mtp", "model.visual", "model.layers.61".
 */
size_t awq_name_part_length(const char *name);
/* Whether a module of this name, the first `length` characters, holds experts in stacks. */
bool awq_name_is_of_experts(const char *name, size_t length);
/* Whether a tensor is one of the model's modules': a layer's, the embedding's, the final norm's or
 * the head's. */
bool awq_model_owns(const awq_model *model, const char *name);

char *awq_linear_full_name(char out[AWQ_NAME_BYTES], const awq_model *model, int64_t layer,
                           int linear);
/* As it would be if the model were no wrapper's. */
char *awq_linear_plain_name(char out[AWQ_NAME_BYTES], const awq_model *model, int64_t layer,
                            int linear);
char *awq_linear_tensor_name(char out[AWQ_NAME_BYTES], const awq_model *model, int64_t layer,
                             int linear, const char *suffix);
char *awq_vector_tensor_name(char out[AWQ_NAME_BYTES], const awq_model *model, int64_t layer,
                             int vector, int piece);
/* Its name in full where the linear is another's in the checkpoint: its alias or its stack, and
 * what comes behind. */
char *awq_other_tensor_name(char out[AWQ_NAME_BYTES], const awq_model *model, int64_t layer,
                            const char *name, const char *suffix);
char *awq_end_tensor_name(char out[AWQ_NAME_BYTES], const awq_model *model, awq_end end);

/* Whether a tensor of that name is the model's; what it has in its dimensions: [rows] or
 * [rows, columns], columns 0 where there is one. */
bool awq_model_stores(const awq_model *model, awq_end end);
void awq_end_shape(const awq_model *model, awq_end end, int64_t *rows, int64_t *columns);

/* Parameters of the whole model, embeddings and head (once when tied) included; of them, those that
 * a token is multiplied with. */
int64_t awq_model_parameters(const awq_model *model);
int64_t awq_model_active_parameters(const awq_model *model);

#endif
