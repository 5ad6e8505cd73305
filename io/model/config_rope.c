/* SPDX-License-Identifier: MIT */
#include <float.h>
#include <math.h>
#include <string.h>

#include "io/files/json.h"
#include "io/model/config.h"

static void read_llama3(const awq_config_reader *reader, const json_t *object, awq_rope *rope)
{
    rope->factor = awq_config_read_positive(reader, object, "factor", NAN);
    rope->low_freq_factor = awq_config_read_positive(reader, object, "low_freq_factor", NAN);
    rope->high_freq_factor = awq_config_read_positive(reader, object, "high_freq_factor", NAN);
    rope->original_positions =
        awq_config_read_positive(reader, object, "original_max_position_embeddings", NAN);
    if (rope->high_freq_factor <= rope->low_freq_factor && rope->high_freq_factor > 0)
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': high_freq_factor must be above low_freq_factor", reader->name);
}

/* Of each pair of channels that is rotated. */
static void read_factors(const awq_config_reader *reader, const json_t *object, const char *key,
                         int64_t pairs, double *out)
{
    const json_t *list = json_object_get(object, key);
    bool fits = json_array_size(list) == (size_t)pairs && pairs <= AWQ_MAX_ROPE_FACTORS;
    for (int64_t i = 0; fits && i < pairs; i++) {
        out[i] = json_number_value(json_array_get(list, (size_t)i));
        fits = out[i] >= FLT_MIN && out[i] <= FLT_MAX;
    }
    if (!fits)
        awq_problems_add(
            reader->problems, AWQ_ERR_INPUT,
            "'%s': the RoPE key '%s' must be a list of %lld numbers above zero, and of "
            "%d at most",
            reader->name, key, (long long)pairs, (int)AWQ_MAX_ROPE_FACTORS);
}

/* Sequences of the original length at most are rotated by other factors than longer ones, and both
 * are scaled for the most that the model was extended to (transformers'
 * _compute_longrope_parameters). That length and its factor are the model's: transformers and
 * engines differ in what they do when the RoPE scaling says others. */
static void read_longrope(const awq_config_reader *reader, const json_t *object,
                          const awq_config *config, int64_t max_positions, awq_rope *rope)
{
    static const char original[] = "original_max_position_embeddings";
    double positions = (double)awq_config_read_size(reader, original,
                                                    config->family->original_positions, INT32_MAX);
    double factor = (double)max_positions / positions, scaled = 1;
    if (positions < 1) return;
    if (positions < 2) awq_config_complain(reader, original, " must be above one");
    if (awq_config_read_positive(reader, object, original, positions) != positions)
        awq_config_complain(reader, "the RoPE scaling says another ", original);
    if (awq_config_read_positive(reader, object, "factor", factor) != factor)
        awq_config_complain(reader, "the RoPE factor is not max_position_embeddings / ", original);
    if (factor > 1) scaled = sqrt(1 + log(factor) / log(positions));
    rope->original_positions = positions;
    rope->attention_factor = awq_config_read_positive(reader, object, "attention_factor", scaled);
    read_factors(reader, object, "short_factor", config->rope_dim / 2, rope->short_factor);
    read_factors(reader, object, "long_factor", config->rope_dim / 2, rope->long_factor);
}

/* Transformers 5 allows one object per attention type; the families here have one type. */
static bool is_per_attention_type(const json_t *object)
{
    return json_object_get(object, "full_attention") ||
           json_object_get(object, "sliding_attention");
}

/* Names that it had before. */
static bool is_longrope(const char *type)
{
    return !strcmp(type, "longrope") || !strcmp(type, "su") || !strcmp(type, "yarn");
}

/* What three positions a token are rotated by; where they are equal, as in text, it is as if there
 * were one (transformers' apply_multimodal_rotary_pos_emb). */
static bool is_mrope(const awq_config *config, const char *type)
{
    return config->family->keys & AWQ_KEY_MROPE && !strcmp(type, "mrope");
}

