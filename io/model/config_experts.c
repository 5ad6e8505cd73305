/* SPDX-License-Identifier: MIT
 * io/model/config_experts.c - config.json's keys of a mixture of experts: how many, how wide, which
 * layers have them: all, or each decoder_sparse_step-th that is not in mlp_only_layers. */
#include "io/files/json.h"
#include "io/model/config.h"

static void read_counts(const awq_config_reader *reader, const char *key, awq_config *config)
{
    config->experts = awq_config_read_size(reader, key, 0, AWQ_MAX_EXPERTS);
    config->active = awq_config_read_size(reader, "num_experts_per_tok", 0, AWQ_MAX_EXPERTS);
    if (config->experts && config->active > config->experts)
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': num_experts_per_tok %lld is above %s %lld", reader->name,
                         (long long)config->active, key, (long long)config->experts);
}

/* Takes the layers of mlp_only_layers out. */
static void read_dense_layers(const awq_config_reader *reader, awq_config *config)
{
    const json_t *list = json_object_get(reader->object, "mlp_only_layers"), *item;
    size_t i;
    if (list && !json_is_null(list) && !json_is_array(list))
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': key 'mlp_only_layers' is not an array", reader->name);
    json_array_foreach(list, i, item)
    {
        json_int_t layer = json_integer_value(item);
        if (json_is_integer(item) && layer >= 0 && layer < config->layers) {
            config->sparse[layer] = false;
            continue;
        }
        awq_config_complain(reader, "mlp_only_layers holds what is not the number of a layer", "");
        return;
    }
}

/* Each family has a key of its own for how many there are; transformers 5 writes the first for all.
 */
static const char *find_count_key(const awq_config_reader *reader, const char *key)
{
    static const char *const others[] = {"num_local_experts", "num_experts"};
    const json_t *own = json_object_get(reader->object, key);
    for (int i = 0; i < 2; i++) {
        const json_t *other = json_object_get(reader->object, others[i]);
        if (!json_is_integer(other)) continue;
        if (!own || json_is_null(own)) return others[i];
        if (json_is_integer(own) && json_integer_value(own) != json_integer_value(other))
            awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                             "'%s': %s is %lld, and %s is %lld; which is right is not known",
                             reader->name, key, (long long)json_integer_value(own), others[i],
                             (long long)json_integer_value(other));
    }
    return key;
}

void awq_config_read_experts(const awq_config_reader *reader, awq_config *config)
{
    const awq_mixture *mixture = config->family->mixture;
    int64_t step = 1;
    if (!mixture) return;
    read_counts(reader, find_count_key(reader, mixture->count_key), config);
    config->expert_width = mixture->width_key
                               ? awq_config_read_size(reader, mixture->width_key, 0, AWQ_MAX_WIDTH)
                               : config->intermediate;
    if (mixture->shared_width_key)
        config->shared_width =
            awq_config_read_size(reader, mixture->shared_width_key, 0, AWQ_MAX_WIDTH);
    config->normalized =
        mixture->every_layer || awq_config_read_bool(reader, "norm_topk_prob", false);
    if (!mixture->every_layer)
        step = awq_config_read_size(reader, "decoder_sparse_step", 1, AWQ_MAX_LAYERS);
    for (int64_t layer = 0; step && layer < config->layers; layer++)
        config->sparse[layer] = (layer + 1) % step == 0;
    if (!mixture->every_layer) read_dense_layers(reader, config);
}
