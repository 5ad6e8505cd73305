/* SPDX-License-Identifier: MIT
 * kernels/cuda/rounding_error.cu - d = w - Q(w * s) / s, [out, in]: the search's inner loop. A warp
 * a group. Moves 4 bytes an element (w is read a second time from the cache); two divisions each.
 */
#include "kernels/cuda/quantizer.cuh"
#include "kernels/cuda/verbs.h"

/* value / s. Many values are 0, which the division's fast path does not take: one lane that has one
 * would send its warp through the slow path. */
__device__ static inline float unscaled(float value, float s)
{
    float quotient = __fdiv_rn(value == 0 ? s : value, s);
    return value == 0 ? value : quotient;
}

template <typename T>
__global__ static void rounding_kernel(T *d, const T *w, const float *s, awq_extent extent,
                                       awq_grid grid)
{
    int64_t size = grid.group_size, groups = extent.in / size, group = warp_group();
    if (group >= extent.out * groups) return; /* the whole warp */
    const T *weight = w + group * size;
    const float *scale = s + group % groups * size;
    range_bits seen = {0, 0};
    for (int64_t i = threadIdx.x % WARP; i < size; i += WARP)
        see_weight(&seen, __fmul_rn(widen(weight[i]), scale[i]));
    group_code code = group_code_of(warp_range(seen), grid);
    for (int64_t i = threadIdx.x % WARP; i < size; i += WARP) {
        float x = widen(weight[i]), q = value_code(__fmul_rn(x, scale[i]), code);
        d[group * size + i] =
            narrow<T>(x - unscaled(code_value(q, code.zero, code.scale), scale[i]));
    }
}

template <typename T>
static void launch_rounding(cuda_device *self, void *d, const void *w, const float *s,
                            awq_extent extent, const awq_grid *grid)
{
    unsigned blocks = group_blocks(extent.out * extent.in / grid->group_size);
    CUDA_LAUNCH(self, "rounding_error", (rounding_kernel<T>), blocks, GROUP_THREADS,
                static_cast<T *>(d), static_cast<const T *>(w), s, extent, *grid);
}

void rounding_error_cuda(awq_device *device, void *d, const void *w, const float *s,
                         awq_extent extent, const awq_grid *grid)
{
    cuda_device *self = cuda_begin(device);
    if (self) AWQ_BY_COMPUTE(self, launch_rounding, d, w, s, extent, grid);
}
