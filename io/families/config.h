/* SPDX-License-Identifier: MIT
 * io/families/config.h - config.json's keys, read into numbers (awq_config), of which build.c makes
 * the model's layers. Inside io/families only.
 *
 * Both spellings of keys in the wild are read (docs/awq.md 4). Each reader adds a problem for
 * whatever is wrong, with what its errors call the file. */
#ifndef AWQ_IO_MODEL_CONFIG_H
#define AWQ_IO_MODEL_CONFIG_H

#include "io/families/families.h"
#include "io/files/path.h"
#include "io/model/model.h"

/* Where the keys come from, and where complaints go. */
typedef struct awq_config_reader {
    const json_t *object;
    const json_t *outer; /* config.json, where `object` is its text_config; else NULL */
    const char *name;    /* of the file, for messages; or of its text_config */
    awq_problems *problems;
} awq_config_reader;

/* Latent attention. */
typedef struct awq_latent_config {
    int64_t q_rank, kv_rank; /* q_rank 0: q is a linear of the layer's input */
    int64_t nope, rope;      /* channels of a head of q and k that pass, and that turn */
    int64_t index_heads, index_dim;
    bool interleaved;
} awq_latent_config;

/* A gated delta net; heads of v, and of q and k. */
typedef struct awq_delta_config {
    int64_t heads, key_heads, value_dim, key_dim, taps;
} awq_delta_config;

/* Whose keys and values a layer's attention reads: its own; its own, which later layers read, too;
 * those of the last layer before it that gives some and has a window as it does. */
typedef enum awq_sharing { AWQ_KV_OWN, AWQ_KV_GIVEN, AWQ_KV_TAKEN } awq_sharing;

/* What layers are made of. */
typedef struct awq_config {
    const awq_family *family;
    int64_t layers, hidden;
    int64_t intermediate; /* of dense layers */
    int64_t heads, kv_heads;
    int64_t head_dim, value_dim;          /* channels of a head of q and k, and of v */
    int64_t full_kv_heads, full_head_dim; /* of layers without a window */
    bool full_k_is_v;                     /* their values are what k's linear puts out */
    int64_t window;                       /* 0: none */
    float scale, softcap;
    float clamp;          /* of queries, keys and values; 0: none */
    float residual_scale; /* of what attention and MLP put out */
    float norm_eps;
    float limit; /* of what the MLP's activation reads; 0: none */
    bool qkv_bias, o_bias, mlp_bias;
    bool parallel; /* the halves read one norm */
    awq_qk_norm qk_norm;
    awq_routing_rule routing;       /* experts 0: no layer is sparse; active: of those alike */
    int16_t active[AWQ_MAX_LAYERS]; /* experts that see a token */
    int64_t expert_width;
    int64_t shared_width;          /* 0: there is no shared expert */
    bool sparse[AWQ_MAX_LAYERS];   /* which layers have experts, and no MLP of their own */
    bool windowed[AWQ_MAX_LAYERS]; /* which attend to a window */
    bool rotated[AWQ_MAX_LAYERS];  /* which have rotary embedding */
    int8_t q_rope[AWQ_MAX_LAYERS], k_rope[AWQ_MAX_LAYERS]; /* which of the model's; -1: none */
    int q_still;                  /* likewise, of channels in front of those that turn */
    awq_latent_config latent;     /* kv_rank 0: attention is not latent */
    bool indexed[AWQ_MAX_LAYERS]; /* which have an indexer */
    awq_delta_config delta;
    bool recurrent[AWQ_MAX_LAYERS];  /* which are gated delta nets */
    uint8_t sharing[AWQ_MAX_LAYERS]; /* awq_sharing */
    int kv_plane[2];  /* of awq_model.plane: shared keys of layers without a window, and with one;
                         their  values are the next */
    bool wide_takers; /* the MLPs of layers that take keys and values are twice as wide */
    int64_t layer_input; /* floats that a layer is given of a token beside hidden states; 0: none */
} awq_config;

/* Whether the family may say what a flag of families.h stands for. */
static inline bool awq_config_has(const awq_config *config, unsigned flag)
{
    return config->family->keys & flag;
}

/* The model but for its quantization_config; false: a problem was added, and *out is untouched.
 * Release the result. */
bool awq_model_describe(const awq_config_reader *reader, awq_model *out);

/* ---- whose config.json it is (config_family.c) ---- */

enum { AWQ_CONFIG_NAME_BYTES = AWQ_PATH_BYTES + 16 };

/* The reader of a model's keys: config.json's own or, in a wrapper, its text_config's. `name` has
 * room for what messages call that. */
