/* SPDX-License-Identifier: MIT
 * kernels/column_order.h - in which order feedback_factor takes the columns, on the host; the GPU
 * finds the same by itself (kernels/cuda/feedback_factor.cu). */
#ifndef AWQ_KERNELS_COLUMN_ORDER_H
#define AWQ_KERNELS_COLUMN_ORDER_H

#include <stdint.h>

/* A column's place in the order: largest diagonal element of H first, ties by index. */
typedef struct awq_ranked {
    float diagonal;
    int32_t index;
} awq_ranked;

/* Sorts rank [in], whose diagonals are given, and fills order [in]; returns the mean of the
 * diagonal. If that is not finite the order is by index. */
double awq_column_order(awq_ranked *rank, int64_t in, int32_t *order);

#endif
