/* SPDX-License-Identifier: MIT
 * io/checkpoint/weight.h - how the weight of a linear is stored in a full-precision checkpoint, or
 * in one that stands for it, and its values, by rows: docs/awq.md 1.1.
 *
 *   plain     P.weight F32, F16 or BF16 [out, in]: read in place
 *   float8    P.weight F8_E4M3 [out, in] times P.weight_scale_inv or P.weight_scale: of each block,
 *             each row, or the whole
 *   float4    P.weight_packed or P.weight U8 or I8 [out, in/2], E2M1, the lower half of a byte
 *             first, times P.weight_scale [out, in/32], E8M0
 *   integers  compressed-tensors' pack-quantized (io/formats/format.h)
 *
 * Each but the last may be a part of one tensor S of all experts ("stack", io/model/layer.h): S and
 * S_scale_inv or S_scale; S_blocks [experts, rows, in/32, 16] and S_scales. What is not plain is
 * multiplied in float32, and rounded to the model's type once. */
#ifndef AWQ_IO_CHECKPOINT_WEIGHT_H
#define AWQ_IO_CHECKPOINT_WEIGHT_H

#include "io/core/error.h"
#include "io/formats/format.h"

typedef enum awq_stored {
    AWQ_STORED_PLAIN,
    AWQ_STORED_FLOAT8,
    AWQ_STORED_FLOAT4,
    AWQ_STORED_INTEGERS
} awq_stored;

enum { AWQ_PART_VALUES, AWQ_PART_SCALES };

typedef struct awq_weight {
    awq_stored stored;
    awq_dtype dtype; /* of its values */
    int64_t rows, cols;
    const awq_tensor *part[AWQ_MAX_PARTS]; /* values, scales; of integers as awq_format_parts has
                                              them; NULL: there is none */
    int64_t experts, expert;               /* 0: the tensors are its own; else those in them */
    int64_t tensor_rows;                   /* of an expert */
    int64_t first, step;                   /* row r is row first + r step of its expert's */
    bool transposed;                       /* a plain one: [.., cols, tensor_rows] */
    int64_t block_rows, block_cols;        /* weights that share a scale */
    const awq_quantization *integers;      /* how they are packed; the model's */
} awq_weight;

/* Each scale must be finite and above zero, and what describes the weight in words its shape. */
awq_status awq_weight_check(const awq_weight *weight, awq_error *err);

/* All values where they lie, one row after another (maybe unaligned); NULL: they must be read. */
const void *awq_weight_data(const awq_weight *weight);
/* Rows that are read at once: a buffer of them is small, 2 MB but for very wide ones. */
int64_t awq_weight_read_rows(const awq_weight *weight);
/* The values of `rows` rows to `to` [rows, cols], in weight->dtype. `first` is a multiple of
 * awq_weight_read_rows. Only memory may be lacking. */
awq_status awq_weight_read(const awq_weight *weight, int64_t first, int64_t rows, void *to,
                           awq_error *err);
/* The kernel need not keep its pages. */
void awq_weight_dont_need(const awq_weight *weight);

#endif
