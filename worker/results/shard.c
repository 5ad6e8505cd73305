/* SPDX-License-Identifier: MIT */
#include "worker/results/shard.h"

#include "io/files/file.h"
#include "io/files/path.h"
#include "jobs/run/output.h"
#include "jobs/run/run_directory.h"

/* Records are whole: their bytes are those that their statistics vouch for. */
static awq_status check_records(awq_worker *worker, const awq_output *output,
                                const awq_shard *shard, awq_error *err)
{
    const awq_told *told = &worker->told;
    char path[AWQ_PATH_BYTES];
    int64_t checked = -1;
    for (size_t i = shard->first; i < shard->first + shard->count; i++) {
        int64_t layer = output->layer[i];
        if (layer <= checked) continue;
        if (awq_worker_check(worker, err) ||
            awq_run_layer_path(path, told->job.run_directory, layer, "h5", err) ||
            awq_layer_record_check(path, awq_safetensors_path(output->records[layer]), layer,
                                   told->fingerprint, err))
            return err->status;
        checked = layer;
    }
    return AWQ_OK;
}

/* crc [shard->count]: of each tensor, for the checkpoint's statistics. */
static awq_status write_shard(awq_worker *worker, const awq_output *output, const awq_shard *shard,
                              uint32_t *crc, awq_error *err)
{
    char path[AWQ_PATH_BYTES];
    awq_safetensors_writer *writer;
    if (awq_path_join(path, worker->told.job.options.out, shard->name, err) ||
        check_records(worker, output, shard, err) ||
        awq_safetensors_create(path, output->tensors + shard->first, shard->count, &writer, err))
        return err->status;
    awq_status status = AWQ_OK;
    for (size_t i = 0; !status && i < shard->count; i++) {
        const awq_tensor *tensor = &output->tensors[shard->first + i];
        status = awq_worker_check(worker, err);
        if (!status) status = awq_safetensors_append(writer, tensor->data, tensor->bytes, err);
        if (!status) crc[i] = awq_crc32(0, tensor->data, tensor->bytes);
        awq_safetensors_dont_need(tensor);
    }
    if (!status) status = awq_safetensors_commit(writer, NULL, NULL, err);
    awq_safetensors_writer_free(writer);
    return status;
}

awq_status awq_worker_assemble(awq_worker *worker, int64_t shard, awq_error *err)
{
    awq_output output;
    awq_worker_progress(worker, -1, -1, -1, AWQ_PHASE_WRITE, 0);
    if (awq_output_open(worker->told.job.run_directory, worker->has.checkpoint[0],
                        (uint64_t)worker->told.job.options.max_shard_size, &output, err))
        return err->status;
    const awq_shard *item = &output.shards.items[shard];
    awq_letter *done =
        awq_letter_create(AWQ_LETTER_SHARD_DONE, shard, 0, item->count * sizeof(uint32_t));
    awq_status status =
        done ? write_shard(worker, &output, item, (uint32_t *)(void *)done->payload, err)
             : awq_fail(err, AWQ_ERR_MEMORY, "no memory for the checksums of '%s'", item->name);
    awq_output_release(&output);
    if (status)
        awq_letter_free(done);
    else
        awq_worker_tell(worker, done);
    return status;
}
