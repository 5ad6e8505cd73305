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
    return awq_model_leaves(quantizer->model, quantizer->decoder->index, linear);
}

bool awq_quantizer_skips_group(const awq_quantizer *quantizer, awq_group group)
{
    const awq_model *model = quantizer->model;
    for (awq_linear linear = 0; linear < awq_model_linears(model); linear++)
        if (awq_group_has(model, quantizer->decoder->index, group, linear) &&
            !awq_quantizer_skips(quantizer, linear))
            return false;
    return true;
}

static uint64_t larger(uint64_t a, int64_t b)
{
    return a > (uint64_t)b ? a : (uint64_t)b;
}

/* The most of each that a linear takes. */
typedef struct extremes {
    uint64_t weights, groups, columns, rows;
} extremes;

static void take_layer(const awq_model *model, int64_t layer, const awq_quantize_options *options,
                       extremes *most)
{
    for (awq_linear linear = 0; linear < awq_model_linears(model); linear++) {
        if (!awq_layer_has(model, layer, linear)) continue;
        awq_extent extent = awq_linear_extent(model, linear);
        int64_t elements = awq_extent_elements(extent);
        int64_t size = awq_grid_resolve(options->grid, extent.in).group_size;
        most->weights = larger(most->weights, elements);
        most->groups = larger(most->groups, elements / size);
        most->columns = larger(most->columns, extent.in);
        most->rows = larger(most->rows, extent.out);
    }
}

static extremes find_extremes(const awq_model *model, const awq_quantize_options *options)
{
    extremes most = {0};
    int64_t layer[2];
    int sorts = awq_model_sorts(model, layer);
    for (int sort = 0; sort < sorts; sort++) take_layer(model, layer[sort], options, &most);
    return most;
}

static void place(awq_arena *arena, const extremes *most, const awq_quantize_options *options,
                  size_t compute_bytes, awq_quantizer *to)
{
    to->d = awq_arena_take(arena, most->weights * compute_bytes);
    to->folded = awq_arena_take(arena, most->weights * sizeof *to->folded);
    to->codes = awq_arena_take(arena, most->weights);
    to->zeros = awq_arena_take(arena, most->groups);
    to->steps = awq_arena_take(arena, most->groups * sizeof *to->steps);
    to->clip.steps = awq_arena_take(arena, AWQ_CLIP_SHAPES * most->groups);
    to->columns = awq_arena_take(arena, most->columns * sizeof *to->columns);
    to->rows = awq_arena_take(arena, most->rows * sizeof *to->rows);
    if (options->rounding != AWQ_ROUNDING_FEEDBACK) return;
    to->factor = awq_arena_take(arena, most->columns * most->columns * sizeof *to->factor);
    to->order = awq_arena_take(arena, most->columns * sizeof *to->order);
}

static uint64_t work_bytes(const extremes *most, const awq_quantize_options *options,
                           size_t compute_bytes)
{
    awq_arena measure = {0};
    awq_quantizer quantizer;
    place(&measure, most, options, compute_bytes, &quantizer);
    return measure.used;
}

uint64_t awq_quantize_bytes(const awq_model *model, const awq_quantize_options *options,
                            int64_t kept, int64_t rows, size_t compute_bytes)
{
    extremes most = find_extremes(model, options);
    uint64_t bytes = work_bytes(&most, options, compute_bytes);
    if (options->objective == AWQ_OBJECTIVE_MODULE)
        bytes += awq_module_loss_bytes(model, kept, rows, compute_bytes);
    return bytes;
}

static awq_status check_grid(const awq_quantizer *quantizer, awq_linear linear, awq_error *err)
{
    char name[AWQ_NAME_BYTES];
    int64_t in = awq_linear_extent(quantizer->model, linear).in;
    int64_t size = awq_quantizer_grid(quantizer, linear).group_size;
    if (size >= 1 && in % size == 0) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_INPUT, "group size %lld does not divide the %lld columns of '%s'",
                    (long long)size, (long long)in,
                    awq_linear_short_name(name, quantizer->model, linear));
}

static awq_status check_request(const awq_quantizer *quantizer, awq_error *err)
{
    const awq_model *model = quantizer->model;
    int64_t layer = quantizer->decoder->index;
    if (quantizer->statistics->tokens <= 0)
        return awq_fail(err, AWQ_ERR_INPUT, "no calibration token counts: the mask leaves none");
    if (quantizer->options->objective == AWQ_OBJECTIVE_MODULE && model->sparse[layer])
        return awq_fail(err, AWQ_ERR_INPUT, "the module objective is for dense layers only");
    for (awq_linear linear = 0; linear < awq_model_linears(model); linear++)
        if (awq_layer_has(model, layer, linear) && !awq_quantizer_skips(quantizer, linear) &&
            check_grid(quantizer, linear, err))
            return err->status;
    return AWQ_OK;
}

/* Codes, group scales and zero points of each linear that is quantized; `to` by linear. */
static void place_codes(awq_arena *arena, const awq_model *model, int64_t layer, awq_grid grid,
                        awq_quantized_linear *to)
{
    for (awq_linear linear = 0; linear < awq_model_linears(model); linear++) {
        if (!awq_layer_has(model, layer, linear) || awq_model_leaves(model, layer, linear))
            continue;
        awq_extent extent = awq_linear_extent(model, linear);
        uint64_t weights = (uint64_t)awq_extent_elements(extent);
        uint64_t groups = weights / (uint64_t)awq_grid_resolve(grid, extent.in).group_size;
        to[linear].codes = awq_arena_take(arena, weights);
        to[linear].scales = awq_arena_take(arena, groups * sizeof *to->scales);
        to[linear].zeros = awq_arena_take(arena, groups);
    }
}

