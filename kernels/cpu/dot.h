/* SPDX-License-Identifier: MIT
 * kernels/cpu/dot.h - a dot product of float32 vectors, exact products, summed in float64. */
#ifndef AWQ_KERNELS_CPU_DOT_H
#define AWQ_KERNELS_CPU_DOT_H

#include "kernels/cpu/vectorize.h"

AWQ_INLINE double dot_product(const float *a, const float *b, int64_t count)
{
    double lane[AWQ_LANES] = {0};
    int64_t i = 0;
    for (; i + AWQ_LANES <= count; i += AWQ_LANES)
        for (int l = 0; l < AWQ_LANES; l++) lane[l] += (double)a[i + l] * (double)b[i + l];
    for (int l = 0; i < count; i++, l++) lane[l] += (double)a[i] * (double)b[i];
    return lanes_sum(lane);
}

#endif
