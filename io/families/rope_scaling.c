/* SPDX-License-Identifier: MIT
 * io/families/rope_scaling.c - how a rotary table is scaled for sequences longer than those that
 * the model was trained on: transformers' modeling_rope_utils, key by key (docs/awq.md 4). */
#include <float.h>
#include <math.h>
#include <string.h>

#include "io/families/config.h"
#include "io/files/json.h"

static const char original_key[] = "original_max_position_embeddings";

/* A number above zero; 0: it is not said, or said to be that. */
static double optional(const awq_config_reader *reader, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_number(value) && json_number_value(value) == 0) return 0;
    return awq_config_read_positive(reader, object, key, 0);
}

static void read_llama3(const awq_config_reader *reader, const json_t *object, awq_rope *rope)
{
    rope->factor = awq_config_read_positive(reader, object, "factor", NAN);
    rope->low_freq_factor = awq_config_read_positive(reader, object, "low_freq_factor", NAN);
    rope->high_freq_factor = awq_config_read_positive(reader, object, "high_freq_factor", NAN);
    rope->original_positions = awq_config_read_positive(reader, object, original_key, NAN);
    if (rope->high_freq_factor <= rope->low_freq_factor && rope->high_freq_factor > 0)
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': high_freq_factor must be above low_freq_factor", reader->name);
}

/* ---- yarn ---- */

static double attention_growth(double factor, double scale)
{
    return factor > 1 ? 0.1 * scale * log(factor) + 1 : 1;
}

/* The channel that turns so many times within the original length. */
static double channel_of(const awq_rope *rope, double turns)
{
    static const double pi = 3.14159265358979323846;
    return (double)rope->dim * log(rope->original_positions / (turns * 2 * pi)) /
           (2 * log(rope->theta));
}

/* Channels of many turns keep their angle, those of few have it divided by the factor. */
static void set_ramp(const awq_config_reader *reader, const json_t *object, awq_rope *rope)
{
    double fast = optional(reader, object, "beta_fast"),
           slow = optional(reader, object, "beta_slow");
    bool whole = awq_json_bool(object, "truncate", true, reader->name, reader->problems);
    double begin = channel_of(rope, fast > 0 ? fast : 32);
    double end = channel_of(rope, slow > 0 ? slow : 1);
    rope->ramp_begin = fmax(whole ? floor(begin) : begin, 0);
    rope->ramp_end = fmin(whole ? ceil(end) : end, (double)(rope->dim - 1));
    if (rope->ramp_begin == rope->ramp_end) rope->ramp_end += 0.001;
}

/* Latent attention has its logits grow with whatever stretches RoPE, if mscale_all_dim says so. */
double awq_config_latent_scale(const awq_config_reader *reader, const json_t *object,
                               const awq_rope *rope)
{
    double all = optional(reader, object, "mscale_all_dim");
    double factor = optional(reader, object, "factor");
    if (rope->type == AWQ_ROPE_DEFAULT || !(all > 0)) return 1;
    double growth = attention_growth(factor > 0 ? factor : rope->factor, all);
    return growth * growth;
}

static void read_yarn(const awq_config_reader *reader, const json_t *object, int64_t max_positions,
                      awq_rope *rope)
{
    double outer = optional(reader, reader->object, original_key);
    double said = outer > 0 ? outer : (double)max_positions;
    rope->original_positions = awq_config_read_positive(reader, object, original_key, said);
    double factor = (double)max_positions / rope->original_positions;
    rope->factor = awq_config_read_positive(reader, object, "factor", factor);
    double scale = optional(reader, object, "mscale");
    double all = optional(reader, object, "mscale_all_dim");
    double growth = attention_growth(rope->factor, 1);
    if (scale > 0 && all > 0)
        growth = attention_growth(rope->factor, scale) / attention_growth(rope->factor, all);
    rope->attention_factor = awq_config_read_positive(reader, object, "attention_factor", growth);
    if (!(rope->theta > 1))
        awq_config_complain(reader, "rope_theta must be above one for yarn", "");
    set_ramp(reader, object, rope);
}

/* ---- dynamic ---- */

/* The base grows with the length beyond max_position_embeddings; or by alpha, whatever the length.
 */
