/* SPDX-License-Identifier: MIT
 * io/model_experts.c - config.json's keys of a mixture of experts: how many, how wide, which layers
 * have them. mixtral's are in every layer; qwen's in each decoder_sparse_step-th that is not in
 * mlp_only_layers. */
#include <string.h>

#include "io/json.h"
#include "io/model_config.h"

/* Of other mixtures: what they ask for is not what is computed here. */
static const char *const foreign_keys[] = {"n_group",          "topk_group",
                                           "topk_method",      "scoring_func",
                                           "n_shared_experts", "routed_scaling_factor",
                                           "moe_layer_freq",   "first_k_dense_replace"};

static void refuse_foreign(const awq_config_reader *reader)
{
    for (size_t i = 0; i < sizeof foreign_keys / sizeof *foreign_keys; i++) {
        const json_t *value = json_object_get(reader->object, foreign_keys[i]);
        if (value && !json_is_null(value))
            awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                             "'%s': key '%s' is not supported in a mixture of experts",
                             reader->name, foreign_keys[i]);
    }
}

static void read_counts(const awq_config_reader *reader, const char *key, awq_experts *experts)
{
    experts->count = awq_config_read_size(reader, key, 0, AWQ_MAX_EXPERTS);
    experts->active = awq_config_read_size(reader, "num_experts_per_tok", 0, AWQ_MAX_EXPERTS);
    if (experts->count && experts->active > experts->count)
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': num_experts_per_tok %lld is above %s %lld", reader->name,
                         (long long)experts->active, key, (long long)experts->count);
}

/* Takes the layers of mlp_only_layers out. */
static void read_dense_layers(const awq_config_reader *reader, awq_model *model)
{
    const json_t *list = json_object_get(reader->object, "mlp_only_layers"), *item;
    size_t i;
    if (list && !json_is_null(list) && !json_is_array(list))
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': key 'mlp_only_layers' is not an array", reader->name);
    json_array_foreach(list, i, item)
    {
        json_int_t layer = json_integer_value(item);
        if (json_is_integer(item) && layer >= 0 && layer < model->layers) {
            model->sparse[layer] = false;
            continue;
        }
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': mlp_only_layers holds what is not the number of a layer",
                         reader->name);
        return;
    }
}

static void read_sparse_layers(const awq_config_reader *reader, awq_model *model)
{
    int64_t step = awq_config_read_size(reader, "decoder_sparse_step", 1, AWQ_MAX_LAYERS);
    for (int64_t layer = 0; step && layer < model->layers; layer++)
        model->sparse[layer] = (layer + 1) % step == 0;
    read_dense_layers(reader, model);
}

static void read_qwen(const awq_config_reader *reader, awq_model *model)
{
    awq_experts *experts = &model->experts;
    read_counts(reader, "num_experts", experts);
    experts->intermediate = awq_config_read_size(reader, "moe_intermediate_size", 0, AWQ_MAX_WIDTH);
    if (model->family == AWQ_QWEN2_MOE)
        experts->shared_intermediate =
            awq_config_read_size(reader, "shared_expert_intermediate_size", 0, AWQ_MAX_WIDTH);
    experts->normalized =
        awq_json_bool(reader->object, "norm_topk_prob", false, reader->name, reader->problems);
    read_sparse_layers(reader, model);
}

static void read_mixtral(const awq_config_reader *reader, awq_model *model)
{
    read_counts(reader, "num_local_experts", &model->experts);
    model->experts.intermediate = model->intermediate;
    model->experts.normalized = true;
    for (int64_t layer = 0; layer < model->layers; layer++) model->sparse[layer] = true;
}

void awq_config_read_experts(const awq_config_reader *reader, awq_model *model)
{
    if (model->family < AWQ_MIXTRAL) return;
    refuse_foreign(reader);
    if (model->family == AWQ_MIXTRAL)
        read_mixtral(reader, model);
    else
        read_qwen(reader, model);
    int64_t layer[2];
    if (!model->sparse[0] && awq_model_sorts(model, layer) == 1) /* all are dense after all */
        model->experts = (awq_experts){0};
    if (model->layers * awq_model_linears(model) > AWQ_MAX_LINEARS)
        awq_problems_add(reader->problems, AWQ_ERR_INPUT,
                         "'%s': %lld layers of %lld experts are more than %d linears, and not "
                         "supported",
                         reader->name, (long long)model->layers, (long long)model->experts.count,
                         (int)AWQ_MAX_LINEARS);
}
