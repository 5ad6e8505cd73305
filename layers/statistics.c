/* SPDX-License-Identifier: MIT */
#include "layers/statistics.h"

#include <stdlib.h>

#include "layers/arena.h"
#include "layers/extent.h"

bool awq_group_has(const awq_model *model, int64_t layer, awq_group group, awq_linear linear)
{
    return awq_layer_has(model, layer, linear) && awq_linear_group(model, linear) == group;
}

int64_t awq_statistics_tokens(const awq_statistics *statistics, const awq_model *model,
                              awq_group group)
{
    bool routed =
        group >= AWQ_DENSE_GROUPS && group != awq_mlp_down_group(awq_model_shared_mlp(model));
    return routed ? statistics->group_tokens[group] : statistics->tokens;
}

const float *awq_statistics_gram(const awq_statistics *statistics, const awq_model *model,
                                 awq_linear linear)
{
    awq_kind kind = awq_linear_kind(model, linear);
    bool of_mlp = kind == AWQ_GATE || kind == AWQ_UP;
    const float *own = of_mlp ? statistics->expert_gram[awq_linear_mlp(linear)] : NULL;
    return own ? own : statistics->gram[awq_linear_group(model, linear)];
}

static void place_experts(awq_arena *arena, const awq_model *model, awq_statistics *to)
{
    uint64_t bytes = (uint64_t)(model->hidden * model->hidden) * sizeof(float);
    for (int mlp = 1; mlp <= (int)model->experts.count; mlp++) {
        void *gram = awq_arena_take(arena, bytes);
        if (to) to->expert_gram[mlp] = gram;
    }
}

static void place(awq_arena *arena, const awq_model *model, int64_t layer, awq_statistics *to)
{
    for (awq_group group = 0; group < awq_model_groups(model); group++) {
        if (!awq_layer_has_group(model, layer, group)) continue;
        uint64_t channels = (uint64_t)awq_group_channels(model, group);
        void *abs_sum = awq_arena_take(arena, channels * sizeof(double));
        void *gram = awq_arena_take(arena, channels * channels * sizeof(float));
        if (!to) continue;
        to->abs_sum[group] = abs_sum;
        to->gram[group] = gram;
    }
    if (model->sparse[layer]) place_experts(arena, model, to);
}

static uint64_t layer_bytes(const awq_model *model, int64_t layer)
{
    awq_arena measure = {0};
    place(&measure, model, layer, NULL);
    return measure.used;
}

uint64_t awq_statistics_bytes(const awq_model *model)
{
    int64_t layer[2];
    uint64_t most = layer_bytes(model, 0);
    if (awq_model_sorts(model, layer) < 2) return most;
    uint64_t other = layer_bytes(model, layer[1]);
    return other > most ? other : most;
}

static awq_status alloc_hosts(awq_statistics *statistics, const awq_model *model, awq_error *err)
{
    size_t groups = (size_t)awq_model_groups(model);
    statistics->group_tokens = calloc(groups, sizeof *statistics->group_tokens);
    statistics->abs_sum = calloc(groups, sizeof *statistics->abs_sum);
    statistics->gram = calloc(groups, sizeof *statistics->gram);
    statistics->expert_gram =
        calloc((size_t)awq_model_mlps(model), sizeof *statistics->expert_gram);
    if (statistics->group_tokens && statistics->abs_sum && statistics->gram &&
        statistics->expert_gram)
        return AWQ_OK;
    return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the statistics of a layer");
}

awq_status awq_statistics_init(awq_device *device, const awq_model *model, int64_t layer,
                               awq_statistics *out, awq_error *err)
{
    const awq_backend *be = device->backend;
    awq_statistics statistics = {0};
    uint64_t bytes = layer_bytes(model, layer);
    if (alloc_hosts(&statistics, model, err) ||
        be->alloc(device, bytes, "the statistics of a layer", &statistics.arena, err)) {
        awq_statistics_release(device, &statistics);
        return err->status;
    }
    place(&(awq_arena){.base = statistics.arena}, model, layer, &statistics);
    be->zero(device, statistics.arena, bytes);
    *out = statistics;
    return AWQ_OK;
}

void awq_statistics_release(awq_device *device, awq_statistics *statistics)
{
    device->backend->release(device, statistics->arena);
    free(statistics->group_tokens);
    free(statistics->abs_sum);
    free(statistics->gram);
    free(statistics->expert_gram);
    free(statistics->choice);
    *statistics = (awq_statistics){0};
}
