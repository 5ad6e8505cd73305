/* SPDX-License-Identifier: MIT
 * io/checkpoint/parts.h - the steps of opening a checkpoint, one file each. Inside io only.
 *
 *   which shards there are, opened (shard_files.c)
 *        -> how the model's tensors are named, whether it has a head (copied.c)
 *        -> what config.json claims of the quantization (claims.c)
 *        -> their tensors, against the index and what a model must have (tensors.c, expected.h,
 *           stored.h)
 *        -> those that are copied as they are, in the source's order (copied.c) */
#ifndef AWQ_IO_CHECKPOINT_PARTS_H
#define AWQ_IO_CHECKPOINT_PARTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "io/core/problems.h"
#include "io/files/safetensors.h"
#include "io/model/model.h"

/* ---- the files ---- */

#define AWQ_INDEX_NAME  "model.safetensors.index.json"
#define AWQ_SINGLE_NAME "model.safetensors"

typedef struct awq_shard_file {
    char *name;            /* owned */
    awq_safetensors *file; /* owned; NULL: could not be opened, which is a problem already */
} awq_shard_file;

typedef struct awq_checkpoint_files {
    json_t *index;          /* owned; NULL: a single file */
    json_t *weight_map;     /* inside the index: tensor name -> shard name; NULL: a single file */
    awq_shard_file *shards; /* owned, sorted by name */
    size_t count;
} awq_checkpoint_files;

/* Finds and opens the shards. Everything wrong becomes a problem. false: which files there are is
 * not known, so nothing can be said about tensors. Close in either case. */
bool awq_checkpoint_files_open(const char *directory, awq_checkpoint_files *files,
                               awq_problems *problems);
void awq_checkpoint_files_close(awq_checkpoint_files *files);

/* ---- what config.json claims ---- */

/* config.json's object with bits and group size as the tensors have them, for the checks that
 * follow: one wrong number in it would else be a wrong shape of every tensor. Each number that was
 * not right becomes one problem. Where the tensors do not agree among themselves, or are not AWQ
 * GEMM, it stays as it is. The caller decrefs; NULL: no memory. */
json_t *awq_checkpoint_claims_check(const json_t *config, const awq_checkpoint_files *files,
                                    const char *directory, awq_problems *problems);

/* ---- the tensors ---- */

typedef struct awq_checkpoint_tensor {
    const awq_tensor *tensor;
    size_t shard;  /* index into the files' shards */
    bool settled;  /* expected, ignored, or named in a problem already */
    bool expected; /* the model has it, and it is as it should be */
    bool copied;   /* it stands beside the model */
} awq_checkpoint_tensor;

typedef struct awq_checkpoint_tensors {
    awq_checkpoint_tensor *items; /* owned, sorted by name */
    size_t count;
    const awq_tensor **copied; /* owned, by shard and place */
    size_t copies;
} awq_checkpoint_tensors;

/* A model of the wrong kind differs in every tensor: name the first few and count the rest, or all
 * of them, each in a problem of its own. */
typedef enum awq_naming { AWQ_NAME_SOME, AWQ_NAME_ALL } awq_naming;

/* Gathers the tensors and checks them. model NULL: unknown, only the index is checked, and none are
 * left. Else exactly those of the model's tensors that are as they should be, and those that are
 * copied, are left. Free items and copied. */
void awq_checkpoint_tensors_check(const awq_checkpoint_files *files, const awq_model *model,
                                  const char *directory, awq_naming naming,
                                  awq_checkpoint_tensors *out, awq_problems *problems);

/* ---- what stands beside the model ---- */

/* The root that the tensors' names have; of those that have none, the plain one. */
const awq_root *awq_checkpoint_files_root(const awq_checkpoint_files *files);
/* Whether a model that need not have a head has none. */
bool awq_checkpoint_files_lack_head(const awq_checkpoint_files *files, const awq_model *model);
/* Whether a tensor that the model does not call for is copied: it is none of a module of the
 * model's, nor of a layer that config.json does not know of, and its name can be written. */
bool awq_checkpoint_copies_name(const awq_model *model, const char *name);
/* Lists what is copied, as items say; false: no memory. */
bool awq_checkpoint_tensors_list(const awq_checkpoint_files *files,
                                 awq_checkpoint_tensors *tensors);
/* The names of the modules of copied matrices. NULL: no memory. */
json_t *awq_checkpoint_copied_modules(const awq_checkpoint_tensors *tensors);

/* NULL: not there. */
awq_checkpoint_tensor *awq_checkpoint_tensors_find(const awq_checkpoint_tensors *tensors,
                                                   const char *name);

#endif
