/* SPDX-License-Identifier: MIT
 * layers/rope.h - the rotary embedding's table: inv_j = theta^(-2j/d), and the scaled variants
 * (docs/awq.md 4). Angles in float64. */
#ifndef AWQ_LAYERS_ROPE_H
#define AWQ_LAYERS_ROPE_H

#include <stdint.h>

#include "io/model.h"

/* Frequency of pair j, 0 <= j < head_dim / 2. */
double awq_rope_frequency(const awq_rope *rope, int64_t head_dim, int64_t j);

/* cos, sin [length, head_dim / 2]. */
void awq_rope_table(const awq_rope *rope, int64_t head_dim, int64_t length, float *cos_table,
                    float *sin_table);

#endif
