/* SPDX-License-Identifier: MIT
 * kernels/cuda/relative_sum.cu - sum[c] += sum over rows of |w[r, c]| / (max|w| of its group +
 * 1e-6), in float64.
 *
 * A warp a group for the maxima, which go through scratch; then a thread a column and ROWS rows,
 * whose sums are added in order. As many rows at a time as scratch holds of maxima. Reads 4 bytes
 * an element. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/quantizer.cuh"
#include "kernels/cuda/sums.cuh"
#include "kernels/cuda/verbs.h"

enum { RELATIVE_ROWS = 128, RELATIVE_THREADS = 128 };

typedef struct relative_job {
    float *largest; /* [rows, groups] */
    double *part;   /* [parts, in] */
    int64_t rows, in, group_size;
} relative_job;

/* A NaN is no maximum: it shows in its own column. */
template <typename T> __global__ static void largest_kernel(relative_job job, const T *w)
{
    int64_t groups = job.in / job.group_size, group = warp_group();
    if (group >= job.rows * groups) return; /* the whole warp */
    float largest = 0;
    for (int64_t i = threadIdx.x % WARP; i < job.group_size; i += WARP)
        largest = fmaxf(largest, fabsf(widen(w[group * job.group_size + i])));
    largest = warp_max(largest);
    if (threadIdx.x % WARP == 0) job.largest[group] = largest;
}

template <typename T> __global__ static void relative_kernel(relative_job job, const T *w)
{
    int64_t c = static_cast<int64_t>(blockIdx.y) * RELATIVE_THREADS + threadIdx.x;
    int64_t first = static_cast<int64_t>(blockIdx.x) * RELATIVE_ROWS;
    if (c >= job.in) return;
    const float *largest = job.largest + c / job.group_size;
    double sum = 0;
    for (int64_t r = first; r < first + RELATIVE_ROWS && r < job.rows; r++)
        sum += static_cast<double>(fabsf(widen(w[r * job.in + c]))) /
               (static_cast<double>(largest[r * (job.in / job.group_size)]) + 1e-6);
    job.part[blockIdx.x * job.in + c] = sum;
}

template <typename T>
static void launch_relative(cuda_device *self, double *sum, const relative_job *job, const void *w)
{
    int64_t parts = cuda_blocks(job->rows, RELATIVE_ROWS);
    dim3 grid(static_cast<unsigned>(parts),
              static_cast<unsigned>(cuda_blocks(job->in, RELATIVE_THREADS)));
    CUDA_LAUNCH(self, "relative_sum", (largest_kernel<T>),
                group_blocks(job->rows * job->in / job->group_size), GROUP_THREADS, *job,
                static_cast<const T *>(w));
    CUDA_LAUNCH(self, "relative_sum", (relative_kernel<T>), grid, RELATIVE_THREADS, *job,
                static_cast<const T *>(w));
    cuda_add_parts(self, "relative_sum", sum, job->part, parts, job->in);
}

void relative_sum_cuda(awq_device *device, double *sum, const void *w, awq_extent extent,
                       int64_t group_size)
{
    cuda_device *self = cuda_begin(device);
    if (!self || !extent.out) return;
    int64_t groups = extent.in / group_size;
    int64_t most = cuda_min(cuda_scratch_rows(groups, RELATIVE_ROWS), extent.out);
    most = cuda_blocks(most, RELATIVE_ROWS) * RELATIVE_ROWS;
    size_t maxima = static_cast<size_t>(most * groups);
    size_t sums = static_cast<size_t>(most / RELATIVE_ROWS * extent.in);
    char *scratch =
        cuda_reserve(self, "relative_sum",
                     cuda_aligned(maxima * sizeof(float)) + cuda_aligned(sums * sizeof(double)));
    if (!scratch) return;
    relative_job job = {cuda_carve<float>(&scratch, maxima), NULL, 0, extent.in, group_size};
    job.part = cuda_carve<double>(&scratch, sums);
    for (int64_t row = 0; row < extent.out; row += most) {
        job.rows = cuda_min(most, extent.out - row);
        AWQ_BY_COMPUTE(self, launch_relative, sum, &job,
                       static_cast<const uint16_t *>(w) + row * extent.in);
    }
}
