/* SPDX-License-Identifier: MIT
 * io/families/config_layers.c - config.json's keys of what is otherwise in layers without a window,
 * and of what travels from layer to layer beside hidden states: keys and values that later layers
 * share, and what each layer is given of a token. */
#include <stdio.h>
#include <string.h>

#include "io/families/config.h"
#include "io/files/json.h"

bool awq_layers_read(const awq_family *family, const char *key)
{
    static const char *const read[] = {"global_head_dim",
                                       "num_global_key_value_heads",
                                       "per_layer_config",
                                       "attention_k_eq_v",
                                       "num_kv_shared_layers",
                                       "use_double_wide_mlp",
                                       "use_bidirectional_attention",
                                       "final_logit_softcapping"};
    if (!family->full_head_dim) return false;
    for (size_t i = 0; i < sizeof read / sizeof *read; i++)
        if (!strcmp(read[i], key)) return true;
    return family->layer_input && !strcmp(key, "hidden_size_per_layer_input");
}

/* ---- heads of layers without a window ---- */

/* A size of an entry of per_layer_config. */
static int64_t read_entry(const awq_config_reader *reader, const json_t *entry, const char *key,
                          int64_t silent)
{
    awq_config_reader own = *reader;
    own.object = entry;
    return awq_config_read_size(&own, key, silent, AWQ_MAX_WIDTH);
}

static bool is_of_heads(const json_t *entry)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)entry, key, value)
    {
        if (strcmp(key, "head_dim") != 0 && strcmp(key, "num_key_value_heads") != 0) return false;
    }
    return json_is_object(entry);
}

/* An object for each layer that differs from what the keys beside it say: all those without a
 * window alike, and no other. */
static void read_each(const awq_config_reader *reader, const json_t *all, awq_config *config)
{
    size_t found = 0;
    bool said = false;
    for (int64_t i = 0; i < config->layers; i++) {
        char number[24];
        snprintf(number, sizeof number, "%lld", (long long)i);
        const json_t *entry = json_object_get(all, number);
        if (entry && !is_of_heads(entry)) {
            awq_config_complain(reader, "per_layer_config says what is not supported of layer ",
                                number);
            return;
        }
        found += entry != NULL;
        int64_t dim = read_entry(reader, entry, "head_dim", config->head_dim);
        int64_t heads = read_entry(reader, entry, "num_key_value_heads", config->kv_heads);
        bool first = !config->windowed[i] && !said;
        if (first) config->full_head_dim = dim;
        if (first) config->full_kv_heads = heads;
        said = said || first;
        if (dim == (config->windowed[i] ? config->head_dim : config->full_head_dim) &&
            heads == (config->windowed[i] ? config->kv_heads : config->full_kv_heads))
            continue;
        awq_config_complain(
            reader, "its layers of a kind differ in per_layer_config, which is not supported", "");
        return;
    }
    if (found != json_object_size(all) || !json_is_object(all))
        awq_config_complain(reader, "per_layer_config names what is no layer of the model", "");
}

static void read_full_heads(const awq_config_reader *reader, awq_config *config)
{
    const json_t *each = json_object_get(reader->object, "per_layer_config");
    config->full_k_is_v = awq_config_read_bool(reader, "attention_k_eq_v", false);
    config->full_kv_heads = config->kv_heads;
    config->full_head_dim = awq_config_read_size(reader, "global_head_dim",
                                                 config->family->full_head_dim, AWQ_MAX_WIDTH);
    int64_t global =
        awq_config_says(reader, "num_global_key_value_heads")
            ? awq_config_read_size(reader, "num_global_key_value_heads", 0, AWQ_MAX_WIDTH)
            : config->kv_heads;
    if (config->full_k_is_v) config->full_kv_heads = global;
    if (each && !json_is_null(each) && config->head_dim && config->kv_heads)
        read_each(reader, each, config);
    if (config->full_head_dim % 2)
        awq_config_complain(reader,
                            "heads of layers without a window have an odd number of "
                            "channels, which RoPE cannot rotate",
                            "");
    if (config->full_head_dim * config->heads > AWQ_MAX_WIDTH)
        awq_config_complain(reader, "num_attention_heads times global_head_dim is too large", "");
    if (config->full_kv_heads && config->heads % config->full_kv_heads)
        awq_config_complain(reader,
                            "num_attention_heads is not a multiple of the key-value heads "
                            "of layers without a window",
                            "");
}

