/* SPDX-License-Identifier: MIT
 * kernels/cuda/silu_mul.cu - y = gate / (1 + exp(-gate)) * up. Moves 6 bytes an element. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/verbs.h"

/* y may be gate or up, element by element. */
template <typename T>
__global__ static void silu_kernel(T *y, const T *gate, const T *up, int64_t count)
{
    for (int64_t i = grid_thread(); i < count; i += grid_stride()) {
        float x = widen(gate[i]);
        y[i] = narrow<T>(x / (1.0f + expf(-x)) * widen(up[i]));
    }
}

template <typename T>
static void launch_silu(cuda_device *self, void *y, const void *gate, const void *up, int64_t count)
{
    CUDA_LAUNCH(self, "silu_mul", (silu_kernel<T>), element_blocks(count), ELEMENT_THREADS,
                static_cast<T *>(y), static_cast<const T *>(gate), static_cast<const T *>(up),
                count);
}

void silu_mul_cuda(awq_device *device, void *y, const void *gate, const void *up, size_t count)
{
    cuda_device *self = cuda_begin(device);
    if (self && count) AWQ_BY_COMPUTE(self, launch_silu, y, gate, up, static_cast<int64_t>(count));
}
