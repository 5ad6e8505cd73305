/* SPDX-License-Identifier: MIT
 * coordinator/assemble/conversion.h - the tensors of a checkpoint in another format: listed, and
 * streamed into shards. One linear at a time is in memory. */
#ifndef AWQ_COORDINATOR_ASSEMBLE_CONVERSION_H
#define AWQ_COORDINATOR_ASSEMBLE_CONVERSION_H

#include "io/checkpoint/checkpoint.h"
#include "io/files/shards.h"
#include "io/records/tensor_sums.h"

typedef struct awq_conversion awq_conversion;

/* The output's tensors, in the order of the forward pass and then what is copied, and its shards of
 * at most max_bytes. The checkpoint is quantized, and the format holds its linears. Free the
 * result. */
awq_status awq_conversion_create(const awq_checkpoint *from, const awq_quantization *to,
                                 uint64_t max_bytes, awq_conversion **out, awq_error *err);
void awq_conversion_free(awq_conversion *conversion);

const awq_shards *awq_conversion_shards(const awq_conversion *conversion);
/* The index of several shards, as awq_shards_index. */
json_t *awq_conversion_index(const awq_conversion *conversion);

/* The checksums of the tensors of the shards that have been written. */
const awq_tensor_sums *awq_conversion_sums(const awq_conversion *conversion);

/* Writes and publishes one shard in `directory`. A linear that the format cannot hold exactly is
 * an error that names it. */
awq_status awq_conversion_write(awq_conversion *conversion, const awq_shard *shard,
                                const char *directory, awq_error *err);

#endif
