/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <string.h>

#include "io/json.h"
#include "io/model_config.h"

/* A number above zero that must be there. */
static double positive(const awq_config_reader *reader, const json_t *rope, const char *key)
{
    size_t before = reader->problems->count;
    double value = awq_json_number(rope, key, 0, reader->name, reader->problems);
    if (reader->problems->count == before && !(value > 0 && isfinite(value)))
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': the RoPE key '%s' must be a number above zero", reader->name, key);
    return value;
}

static void read_llama3(const awq_config_reader *reader, const json_t *object, awq_rope *rope)
{
    rope->factor = positive(reader, object, "factor");
    rope->low_freq_factor = positive(reader, object, "low_freq_factor");
    rope->high_freq_factor = positive(reader, object, "high_freq_factor");
    rope->original_positions = positive(reader, object, "original_max_position_embeddings");
    if (rope->high_freq_factor <= rope->low_freq_factor && rope->high_freq_factor > 0)
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': high_freq_factor must be above low_freq_factor", reader->name);
}

/* Transformers 5 allows one object per attention type; the families here have one type. */
static bool is_per_attention_type(const json_t *object)
{
    return json_object_get(object, "full_attention") ||
           json_object_get(object, "sliding_attention");
}

static void read_scaling(const awq_config_reader *reader, const json_t *object,
                         const char *fallback, awq_rope *rope)
{
    const char *type = awq_json_string(object, "type", fallback, reader->name, reader->problems);
    type = awq_json_string(object, "rope_type", type, reader->name, reader->problems);
    if (!type || is_per_attention_type(object)) {
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': the RoPE scaling does not say one rope_type", reader->name);
    } else if (!strcmp(type, "default")) {
        rope->type = AWQ_ROPE_DEFAULT;
    } else if (!strcmp(type, "linear")) {
        rope->type = AWQ_ROPE_LINEAR;
        rope->factor = positive(reader, object, "factor");
    } else if (!strcmp(type, "llama3")) {
        rope->type = AWQ_ROPE_LLAMA3;
        read_llama3(reader, object, rope);
    } else {
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': rope type '%.60s' is not supported; supported are default, "
                         "linear, llama3",
                         reader->name, type);
    }
}

static void check_partial(const awq_config_reader *reader, const json_t *object)
{
    double part =
        awq_json_number(object, "partial_rotary_factor", 1, reader->name, reader->problems);
    if (part != 1)
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': partial_rotary_factor %g is not supported", reader->name, part);
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

void awq_config_read_rope(const awq_config_reader *reader, awq_rope *rope)
{
    const json_t *parameters = object_of(reader, "rope_parameters");
    const json_t *scaling = object_of(reader, "rope_scaling");
    rope->type = AWQ_ROPE_DEFAULT;
    rope->theta =
        awq_json_number(reader->object, "rope_theta", rope->theta, reader->name, reader->problems);
    check_partial(reader, reader->object);
    if (parameters) {
        rope->theta =
            awq_json_number(parameters, "rope_theta", rope->theta, reader->name, reader->problems);
        check_partial(reader, parameters);
        read_scaling(reader, parameters, "default", rope);
    } else if (scaling) {
        read_scaling(reader, scaling, NULL, rope);
    }
    if (!(rope->theta > 0 && isfinite(rope->theta)))
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': key 'rope_theta' must be above zero", reader->name);
}
