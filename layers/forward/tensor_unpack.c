/* SPDX-License-Identifier: MIT
 * layers/forward/tensor_unpack.c - a linear of a quantized checkpoint, in any format, to weights
 * on the device: (code - zero) * scale. */
#include <stdlib.h>

#include "layers/forward/extent.h"
#include "layers/forward/tensor_load.h"

static awq_status check_scales(const awq_checkpoint *checkpoint, int64_t layer, int linear,
                               awq_error *err)
{
    const awq_model *model = awq_checkpoint_model(checkpoint);
    awq_extent extent = awq_linear_extent(&awq_model_layer(model, layer)->linear[linear]);
    awq_part parts[AWQ_MAX_PARTS];
    int count = awq_format_parts(&model->quantization, extent.out, extent.in, parts);
    for (int i = 0; i < count; i++) {
        const awq_tensor *tensor =
            awq_checkpoint_linear(checkpoint, layer, linear, parts[i].suffix);
        if (parts[i].scales && awq_tensor_check_finite(tensor, err)) return err->status;
    }
    return AWQ_OK;
}

/* Scales as the device takes them; false: float16 does not hold one of them exactly. */
static bool narrow_scales(const awq_linear_codes *codes, uint16_t *half)
{
    for (int64_t i = 0; i < codes->out * codes->groups; i++) {
        half[i] = awq_f16_from_float(codes->scales[i]);
        if (awq_float_from_f16(half[i]) != codes->scales[i]) return false;
    }
    return true;
}

static void dequantize(awq_device *device, const awq_linear_codes *codes, const uint16_t *scales,
                       const awq_staging *staging, void *weight)
{
    const awq_backend *be = device->backend;
    size_t groups = (size_t)(codes->out * codes->groups);
    awq_extent extent = {codes->out, codes->in};
    awq_grid grid = {.group_size = codes->in / codes->groups};
    be->upload(device, staging->codes, codes->codes, (size_t)awq_extent_elements(extent));
    be->upload(device, staging->zeros, codes->zeros, groups);
    be->upload(device, staging->scales, scales, groups * sizeof *scales);
    be->dequantize(device, weight, staging->codes, staging->scales, staging->zeros, extent, &grid);
}

/* Here, for scales that the device does not take. */
static awq_status dequantize_here(awq_device *device, const awq_linear_codes *codes, void *weight,
                                  awq_error *err)
{
    int64_t size = codes->in / codes->groups, count = codes->out * codes->in;
    float *values = malloc((size_t)count * sizeof *values + 1);
    if (!values) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to dequantize a linear");
    for (int64_t i = 0; i < count; i++)
        values[i] =
            ((float)codes->codes[i] - (float)codes->zeros[i / size]) * codes->scales[i / size];
    device->backend->load(device, weight, values, AWQ_F32, (size_t)count);
    free(values);
    return AWQ_OK;
}

awq_status awq_packed_load(awq_device *device, const awq_checkpoint *checkpoint, int64_t layer,
                           int linear, const awq_staging *staging, void *weight, awq_error *err)
{
    awq_linear_codes codes;
    if (check_scales(checkpoint, layer, linear, err) ||
        awq_checkpoint_unpack(checkpoint, layer, linear, &codes, err))
        return err->status;
    awq_status status = AWQ_OK;
    uint16_t *scales = malloc((size_t)(codes.out * codes.groups) * sizeof *scales + 1);
    if (!scales)
        status = awq_fail(err, AWQ_ERR_MEMORY, "no memory for the scales of a linear");
    else if (narrow_scales(&codes, scales))
        dequantize(device, &codes, scales, staging, weight);
    else
        status = dequantize_here(device, &codes, weight, err);
    free(scales);
    awq_linear_codes_release(&codes);
    return status;
}
