/* SPDX-License-Identifier: MIT
 * kernels/cpu/dot.h - a dot product of float32 vectors: exact products, summed in float64. */
#ifndef AWQ_KERNELS_CPU_DOT_H
#define AWQ_KERNELS_CPU_DOT_H

#include <stdint.h>

double cpu_dot(const float *a, const float *b, int64_t count);

#endif
