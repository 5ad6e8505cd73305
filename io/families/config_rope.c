/* SPDX-License-Identifier: MIT
 * io/families/config_rope.c - config.json's keys of rotary embedding: where they stand, which
 * tables they make, and which layers have which. How a table is scaled: rope_scaling.c. */
#include <math.h>
#include <string.h>

#include "io/families/config.h"
#include "io/files/json.h"

/* The object of a key; NULL when it is absent or null, and with a problem when it is neither. */
static const json_t *object_of(const awq_config_reader *reader, const json_t *object,
                               const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value)) return NULL;
    if (json_is_object(value)) return value;
    awq_problems_add(reader->problems, AWQ_ERR_INPUT, "'%s': key '%s' is not an object",
                     reader->name, key);
    return NULL;
}

/* How much of a head is rotated: partial_rotary_factor, here or among the rope parameters, or
 * rotary_dim. */
static void read_partial(const awq_config_reader *reader, const json_t *object,
                         const awq_config *config, awq_rope *rope)
{
    double part =
        awq_json_number(object, "partial_rotary_factor", NAN, reader->name, reader->problems);
    bool partial = awq_config_has(config, AWQ_KEY_PARTIAL_ROTARY);
    if (isnan(part)) return;
    int64_t rotated = part > 0 && part <= 1 ? (int64_t)((double)rope->head_dim * part) : 0;
    if (config->latent.kv_rank && (part == 1 || rotated == rope->dim)) return;
    if (part != 1 && (!partial || rotated < 2 || rotated % 2))
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': partial_rotary_factor %g is not supported", reader->name, part);
    else
        rope->dim = rotated;
}

static void read_rotary_dim(const awq_config_reader *reader, const awq_config *config,
                            awq_rope *rope)
{
    if (!awq_config_has(config, AWQ_KEY_ROTARY_DIM) || !awq_config_says(reader, "rotary_dim"))
        return;
    int64_t dim = awq_config_read_size(reader, "rotary_dim", 0, rope->head_dim);
    if (dim && dim != rope->dim && awq_config_says(reader, "partial_rotary_factor"))
        awq_config_complain(reader, "rotary_dim and partial_rotary_factor say different things",
                            "");
    if (dim) rope->dim = dim;
}

/* Pairs of channels, whoever said how many: config.json or its silence. */
static void check_dim(const awq_config_reader *reader, const awq_rope *rope)
{
    bool even = rope->head_dim > 0 && rope->head_dim % 2 == 0;
    if (even && (rope->dim < 2 || rope->dim % 2))
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': RoPE cannot rotate %lld of a head's %lld channels", reader->name,
                         (long long)rope->dim, (long long)rope->head_dim);
}

/* Of heads that turn as a whole, some pairs by nothing: partial_rotary_factor is that type's own.
 */
static bool is_proportional(const awq_config *config, const json_t *object)
{
    const char *type = json_string_value(json_object_get(object, "rope_type"));
    return config->family->full_head_dim && type && !strcmp(type, "proportional");
}

/* A table of heads of head_dim, of its own parameters, where `theta` is the last to say the base,
 * and the type where they are silent is `fallback`; object NULL: there are none. */
static void read_table(const awq_config_reader *reader, const json_t *object, double theta,
                       const char *fallback, const awq_config *config, int64_t max_positions,
                       awq_rope *rope)
{
    double partial = config->family->partial;
    rope->dim = config->latent.kv_rank ? config->latent.rope : rope->head_dim;
    if (partial > 0) rope->dim = (int64_t)((double)rope->head_dim * partial);
    read_partial(reader, reader->object, config, rope);
    read_rotary_dim(reader, config, rope);
    if (!is_proportional(config, object)) read_partial(reader, object, config, rope);
    check_dim(reader, rope);
    rope->theta = awq_config_read_positive(reader, object, "rope_theta", theta);
    if (object) awq_config_read_rope_scaling(reader, object, fallback, config, max_positions, rope);
}

/* Of transformers 5: an object for each kind of layers. */
static bool is_by_kind(const json_t *object)
{
    return json_object_get(object, "full_attention") ||
           json_object_get(object, "sliding_attention");
}

/* The table of layers of a window, where that is not the others': of transformers 5's own object,
 * or with rope_local_base_freq as its base, and never scaled otherwise. */
static void read_local(const awq_config_reader *reader, const json_t *parameters, double theta,
                       const awq_config *config, awq_model *model)
{
    const json_t *own = object_of(reader, parameters, "sliding_attention");
    double local = config->family->local_theta;
    if (local > 0)
        theta = awq_config_read_positive(reader, reader->object, "rope_local_base_freq", local);
    model->rope[1] = (awq_rope){.head_dim = config->head_dim};
    read_table(reader, own, theta, "default", config, model->max_positions, &model->rope[1]);
    model->ropes = 2;
}

