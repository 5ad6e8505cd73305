/* SPDX-License-Identifier: MIT */
#include "worker/record.h"

#include <stdlib.h>
#include <string.h>

#include "io/awq_format.h"
#include "io/clock.h"
#include "io/fault.h"
#include "jobs/run_directory.h"
#include "worker/when.h"

/* The tensors of one layer's record, packed. Arrays are owned, and have room for the layer's most:
 * each linear's parts and bias, and the norms. */
typedef struct packed_layer {
    awq_tensor *tensor;
    char (*name)[AWQ_NAME_BYTES];
    void **data; /* owned, each */
    size_t count;
} packed_layer;

static awq_status no_memory(awq_error *err)
{
    return awq_fail(err, AWQ_ERR_MEMORY, "no memory to pack a layer");
}

/* Release it also after a failure. */
static awq_status init(packed_layer *packed, const awq_model *model, awq_error *err)
{
    size_t most = (size_t)(AWQ_MAX_PARTS + 1) * (size_t)awq_model_linears(model) + AWQ_NORMS;
    *packed = (packed_layer){.tensor = calloc(most, sizeof *packed->tensor),
                             .name = calloc(most, sizeof *packed->name),
                             .data = calloc(most, sizeof *packed->data)};
    return packed->tensor && packed->name && packed->data ? AWQ_OK : no_memory(err);
}

static void release(packed_layer *packed)
{
    for (size_t i = 0; i < packed->count; i++) free(packed->data[i]);
    free(packed->tensor);
    free(packed->name);
    free(packed->data);
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

/* What a layer is packed with. */
typedef struct packing {
    packed_layer *packed;
    const awq_checkpoint *checkpoint;
    awq_quantization quantization;
    int64_t layer;
} packing;

/* The result's scales are float16; the arrays are the result's but for the scales, to be freed. */
static awq_status codes_of(const awq_quantized_linear *result, awq_linear_codes *codes,
                           awq_error *err)
{
    size_t groups = (size_t)(codes->out * codes->groups);
    codes->codes = result->codes;
    codes->zeros = result->zeros;
    codes->scales = malloc(groups * sizeof *codes->scales + 1);
    if (!codes->scales) return no_memory(err);
    awq_widen(codes->scales, result->scales, AWQ_F16, groups);
    return AWQ_OK;
}

static awq_status pack_codes(const packing *job, awq_linear linear, int64_t out, int64_t in,
                             const awq_quantized_linear *result, awq_error *err)
{
    const awq_model *model = awq_checkpoint_model(job->checkpoint);
    char name[AWQ_NAME_BYTES];
    awq_part parts[AWQ_MAX_PARTS];
    void *data[AWQ_MAX_PARTS];
    int count = awq_format_parts(&job->quantization, out, in, parts);
    for (int i = 0; i < count; i++) {
        data[i] = add(job->packed, parts[i].dtype, parts[i].shape[0],
                      parts[i].dims > 1 ? parts[i].shape[1] : 0);
        awq_linear_tensor_name(last_name(job->packed), model, job->layer, linear, parts[i].suffix);
        if (!data[i]) return no_memory(err);
    }
    awq_linear_codes codes = {
        .out = out, .in = in, .groups = awq_quantization_groups(&job->quantization, in)};
    if (codes_of(result, &codes, err)) return err->status;
    awq_status status = awq_format_pack(&job->quantization, &codes, data, err);
    free(codes.scales);
    return status ? awq_error_wrap(err, "%s", awq_linear_name(name, model, linear)) : AWQ_OK;
}

/* Values in the type of the source's tensor of this name. */
static awq_status pack_like(const packing *job, awq_linear linear, const char *suffix,
                            const float *values, awq_error *err)
{
    const awq_tensor *source = awq_checkpoint_linear(job->checkpoint, job->layer, linear, suffix);
    void *data =
        add(job->packed, source->dtype, source->shape[0], source->dims > 1 ? source->shape[1] : 0);
    awq_linear_tensor_name(last_name(job->packed), awq_checkpoint_model(job->checkpoint),
                           job->layer, linear, suffix);
    if (!data) return no_memory(err);
    awq_narrow(data, values, source->dtype, (size_t)awq_tensor_elements(source));
    return AWQ_OK;
}

static awq_status pack_linear(const packing *job, awq_linear linear,
                              const awq_quantized_linear *result, awq_error *err)
{
    int64_t out, in;
    awq_linear_shape(awq_checkpoint_model(job->checkpoint), linear, &out, &in);
    awq_status status = result->weight ? pack_like(job, linear, "weight", result->weight, err)
                                       : pack_codes(job, linear, out, in, result, err);
    if (status || !result->bias) return status;
    return pack_like(job, linear, "bias", result->bias, err);
}

static awq_status pack_norm(const packing *job, awq_norm norm, const float *values, awq_error *err)
{
    const awq_tensor *source = awq_checkpoint_norm(job->checkpoint, job->layer, norm);
    void *data = add(job->packed, source->dtype, source->shape[0], 0);
    awq_norm_tensor_name(last_name(job->packed), job->layer, norm);
    if (!data) return no_memory(err);
    awq_narrow(data, values, source->dtype, (size_t)source->shape[0]);
    return AWQ_OK;
}

static awq_status pack(const packing *job, const awq_quantized_layer *result, awq_error *err)
{
    const awq_model *model = awq_checkpoint_model(job->checkpoint);
    for (awq_linear linear = 0; linear < awq_model_linears(model); linear++)
        if (awq_layer_has(model, job->layer, linear) &&
            pack_linear(job, linear, &result->linear[linear], err))
            return err->status;
    for (awq_norm norm = 0; norm < AWQ_NORMS; norm++)
        if (result->norm[norm] && pack_norm(job, norm, result->norm[norm], err)) return err->status;
    return AWQ_OK;
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
                              const awq_checkpoint *checkpoint,
                              const awq_quantization *quantization, awq_quantized_layer *layer,
                              awq_error *err)
{
    char tensors[AWQ_PATH_BYTES], statistics[AWQ_PATH_BYTES];
    awq_layer_record *record = &layer->record;
    if (awq_run_layer_path(tensors, run, record->layer, "safetensors", err) ||
        awq_run_layer_path(statistics, run, record->layer, "h5", err))
        return err->status;
    packed_layer packed;
    packing job = {&packed, checkpoint, *quantization, record->layer};
    double start = awq_clock_seconds();
    awq_span_begin(&record->when, AWQ_SPAN_WRITE);
    awq_status status = init(&packed, awq_checkpoint_model(checkpoint), err);
    if (!status) status = pack(&job, layer, err);
    if (!status) status = write_tensors(tensors, &packed, record, err);
    record->seconds[AWQ_PHASE_WRITE] += awq_clock_seconds() - start;
    awq_span_end(&record->when, AWQ_SPAN_WRITE);
    release(&packed);
    AWQ_FAULT_POINT("record-before-statistics");
    return status ? status : awq_layer_record_write(statistics, record, fingerprint, err);
}

/* ---- compare ---- */

static uint64_t differing_bytes(const unsigned char *a, const unsigned char *b, uint64_t bytes)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < bytes; i++) count += a[i] != b[i];
    return count;
}

