/* SPDX-License-Identifier: MIT */
#include "layers/forward/statistics.h"

#include <stdlib.h>

#include "kernels/gram.h"
#include "layers/forward/arena.h"

int64_t awq_statistics_tokens(const awq_statistics *statistics, int group)
{
    return statistics->spec->group[group].expert >= 0 ? statistics->group_tokens[group]
                                                      : statistics->tokens;
}

/* to NULL: measures. */
static void place(awq_arena *arena, const awq_layer_spec *spec, awq_layer_part part,
                  awq_statistics *to)
{
    for (int group = 0; group < spec->groups; group++) {
        uint64_t channels = (uint64_t)spec->group[group].channels;
        if (spec->group[group].expert >= 0 || !awq_layer_part_has_group(spec, part, group))
            continue;
        void *abs_sum = awq_arena_take(arena, channels * sizeof(double));
        void *gram =
            awq_arena_take(arena, (uint64_t)awq_gram_elements((int64_t)channels) * sizeof(float));
        if (!to) continue;
        to->abs_sum[group] = abs_sum;
        to->gram[group] = gram;
    }
}

static uint64_t layer_bytes(const awq_layer_spec *spec, awq_layer_part part)
{
    awq_arena measure = {0};
    place(&measure, spec, part, NULL);
    return measure.used;
}

uint64_t awq_statistics_bytes(const awq_model *model)
{
    uint64_t most = 0;
    for (int kind = 0; kind < model->kinds; kind++) {
        uint64_t bytes = layer_bytes(&model->kind[kind], (awq_layer_part){0});
        if (bytes > most) most = bytes;
    }
    return most;
}

static awq_status alloc_hosts(awq_statistics *statistics, awq_error *err)
{
    size_t groups = (size_t)statistics->spec->groups;
    statistics->group_tokens = calloc(groups, sizeof *statistics->group_tokens);
    statistics->abs_sum = calloc(groups, sizeof *statistics->abs_sum);
    statistics->gram = calloc(groups, sizeof *statistics->gram);
    if (statistics->group_tokens && statistics->abs_sum && statistics->gram) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the statistics of a layer");
}

awq_status awq_statistics_init(awq_device *device, const awq_model *model, int64_t layer,
                               awq_layer_part part, const awq_routed_room *room,
                               awq_statistics *out, awq_error *err)
{
    const awq_backend *be = device->backend;
    awq_statistics statistics = {.spec = awq_model_layer(model, layer)};
    uint64_t bytes = layer_bytes(statistics.spec, part);
    size_t row = (size_t)model->hidden * be->compute_bytes;
    if (alloc_hosts(&statistics, err) ||
        (statistics.spec->mlps.routing.experts &&
         awq_routed_init(room, row, &statistics.routed, err)) ||
        be->alloc(device, bytes, "the statistics of a layer", &statistics.arena, err)) {
        awq_statistics_release(device, &statistics);
        return err->status;
    }
    place(&(awq_arena){.base = statistics.arena}, statistics.spec, part, &statistics);
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
    awq_routed_release(&statistics->routed);
    free(statistics->choice);
    *statistics = (awq_statistics){0};
}
