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

static int64_t parts_of(const awq_plan_shape *shape, int64_t layer)
{
    if (shape->parts < 2 || !shape->model) return 1;
    int64_t most = awq_layer_part_most(awq_model_layer(shape->model, layer));
    return shape->parts < most ? shape->parts : most;
}

static awq_stage *add_stage(awq_plan *plan, int64_t layer, int32_t input, int workers)
{
    awq_stage *stage = &plan->stages[plan->stage_count];
    *stage = (awq_stage){
        .first = layer, .worker = (int32_t)(plan->stage_count++ % workers), .input = input};
    return stage;
}

/* The stage, which a layer was just added to, becomes those of its parts; returns the last. */
static awq_stage *split_stage(awq_plan *plan, awq_stage *stage, int64_t parts, int workers)
{
    if (parts < 2) return stage;
    stage->part.count = (int32_t)parts;
    for (int32_t i = 1; i < parts; i++) {
        stage->sends_on = 1;
        stage = add_stage(plan, stage->first, AWQ_INPUT_STAGE, workers);
        stage->count = 1;
        stage->part = (awq_layer_part){i, (int32_t)parts};
    }
    return stage;
}

static void cut_stages(awq_plan *plan, const bool *boundary, const bool *needed,
                       const awq_plan_shape *shape)
{
    awq_stage *stage = NULL;
    for (int64_t layer = 0; layer < plan->layers; layer++) {
        if (!needed[layer]) continue;
        bool on_disk = layer > 0 && boundary && boundary[layer];
        bool follows = layer > 0 && needed[layer - 1];
        if (!stage || !follows || on_disk || stage->count == plan->stage_layers) {
            if (stage && follows && !on_disk) stage->sends_on = 1;
            int32_t input = on_disk      ? AWQ_INPUT_BOUNDARY
                            : layer == 0 ? AWQ_INPUT_EMBEDDING
                                         : AWQ_INPUT_STAGE;
            stage = add_stage(plan, layer, input, shape->workers);
        }
        stage->count++;
        if (plan->done[layer]) plan->forward_only++;
        stage = split_stage(plan, stage, parts_of(shape, layer), shape->workers);
    }
}

awq_status awq_plan_create(int64_t layers, const bool *done, const bool *boundary,
                           const awq_plan_shape *shape, awq_plan *out, awq_error *err)
{
    int64_t parts = shape->parts > 1 ? shape->parts : 1;
    awq_plan plan = {
        .layers = layers, .stage_layers = parts > 1 ? 1 : shape->stage_layers, .parts = parts};
    bool *needed = calloc((size_t)layers, sizeof *needed);
    plan.done = calloc((size_t)layers, sizeof *plan.done);
    plan.stages = calloc((size_t)(layers * parts), sizeof *plan.stages);
    if (!needed || !plan.done || !plan.stages) {
        free(needed);
        awq_plan_release(&plan);
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory to plan %lld layers", (long long)layers);
    }
    if (done) memcpy(plan.done, done, (size_t)layers * sizeof *done);
    for (int64_t i = 0; i < layers; i++) plan.layers_left += !plan.done[i];
    mark_needed(&plan, boundary, needed);
    cut_stages(&plan, boundary, needed, shape);
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
        if (stage->part.count > 1) { /* parts compute at the same time */
            flow /= stage->part.count;
            search /= stage->part.count;
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
    for (int64_t i = 0; plan->parts > 1 && i < plan->stage_count; i++)
        boundaries -= plan->stages[i].part.index > 0; /* inside of a layer is none */
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

awq_hello awq_plan_part_needs(const awq_hello *needs, int64_t parts)
{
    awq_hello part = *needs;
    if (parts < 2 || !needs->experts) return part;
    int64_t elsewhere = needs->experts - (needs->experts + parts - 1) / parts;
    uint64_t others =
        (uint64_t)(elsewhere < needs->spare_experts ? elsewhere : needs->spare_experts);
    part.layer_bytes += needs->part_bytes;
    part.layer_bytes -= others * needs->expert_bytes[0];
    part.fixed_bytes -= others * needs->expert_bytes[1];
    if (needs->host_bytes)
        part.host_bytes += needs->part_host_bytes - others * needs->expert_host_bytes;
    return part;
}

int64_t awq_plan_parts(int64_t layers, int workers, const awq_options *options,
                       const awq_hello *needs)
{
    int64_t wanted = options->expert_parts;
    int64_t most = needs->experts < workers ? needs->experts : workers, parts = 1;
    if (most < 1) most = 1;
    if (wanted) return wanted < most ? wanted : most;
    for (; parts < most; parts++) {
        awq_hello part = awq_plan_part_needs(needs, parts);
        if (awq_plan_stage_bytes(&part, 1) <= part.budget_bytes) break;
    }
    if (parts > 1 || options->stage_layers || layers < 1 || workers <= layers) return parts;
    return workers / layers < most ? workers / layers : most;
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
                        "workers on a node%s",
                        1e-9 * (double)least, 1e-9 * (double)needs->budget_bytes,
                        inputs_bytes(needs, 1) && !needs->host_bytes ? " or --inputs-memory" : "",
                        needs->experts > workers ? ", and more in all: they share a layer's experts"
                                                 : "");
    if (count < 1) count = 1;
    while (count > 1 && awq_plan_stage_bytes(needs, count) > needs->budget_bytes) count--;
    *out = count;
    return AWQ_OK;
}
