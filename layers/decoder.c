/* SPDX-License-Identifier: MIT */
#include "layers/decoder.h"

#include <stdlib.h>

#include "layers/arena.h"
#include "layers/decoder_load.h"
#include "layers/extent.h"

static uint64_t max_bytes(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Room for the codes of the largest linear of a quantized checkpoint. */
static void place_staging(awq_arena *arena, const awq_model *model, int64_t layer, awq_staging *to)
{
    uint64_t weights = 0, groups = 0;
    awq_grid grid = {.group_size = model->quantization.group_size};
    for (awq_linear linear = 0; linear < awq_model_linears(model); linear++) {
        if (!awq_layer_has(model, layer, linear)) continue;
        awq_extent extent = awq_linear_extent(model, linear);
        uint64_t elements = (uint64_t)awq_extent_elements(extent);
        weights = max_bytes(weights, elements);
        groups =
            max_bytes(groups, elements / (uint64_t)awq_grid_resolve(grid, extent.in).group_size);
    }
    to->codes = awq_arena_take(arena, weights);
    to->zeros = awq_arena_take(arena, groups);
    to->scales = awq_arena_take(arena, groups * sizeof *to->scales);
}

static void place_linear(awq_arena *arena, const awq_model *model, size_t compute_bytes,
                         awq_linear linear, awq_decoder *to)
{
    awq_extent extent = awq_linear_extent(model, linear);
    bool has_bias = model->bias[awq_linear_kind(model, linear)];
    void *weight = awq_arena_take(arena, (uint64_t)awq_extent_elements(extent) * compute_bytes);
    void *bias = has_bias ? awq_arena_take(arena, (uint64_t)extent.out * sizeof(float)) : NULL;
    if (!to->weight) return; /* measuring */
    to->weight[linear] = weight;
    to->bias[linear] = bias;
}

/* to->weight NULL: measures. */
static void place(awq_arena *arena, const awq_model *model, size_t compute_bytes, int64_t layer,
                  awq_decoder *to, awq_staging *staging)
{
    for (awq_linear linear = 0; linear < awq_model_linears(model); linear++)
        if (awq_layer_has(model, layer, linear))
            place_linear(arena, model, compute_bytes, linear, to);
    for (int norm = 0; norm < AWQ_NORMS; norm++)
        if (awq_model_has_norm(model, (awq_norm)norm))
            to->norm[norm] = awq_arena_take(
                arena, (uint64_t)awq_norm_elements(model, (awq_norm)norm) * sizeof(float));
    if (model->quantized) place_staging(arena, model, layer, staging);
}

static uint64_t layer_bytes(const awq_model *model, size_t compute_bytes, int64_t layer)
{
    awq_arena measure = {0};
    awq_decoder decoder = {0};
    awq_staging staging;
    place(&measure, model, compute_bytes, layer, &decoder, &staging);
    return measure.used;
}

uint64_t awq_decoder_bytes(const awq_model *model, size_t compute_bytes)
{
    int64_t layer[2];
    uint64_t bytes = layer_bytes(model, compute_bytes, 0);
    if (awq_model_sorts(model, layer) < 2) return bytes;
    return max_bytes(bytes, layer_bytes(model, compute_bytes, layer[1]));
}

awq_status awq_decoder_init(awq_decoder *decoder, const awq_model *model, int64_t index,
                            awq_error *err)
{
    size_t linears = (size_t)awq_model_linears(model);
    *decoder = (awq_decoder){.index = index};
    decoder->weight = calloc(linears, sizeof *decoder->weight);
    decoder->bias = calloc(linears, sizeof *decoder->bias);
    if (decoder->weight && decoder->bias) return AWQ_OK;
    free(decoder->weight);
    free(decoder->bias);
    *decoder = (awq_decoder){0};
    return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the list of a layer's weights");
}

static awq_status fill(awq_device *device, const awq_checkpoint *checkpoint, awq_decoder *decoder,
                       awq_error *err)
{
    const awq_backend *be = device->backend;
    const awq_model *model = awq_checkpoint_model(checkpoint);
    awq_staging staging = {0};
    uint64_t bytes = layer_bytes(model, be->compute_bytes, decoder->index);
    if (be->alloc(device, bytes, "the weights of a layer", &decoder->arena, err))
        return err->status;
    place(&(awq_arena){.base = decoder->arena}, model, be->compute_bytes, decoder->index, decoder,
          &staging);
    for (int norm = 0; norm < AWQ_NORMS; norm++)
        if (decoder->norm[norm])
            decoder->norm_dtype[norm] =
                awq_checkpoint_norm(checkpoint, decoder->index, (awq_norm)norm)->dtype;
    return awq_decoder_read(device, checkpoint, decoder, &staging, err);
}

awq_status awq_decoder_load(awq_device *device, const awq_checkpoint *checkpoint, int64_t index,
                            awq_decoder *out, awq_error *err)
{
    awq_decoder decoder;
    if (awq_decoder_init(&decoder, awq_checkpoint_model(checkpoint), index, err))
        return err->status;
    if (fill(device, checkpoint, &decoder, err)) {
        awq_decoder_release(device, &decoder);
        return err->status;
    }
    *out = decoder;
    return AWQ_OK;
}

void awq_decoder_release(awq_device *device, awq_decoder *decoder)
{
    device->backend->release(device, decoder->arena);
    free(decoder->weight);
    free(decoder->bias);
    *decoder = (awq_decoder){0};
}
