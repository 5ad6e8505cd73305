/* SPDX-License-Identifier: MIT
 * kernels/cpu/quantizer.h - the quantizer Q of docs/awq.md 2.4, in one place.
 *
 *   zero point:  scale = (mx - mn) / qmax, mx >= 0 >= mn the group's range
 *                zero = clamp(-rint(mn / scale), 0, qmax)   (rint is odd: rint(-mn / scale))
 *   symmetric:   scale = max|w| / (2^(bits-1) - 1), zero = 2^(bits-1)
 *   both:        q = clamp(rint(w / scale) + zero, 0, qmax), w_hat = (q - zero) * scale
 *
 * The scale is rounded to float16 before anything is divided by it (with bf16_scales to bfloat16
 * first: its 8 bits float16 holds exactly). Below the smallest normal, 2^-14, it is rounded up to a
 * multiple of 2^-24, a subnormal, so that the ends of the range stay inside; that of zeros is
 * 2^-14. Beyond the largest it is infinity, and then every w_hat is 0 * inf = NaN. A NaN among the
 * weights makes the range, hence the scale and the whole group, NaN. Every clamp is written so that
 * a NaN fails both comparisons and passes. */
#ifndef AWQ_KERNELS_CPU_QUANTIZER_H
#define AWQ_KERNELS_CPU_QUANTIZER_H

#include "kernels/backend.h"
#include "kernels/cpu/exp.h"

/* How far the group's weights reach from zero: max w and max -w, neither below 0. A NaN among the
 * weights is in one of them, by its sign. */
typedef struct group_range {
    float above, below;
} group_range;

typedef struct group_code {
    uint16_t half; /* the scale as it is stored */
    float scale;
    float zero;
    float qmax;
} group_code;

AWQ_INLINE float clamp_between(float x, float low, float high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

/* max|w|; NaN if any is. */
float range_magnitude(group_range range);

group_range range_of(const float *w, int64_t count);
/* The range cut by a clip's steps; symmetric shapes read `above` alone. */
group_range range_cut(group_range range, awq_clip_shape shape, int above, int below);
group_code group_code_of(group_range range, const awq_grid *grid);

/* w to its code, still a float; NaN stays NaN. */
AWQ_INLINE float value_code(float w, const group_code *code)
{
    return clamp_between(round_even(w / code->scale) + code->zero, 0.0f, code->qmax);
}

/* A code to its value w_hat. */
AWQ_INLINE float code_value(float q, const group_code *code)
{
    return (q - code->zero) * code->scale;
}

/* A code or zero as it is stored; NaN as 0, its scale says that it is one. */
AWQ_INLINE uint8_t code_byte(float q)
{
    return (uint8_t)(int32_t)(q > 0.0f ? q : 0.0f);
}

#endif
