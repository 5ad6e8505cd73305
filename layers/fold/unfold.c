/* SPDX-License-Identifier: MIT */
#include "layers/fold/unfold.h"

#include <math.h>
#include <stdlib.h>

#include "layers/fold/fold.h"
#include "layers/forward/arena.h"
#include "layers/forward/extent.h"
#include "layers/forward/tensor_load.h"

struct awq_unfolder {
    awq_device *device;
    const awq_model *model;
    void *arena;
    void *weight;  /* compute type [out, in]: the source */
    void *made;    /* compute type [out, in]: the quantized one */
    void *d;       /* compute type [out, in] */
    float *folded; /* [out, in] */
    float *columns, *rows;
    awq_staging staging;
    float *host; /* as many as the longest side */
};

/* The most of each that a linear of the model has. */
typedef struct extremes {
    uint64_t elements, groups, side;
} extremes;

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static extremes find_extremes(const awq_model *model)
{
    extremes most = {0};
    for (int kind = 0; kind < model->kinds; kind++)
        for (int i = 0; i < model->kind[kind].linears; i++) {
            const awq_linear_spec *linear = &model->kind[kind].linear[i];
            int64_t groups = awq_quantization_groups(&model->quantization, linear->in);
            most.elements = larger(most.elements, (uint64_t)(linear->out * linear->in));
            most.groups = larger(most.groups, (uint64_t)(linear->out * groups));
            most.side = larger(most.side, larger((uint64_t)linear->in, (uint64_t)linear->out));
        }
    return most;
}

static void place(awq_arena *arena, const extremes *most, size_t compute_bytes, awq_unfolder *to)
{
    to->weight = awq_arena_take(arena, most->elements * compute_bytes);
    to->made = awq_arena_take(arena, most->elements * compute_bytes);
    to->d = awq_arena_take(arena, most->elements * compute_bytes);
    to->folded = awq_arena_take(arena, most->elements * sizeof *to->folded);
    to->columns = awq_arena_take(arena, most->side * sizeof *to->columns);
    to->rows = awq_arena_take(arena, most->side * sizeof *to->rows);
    to->staging.codes = awq_arena_take(arena, most->elements);
    to->staging.zeros = awq_arena_take(arena, most->groups);
    to->staging.scales = awq_arena_take(arena, most->groups * sizeof *to->staging.scales);
}

static awq_status alloc(awq_unfolder *unfolder, awq_error *err)
{
    const awq_backend *be = unfolder->device->backend;
    extremes most = find_extremes(unfolder->model);
    awq_arena measure = {0};
    place(&measure, &most, be->compute_bytes, unfolder);
    if (be->alloc(unfolder->device, measure.used, "a linear and its source", &unfolder->arena, err))
        return err->status;
    place(&(awq_arena){.base = unfolder->arena}, &most, be->compute_bytes, unfolder);
    unfolder->host = malloc(most.side * sizeof *unfolder->host);
    if (!unfolder->host) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a linear's scales");
    return AWQ_OK;
}

awq_status awq_unfolder_create(awq_device *device, const awq_model *model, awq_unfolder **out,
                               awq_error *err)
{
    awq_unfolder *unfolder = calloc(1, sizeof *unfolder);
    if (!unfolder) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to compare linears");
    unfolder->device = device;
    unfolder->model = model;
    if (alloc(unfolder, err)) {
        awq_unfolder_free(unfolder);
        return err->status;
    }
    *out = unfolder;
    return AWQ_OK;
}

void awq_unfolder_free(awq_unfolder *unfolder)
{
    if (!unfolder) return;
    unfolder->device->backend->release(unfolder->device, unfolder->arena);
    free(unfolder->host);
    free(unfolder);
}

/* ---- scales ---- */

