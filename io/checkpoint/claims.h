/* SPDX-License-Identifier: MIT
 * io/checkpoint/claims.h - what config.json claims of the quantization, against what the tensors'
 * shapes say. Inside io only. */
#ifndef AWQ_IO_CHECKPOINT_CLAIMS_H
#define AWQ_IO_CHECKPOINT_CLAIMS_H

#include <jansson.h>

#include "io/checkpoint/shard_files.h"

/* config.json's object with bits and group size as the tensors have them, for the checks that
 * follow: one wrong number in it would else be a wrong shape of every tensor. Each number that was
 * not right becomes one problem. Where the tensors do not agree among themselves, or are not AWQ
 * GEMM, it stays as it is. The caller decrefs; NULL: no memory. */
json_t *awq_checkpoint_claims_check(const json_t *config, const awq_checkpoint_files *files,
                                    const char *directory, awq_problems *problems);

#endif
