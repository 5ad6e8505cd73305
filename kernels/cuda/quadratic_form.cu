/* SPDX-License-Identifier: MIT
 * kernels/cuda/quadratic_form.cu - sum over rows of d G d^T, with G's upper triangle only.
 *
 * With G symmetric, d G d^T = sum over column blocks j of (2 d[0:j] G[0:j, j] + d[j] G[j, j]) d[j];
 * the 2 is G's, so that the two are one product. out in (in + COLS) flops by cuBLAS on tensor
 * cores, from float16 factors, summed in float32. To fit float16 both are scaled by powers of two,
 * which take nothing: G[i, j] by 2^-(e_i + e_j), 2^e_j at the root of G[j, j], so that no entry is
 * beyond 8 (Cauchy and Schwarz); d[j] by 2^e_j, and each row so that its largest is at 2^10. Then
 * 11 bits hold d exactly, where it is bfloat16 or float16, but for what is 2^-24 of its row and
 * less; of G's entries they lose 2^-11, as TF32 would at half the rate, or 2^-25 of the diagonal's
 * where they are small. Losses are within 1e-3 so.
 *
 * Each row and column block has its own place for its sum in float64, and the places are added in
 * order. */
#include <math.h>

#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/sums.cuh"
#include "kernels/cuda/verbs.h"

extern "C" {
#include "kernels/gram.h"
}

enum {
    FORM_COLS = 1024, /* divides AWQ_GRAM_BLOCK */
    FORM_ROWS = 8192,
    FORM_THREADS = 256,
    FORM_WARPS = FORM_THREADS / WARP,
    ROW_EXPONENT = 10 /* of a row's largest */
};

typedef struct form_job {
    const float *gram;
    int64_t in, column_blocks, most; /* rows at a time */
    int32_t *exponent;               /* [in]: e */
    int32_t *row_exponent;           /* [most]: what a row was divided by, as a power of 2 */
    __half *d;                       /* [most, in] scaled */
    __half *g;                       /* [in, FORM_COLS]: a column block of G, scaled */
    float *e;                        /* [most, FORM_COLS]: d G */
    double *part;                    /* [rows, column_blocks] */
    double *sum;                     /* [count] */
} form_job;

/* ---- scaling ---- */

/* n of 2^n <= x < 2^(n + 1); 0 of what has none. */
__device__ static inline int32_t exponent_of(float x)
{
    return x > 0 && isfinite(x) ? ilogbf(x) : 0;
}

/* 2^n, n from -126 to 127; a product with it is exact, and cheaper than ldexpf. */
__device__ static inline float power_of(int32_t n)
{
    return __int_as_float((n + 127) << 23);
}

__global__ static void exponent_kernel(int32_t *exponent, const float *gram, int64_t in)
{
    int64_t i = grid_thread();
    if (i < in) exponent[i] = exponent_of(sqrtf(awq_gram_at(gram, in, i, i)));
}

/* A block a row. What is not finite stays so, whatever the others are. */
template <typename T> __global__ static void scale_rows_kernel(form_job job, const T *from)
{
    int64_t first = blockIdx.x * job.in;
    int32_t largest = 0;
    for (int64_t c = threadIdx.x; c < job.in; c += blockDim.x) {
        float x = fabsf(widen(from[first + c]) * power_of(job.exponent[c]));
        largest = __float_as_int(x) > largest ? __float_as_int(x) : largest;
    }
    int32_t down = exponent_of(__int_as_float(block_max(largest))) - ROW_EXPONENT;
    down = down < -126 ? -126 : down;
    if (threadIdx.x == 0) job.row_exponent[blockIdx.x] = down;
    for (int64_t c = threadIdx.x; c < job.in; c += blockDim.x) {
        float x = widen(from[first + c]) * power_of(job.exponent[c]);
        job.d[first + c] = narrow<__half>(x * power_of(-down));
    }
}

template <typename T>
static void launch_scale_rows(cuda_device *self, const form_job *job, const void *from,
                              int64_t rows)
{
    CUDA_LAUNCH(self, "quadratic_form", (scale_rows_kernel<T>), static_cast<unsigned>(rows),
                FORM_THREADS, *job, static_cast<const T *>(from));
}

/* The columns from `col` on, down to the last's diagonal; twice what is above their block. */
__global__ static void scale_gram_kernel(form_job job, int64_t col, int64_t cols)
{
    for (int64_t i = grid_thread(); i < (col + cols) * cols; i += grid_stride()) {
        int64_t row = i / cols, column = col + i % cols;
        float found = job.gram[awq_gram_index(job.in, row, column)];
        float g = found * power_of(-job.exponent[row] + (row < col));
        job.g[i] = narrow<__half>(g * power_of(-job.exponent[column]));
    }
}

/* ---- products ---- */

