/* SPDX-License-Identifier: MIT
 * io/families/config_kinds.c - config.json's keys of attention that is not grouped-query: latent
 * attention and its indexer, gated delta nets. */
#include <string.h>

#include "io/families/config.h"
#include "io/files/json.h"

/* ---- latent attention ---- */

static int64_t read_width(const awq_config_reader *reader, const char *key, int64_t silent)
{
    return awq_config_read_size(reader, key, silent, AWQ_MAX_WIDTH);
}

/* A head is what passes, then what turns; heads of q, k and v are as many. */
static void read_latent_heads(const awq_config_reader *reader, const awq_latent *silent,
                              awq_config *config)
{
    awq_latent_config *latent = &config->latent;
    latent->nope = read_width(reader, "qk_nope_head_dim", silent->nope);
    latent->rope = read_width(reader, "qk_rope_head_dim", silent->rope);
    config->head_dim = latent->nope + latent->rope;
    config->value_dim = read_width(reader, "v_head_dim", silent->value);
    if (config->kv_heads != config->heads)
        awq_config_complain(reader,
                            "latent attention has as many key-value heads as heads; it is "
                            "not so in num_key_value_heads",
                            "");
    config->kv_heads = config->heads;
    if (latent->nope % 2 || latent->rope % 2)
        awq_config_complain(reader, "qk_nope_head_dim and qk_rope_head_dim must be even", "");
    if (config->heads * (config->head_dim + config->value_dim) > AWQ_MAX_WIDTH)
        awq_config_complain(reader, "num_attention_heads times the channels of a head is too large",
                            "");
}

/* 'full' or 'shared', as a list or its first letters in a row say of a layer; NULL: neither. */
static const char *listed_type(const json_t *list, int64_t layer)
{
    const char *letters = json_string_value(list);
    if (!letters) return json_string_value(json_array_get(list, (size_t)layer));
    if (strlen(letters) <= (size_t)layer) return NULL;
    return letters[layer] == 'F' ? "full" : letters[layer] == 'S' ? "shared" : NULL;
}

/* Which layers: all; or, where the family says, those of indexer_types or index_topk_pattern, or
 * each index_topk_freq-th. The others reuse the choice of the one before. */
static void read_indexed(const awq_config_reader *reader, const awq_latent *silent,
                         awq_config *config)
{
    bool typed = awq_config_says(reader, "indexer_types");
    const char *key = typed ? "indexer_types" : "index_topk_pattern";
    bool listed = silent->index_types && awq_config_says(reader, key);
    int64_t each = 1, offset = 1;
    if (silent->index_types && !listed) {
        each = awq_config_read_size(reader, "index_topk_freq", 1, AWQ_MAX_LAYERS);
        offset = awq_config_read_size(reader, "index_skip_topk_offset", 2, AWQ_MAX_LAYERS);
    }
    for (int64_t i = 0; each && offset && i < config->layers; i++) {
        bool full = i < offset || (i - offset + 1) % each == 0;
        const char *type = full ? "full" : "shared";
        if (listed) type = listed_type(json_object_get(reader->object, key), i);
        config->indexed[i] = type && !strcmp(type, "full");
        if (type && (config->indexed[i] || (i && !strcmp(type, "shared")))) continue;
        awq_config_complain(reader,
                            "which layers have an indexer is not said of each as full or "
                            "shared, the first full",
                            "");
        return;
    }
}

static void read_indexer(const awq_config_reader *reader, const awq_latent *silent,
                         awq_config *config, awq_model *model)
{
    awq_latent_config *latent = &config->latent;
    latent->index_heads = read_width(reader, "index_n_heads", silent->index_heads);
    latent->index_dim = read_width(reader, "index_head_dim", 128);
    model->most_attended = awq_config_read_size(reader, "index_topk", 2048, INT32_MAX);
    if (!latent->q_rank)
        awq_config_complain(reader, "an indexer reads q's latent vector, which ",
                            "q_lora_rank says is not there");
    if (latent->index_heads * latent->index_dim > AWQ_MAX_WIDTH)
        awq_config_complain(reader, "index_n_heads times index_head_dim is too large", "");
    read_indexed(reader, silent, config);
}

