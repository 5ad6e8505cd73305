/* SPDX-License-Identifier: MIT
 * io/families/config_attention.c - config.json's keys of attention: biases, norms of queries and
 * keys, windows, layers without rotary embedding, the scale of the logits. */
#include <math.h>
#include <string.h>

#include "io/families/config.h"
#include "io/files/json.h"

/* ---- biases and norms ---- */

static bool read_bias(const awq_config_reader *reader, const awq_family *family, const char *key,
                      const char *usual)
{
    return awq_config_read_bool(reader, key ? key : usual, family->bias);
}

static void read_biases(const awq_config_reader *reader, awq_config *config)
{
    const awq_family *family = config->family;
    bool all =
        awq_config_has(config, AWQ_KEY_USE_BIAS) && read_bias(reader, family, "use_bias", NULL);
    bool attention = all;
    if (awq_config_has(config, AWQ_KEY_ATTENTION_BIAS))
        attention = read_bias(reader, family, family->attention_bias_key, "attention_bias");
    config->qkv_bias = attention || family->qkv_bias;
    config->o_bias = attention;
    if (awq_config_has(config, AWQ_KEY_QKV_BIAS) && awq_config_says(reader, "use_qkv_bias"))
        config->qkv_bias = awq_config_read_bool(reader, "use_qkv_bias", false);
    else if (awq_config_has(config, AWQ_KEY_QKV_BIAS))
        config->qkv_bias = awq_config_read_bool(reader, "qkv_bias", config->qkv_bias);
    if (awq_config_has(config, AWQ_KEY_O_BIAS))
        config->o_bias = awq_config_read_bool(reader, "attention_out_bias", false);
    config->mlp_bias = all;
    if (awq_config_has(config, AWQ_KEY_MLP_BIAS))
        config->mlp_bias = awq_config_read_bool(
            reader, family->mlp_bias_key ? family->mlp_bias_key : "mlp_bias", false);
}

static void read_qk_norm(const awq_config_reader *reader, awq_config *config)
{
    const awq_family *family = config->family;
    bool there = !family->qk_norm_key ||
                 awq_config_read_bool(reader, family->qk_norm_key, family->qk_norm_silent);
    config->qk_norm = there ? family->qk_norm : AWQ_QK_NONE;
    const char *type =
        awq_json_string(reader->object, "qk_norm_type", "", reader->name, reader->problems);
    if (*type && (strcmp(type, "per_layer") != 0 || config->qk_norm != AWQ_QK_WHOLE))
        awq_config_complain(reader, "a qk_norm_type that is not supported: ", type);
}

/* ---- layers without rotary embedding ---- */

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
 * no_rope_layer_interval-th; an empty list says nothing. */
static void read_rotated(const awq_config_reader *reader, awq_config *config)
{
    const json_t *list = json_object_get(reader->object, "no_rope_layers");
    bool some = awq_config_has(config, AWQ_KEY_NO_ROPE),
         empty = json_is_array(list) && !json_array_size(list);
    bool listed = list && !json_is_null(list) && !empty;
    int64_t interval = 0;
    if (some && !listed)
        interval = awq_config_read_size(reader, "no_rope_layer_interval", 4, INT32_MAX);
    for (int64_t i = 0; i < config->layers; i++)
        config->rotated[i] = !interval || (i + 1) % interval != 0;
    if (some && listed && !read_no_rope_layers(list, config))
        awq_config_complain(reader, "no_rope_layers is not a list of a 0 or 1 for each layer", "");
}

/* ---- windows ---- */

/* "LLLG", or 4: of so many layers the last has no window. */
static int64_t read_pattern(const awq_config_reader *reader, const awq_config *config)
{
    const char *key = config->family->pattern_key;
    if (!key) return config->family->window_pattern;
    const char *letters = json_string_value(json_object_get(reader->object, key));
    if (!letters)
        return awq_config_read_size(reader, key, config->family->window_pattern, AWQ_MAX_LAYERS);
    size_t length = strlen(letters), local = strspn(letters, "L");
    if (length < 1 || local + 1 != length || letters[local] != 'G')
        awq_problems_add(reader->problems, AWQ_ERR_INPUT, "'%s': %s is not supported: %.60s",
                         reader->name, key, letters);
    return (int64_t)length;
}

/* Which layers have the window where config.json does not list them: by their number, or those
 * without rotary embedding, or all. */
static void assume_windows(const awq_config_reader *reader, awq_config *config)
{
    int64_t pattern = read_pattern(reader, config), without = 0;
    if (awq_config_has(config, AWQ_KEY_WINDOW_LAYERS))
        without = awq_json_integer(reader->object, "max_window_layers",
                                   config->family->window_layers, reader->name, reader->problems);
    for (int64_t i = 0; i < config->layers; i++) {
        bool windowed = i >= without && !(pattern && (i + 1) % pattern == 0);
        if (awq_config_has(config, AWQ_KEY_CHUNKS))
            windowed = config->rotated[i];
        else if (awq_config_has(config, AWQ_KEY_NO_ROPE))
            windowed = !config->rotated[i];
        config->windowed[i] = windowed;
    }
}

