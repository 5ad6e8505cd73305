/* SPDX-License-Identifier: MIT */
#include "layers/statistics.h"

#include "layers/arena.h"
#include "layers/extent.h"

/* In AWQ_LINEAR order, so that a linear's group is the last that begins at or before it. */
static const struct {
    awq_linear first;
    int count;
} consumers[AWQ_GROUPS] = {
    [AWQ_GROUP_QKV] = {AWQ_Q, 3},
    [AWQ_GROUP_O] = {AWQ_O, 1},
    [AWQ_GROUP_GATE_UP] = {AWQ_GATE, 2},
    [AWQ_GROUP_DOWN] = {AWQ_DOWN, 1},
};

void awq_group_consumers(awq_group group, awq_linear *first, int *count)
{
    *first = consumers[group].first;
    *count = consumers[group].count;
}

awq_group awq_linear_group(awq_linear linear)
{
    int group = AWQ_GROUPS - 1;
    while (linear < consumers[group].first) group--;
    return (awq_group)group;
}

int64_t awq_group_channels(const awq_model *model, awq_group group)
{
    return awq_linear_extent(model, consumers[group].first).in;
}

static void place(awq_arena *arena, const awq_model *model, awq_statistics *to)
{
    for (int group = 0; group < AWQ_GROUPS; group++) {
        uint64_t channels = (uint64_t)awq_group_channels(model, (awq_group)group);
        to->abs_sum[group] = awq_arena_take(arena, channels * sizeof(double));
        to->gram[group] = awq_arena_take(arena, channels * channels * sizeof(float));
    }
}

uint64_t awq_statistics_bytes(const awq_model *model)
{
    awq_arena measure = {0};
    awq_statistics statistics;
    place(&measure, model, &statistics);
    return measure.used;
}

awq_status awq_statistics_init(awq_device *device, const awq_model *model, awq_statistics *out,
                               awq_error *err)
{
    const awq_backend *be = device->backend;
    awq_statistics statistics = {0};
    uint64_t bytes = awq_statistics_bytes(model);
    if (be->alloc(device, bytes, "the statistics of a layer", &statistics.arena, err))
        return err->status;
    place(&(awq_arena){.base = statistics.arena}, model, &statistics);
    be->zero(device, statistics.arena, bytes);
    *out = statistics;
    return AWQ_OK;
}

void awq_statistics_release(awq_device *device, awq_statistics *statistics)
{
    device->backend->release(device, statistics->arena);
    *statistics = (awq_statistics){0};
}
