/* SPDX-License-Identifier: MIT
 * kernels/cuda/quantize.cu - codes, scales and zeros of Q of the folded weights, clamped to the
 * range that a clip leaves. A warp a group. Reads 4 bytes a weight, writes one. */
#include "kernels/cuda/quantizer.cuh"
#include "kernels/cuda/verbs.h"

typedef struct quantize_job {
    uint8_t *codes, *zeros;
    uint16_t *scales;
    const float *folded;
    const uint8_t *steps; /* NULL: no clip */
    awq_clip_shape shape;
    awq_extent extent;
    awq_grid grid;
} quantize_job;

__device__ static inline group_range clipped_range(const quantize_job &job, group_range range,
                                                   int64_t group, int64_t groups)
{
    if (!job.steps) return range;
    int below = job.shape == AWQ_CLIP_ASYMMETRIC ? job.steps[groups + group] : 0;
    return range_cut(range, job.shape, job.steps[group], below);
}

__global__ static void quantize_kernel(quantize_job job)
{
    int64_t size = job.grid.group_size, groups = job.extent.out * job.extent.in / size;
    int64_t group = warp_group();
    if (group >= groups) return; /* the whole warp */
    const float *w = job.folded + group * size;
    range_bits seen = {0, 0};
    for (int64_t i = threadIdx.x % WARP; i < size; i += WARP) see_weight(&seen, w[i]);
    group_range range = clipped_range(job, warp_range(seen), group, groups);
    group_code code = group_code_of(range, job.grid);
    for (int64_t i = threadIdx.x % WARP; i < size; i += WARP) {
        float clamped = clamp_between(w[i], -range.below, range.above);
        job.codes[group * size + i] = code_byte(value_code(clamped, code));
    }
    if (threadIdx.x % WARP) return;
    job.scales[group] = code.half;
    job.zeros[group] = code_byte(code.zero);
}

void quantize_cuda(awq_device *device, uint8_t *codes, uint16_t *scales, uint8_t *zeros,
                   const float *folded, const awq_clip *clip, awq_extent extent,
                   const awq_grid *grid)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return;
    quantize_job job = {codes,
                        zeros,
                        scales,
                        folded,
                        clip ? clip->steps : NULL,
                        clip ? clip->shape : AWQ_CLIP_SYMMETRIC,
                        extent,
                        *grid};
    unsigned blocks = group_blocks(extent.out * extent.in / grid->group_size);
    CUDA_LAUNCH(self, "quantize", quantize_kernel, blocks, GROUP_THREADS, job);
}
