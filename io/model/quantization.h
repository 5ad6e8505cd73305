/* SPDX-License-Identifier: MIT
 * io/model/quantization.h - how the linears of a checkpoint are quantized, all of them alike: the
 * format they are stored in, bits, groups, zero points. */
#ifndef AWQ_IO_MODEL_QUANTIZATION_H
#define AWQ_IO_MODEL_QUANTIZATION_H

#include <stdbool.h>
#include <stdint.h>

#include "io/core/dtype.h"

/* X(name, as --format takes it, as messages call it); docs/awq.md 3 has the layouts. */
#define AWQ_FORMAT_LIST(X)                                                                         \
    X(AWQ_FORMAT_GEMM, "gemm", "AWQ GEMM")                                                         \
    X(AWQ_FORMAT_GEMV, "gemv", "AWQ GEMV")                                                         \
    X(AWQ_FORMAT_GEMV_FAST, "gemv-fast", "AWQ GEMV-fast")                                          \
    X(AWQ_FORMAT_COMPRESSED, "compressed-tensors", "compressed-tensors")

typedef enum awq_format {
#define AWQ_FORMAT_ENUM(name, text, title) name,
    AWQ_FORMAT_LIST(AWQ_FORMAT_ENUM)
#undef AWQ_FORMAT_ENUM
        AWQ_FORMATS
} awq_format;

typedef struct awq_quantization {
    awq_format format;
    int bits;           /* 3, 4 or 8 */
    int64_t group_size; /* -1: one group a row */
    bool symmetric;     /* every zero point is 2^(bits - 1) */
    awq_dtype scales;   /* what scales are stored in: F16, or what the format takes */
} awq_quantization;

/* Groups in a row of `in` weights. */
static inline int64_t awq_quantization_groups(const awq_quantization *quantization, int64_t in)
{
    return quantization->group_size > 0 ? in / quantization->group_size : 1;
}

#endif