void awq_config_read_latent(const awq_config_reader *reader, awq_config *config, awq_model *model)
{
    const awq_latent *silent = config->family->latent;
    awq_latent_config *latent = &config->latent;
    const json_t *q_rank = json_object_get(reader->object, "q_lora_rank");
    if (!silent) return;
    if (!json_is_null(q_rank)) latent->q_rank = read_width(reader, "q_lora_rank", silent->q_rank);
    latent->kv_rank = read_width(reader, "kv_lora_rank", silent->kv_rank);
    if (!silent->always_interleaved) awq_config_refuse_null(reader, "rope_interleave");
    latent->interleaved =
        silent->always_interleaved || awq_config_read_bool(reader, "rope_interleave", true);
    read_latent_heads(reader, silent, config);
    if (silent->index_heads)
        read_indexer(reader, silent, config, model);
    else if (awq_config_says(reader, "index_topk"))
        awq_config_complain(reader, "key 'index_topk' is not supported for model_type ",
                            config->family->model_type);
}

/* ---- gated delta nets ---- */

/* Which layers: those that layer_types calls so, or all but each full_attention_interval-th. */
static void read_recurrent(const awq_config_reader *reader, awq_config *config)
{
    const json_t *types = json_object_get(reader->object, "layer_types");
    int64_t each = awq_config_read_size(reader, "full_attention_interval", 4, AWQ_MAX_LAYERS);
    if (!awq_config_says(reader, "layer_types")) {
        for (int64_t i = 0; each && i < config->layers; i++)
            config->recurrent[i] = (i + 1) % each != 0;
        return;
    }
    if (json_array_size(types) != (size_t)config->layers)
        awq_config_complain(reader, "layer_types does not name a type for each layer", "");
    for (size_t i = 0; i < json_array_size(types) && i < (size_t)config->layers; i++) {
        const char *text = json_string_value(json_array_get(types, i));
        config->recurrent[i] = text && !strcmp(text, "linear_attention");
        if (text && (config->recurrent[i] || !strcmp(text, "full_attention"))) continue;
        awq_config_complain(reader,
                            "layer_types holds a type that is not supported: ", text ? text : "?");
        return;
    }
}

enum { MAX_TAPS = 16 };

/* Of what heads put out: SiLU, under either name, and nothing else is computed. */
static void check_gate(const awq_config_reader *reader)
{
    static const char key[] = "output_gate_type";
    const char *name = awq_json_string(reader->object, key, "silu", reader->name, reader->problems);
    if (strcmp(name, "silu") != 0 && strcmp(name, "swish") != 0)
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': %s '%.60s' is not supported; supported is silu", reader->name, key,
                         name);
}

void awq_config_read_delta(const awq_config_reader *reader, awq_config *config)
{
    awq_delta_config *delta = &config->delta;
    if (!config->family->delta) return;
    read_recurrent(reader, config);
    check_gate(reader);
    delta->heads = read_width(reader, "linear_num_value_heads", 32);
    delta->key_heads = read_width(reader, "linear_num_key_heads", 16);
    delta->value_dim = read_width(reader, "linear_value_head_dim", 128);
    delta->key_dim = read_width(reader, "linear_key_head_dim", 128);
    delta->taps = awq_config_read_size(reader, "linear_conv_kernel_dim", 4, MAX_TAPS);
    if (delta->key_heads && delta->heads % delta->key_heads)
        awq_config_complain(reader,
                            "linear_num_value_heads is not a multiple of "
                            "linear_num_key_heads",
                            "");
    if (delta->heads * delta->value_dim > AWQ_MAX_WIDTH ||
        delta->key_heads * delta->key_dim > AWQ_MAX_WIDTH)
        awq_config_complain(reader, "a gated delta net's heads times their channels are too many",
                            "");
}
