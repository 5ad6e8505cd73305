/* SPDX-License-Identifier: MIT
 * tests/cuda_emulator/cublas.cpp - the products of cuBLAS over OpenBLAS: operands of 16 bits are
 * widened to float32, products and sums are float32, the result is rounded once to its type. For
 * TF32 float32 operands are rounded to 11 bits; 16-bit operands have no more. Which way cuBLAS does
 * that is not said anywhere: AWQ_EMULATOR_TF32 is `nearest`, as its own conversion does, or `cut`,
 * as a tensor core does with what it is given. */
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <vector>

extern "C" {
#include "kernels/cpu/blas.h"
}
#include "tests/cuda_emulator/runtime.h"

struct cublasContext {
    cudaStream_t stream;
};

namespace emulator
{

/* One column-major operand, [rows, cols]. */
struct matrix {
    const char *first;
    cudaDataType type;
    int rows, cols, leading;
    long long stride; /* elements to the next of a batch */
};

static size_t element_bytes(cudaDataType type)
{
    return type == CUDA_R_32F ? 4 : 2;
}

static float widen(const char *from, cudaDataType type, size_t index)
{
    if (type == CUDA_R_32F) return ((const float *)from)[index];
    if (type == CUDA_R_16F) return __half2float(((const __half *)from)[index]);
    return __bfloat162float(((const __nv_bfloat16 *)from)[index]);
}

static void narrow(char *to, cudaDataType type, size_t index, float value)
{
    if (type == CUDA_R_32F)
        ((float *)to)[index] = value;
    else if (type == CUDA_R_16F)
        ((__half *)to)[index] = __float2half_rn(value);
    else
        ((__nv_bfloat16 *)to)[index] = __float2bfloat16_rn(value);
}

static const char *of_batch(const matrix &m, int batch)
{
    return m.first + batch * m.stride * (long long)element_bytes(m.type);
}

static bool cuts_tf32()
{
    static const char *const names[] = {"nearest", "cut", nullptr};
    static const bool cuts = choice("AWQ_EMULATOR_TF32", names);
    return cuts;
}

/* cvt.rna.tf32.f32: to nearest, halves away from zero. */
static float to_tf32(float x)
{
    uint32_t half = cuts_tf32() ? 0 : 0x1000;
    return std::isfinite(x) ? __uint_as_float((__float_as_uint(x) + half) & ~0x1fffu) : x;
}

/* Packed: the leading dimension is the number of rows. */
static std::vector<float> read(const matrix &m, int batch)
{
    std::vector<float> values((size_t)m.rows * (size_t)m.cols);
    for (int c = 0; c < m.cols; c++)
        for (int r = 0; r < m.rows; r++)
            values[(size_t)c * (size_t)m.rows + (size_t)r] =
                widen(of_batch(m, batch), m.type, (size_t)c * (size_t)m.leading + (size_t)r);
    return values;
}

static void write(const matrix &m, int batch, const std::vector<float> &values)
{
    for (int c = 0; c < m.cols; c++)
        for (int r = 0; r < m.rows; r++)
            narrow(const_cast<char *>(of_batch(m, batch)), m.type,
                   (size_t)c * (size_t)m.leading + (size_t)r,
                   values[(size_t)c * (size_t)m.rows + (size_t)r]);
}

struct product {
    matrix a, b, c; /* a and b as they are stored */
    bool a_transposed, b_transposed;
    int k;
    float alpha, beta;
    cublasComputeType_t compute;
};

static CBLAS_TRANSPOSE transposed(bool yes)
{
    return yes ? CblasTrans : CblasNoTrans;
}

static void multiply(const product &p, int batch)
{
    std::vector<float> a = read(p.a, batch), b = read(p.b, batch);
    if (p.compute == CUBLAS_COMPUTE_32F_FAST_TF32) {
        for (float &x : a) x = to_tf32(x);
        for (float &x : b) x = to_tf32(x);
    }
    std::vector<float> c((size_t)p.c.rows * (size_t)p.c.cols);
    if (p.beta != 0) c = read(p.c, batch); /* else it may be NaN */
    cpu_blas.sgemm(CblasColMajor, transposed(p.a_transposed), transposed(p.b_transposed), p.c.rows,
                   p.c.cols, p.k, p.alpha, a.data(), p.a.rows, b.data(), p.b.rows, p.beta, c.data(),
                   p.c.rows);
    write(p.c, batch, c);
}

static void check_range(const matrix &m, int batches)
{
    for (int batch = 0; batch < batches; batch++) {
        size_t elements = (size_t)(m.cols - 1) * (size_t)m.leading + (size_t)m.rows;
        check_device_range("cuBLAS", of_batch(m, batch), elements * element_bytes(m.type));
    }
}

static bool known(cudaDataType type)
{
    return type == CUDA_R_32F || type == CUDA_R_16F || type == CUDA_R_16BF;
}

/* The combinations of types that cuBLAS has for sums in float32. */
static bool supported(const product &p)
{
    bool float32 = p.a.type == CUDA_R_32F;
    if (p.compute == CUBLAS_COMPUTE_32F_FAST_TF32 && !float32) return false;
    return (p.compute == CUBLAS_COMPUTE_32F || p.compute == CUBLAS_COMPUTE_32F_PEDANTIC ||
            p.compute == CUBLAS_COMPUTE_32F_FAST_TF32) &&
           p.a.type == p.b.type && known(p.a.type) &&
           (p.c.type == p.a.type || p.c.type == CUDA_R_32F);
}

static cublasStatus_t enqueue_product(cublasHandle_t handle, const product &p, int batches)
{
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    for (const matrix *m : {&p.a, &p.b, &p.c})
        if (m->rows < 0 || m->cols < 0 || m->leading < m->rows || m->leading < 1)
            return CUBLAS_STATUS_INVALID_VALUE;
    if (!supported(p)) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (!p.c.rows || !p.c.cols || batches < 1) return CUBLAS_STATUS_SUCCESS;
    if (p.k) check_range(p.a, batches);
    if (p.k) check_range(p.b, batches);
    check_range(p.c, batches);
    if (counting.now) {
        counting.now->products++;
        count_work(handle->stream);
        return CUBLAS_STATUS_SUCCESS;
    }
    enqueue(handle->stream, [=] {
        for (int batch = 0; batch < batches; batch++) multiply(p, batch);
        check_guards();
    });
    return CUBLAS_STATUS_SUCCESS;
}

} // namespace emulator