/* Queries that grow with their position: llama_4_scaling_beta's table is the first one's. */
static void read_position_scale(const awq_config_reader *reader, const json_t *object,
                                awq_config *config, awq_model *model)
{
    static const char key[] = "llama_4_scaling_beta";
    const json_t *said = json_object_get(object, key);
    if (!said || json_is_null(said)) return;
    if (!awq_config_has(config, AWQ_KEY_POSITION_SCALE)) {
        awq_config_complain(reader, "a RoPE key that is not supported: ", key);
        return;
    }
    awq_rope *rope = &model->rope[model->ropes];
    *rope = model->rope[0];
    rope->growth = awq_json_number(object, key, 0, reader->name, reader->problems);
    rope->growth_span = awq_config_read_positive(reader, object, "original_max_position_embeddings",
                                                 (double)model->max_positions);
    if (!(rope->growth >= 0 && rope->growth < 1e6))
        awq_config_complain(reader, key, " is not a number from 0 on");
    for (int64_t i = 0; i < config->layers; i++) /* all are rotated */
        config->q_rope[i] = (int8_t)model->ropes;
    model->ropes++;
    if (!config->latent.kv_rank) return;
    awq_rope *still = &model->rope[model->ropes]; /* what does not turn grows as well */
    *still = *rope;
    still->type = AWQ_ROPE_STILL;
    still->dim = config->latent.nope;
    config->q_still = model->ropes++;
}

/* The same of layers without rotary embedding: attn_temperature_tuning. */
static void read_temperature(const awq_config_reader *reader, awq_config *config, awq_model *model)
{
    if (!awq_config_has(config, AWQ_KEY_TEMPERATURE) ||
        !awq_config_read_bool(reader, "attn_temperature_tuning", true))
        return;
    model->rope[model->ropes] = (awq_rope){
        .type = AWQ_ROPE_STILL,
        .dim = config->head_dim,
        .theta = 1,
        .growth =
            awq_json_number(reader->object, "attn_scale", 0.1, reader->name, reader->problems),
        .growth_span = awq_config_read_positive(reader, reader->object, "floor_scale", 8192),
        .growth_offset = 1};
    if (!(model->rope[model->ropes].growth >= 0 && model->rope[model->ropes].growth < 1e6))
        awq_config_complain(reader, "attn_scale", " is not a number from 0 on");
    for (int64_t i = 0; i < config->layers; i++)
        if (!config->rotated[i]) config->q_rope[i] = (int8_t)model->ropes;
    model->ropes++;
}

/* The object of the main table's parameters, wherever they stand. */
static const json_t *find_parameters(const awq_config_reader *reader, const awq_config *config,
                                     const char **fallback)
{
    const json_t *parameters = object_of(reader, reader->object, "rope_parameters");
    const json_t *scaling = object_of(reader, reader->object, "rope_scaling");
    bool by_kind = is_by_kind(parameters);
    *fallback = "default";
    if (by_kind && !awq_config_has(config, AWQ_KEY_LOCAL_ROPE))
        awq_config_complain(reader, "the RoPE scaling does not say one rope_type", "");
    if (by_kind) parameters = object_of(reader, parameters, "full_attention");
    if (!json_object_size(parameters)) {
        *fallback = NULL;
        return json_object_size(scaling) ? scaling : NULL;
    }
    if (json_object_size(scaling) && !json_equal(parameters, scaling))
        awq_config_complain(reader, "rope_parameters and rope_scaling say different things", "");
    return parameters;
}

static void read_tables(const awq_config_reader *reader, const json_t *object, const char *fallback,
                        awq_config *config, awq_model *model)
{
    double theta = config->family->rope_theta > 0 ? config->family->rope_theta : 10000;
    theta = awq_config_read_positive(reader, reader->object, "rope_theta", theta);
    model->ropes = 1;
    model->rope[0] = (awq_rope){.head_dim = config->full_head_dim};
    config->q_still = -1;
    read_table(reader, object, theta, fallback, config, model->max_positions, &model->rope[0]);
    if (config->latent.kv_rank)
        config->scale *= (float)awq_config_latent_scale(reader, object, &model->rope[0]);
    bool local = awq_config_has(config, AWQ_KEY_LOCAL_ROPE) && config->window;
    if (local)
        read_local(reader, object_of(reader, reader->object, "rope_parameters"), theta, config,
                   model);
    for (int64_t i = 0; i < config->layers; i++)
        config->q_rope[i] = config->k_rope[i] =
            config->rotated[i] ? local && config->windowed[i] : -1;
    read_position_scale(reader, object, config, model);
    read_temperature(reader, config, model);
}

void awq_config_read_rope(const awq_config_reader *reader, awq_config *config, awq_model *model)
{
    const char *fallback, *silent = config->family->rope_silent;
    const json_t *object = find_parameters(reader, config, &fallback);
    json_t *own = silent && !object ? json_loads(silent, 0, NULL) : NULL;
    read_tables(reader, own ? own : object, fallback, config, model);
    json_decref(own);
}
