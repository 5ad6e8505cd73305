/* SPDX-License-Identifier: MIT
 * layers/forward/rope.h - the rotary embedding's table: inv_j = theta^(-2j/d), and the scaled
 * variants (docs/awq.md 4). Angles in float64. */
#ifndef AWQ_LAYERS_FORWARD_ROPE_H
#define AWQ_LAYERS_FORWARD_ROPE_H

#include <stdint.h>

#include "io/model/model.h"

/* Frequency of pair j, 0 <= j < rope->dim / 2, in sequences of `length`. */
double awq_rope_frequency(const awq_rope *rope, int64_t length, int64_t j);

/* cos, sin [length, rope->dim / 2]. */
void awq_rope_table(const awq_rope *rope, int64_t length, float *cos_table, float *sin_table);

#endif
