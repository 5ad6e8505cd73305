/* SPDX-License-Identifier: MIT
 * kernels/cuda/quadratic_form.cu - d G d^T of each row d, with G's upper triangle only.
 *
 * With G symmetric, d G d^T = sum over column blocks j of (2 d[0:j] G[0:j, j] + d[j] G[j, j]) d[j];
 * the 2 is G's, so that the two are one product. rows in (in + COLS) flops by cuBLAS on tensor
 * cores, from float16 factors, summed in float32. To fit float16 both are scaled by powers of two,
 * which take nothing: G[i, j] by 2^-(e_i + e_j), 2^e_j at the root of G[j, j], so that no entry is
 * beyond 8 (Cauchy and Schwarz); d[j] by 2^e_j, and each row so that its largest is at 2^10. Then
 * 11 bits hold d exactly, where it is bfloat16 or float16, but for what is 2^-24 of its row and
 * less; of G's entries they lose 2^-11, as TF32 would at half the rate, or 2^-25 of the diagonal's
 * where they are small. Losses are within 1e-3 so.
 *
 * G's factors do not depend on d: they are made once for all that is measured by it. Each row and
 * column block has its own place for its sum in float64, and a row's places are added in order. */
#include <math.h>

#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/verbs.h"

extern "C" {
#include "kernels/gram.h"
}

enum {
    FORM_COLS = AWQ_GRAM_BLOCK,
    FORM_BLOCKS = 2, /* column blocks whose sums are there at a time */
    FORM_THREADS = 256,
    FORM_WARPS = FORM_THREADS / WARP,
    ROW_EXPONENT = 10 /* of a row's largest */
};

/* A Gram matrix in awq_form_bytes. */
typedef struct scaled_gram {
    __half *g;         /* as the Gram matrix lies; what is above a diagonal block twice */
    int32_t *exponent; /* [in]: e */
} scaled_gram;

typedef struct form_job {
    scaled_gram gram;
    int64_t in, column_blocks, most; /* rows at a time */
    int32_t *row_exponent;           /* [most]: what a row was divided by, as a power of 2 */
    __half *d;                       /* [most, in] scaled */
    float *e;     /* [FORM_BLOCKS, most, FORM_COLS]: d G, of some column blocks */
    double *part; /* [most, column_blocks] */
} form_job;

static scaled_gram scaled_in(void *form, int64_t in)
{
    __half *g = static_cast<__half *>(form);
    return {g, reinterpret_cast<int32_t *>(g + awq_gram_elements(in))};
}

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

/* A row of threads' blocks a column block, whose elements lie in a row. */
__global__ static void scale_gram_kernel(scaled_gram to, const float *gram, int64_t in)
{
    int64_t first = static_cast<int64_t>(blockIdx.y) * FORM_COLS;
    int64_t width = awq_gram_width(in, first), at = awq_gram_index(in, 0, first);
    for (int64_t i = grid_thread(); i < (first + width) * width; i += grid_stride()) {
        int64_t row = i / width, column = first + i % width;
        float g = gram[at + i] * power_of(-to.exponent[row] + (row < first));
        to.g[at + i] = narrow<__half>(g * power_of(-to.exponent[column]));
    }
}

void prepare_form_cuda(awq_device *device, void *form, const float *gram, int64_t in)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return;
    scaled_gram to = scaled_in(form, in);
    dim3 grid(element_blocks(in * cuda_min(FORM_COLS, in)),
              static_cast<unsigned>(cuda_blocks(in, FORM_COLS)));
    CUDA_LAUNCH(self, "prepare_form", exponent_kernel,
                static_cast<unsigned>(cuda_blocks(in, ELEMENT_THREADS)), ELEMENT_THREADS,
                to.exponent, gram, in);
    CUDA_LAUNCH(self, "prepare_form", scale_gram_kernel, grid, ELEMENT_THREADS, to, gram, in);
}

