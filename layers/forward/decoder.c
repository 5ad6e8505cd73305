/* SPDX-License-Identifier: MIT */
#include "layers/forward/decoder.h"

#include <stdlib.h>

#include "layers/forward/arena.h"
#include "layers/forward/extent.h"
#include "layers/forward/tensor_load.h"

static uint64_t max_bytes(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Room for the codes of the largest linear of a quantized checkpoint. */
static void place_staging(awq_arena *arena, const awq_layer_spec *spec, int64_t group_size,
                          awq_staging *to)
{
    uint64_t weights = 0, groups = 0;
    awq_grid grid = {.group_size = group_size};
    for (int linear = 0; linear < spec->linears; linear++) {
        awq_extent extent = awq_linear_extent(&spec->linear[linear]);
        uint64_t elements = (uint64_t)awq_extent_elements(extent);
        weights = max_bytes(weights, elements);
        groups =
            max_bytes(groups, elements / (uint64_t)awq_grid_resolve(grid, extent.in).group_size);
    }
    to->codes = awq_arena_take(arena, weights);
    to->zeros = awq_arena_take(arena, groups);
    to->scales = awq_arena_take(arena, groups * sizeof *to->scales);
}

/* to->weight NULL: measures. */
static void place(awq_arena *arena, const awq_model *model, size_t compute_bytes,
                  const awq_layer_spec *spec, awq_layer_part part, awq_decoder *to,
                  awq_staging *staging)
{
    for (int i = 0; i < spec->linears; i++) {
        const awq_linear_spec *linear = &spec->linear[i];
        if (!awq_layer_part_has_linear(spec, part, i)) continue;
        uint64_t elements = (uint64_t)awq_extent_elements(awq_linear_extent(linear));
        void *weight = awq_arena_take(arena, elements * compute_bytes);
        void *bias =
            linear->bias ? awq_arena_take(arena, (uint64_t)linear->out * sizeof(float)) : NULL;
        if (!to->weight) continue;
        to->weight[i] = weight;
        to->bias[i] = bias;
    }
    for (int i = 0; i < spec->vectors; i++)
        to->vector[i] = awq_arena_take(arena, (uint64_t)spec->vector[i].width * sizeof(float));
    if (model->quantized) place_staging(arena, spec, model->quantization.group_size, staging);
}

static uint64_t layer_bytes(const awq_model *model, size_t compute_bytes,
                            const awq_layer_spec *spec, awq_layer_part part)
{
    awq_arena measure = {0};
    awq_decoder decoder = {0};
    awq_staging staging;
    place(&measure, model, compute_bytes, spec, part, &decoder, &staging);
    return measure.used;
}

uint64_t awq_decoder_bytes(const awq_model *model, size_t compute_bytes)
{
    uint64_t most = 0;
    for (int kind = 0; kind < model->kinds; kind++)
        most = max_bytes(
            most, layer_bytes(model, compute_bytes, &model->kind[kind], (awq_layer_part){0}));
    return most;
}

awq_status awq_decoder_init(awq_decoder *decoder, const awq_model *model, int64_t index,
                            awq_error *err)
{
    const awq_layer_spec *spec = awq_model_layer(model, index);
    *decoder = (awq_decoder){.index = index, .spec = spec, .scalar = 1};
    decoder->weight = calloc((size_t)spec->linears, sizeof *decoder->weight);
    decoder->bias = calloc((size_t)spec->linears, sizeof *decoder->bias);
    if (decoder->weight && decoder->bias) return AWQ_OK;
    free(decoder->weight);
    free(decoder->bias);
    *decoder = (awq_decoder){0};
    return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the list of a layer's weights");
}

static awq_status missing(const awq_decoder *decoder, int linear, awq_error *err)
{
    return awq_fail(err, AWQ_ERR_INTERNAL, "the checkpoint has no %s, which opening it has seen",
                    decoder->spec->linear[linear].name);
}

static awq_status read_linear(awq_device *device, const awq_checkpoint *checkpoint,
                              const awq_decoder *decoder, const awq_staging *staging, int linear,
                              awq_error *err)
{
    int64_t layer = decoder->index;
    void *weight = decoder->weight[linear];
    if (awq_model_packs(awq_checkpoint_model(checkpoint), layer, linear)) {
        if (awq_packed_load(device, checkpoint, layer, linear, staging, weight, err))
            return err->status;
    } else {
        awq_weight stored;
        if (!awq_checkpoint_weight(checkpoint, layer, linear, &stored))
            return missing(decoder, linear, err);
        if (awq_weight_load(device, &stored, weight, err)) return err->status;
    }
    if (!decoder->bias[linear]) return AWQ_OK;
    awq_weight bias;
    if (!awq_checkpoint_bias(checkpoint, layer, linear, &bias))
        return missing(decoder, linear, err);
    return awq_bias_load(device, &bias, decoder->bias[linear], err);
}

static awq_status read_vector(awq_device *device, const awq_checkpoint *checkpoint,
                              awq_decoder *decoder, int vector, awq_error *err)
{
    const awq_vector_spec *spec = &decoder->spec->vector[vector];
    int pieces = awq_vector_pieces(spec);
    for (int i = 0; i < pieces; i++) {
        const awq_tensor *tensor = awq_checkpoint_vector(checkpoint, decoder->index, vector, i);
        float *to = decoder->vector[vector] + i * (spec->width / pieces);
        decoder->vector_dtype[vector] = tensor->dtype;
        if (awq_vector_load(device, tensor, spec->offset, to, err)) return err->status;
    }
    return AWQ_OK;
}

/* Places and fills the arrays of a decoder. Waits. */
static awq_status fill(awq_device *device, const awq_checkpoint *checkpoint, awq_decoder *decoder,
                       awq_error *err)
{
    const awq_backend *be = device->backend;
    const awq_model *model = awq_checkpoint_model(checkpoint);
    const awq_layer_spec *spec = decoder->spec;
    awq_staging staging = {0};
    uint64_t bytes = layer_bytes(model, be->compute_bytes, spec, decoder->part);
    if (be->alloc(device, bytes, "the weights of a layer", &decoder->arena, err))
        return err->status;
    place(&(awq_arena){.base = decoder->arena}, model, be->compute_bytes, spec, decoder->part,
          decoder, &staging);
    for (int linear = 0; linear < spec->linears; linear++)
        if (decoder->weight[linear] &&
            read_linear(device, checkpoint, decoder, &staging, linear, err))
            return err->status;
    for (int i = 0; i < spec->vectors; i++)
        if (read_vector(device, checkpoint, decoder, i, err)) return err->status;
    if (spec->scalar >= 0 && be->download(device, &decoder->scalar, decoder->vector[spec->scalar],
                                          sizeof decoder->scalar, err))
        return err->status;
    return be->sync(device, err);
}

awq_status awq_decoder_load(awq_device *device, const awq_checkpoint *checkpoint, int64_t index,
                            awq_layer_part part, awq_decoder *out, awq_error *err)
{
    awq_decoder decoder;
    if (awq_decoder_init(&decoder, awq_checkpoint_model(checkpoint), index, err))
        return err->status;
    decoder.part = part;
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
