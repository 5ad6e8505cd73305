/* SPDX-License-Identifier: MIT
 * kernels/cpu/tanh.h - tanhf that vectorizes and gives the same bits everywhere, like exp.h.
 *
 * |x| < 0.625: the odd polynomial of Cephes' tanhf; beyond, 1 - 2 / (e^2|x| + 1). At most 2 ulp,
 * near 0 too. Infinity gives 1, NaN stays NaN. */
#ifndef AWQ_KERNELS_CPU_TANH_H
#define AWQ_KERNELS_CPU_TANH_H

#include "kernels/cpu/exp.h"

AWQ_INLINE float tanh_float(float x)
{
    uint32_t sign = awq_float_bits(x) & 0x80000000u;
    float a = awq_float_from_bits(awq_float_bits(x) ^ sign), square = a * a;
    float p = -5.70498872745e-3f;
    p = p * square + 2.06390887954e-2f;
    p = p * square - 5.37397155531e-2f;
    p = p * square + 1.33314422036e-1f;
    p = p * square - 3.33332819422e-1f;
    float near = p * square * a + a, far = 1.0f - 2.0f / (exp_float(2.0f * a) + 1.0f);
    return awq_float_from_bits(awq_float_bits(a < 0.625f ? near : far) | sign);
}

/* Gemma's softcap of a logit. */
AWQ_INLINE float softcap_float(float x, float cap)
{
    return cap * tanh_float(x / cap);
}

#endif