static void read_dynamic(const awq_config_reader *reader, const json_t *object,
                         const awq_config *config, int64_t max_positions, awq_rope *rope)
{
    double alpha = 0;
    if (config->family->keys & AWQ_KEY_ALPHA) alpha = optional(reader, object, "alpha");
    if (rope->dim < 4) awq_config_complain(reader, "a dynamic RoPE needs heads of 4 channels", "");
    if (alpha > 0) {
        rope->type = AWQ_ROPE_DEFAULT;
        rope->theta *= pow(alpha, (double)rope->dim / (double)(rope->dim - 2));
        return;
    }
    rope->factor = awq_config_read_positive(reader, object, "factor", NAN);
    rope->original_positions = (double)max_positions;
}

/* ---- longrope ---- */

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
 * _compute_longrope_parameters), or each by an mscale of its own. That length and its factor are
 * the model's: transformers and engines differ in what they do when the RoPE scaling says others.
 */
static void read_longrope(const awq_config_reader *reader, const json_t *object,
                          const awq_config *config, int64_t max_positions, awq_rope *rope)
{
    bool inside = !awq_config_says(reader, original_key) && json_object_get(object, original_key);
    double positions = (double)awq_config_read_size(reader, original_key,
                                                    config->family->original_positions, INT32_MAX);
    if (inside) positions = awq_config_read_positive(reader, object, original_key, positions);
    double factor = (double)max_positions / positions, scaled = 1;
    if (positions < 1) return;
    if (positions < 2) awq_config_complain(reader, original_key, " must be above one");
    if (awq_config_read_positive(reader, object, original_key, positions) != positions)
        awq_config_complain(reader, "the RoPE scaling says another ", original_key);
    if (awq_config_read_positive(reader, object, "factor", factor) != factor)
        awq_config_complain(reader, "the RoPE factor is not max_position_embeddings / ",
                            original_key);
    if (factor > 1) scaled = sqrt(1 + log(factor) / log(positions));
    rope->original_positions = positions;
    scaled = awq_config_read_positive(reader, object, "attention_factor", scaled);
    rope->attention_factor = awq_config_read_positive(reader, object, "short_mscale", scaled);
    rope->long_attention_factor = awq_config_read_positive(reader, object, "long_mscale", scaled);
    read_factors(reader, object, "short_factor", rope->dim / 2, rope->short_factor);
    read_factors(reader, object, "long_factor", rope->dim / 2, rope->long_factor);
}

/* ---- proportional ---- */

/* Of pairs of the whole head the first turn as if all did, as many as partial_rotary_factor says.
 */
static void read_proportional(const awq_config_reader *reader, const json_t *object, awq_rope *rope)
{
    double part =
        awq_json_number(object, "partial_rotary_factor", 1, reader->name, reader->problems);
    if (!(part >= 0 && part <= 1))
        awq_config_complain(reader, "partial_rotary_factor is not between 0 and 1", "");
    else
        rope->turning = (int64_t)(part * (double)rope->dim / 2);
    rope->factor = awq_config_read_positive(reader, object, "factor", 1);
}

/* ---- which ---- */

/* Names that longrope had before, in families that have it. */
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

void awq_config_read_rope_scaling(const awq_config_reader *reader, const json_t *object,
                                  const char *fallback, const awq_config *config,
                                  int64_t max_positions, awq_rope *rope)
{
    bool longrope = config->family->original_positions > 0;
    const char *type = awq_json_string(object, "type", fallback, reader->name, reader->problems);
    type = awq_json_string(object, "rope_type", type, reader->name, reader->problems);
    if (!type) {
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
    } else if (!longrope && !strcmp(type, "yarn")) {
        rope->type = AWQ_ROPE_YARN;
        read_yarn(reader, object, max_positions, rope);
    } else if (config->family->full_head_dim && !strcmp(type, "proportional")) {
        rope->type = AWQ_ROPE_PROPORTIONAL;
        read_proportional(reader, object, rope);
    } else if (!strcmp(type, "dynamic")) {
        rope->type = AWQ_ROPE_DYNAMIC;
        read_dynamic(reader, object, config, max_positions, rope);
    } else {
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': rope type '%.60s' is not supported; supported are default, "
                         "linear, dynamic, llama3, %s",
                         reader->name, type, longrope ? "longrope" : "yarn");
    }
}