/* A layer's, and which pieces it has is of no interest. */
static uint64_t codes_bytes(const awq_model *model, int64_t layer, awq_grid grid,
                            awq_quantized_linear *ignored)
{
    awq_arena arena = {0};
    place_codes(&arena, model, layer, grid, ignored);
    return arena.used;
}

awq_status awq_quantized_codes_bytes(const awq_model *model, awq_grid grid, size_t *bytes,
                                     awq_error *err)
{
    awq_quantized_linear *ignored = calloc((size_t)awq_model_linears(model), sizeof *ignored);
    if (!ignored) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a layer's result");
    *bytes = 0;
    for (int64_t layer = 0; layer < model->layers; layer++) {
        uint64_t of_layer = codes_bytes(model, layer, grid, ignored);
        if (of_layer > *bytes) *bytes = of_layer;
    }
    free(ignored);
    return AWQ_OK;
}

static awq_status alloc_codes(awq_quantizer *quantizer, awq_error *err)
{
    awq_quantized_layer *out = quantizer->out;
    const awq_model *model = quantizer->model;
    int64_t layer = quantizer->decoder->index;
    awq_grid grid = quantizer->options->grid;
    uint64_t bytes = codes_bytes(model, layer, grid, out->linear);
    if (!bytes) return AWQ_OK; /* all of the layer is kept in full precision */
    if (out->from ? awq_result_memory_take(out->from, bytes, &out->memory, err)
                  : !(out->memory = awq_allocate(bytes, "a layer's codes", err)))
        return err->status;
    place_codes(&(awq_arena){.base = out->memory}, model, layer, grid, out->linear);
    return AWQ_OK;
}

/* The result's linears and the lists beside them. */
static awq_status alloc_hosts(awq_quantizer *quantizer, awq_error *err)
{
    const awq_model *model = quantizer->model;
    awq_quantized_layer *out = quantizer->out;
    size_t linears = (size_t)awq_model_linears(model);
    quantizer->row_divisors = calloc(linears, sizeof *quantizer->row_divisors);
    quantizer->original_bias = calloc(linears, sizeof *quantizer->original_bias);
    out->linear = calloc(linears, sizeof *out->linear);
    if (!quantizer->row_divisors || !quantizer->original_bias || !out->linear)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a layer's result");
    out->linears = (awq_linear)linears;
    if (awq_layer_record_shape(&out->record, model, quantizer->decoder->index, err))
        return err->status;
    return alloc_codes(quantizer, err);
}

/* Of what experts read, in units of the mean expert's tokens: how much of the layer's Gram matrix
 * is added to each expert's own (layers/README.md). */
static const float shared_share = 0.1f;

/* An expert that saw few tokens, or none, is measured by what all tokens are like. */
static awq_status shrink_experts(const awq_quantizer *quantizer, awq_error *err)
{
    const awq_experts *experts = &quantizer->model->experts;
    int64_t hidden = quantizer->model->hidden;
    float *weight = awq_allocate((size_t)hidden * sizeof *weight, "weights of rows", err);
    if (!weight) return err->status;
    for (int64_t i = 0; i < hidden; i++)
        weight[i] = shared_share * (float)experts->active / (float)experts->count;
    quantizer->be->upload(quantizer->device, quantizer->columns, weight,
                          (size_t)hidden * sizeof *weight);
    free(weight);
    for (int mlp = 1; mlp <= (int)experts->count; mlp++)
        quantizer->be->scatter_add(quantizer->device, quantizer->statistics->expert_gram[mlp],
                                   quantizer->statistics->gram[AWQ_GROUP_GATE_UP], NULL,
                                   quantizer->columns, hidden, hidden);
    return AWQ_OK;
}

static awq_status finish_statistics(const awq_quantizer *quantizer, awq_error *err)
{
    const awq_model *model = quantizer->model;
    const awq_statistics *statistics = quantizer->statistics;
    for (awq_group group = 0; group < awq_model_groups(model); group++)
        if (statistics->gram[group])
            quantizer->be->gram_finish(quantizer->device, statistics->gram[group],
                                       awq_group_channels(model, group));
    if (!model->sparse[quantizer->decoder->index]) return AWQ_OK;
    for (int mlp = 1; mlp <= (int)model->experts.count; mlp++)
        quantizer->be->gram_finish(quantizer->device, statistics->expert_gram[mlp], model->hidden);
    return shrink_experts(quantizer, err);
}

awq_status awq_quantizer_open(awq_quantizer *quantizer, awq_error *err)
{
    const awq_backend *be = quantizer->device->backend;
    const awq_model *model = quantizer->model;
    const awq_quantize_options *options = quantizer->options;
    quantizer->be = be;
    quantizer->mark = awq_clock_seconds();
    quantizer->clip.shape = options->clip_shape;
    if (check_request(quantizer, err) || alloc_hosts(quantizer, err)) return err->status;
    extremes most = find_extremes(model, options);
    uint64_t bytes = work_bytes(&most, options, be->compute_bytes);
    if (be->alloc(quantizer->device, bytes, "quantizing a layer", &quantizer->arena, err))
        return err->status;
    place(&(awq_arena){.base = quantizer->arena}, &most, options, be->compute_bytes, quantizer);
    if (finish_statistics(quantizer, err)) return err->status;
    return options->objective == AWQ_OBJECTIVE_MODULE ? awq_module_loss_open(quantizer, err)
                                                      : AWQ_OK;
}

void awq_quantizer_close(awq_quantizer *quantizer)
{
    for (awq_linear linear = 0; linear < quantizer->out->linears; linear++) {
        free(quantizer->row_divisors[linear]);
        free(quantizer->original_bias[linear]);
    }
    free(quantizer->row_divisors);
    free(quantizer->original_bias);
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
