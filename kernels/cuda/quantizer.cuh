/* SPDX-License-Identifier: MIT
 * kernels/cuda/quantizer.cuh - the quantizer Q of docs/awq.md 2.4, as kernels/cpu/quantizer.h has
 * it, to the bit: each operation is rounded by itself, nothing is contracted, maxima are taken on
 * the bits as integers, where NaN is the largest. Files that use it are compiled with -fmad=false,
 * and its products say __fmul_rn besides. */
#ifndef AWQ_KERNELS_CUDA_QUANTIZER_CUH
#define AWQ_KERNELS_CUDA_QUANTIZER_CUH

#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/reduce.cuh"

/* How far a group's weights reach from zero: max w and max -w, neither below 0. A NaN among the
 * weights is in one of them, by its sign. */
typedef struct group_range {
    float above, below;
} group_range;

typedef struct group_code {
    uint16_t half; /* the scale as it is stored */
    float scale, zero, qmax;
} group_code;

__device__ static inline int32_t bits_of(float x)
{
    return __float_as_int(x);
}

/* Of a warp's lanes together: each has seen some of the group's weights. */
typedef struct range_bits {
    int32_t above, below;
} range_bits;

__device__ static inline void see_weight(range_bits *range, float w)
{
    int32_t bits = bits_of(w), opposite = bits ^ INT32_MIN;
    range->above = bits > range->above ? bits : range->above;
    range->below = opposite > range->below ? opposite : range->below;
}

__device__ static inline group_range warp_range(range_bits seen)
{
    group_range range = {__int_as_float(warp_max(seen.above)),
                         __int_as_float(warp_max(seen.below))};
    return range;
}

/* max|w|; NaN if any is. */
__device__ static inline float range_magnitude(group_range range)
{
    int32_t above = bits_of(range.above), below = bits_of(range.below);
    return __int_as_float(above > below ? above : below);
}

/* A NaN fails both comparisons and passes. */
__device__ static inline float clamp_between(float x, float low, float high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

__device__ static inline float at_most(float x, float limit)
{
    return x > limit ? limit : x;
}

/* What a step of a clip leaves of an end. */
__device__ static inline float step_factor(int step)
{
    return 1.0f - __fdiv_rn(static_cast<float>(step), 20.0f);
}

/* The range cut by a clip's steps; symmetric shapes read `above` alone. */
__device__ static inline group_range range_cut(group_range range, awq_clip_shape shape, int above,
                                               int below)
{
    group_range cut;
    if (shape == AWQ_CLIP_ASYMMETRIC) {
        cut.above = __fmul_rn(range.above, step_factor(above));
        cut.below = __fmul_rn(range.below, step_factor(below));
        return cut;
    }
    float limit = __fmul_rn(range_magnitude(range), step_factor(above));
    cut.above = at_most(range.above, limit);
    cut.below = at_most(range.below, limit);
    return cut;
}

__device__ static inline float exact_scale(group_range range, const awq_grid &grid)
{
    if (!grid.zero_point)
        return __fdiv_rn(range_magnitude(range), static_cast<float>((1 << (grid.bits - 1)) - 1));
    return __fdiv_rn(__fadd_rn(range.above, range.below), static_cast<float>((1 << grid.bits) - 1));
}

__device__ static inline float half_value(uint16_t bits)
{
    __half_raw raw;
    raw.x = bits;
    return __half2float(__half(raw));
}

__device__ static inline uint16_t half_bits(float x)
{
    return static_cast<__half_raw>(__float2half_rn(x)).x;
}

/* float16's bits; subnormal ones are a number of 2^-24, and so is the smallest normal. */
__device__ static inline uint16_t stored_scale(float scale)
{
    if (scale == 0) return AWQ_SCALE_OF_ZEROS;
    if (scale < 0x1p-14f) return static_cast<uint16_t>(ceilf(__fmul_rn(scale, 0x1p24f)));
    return half_bits(scale);
}

__device__ static inline group_code group_code_of(group_range range, const awq_grid &grid)
{
    float scale = exact_scale(range, grid);
    if (grid.bf16_scales) scale = __bfloat162float(__float2bfloat16_rn(scale));
    group_code code = {stored_scale(scale), 0, static_cast<float>(1 << (grid.bits - 1)),
                       static_cast<float>((1 << grid.bits) - 1)};
    code.scale = half_value(code.half);
    if (grid.zero_point)
        code.zero = clamp_between(rintf(__fdiv_rn(range.below, code.scale)), 0.0f, code.qmax);
    return code;
}

/* w to its code, still a float; NaN stays NaN. */
__device__ static inline float value_code(float w, const group_code &code)
{
    float steps = __fadd_rn(rintf(__fdiv_rn(w, code.scale)), code.zero);
    return clamp_between(steps, 0.0f, code.qmax);
}

/* A code to its value w_hat. */
__device__ static inline float code_value(float q, float zero, float scale)
{
    return __fmul_rn(q - zero, scale);
}

/* A code or zero as it is stored; NaN as 0, its scale says that it is one. */
__device__ static inline uint8_t code_byte(float q)
{
    return static_cast<uint8_t>(static_cast<int32_t>(q > 0.0f ? q : 0.0f));
}

/* Kernels that give each group a warp: the group that this one has, and how they are launched. */
enum { GROUP_THREADS = 256, GROUPS_A_BLOCK = GROUP_THREADS / WARP };

__device__ static inline int64_t warp_group(void)
{
    return static_cast<int64_t>(blockIdx.x) * GROUPS_A_BLOCK + threadIdx.x / WARP;
}

static inline unsigned group_blocks(int64_t groups)
{
    return static_cast<unsigned>(cuda_blocks(groups, GROUPS_A_BLOCK));
}

#endif
