/* SPDX-License-Identifier: MIT
 * kernels/cuda/quadratic_form.cu - sum over rows of d G d^T, with G's upper triangle only.
 *
 * With G symmetric, d G d^T = sum over column blocks j of (2 d[0:j] G[0:j, j] + d[j] G[j, j]) d[j].
 * out in (in + COLS) flops by cuBLAS on tensor cores: d is widened in scratch, and the factors are
 * multiplied as TF32, whose 11 bits hold float16 and bfloat16 exactly, so that only G's entries are
 * rounded; sums are float32's. Each row and column block has its own place for its sum in float64,
 * and the places are added in order. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/sums.cuh"
#include "kernels/cuda/verbs.h"

enum { FORM_COLS = 1024, FORM_ROWS = 4096, FORM_THREADS = 256, FORM_WARPS = FORM_THREADS / WARP };

typedef struct form_job {
    const float *gram;
    int64_t in, column_blocks, most; /* rows at a time */
    float *d;                        /* [most, in] */
    float *e;                        /* [most, FORM_COLS]: d G */
    double *part;                    /* [out, column_blocks] */
} form_job;

template <typename T> __global__ static void widen_kernel(float *to, const T *from, int64_t count)
{
    for (int64_t i = grid_thread(); i < count; i += grid_stride()) to[i] = widen(from[i]);
}

template <typename T>
static void launch_widen(cuda_device *self, float *to, const void *from, int64_t count)
{
    CUDA_LAUNCH(self, "quadratic_form", (widen_kernel<T>), element_blocks(count), ELEMENT_THREADS,
                to, static_cast<const T *>(from), count);
}

/* A warp a row: e [rows, cols] times d [rows, in], from its column on. */
__global__ static void dot_kernel(double *part, const float *e, const float *d, int64_t rows,
                                  int64_t cols, int64_t in, int64_t column_blocks)
{
    int64_t row = static_cast<int64_t>(blockIdx.x) * FORM_WARPS + threadIdx.x / WARP;
    if (row >= rows) return; /* the whole warp */
    double sum = 0;
    for (int64_t c = threadIdx.x % WARP; c < cols; c += WARP)
        sum += static_cast<double>(e[row * cols + c]) * static_cast<double>(d[row * in + c]);
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0) part[row * column_blocks] = sum;
}

/* e = alpha d[:, from : from + k] G[from : from + k, col : col + cols] + beta e. */
static void multiply(cuda_device *self, const form_job *job, int64_t rows, int64_t from, int64_t k,
                     int64_t col, int64_t cols, float alpha, float beta)
{
    cuda_product product = {};
    product.a = cuda_floats(job->d + from, job->in, false);
    product.b = cuda_floats(job->gram + from * job->in + col, job->in, false);
    product.c = job->e;
    product.c_type = CUDA_R_32F;
    product.c_stride = cols;
    product.m = rows;
    product.n = cols;
    product.k = k;
    product.alpha = alpha;
    product.beta = beta;
    product.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
    cuda_multiply(self, "quadratic_form", &product);
}

static void add_rows(cuda_device *self, const form_job *job, double *part, int64_t rows)
{
    unsigned blocks = static_cast<unsigned>(cuda_blocks(rows, FORM_WARPS));
    for (int64_t j = 0; j < job->column_blocks; j++) {
        int64_t col = j * FORM_COLS, cols = cuda_min(FORM_COLS, job->in - col);
        multiply(self, job, rows, 0, col, col, cols, 2, 0);
        multiply(self, job, rows, col, cols, col, cols, 1, col ? 1 : 0);
        CUDA_LAUNCH(self, "quadratic_form", dot_kernel, blocks, FORM_THREADS, part + j, job->e,
                    job->d + col, rows, cols, job->in, job->column_blocks);
    }
}

static bool reserve(cuda_device *self, form_job *job, int64_t out)
{
    size_t d = static_cast<size_t>(job->most * job->in);
    size_t e = static_cast<size_t>(job->most * FORM_COLS);
    size_t parts = static_cast<size_t>(out * job->column_blocks);
    char *scratch = cuda_reserve(self, "quadratic_form",
                                 cuda_aligned(d * sizeof(float)) + cuda_aligned(e * sizeof(float)) +
                                     cuda_aligned(parts * sizeof(double)));
    if (!scratch) return false;
    job->d = cuda_carve<float>(&scratch, d);
    job->e = cuda_carve<float>(&scratch, e);
    job->part = cuda_carve<double>(&scratch, parts);
    return true;
}

awq_status quadratic_form_cuda(awq_device *device, const void *d, const float *gram,
                               awq_extent extent, double *sum, awq_error *err)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return cuda_status(reinterpret_cast<cuda_device *>(device), err);
    form_job job = {gram, extent.in, cuda_blocks(extent.in, FORM_COLS), 0, NULL, NULL, NULL};
    job.most = cuda_min(cuda_min(cuda_scratch_rows(extent.in, 128), FORM_ROWS), extent.out);
    if (!reserve(self, &job, extent.out)) return cuda_status(self, err);
    for (int64_t row = 0; row < extent.out; row += job.most) {
        int64_t rows = cuda_min(job.most, extent.out - row);
        AWQ_BY_COMPUTE(self, launch_widen, job.d,
                       static_cast<const uint16_t *>(d) + row * extent.in, rows * extent.in);
        add_rows(self, &job, job.part + row * job.column_blocks, rows);
    }
    return cuda_sum(self, "quadratic_form", job.part, extent.out * job.column_blocks, sum, err);
}
