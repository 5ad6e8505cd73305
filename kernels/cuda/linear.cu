/* SPDX-License-Identifier: MIT
 * kernels/cuda/linear.cu - y[rows, out] = x[rows, in] w[out, in]^T (+ bias), and the same, times
 * a scale, added to the residual.
 *
 * 2 rows out in flops by cuBLAS, on tensor cores, summed in float32. With a bias, y is made in
 * float32 scratch first, so that it is rounded once. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/verbs.h"

/* y[r, c] = sum[r, c] + scale bias[c], to the compute type or in place. */
template <typename T>
__global__ static void bias_kernel(T *y, const float *sum, const float *bias, float scale,
                                   int64_t count, int64_t out)
{
    for (int64_t i = grid_thread(); i < count; i += grid_stride())
        y[i] = narrow<T>(sum[i] + scale * bias[i % out]);
}

template <typename T>
static void add_bias(cuda_device *self, const char *verb, void *y, const float *sum,
                     const float *bias, float scale, int64_t rows, int64_t out)
{
    CUDA_LAUNCH(self, verb, (bias_kernel<T>), element_blocks(rows * out), ELEMENT_THREADS,
                static_cast<T *>(y), sum, bias, scale, rows * out, out);
}

static cuda_product product_of(const cuda_device *self, const void *x, const void *w, int64_t rows,
                               awq_extent extent)
{
    cudaDataType type = self->bf16 ? CUDA_R_16BF : CUDA_R_16F;
    cuda_product product = {};
    product.a = {x, type, extent.in, false};
    product.b = {w, type, extent.in, true};
    product.c_type = type;
    product.c_stride = extent.out;
    product.m = rows;
    product.n = extent.out;
    product.k = extent.in;
    product.alpha = 1;
    product.compute = CUBLAS_COMPUTE_32F;
    return product;
}

/* As many rows at a time as scratch holds. */
static void linear_with_bias(cuda_device *self, void *y, const void *x, const void *w,
                             const float *bias, int64_t rows, awq_extent extent)
{
    int64_t most = cuda_min(cuda_scratch_rows(extent.out, 16), rows);
    char *scratch =
        cuda_reserve(self, "linear", static_cast<size_t>(most * extent.out) * sizeof(float));
    if (!scratch) return;
    float *sum = cuda_carve<float>(&scratch, static_cast<size_t>(most * extent.out));
    for (int64_t row = 0; row < rows; row += most) {
        int64_t count = cuda_min(most, rows - row);
        const char *from = static_cast<const char *>(x) + row * extent.in * 2;
        cuda_product product = product_of(self, from, w, count, extent);
        product.c = sum;
        product.c_type = CUDA_R_32F;
        cuda_multiply(self, "linear", &product);
        AWQ_BY_COMPUTE(self, add_bias, "linear", static_cast<char *>(y) + row * extent.out * 2, sum,
                       bias, 1.0f, count, extent.out);
    }
}

void linear_cuda(awq_device *device, void *y, const void *x, const void *w, const float *bias,
                 int64_t rows, awq_extent extent)
{
    cuda_device *self = cuda_begin(device);
    if (!self || !rows) return;
    if (bias) {
        linear_with_bias(self, y, x, w, bias, rows, extent);
        return;
    }
    cuda_product product = product_of(self, x, w, rows, extent);
    product.c = y;
    cuda_multiply(self, "linear", &product);
}

void linear_add_cuda(awq_device *device, float *sum, const void *x, const void *w,
                     const float *bias, float scale, int64_t rows, awq_extent extent)
{
    cuda_device *self = cuda_begin(device);
    if (!self || !rows) return;
    cuda_product product = product_of(self, x, w, rows, extent);
    product.c = sum;
    product.c_type = CUDA_R_32F;
    product.alpha = scale;
    product.beta = 1;
    cuda_multiply(self, "linear_add", &product);
    if (bias) add_bias<float>(self, "linear_add", sum, sum, bias, scale, rows, extent.out);
}
