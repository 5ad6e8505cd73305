/* SPDX-License-Identifier: MIT
 * kernels/cuda/gated.cu - y = act(gate) * up, or act(gate) alone. Moves 6 or 4 bytes an element.
 *
 * 0.5 x (1 + tanh(t)) is x / (1 + exp(-2t)): without the difference that loses bits where x is
 * below 0; 1 + erf(t) is erfc(-t) likewise. A limit that there is none of is infinite. */
#include <math.h>

#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/verbs.h"

/* NaN fails these tests and passes. */
__device__ static inline float at_most(float x, float limit)
{
    return x > limit ? limit : x;
}

__device__ static inline float within(float x, float limit)
{
    return at_most(x < -limit ? -limit : x, limit);
}

/* 2 sqrt(2/pi) (x + 0.044715 x^3). */
__device__ static inline float gelu_exponent(float x)
{
    return 1.5957691216f * (x + 0.044715f * x * x * x);
}

__device__ static inline float squared_relu(float x)
{
    float positive = x < 0 ? 0 : x;
    return positive * positive;
}

__device__ static inline float activated(float x, awq_activation act, float limit)
{
    switch (act) {
    case AWQ_SILU:
        x = at_most(x, limit);
        return x / (1.0f + expf(-x));
    case AWQ_GELU_TANH:
        return x / (1.0f + expf(-gelu_exponent(x)));
    case AWQ_GELU:
        return 0.5f * x * erfcf(-0.70710678f * x);
    case AWQ_RELU2:
        return squared_relu(x);
    case AWQ_SIGMOID:
        return 1.0f / (1.0f + expf(-x));
    case AWQ_CLAMP:
        return within(x, limit);
    case AWQ_SWIGLU_OAI:
        x = at_most(x, limit);
        return x / (1.0f + expf(-(1.702f * x)));
    }
    return x;
}

__device__ static inline float factor(float up, awq_activation act, float limit)
{
    if (act == AWQ_SWIGLU_OAI) return within(up, limit) + 1.0f;
    return act == AWQ_SILU ? within(up, limit) : up;
}

/* y may be gate or up, element by element; up may be NULL. */
template <typename T>
__global__ static void gated_kernel(T *y, const T *gate, const T *up, int64_t count,
                                    awq_activation act, float limit)
{
    for (int64_t i = grid_thread(); i < count; i += grid_stride()) {
        float value = activated(widen(gate[i]), act, limit);
        if (up) value *= factor(widen(up[i]), act, limit);
        y[i] = narrow<T>(value);
    }
}

template <typename T>
static void launch_gated(cuda_device *self, void *y, const void *gate, const void *up,
                         int64_t count, awq_activation act, float limit)
{
    CUDA_LAUNCH(self, "gated", (gated_kernel<T>), element_blocks(count), ELEMENT_THREADS,
                static_cast<T *>(y), static_cast<const T *>(gate), static_cast<const T *>(up),
                count, act, limit);
}

void gated_cuda(awq_device *device, void *y, const void *gate, const void *up, size_t count,
                awq_activation act, float limit)
{
    cuda_device *self = cuda_begin(device);
    if (self && count)
        AWQ_BY_COMPUTE(self, launch_gated, y, gate, up, static_cast<int64_t>(count), act,
                       limit > 0 ? limit : INFINITY);
}
