/* SPDX-License-Identifier: MIT
 * kernels/cpu/softmax.h - the pieces of a softmax: the largest entry, then e^(x - largest).
 *
 * The maximum passes over a NaN, but the NaN's own exponential is NaN, so the sum and with it the
 * whole row are: nothing is hidden. +infinity gives inf - inf, likewise NaN. */
#ifndef AWQ_KERNELS_CPU_SOFTMAX_H
#define AWQ_KERNELS_CPU_SOFTMAX_H

#include <math.h>

#include "kernels/cpu/exp.h"

AWQ_INLINE float row_max(const float *x, int64_t count)
{
    float lane[AWQ_LANES];
    for (int l = 0; l < AWQ_LANES; l++) lane[l] = -INFINITY;
    int64_t i = 0;
    for (; i + AWQ_LANES <= count; i += AWQ_LANES)
        for (int l = 0; l < AWQ_LANES; l++) lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
    for (int l = 0; i < count; i++, l++) lane[l] = x[i] > lane[l] ? x[i] : lane[l];
    float largest = lane[0];
    for (int l = 1; l < AWQ_LANES; l++) largest = lane[l] > largest ? lane[l] : largest;
    return largest;
}

/* Sum of e^(x - largest) in float64. */
AWQ_INLINE double row_sum_exp(const float *x, float largest, int64_t count)
{
    double lane[AWQ_LANES] = {0};
    int64_t i = 0;
    for (; i + AWQ_LANES <= count; i += AWQ_LANES)
        for (int l = 0; l < AWQ_LANES; l++) lane[l] += (double)exp_float(x[i + l] - largest);
    for (int l = 0; i < count; i++, l++) lane[l] += (double)exp_float(x[i] - largest);
    return lanes_sum(lane);
}

#endif
