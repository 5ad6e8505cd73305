/* SPDX-License-Identifier: MIT */
#include "worker/results/shard.h"

#include "io/core/fault.h"
#include "io/files/path.h"
#include "jobs/run/output.h"

/* crc [shard->count]: of each tensor, as it was read and written: the coordinator compares it with
 * what the records vouch for. */
static awq_status write_shard(awq_worker *worker, const awq_output *output, const awq_shard *shard,
                              uint32_t *crc, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    awq_safetensors_writer *writer;
    if (awq_path_join(path, worker->told.job.options.out, shard->name, err) ||
        awq_safetensors_create(path, output->tensors + shard->first, shard->count, &writer, err))
        return err->status;
    awq_status status = AWQ_OK;
    for (size_t i = 0; !status && i < shard->count; i++) {
        const awq_tensor *tensor = &output->tensors[shard->first + i];
        AWQ_FAULT_POINT("shard-append");
        status = awq_worker_check(worker, err);
        if (!status) status = awq_safetensors_append(writer, tensor->data, tensor->bytes, err);
        crc[i] = awq_safetensors_last_crc(writer);
        awq_safetensors_dont_need(tensor);
    }
    if (!status) status = awq_safetensors_commit(writer, NULL, NULL, err);
    awq_safetensors_writer_free(writer);
    return status;
}

/* The records, opened with the first shard. */
static awq_status open_output(awq_worker *worker, awq_error *err)
{
    if (worker->has.output.count) return AWQ_OK;
    return awq_output_open(worker->told.job.run_directory, worker->has.checkpoint[0],
                           (uint64_t)worker->told.job.options.max_shard_size, &worker->has.output,
                           err);
}

awq_status awq_worker_assemble(awq_worker *worker, int64_t shard, awq_error *err)
{
    const awq_output *output = &worker->has.output;
    awq_worker_progress(worker, -1, -1, -1, AWQ_PHASE_WRITE, 0);
    if (open_output(worker, err)) return err->status;
    const awq_shard *item = &output->shards.items[shard];
    awq_letter *done =
        awq_letter_create(AWQ_LETTER_SHARD_DONE, shard, 0, item->count * sizeof(uint32_t));
    if (!done)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the checksums of '%s'", item->name);
    awq_status status = write_shard(worker, output, item, (uint32_t *)(void *)done->payload, err);
    if (status)
        awq_letter_free(done);
    else
        awq_worker_tell(worker, done);
    return status;
}