/* A block a row. What is not finite stays so, whatever the others are. */
template <typename T> __global__ static void scale_rows_kernel(form_job job, const T *from)
{
    int64_t first = blockIdx.x * job.in;
    const int32_t *exponent = job.gram.exponent;
    int32_t largest = 0;
    for (int64_t c = threadIdx.x; c < job.in; c += blockDim.x) {
        float x = fabsf(widen(from[first + c]) * power_of(exponent[c]));
        largest = __float_as_int(x) > largest ? __float_as_int(x) : largest;
    }
    int32_t down = exponent_of(__int_as_float(block_max(largest))) - ROW_EXPONENT;
    down = down < -126 ? -126 : down;
    if (threadIdx.x == 0) job.row_exponent[blockIdx.x] = down;
    for (int64_t c = threadIdx.x; c < job.in; c += blockDim.x) {
        float x = widen(from[first + c]) * power_of(exponent[c]);
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

/* ---- products ---- */

/* Of the n-th of the column blocks that are there. */
__host__ __device__ static inline float *sums_of(const form_job &job, int64_t n)
{
    return job.e + n * job.most * FORM_COLS;
}

/* A warp a row and column block, from `first` on: e [rows, cols] times d. */
__global__ static void dot_kernel(form_job job, int64_t rows, int64_t first)
{
    int64_t row = static_cast<int64_t>(blockIdx.x) * FORM_WARPS + threadIdx.x / WARP;
    if (row >= rows) return; /* the whole warp */
    int64_t block = first + blockIdx.y, cols = awq_gram_width(job.in, block * FORM_COLS);
    const float *e = sums_of(job, blockIdx.y) + row * cols;
    const __half *d = job.d + row * job.in + block * FORM_COLS;
    double sum = 0;
    for (int64_t c = threadIdx.x % WARP; c < cols; c += WARP)
        sum += static_cast<double>(e[c]) * static_cast<double>(widen(d[c]));
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0) job.part[row * job.column_blocks + block] = sum;
}

/* A thread a row. */
__global__ static void add_kernel(double *sum, form_job job, int64_t rows)
{
    int64_t row = grid_thread();
    if (row >= rows) return;
    double all = 0;
    for (int64_t j = 0; j < job.column_blocks; j++) all += job.part[row * job.column_blocks + j];
    sum[row] = ldexp(all, 2 * job.row_exponent[row]);
}

/* e = d[:, 0 : k] G[0 : k, the column block]; the n-th of those that are there. */
static void multiply(cuda_device *self, const form_job *job, int64_t rows, int64_t block, int64_t n)
{
    int64_t col = block * FORM_COLS, cols = cuda_min(FORM_COLS, job->in - col);
    cuda_product product = {};
    product.a = {job->d, CUDA_R_16F, job->in, false};
    product.b = {job->gram.g + awq_gram_index(job->in, 0, col), CUDA_R_16F, cols, false};
    product.c = sums_of(*job, n);
    product.c_type = CUDA_R_32F;
    product.c_stride = cols;
    product.m = rows;
    product.n = cols;
    product.k = col + cols;
    product.alpha = 1;
    product.compute = CUBLAS_COMPUTE_32F;
    cuda_multiply(self, "quadratic_form", &product);
}

static void add_rows(cuda_device *self, const form_job *job, double *sum, int64_t rows)
{
    unsigned warps = static_cast<unsigned>(cuda_blocks(rows, FORM_WARPS));
    for (int64_t first = 0; first < job->column_blocks; first += FORM_BLOCKS) {
        int64_t some = cuda_min(FORM_BLOCKS, job->column_blocks - first);
        for (int64_t n = 0; n < some; n++) multiply(self, job, rows, first + n, n);
        CUDA_LAUNCH(self, "quadratic_form", dot_kernel, dim3(warps, static_cast<unsigned>(some)),
                    FORM_THREADS, *job, rows, first);
    }
    CUDA_LAUNCH(self, "quadratic_form", add_kernel,
                static_cast<unsigned>(cuda_blocks(rows, ELEMENT_THREADS)), ELEMENT_THREADS, sum,
                *job, rows);
}

/* ---- the verb ---- */

static bool reserve(cuda_device *self, form_job *job)
{
    size_t in = static_cast<size_t>(job->in), most = static_cast<size_t>(job->most);
    size_t cols = static_cast<size_t>(FORM_BLOCKS * FORM_COLS);
    size_t parts = static_cast<size_t>(job->most * job->column_blocks);
    char *scratch = cuda_reserve(self, "quadratic_form",
                                 cuda_aligned(most * in * sizeof *job->d) +
                                     cuda_aligned(most * cols * sizeof *job->e) +
                                     cuda_aligned(parts * sizeof *job->part) +
                                     cuda_aligned(most * sizeof *job->row_exponent));
    if (!scratch) return false;
    job->d = cuda_carve<__half>(&scratch, most * in);
    job->e = cuda_carve<float>(&scratch, most * cols);
    job->part = cuda_carve<double>(&scratch, parts);
    job->row_exponent = cuda_carve<int32_t>(&scratch, most);
    return true;
}

/* As many rows at a time as scratch holds: of d in 16 bits, and of a column block of sums. */
void quadratic_form_cuda(awq_device *device, double *sum, const void *d, const float *gram,
                         const void *form, int64_t rows, int64_t in)
{
    (void)gram;
    cuda_device *self = cuda_begin(device);
    if (!self) return;
    form_job job = {};
    job.gram = scaled_in(const_cast<void *>(form), in);
    job.in = in;
    job.column_blocks = cuda_blocks(in, FORM_COLS);
    job.most =
        cuda_min(cuda_large_rows(self, cuda_blocks(in, 2) + FORM_BLOCKS * FORM_COLS, 64), rows);
    if (!reserve(self, &job)) return;
    for (int64_t row = 0; row < rows; row += job.most) {
        int64_t some = cuda_min(job.most, rows - row);
        AWQ_BY_COMPUTE(self, launch_scale_rows, &job, static_cast<const uint16_t *>(d) + row * in,
                       some);
        add_rows(self, &job, sum + row, some);
    }
}
