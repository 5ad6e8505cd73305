/* SPDX-License-Identifier: MIT
 * kernels/cuda/feedback_factor.cu - H = U diag(p) U^T, U unit upper triangular (docs/awq.md 2.9):
 * a Cholesky factorization from the last row upwards, as kernels/cpu/feedback_factor.c has it.
 *
 * In blocks of BLOCK columns: the diagonal block by one block of threads in float64, the panel
 * above it by a thread a row, what is left of the triangle by cuBLAS in float32 (not TF32: the
 * pivots are differences). in^3 / 3 flops, in / BLOCK passes over the triangle. The order of the
 * columns is the host's work, from the diagonal. */
#include <math.h>
#include <stdlib.h>

#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/verbs.h"

extern "C" {
#include "kernels/column_order.h"
}

enum { BLOCK = 64, DENSE_THREADS = 256, SOLVE_ROWS = 64, UPDATE_ROWS = 1024 };

typedef struct factor_job {
    float *factor;
    const float *gram, *s;
    int32_t *order;
    int64_t in;
    float *diagonal;  /* [in] */
    int32_t *refused; /* a pivot was too small, or not a number */
} factor_job;

/* ---- H ---- */

__device__ static inline float scaled(const factor_job &job, int64_t i, int64_t j)
{
    return __fdiv_rn(job.gram[i * job.in + j], __fmul_rn(job.s[i], job.s[j]));
}

__global__ static void diagonal_kernel(factor_job job)
{
    int64_t i = grid_thread();
    if (i < job.in) job.diagonal[i] = scaled(job, i, i);
}

/* H's upper triangle in the order, a block a row. */
__global__ static void scale_kernel(factor_job job, float shift)
{
    int64_t i = blockIdx.x, from = job.order[i];
    for (int64_t j = i + threadIdx.x; j < job.in; j += blockDim.x) {
        float h = scaled(job, from, job.order[j]);
        job.factor[i * job.in + j] = j == i ? h + shift : h;
    }
}

/* ---- factorization ---- */

/* The diagonal block [n, n] from `first` on: R R^T = b, in place; only the upper triangle. One
 * block of threads. A refused pivot leaves what follows undefined. */
__global__ static void dense_kernel(factor_job job, int64_t first, int n, double least)
{
    __shared__ double b[BLOCK][BLOCK];
    float *block = job.factor + first * job.in + first;
    for (int i = threadIdx.x; i < n * n; i += blockDim.x)
        if (i / n <= i % n) b[i / n][i % n] = static_cast<double>(block[i / n * job.in + i % n]);
    __syncthreads();
    for (int j = n - 1; j >= 0; j--) {
        double pivot = b[j][j], root = sqrt(pivot);
        if (threadIdx.x == 0 && !(pivot >= least)) *job.refused = 1;
        __syncthreads(); /* all have read the pivot */
        for (int i = threadIdx.x; i <= j; i += blockDim.x) b[i][j] /= root;
        __syncthreads();
        for (int i = threadIdx.x; i < j * j; i += blockDim.x)
            if (i / j <= i % j) b[i / j][i % j] -= b[i / j][j] * b[i % j][j];
        __syncthreads();
    }
    for (int i = threadIdx.x; i < n * n; i += blockDim.x)
        if (i / n <= i % n) block[i / n * job.in + i % n] = static_cast<float>(b[i / n][i % n]);
}

/* The panel above the diagonal block: R_ik = H_ik R_kk^-T, a thread a row. */
__global__ static void solve_kernel(factor_job job, int64_t first, int n)
{
    __shared__ float r[BLOCK][BLOCK], x[SOLVE_ROWS][BLOCK + 1];
    int64_t top = static_cast<int64_t>(blockIdx.x) * SOLVE_ROWS;
    const float *diagonal = job.factor + first * job.in + first;
    float *panel = job.factor + top * job.in + first;
    for (int i = threadIdx.x; i < n * n; i += blockDim.x)
        if (i / n <= i % n) r[i / n][i % n] = diagonal[i / n * job.in + i % n];
    for (int i = threadIdx.x; i < SOLVE_ROWS * n; i += blockDim.x) /* first is whole blocks */
        x[i / n][i % n] = panel[i / n * job.in + i % n];
    __syncthreads();
    float *row = x[threadIdx.x];
    for (int j = n - 1; j >= 0; j--) {
        float left = row[j];
        for (int l = n - 1; l > j; l--) left = fmaf(-row[l], r[j][l], left);
        row[j] = left / r[j][j];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < SOLVE_ROWS * n; i += blockDim.x)
        panel[i / n * job.in + i % n] = x[i / n][i % n];
}

/* What is left, blocks of rows from the diagonal on: H_ij -= R_ik R_jk^T. */
static void update(cuda_device *self, const factor_job *job, int64_t first, int64_t n)
{
    for (int64_t top = 0; top < first; top += UPDATE_ROWS) {
        const float *panel = job->factor + top * job->in + first;
        cuda_product product = {};
        product.a = cuda_floats(panel, job->in, false);
        product.b = cuda_floats(panel, job->in, true);
        product.c = job->factor + top * job->in + top;
        product.c_type = CUDA_R_32F;
        product.c_stride = job->in;
        product.m = cuda_min(UPDATE_ROWS, first - top);
        product.n = first - top;
        product.k = n;
        product.alpha = -1;
        product.beta = 1;
        product.compute = CUBLAS_COMPUTE_32F;
        cuda_multiply(self, "feedback_factor", &product);
    }
}

