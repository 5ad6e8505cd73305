/* SPDX-License-Identifier: MIT
 * kernels/cuda/experts.cu - which experts a row of hidden states goes to, with what weight: a warp
 * a row, which reads its logits top + 2 times, from the cache; and sigmoid. Sums run in the warp's
 * tree, the chosen weights' one after the other. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/verbs.h"

enum { EXPERT_THREADS = 256, EXPERT_ROWS = EXPERT_THREADS / WARP };

/* Of two experts the one of the larger logit, of equals the lower; -1 is none. */
__device__ static inline int better(const float *logits, int one, int other)
{
    if (one < 0) return other;
    if (other < 0) return one;
    float a = logits[one], b = logits[other];
    if (a == b || !(a > b || b > a)) return one < other ? one : other; /* or a NaN */
    return a > b ? one : other;
}

__device__ static inline bool is_taken(const int32_t *taken, int64_t count, int expert)
{
    for (int64_t i = 0; i < count; i++)
        if (taken[i] == expert) return true;
    return false;
}

__global__ static void top_experts_kernel(int32_t *expert, const float *all, int64_t rows,
                                          int experts, int64_t top)
{
    int64_t row = static_cast<int64_t>(blockIdx.x) * EXPERT_ROWS + threadIdx.x / WARP;
    if (row >= rows) return; /* the whole warp */
    const float *logits = all + row * experts;
    int32_t *chosen = expert + row * top;
    int lane = threadIdx.x % WARP;
    for (int64_t k = 0; k < top; k++) {
        int best = -1;
        for (int e = lane; e < experts; e += WARP)
            if (!is_taken(chosen, k, e)) best = better(logits, best, e);
        for (int width = WARP / 2; width; width /= 2)
            best = better(logits, best, __shfl_xor_sync(ALL_LANES, best, width));
        if (lane == 0) chosen[k] = best;
        __syncwarp(); /* the other lanes see it */
    }
}

__global__ static void expert_weights_kernel(float *weights, const float *all,
                                             const int32_t *expert, int64_t rows, int experts,
                                             int64_t top, bool normalized)
{
    int64_t row = static_cast<int64_t>(blockIdx.x) * EXPERT_ROWS + threadIdx.x / WARP;
    if (row >= rows) return; /* the whole warp */
    const float *logits = all + row * experts;
    int lane = threadIdx.x % WARP;
    int32_t key = INT32_MIN;
    double total = 0;
    for (int e = lane; e < experts; e += WARP) {
        int32_t bits = ordered_bits(__float_as_int(logits[e]));
        key = bits > key ? bits : key;
    }
    float largest = __int_as_float(ordered_bits(warp_max(key))), sum = 0;
    for (int e = lane; e < experts; e += WARP)
        total += static_cast<double>(expf(logits[e] - largest));
    total = warp_sum(total);
    if (lane) return;
    float *weight = weights + row * top;
    for (int64_t k = 0; k < top; k++) {
        double share = static_cast<double>(expf(logits[expert[row * top + k]] - largest)) / total;
        weight[k] = static_cast<float>(share);
        sum += weight[k];
    }
    for (int64_t k = 0; normalized && k < top; k++) weight[k] /= sum;
}

__global__ static void sigmoid_kernel(float *y, const float *x, int64_t count)
{
    for (int64_t i = grid_thread(); i < count; i += grid_stride())
        y[i] = 1.0f / (1.0f + expf(-x[i]));
}

static unsigned row_blocks(int64_t rows)
{
    return static_cast<unsigned>(cuda_blocks(rows, EXPERT_ROWS));
}

void top_experts_cuda(awq_device *device, int32_t *expert, const float *logits, int64_t rows,
                      int64_t experts, int64_t top)
{
    cuda_device *self = cuda_begin(device);
    if (self)
        CUDA_LAUNCH(self, "top_experts", top_experts_kernel, row_blocks(rows), EXPERT_THREADS,
                    expert, logits, rows, static_cast<int>(experts), top);
}

void expert_weights_cuda(awq_device *device, float *weight, const float *logits,
                         const int32_t *expert, int64_t rows, int64_t experts, int64_t top,
                         bool normalized)
{
    cuda_device *self = cuda_begin(device);
    if (self)
        CUDA_LAUNCH(self, "expert_weights", expert_weights_kernel, row_blocks(rows), EXPERT_THREADS,
                    weight, logits, expert, rows, static_cast<int>(experts), top, normalized);
}

void sigmoid_cuda(awq_device *device, float *y, const float *x, size_t count)
{
    cuda_device *self = cuda_begin(device);
    int64_t elements = static_cast<int64_t>(count);
    if (self)
        CUDA_LAUNCH(self, "sigmoid", sigmoid_kernel, element_blocks(elements), ELEMENT_THREADS, y,
                    x, elements);
}
