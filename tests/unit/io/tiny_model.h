/* SPDX-License-Identifier: MIT
 * tests/unit/io/tiny_model.h - a model directory of two layers, right or wrong in one respect. */
#ifndef AWQ_TESTS_UNIT_IO_TINY_MODEL_H
#define AWQ_TESTS_UNIT_IO_TINY_MODEL_H

#include <stdbool.h>

#include "io/files/safetensors.h"
#include "io/model/model.h"

enum { TINY_MAX_TENSORS = 64 };

#define TINY_EMBEDDING  "model.embed_tokens.weight"
#define TINY_FINAL_NORM "model.norm.weight"
#define TINY_HEAD       "lm_head.weight"

/* Tensors of a llama with hidden 16, intermediate 32, 2 heads, 2 layers, vocabulary 24. */
typedef struct tiny_model {
    awq_tensor tensors[TINY_MAX_TENSORS];
    char names[TINY_MAX_TENSORS][256];
    size_t count;
} tiny_model;

/* Fills the list; quantized: AWQ GEMM with groups of 8. */
void tiny_fill(tiny_model *model, bool quantized);
void tiny_add(tiny_model *model, const char *name, awq_dtype dtype, int64_t rows, int64_t cols);
void tiny_remove(tiny_model *model, const char *name);
awq_tensor *tiny_find(tiny_model *model, const char *name);

/* What its config.json says. Release it. */
awq_model tiny_describe(void);
/* The config.json of the model; `extra` is put at its end (", \"key\": value"). */
void tiny_write_config(const char *directory, const char *extra);
/* Tensors first..first+count-1 as a shard, all zeros. */
void tiny_write_shard(const tiny_model *model, const char *directory, const char *file,
                      size_t first, size_t count);
/* An index that puts tensors before `split` in shard a, the others in shard b. */
void tiny_write_index(const tiny_model *model, const char *directory, size_t split, const char *a,
                      const char *b);
/* config.json and a single model.safetensors. */
void tiny_write(const tiny_model *model, const char *directory, const char *extra);

#endif