static void factorize(cuda_device *self, const factor_job *job, double least)
{
    for (int64_t k = cuda_blocks(job->in, BLOCK) - 1; k >= 0; k--) {
        int64_t first = k * BLOCK;
        int n = static_cast<int>(cuda_min(BLOCK, job->in - first));
        CUDA_LAUNCH(self, "feedback_factor", dense_kernel, 1, DENSE_THREADS, *job, first, n, least);
        if (!k) break;
        CUDA_LAUNCH(self, "feedback_factor", solve_kernel, static_cast<unsigned>(k), SOLVE_ROWS,
                    *job, first, n);
        update(self, job, first, n);
    }
}

/* ---- U ---- */

__global__ static void keep_diagonal_kernel(factor_job job)
{
    int64_t i = grid_thread();
    if (i < job.in) job.diagonal[i] = job.factor[i * job.in + i];
}

/* A block a row. */
__global__ static void unit_kernel(factor_job job)
{
    float *row = job.factor + blockIdx.x * job.in;
    for (int64_t j = blockIdx.x + threadIdx.x; j < job.in; j += blockDim.x)
        row[j] = __fdiv_rn(row[j], job.diagonal[j]);
}

/* ---- the verb ---- */

/* The order to the device, the mean of the diagonal to the caller. */
static awq_status sort_columns(cuda_device *self, const factor_job *job, double *mean,
                               awq_error *err)
{
    size_t in = static_cast<size_t>(job->in);
    unsigned blocks = static_cast<unsigned>(cuda_blocks(job->in, ELEMENT_THREADS));
    awq_ranked *rank =
        static_cast<awq_ranked *>(malloc(in * (sizeof *rank + sizeof(float) + sizeof(int32_t))));
    if (!rank)
        return awq_fail(err, AWQ_ERR_MEMORY, "no memory to sort %lld columns",
                        static_cast<long long>(job->in));
    float *diagonal = reinterpret_cast<float *>(rank + in);
    int32_t *order = reinterpret_cast<int32_t *>(diagonal + in);
    CUDA_LAUNCH(self, "feedback_factor", diagonal_kernel, blocks, ELEMENT_THREADS, *job);
    awq_status status =
        cuda_fetch(self, "feedback_factor", diagonal, job->diagonal, in * sizeof *diagonal, err);
    if (!status) {
        for (size_t i = 0; i < in; i++) rank[i].diagonal = diagonal[i];
        *mean = awq_column_order(rank, job->in, order);
        cuda_send(self, "feedback_factor", job->order, order, in * sizeof *order);
    }
    free(rank);
    return status;
}

static bool reserve(cuda_device *self, factor_job *job)
{
    size_t in = static_cast<size_t>(job->in);
    char *scratch = cuda_reserve(self, "feedback_factor",
                                 cuda_aligned(in * sizeof(float)) + cuda_aligned(sizeof(int32_t)));
    if (!scratch) return false;
    job->diagonal = cuda_carve<float>(&scratch, in);
    job->refused = cuda_carve<int32_t>(&scratch, 1);
    return true;
}

static void make_factor(cuda_device *self, const factor_job *job, double shift)
{
    unsigned rows = static_cast<unsigned>(job->in);
    unsigned blocks = static_cast<unsigned>(cuda_blocks(job->in, ELEMENT_THREADS));
    cuda_check(self, "feedback_factor",
               cudaMemsetAsync(job->refused, 0, sizeof *job->refused, self->stream));
    CUDA_LAUNCH(self, "feedback_factor", scale_kernel, rows, ELEMENT_THREADS, *job,
                static_cast<float>(shift));
    factorize(self, job, shift / 2);
    CUDA_LAUNCH(self, "feedback_factor", keep_diagonal_kernel, blocks, ELEMENT_THREADS, *job);
    CUDA_LAUNCH(self, "feedback_factor", unit_kernel, rows, ELEMENT_THREADS, *job);
}

awq_status feedback_factor_cuda(awq_device *device, float *factor, int32_t *order,
                                const float *gram, const float *s, int64_t in, double damp,
                                bool *positive, awq_error *err)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return cuda_status(reinterpret_cast<cuda_device *>(device), err);
    factor_job job = {factor, gram, s, order, in, NULL, NULL};
    int32_t refused = 0;
    double mean = 0;
    if (!reserve(self, &job)) return cuda_status(self, err);
    if (sort_columns(self, &job, &mean, err)) return err->status;
    double shift = damp * mean;
    *positive = false;
    if (!(shift > 0 && isfinite(shift))) return cuda_status(self, err);
    make_factor(self, &job, shift);
    if (cuda_fetch(self, "feedback_factor", &refused, job.refused, sizeof refused, err))
        return err->status;
    *positive = !refused;
    return AWQ_OK;
}
