/* SPDX-License-Identifier: MIT
 * kernels/cuda/feedback_factor.cu - H = U diag(p) U^T, U unit upper triangular (docs/awq.md 2.9):
 * a Cholesky factorization from the last row upwards, as kernels/cpu/feedback_factor.c has it.
 *
 * In blocks of BLOCK columns: the diagonal block by one block of threads in float64, what is above
 * it by a thread a row, then the columns to its left in its panel of PANEL by cuBLAS in float32.
 * What is left of the triangle, in^3 / 3 flops in in / PANEL passes, follows once a panel, on
 * tensor cores. TF32's 11 bits would not do there, since pivots are differences; so each factor is
 * the sum of two TF32 numbers, its head and its tail, and of the four products the tails' is left
 * out: 22 bits, in one product three times as deep, [head head tail] [head tail head]^T. The order
 * of the columns is the host's work, from the diagonal. */
#include <math.h>
#include <stdlib.h>

#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/verbs.h"

extern "C" {
#include "kernels/column_order.h"
#include "kernels/gram.h"
}

enum {
    BLOCK = 64,
    PANEL = 4 * BLOCK,
    DENSE_SIDE = 16,
    DENSE_THREADS = DENSE_SIDE * DENSE_SIDE,
    SOLVE_ROWS = 64,
    UPDATE_ROWS = 1024,
    TERMS = 3 /* products of heads and tails */
};

typedef struct factor_job {
    float *factor;
    const float *gram, *s;
    int32_t *order;
    int64_t in;
    float *diagonal;     /* [in] */
    int32_t *refused;    /* a pivot was too small, or not a number */
    float *left, *right; /* [split_rows, TERMS * PANEL] heads and tails of a panel's rows */
    int64_t split_rows;
} factor_job;

/* ---- H ---- */

__device__ static inline float scaled(const factor_job &job, int64_t i, int64_t j)
{
    return __fdiv_rn(awq_gram_at(job.gram, job.in, i, j), __fmul_rn(job.s[i], job.s[j]));
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
 * block of threads, a square of DENSE_SIDE by DENSE_SIDE that is laid over b again and again. A
 * column is divided by its pivot's root at the end only, so that it can be read while what is left
 * of it is updated: b_il -= b_ij b_lj / pivot, with one barrier a column. A refused pivot leaves
 * what follows undefined. */
__global__ static void dense_kernel(factor_job job, int64_t first, int n, double least)
{
    __shared__ double b[BLOCK][BLOCK + 1];
    float *block = job.factor + first * job.in + first;
    int row = threadIdx.x / DENSE_SIDE, column = threadIdx.x % DENSE_SIDE;
    for (int i = row; i < n; i += DENSE_SIDE)
        for (int l = column; l < n; l += DENSE_SIDE)
            if (i <= l) b[i][l] = static_cast<double>(block[i * job.in + l]);
    __syncthreads();
    for (int j = n - 1; j >= 0; j--) {
        double pivot = b[j][j], inverse = 1 / pivot;
        if (threadIdx.x == 0 && !(pivot >= least)) *job.refused = 1;
        for (int i = row; i < j; i += DENSE_SIDE) {
            double factor = b[i][j] * inverse;
            for (int l = column; l < j; l += DENSE_SIDE)
                if (i <= l) b[i][l] -= factor * b[l][j];
        }
        __syncthreads();
    }
    for (int i = row; i < n; i += DENSE_SIDE)
        for (int l = column; l < n; l += DENSE_SIDE)
            if (i <= l) block[i * job.in + l] = static_cast<float>(b[i][l] / sqrt(b[l][l]));
}

/* The panel above the diagonal block: R_ik = H_ik R_kk^-T, a thread a row, which is in registers:
 * loops are unrolled, and of a narrower block's last columns nothing is done. */
__global__ static void solve_kernel(factor_job job, int64_t first, int n)
{
    __shared__ float r[BLOCK][BLOCK], x[SOLVE_ROWS][BLOCK + 1];
    int64_t top = static_cast<int64_t>(blockIdx.x) * SOLVE_ROWS;
    const float *diagonal = job.factor + first * job.in + first;
    float *panel = job.factor + top * job.in + first, row[BLOCK];
    for (int i = threadIdx.x; i < n * n; i += blockDim.x)
        if (i / n <= i % n) r[i / n][i % n] = diagonal[i / n * job.in + i % n];
    for (int i = threadIdx.x; i < SOLVE_ROWS * n; i += blockDim.x) /* first is whole blocks */
        x[i / n][i % n] = panel[i / n * job.in + i % n];
    __syncthreads();
    CUDA_UNROLL
    for (int j = 0; j < BLOCK; j++) row[j] = j < n ? x[threadIdx.x][j] : 0;
    CUDA_UNROLL
    for (int j = BLOCK - 1; j >= 0; j--) {
        if (j >= n) continue;
        row[j] = row[j] / r[j][j];
        CUDA_UNROLL
        for (int l = 0; l < j; l++) row[l] = fmaf(-row[j], r[l][j], row[l]);
    }
    CUDA_UNROLL
    for (int j = 0; j < BLOCK; j++)
        if (j < n) x[threadIdx.x][j] = row[j];
    __syncthreads();
    for (int i = threadIdx.x; i < SOLVE_ROWS * n; i += blockDim.x)
        panel[i / n * job.in + i % n] = x[i / n][i % n];
}

/* The columns from `panel` to `first`, all rows: H_ij -= R_ik R_jk^T. */
static void update_panel(cuda_device *self, const factor_job *job, int64_t panel, int64_t first,
                         int64_t n)
{
    cuda_product product = {};
    product.a = cuda_floats(job->factor + first, job->in, false);
    product.b = cuda_floats(job->factor + panel * job->in + first, job->in, true);
    product.c = job->factor + panel;
    product.c_type = CUDA_R_32F;
    product.c_stride = job->in;
    product.m = first;
    product.n = first - panel;
    product.k = n;
    product.alpha = -1;
    product.beta = 1;
    product.compute = CUBLAS_COMPUTE_32F;
    cuda_multiply(self, "feedback_factor", &product);
}

/* ---- what is left of the triangle ---- */

/* To nearest of 11 bits; what is not finite stays. */
__device__ static inline float head_of(float x)
{
    return isfinite(x) ? __int_as_float((__float_as_int(x) + 0x1000) & ~0x1fff) : x;
}

/* A row of `n` numbers of the factor to its terms: head, head, tail; mirrored head, tail, head. A
 * block a row. */
__global__ static void split_kernel(float *to, const float *from, int64_t stride, int n,
                                    bool mirrored)
{
    float *row = to + static_cast<int64_t>(blockIdx.x) * TERMS * n;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        float x = from[blockIdx.x * stride + i], head = head_of(x);
        float tail = isfinite(x) ? x - head : 0.0f;
        row[i] = head;
        row[n + i] = mirrored ? tail : head;
        row[2 * n + i] = mirrored ? head : tail;
    }
}

