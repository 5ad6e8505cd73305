/* SPDX-License-Identifier: MIT */
#include "jobs/run/output.h"

#include <stdlib.h>

#include "jobs/run/run_directory.h"

static void add(awq_output *output, const awq_tensor *tensor, int64_t layer)
{
    output->tensors[output->count] = *tensor;
    output->layer[output->count++] = layer;
}

static void list_tensors(const awq_checkpoint *checkpoint, awq_output *output)
{
    const awq_model *model = awq_checkpoint_model(checkpoint);
    add(output, awq_checkpoint_end(checkpoint, AWQ_EMBEDDING), -1);
    for (int64_t layer = 0; layer < output->layers; layer++)
        for (size_t i = 0; i < awq_safetensors_count(output->records[layer]); i++)
            add(output, awq_safetensors_at(output->records[layer], i), layer);
    for (awq_end end = AWQ_FINAL_NORM; end < AWQ_ENDS; end++)
        if (awq_model_stores(model, end)) add(output, awq_checkpoint_end(checkpoint, end), -1);
    for (size_t i = 0; i < awq_checkpoint_copies(checkpoint); i++)
        add(output, awq_checkpoint_copied(checkpoint, i), -1);
}

static awq_status open_all(const char *run, const awq_checkpoint *checkpoint,
                           uint64_t max_shard_bytes, awq_output *output, awq_error *err)
{
    size_t tensors = AWQ_ENDS + awq_checkpoint_copies(checkpoint);
    output->records = calloc((size_t)output->layers, sizeof *output->records);
    if (!output->records) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the output's list");
    for (int64_t layer = 0; layer < output->layers; layer++) {
        char path[AWQ_PATH_BYTES];
        if (awq_run_layer_path(path, run, layer, "safetensors", err) ||
            awq_safetensors_open(path, &output->records[layer], err))
            return err->status;
        tensors += awq_safetensors_count(output->records[layer]);
    }
    output->tensors = calloc(tensors, sizeof *output->tensors);
    output->layer = calloc(tensors, sizeof *output->layer);
    if (!output->tensors || !output->layer)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the output's list");
    list_tensors(checkpoint, output);
    return awq_shards_plan(output->tensors, output->count, max_shard_bytes, &output->shards, err);
}

awq_status awq_output_open(const char *run, const awq_checkpoint *checkpoint,
                           uint64_t max_shard_bytes, awq_output *out, awq_error *err)
{
    awq_output output = {.layers = awq_checkpoint_model(checkpoint)->layers};
    if (open_all(run, checkpoint, max_shard_bytes, &output, err)) {
        awq_output_release(&output);
        return err->status;
    }
    *out = output;
    return AWQ_OK;
}

void awq_output_release(awq_output *output)
{
    for (int64_t i = 0; output->records && i < output->layers; i++)
        awq_safetensors_close(output->records[i]);
    free(output->records);
    free(output->tensors);
    free(output->layer);
    awq_shards_release(&output->shards);
    *output = (awq_output){0};
}