/* A warp a row: e [rows, cols] times d, from the column block on. */
__global__ static void dot_kernel(double *part, form_job job, int64_t rows, int64_t col,
                                  int64_t cols)
{
    int64_t row = static_cast<int64_t>(blockIdx.x) * FORM_WARPS + threadIdx.x / WARP;
    if (row >= rows) return; /* the whole warp */
    const float *e = job.e + row * cols;
    const __half *d = job.d + row * job.in + col;
    double sum = 0;
    for (int64_t c = threadIdx.x % WARP; c < cols; c += WARP)
        sum += static_cast<double>(e[c]) * static_cast<double>(widen(d[c]));
    sum = ldexp(warp_sum(sum), 2 * job.row_exponent[row]);
    if (threadIdx.x % WARP == 0) part[row * job.column_blocks] = sum;
}

/* e = d[:, 0 : k] G[0 : k, the column block], which is in g. */
static void multiply(cuda_device *self, const form_job *job, int64_t rows, int64_t k, int64_t cols)
{
    cuda_product product = {};
    product.a = {job->d, CUDA_R_16F, job->in, false};
    product.b = {job->g, CUDA_R_16F, cols, false};
    product.c = job->e;
    product.c_type = CUDA_R_32F;
    product.c_stride = cols;
    product.m = rows;
    product.n = cols;
    product.k = k;
    product.alpha = 1;
    product.compute = CUBLAS_COMPUTE_32F;
    cuda_multiply(self, "quadratic_form", &product);
}

static void add_rows(cuda_device *self, const form_job *job, double *part, int64_t rows)
{
    unsigned blocks = static_cast<unsigned>(cuda_blocks(rows, FORM_WARPS));
    for (int64_t j = 0; j < job->column_blocks; j++) {
        int64_t col = j * FORM_COLS, cols = cuda_min(FORM_COLS, job->in - col);
        CUDA_LAUNCH(self, "quadratic_form", scale_gram_kernel, element_blocks((col + cols) * cols),
                    ELEMENT_THREADS, *job, col, cols);
        multiply(self, job, rows, col + cols, cols);
        CUDA_LAUNCH(self, "quadratic_form", dot_kernel, blocks, FORM_THREADS, part + j, *job, rows,
                    col, cols);
    }
}

/* ---- the verb ---- */

static bool reserve(cuda_device *self, form_job *job, int64_t rows, int64_t count)
{
    size_t in = static_cast<size_t>(job->in), most = static_cast<size_t>(job->most);
    size_t cols = static_cast<size_t>(cuda_min(FORM_COLS, job->in));
    size_t parts = static_cast<size_t>(rows * job->column_blocks);
    size_t sums = static_cast<size_t>(count);
    char *scratch = cuda_reserve(
        self, "quadratic_form",
        cuda_aligned(most * in * sizeof *job->d) + cuda_aligned(in * cols * sizeof *job->g) +
            cuda_aligned(most * cols * sizeof *job->e) + cuda_aligned(parts * sizeof *job->part) +
            cuda_aligned(sums * sizeof *job->sum) + cuda_aligned(in * sizeof *job->exponent) +
            cuda_aligned(most * sizeof *job->row_exponent));
    if (!scratch) return false;
    job->d = cuda_carve<__half>(&scratch, most * in);
    job->g = cuda_carve<__half>(&scratch, in * cols);
    job->e = cuda_carve<float>(&scratch, most * cols);
    job->part = cuda_carve<double>(&scratch, parts);
    job->sum = cuda_carve<double>(&scratch, sums);
    job->exponent = cuda_carve<int32_t>(&scratch, in);
    job->row_exponent = cuda_carve<int32_t>(&scratch, most);
    return true;
}

/* As many rows at a time as scratch holds in 16 bits, of all d one after the other: G is scaled
 * once for each. */
awq_status quadratic_form_cuda(awq_device *device, const void *d, const float *gram,
                               awq_extent extent, int64_t count, double *sum, awq_error *err)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return cuda_status(reinterpret_cast<cuda_device *>(device), err);
    form_job job = {};
    int64_t all = count * extent.out;
    job.gram = gram;
    job.in = extent.in;
    job.column_blocks = cuda_blocks(extent.in, FORM_COLS);
    job.most = cuda_min(cuda_min(2 * cuda_large_rows(self, extent.in, 64), FORM_ROWS), all);
    if (!reserve(self, &job, all, count)) return cuda_status(self, err);
    CUDA_LAUNCH(self, "quadratic_form", exponent_kernel,
                static_cast<unsigned>(cuda_blocks(extent.in, ELEMENT_THREADS)), ELEMENT_THREADS,
                job.exponent, gram, extent.in);
    for (int64_t row = 0; row < all; row += job.most) {
        int64_t rows = cuda_min(job.most, all - row);
        AWQ_BY_COMPUTE(self, launch_scale_rows, &job,
                       static_cast<const uint16_t *>(d) + row * extent.in, rows);
        add_rows(self, &job, job.part + row * job.column_blocks, rows);
    }
    return cuda_sums(self, "quadratic_form", job.sum, job.part, extent.out * job.column_blocks,
                     count, sum, err);
}
