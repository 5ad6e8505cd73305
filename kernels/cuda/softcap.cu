/* SPDX-License-Identifier: MIT
 * kernels/cuda/softcap.cu - x = cap tanh(x / cap), and x *= factor, in place. Moves 8 bytes an
 * element. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/verbs.h"

__global__ static void softcap_kernel(float *x, float cap, int64_t count)
{
    for (int64_t i = grid_thread(); i < count; i += grid_stride()) x[i] = cap * tanhf(x[i] / cap);
}

__global__ static void scale_kernel(float *x, float factor, int64_t count)
{
    for (int64_t i = grid_thread(); i < count; i += grid_stride()) x[i] *= factor;
}

void softcap_cuda(awq_device *device, float *x, float cap, size_t count)
{
    cuda_device *self = cuda_begin(device);
    int64_t elements = static_cast<int64_t>(count);
    if (self)
        CUDA_LAUNCH(self, "softcap", softcap_kernel, element_blocks(elements), ELEMENT_THREADS, x,
                    cap, elements);
}

void scale_cuda(awq_device *device, float *x, float factor, size_t count)
{
    cuda_device *self = cuda_begin(device);
    int64_t elements = static_cast<int64_t>(count);
    if (self)
        CUDA_LAUNCH(self, "scale", scale_kernel, element_blocks(elements), ELEMENT_THREADS, x,
                    factor, elements);
}
