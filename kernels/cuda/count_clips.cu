/* SPDX-License-Identifier: MIT
 * kernels/cuda/count_clips.cu - how many groups a clip cuts by how much: a block a number, which
 * reads all steps. They are few, 1 or 2 bytes a group. */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/verbs.h"

enum { COUNT_THREADS = 1024 };

/* Whether a group is one of the block's. */
__device__ static inline bool is_counted(int above, int below, bool asymmetric)
{
    int number = blockIdx.x;
    if (number == AWQ_CLIP_COUNTS - 1) return above || below;
    if (number < AWQ_CLIP_STEPS) return above == number;
    return asymmetric && below == number - AWQ_CLIP_STEPS;
}

__global__ static void __launch_bounds__(COUNT_THREADS)
    count_kernel(int64_t *count, const uint8_t *steps, int64_t groups, bool asymmetric)
{
    int64_t sum = 0;
    for (int64_t i = threadIdx.x; i < groups; i += blockDim.x)
        sum += is_counted(steps[i], asymmetric ? steps[groups + i] : 0, asymmetric);
    sum = block_sum(sum);
    if (threadIdx.x == 0) count[blockIdx.x] = sum;
}

void count_clips_cuda(awq_device *device, int64_t *count, const awq_clip *clip, int64_t groups)
{
    cuda_device *self = cuda_begin(device);
    if (self)
        CUDA_LAUNCH(self, "count_clips", count_kernel, AWQ_CLIP_COUNTS, COUNT_THREADS, count,
                    clip->steps, groups, clip->shape == AWQ_CLIP_ASYMMETRIC);
}
