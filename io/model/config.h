/* SPDX-License-Identifier: MIT
 * io/model/config.h - config.json's keys, read into numbers (awq_config), of which build.c makes
 * the model's layers. Inside io/model only.
 *
 * Both spellings of keys in the wild are read (docs/awq.md 4). Each reader adds a problem for
 * whatever is wrong, with what its errors call the file. */
#ifndef AWQ_IO_MODEL_CONFIG_H
#define AWQ_IO_MODEL_CONFIG_H

#include "io/files/path.h"
#include "io/model/families.h"
#include "io/model/model.h"

/* Where the keys come from, and where complaints go. */
typedef struct awq_config_reader {
    const json_t *object;
    const json_t *outer; /* config.json, where `object` is its text_config; else NULL */
    const char *name;    /* of the file, for messages; or of its text_config */
    awq_problems *problems;
} awq_config_reader;

/* What layers are made of. */
typedef struct awq_config {
    const awq_family *family;
    int64_t layers, hidden;
    int64_t intermediate; /* of dense layers */
    int64_t heads, kv_heads, head_dim;
    int64_t window; /* 0: none */
    float scale, softcap;
    float clamp;          /* of queries, keys and values; 0: none */
    float residual_scale; /* of what attention and MLP put out */
    float limit;          /* of what the MLP's activation reads; 0: none */
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

/* rope_parameters, or rope_theta and rope_scaling: the model's tables, and which layers have which;
 * windows are known. */
void awq_config_read_rope(const awq_config_reader *reader, awq_config *config, awq_model *model);
/* How a table's frequencies are scaled (rope_scaling.c): `object` says the rope_type, or else
 * `fallback` is it; NULL: it must. rope->dim and theta are known. */
void awq_config_read_rope_scaling(const awq_config_reader *reader, const json_t *object,
                                  const char *fallback, const awq_config *config,
                                  int64_t max_positions, awq_rope *rope);

/* The kinds of layers, and which each layer is (build.c). AWQ_MAX_LINEARS may be exceeded: a
 * problem. */
void awq_model_build(const awq_config_reader *reader, const awq_config *config, awq_model *out);

#endif
