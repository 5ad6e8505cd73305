/* SPDX-License-Identifier: MIT
 * kernels/cpu/softmax.h - the pieces of a softmax: the largest entry, then e^(x - largest).
 *
 * Whatever the maximum is, a NaN's own exponential is NaN, so the sum and with it the whole row
 * are: nothing is hidden. +infinity gives inf - inf, likewise NaN. */
#ifndef AWQ_KERNELS_CPU_SOFTMAX_H
#define AWQ_KERNELS_CPU_SOFTMAX_H

#include "kernels/cpu/exp.h"

/* Float bits as an integer in the same order, and back: its own inverse. */
AWQ_INLINE int32_t ordered_bits(int32_t bits)
{
    return bits < 0 ? bits ^ INT32_MAX : bits;
}

/* By an integer maximum, which vectorizes. NaN counts as beyond infinity. */
AWQ_INLINE float row_max(const float *x, int64_t count)
{
    int32_t largest = INT32_MIN;
    for (int64_t i = 0; i < count; i++) {
        int32_t key = ordered_bits((int32_t)awq_float_bits(x[i]));
        largest = key > largest ? key : largest;
    }
    return awq_float_from_bits((uint32_t)ordered_bits(largest));
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