/* layer_types, where there is a window that not all layers have; where there is none, it may say
 * nothing else. */
static void read_layer_types(const awq_config_reader *reader, awq_config *config, bool mixed)
{
    const json_t *types = json_object_get(reader->object, "layer_types");
    const char *kind =
        awq_config_has(config, AWQ_KEY_CHUNKS) ? "chunked_attention" : "sliding_attention";
    if (!awq_config_says(reader, "layer_types")) return;
    if (awq_config_has(config, AWQ_KEY_DELTA)) return; /* they are of another thing */
    const char *full = "full_attention";
    const char *also = config->latent.index_heads ? "indexed_attention" : full;
    if (!json_is_array(types)) {
        awq_config_complain(reader, "layer_types is not a list", "");
        return;
    }
    if (mixed && json_array_size(types) != (size_t)config->layers)
        awq_config_complain(reader, "layer_types does not name a type for each layer", "");
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *text = json_string_value(json_array_get(types, i));
        bool windowed = text && !strcmp(text, kind);
        bool known = text && (!strcmp(text, full) || !strcmp(text, also) || (mixed && windowed));
        if (!known) {
            awq_config_complain(
                reader, "layer_types holds a type that is not supported: ", text ? text : "?");
            return;
        }
        if (mixed && i < (size_t)config->layers) config->windowed[i] = windowed;
    }
}

static void read_window(const awq_config_reader *reader, awq_config *config)
{
    bool chunks = awq_config_has(config, AWQ_KEY_CHUNKS),
         switched = awq_config_has(config, AWQ_KEY_WINDOW_SWITCH);
    const char *key = chunks ? "attention_chunk_size" : "sliding_window";
    bool silent = !json_object_get(reader->object, key); /* null is none */
    int64_t fallback = silent ? config->family->window : 0;
    bool possible = chunks || awq_config_has(config, AWQ_KEY_WINDOW);
    bool on = !switched || awq_config_read_bool(reader, "use_sliding_window", false);
    bool windowed = possible && on && (fallback || awq_config_says(reader, key));
    if (windowed && awq_config_has(config, AWQ_KEY_LIST_ONLY) &&
        !awq_config_says(reader, "layer_types"))
        awq_config_complain(reader, "key 'layer_types' is missing: which layers have the window",
                            " where it is silent differs between versions of transformers");
    if (windowed) {
        config->window = awq_config_read_size(reader, key, fallback, INT32_MAX);
        assume_windows(reader, config);
    }
    read_layer_types(reader, config,
                     windowed && (chunks || awq_config_has(config, AWQ_KEY_LAYER_TYPES)));
    for (int64_t i = 0; windowed && config->family->rope_in_windows && i < config->layers; i++)
        config->rotated[i] = config->windowed[i];
}

/* ---- logits ---- */

/* The scale of attention's logits, and the soft caps; null is none. Silence means gemma2's where
 * layers of a window take turns with others. */
static void read_logits(const awq_config_reader *reader, awq_config *config, awq_model *model)
{
    double scalar = (double)config->head_dim;
    bool capped = !awq_config_has(config, AWQ_KEY_LOCAL_ROPE);
    if (awq_config_has(config, AWQ_KEY_QUERY_SCALAR))
        scalar = awq_config_read_positive(reader, reader->object, "query_pre_attn_scalar", 256);
    config->scale = config->family->unscaled ? 1 : (float)(1 / sqrt(scalar));
    if (!awq_config_has(config, AWQ_KEY_SOFTCAPS)) return;
    bool silent = capped && !json_object_get(reader->object, "attn_logit_softcapping");
    config->softcap = awq_config_read_factor(reader, "attn_logit_softcapping", silent ? 50 : 0);
    silent = capped && !json_object_get(reader->object, "final_logit_softcapping");
    model->final_softcap =
        awq_config_read_factor(reader, "final_logit_softcapping", silent ? 30 : 0);
}

static void read_clamp(const awq_config_reader *reader, awq_config *config)
{
    if (awq_config_has(config, AWQ_KEY_CLAMP) && awq_config_says(reader, "clip_qkv"))
        config->clamp = awq_config_read_factor(reader, "clip_qkv", 0);
}

void awq_config_read_attention(const awq_config_reader *reader, awq_config *config,
                               awq_model *model)
{
    read_biases(reader, config);
    read_qk_norm(reader, config);
    read_rotated(reader, config);
    read_window(reader, config);
    read_logits(reader, config, model);
    read_clamp(reader, config);
}