awq_status awq_unfold_rows(const awq_layer_spec *spec, const awq_layer_record *record, int linear,
                           float *rows, awq_error *err)
{
    int absorbs = spec->linear[linear].absorbs;
    size_t bytes = (size_t)awq_free_channels(&spec->group[absorbs]) * sizeof *rows;
    float *of_free = awq_allocate(bytes, "row divisors", err);
    if (!of_free) return err->status;
    awq_free_values(&spec->group[absorbs], record->group[absorbs].scales, of_free);
    awq_row_values(spec, linear, of_free, rows);
    free(of_free);
    return AWQ_OK;
}

/* A recorded scale is n / n', so n / s is n' but for the rounding of both quotients; where 1 is
 * added to what is stored, n and n' are the sums. */
static bool is_quotient(float folded, float original, bool offset, float divisor, awq_dtype dtype)
{
    float quotient = (offset ? 1 + original : original) / divisor, stored;
    float found = offset ? 1 + folded : folded;
    unsigned char narrowed[sizeof(float)];
    awq_narrow(narrowed, &quotient, dtype, 1);
    awq_widen(&stored, narrowed, dtype, 1);
    return (!offset && folded == stored) ||
           ((offset || dtype == AWQ_F32) && fabsf(found - quotient) <= 0x1p-22f * fabsf(quotient));
}

int64_t awq_unfold_mismatch(const awq_tensor *folded, const awq_tensor *original, bool offset,
                            const float *divisors)
{
    size_t bytes = awq_dtype_bytes(folded->dtype);
    for (int64_t i = 0; i < awq_tensor_elements(folded); i++) {
        float now, then;
        awq_widen(&now, (const char *)folded->data + (size_t)i * bytes, folded->dtype, 1);
        awq_widen(&then, (const char *)original->data + (size_t)i * bytes, original->dtype, 1);
        if (!is_quotient(now, then, offset, divisors[i], folded->dtype)) return i;
    }
    return -1;
}

/* ---- one linear ---- */

typedef struct pair {
    awq_unfolder *unfolder;
    const awq_layer_spec *spec;
    int linear;
    awq_extent extent;
    bool divided; /* rows are */
    size_t columns_bytes, rows_bytes;
    const float *scales; /* host [in] */
} pair;

static awq_status distance(const pair *p, const void *x, const void *y, double *sum, awq_error *err)
{
    awq_device *device = p->unfolder->device;
    return device->backend->squared_distance(device, x, y, p->extent.out, p->extent.in, sum, err);
}

/* d = x * columns / rows */
static void fold(const pair *p, const void *x)
{
    awq_unfolder *u = p->unfolder;
    const awq_backend *be = u->device->backend;
    be->fold(u->device, u->folded, x, u->columns, p->divided ? u->rows : NULL, p->extent);
    be->narrow(u->device, u->d, u->folded, (size_t)awq_extent_elements(p->extent));
}

/* Column scales and row divisors to the device, or one over them. */
static awq_status load_scales(const pair *p, const awq_layer_record *record, bool inverse,
                              awq_error *err)
{
    awq_unfolder *u = p->unfolder;
    const awq_backend *be = u->device->backend;
    for (int64_t i = 0; i < p->extent.in; i++)
        u->host[i] = inverse ? 1 / p->scales[i] : p->scales[i];
    be->upload(u->device, u->columns, u->host, p->columns_bytes);
    if (!p->divided) return AWQ_OK;
    if (awq_unfold_rows(p->spec, record, p->linear, u->host, err)) return err->status;
    for (int64_t i = 0; inverse && i < p->extent.out; i++) u->host[i] = 1 / u->host[i];
    be->upload(u->device, u->rows, u->host, p->rows_bytes);
    return AWQ_OK;
}

/* The sum over all weights of the square of the step that each was rounded by. What a format pads
 * its scales with is 0. */
