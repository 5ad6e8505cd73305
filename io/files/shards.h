/* SPDX-License-Identifier: MIT
 * io/files/shards.h - the output checkpoint's shards: which tensor goes where, and the index.
 *
 * A plan is a pure function of the tensors and the size limit, so every rank computes the same.
 * Tensors keep their order and fill one shard after another; only a tensor larger than the limit
 * makes a shard larger than it. One shard is model.safetensors without an index; more are
 * model-0000i-of-0000n.safetensors. */
#ifndef AWQ_IO_FILES_SHARDS_H
#define AWQ_IO_FILES_SHARDS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "io/files/safetensors.h"

typedef struct awq_shard {
    char name[64];  /* file name */
    size_t first;   /* index of its first tensor */
    size_t count;   /* tensors */
    uint64_t bytes; /* of the file, header included */
} awq_shard;

typedef struct awq_shards {
    awq_shard *items; /* owned */
    size_t count;
} awq_shards;

awq_status awq_shards_plan(const awq_tensor *tensors, size_t count, uint64_t max_bytes,
                           awq_shards *out, awq_error *err);
void awq_shards_release(awq_shards *shards);

/* {"metadata": {"total_size": bytes of tensor data}, "weight_map": {...}}; NULL: no memory. */
json_t *awq_shards_index(const awq_shards *shards, const awq_tensor *tensors);

#endif
