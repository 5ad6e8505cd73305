/* SPDX-License-Identifier: MIT */
#include "layers/decoder.h"

#include "layers/arena.h"
#include "layers/decoder_load.h"
#include "layers/extent.h"

static uint64_t max_bytes(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Room for the codes of the largest linear of a quantized checkpoint. */
static void place_staging(awq_arena *arena, const awq_model *model, awq_staging *to)
{
    uint64_t weights = 0, groups = 0;
    awq_grid grid = {.group_size = model->quantization.group_size};
    for (int linear = 0; linear < AWQ_LINEARS; linear++) {
        awq_extent extent = awq_linear_extent(model, (awq_linear)linear);
        uint64_t elements = (uint64_t)awq_extent_elements(extent);
        weights = max_bytes(weights, elements);
        groups =
            max_bytes(groups, elements / (uint64_t)awq_grid_resolve(grid, extent.in).group_size);
    }
    to->codes = awq_arena_take(arena, weights);
    to->zeros = awq_arena_take(arena, groups);
    to->scales = awq_arena_take(arena, groups * sizeof *to->scales);
}

static void place(awq_arena *arena, const awq_model *model, size_t compute_bytes, awq_decoder *to,
                  awq_staging *staging)
{
    for (int linear = 0; linear < AWQ_LINEARS; linear++) {
        awq_extent extent = awq_linear_extent(model, (awq_linear)linear);
        to->weight[linear] =
            awq_arena_take(arena, (uint64_t)awq_extent_elements(extent) * compute_bytes);
        if (model->bias[linear])
            to->bias[linear] = awq_arena_take(arena, (uint64_t)extent.out * sizeof(float));
    }
    for (int norm = 0; norm < AWQ_NORMS; norm++)
        if (awq_model_has_norm(model, (awq_norm)norm))
            to->norm[norm] = awq_arena_take(
                arena, (uint64_t)awq_norm_elements(model, (awq_norm)norm) * sizeof(float));
    if (model->quantized) place_staging(arena, model, staging);
}

uint64_t awq_decoder_bytes(const awq_model *model, size_t compute_bytes)
{
    awq_arena measure = {0};
    awq_decoder decoder = {0};
    awq_staging staging;
    place(&measure, model, compute_bytes, &decoder, &staging);
    return measure.used;
}

awq_status awq_decoder_load(awq_device *device, const awq_checkpoint *checkpoint, int64_t index,
                            awq_decoder *out, awq_error *err)
{
    const awq_backend *be = device->backend;
    const awq_model *model = awq_checkpoint_model(checkpoint);
    awq_decoder decoder = {.index = index};
    awq_staging staging = {0};
    uint64_t bytes = awq_decoder_bytes(model, be->compute_bytes);
    if (be->alloc(device, bytes, "the weights of a layer", &decoder.arena, err)) return err->status;
    place(&(awq_arena){.base = decoder.arena}, model, be->compute_bytes, &decoder, &staging);
    for (int norm = 0; norm < AWQ_NORMS; norm++)
        if (decoder.norm[norm])
            decoder.norm_dtype[norm] =
                awq_checkpoint_norm(checkpoint, index, (awq_norm)norm)->dtype;
    if (awq_decoder_read(device, checkpoint, &decoder, &staging, err)) {
        awq_decoder_release(device, &decoder);
        return err->status;
    }
    *out = decoder;
    return AWQ_OK;
}

void awq_decoder_release(awq_device *device, awq_decoder *decoder)
{
    device->backend->release(device, decoder->arena);
    *decoder = (awq_decoder){0};
}
