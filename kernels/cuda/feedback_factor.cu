/* SPDX-License-Identifier: MIT
 * kernels/cuda/feedback_factor.cu - H = U diag(p) U^T, U unit upper triangular (docs/awq.md 2.9):
 * a Cholesky factorization from the last row upwards, as kernels/cpu/feedback_factor.c has it.
 *
 * In blocks of BLOCK columns, two kernels each: the diagonal block and its inverse by one block of
 * threads in float64, then what is above it, by the inverse; both take off first, in float32, what
 * the columns of their panel of PANEL take that are done. What is left of the triangle, in^3 / 3
 * flops in in / PANEL passes, follows once a panel, on tensor cores. TF32's 11 bits would not do
 * there, since pivots are differences; so each factor is the sum of two TF32 numbers, its head and
 * its tail, and of the four products the tails' is left out: 22 bits, in one product three times as
 * deep, [head head tail] [head tail head]^T.
 *
 * Nobody waits but at the end, for whether a pivot was refused. */
#include <math.h>

#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/factor_square.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/verbs.h"

extern "C" {
#include "kernels/gram.h"
}

enum {
    PANEL = 8 * BLOCK,
    MEAN_THREADS = 1024,
    UPDATE_ROWS = 2048,
    TERMS = 3 /* products of heads and tails */
};

