/* SPDX-License-Identifier: MIT
 * io/checkpoint/shard_files.h - the files of a model directory: which shards there are, opened.
 * Inside io only. */
#ifndef AWQ_IO_CHECKPOINT_SHARD_FILES_H
#define AWQ_IO_CHECKPOINT_SHARD_FILES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "io/core/problems.h"
#include "io/files/safetensors.h"

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

#endif