awq_config_reader awq_config_reader_of(const json_t *config, const char *path,
                                       awq_problems *problems, char name[AWQ_CONFIG_NAME_BYTES]);
/* Which of a wrapper's two objects says a key, where either may: the first that does, beginning
 * with text_config or with config.json. NULL: neither does. */
const json_t *awq_config_text_first(const awq_config_reader *reader, const char *key);
const json_t *awq_config_outer_first(const awq_config_reader *reader, const char *key);
/* Whether config.json names no class of models that generate; silence says that it does. */
bool awq_config_generates(const awq_config_reader *reader);
/* The family of its model_type. One that is not known is llama's if config.json says nothing that
 * llama's does not, and is then put into unknown_type. NULL: a problem was added. */
const awq_family *awq_config_read_family(const awq_config_reader *reader,
                                         char unknown_type[AWQ_TYPE_BYTES]);

/* ---- keys ---- */

/* Far above any model, and small enough that no product of sizes overflows. */
enum { AWQ_MAX_WIDTH = 1 << 20 };

/* A problem: "'NAME': WHATVALUE". */
void awq_config_complain(const awq_config_reader *reader, const char *what, const char *value);
/* A size from 1 to max; fallback 0: the key must be there. Returns 0 after a problem. */
int64_t awq_config_read_size(const awq_config_reader *reader, const char *key, int64_t fallback,
                             int64_t max);
bool awq_config_read_bool(const awq_config_reader *reader, const char *key, bool fallback);
/* A problem where a key is null, which is neither its value nor silence to transformers. */
void awq_config_refuse_null(const awq_config_reader *reader, const char *key);
/* A number above zero, in float32 too, of `object`: the reader's, or one inside it; NULL is empty.
 * Absent or null: the fallback; NAN: the key must be there. */
double awq_config_read_positive(const awq_config_reader *reader, const json_t *object,
                                const char *key, double fallback);

/* The same of the reader's own. */
static inline float awq_config_read_factor(const awq_config_reader *reader, const char *key,
                                           double fallback)
{
    return (float)awq_config_read_positive(reader, reader->object, key, fallback);
}

/* What rows of an embedding are scaled by: the root of its width, in the type that the model
 * computes in when it is served. */
float awq_config_root(int64_t width, awq_dtype dtype);

/* Whether the key is there, and not null. */
bool awq_config_says(const awq_config_reader *reader, const char *key);

/* Whether a mixture, or NULL, reads a key that others do not have. */
bool awq_mixture_reads(const awq_mixture *mixture, const char *key);
/* The keys of a mixture of experts, in families that have them; the other sizes are known. */
void awq_config_read_experts(const awq_config_reader *reader, awq_config *config);

/* Biases, norms of queries and keys, windows and which layers are rotated, the scale of logits, the
 * soft caps; the sizes are known. */
void awq_config_read_attention(const awq_config_reader *reader, awq_config *config,
                               awq_model *model);

/* The keys of latent attention, and of gated delta nets, in families that have them; the other
 * sizes are known (config_kinds.c). */
void awq_config_read_latent(const awq_config_reader *reader, awq_config *config, awq_model *model);
void awq_config_read_delta(const awq_config_reader *reader, awq_config *config);

/* What is otherwise in layers without a window, and what travels from layer to layer beside hidden
 * states, in families that have a full_head_dim; windows are known (config_layers.c). */
void awq_config_read_layers(const awq_config_reader *reader, awq_config *config, awq_model *model);
/* Whether that reads a key which others do not have. */
bool awq_layers_read(const awq_family *family, const char *key);

/* rope_parameters, or rope_theta and rope_scaling: the model's tables, and which layers have which;
 * windows are known. */
void awq_config_read_rope(const awq_config_reader *reader, awq_config *config, awq_model *model);
/* How a table's frequencies are scaled (rope_scaling.c): `object` says the rope_type, or else
 * `fallback` is it; NULL: it must. rope->dim and theta are known. */
void awq_config_read_rope_scaling(const awq_config_reader *reader, const json_t *object,
                                  const char *fallback, const awq_config *config,
                                  int64_t max_positions, awq_rope *rope);

/* What latent attention's logits are multiplied by beside the root of the width. */
double awq_config_latent_scale(const awq_config_reader *reader, const json_t *object,
                               const awq_rope *rope);

/* The kinds of layers, and which each layer is (build.c). AWQ_MAX_LINEARS may be exceeded: a
 * problem. */
void awq_model_build(const awq_config_reader *reader, const awq_config *config, awq_model *out);

#endif
