/* SPDX-License-Identifier: MIT
 * kernels/cuda/blas.cuh - cuBLAS, loaded when the first device is opened, and its one product.
 *
 * It is not linked: loading its 600 MB takes longer than most commands of awqrun run, and a machine
 * without CUDA does not have it. Its functions are called through this table. */
#ifndef AWQ_KERNELS_CUDA_BLAS_CUH
#define AWQ_KERNELS_CUDA_BLAS_CUH

#include <stdint.h>

#include "kernels/cuda/launch.cuh"

extern "C" {
#include "io/core/error.h"
}

/* X(member, function) */
#define CUDA_BLAS_LIST(X)                                                                          \
    X(create, cublasCreate)                                                                        \
    X(destroy, cublasDestroy)                                                                      \
    X(set_stream, cublasSetStream)                                                                 \
    X(set_math_mode, cublasSetMathMode)                                                            \
    X(set_workspace, cublasSetWorkspace)                                                           \
    X(gemm, cublasGemmEx)                                                                          \
    X(gemm_batched, cublasGemmStridedBatchedEx)                                                    \
    X(status_text, cublasGetStatusString)                                                          \
    X(property, cublasGetProperty)

typedef struct cuda_blas {
    cublasStatus_t (*create)(cublasHandle_t *);
    cublasStatus_t (*destroy)(cublasHandle_t);
    cublasStatus_t (*set_stream)(cublasHandle_t, cudaStream_t);
    cublasStatus_t (*set_math_mode)(cublasHandle_t, cublasMath_t);
    cublasStatus_t (*set_workspace)(cublasHandle_t, void *, size_t);
    cublasStatus_t (*gemm)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int, int,
                           const void *, const void *, cudaDataType, int, const void *,
                           cudaDataType, int, const void *, void *, cudaDataType, int,
                           cublasComputeType_t, cublasGemmAlgo_t);
    cublasStatus_t (*gemm_batched)(cublasHandle_t, cublasOperation_t, cublasOperation_t, int, int,
                                   int, const void *, const void *, cudaDataType, int, long long,
                                   const void *, cudaDataType, int, long long, const void *, void *,
                                   cudaDataType, int, long long, int, cublasComputeType_t,
                                   cublasGemmAlgo_t);
    const char *(*status_text)(cublasStatus_t);
    cublasStatus_t (*property)(libraryPropertyType, int *);
} cuda_blas;

/* The table, the same one each time; it is never unloaded. */
awq_status cuda_blas_load(const cuda_blas **out, awq_error *err);

/* A part of its version: MAJOR_VERSION, MINOR_VERSION or PATCH_LEVEL. */
int cuda_blas_version(const cuda_blas *blas, libraryPropertyType part);

struct cuda_device;

/* A matrix in memory, row-major; a row begins `stride` elements after the last. */
typedef struct cuda_matrix {
    const void *data;
    cudaDataType type;
    int64_t stride;
    bool transposed; /* taken so in a product */
} cuda_matrix;

/* c [m, n] = alpha a b + beta c, all row-major, summed in float32; a is [m, k] and b [k, n] after
 * transposing. `compute` says how float32 factors are multiplied. */
typedef struct cuda_product {
    cuda_matrix a, b;
    void *c;
    cudaDataType c_type;
    int64_t c_stride;
    int64_t m, n, k;
    float alpha, beta;
    cublasComputeType_t compute;
    /* Several of one shape: how far apart they are, in elements. count 0: one. */
    int64_t count, a_step, b_step, c_step;
} cuda_product;

void cuda_multiply(struct cuda_device *self, const char *verb, const cuda_product *product);

/* float32 [rows, columns] with `stride`, for products. */
static inline cuda_matrix cuda_floats(const float *data, int64_t stride, bool transposed)
{
    cuda_matrix matrix = {data, CUDA_R_32F, stride, transposed};
    return matrix;
}

#endif