typedef struct factor_job {
    float *factor;
    const float *gram, *s;
    int32_t *order;
    int64_t in;
    float *diagonal;     /* [in] */
    double *shift;       /* damp times the mean of H's diagonal before it; NaN: that is none */
    float *inverse;      /* [BLOCK, BLOCK] of the diagonal block's R */
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

/* One block of threads. */
__global__ static void __launch_bounds__(MEAN_THREADS) shift_kernel(factor_job job, double damp)
{
    double sum = 0;
    for (int64_t i = threadIdx.x; i < job.in; i += blockDim.x)
        sum += static_cast<double>(job.diagonal[i]);
    double shift = damp * (block_sum(sum) / static_cast<double>(job.in));
    bool is_one = shift > 0 && isfinite(shift);
    if (threadIdx.x) return;
    *job.shift = is_one ? shift : static_cast<double>(NAN);
    *job.refused = !is_one;
}

/* A column's place is how many come before it: those whose diagonal is larger, of equals those of a
 * lower index. Where the mean is none, they stay as they are. */
__global__ static void order_kernel(factor_job job)
{
    __shared__ float others[ELEMENT_THREADS];
    int64_t column = grid_thread(), place = 0;
    float own = column < job.in ? job.diagonal[column] : 0;
    for (int64_t first = 0; first < job.in; first += ELEMENT_THREADS) {
        int64_t left = job.in - first;
        int count = left < ELEMENT_THREADS ? static_cast<int>(left) : ELEMENT_THREADS;
        __syncthreads();
        if (static_cast<int>(threadIdx.x) < count)
            others[threadIdx.x] = job.diagonal[first + threadIdx.x];
        __syncthreads();
        for (int i = 0; i < count; i++)
            place += others[i] > own || (others[i] == own && first + i < column);
    }
    if (column >= job.in) return;
    job.order[isfinite(*job.shift) ? place : column] = static_cast<int32_t>(column);
}

/* H's upper triangle in the order, a block a row. */
__global__ static void scale_kernel(factor_job job)
{
    int64_t i = blockIdx.x, from = job.order[i];
    float shift = static_cast<float>(*job.shift);
    for (int64_t j = i + threadIdx.x; j < job.in; j += blockDim.x) {
        float h = scaled(job, from, job.order[j]);
        job.factor[i * job.in + j] = j == i ? h + shift : h;
    }
}

/* ---- factorization ---- */

/* BLOCK rows from `top` on, the columns from `first` to `end`; zeros past them. */
__device__ static inline void load_square(square to, const factor_job &job, int64_t top,
                                          int64_t first, int64_t end)
{
    for (int i = threadIdx.x; i < BLOCK * BLOCK; i += SQUARE_THREADS) {
        int64_t row = top + i / BLOCK, column = first + i % BLOCK;
        bool inside = row < job.in && column < end;
        to[i / BLOCK][i % BLOCK] = inside ? job.factor[row * job.in + column] : 0.0f;
    }
}

/* What the panel's columns that are done, behind the diagonal block at `first`, take from BLOCK
 * rows from `top` on: sum over columns k of R_ik R_jk. a and b are work space, which may be one
 * for the diagonal block's own rows. */
__device__ static inline void sum_done(float sum[PATCH][PATCH], square a, square b,
                                       const factor_job &job, int64_t top, int64_t first,
                                       int64_t end)
{
    for (int64_t k = first + BLOCK; k < end; k += BLOCK) {
        load_square(a, job, top, k, end);
        if (a != b) load_square(b, job, first, k, end);
        __syncthreads();
        multiply_squares(sum, a, b);
        __syncthreads();
    }
}

/* R R^T = H, R = U diag(p)^(1/2), and R^-1, of what factor_square has left. root: work space. */
__device__ static inline void store_square(const factor_job &job, const double h[PATCH][PATCH],
                                           double *root, int64_t first, int n)
{
    int row = threadIdx.x / SIDE, column = threadIdx.x % SIDE;
    float *to = job.factor + first * job.in + first;
    for (int i = 0; i < PATCH; i++)
        for (int l = 0; l < PATCH; l++)
            if (row + i * SIDE == column + l * SIDE) root[row + i * SIDE] = sqrt(h[i][l]);
    __syncthreads();
    for (int i = 0; i < PATCH; i++)
        for (int l = 0; l < PATCH; l++) {
            int r = row + i * SIDE, c = column + l * SIDE;
            bool inside = r < n && c < n;
            double v = r == c ? 1 : h[i][l];
            if (inside && r <= c) to[r * job.in + c] = static_cast<float>(h[i][l] / root[c]);
            job.inverse[c * BLOCK + r] = inside && r >= c ? static_cast<float>(v / root[c]) : 0.0f;
        }
}

/* The diagonal block [n, n] from `first` on, in a panel that ends at `end`, and its inverse. One
 * block of threads. A refused pivot leaves what follows undefined. */
__global__ static void dense_kernel(factor_job job, int64_t first, int n, int64_t end)
{
    __shared__ square rows;
    __shared__ double place[2][BLOCK], root[BLOCK];
    const float *block = job.factor + first * job.in + first;
    int row = threadIdx.x / SIDE, column = threadIdx.x % SIDE;
    float sum[PATCH][PATCH] = {};
    double h[PATCH][PATCH];
    sum_done(sum, rows, rows, job, first, first, end);
    for (int i = 0; i < PATCH; i++)
        for (int l = 0; l < PATCH; l++) {
            int r = row + i * SIDE, c = column + l * SIDE;
            bool inside = r <= c && c < n;
            h[i][l] = inside ? static_cast<double>(block[r * job.in + c] - sum[i][l]) : 0;
        }
    factor_square(h, place, n, *job.shift / 2, job.refused);
    store_square(job, h, root, first, n);
}

/* The panel above the diagonal block: R_ik = H_ik R_kk^-T, BLOCK rows a block of threads; of a
 * narrower block's last columns nothing is written. `first` is whole blocks. */
__global__ static void apply_kernel(factor_job job, int64_t first, int n, int64_t end)
{
    __shared__ square h, inverse;
    int64_t top = static_cast<int64_t>(blockIdx.x) * BLOCK;
    float *panel = job.factor + top * job.in + first;
    int row = threadIdx.x / SIDE, column = threadIdx.x % SIDE;
    float sum[PATCH][PATCH] = {}, made[PATCH][PATCH] = {};
    sum_done(sum, h, inverse, job, top, first, end);
    for (int i = 0; i < PATCH; i++)
        for (int l = 0; l < PATCH; l++) {
            int r = row + i * SIDE, c = column + l * SIDE;
            h[r][c] = c < n ? panel[r * job.in + c] - sum[i][l] : 0.0f;
            inverse[r][c] = job.inverse[r * BLOCK + c];
        }
    __syncthreads();
    multiply_squares(made, h, inverse);
    for (int i = 0; i < PATCH; i++)
        for (int l = 0; l < PATCH; l++)
            if (column + l * SIDE < n)
                panel[(row + i * SIDE) * job.in + column + l * SIDE] = made[i][l];
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
    CUDA_LAUNCH(self, "feedback_factor", split_kernel, static_cast<unsigned>(rows), ELEMENT_THREADS,
                to, job->factor + row * job->in + first, job->in, static_cast<int>(n),
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
static void factorize(cuda_device *self, const factor_job *job)
{
    for (int64_t panel = (cuda_blocks(job->in, PANEL) - 1) * PANEL; panel >= 0; panel -= PANEL) {
        int64_t end = cuda_min(panel + PANEL, job->in);
        for (int64_t k = cuda_blocks(end, BLOCK) - 1; k * BLOCK >= panel; k--) {
            int64_t first = k * BLOCK;
            int n = static_cast<int>(cuda_min(BLOCK, end - first));
            CUDA_LAUNCH(self, "feedback_factor", dense_kernel, 1, SQUARE_THREADS, *job, first, n,
                        end);
            CUDA_LAUNCH(self, "feedback_factor", apply_kernel, static_cast<unsigned>(k),
                        SQUARE_THREADS, *job, first, n, end);
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

static bool reserve(cuda_device *self, factor_job *job)
{
    size_t in = static_cast<size_t>(job->in);
    job->split_rows = cuda_min(cuda_scratch_rows(TERMS * PANEL, 64), job->in);
    size_t split = static_cast<size_t>(job->split_rows) * TERMS * PANEL;
    char *scratch =
        cuda_reserve(self, "feedback_factor",
                     cuda_aligned(in * sizeof(float)) + cuda_aligned(sizeof(double)) +
                         cuda_aligned(BLOCK * BLOCK * sizeof(float)) +
                         cuda_aligned(sizeof(int32_t)) + 2 * cuda_aligned(split * sizeof(float)));
    if (!scratch) return false;
    job->diagonal = cuda_carve<float>(&scratch, in);
    job->shift = cuda_carve<double>(&scratch, 1);
    job->inverse = cuda_carve<float>(&scratch, BLOCK * BLOCK);
    job->refused = cuda_carve<int32_t>(&scratch, 1);
    job->left = cuda_carve<float>(&scratch, split);
    job->right = cuda_carve<float>(&scratch, split);
    return true;
}

static void make_factor(cuda_device *self, const factor_job *job, double damp)
{
    unsigned rows = static_cast<unsigned>(job->in);
    unsigned blocks = static_cast<unsigned>(cuda_blocks(job->in, ELEMENT_THREADS));
    CUDA_LAUNCH(self, "feedback_factor", diagonal_kernel, blocks, ELEMENT_THREADS, *job);
    CUDA_LAUNCH(self, "feedback_factor", shift_kernel, 1, MEAN_THREADS, *job, damp);
    CUDA_LAUNCH(self, "feedback_factor", order_kernel, blocks, ELEMENT_THREADS, *job);
    CUDA_LAUNCH(self, "feedback_factor", scale_kernel, rows, ELEMENT_THREADS, *job);
    factorize(self, job);
    CUDA_LAUNCH(self, "feedback_factor", keep_diagonal_kernel, blocks, ELEMENT_THREADS, *job);
    CUDA_LAUNCH(self, "feedback_factor", unit_kernel, rows, ELEMENT_THREADS, *job);
}

awq_status feedback_factor_cuda(awq_device *device, float *factor, int32_t *order,
                                const float *gram, const float *s, int64_t in, double damp,
                                bool *positive, awq_error *err)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return cuda_status(reinterpret_cast<cuda_device *>(device), err);
    factor_job job = {};
    job.factor = factor;
    job.gram = gram;
    job.s = s;
    job.order = order;
    job.in = in;
    int32_t refused = 0;
    if (!reserve(self, &job)) return cuda_status(self, err);
    make_factor(self, &job, damp);
    if (cuda_fetch(self, "feedback_factor", &refused, job.refused, sizeof refused, err))
        return err->status;
    *positive = !refused;
    return AWQ_OK;
}
