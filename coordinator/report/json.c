/* SPDX-License-Identifier: MIT
 * What the page shows, as JSON: coordinator/report/README.md has it field by field. */
#include <math.h>
#include <stdlib.h>

#include "coordinator/report/report.h"

/* JSON has no NaN: a number that is not finite is null. */
static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *numbers(const double *values, int64_t count)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < count; i++) json_array_append_new(list, number(values[i]));
    return list;
}

/* Layers share their alphas: each distinct list is kept once, and named by its number. */
static json_t *grid_of(json_t *grids, const awq_group_record *group)
{
    json_t *duo = json_array();
    for (int64_t i = 0; i < group->candidates; i++)
        json_array_append_new(duo, json_integer(group->duo[i]));
    json_t *grid =
        json_pack("{s:o, s:o}", "alpha", numbers(group->alpha, group->candidates), "duo", duo);
    size_t index = 0;
    while (index < json_array_size(grids) && !json_equal(json_array_get(grids, index), grid))
        index++;
    if (index == json_array_size(grids))
        json_array_append_new(grids, grid);
    else
        json_decref(grid);
    return json_integer((json_int_t)index);
}

/* [[groups by step], for each end]; empty where nothing was cut. */
static json_t *clip_counts(const awq_linear_record *linear)
{
    json_t *shapes = json_array();
    for (int64_t shape = 0; linear->clipped_groups && shape < linear->clip_shapes; shape++) {
        json_t *steps = json_array();
        for (int step = 0; step < AWQ_CLIP_STEPS; step++)
            json_array_append_new(steps,
                                  json_integer((json_int_t)linear->clip_counts[shape][step]));
        json_array_append_new(shapes, steps);
    }
    return shapes;
}

static json_t *linear_json(const awq_linear_record *linear)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:I, s:I, s:o}", "loss", number(linear->loss),
                     "rounding", number(linear->loss_rounding), "energy", number(linear->energy),
                     "damp", number(linear->damp), "groups", (json_int_t)linear->groups, "clipped",
                     (json_int_t)linear->clipped_groups, "clips", clip_counts(linear));
}

/* Milliseconds since 1970, whole: exact in JSON and in JavaScript. */
static json_t *milliseconds(const double seconds[AWQ_SPANS])
{
    json_t *list = json_array();
    for (int i = 0; i < AWQ_SPANS; i++)
        json_array_append_new(list, json_integer((json_int_t)llround(1e3 * seconds[i])));
    return list;
}

static json_t *when_json(const awq_layer_when *when)
{
    json_t *object =
        json_pack("{s:I, s:s, s:o, s:o}", "worker", (json_int_t)when->worker, "host", when->host,
                  "begin", milliseconds(when->begin), "end", milliseconds(when->end));
    return object ? object : json_null(); /* a host's name that is not UTF-8 */
}

/* ---- groups and linears ---- */

enum { LARGEST = 16 };

static const double quantiles[] = {0, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1};

typedef struct channel {
    float mean_abs;
    int64_t index;
} channel;

/* Descending; equal ones by number, so that the order does not depend on qsort. */
static int larger_first(const void *a, const void *b)
{
    const channel *x = a, *y = b;
    if (x->mean_abs != y->mean_abs) return x->mean_abs < y->mean_abs ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

/* mean|x| of a scale group: a model has thousands of channels, so quantiles over them, and the
 * largest by number, [index, mean|x|, scale, index, ...]. NULL: no memory. */
static json_t *channels_json(const awq_group_record *group)
{
    int64_t count = group->channels;
    if (!count) return json_object();
    channel *sorted = calloc((size_t)count, sizeof *sorted);
    if (!sorted) return NULL;
    for (int64_t i = 0; i < count; i++) sorted[i] = (channel){group->mean_abs[i], i};
    qsort(sorted, (size_t)count, sizeof *sorted, larger_first);
    json_t *marks = json_array(), *largest = json_array();
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
        int64_t rank = (int64_t)ceil((1 - quantiles[i]) * (double)(count - 1));
        json_array_append_new(marks, json_real((double)sorted[rank].mean_abs));
    }
    for (int64_t i = 0; i < count && i < LARGEST; i++) {
        json_array_append_new(largest, json_integer(sorted[i].index));
        json_array_append_new(largest, json_real((double)sorted[i].mean_abs));
        json_array_append_new(largest, json_real((double)group->scales[sorted[i].index]));
    }
    free(sorted);
    return json_pack("{s:I, s:o, s:o}", "count", (json_int_t)count, "quantiles", marks, "largest",
                     largest);
}

/* The groups but for those of routed experts, of which there are many. */
static json_t *groups_json(json_t *grids, const awq_layer_record *record)
{
    json_t *groups = json_object();
    for (int i = 0; i < record->groups; i++) {
        const awq_group_record *group = &record->group[i];
        if (group->expert >= 0) continue;
        json_t *object = json_pack(
            "{s:I, s:o, s:o, s:o, s:o}", "chosen", (json_int_t)group->chosen, "grid",
            grid_of(grids, group), "loss", numbers(group->loss, group->candidates), "measured",
            numbers(group->measured, group->candidates), "channels", channels_json(group));
        json_object_set_new(groups, group->name, object);
    }
    return groups;
}

/* The linears that are quantized, those of all routed experts as one. */
static json_t *linears_json(const awq_layer_record *record)
{
    json_t *linears = json_object();
    for (int i = 0; i < record->linears; i++) {
        const awq_linear_record *linear = &record->linear[i];
        bool is_router = linear->energy == 0 && !linear->groups; /* not measured, not quantized */
        if (!is_router && linear->expert < 0)
            json_object_set_new(linears, linear->name, linear_json(linear));
    }
    awq_linear_record sum;
    for (int i = 0; awq_report_sum_experts(record, i, &sum); i++)
        json_object_set_new(linears, sum.name, linear_json(&sum));
    return linears;
}

/* ---- layers ---- */

typedef struct collection {
    json_t *grids;
    json_t *records;
} collection;

static awq_status collect(void *context, const awq_layer_record *record, awq_error *err)
{
    const collection *all = context;
    json_t *object = json_pack(
        "{s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "layer", (json_int_t)record->layer, "tokens",
        (json_int_t)record->tokens, "fold_error", number(record->fold_error), "groups",
        groups_json(all->grids, record), "linears", linears_json(record), "seconds",
        numbers(record->seconds, AWQ_PHASES), "when", when_json(&record->when));
    json_t *experts = awq_report_experts(record);
    if (object && experts) json_object_set_new(object, "experts", experts);
    if (object && !json_array_append_new(all->records, object)) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the report");
}

json_t *awq_report_json(const awq_report_source *source, awq_error *err)
{
    json_t *data = json_copy(source->about);
    collection all = {json_array(), json_array()};
    json_t *phases = json_array(), *spans = json_array(); /* names, in the order of the arrays */
    for (int i = 0; i < AWQ_PHASES; i++)
        json_array_append_new(phases, json_string(awq_phase_name((awq_phase)i)));
    for (int i = 0; i < AWQ_SPANS; i++)
        json_array_append_new(spans, json_string(awq_span_name((awq_span)i)));
    json_object_set_new(data, "layers", json_integer((json_int_t)source->layers));
    json_object_set_new(data, "phases", phases);
    json_object_set_new(data, "spans", spans);
    json_object_set_new(data, "grids", all.grids);
    json_object_set_new(data, "records", all.records);
    if (awq_report_each(source, collect, &all, err)) {
        json_decref(data);
        return NULL;
    }
    return data;
}
