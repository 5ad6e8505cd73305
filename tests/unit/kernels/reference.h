/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/reference.h - docs/awq.md 2.4 once more, and random input for it. */
#ifndef AWQ_TESTS_KERNELS_REFERENCE_H
#define AWQ_TESTS_KERNELS_REFERENCE_H

#include "kernels/backend.h"

typedef struct reference_group {
    uint16_t half;
    float scale, zero;
} reference_group;

/* Scale and zero point of group_size weights. */
reference_group reference_quantizer(const float *w, const awq_grid *grid);
float reference_code(float w, reference_group group, const awq_grid *grid);
float reference_value(float w, reference_group group, const awq_grid *grid);

/* Clamps the weights of a group in place, as a clip's steps say. */
void reference_cut(float *w, int64_t count, awq_clip_shape shape, int above, int below);

/* x^T x over the rows that count, full. */
double *reference_gram(const float *x, const uint8_t *mask, int64_t rows, int64_t cols);
/* A Gram matrix [cols, cols] of random rows. */
float *random_gram(int64_t cols);
/* A full one to the device as kernels/gram.h has it, and back. */
float *device_gram(const float *gram, int64_t cols);
float *fetch_gram(const float *on_device, int64_t cols);
/* Scales around 1, away from 0. */
float *random_scales(int64_t count);

#endif
