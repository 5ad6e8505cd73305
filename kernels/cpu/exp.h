/* SPDX-License-Identifier: MIT
 * kernels/cpu/exp.h - expf that vectorizes and gives the same bits everywhere.
 *
 * Cody-Waite: x = n ln2 + r with |r| <= ln2 / 2, e^r by the polynomial of Cephes' expf, at most
 * 2 ulp. Overflow gives infinity, underflow a subnormal or 0, NaN stays NaN. */
#ifndef AWQ_KERNELS_CPU_EXP_H
#define AWQ_KERNELS_CPU_EXP_H

#include "io/core/dtype.h"
#include "kernels/cpu/vectorize.h"

/* Nearest integer, ties to even, for |x| < 2^22; NaN and infinity pass. */
AWQ_INLINE float round_even(float x)
{
    return (x + 0x1.8p23f) - 0x1.8p23f;
}

/* 2^n for -126 <= n <= 127. */
AWQ_INLINE float power_of_two(uint32_t n)
{
    return awq_float_from_bits((n + 127u) << 23);
}

AWQ_INLINE float exp_float(float x)
{
    x = x < -104.0f ? -104.0f : x; /* 2^-150.04: rounds to 0. NaN fails both tests */
    x = x > 89.0f ? 89.0f : x;
    float shifted = x * 0x1.715476p+0f + 0x1.8p23f;
    uint32_t n = awq_float_bits(shifted) - 0x4b400000u;
    float whole = shifted - 0x1.8p23f;
    float r = (x - whole * 0x1.63p-1f) + whole * 0x1.bd0106p-13f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    float y = (p * (r * r) + r) + 1.0f;
    uint32_t half = (uint32_t)((int32_t)n >> 1); /* in two steps: 2^n may be out of range */
    return y * power_of_two(half) * power_of_two(n - half);
}

#endif
