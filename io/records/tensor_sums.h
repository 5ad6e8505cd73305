/* SPDX-License-Identifier: MIT
 * io/records/tensor_sums.h - crc32 and bytes of each tensor of a checkpoint, as they were written:
 * what a later look at the checkpoint is compared with.
 *
 * In awqrun.h5, in the checkpoint's order: /tensors/name, fixed-length strings [tensors];
 * /tensors/bytes uint64 [tensors]; /tensors/crc32 uint32 [tensors]. */
#ifndef AWQ_IO_RECORDS_TENSOR_SUMS_H
#define AWQ_IO_RECORDS_TENSOR_SUMS_H

#include <stddef.h>
#include <stdint.h>

#include "io/files/safetensors.h"

typedef struct awq_tensor_sums {
    size_t count;
    size_t name_bytes;   /* room of a name, its NUL included */
    char *names;         /* [count, name_bytes], owned */
    uint64_t *bytes;     /* [count], owned */
    uint32_t *crc;       /* [count], owned */
    const char **sorted; /* [count], owned: the names in their order */
} awq_tensor_sums;

/* Names and bytes of the tensors; the crcs are 0, to be filled in. Release the result. */
awq_status awq_tensor_sums_create(const awq_tensor *tensors, size_t count, awq_tensor_sums *out,
                                  awq_error *err);
/* What a statistics file holds; count 0 where it holds none. The file is proved whole first: one
 * that is not, or is not ours, is AWQ_ERR_CORRUPT. Release the result. */
awq_status awq_tensor_sums_read(const char *path, awq_tensor_sums *out, awq_error *err);
void awq_tensor_sums_release(awq_tensor_sums *sums);

const char *awq_tensor_sums_name(const awq_tensor_sums *sums, size_t index);
/* Its index; the count when it is not there. */
size_t awq_tensor_sums_find(const awq_tensor_sums *sums, const char *name);

#endif
