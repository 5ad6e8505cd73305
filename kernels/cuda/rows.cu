/* SPDX-License-Identifier: MIT
 * kernels/cuda/rows.cu - some rows of a matrix out of it, and back, with a weight each; some
 * columns likewise:
 *   y[i] = weight[i] x[rows[i]],  sum[rows[i]] += weight[i] x[i],
 *   y[r, i] = x[r, at(i)],  y[r, at(i)] = x[r, i]
 * A block a row; rows are distinct, so that no two blocks add to the same element. Moves 4, 12, 4
 * and 4 bytes an element. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/verbs.h"

enum { ROW_THREADS = 256 };

template <typename T>
__global__ static void gather_kernel(T *y, const T *x, const int32_t *rows, const float *weight,
                                     int64_t cols)
{
    int64_t i = blockIdx.x;
    const T *from = x + (rows ? rows[i] : i) * cols;
    T *to = y + i * cols;
    for (int64_t c = threadIdx.x; c < cols; c += blockDim.x)
        to[c] = weight ? narrow<T>(weight[i] * widen(from[c])) : from[c];
}

__global__ static void scatter_kernel(float *sum, const float *x, const int32_t *rows,
                                      const float *weight, int64_t cols)
{
    int64_t i = blockIdx.x;
    const float *from = x + i * cols;
    float *to = sum + (rows ? rows[i] : i) * cols, own = weight ? weight[i] : 1.0f;
    for (int64_t c = threadIdx.x; c < cols; c += blockDim.x) to[c] += own * from[c];
}

template <typename T>
__global__ static void columns_kernel(T *y, const T *x, int64_t cols, awq_runs runs)
{
    const T *from = x + blockIdx.x * cols + runs.first;
    T *to = y + blockIdx.x * runs.count * runs.times;
    for (int64_t i = threadIdx.x; i < runs.count * runs.times; i += blockDim.x)
        to[i] = from[i / runs.count * runs.period + i % runs.count];
}

/* given: of a row of x; where that is one run's, all get it. */
template <typename T>
__global__ static void put_kernel(T *y, const T *x, int64_t cols, int64_t given, awq_runs runs)
{
    const T *from = x + blockIdx.x * given;
    T *to = y + blockIdx.x * cols + runs.first;
    for (int64_t i = threadIdx.x; i < runs.count * runs.times; i += blockDim.x)
        to[i / runs.count * runs.period + i % runs.count] = from[i % given];
}

template <typename T>
static void launch_gather(cuda_device *self, void *y, const void *x, const int32_t *rows,
                          const float *weight, int64_t count, int64_t cols)
{
    CUDA_LAUNCH(self, "gather_rows", (gather_kernel<T>), static_cast<unsigned>(count), ROW_THREADS,
                static_cast<T *>(y), static_cast<const T *>(x), rows, weight, cols);
}

template <typename T>
static void launch_columns(cuda_device *self, void *y, const void *x, int64_t rows, int64_t cols,
                           awq_runs runs)
{
    CUDA_LAUNCH(self, "take_columns", (columns_kernel<T>), static_cast<unsigned>(rows), ROW_THREADS,
                static_cast<T *>(y), static_cast<const T *>(x), cols, runs);
}

template <typename T>
static void launch_put(cuda_device *self, void *y, const void *x, int64_t rows, int64_t cols,
                       awq_runs runs, bool repeated)
{
    int64_t given = repeated ? runs.count : runs.count * runs.times;
    CUDA_LAUNCH(self, "put_columns", (put_kernel<T>), static_cast<unsigned>(rows), ROW_THREADS,
                static_cast<T *>(y), static_cast<const T *>(x), cols, given, runs);
}

void gather_rows_cuda(awq_device *device, void *y, const void *x, const int32_t *rows,
                      const float *weight, int64_t count, int64_t cols)
{
    cuda_device *self = cuda_begin(device);
    if (self) AWQ_BY_COMPUTE(self, launch_gather, y, x, rows, weight, count, cols);
}

void scatter_add_cuda(awq_device *device, float *sum, const float *x, const int32_t *rows,
                      const float *weight, int64_t count, int64_t cols)
{
    cuda_device *self = cuda_begin(device);
    if (self)
        CUDA_LAUNCH(self, "scatter_add", scatter_kernel, static_cast<unsigned>(count), ROW_THREADS,
                    sum, x, rows, weight, cols);
}

void take_columns_cuda(awq_device *device, void *y, const void *x, int64_t rows, int64_t cols,
                       const awq_runs *runs)
{
    cuda_device *self = cuda_begin(device);
    if (self) AWQ_BY_COMPUTE(self, launch_columns, y, x, rows, cols, *runs);
}

void put_columns_cuda(awq_device *device, void *y, const void *x, int64_t rows, int64_t cols,
                      const awq_runs *runs, bool repeated)
{
    cuda_device *self = cuda_begin(device);
    if (self) AWQ_BY_COMPUTE(self, launch_put, y, x, rows, cols, *runs, repeated);
}
