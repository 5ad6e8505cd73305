/* SPDX-License-Identifier: MIT
 * kernels/cuda/rmsnorm.cu - y[r, c] = x[r, c] / sqrt(mean_c x[r, c]^2 + eps) * w[c], or added to a
 * float32 sum.
 *
 * A block a row of hidden states, a warp a row of a head. Squares are summed in float64, so that a
 * NaN or infinity is never lost. Moves 6 bytes an element (twice 4 read, the second from L2), 12 if
 * it adds. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/verbs.h"

enum { NORM_THREADS = 256, NORM_HEADS = NORM_THREADS / WARP };

/* What this block's row is multiplied by. */
__device__ static inline float row_scale(const float *row, int64_t cols, float eps)
{
    double square = 0;
    for (int64_t c = threadIdx.x; c < cols; c += blockDim.x)
        square += static_cast<double>(row[c]) * static_cast<double>(row[c]);
    double mean = block_sum(square) / static_cast<double>(cols);
    return static_cast<float>(1.0 / sqrt(mean + static_cast<double>(eps)));
}

template <typename T>
__global__ static void rmsnorm_kernel(T *y, const float *x, const float *w, int64_t cols, float eps)
{
    const float *row = x + blockIdx.x * cols;
    float scale = row_scale(row, cols, eps);
    for (int64_t c = threadIdx.x; c < cols; c += blockDim.x)
        y[blockIdx.x * cols + c] = narrow<T>(row[c] * scale * w[c]);
}

__global__ static void rmsnorm_add_kernel(float *sum, const float *x, const float *w, int64_t cols,
                                          float eps)
{
    const float *row = x + blockIdx.x * cols;
    float scale = row_scale(row, cols, eps);
    for (int64_t c = threadIdx.x; c < cols; c += blockDim.x)
        sum[blockIdx.x * cols + c] += row[c] * scale * w[c];
}

template <typename T>
__global__ static void rmsnorm_heads_kernel(T *x, const float *w, int64_t rows, int64_t cols,
                                            float eps)
{
    int64_t row = static_cast<int64_t>(blockIdx.x) * NORM_HEADS + threadIdx.x / WARP;
    if (row >= rows) return; /* the whole warp */
    T *head = x + row * cols;
    double square = 0;
    for (int64_t c = threadIdx.x % WARP; c < cols; c += WARP) {
        double value = static_cast<double>(widen(head[c]));
        square += value * value;
    }
    double mean = warp_sum(square) / static_cast<double>(cols);
    float scale = static_cast<float>(1.0 / sqrt(mean + static_cast<double>(eps)));
    for (int64_t c = threadIdx.x % WARP; c < cols; c += WARP)
        head[c] = narrow<T>(widen(head[c]) * scale * w[c]);
}

template <typename T>
static void launch_rmsnorm(cuda_device *self, void *y, const float *x, const float *w, int64_t rows,
                           int64_t cols, float eps)
{
    CUDA_LAUNCH(self, "rmsnorm", (rmsnorm_kernel<T>), static_cast<unsigned>(rows), NORM_THREADS,
                static_cast<T *>(y), x, w, cols, eps);
}

template <typename T>
static void launch_heads(cuda_device *self, void *x, const float *w, int64_t rows, int64_t cols,
                         float eps)
{
    CUDA_LAUNCH(self, "rmsnorm_heads", (rmsnorm_heads_kernel<T>),
                static_cast<unsigned>(cuda_blocks(rows, NORM_HEADS)), NORM_THREADS,
                static_cast<T *>(x), w, rows, cols, eps);
}

void rmsnorm_cuda(awq_device *device, void *y, const float *x, const float *w, int64_t rows,
                  int64_t cols, float eps)
{
    cuda_device *self = cuda_begin(device);
    if (self && rows) AWQ_BY_COMPUTE(self, launch_rmsnorm, y, x, w, rows, cols, eps);
}

void rmsnorm_add_cuda(awq_device *device, float *sum, const float *x, const float *w, int64_t rows,
                      int64_t cols, float eps)
{
    cuda_device *self = cuda_begin(device);
    if (self)
        CUDA_LAUNCH(self, "rmsnorm_add", rmsnorm_add_kernel, static_cast<unsigned>(rows),
                    NORM_THREADS, sum, x, w, cols, eps);
}

void rmsnorm_heads_cuda(awq_device *device, void *x, const float *w, int64_t rows, int64_t cols,
                        float eps)
{
    cuda_device *self = cuda_begin(device);
    if (self && rows) AWQ_BY_COMPUTE(self, launch_heads, x, w, rows, cols, eps);
}
