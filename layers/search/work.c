/* SPDX-License-Identifier: MIT */
#include "layers/search/work.h"

#include "layers/search/candidates.h"
#include "layers/search/race.h"

bool awq_search_is_mixed(const awq_layer_spec *layer, int index)
{
    const awq_group_spec *group = &layer->group[index];
    for (int i = 0; i < group->count; i++)
        if (group->expert < 0 && layer->linear[awq_group_reader(layer, group, i)].expert >= 0)
            return true;
    return false;
}

/* Of all batches' rows; linears of one expert are in a row. */
static double mixed_share(const awq_layer_spec *layer, const awq_group_spec *group)
{
    double measured = 0, all = 0;
    int64_t rows = 0;
    for (int i = 0; i < group->count; i++) {
        const awq_linear_spec *linear = &layer->linear[awq_group_reader(layer, group, i)];
        bool last = i + 1 == group->count ||
                    layer->linear[awq_group_reader(layer, group, i + 1)].expert != linear->expert;
        if (!linear->exempt) rows += linear->out;
        if (!last) continue;
        int level = awq_race_first_level(rows, AWQ_RACE_MIXED);
        measured += awq_race_share(rows, level) * (double)rows;
        all += (double)rows;
        rows = 0;
    }
    return all > 0 ? measured / all : 1;
}

/* Of what the first rows do not settle a quarter: about what trained models with outliers took;
 * without outliers, or of random weights, it is half as much again (docs/quality.md). */
static double race_share(const awq_layer_spec *layer, const awq_group_spec *group)
{
    int64_t rows = 0;
    for (int i = 0; i < group->count; i++)
        rows += layer->linear[awq_group_reader(layer, group, i)].out;
    double first = awq_race_share(rows, awq_race_first_level(rows, 0));
    return first + (1 - first) / 4;
}

double awq_search_share(const awq_recipe *recipe, const awq_layer_spec *layer, int index)
{
    const awq_group_spec *group = &layer->group[index];
    if (recipe->search == AWQ_SEARCH_EXHAUSTIVE) return 1;
    return awq_search_is_mixed(layer, index) ? mixed_share(layer, group) : race_share(layer, group);
}

double awq_search_candidates(const awq_recipe *recipe)
{
    double listed = awq_candidates_count((int)recipe->alpha_steps, recipe->duo);
    return recipe->alpha_steps ? listed + (double)recipe->refine : listed;
}

/* Of the rows that are measured together, and of a group's channels. */
static uint64_t candidate_bytes(const awq_layer_spec *layer, int index)
{
    const awq_group_spec *group = &layer->group[index];
    int64_t rows = 0;
    for (int i = 0; i < group->count; i++) {
        const awq_linear_spec *linear = &layer->linear[awq_group_reader(layer, group, i)];
        if (group->expert >= 0 || linear->expert <= 0) rows += linear->out; /* of one expert */
    }
    return (uint64_t)rows * sizeof(double) + (uint64_t)group->channels * sizeof(float);
}

uint64_t awq_search_host_bytes(const awq_recipe *recipe, const awq_model *model)
{
    uint64_t most = 0;
    for (int kind = 0; kind < model->kinds; kind++)
        for (int group = 0; group < model->kind[kind].groups; group++) {
            uint64_t bytes = candidate_bytes(&model->kind[kind], group);
            if (bytes > most) most = bytes;
        }
    return (uint64_t)awq_search_candidates(recipe) * most;
}

double awq_search_flops(const awq_recipe *recipe, const awq_layer_spec *layer, int index)
{
    const awq_linear_spec *linear = &layer->linear[index];
    bool joint = recipe->clip == AWQ_CLIP_JOINT; /* then the identity is measured once more */
    bool in_module = layer->group[linear->group].producer.by == AWQ_BY_NORM &&
                     recipe->objective == AWQ_OBJECTIVE_MODULE;
    double in = (double)linear->in, weights = (double)linear->out * in;
    double group = recipe->group_size < 0 ? in : (double)recipe->group_size;
    double clip = joint && linear->clipped ? 2 * group * awq_clip_trials(recipe->clip_shape) : 0;
    double others = awq_search_candidates(recipe) - 1;
    if (linear->exempt) return 0;
    if (in_module) return weights * (in + (others + 1) * clip);
    double passes = others * awq_search_share(recipe, layer, linear->group) + 1;
    return weights * ((passes + joint) * in + passes * clip);
}
