/* SPDX-License-Identifier: MIT
 * io/checkpoint/tensors.h - the tensors of all shards, checked against the index and the model.
 * Inside io only. */
#ifndef AWQ_IO_CHECKPOINT_TENSORS_H
#define AWQ_IO_CHECKPOINT_TENSORS_H

#include "io/checkpoint/shard_files.h"
#include "io/model/model.h"

typedef struct awq_checkpoint_tensor {
    const awq_tensor *tensor;
    size_t shard;  /* index into the files' shards */
    bool settled;  /* expected, ignored, or named in a problem already */
    bool expected; /* the model has it, and it is as it should be */
} awq_checkpoint_tensor;

typedef struct awq_checkpoint_tensors {
    awq_checkpoint_tensor *items; /* owned, sorted by name */
    size_t count;
} awq_checkpoint_tensors;

/* A model of the wrong kind differs in every tensor: name the first few and count the rest, or all
 * of them, each in a problem of its own. */
typedef enum awq_naming { AWQ_NAME_SOME, AWQ_NAME_ALL } awq_naming;

/* Gathers the tensors and checks them. model NULL: unknown, only the index is checked, and none are
 * left. Else exactly those of the model's tensors that are as they should be are left. Free items.
 */
void awq_checkpoint_tensors_check(const awq_checkpoint_files *files, const awq_model *model,
                                  const char *directory, awq_naming naming,
                                  awq_checkpoint_tensors *out, awq_problems *problems);

/* NULL: not there. */
awq_checkpoint_tensor *awq_checkpoint_tensors_find(const awq_checkpoint_tensors *tensors,
                                                   const char *name);

#endif
