/* SPDX-License-Identifier: MIT */
#include "layers/quantizer.h"

#include <stdlib.h>

#include "io/clock.h"
#include "layers/arena.h"
#include "layers/extent.h"

awq_grid awq_quantizer_grid(const awq_quantizer *quantizer, awq_linear linear)
{
    return awq_grid_resolve(quantizer->options->grid,
                            awq_linear_extent(quantizer->model, linear).in);
}

bool awq_is_clipped(const awq_quantizer *quantizer, awq_linear linear)
{
    return quantizer->options->clip != AWQ_CLIP_OFF && linear != AWQ_Q && linear != AWQ_K;
}

double awq_clip_flops(awq_clip_shape shape, awq_extent extent, const awq_grid *grid)
{
    double tried = shape == AWQ_CLIP_ASYMMETRIC ? 3 * AWQ_CLIP_STEPS : AWQ_CLIP_STEPS;
    return 2 * tried * (double)awq_extent_elements(extent) * (double)grid->group_size;
}

bool awq_quantizer_skips(const awq_quantizer *quantizer, awq_linear linear)
{
    return quantizer->options->skip >> linear & 1;
}

bool awq_quantizer_skips_group(const awq_quantizer *quantizer, awq_group group)
{
    awq_linear first;
    int count;
    awq_group_consumers(group, &first, &count);
    for (int i = 0; i < count; i++)
        if (!awq_quantizer_skips(quantizer, (awq_linear)(first + i))) return false;
    return true;
}

static uint64_t larger(uint64_t a, int64_t b)
{
    return a > (uint64_t)b ? a : (uint64_t)b;
}

static void place(awq_arena *arena, const awq_model *model, const awq_quantize_options *options,
                  size_t compute_bytes, awq_quantizer *to)
{
    uint64_t weights = 0, groups = 0, columns = 0, rows = 0;
    for (int linear = 0; linear < AWQ_LINEARS; linear++) {
        awq_extent extent = awq_linear_extent(model, (awq_linear)linear);
        int64_t elements = awq_extent_elements(extent);
        weights = larger(weights, elements);
        groups = larger(groups, elements / awq_grid_resolve(options->grid, extent.in).group_size);
        columns = larger(columns, extent.in);
        rows = larger(rows, extent.out);
    }
    to->d = awq_arena_take(arena, weights * compute_bytes);
    to->folded = awq_arena_take(arena, weights * sizeof *to->folded);
    to->codes = awq_arena_take(arena, weights);
    to->zeros = awq_arena_take(arena, groups);
    to->steps = awq_arena_take(arena, groups * sizeof *to->steps);
    to->clip.steps = awq_arena_take(arena, AWQ_CLIP_SHAPES * groups);
    to->columns = awq_arena_take(arena, columns * sizeof *to->columns);
    to->rows = awq_arena_take(arena, rows * sizeof *to->rows);
    if (options->rounding != AWQ_ROUNDING_FEEDBACK) return;
    to->factor = awq_arena_take(arena, columns * columns * sizeof *to->factor);
    to->order = awq_arena_take(arena, columns * sizeof *to->order);
}

static uint64_t work_bytes(const awq_model *model, const awq_quantize_options *options,
                           size_t compute_bytes)
{
    awq_arena measure = {0};
    awq_quantizer quantizer;
    place(&measure, model, options, compute_bytes, &quantizer);
    return measure.used;
}

uint64_t awq_quantize_bytes(const awq_model *model, const awq_quantize_options *options,
                            int64_t kept, int64_t rows, size_t compute_bytes)
{
    uint64_t bytes = work_bytes(model, options, compute_bytes);
    if (options->objective == AWQ_OBJECTIVE_MODULE)
        bytes += awq_module_loss_bytes(model, kept, rows, compute_bytes);
    return bytes;
}

static awq_status check_request(const awq_quantizer *quantizer, awq_error *err)
{
    if (quantizer->statistics->tokens <= 0)
        return awq_fail(err, AWQ_ERR_INPUT, "no calibration token counts: the mask leaves none");
    for (int linear = 0; linear < AWQ_LINEARS; linear++) {
        if (awq_quantizer_skips(quantizer, (awq_linear)linear)) continue;
        int64_t in = awq_linear_extent(quantizer->model, (awq_linear)linear).in;
        int64_t size = awq_quantizer_grid(quantizer, (awq_linear)linear).group_size;
        if (size < 1 || in % size)
            return awq_fail(
                err, AWQ_ERR_INPUT, "group size %lld does not divide the %lld columns of '%s'",
                (long long)size, (long long)in, awq_linear_short_name((awq_linear)linear));
    }
    return AWQ_OK;
}

awq_status awq_quantizer_open(awq_quantizer *quantizer, awq_error *err)
{
    const awq_backend *be = quantizer->device->backend;
    const awq_model *model = quantizer->model;
    const awq_quantize_options *options = quantizer->options;
    quantizer->be = be;
    quantizer->mark = awq_clock_seconds();
    quantizer->clip.shape = quantizer->options->clip_shape;
    if (check_request(quantizer, err)) return err->status;
    quantizer->factored = AWQ_GROUPS;
    uint64_t bytes = work_bytes(model, options, be->compute_bytes);
    if (be->alloc(quantizer->device, bytes, "quantizing a layer", &quantizer->arena, err))
        return err->status;
    place(&(awq_arena){.base = quantizer->arena}, model, options, be->compute_bytes, quantizer);
    for (int group = 0; group < AWQ_GROUPS; group++)
        be->gram_finish(quantizer->device, quantizer->statistics->gram[group],
                        awq_group_channels(model, (awq_group)group));
    return quantizer->options->objective == AWQ_OBJECTIVE_MODULE
               ? awq_module_loss_open(quantizer, err)
               : AWQ_OK;
}

void awq_quantizer_close(awq_quantizer *quantizer)
{
    for (int linear = 0; linear < AWQ_LINEARS; linear++) {
        free(quantizer->row_divisors[linear]);
        free(quantizer->original_bias[linear]);
    }
    for (int norm = 0; norm < AWQ_NORMS; norm++) free(quantizer->original_norm[norm]);
    awq_module_loss_close(quantizer);
    quantizer->device->backend->release(quantizer->device, quantizer->arena);
}

awq_status awq_quantizer_step(awq_quantizer *quantizer, awq_phase phase, double flops,
                              awq_error *err)
{
    const awq_quantize_watch *watch = quantizer->watch;
    if (quantizer->be->sync(quantizer->device, err)) return err->status;
    awq_clock_lap(&quantizer->mark, &quantizer->out->record.seconds[phase]);
    if (watch && watch->step && !watch->step(watch->context, phase, flops))
        return awq_fail(err, AWQ_ERR_INTERRUPTED, "stopped while quantizing, as asked");
    return AWQ_OK;
}

void *awq_allocate(size_t bytes, const char *what, awq_error *err)
{
    void *memory = malloc(bytes + !bytes);
    if (!memory) awq_fail(err, AWQ_ERR_MEMORY, "no memory for %s: %zu bytes", what, bytes);
    return memory;
}

float *awq_vector_download(awq_device *device, const float *from, int64_t count, awq_error *err)
{
    size_t bytes = (size_t)count * sizeof(float);
    float *host = awq_allocate(bytes, "a vector", err);
    if (host && device->backend->download(device, host, from, bytes, err)) {
        free(host);
        return NULL;
    }
    return host;
}
