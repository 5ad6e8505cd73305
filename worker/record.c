/* SPDX-License-Identifier: MIT */
#include "worker/record.h"

#include <stdlib.h>
#include <string.h>

#include "io/awq_format.h"
#include "io/clock.h"
#include "io/fault.h"
#include "jobs/run_directory.h"
#include "worker/when.h"

/* qweight, qzeros, scales and bias of each linear, and the norms */
enum { MAX_TENSORS = 4 * AWQ_LINEARS + AWQ_NORMS };

/* The tensors of one layer's record, packed. */
typedef struct packed_layer {
    awq_tensor tensor[MAX_TENSORS];
    char name[MAX_TENSORS][AWQ_NAME_BYTES];
    void *data[MAX_TENSORS]; /* owned */
    size_t count;
} packed_layer;

static void release(packed_layer *packed)
{
    for (size_t i = 0; i < packed->count; i++) free(packed->data[i]);
}

/* Adds a tensor of one or two dimensions (cols 0: one) and returns room for its data. */
static void *add(packed_layer *packed, awq_dtype dtype, int64_t rows, int64_t cols)
{
    awq_tensor *tensor = &packed->tensor[packed->count];
    *tensor = (awq_tensor){.name = packed->name[packed->count],
                           .dtype = dtype,
                           .dims = cols ? 2 : 1,
                           .shape = {rows, cols}};
    tensor->bytes = (uint64_t)awq_tensor_elements(tensor) * awq_dtype_bytes(dtype);
    return packed->data[packed->count++] = malloc(tensor->bytes);
}

static char *last_name(packed_layer *packed)
{
    return packed->name[packed->count - 1];
}

static bool pack_linear(packed_layer *packed, const awq_checkpoint *checkpoint, int64_t layer,
                        awq_linear linear, int64_t groups, const awq_quantized_linear *result)
{
    int64_t out, in;
    awq_linear_shape(awq_checkpoint_model(checkpoint), linear, &out, &in);
    uint32_t *qweight = add(packed, AWQ_I32, in, out / 8);
    awq_linear_tensor_name(last_name(packed), layer, linear, "qweight");
    uint32_t *qzeros = add(packed, AWQ_I32, groups, out / 8);
    awq_linear_tensor_name(last_name(packed), layer, linear, "qzeros");
    uint16_t *scales = add(packed, AWQ_F16, groups, out);
    awq_linear_tensor_name(last_name(packed), layer, linear, "scales");
    if (!qweight || !qzeros || !scales) return false;
    awq_gemm_pack(qweight, result->codes, out, in);
    awq_gemm_pack(qzeros, result->zeros, out, groups);
    awq_gemm_transpose_scales(scales, result->scales, out, groups);
    if (!result->bias) return true;
    awq_dtype dtype = awq_checkpoint_linear(checkpoint, layer, linear, "bias")->dtype;
    void *bias = add(packed, dtype, out, 0);
    awq_linear_tensor_name(last_name(packed), layer, linear, "bias");
    if (bias) awq_narrow(bias, result->bias, dtype, (size_t)out);
    return bias != NULL;
}

static bool pack_norm(packed_layer *packed, const awq_checkpoint *checkpoint, int64_t layer,
                      awq_norm norm, const float *values)
{
    awq_dtype dtype = awq_checkpoint_norm(checkpoint, layer, norm)->dtype;
    int64_t count = awq_norm_elements(awq_checkpoint_model(checkpoint), norm);
    void *data = add(packed, dtype, count, 0);
    awq_norm_tensor_name(last_name(packed), layer, norm);
    if (data) awq_narrow(data, values, dtype, (size_t)count);
    return data != NULL;
}

static bool pack(packed_layer *packed, const awq_checkpoint *checkpoint,
                 const awq_quantized_layer *result)
{
    int64_t layer = result->record.layer;
    bool ok = true;
    for (int i = 0; ok && i < AWQ_LINEARS; i++) {
        int64_t out, in;
        awq_linear_shape(awq_checkpoint_model(checkpoint), (awq_linear)i, &out, &in);
        ok = pack_linear(packed, checkpoint, layer, (awq_linear)i,
                         result->record.linear[i].groups / out, &result->linear[i]);
    }
    for (int i = 0; ok && i < AWQ_NORMS; i++)
        if (result->norm[i])
            ok = pack_norm(packed, checkpoint, layer, (awq_norm)i, result->norm[i]);
    return ok;
}

static awq_status write_tensors(const char *path, const packed_layer *packed,
                                awq_layer_record *record, awq_error *err)
{
    awq_safetensors_writer *writer;
    if (awq_safetensors_create(path, packed->tensor, packed->count, &writer, err))
        return err->status;
    awq_status status = AWQ_OK;
    for (size_t i = 0; !status && i < packed->count; i++)
        status = awq_safetensors_append(writer, packed->data[i], packed->tensor[i].bytes, err);
    if (!status)
        status = awq_safetensors_commit(writer, &record->tensors_crc, &record->tensors_bytes, err);
    awq_safetensors_writer_free(writer);
    return status;
}

awq_status awq_record_publish(const char *run, const char *fingerprint,
                              const awq_checkpoint *checkpoint, awq_quantized_layer *layer,
                              awq_error *err)
{
    char tensors[AWQ_PATH_BYTES], statistics[AWQ_PATH_BYTES];
    awq_layer_record *record = &layer->record;
    if (awq_run_layer_path(tensors, run, record->layer, "safetensors", err) ||
        awq_run_layer_path(statistics, run, record->layer, "h5", err))
        return err->status;
    packed_layer *packed = calloc(1, sizeof *packed);
    if (!packed) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to pack a layer");
    double start = awq_clock_seconds();
    awq_status status = AWQ_OK;
    if (!pack(packed, checkpoint, layer))
        status = awq_fail(err, AWQ_ERR_MEMORY, "no memory to pack a layer");
    double end = awq_clock_seconds();
    record->seconds[AWQ_PHASE_PACK] += end - start;
    awq_span_end(&record->when, AWQ_SPAN_PACK);
    awq_span_begin(&record->when, AWQ_SPAN_WRITE);
    if (!status) status = write_tensors(tensors, packed, record, err);
    record->seconds[AWQ_PHASE_WRITE] += awq_clock_seconds() - end;
    awq_span_end(&record->when, AWQ_SPAN_WRITE);
    release(packed);
    free(packed);
    AWQ_FAULT_POINT("record-before-statistics");
    return status ? status : awq_layer_record_write(statistics, record, fingerprint, err);
}