/* Some rows of the panel [in, n] at `first`. */
static void split_rows(cuda_device *self, const factor_job *job, float *to, int64_t row,
                       int64_t rows, int64_t first, int64_t n)
{
    CUDA_LAUNCH(self, "feedback_factor", split_kernel, static_cast<unsigned>(rows), PANEL, to,
                job->factor + row * job->in + first, job->in, static_cast<int>(n),
                to == job->right);
}

/* The rows from `top` and the columns from `side` on, which are split: H_ij -= R_ik R_jk^T. `row`
 * and `column` are the first that are in left and right. */
static void update_block(cuda_device *self, const factor_job *job, int64_t row, int64_t top,
                         int64_t rows, int64_t column, int64_t side, int64_t columns, int64_t n)
{
    int64_t depth = TERMS * n;
    cuda_product product = {};
    product.a = cuda_floats(job->left + (top - row) * depth, depth, false);
    product.b = cuda_floats(job->right + (side - column) * depth, depth, true);
    product.c = job->factor + top * job->in + side;
    product.c_type = CUDA_R_32F;
    product.c_stride = job->in;
    product.m = rows;
    product.n = columns;
    product.k = depth;
    product.alpha = -1;
    product.beta = 1;
    product.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
    cuda_multiply(self, "feedback_factor", &product);
}

/* The triangle [first, first] by the panel [first, n] beside it, from the diagonal on. As much of
 * it at a time as scratch holds of split rows: all of it, but for very wide layers. */
static void update_triangle(cuda_device *self, const factor_job *job, int64_t first, int64_t n)
{
    for (int64_t row = 0; row < first; row += job->split_rows) {
        int64_t row_end = cuda_min(row + job->split_rows, first);
        split_rows(self, job, job->left, row, row_end - row, first, n);
        for (int64_t column = row; column < first; column += job->split_rows) {
            int64_t column_end = cuda_min(column + job->split_rows, first);
            split_rows(self, job, job->right, column, column_end - column, first, n);
            for (int64_t top = row; top < row_end; top += UPDATE_ROWS) {
                int64_t side = top > column ? top : column;
                update_block(self, job, row, top, cuda_min(UPDATE_ROWS, row_end - top), column,
                             side, column_end - side, n);
            }
        }
    }
}

/* Panel by panel: its diagonal blocks from the last on, then what is left of the triangle. */
static void factorize(cuda_device *self, const factor_job *job, double least)
{
    for (int64_t panel = (cuda_blocks(job->in, PANEL) - 1) * PANEL; panel >= 0; panel -= PANEL) {
        int64_t end = cuda_min(panel + PANEL, job->in);
        for (int64_t k = cuda_blocks(end, BLOCK) - 1; k * BLOCK >= panel; k--) {
            int64_t first = k * BLOCK;
            int n = static_cast<int>(cuda_min(BLOCK, end - first));
            CUDA_LAUNCH(self, "feedback_factor", dense_kernel, 1, DENSE_THREADS, *job, first, n,
                        least);
            CUDA_LAUNCH(self, "feedback_factor", solve_kernel, static_cast<unsigned>(k), SOLVE_ROWS,
                        *job, first, n);
            update_panel(self, job, panel, first, n);
        }
        update_triangle(self, job, panel, end - panel);
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
    job->split_rows = cuda_min(cuda_scratch_rows(TERMS * PANEL, 64), job->in);
    size_t split = static_cast<size_t>(job->split_rows) * TERMS * PANEL;
    char *scratch = cuda_reserve(self, "feedback_factor",
                                 cuda_aligned(in * sizeof(float)) + cuda_aligned(sizeof(int32_t)) +
                                     2 * cuda_aligned(split * sizeof(float)));
    if (!scratch) return false;
    job->diagonal = cuda_carve<float>(&scratch, in);
    job->refused = cuda_carve<int32_t>(&scratch, 1);
    job->left = cuda_carve<float>(&scratch, split);
    job->right = cuda_carve<float>(&scratch, split);
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
    factor_job job = {factor, gram, s, order, in, NULL, NULL, NULL, NULL, 0};
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