using namespace emulator;

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t *handle)
{
    awq_error err;
    if (cpu_blas_load(0, nullptr, &err)) return CUBLAS_STATUS_NOT_INITIALIZED;
    *handle = new cublasContext{};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle)
{
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t)
{
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t, void *workspace, size_t bytes)
{
    check_device_range("cublasSetWorkspace", workspace, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetProperty(libraryPropertyType type, int *value)
{
    *value = type == MAJOR_VERSION   ? CUBLAS_VER_MAJOR
             : type == MINOR_VERSION ? CUBLAS_VER_MINOR
                                     : CUBLAS_VER_PATCH;
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasGetStatusString(cublasStatus_t status)
{
    switch (status) {
    case CUBLAS_STATUS_SUCCESS:
        return "the library was successfully initialized";
    case CUBLAS_STATUS_INVALID_VALUE:
        return "an invalid value was passed";
    case CUBLAS_STATUS_NOT_SUPPORTED:
        return "the functionality is not supported";
    default:
        return "a status that the emulator does not know";
    }
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t a_is,
                                          cublasOperation_t b_is, int m, int n, int k,
                                          const void *alpha, const void *a, cudaDataType a_type,
                                          int lda, long long a_stride, const void *b,
                                          cudaDataType b_type, int ldb, long long b_stride,
                                          const void *beta, void *c, cudaDataType c_type, int ldc,
                                          long long c_stride, int batches,
                                          cublasComputeType_t compute, cublasGemmAlgo_t)
{
    device_lock lock(device_mutex);
    bool at = a_is != CUBLAS_OP_N, bt = b_is != CUBLAS_OP_N;
    product p = {{(const char *)a, a_type, at ? k : m, at ? m : k, lda, a_stride},
                 {(const char *)b, b_type, bt ? n : k, bt ? k : n, ldb, b_stride},
                 {(const char *)c, c_type, m, n, ldc, c_stride},
                 at,
                 bt,
                 k,
                 *(const float *)alpha,
                 *(const float *)beta,
                 compute};
    return enqueue_product(handle, p, batches);
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t a_is, cublasOperation_t b_is,
                            int m, int n, int k, const void *alpha, const void *a,
                            cudaDataType a_type, int lda, const void *b, cudaDataType b_type,
                            int ldb, const void *beta, void *c, cudaDataType c_type, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm)
{
    return cublasGemmStridedBatchedEx(handle, a_is, b_is, m, n, k, alpha, a, a_type, lda, 0, b,
                                      b_type, ldb, 0, beta, c, c_type, ldc, 0, 1, compute,
                                      algorithm);
}

cublasStatus_t cublasSgemm_v2(cublasHandle_t handle, cublasOperation_t a_is, cublasOperation_t b_is,
                              int m, int n, int k, const float *alpha, const float *a, int lda,
                              const float *b, int ldb, const float *beta, float *c, int ldc)
{
    return cublasGemmEx(handle, a_is, b_is, m, n, k, alpha, a, CUDA_R_32F, lda, b, CUDA_R_32F, ldb,
                        beta, c, CUDA_R_32F, ldc, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
}

} // extern "C"
