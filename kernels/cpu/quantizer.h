/* SPDX-License-Identifier: MIT
 * kernels/cpu/quantizer.h - the quantizer Q of AWQ.md 2.4, in one place.
 *
 *   zero point:  scale = max(mx - mn, 1e-5) / qmax, mx >= 0 >= mn the group's range
 *                zero = clamp(-rint(mn / scale), 0, qmax)
 *   symmetric:   scale = max|w| / (2^(bits-1) - 1), zero = 2^(bits-1)
 *   both:        q = clamp(rint(w / scale) + zero, 0, qmax), w_hat = (q - zero) * scale
 *
 * The scale is rounded to float16 before anything is divided by it; below the smallest normal it
 * becomes that; beyond the largest it is infinity, and then every w_hat is 0 * inf = NaN. A NaN
 * among the weights makes the range, hence the scale and the whole group, NaN. Every clamp is
 * written so that a NaN fails both comparisons and passes. */
#ifndef AWQ_KERNELS_CPU_QUANTIZER_H
#define AWQ_KERNELS_CPU_QUANTIZER_H

#include "kernels/backend.h"
#include "kernels/cpu/exp.h"

/* The least range that holds the group's weights and zero; max is NaN if any weight is. */
typedef struct group_range {
    float max, min;
} group_range;

typedef struct group_code {
    uint16_t half; /* the scale as it is stored */
    float scale;
    float zero;
    float qmax;
} group_code;

AWQ_INLINE float max_or_nan(float a, float b)
{
    return (b > a) | (b != b) ? b : a; /* a NaN in a stays: nothing is greater */
}

AWQ_INLINE float min_of(float a, float b)
{
    return b < a ? b : a;
}

AWQ_INLINE float clamp_between(float x, float low, float high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

AWQ_INLINE group_range range_of(const float *w, int64_t count)
{
    float high[AWQ_LANES] = {0}, low[AWQ_LANES] = {0};
    int64_t i = 0;
    for (; i + AWQ_LANES <= count; i += AWQ_LANES) {
        for (int l = 0; l < AWQ_LANES; l++) high[l] = max_or_nan(high[l], w[i + l]);
        for (int l = 0; l < AWQ_LANES; l++) low[l] = min_of(low[l], w[i + l]);
    }
    for (; i < count; i++) {
        high[0] = max_or_nan(high[0], w[i]);
        low[0] = min_of(low[0], w[i]);
    }
    for (int l = 1; l < AWQ_LANES; l++) {
        high[0] = max_or_nan(high[0], high[l]);
        low[0] = min_of(low[0], low[l]);
    }
    return (group_range){high[0], low[0]};
}

/* max|w|; NaN if any is. */
AWQ_INLINE float range_magnitude(group_range range)
{
    return -range.min > range.max ? -range.min : range.max;
}

/* The range of the weights clamped to [-limit, limit]. */
AWQ_INLINE group_range range_clamped(group_range range, float limit)
{
    return (group_range){range.max > limit ? limit : range.max,
                         range.min < -limit ? -limit : range.min};
}

static inline float exact_scale(group_range range, const awq_grid *grid)
{
    if (!grid->zero_point) return range_magnitude(range) / (float)((1 << (grid->bits - 1)) - 1);
    float width = range.max - range.min;
    return (width < 1e-5f ? 1e-5f : width) / (float)((1 << grid->bits) - 1);
}

static inline group_code group_code_of(group_range range, const awq_grid *grid)
{
    enum { SMALLEST_NORMAL_HALF = 0x0400 };
    group_code code = {.half = awq_f16_from_float(exact_scale(range, grid)),
                       .zero = (float)(1 << (grid->bits - 1)),
                       .qmax = (float)((1 << grid->bits) - 1)};
    if (code.half < SMALLEST_NORMAL_HALF) code.half = SMALLEST_NORMAL_HALF;
    code.scale = awq_float_from_f16(code.half);
    if (grid->zero_point)
        code.zero = clamp_between(-round_even(range.min / code.scale), 0.0f, code.qmax);
    return code;
}

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
