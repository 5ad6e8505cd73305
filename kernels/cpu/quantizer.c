/* SPDX-License-Identifier: MIT */
#include "kernels/cpu/quantizer.h"

#include <math.h>

static int32_t max_bits(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* As integers, floats from 0 up are in order, with NaN above infinity, and those with a sign are
 * negative: an integer maximum vectorizes and loses no NaN. */
AWQ_VECTORIZE static group_range find_range(const float *w, int64_t count)
{
    int32_t above = 0, below = 0;
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = awq_float_bits(w[i]);
        above = max_bits(above, (int32_t)bits);
        below = max_bits(below, (int32_t)(bits ^ 0x80000000u));
    }
    return (group_range){awq_float_from_bits((uint32_t)above),
                         awq_float_from_bits((uint32_t)below)};
}

group_range range_of(const float *w, int64_t count)
{
    return find_range(w, count);
}

float range_magnitude(group_range range)
{
    int32_t above = (int32_t)awq_float_bits(range.above);
    int32_t below = (int32_t)awq_float_bits(range.below);
    return awq_float_from_bits((uint32_t)max_bits(above, below));
}

static float step_factor(int step)
{
    return 1.0f - (float)step / 20.0f;
}

static float at_most(float x, float limit)
{
    return x > limit ? limit : x;
}

group_range range_cut(group_range range, awq_clip_shape shape, int above, int below)
{
    if (shape == AWQ_CLIP_ASYMMETRIC)
        return (group_range){range.above * step_factor(above), range.below * step_factor(below)};
    float limit = range_magnitude(range) * step_factor(above);
    return (group_range){at_most(range.above, limit), at_most(range.below, limit)};
}

static float exact_scale(group_range range, const awq_grid *grid)
{
    if (!grid->zero_point) return range_magnitude(range) / (float)((1 << (grid->bits - 1)) - 1);
    return (range.above + range.below) / (float)((1 << grid->bits) - 1);
}

/* float16's bits; subnormal ones are a number of 2^-24, and so is the smallest normal. */
static uint16_t stored_scale(float scale)
{
    if (scale == 0) return AWQ_SCALE_OF_ZEROS;
    if (scale < 0x1p-14f) return (uint16_t)ceilf(scale * 0x1p24f);
    return awq_f16_from_float(scale);
}

group_code group_code_of(group_range range, const awq_grid *grid)
{
    float scale = exact_scale(range, grid);
    if (grid->bf16_scales) scale = awq_float_from_bf16(awq_bf16_from_float(scale));
    group_code code = {.half = stored_scale(scale),
                       .zero = (float)(1 << (grid->bits - 1)),
                       .qmax = (float)((1 << grid->bits) - 1)};
    code.scale = awq_float_from_f16(code.half);
    if (grid->zero_point)
        code.zero = clamp_between(round_even(range.below / code.scale), 0.0f, code.qmax);
    return code;
}
