/* SPDX-License-Identifier: MIT */
#include "layers/forward/tensor_load.h"

#include <math.h>
#include <stdlib.h>

#include "layers/forward/extent.h"

enum { CHECKED_ELEMENTS = 4096 }; /* at a time */

static float tensor_value(const awq_tensor *tensor, int64_t index)
{
    float value;
    size_t bytes = awq_dtype_bytes(tensor->dtype);
    awq_widen(&value, (const char *)tensor->data + (size_t)index * bytes, tensor->dtype, 1);
    return value;
}

static const char *value_text(float value)
{
    return isnan(value) ? "nan" : "infinity";
}

static awq_status damaged_value(const char *name, float value, int64_t row, int64_t column,
                                awq_error *err)
{
    if (isfinite(value))
        return awq_fail(err, AWQ_ERR_NUMERIC,
                        "'%s' holds %g at row %lld, column %lld: beyond the GPU's compute type, "
                        "use bfloat16",
                        name, (double)value, (long long)row, (long long)column);
    return awq_fail(err, AWQ_ERR_NUMERIC,
                    "'%s' holds %s at row %lld, column %lld; the checkpoint is damaged", name,
                    value_text(value), (long long)row, (long long)column);
}

static awq_status damaged_matrix(const awq_tensor *tensor, int64_t index, awq_error *err)
{
    return damaged_value(tensor->name, tensor_value(tensor, index), index / tensor->shape[1],
                         index % tensor->shape[1], err);
}

static awq_status damaged_vector(const awq_tensor *tensor, int64_t index, awq_error *err)
{
    return awq_fail(err, AWQ_ERR_NUMERIC,
                    "'%s' holds %s at element %lld; the checkpoint is damaged", tensor->name,
                    value_text(tensor_value(tensor, index)), (long long)index);
}

awq_status awq_tensor_check_finite(const awq_tensor *tensor, awq_error *err)
{
    float block[CHECKED_ELEMENTS];
    int64_t count = awq_tensor_elements(tensor);
    size_t bytes = awq_dtype_bytes(tensor->dtype);
    for (int64_t first = 0; first < count; first += CHECKED_ELEMENTS) {
        int64_t left = count - first, n = left < CHECKED_ELEMENTS ? left : CHECKED_ELEMENTS;
        awq_widen(block, (const char *)tensor->data + (size_t)first * bytes, tensor->dtype,
                  (size_t)n);
        for (int64_t i = 0; i < n; i++) {
            if (isfinite(block[i])) continue;
            return tensor->dims == 2 ? damaged_matrix(tensor, first + i, err)
                                     : damaged_vector(tensor, first + i, err);
        }
    }
    return AWQ_OK;
}

awq_status awq_matrix_load(awq_device *device, const awq_tensor *tensor, void *to, awq_error *err)
{
    const awq_backend *be = device->backend;
    size_t count = (size_t)awq_tensor_elements(tensor);
    int64_t index;
    be->load(device, to, tensor->data, tensor->dtype, count);
    if (be->find_nonfinite(device, to, count, &index, err)) return err->status;
    return index < 0 ? AWQ_OK : damaged_matrix(tensor, index, err);
}

/* ---- a linear of a checkpoint that is not quantized ---- */

/* Room for the rows that are read at once. */
static awq_status alloc_block(const awq_weight *weight, int64_t *rows, void **block, awq_error *err)
{
    *rows = awq_weight_read_rows(weight);
    if (*rows > weight->rows) *rows = weight->rows;
    *block = malloc((size_t)(*rows * weight->cols) * awq_dtype_bytes(weight->dtype) + 1);
    if (*block) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_MEMORY, "no memory to read '%s'",
                    weight->part[AWQ_PART_VALUES]->name);
}

static awq_status damaged_weight(const awq_weight *weight, int64_t index, awq_error *err)
{
    int64_t rows, row = index / weight->cols, col = index % weight->cols;
    float value = 0;
    void *block;
    if (alloc_block(weight, &rows, &block, err)) return err->status;
    int64_t first = row / rows * rows, at = (row - first) * weight->cols + col;
    awq_status status = awq_weight_read(weight, first, row - first + 1, block, err);
    if (!status)
        awq_widen(&value, (char *)block + (size_t)at * awq_dtype_bytes(weight->dtype),
                  weight->dtype, 1);
    free(block);
    if (status) return status;
    damaged_value(weight->part[AWQ_PART_VALUES]->name, value, weight->first + row * weight->step,
                  col, err);
    return weight->experts ? awq_error_wrap(err, "expert %lld", (long long)weight->expert)
                           : err->status;
}

static awq_status load_blocks(awq_device *device, const awq_weight *weight, void *to,
                              awq_error *err)
{
    const awq_backend *be = device->backend;
    size_t row_bytes = (size_t)weight->cols * be->compute_bytes;
    int64_t most;
    void *block;
    if (alloc_block(weight, &most, &block, err)) return err->status;
    awq_status status = AWQ_OK;
    for (int64_t first = 0, rows; !status && first < weight->rows; first += rows) {
        rows = weight->rows - first < most ? weight->rows - first : most;
        status = awq_weight_read(weight, first, rows, block, err);
        if (!status)
            be->load(device, (char *)to + (size_t)first * row_bytes, block, weight->dtype,
                     (size_t)(rows * weight->cols));
    }
    free(block);
    return status;
}

awq_status awq_weight_load(awq_device *device, const awq_weight *weight, void *to, awq_error *err)
{
    const awq_backend *be = device->backend;
    const void *data = awq_weight_data(weight);
    size_t count = (size_t)(weight->rows * weight->cols);
    int64_t index;
    if (awq_weight_check(weight, err)) return err->status;
    if (data)
        be->load(device, to, data, weight->dtype, count);
    else if (load_blocks(device, weight, to, err))
        return err->status;
    if (be->find_nonfinite(device, to, count, &index, err)) return err->status;
    return index < 0 ? AWQ_OK : damaged_weight(weight, index, err);
}

awq_status awq_vector_load(awq_device *device, const awq_tensor *tensor, float offset, float *to,
                           awq_error *err)
{
    int64_t count = awq_tensor_elements(tensor);
    float *host = malloc((size_t)count * sizeof *host + 1);
    if (!host) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to read '%s'", tensor->name);
    awq_widen(host, tensor->data, tensor->dtype, (size_t)count);
    int64_t bad = 0;
    while (bad < count && isfinite(host[bad])) bad++;
    for (int64_t i = 0; offset != 0 && i < count; i++) host[i] += offset;
    awq_status status = AWQ_OK;
    if (bad < count)
        status = damaged_vector(tensor, bad, err);
    else
        device->backend->upload(device, to, host, (size_t)count * sizeof *host);
    free(host);
    return status;
}

awq_status awq_bias_load(awq_device *device, const awq_weight *bias, float *to, awq_error *err)
{
    awq_tensor vector = {.name = bias->part[AWQ_PART_VALUES]->name,
                         .dtype = bias->dtype,
                         .dims = 1,
                         .shape = {bias->rows},
                         .data = awq_weight_data(bias)};
    if (vector.data) return awq_vector_load(device, &vector, 0, to, err);
    void *values = malloc((size_t)bias->rows * awq_dtype_bytes(bias->dtype) + 1);
    if (!values) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to read '%s'", vector.name);
    vector.data = values;
    awq_status status = awq_weight_read(bias, 0, bias->rows, values, err);
    if (!status) status = awq_vector_load(device, &vector, 0, to, err);
    free(values);
    return status;
}

/* ---- a linear of a quantized checkpoint, in any format: (code - zero) * scale ---- */

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
