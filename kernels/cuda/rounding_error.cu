/* SPDX-License-Identifier: MIT
 * kernels/cuda/rounding_error.cu - d = w - Q(w * s) / s for each s: the search's inner loop. A warp
 * a group and scales, those of one group in turn, so that w comes from the cache but the first
 * time. Moves 2 bytes an element and 2 of w; two divisions each.
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

typedef struct rounding_job {
    const float *s; /* [count, in] */
    int64_t count;
    awq_extent extent;
    awq_grid grid;
} rounding_job;

template <typename T> __global__ static void rounding_kernel(T *d, const T *w, rounding_job job)
{
    int64_t size = job.grid.group_size, groups = job.extent.in / size, warp = warp_group();
    int64_t group = warp / job.count, candidate = warp % job.count;
    if (group >= job.extent.out * groups) return; /* the whole warp */
    const T *weight = w + group * size;
    const float *scale = job.s + candidate * job.extent.in + group % groups * size;
    T *to = d + candidate * job.extent.out * job.extent.in + group * size;
    range_bits seen = {0, 0};
    for (int64_t i = threadIdx.x % WARP; i < size; i += WARP)
        see_weight(&seen, __fmul_rn(widen(weight[i]), scale[i]));
    group_code code = group_code_of(warp_range(seen), job.grid);
    for (int64_t i = threadIdx.x % WARP; i < size; i += WARP) {
        float x = widen(weight[i]), q = value_code(__fmul_rn(x, scale[i]), code);
        to[i] = narrow<T>(x - unscaled(code_value(q, code.zero, code.scale), scale[i]));
    }
}

template <typename T>
static void launch_rounding(cuda_device *self, void *d, const void *w, rounding_job job)
{
    int64_t groups = job.extent.out * job.extent.in / job.grid.group_size;
    CUDA_LAUNCH(self, "rounding_error", (rounding_kernel<T>), group_blocks(groups * job.count),
                GROUP_THREADS, static_cast<T *>(d), static_cast<const T *>(w), job);
}

void rounding_error_cuda(awq_device *device, void *d, const void *w, const float *s, int64_t count,
                         awq_extent extent, const awq_grid *grid)
{
    cuda_device *self = cuda_begin(device);
    rounding_job job = {s, count, extent, *grid};
    if (self) AWQ_BY_COMPUTE(self, launch_rounding, d, w, job);
}
