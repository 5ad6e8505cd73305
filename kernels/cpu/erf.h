/* SPDX-License-Identifier: MIT
 * kernels/cpu/erf.h - GELU by the error function, that vectorizes and gives the same bits
 * everywhere, like exp.h.
 *
 * x Phi(x) for Phi(-a) = e^(-a^2/2) p(q) / (a + 4), q = (a - 4) / (a + 4), a = |x|: what is left
 * of Phi without its exponential is smooth in q, and p a polynomial of our own, within 2^-29 of
 * it. a^2 is taken to twice the precision, so that far tails keep theirs. At most 6 ulp, from
 * infinity down to subnormal results. NaN stays NaN, and -infinity gives it. */
#ifndef AWQ_KERNELS_CPU_ERF_H
#define AWQ_KERNELS_CPU_ERF_H

#include "kernels/cpu/exp.h"

/* e^(-a^2/2) for 0 <= a <= 20. */
AWQ_INLINE float gauss_float(float a)
{
    float high = awq_float_from_bits(awq_float_bits(a) & 0xfffff000u), low = a - high;
    float square = a * a, lost = ((high * high - square) + 2.0f * high * low) + low * low;
    float y = exp_float(-0.5f * square);
    return y - y * (0.5f * lost);
}

AWQ_INLINE float gelu_erf(float x)
{
    float a = awq_float_from_bits(awq_float_bits(x) & 0x7fffffffu);
    a = a > 20.0f ? 20.0f : a; /* where it is 0 */
    float inverse = 1.0f / (a + 4.0f), q = (a - 4.0f) * inverse;
    float p = 2.044026115e-5f;
    p = p * q - 1.293272042e-6f;
    p = p * q - 2.137075575e-4f;
    p = p * q + 1.326218113e-4f;
    p = p * q + 1.620374114e-3f;
    p = p * q - 3.479116532e-3f;
    p = p * q - 7.537087720e-3f;
    p = p * q + 6.039637603e-2f;
    p = p * q - 1.865222522e-1f;
    p = p * q + 3.871374239e-1f;
    p = p * q - 6.078966279e-1f;
    p = p * q + 7.552851300e-1f;
    float share = p * inverse, bell = gauss_float(a);
    return x < 0 ? x * share * bell : x * (1.0f - share * bell);
}

#endif
