/* SPDX-License-Identifier: MIT */
#include "layers/unfold.h"

#include <math.h>
#include <stdlib.h>

#include "layers/arena.h"
#include "layers/channel_means.h"
#include "layers/decoder_load.h"
#include "layers/extent.h"

struct awq_unfolder {
    awq_device *device;
    const awq_model *model;
    void *arena;
    void *weight;  /* compute type [out, in]: the source */
    void *d;       /* compute type [out, in] */
    float *folded; /* [out, in] */
    float *columns, *ones;
    float *rows;
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
    awq_grid grid = {.group_size = model->quantized_group_size};
    for (int linear = 0; linear < AWQ_LINEARS; linear++) {
        awq_extent extent = awq_linear_extent(model, (awq_linear)linear);
        uint64_t elements = (uint64_t)awq_extent_elements(extent);
        uint64_t size = (uint64_t)awq_grid_resolve(grid, extent.in).group_size;
        most.elements = larger(most.elements, elements);
        most.groups = larger(most.groups, elements / size);
        most.side = larger(most.side, larger((uint64_t)extent.in, (uint64_t)extent.out));
    }
    return most;
}

static void place(awq_arena *arena, const extremes *most, size_t compute_bytes, awq_unfolder *to)
{
    to->weight = awq_arena_take(arena, most->elements * compute_bytes);
    to->d = awq_arena_take(arena, most->elements * compute_bytes);
    to->folded = awq_arena_take(arena, most->elements * sizeof *to->folded);
    to->columns = awq_arena_take(arena, most->side * sizeof *to->columns);
    to->ones = awq_arena_take(arena, most->side * sizeof *to->ones);
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
    for (uint64_t i = 0; i < most.side; i++) unfolder->host[i] = 1;
    be->upload(unfolder->device, unfolder->ones, unfolder->host,
               most.side * sizeof *unfolder->host);
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

bool awq_unfold_rows(const awq_model *model, const awq_layer_record *record, awq_linear linear,
                     float *rows)
{
    if (linear != AWQ_V && linear != AWQ_UP) return false;
    awq_group group = linear == AWQ_V ? AWQ_GROUP_O : AWQ_GROUP_DOWN;
    const awq_group_record *fed = &record->group[group];
    for (int64_t i = 0; i < fed->channels; i++)
        rows[awq_free_channel(model, group, i)] = fed->scales[i];
    return true;
}

const float *awq_unfold_norm_scales(const awq_layer_record *record, awq_norm norm)
{
    if (norm == AWQ_INPUT_NORM) return record->group[AWQ_GROUP_QKV].scales;
    return norm == AWQ_POST_NORM ? record->group[AWQ_GROUP_GATE_UP].scales : NULL;
}

/* A recorded scale is n / n', so n / s is n' but for the rounding of both quotients. */
static bool is_quotient(float folded, float original, float divisor, awq_dtype dtype)
{
    float quotient = original / divisor, stored;
    unsigned char narrowed[sizeof(float)];
    awq_narrow(narrowed, &quotient, dtype, 1);
    awq_widen(&stored, narrowed, dtype, 1);
    return folded == stored ||
           (dtype == AWQ_F32 && fabsf(folded - quotient) <= 0x1p-22f * fabsf(quotient));
}

int64_t awq_unfold_mismatch(const awq_tensor *folded, const awq_tensor *original,
                            const float *divisors)
{
    size_t bytes = awq_dtype_bytes(folded->dtype);
    for (int64_t i = 0; i < awq_tensor_elements(folded); i++) {
        float now, then;
        awq_widen(&now, (const char *)folded->data + (size_t)i * bytes, folded->dtype, 1);
        awq_widen(&then, (const char *)original->data + (size_t)i * bytes, original->dtype, 1);
        if (!is_quotient(now, then, divisors[i], folded->dtype)) return i;
    }
    return -1;
}

/* ---- one linear ---- */

typedef struct pair {
    awq_unfolder *unfolder;
    awq_extent extent;
    awq_grid grid;
    const float *rows; /* device; NULL: ones */
} pair;

static awq_status squares(const pair *p, const void *x, double *sum, awq_error *err)
{
    awq_device *device = p->unfolder->device;
    return device->backend->sum_squares(device, x, p->extent.out, p->extent.in, sum, err);
}

/* W to the device, and as it was before it was rounded: W * columns / rows. */
static void load_source(pair *p, const awq_tensor *weight, awq_linear linear,
                        const awq_layer_record *record)
{
    awq_unfolder *u = p->unfolder;
    const awq_backend *be = u->device->backend;
    be->load(u->device, u->weight, weight->data, weight->dtype,
             (size_t)awq_extent_elements(p->extent));
    be->upload(u->device, u->columns, record->group[awq_linear_group(linear)].scales,
               (size_t)p->extent.in * sizeof(float));
    if (awq_unfold_rows(u->model, record, linear, u->host)) {
        be->upload(u->device, u->rows, u->host, (size_t)p->extent.out * sizeof(float));
        p->rows = u->rows;
    }
    be->fold(u->device, u->folded, u->weight, u->columns, p->rows, p->extent);
}

/* d = (folded - what the codes say) / columns */
static void subtract(const pair *p, const float *columns)
{
    const awq_unfolder *u = p->unfolder;
    u->device->backend->coded_error(u->device, u->d, u->folded, u->staging.codes, u->staging.scales,
                                    u->staging.zeros, columns, p->extent, &p->grid);
}

/* d *= rows. Overwrites folded and the device's rows. */
static void restore_rows(const pair *p)
{
    awq_unfolder *u = p->unfolder;
    const awq_backend *be = u->device->backend;
    for (int64_t i = 0; i < p->extent.out; i++) u->host[i] = 1 / u->host[i];
    be->upload(u->device, u->rows, u->host, (size_t)p->extent.out * sizeof(float));
    be->fold(u->device, u->folded, u->d, NULL, u->rows, p->extent);
    be->narrow(u->device, u->d, u->folded, (size_t)awq_extent_elements(p->extent));
}

/* Of all weights, the square of the step that each was rounded by. */
static double squared_steps(const pair *p, const awq_tensor *scales)
{
    double sum = 0;
    for (int64_t i = 0; i < awq_tensor_elements(scales); i++) {
        float step;
        awq_widen(&step, (const char *)scales->data + (size_t)i * awq_dtype_bytes(scales->dtype),
                  scales->dtype, 1);
        sum += (double)step * (double)step;
    }
    return sum * (double)p->grid.group_size;
}

static awq_status measure(pair *p, const awq_tensor *scales, awq_distance *out, awq_error *err)
{
    double folded, unfolded, weight;
    subtract(p, p->unfolder->ones);
    if (squares(p, p->unfolder->d, &folded, err)) return err->status;
    subtract(p, p->unfolder->columns);
    if (p->rows) restore_rows(p);
    if (squares(p, p->unfolder->d, &unfolded, err) || squares(p, p->unfolder->weight, &weight, err))
        return err->status;
    out->relative = weight > 0 ? sqrt(unfolded / weight) : unfolded > 0 ? INFINITY : 0;
    double steps = squared_steps(p, scales);
    out->steps = steps > 0 ? sqrt(folded / steps) : folded > 0 ? INFINITY : 0;
    return AWQ_OK;
}

awq_status awq_unfold_measure(awq_unfolder *unfolder, const awq_checkpoint *quantized,
                              const awq_checkpoint *source, int64_t layer, awq_linear linear,
                              const awq_layer_record *record, awq_distance *out, awq_error *err)
{
    pair p = {.unfolder = unfolder, .extent = awq_linear_extent(unfolder->model, linear)};
    if (awq_codes_load(unfolder->device, quantized, layer, linear, &unfolder->staging, &p.grid,
                       err))
        return err->status;
    load_source(&p, awq_checkpoint_linear(source, layer, linear, "weight"), linear, record);
    return measure(&p, awq_checkpoint_linear(quantized, layer, linear, "scales"), out, err);
}
