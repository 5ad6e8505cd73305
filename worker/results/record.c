/* SPDX-License-Identifier: MIT */
#include "worker/results/record.h"

#include "io/core/clock.h"
#include "io/core/fault.h"
#include "jobs/run/run_directory.h"
#include "worker/results/packed_layer.h"
#include "worker/results/when.h"

static awq_status write_tensors(const char *path, const awq_packed_layer *packed,
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
                              const awq_quantization *quantization, int threads,
                              awq_quantized_layer *layer, awq_error *err)
{
    char tensors[AWQ_PATH_BYTES], statistics[AWQ_PATH_BYTES];
    awq_layer_record *record = &layer->record;
    if (awq_run_layer_path(tensors, run, record->layer, "safetensors", err) ||
        awq_run_layer_path(statistics, run, record->layer, "h5", err))
        return err->status;
    awq_packed_layer packed;
    double start = awq_clock_seconds();
    awq_span_begin(&record->when, AWQ_SPAN_WRITE);
    awq_status status = awq_pack_layer(checkpoint, quantization, layer, threads, &packed, err);
    if (!status) status = write_tensors(tensors, &packed, record, err);
    record->seconds[AWQ_PHASE_WRITE] += awq_clock_seconds() - start;
    awq_span_end(&record->when, AWQ_SPAN_WRITE);
    awq_packed_layer_release(&packed);
    AWQ_FAULT_POINT("record-before-statistics");
    return status ? status : awq_layer_record_write(statistics, record, fingerprint, err);
}

/* ---- compare ---- */

static void compare_tensor(const awq_tensor *tensor, const void *data, const awq_tensor *other,
                           awq_problems *problems, int64_t *equal)
{
    const unsigned char *a = data, *b = other->data;
    uint64_t count = 0;
    if (other->bytes != tensor->bytes || other->dtype != tensor->dtype)
        count = tensor->bytes;
    else
        for (uint64_t i = 0; i < tensor->bytes; i++) count += a[i] != b[i];
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
    awq_packed_layer packed;
    awq_status status = awq_pack_layer(source, quantization, layer, 1, &packed, err);
    for (size_t i = 0; !status && i < packed.count; i++) {
        const awq_tensor *other = awq_checkpoint_find(made, packed.tensor[i].name);
        if (other) compare_tensor(&packed.tensor[i], packed.data[i], other, problems, equal);
    }
    awq_packed_layer_release(&packed);
    return status;
}