static void compare_tensor(const awq_tensor *tensor, const void *data, const awq_tensor *other,
                           awq_problems *problems, int64_t *equal)
{
    uint64_t count = tensor->bytes;
    if (other->bytes == tensor->bytes && other->dtype == tensor->dtype)
        count = differing_bytes(data, other->data, tensor->bytes);
    if (!count)
        ++*equal;
    else
        awq_problems_add(problems, AWQ_ERR_CORRUPT,
                         "tensor '%s': made again, it has %llu of %llu bytes other than here",
                         tensor->name, (unsigned long long)count,
                         (unsigned long long)tensor->bytes);
}

awq_status awq_record_compare(const awq_checkpoint *source, const awq_quantization *quantization,
                              const awq_quantized_layer *layer, const awq_checkpoint *made,
                              awq_problems *problems, int64_t *equal, awq_error *err)
{
    packed_layer packed;
    packing job = {&packed, source, *quantization, layer->record.layer};
    awq_status status = init(&packed, awq_checkpoint_model(source), err);
    if (!status) status = pack(&job, layer, err);
    for (size_t i = 0; !status && i < packed.count; i++) {
        const awq_tensor *other = awq_checkpoint_find(made, packed.tensor[i].name);
        if (other) compare_tensor(&packed.tensor[i], packed.data[i], other, problems, equal);
    }
    release(&packed);
    return status;
}