static double squared_steps(const awq_checkpoint *quantized, int64_t layer, int linear)
{
    const awq_model *model = awq_checkpoint_model(quantized);
    awq_extent extent = awq_linear_extent(&awq_model_layer(model, layer)->linear[linear]);
    awq_part parts[AWQ_MAX_PARTS];
    int count = awq_format_parts(&model->quantization, extent.out, extent.in, parts);
    const awq_tensor *tensor = NULL;
    for (int i = 0; i < count; i++)
        if (parts[i].scales)
            tensor = awq_checkpoint_linear(quantized, layer, linear, parts[i].suffix);
    double sum = 0;
    for (int64_t i = 0; tensor && i < awq_tensor_elements(tensor); i++) {
        float step;
        size_t bytes = awq_dtype_bytes(tensor->dtype);
        awq_widen(&step, (const char *)tensor->data + (size_t)i * bytes, tensor->dtype, 1);
        sum += (double)step * (double)step;
    }
    return sum * (double)(extent.in / awq_quantization_groups(&model->quantization, extent.in));
}

static double root(double sum, double of)
{
    return of > 0 ? sqrt(sum / of) : sum > 0 ? INFINITY : sum;
}

/* What the quantized checkpoint computes with, to the device. */
static awq_status load_made(const pair *p, const awq_checkpoint *quantized, int64_t layer,
                            int linear, awq_error *err)
{
    awq_unfolder *u = p->unfolder;
    if (awq_model_packs(u->model, layer, linear))
        return awq_packed_load(u->device, quantized, layer, linear, &u->staging, u->made, err);
    return awq_matrix_load(u->device, awq_checkpoint_linear(quantized, layer, linear, "weight"),
                           u->made, err);
}

static awq_status load_source(const pair *p, const awq_checkpoint *source, int64_t layer,
                              awq_error *err)
{
    awq_weight weight;
    if (!awq_checkpoint_weight(source, layer, p->linear, &weight))
        return awq_fail(err, AWQ_ERR_INTERNAL, "the source has no %s, which opening it has seen",
                        p->spec->linear[p->linear].name);
    if (!awq_weight_load(p->unfolder->device, &weight, p->unfolder->weight, err)) return AWQ_OK;
    if (err->status == AWQ_ERR_NUMERIC || err->status == AWQ_ERR_INPUT)
        err->status = AWQ_ERR_CORRUPT; /* the source's fault, not a finding */
    return awq_error_wrap(err, "the source");
}

awq_status awq_unfold_measure(awq_unfolder *unfolder, const awq_checkpoint *quantized,
                              const awq_checkpoint *source, int64_t layer, int linear,
                              const awq_layer_record *record, awq_distance *out, awq_error *err)
{
    const awq_layer_spec *spec = awq_model_layer(unfolder->model, layer);
    awq_extent extent = awq_linear_extent(&spec->linear[linear]);
    pair p = {.unfolder = unfolder,
              .spec = spec,
              .linear = linear,
              .extent = extent,
              .divided = spec->linear[linear].absorbs >= 0,
              .columns_bytes = (size_t)extent.in * sizeof(float),
              .rows_bytes = (size_t)extent.out * sizeof(float),
              .scales = record->group[spec->linear[linear].group].scales};
    double folded, folded_weight, unfolded, energy;
    if (load_made(&p, quantized, layer, linear, err) || load_source(&p, source, layer, err))
        return err->status;
    if (load_scales(&p, record, false, err)) return err->status;
    fold(&p, unfolder->weight);
    if (distance(&p, unfolder->d, unfolder->made, &folded, err) ||
        distance(&p, unfolder->d, NULL, &folded_weight, err))
        return err->status;
    if (load_scales(&p, record, true, err)) return err->status;
    fold(&p, unfolder->made);
    if (distance(&p, unfolder->d, unfolder->weight, &unfolded, err) ||
        distance(&p, unfolder->weight, NULL, &energy, err))
        return err->status;
    out->relative = root(unfolded, energy);
    out->folded = root(folded, folded_weight);
    out->steps = awq_model_packs(unfolder->model, layer, linear)
                     ? root(folded, squared_steps(quantized, layer, linear))
                     : 0;
    return AWQ_OK;
}
