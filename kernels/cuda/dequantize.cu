/* SPDX-License-Identifier: MIT
 * kernels/cuda/dequantize.cu - what codes stand for: (code - zero) * scale, and how far that is
 * from the weights they were made of. Reads 1 to 5 bytes a weight, writes 2. */
#include "kernels/cuda/quantizer.cuh"
#include "kernels/cuda/verbs.h"

typedef struct codes_job {
    const float *folded, *s; /* NULL: the weights themselves */
    const uint8_t *codes, *zeros;
    const uint16_t *scales;
    int64_t count, in, group_size; /* groups divide rows */
} codes_job;

template <typename T> __global__ static void codes_kernel(T *to, codes_job job)
{
    for (int64_t i = grid_thread(); i < job.count; i += grid_stride()) {
        int64_t group = i / job.group_size;
        float scale = half_value(job.scales[group]), zero = static_cast<float>(job.zeros[group]);
        float value = code_value(static_cast<float>(job.codes[i]), zero, scale);
        if (job.folded) value = __fdiv_rn(job.folded[i] - value, job.s[i % job.in]);
        to[i] = narrow<T>(value);
    }
}

template <typename T>
static void launch_codes(cuda_device *self, const char *verb, void *to, codes_job job)
{
    CUDA_LAUNCH(self, verb, (codes_kernel<T>), element_blocks(job.count), ELEMENT_THREADS,
                static_cast<T *>(to), job);
}

void coded_error_cuda(awq_device *device, void *d, const float *folded, const uint8_t *codes,
                      const uint16_t *scales, const uint8_t *zeros, const float *s,
                      awq_extent extent, const awq_grid *grid)
{
    cuda_device *self = cuda_begin(device);
    codes_job job = {folded,          s, codes, zeros, scales, extent.out * extent.in, extent.in,
                     grid->group_size};
    if (self) AWQ_BY_COMPUTE(self, launch_codes, "coded_error", d, job);
}

void dequantize_cuda(awq_device *device, void *w, const uint8_t *codes, const uint16_t *scales,
                     const uint8_t *zeros, awq_extent extent, const awq_grid *grid)
{
    cuda_device *self = cuda_begin(device);
    codes_job job = {
        NULL, NULL, codes, zeros, scales, extent.out * extent.in, extent.in, grid->group_size};
    if (self) AWQ_BY_COMPUTE(self, launch_codes, "dequantize", w, job);
}
