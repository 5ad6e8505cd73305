/* SPDX-License-Identifier: MIT
 * jobs/run/output.h - the checkpoint that a finished run becomes: its tensors, in order, each with
 * the file that holds its bytes now.
 *
 * Embedding, then the layers' records, then the final norm and the head (if one is stored), then
 * what is copied, in the source's order. Every rank that opens the same run sees the same list and
 * the same shards. */
#ifndef AWQ_JOBS_RUN_OUTPUT_H
#define AWQ_JOBS_RUN_OUTPUT_H

#include "io/checkpoint/checkpoint.h"
#include "io/files/shards.h"

typedef struct awq_output {
    awq_tensor *tensors; /* owned; data points into the mappings below */
    int64_t *layer;      /* owned; of each tensor: its layer, -1: from the source checkpoint */
    size_t count;
    awq_shards shards;
    awq_safetensors **records; /* owned, [layers] */
    int64_t layers;
} awq_output;

/* Opens the records of all layers; one that is missing or damaged is an error. Release *out. */
awq_status awq_output_open(const char *run, const awq_checkpoint *checkpoint,
                           uint64_t max_shard_bytes, awq_output *out, awq_error *err);
void awq_output_release(awq_output *output);

#endif
