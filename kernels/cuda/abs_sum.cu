/* SPDX-License-Identifier: MIT
 * kernels/cuda/abs_sum.cu - sum[c] += sum over the rows that count of |x[r, c]|, in float64.
 *
 * A thread a column and ROWS rows; their sums, in scratch, are added in order by a thread a column.
 * Reads 2 bytes an element. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/sums.cuh"
#include "kernels/cuda/verbs.h"

enum { ABS_SUM_ROWS = 128, ABS_SUM_THREADS = 128 };

template <typename T>
__global__ static void part_kernel(double *part, const T *x, const uint8_t *mask, int64_t rows,
                                   int64_t cols)
{
    int64_t c = static_cast<int64_t>(blockIdx.y) * ABS_SUM_THREADS + threadIdx.x;
    int64_t first = static_cast<int64_t>(blockIdx.x) * ABS_SUM_ROWS, end = first + ABS_SUM_ROWS;
    if (c >= cols) return;
    double sum = 0;
    for (int64_t r = first; r < end && r < rows; r++)
        if (!mask || mask[r]) sum += static_cast<double>(fabsf(widen(x[r * cols + c])));
    part[blockIdx.x * cols + c] = sum;
}

__global__ static void whole_kernel(double *sum, const double *part, int64_t parts, int64_t cols)
{
    int64_t c = grid_thread();
    if (c >= cols) return;
    double whole = 0;
    for (int64_t i = 0; i < parts; i++) whole += part[i * cols + c];
    sum[c] += whole;
}

void cuda_add_parts(cuda_device *self, const char *verb, double *sum, const double *part,
                    int64_t parts, int64_t cols)
{
    CUDA_LAUNCH(self, verb, whole_kernel, static_cast<unsigned>(cuda_blocks(cols, ELEMENT_THREADS)),
                ELEMENT_THREADS, sum, part, parts, cols);
}

template <typename T>
static void launch_parts(cuda_device *self, double *part, const void *x, const uint8_t *mask,
                         int64_t rows, int64_t cols)
{
    dim3 grid(static_cast<unsigned>(cuda_blocks(rows, ABS_SUM_ROWS)),
              static_cast<unsigned>(cuda_blocks(cols, ABS_SUM_THREADS)));
    CUDA_LAUNCH(self, "abs_sum", (part_kernel<T>), grid, ABS_SUM_THREADS, part,
                static_cast<const T *>(x), mask, rows, cols);
}

void abs_sum_cuda(awq_device *device, double *sum, const void *x, const uint8_t *mask, int64_t rows,
                  int64_t cols)
{
    cuda_device *self = cuda_begin(device);
    if (!self || !rows) return;
    int64_t parts = cuda_blocks(rows, ABS_SUM_ROWS);
    char *scratch =
        cuda_reserve(self, "abs_sum", static_cast<size_t>(parts * cols) * sizeof(double));
    if (!scratch) return;
    double *part = cuda_carve<double>(&scratch, static_cast<size_t>(parts * cols));
    AWQ_BY_COMPUTE(self, launch_parts, part, x, mask, rows, cols);
    cuda_add_parts(self, "abs_sum", sum, part, parts, cols);
}