/* ---- keys and values that later layers read ---- */

/* The last layer before `first` that has a window as `layer` does; -1: none. */
static int64_t find_giver(const awq_config *config, int64_t first, int64_t layer)
{
    int64_t giver = first - 1;
    while (giver >= 0 && config->windowed[giver] != config->windowed[layer]) giver--;
    return giver;
}

/* Planes of k and of v of the layers with a window, or of those without. */
static void add_kv_planes(const awq_config *config, bool windowed, awq_model *model)
{
    int64_t width = windowed ? config->kv_heads * config->head_dim
                             : config->full_kv_heads * config->full_head_dim;
    for (int i = 0; i < 2; i++) {
        model->plane[model->planes++] = (awq_plane){model->residual, width, 1};
        model->residual += width;
    }
}

static void read_sharing(const awq_config_reader *reader, awq_config *config, awq_model *model)
{
    static const char key[] = "num_kv_shared_layers";
    int64_t count = awq_json_integer(reader->object, key, 0, reader->name, reader->problems);
    config->wide_takers = awq_config_read_bool(reader, "use_double_wide_mlp", false);
    config->kv_plane[0] = config->kv_plane[1] = -1;
    if (!count) return;
    if (count < 0 || count >= config->layers) {
        awq_config_complain(reader, key, " is not a number from 0 to that of the layers less one");
        return;
    }
    int64_t first = config->layers - count;
    for (int64_t i = first; i < config->layers; i++) {
        int64_t giver = find_giver(config, first, i);
        int *plane = &config->kv_plane[config->windowed[i]];
        if (giver < 0) {
            awq_config_complain(reader, key,
                                ": there is no layer of a kind before those that share "
                                "its keys and values");
            return;
        }
        config->sharing[i] = AWQ_KV_TAKEN;
        config->sharing[giver] = AWQ_KV_GIVEN;
        if (*plane >= 0) continue;
        *plane = model->planes;
        add_kv_planes(config, config->windowed[i], model);
    }
}

/* ---- what layers are given ---- */

static void read_inputs(const awq_config_reader *reader, awq_config *config, awq_model *model)
{
    static const char key[] = "hidden_size_per_layer_input";
    const json_t *said = json_object_get(reader->object, key);
    bool none = json_is_integer(said) && !json_integer_value(said);
    if (none || !config->family->layer_input) return;
    int64_t width = awq_config_read_size(reader, key, config->family->layer_input, AWQ_MAX_WIDTH);
    int64_t vocab = awq_config_read_size(reader, "vocab_size_per_layer_input", 262144, INT32_MAX);
    if (vocab && vocab < model->vocab)
        awq_config_complain(reader,
                            "vocab_size_per_layer_input is below vocab_size, and tokens "
                            "beyond it have no layer inputs",
                            "");
    if (width > AWQ_MAX_WIDTH / (config->layers ? config->layers : 1))
        awq_config_complain(reader, key, " times num_hidden_layers is too large");
    config->layer_input = width;
    model->inputs =
        (awq_layer_inputs){width, vocab, awq_config_root(width, model->dtype), model->planes};
    model->plane[model->planes++] = (awq_plane){model->residual, width, config->layers};
    model->residual += width * config->layers;
}

/* ---- the whole model ---- */

/* The last layer has no window, whatever is said of it (transformers' configuration_gemma4). */
static void read_causality(const awq_config_reader *reader, awq_config *config, awq_model *model)
{
    static const char key[] = "use_bidirectional_attention";
    const char *whom = awq_json_string(reader->object, key, "", reader->name, reader->problems);
    if (*whom && strcmp(whom, "vision") != 0) /* those are images' tokens, and text has none */
        awq_config_complain(reader, "a use_bidirectional_attention that is not supported: ", whom);
    if (config->layers) config->windowed[config->layers - 1] = false;
    model->final_softcap = awq_config_read_factor(reader, "final_logit_softcapping", 0);
}

void awq_config_read_layers(const awq_config_reader *reader, awq_config *config, awq_model *model)
{
    config->full_kv_heads = config->kv_heads;
    config->full_head_dim = config->head_dim;
    if (!config->family->full_head_dim) return;
    read_causality(reader, config, model);
    read_full_heads(reader, config);
    read_sharing(reader, config, model);
    read_inputs(reader, config, model);
}
