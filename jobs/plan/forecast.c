/* SPDX-License-Identifier: MIT */
#include "jobs/plan/forecast.h"

#include <math.h>
#include <stdlib.h>

/* When things happen to a stage, in seconds. */
typedef struct times {
    double first_tile, flow_end;
} times;

static void add_stage(const awq_stage *stage, const bool *done, int64_t tiles, const awq_pace *pace,
                      double *free_at, times *before)
{
    double flow = 0, search = 0;
    for (int64_t layer = stage->first; layer < stage->first + stage->count; layer++) {
        flow += done[layer] ? pace->forward : pace->flow;
        search += done[layer] ? 0 : pace->search;
    }
    bool fed = stage->input == AWQ_INPUT_STAGE;
    double a_tile = flow / (double)tiles;
    double begin = fed ? fmax(*free_at, before->first_tile) : *free_at;
    double end = begin + flow;
    if (fed) end = fmax(end, before->flow_end + a_tile);
    *before = (times){begin + a_tile, end};
    *free_at = end + search;
}

double awq_forecast_seconds(const awq_plan *plan, const bool *done, int workers, int64_t tiles,
                            const awq_pace *pace)
{
    double last = 0;
    times before = {0};
    double *free_at = calloc((size_t)workers, sizeof *free_at);
    if (!free_at) return -1;
    for (int64_t i = 0; i < plan->stage_count; i++) {
        const awq_stage *stage = &plan->stages[i];
        add_stage(stage, done, tiles, pace, &free_at[stage->worker], &before);
        last = fmax(last, free_at[stage->worker]);
    }
    free(free_at);
    return last;
}
