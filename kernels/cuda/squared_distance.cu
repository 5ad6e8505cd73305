/* SPDX-License-Identifier: MIT
 * kernels/cuda/squared_distance.cu - the squared Frobenius norm of x - y [rows, cols], of all rows
 * or of those that count: a block a row, its sum to its own place; then the sum of the places.
 * Reads 4 or 8 bytes an element. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/sums.cuh"
#include "kernels/cuda/verbs.h"

enum { DISTANCE_THREADS = 256, SUM_THREADS = 1024 };

template <typename T>
__global__ static void distance_kernel(double *part, const T *x, const T *y, const uint8_t *mask,
                                       int64_t cols)
{
    int64_t first = blockIdx.x * cols;
    bool counts = !mask || mask[blockIdx.x];
    double sum = 0;
    for (int64_t c = threadIdx.x; counts && c < cols; c += blockDim.x) {
        float other = y ? widen(y[first + c]) : 0.0f;
        double d = static_cast<double>(widen(x[first + c]) - other);
        sum += d * d;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

/* A block a sum. */
__global__ static void __launch_bounds__(SUM_THREADS)
    sum_kernel(double *to, const double *part, int64_t each)
{
    const double *own = part + blockIdx.x * each;
    double sum = 0;
    for (int64_t i = threadIdx.x; i < each; i += blockDim.x) sum += own[i];
    sum = block_sum(sum); /* past its barrier all parts have been read */
    if (threadIdx.x == 0) to[blockIdx.x] = sum;
}

awq_status cuda_sums(cuda_device *self, const char *verb, double *to, const double *part,
                     int64_t each, int64_t count, double *sum, awq_error *err)
{
    CUDA_LAUNCH(self, verb, sum_kernel, static_cast<unsigned>(count), SUM_THREADS, to, part, each);
    return cuda_fetch(self, verb, sum, to, static_cast<size_t>(count) * sizeof *sum, err);
}

template <typename T>
static awq_status measure(cuda_device *self, const char *verb, const void *x, const void *y,
                          const uint8_t *mask, int64_t rows, int64_t cols, double *sum,
                          awq_error *err)
{
    char *scratch = cuda_reserve(self, verb, static_cast<size_t>(rows + 1) * sizeof(double));
    if (!scratch) return cuda_status(self, err);
    double *part = cuda_carve<double>(&scratch, static_cast<size_t>(rows));
    CUDA_LAUNCH(self, verb, (distance_kernel<T>), static_cast<unsigned>(rows), DISTANCE_THREADS,
                part, static_cast<const T *>(x), static_cast<const T *>(y), mask, cols);
    return cuda_sums(self, verb, part, part, rows, 1, sum, err);
}

awq_status squared_distance_cuda(awq_device *device, const void *x, const void *y, int64_t rows,
                                 int64_t cols, double *sum, awq_error *err)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return cuda_status(reinterpret_cast<cuda_device *>(device), err);
    return AWQ_BY_COMPUTE(self, measure, "squared_distance", x, y, NULL, rows, cols, sum, err);
}

awq_status squared_error_cuda(awq_device *device, const float *x, const float *y,
                              const uint8_t *mask, int64_t rows, int64_t cols, double *sum,
                              awq_error *err)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return cuda_status(reinterpret_cast<cuda_device *>(device), err);
    return measure<float>(self, "squared_error", x, y, mask, rows, cols, sum, err);
}
