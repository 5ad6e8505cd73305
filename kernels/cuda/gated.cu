/* SPDX-License-Identifier: MIT
 * kernels/cuda/gated.cu - y = act(gate) * up. Moves 6 bytes an element.
 *
 * 0.5 x (1 + tanh(t)) is x / (1 + exp(-2t)): without the difference that loses bits where x is
 * below 0. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/verbs.h"

/* 2 sqrt(2/pi) (x + 0.044715 x^3). */
__device__ static inline float gelu_exponent(float x)
{
    return 1.5957691216f * (x + 0.044715f * x * x * x);
}

/* y may be gate or up, element by element. */
template <typename T>
__global__ static void gated_kernel(T *y, const T *gate, const T *up, int64_t count,
                                    awq_activation act)
{
    for (int64_t i = grid_thread(); i < count; i += grid_stride()) {
        float x = widen(gate[i]), exponent = act == AWQ_SILU ? x : gelu_exponent(x);
        y[i] = narrow<T>(x / (1.0f + expf(-exponent)) * widen(up[i]));
    }
}

template <typename T>
static void launch_gated(cuda_device *self, void *y, const void *gate, const void *up,
                         int64_t count, awq_activation act)
{
    CUDA_LAUNCH(self, "gated", (gated_kernel<T>), element_blocks(count), ELEMENT_THREADS,
                static_cast<T *>(y), static_cast<const T *>(gate), static_cast<const T *>(up),
                count, act);
}

void gated_cuda(awq_device *device, void *y, const void *gate, const void *up, size_t count,
                awq_activation act)
{
    cuda_device *self = cuda_begin(device);
    if (self && count)
        AWQ_BY_COMPUTE(self, launch_gated, y, gate, up, static_cast<int64_t>(count), act);
}