static void read_scaling(const awq_config_reader *reader, const json_t *object,
                         const char *fallback, const awq_config *config, int64_t max_positions,
                         awq_rope *rope)
{
    bool longrope = config->family->original_positions > 0;
    const char *type = awq_json_string(object, "type", fallback, reader->name, reader->problems);
    type = awq_json_string(object, "rope_type", type, reader->name, reader->problems);
    if (!type || is_per_attention_type(object)) {
        awq_config_complain(reader, "the RoPE scaling does not say one rope_type", "");
    } else if (!strcmp(type, "default") || is_mrope(config, type)) {
        rope->type = AWQ_ROPE_DEFAULT;
    } else if (!strcmp(type, "linear")) {
        rope->type = AWQ_ROPE_LINEAR;
        rope->factor = awq_config_read_positive(reader, object, "factor", NAN);
    } else if (!strcmp(type, "llama3")) {
        rope->type = AWQ_ROPE_LLAMA3;
        read_llama3(reader, object, rope);
    } else if (longrope && is_longrope(type)) {
        rope->type = AWQ_ROPE_LONGROPE;
        read_longrope(reader, object, config, max_positions, rope);
    } else {
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': rope type '%.60s' is not supported; supported are default, "
                         "linear, llama3%s",
                         reader->name, type, longrope ? ", longrope" : "");
    }
}

/* How much of a head is rotated: partial_rotary_factor, here or among the rope_parameters. */
static void read_partial(const awq_config_reader *reader, const json_t *object, awq_config *config)
{
    double part =
        awq_json_number(object, "partial_rotary_factor", NAN, reader->name, reader->problems);
    if (isnan(part)) return;
    bool partial = config->family->keys & AWQ_KEY_PARTIAL_ROTARY;
    int64_t rotated = part > 0 && part <= 1 ? (int64_t)((double)config->head_dim * part) : 0;
    if (part != 1 && (!partial || rotated < 2 || rotated % 2))
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': partial_rotary_factor %g is not supported", reader->name, part);
    else
        config->rope_dim = rotated;
}

/* The object of a key; NULL when it is absent or null, and with a problem when it is neither. */
static const json_t *object_of(const awq_config_reader *reader, const char *key)
{
    const json_t *value = json_object_get(reader->object, key);
    if (!value || json_is_null(value)) return NULL;
    if (json_is_object(value)) return value;
    awq_problems_add(reader->problems, AWQ_ERR_INPUT, "'%s': key '%s' is not an object",
                     reader->name, key);
    return NULL;
}

/* A 1 for each layer that is rotated, a 0 for each that is not; false: it is no such list. */
static bool read_no_rope_layers(const json_t *list, awq_config *config)
{
    bool fits = json_array_size(list) >= (size_t)config->layers;
    for (int64_t i = 0; fits && i < config->layers; i++) {
        const json_t *item = json_array_get(list, (size_t)i);
        json_int_t value = json_integer_value(item);
        fits = json_is_integer(item) && (value == 0 || value == 1);
        config->rotated[i] = value;
    }
    return fits;
}

/* Which layers are rotated: all; or those that no_rope_layers says, or all but each
 * no_rope_layer_interval-th. */
static void read_rotated(const awq_config_reader *reader, awq_config *config)
{
    const json_t *list = json_object_get(reader->object, "no_rope_layers");
    bool some = config->family->keys & AWQ_KEY_NO_ROPE, listed = list && !json_is_null(list);
    int64_t interval = 0;
    if (some && !listed)
        interval = awq_config_read_size(reader, "no_rope_layer_interval", 4, INT32_MAX);
    for (int64_t i = 0; i < config->layers; i++)
        config->rotated[i] = !interval || (i + 1) % interval != 0;
    if (some && listed && !read_no_rope_layers(list, config))
        awq_config_complain(reader, "no_rope_layers is not a list of a 0 or 1 for each layer", "");
}

void awq_config_read_rope(const awq_config_reader *reader, awq_config *config,
                          int64_t max_positions, awq_rope *rope)
{
    const json_t *parameters = object_of(reader, "rope_parameters");
    const json_t *scaling = object_of(reader, "rope_scaling");
    const json_t *object = json_object_size(parameters) ? parameters : scaling;
    if (object == parameters && json_object_size(scaling) && !json_equal(parameters, scaling))
        awq_config_complain(reader, "rope_parameters and rope_scaling say different things", "");
    rope->theta = config->family->rope_theta > 0 ? config->family->rope_theta : 10000;
    rope->theta = awq_config_read_positive(reader, reader->object, "rope_theta", rope->theta);
    rope->theta = awq_config_read_positive(reader, object, "rope_theta", rope->theta);
    config->rope_dim = config->head_dim;
    read_rotated(reader, config);
    read_partial(reader, reader->object, config);
    read_partial(reader, object, config);
    if (object)
        read_scaling(reader, object, object == parameters ? "default" : NULL, config, max_positions,
                     rope);
}
