/* SPDX-License-Identifier: MIT */
#include "jobs/plan/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* needed[layer]: the layer must be run, searched or forward only: all that are not done, and what
 * leads to them from the nearest boundary, or from the embedding. */
static void mark_needed(const awq_plan *plan, const bool *boundary, bool *needed)
{
    for (int64_t layer = plan->layers - 1; layer >= 0; layer--) {
        if (plan->done[layer] || needed[layer]) continue;
        int64_t start = layer;
        while (start > 0 && !(boundary && boundary[start])) start--;
        for (int64_t i = start; i <= layer; i++) needed[i] = true;
    }
}

static void cut_stages(awq_plan *plan, const bool *boundary, const bool *needed, int workers)
{
    awq_stage *stage = NULL;
    for (int64_t layer = 0; layer < plan->layers; layer++) {
        if (!needed[layer]) continue;
        bool on_disk = layer > 0 && boundary && boundary[layer];
        bool follows = layer > 0 && needed[layer - 1];
        if (!stage || !follows || on_disk || stage->count == plan->stage_layers) {
            if (stage && follows && !on_disk) stage->sends_on = 1;
            stage = &plan->stages[plan->stage_count];
            *stage = (awq_stage){.first = layer,
                                 .worker = (int32_t)(plan->stage_count++ % workers),
                                 .input = on_disk      ? AWQ_INPUT_BOUNDARY
                                          : layer == 0 ? AWQ_INPUT_EMBEDDING
                                                       : AWQ_INPUT_STAGE};
        }
        stage->count++;
        if (plan->done[layer]) plan->forward_only++;
    }
}

awq_status awq_plan_create(int64_t layers, const bool *done, const bool *boundary,
                           int64_t stage_layers, int workers, awq_plan *out, awq_error *err)
{
    awq_plan plan = {.layers = layers, .stage_layers = stage_layers};
    bool *needed = calloc((size_t)layers, sizeof *needed);
    plan.done = calloc((size_t)layers, sizeof *plan.done);
    plan.stages = calloc((size_t)layers, sizeof *plan.stages);
    if (!needed || !plan.done || !plan.stages) {
        free(needed);
        awq_plan_release(&plan);
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory to plan %lld layers", (long long)layers);
    }
    if (done) memcpy(plan.done, done, (size_t)layers * sizeof *done);
    for (int64_t i = 0; i < layers; i++) plan.layers_left += !plan.done[i];
    mark_needed(&plan, boundary, needed);
    cut_stages(&plan, boundary, needed, workers);
    free(needed);
    *out = plan;
    return AWQ_OK;
}

void awq_plan_release(awq_plan *plan)
{
    free(plan->stages);
    free(plan->done);
    *plan = (awq_plan){0};
}

double awq_plan_seconds(const awq_plan *plan, const bool *done, int workers, int64_t tiles,
                        const awq_pace *pace)
{
    double last = 0, first_tile = 0, flow_end = 0; /* the latter two of the stage before */
    double *free_at = calloc((size_t)workers, sizeof *free_at);
    if (!free_at) return -1;
    for (int64_t i = 0; i < plan->stage_count; i++) {
        const awq_stage *stage = &plan->stages[i];
        double flow = 0, search = 0;
        for (int64_t layer = stage->first; layer < stage->first + stage->count; layer++) {
            flow += done[layer] ? pace->forward : pace->flow;
            search += done[layer] ? 0 : pace->search;
        }
        bool fed = stage->input == AWQ_INPUT_STAGE;
        double a_tile = flow / (double)tiles, begin = free_at[stage->worker];
        if (fed) begin = fmax(begin, first_tile);
        double end = begin + flow;
        if (fed) end = fmax(end, flow_end + a_tile);
        first_tile = begin + a_tile;
        flow_end = end;
        free_at[stage->worker] = end + search;
        last = fmax(last, free_at[stage->worker]);
    }
    free(free_at);
    return last;
}

int64_t awq_plan_boundaries(const awq_plan *plan, int64_t workers, bool all)
{
    int64_t boundaries = plan->stage_count ? plan->stage_count - 1 : 0;
    return all || boundaries < 2 * workers ? boundaries : 2 * workers;
}

/* ---- memory ---- */

/* Of a stage's layers, those that have what experts read in memory. */
static uint64_t inputs_bytes(const awq_hello *needs, int64_t layers)
{
    int64_t count = layers < needs->inputs_layers ? layers : needs->inputs_layers;
    return (uint64_t)count * needs->inputs_bytes;
}

uint64_t awq_plan_stage_bytes(const awq_hello *needs, int64_t layers)
{
    uint64_t bytes = needs->fixed_bytes + (uint64_t)layers * needs->layer_bytes;
    return needs->host_bytes ? bytes : bytes + inputs_bytes(needs, layers);
}

uint64_t awq_plan_host_bytes(const awq_hello *needs, int64_t layers)
{
    return needs->host_bytes ? needs->host_bytes + inputs_bytes(needs, layers) : 0;
}

uint64_t awq_plan_file_bytes(const awq_hello *needs, int64_t layers)
{
    return (uint64_t)layers * needs->inputs_bytes - inputs_bytes(needs, layers);
}

awq_status awq_plan_stage_layers(int64_t layers, int workers, int64_t wanted,
                                 const awq_hello *needs, int64_t *out, awq_error *err)
{
    uint64_t least = awq_plan_stage_bytes(needs, 1);
    int64_t count = wanted ? wanted : (layers + workers - 1) / workers;
    if (least > needs->budget_bytes)
        return awq_fail(err, AWQ_ERR_MEMORY,
                        "one decoder layer needs %.2f GB, and the worker with the least memory may "
                        "use %.2f GB; lower --tile-tokens%s, raise --device-memory, or run fewer "
                        "workers on a node",
                        1e-9 * (double)least, 1e-9 * (double)needs->budget_bytes,
                        inputs_bytes(needs, 1) && !needs->host_bytes ? " or --inputs-memory" : "");
    if (count < 1) count = 1;
    while (count > 1 && awq_plan_stage_bytes(needs, count) > needs->budget_bytes) count--;
    *out = count;
    return AWQ_OK;
}
