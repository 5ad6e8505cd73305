/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/blas.cuh"

#include <dlfcn.h>
#include <stdlib.h>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/library.cuh"

static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;
static cuda_blas table; /* whole once `loaded` */
static bool loaded;

#ifdef AWQ_CUDA_EMULATED

static awq_status load(awq_error *err)
{
    (void)err;
#define LINK(member, function) table.member = function;
    CUDA_BLAS_LIST(LINK)
#undef LINK
    return AWQ_OK;
}

#else

#define AS_TEXT(name) #name
#define TEXT_OF(name) AS_TEXT(name) /* of cublasCreate: "cublasCreate_v2" */

/* NVIDIA_TF32_OVERRIDE, which cuBLAS reads, would change results. */
static awq_status load(awq_error *err)
{
    static const char name[] = "libcublas.so." TEXT_OF(CUBLAS_VER_MAJOR);
    unsetenv("NVIDIA_TF32_OVERRIDE");
    void *library = cuda_open_library(name, AWQ_CUBLAS_FOLDER);
    if (!library)
        return awq_fail(err, AWQ_ERR_DEVICE,
                        "cannot load '%s'; install cuBLAS of CUDA %d, or add its folder to "
                        "LD_LIBRARY_PATH",
                        name, CUBLAS_VER_MAJOR);
    bool whole = true;
#define LINK(member, function)                                                                     \
    table.member = reinterpret_cast<decltype(table.member)>(dlsym(library, TEXT_OF(function)));    \
    whole = whole && table.member;
    CUDA_BLAS_LIST(LINK)
#undef LINK
    if (whole) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_DEVICE, "libcublas lacks a function; install CUDA %d's",
                    CUBLAS_VER_MAJOR);
}

#endif

awq_status cuda_blas_load(const cuda_blas **out, awq_error *err)
{
    pthread_mutex_lock(&load_lock);
    awq_status status = loaded ? AWQ_OK : load(err);
    loaded = status == AWQ_OK;
    pthread_mutex_unlock(&load_lock);
    if (!status) *out = &table;
    return status;
}

int cuda_blas_version(const cuda_blas *blas, libraryPropertyType part)
{
    int number = 0;
    return blas->property(part, &number) == CUBLAS_STATUS_SUCCESS ? number : 0;
}

static cublasOperation_t operation(const cuda_matrix *matrix)
{
    return matrix->transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
}

/* cuBLAS's matrices are column-major, so that what it reads and writes are the transposes:
 * c^T = b^T a^T. */
void cuda_multiply(cuda_device *self, const char *verb, const cuda_product *p)
{
    if (!p->m || !p->n || !p->k) return;
    const cuda_matrix *a = &p->a, *b = &p->b;
    int m = static_cast<int>(p->n), n = static_cast<int>(p->m), k = static_cast<int>(p->k);
    int a_stride = static_cast<int>(a->stride), b_stride = static_cast<int>(b->stride);
    int c_stride = static_cast<int>(p->c_stride);
    cublasStatus_t status =
        p->count
            ? self->blas->gemm_batched(self->handle, operation(b), operation(a), m, n, k, &p->alpha,
                                       b->data, b->type, b_stride, p->b_step, a->data, a->type,
                                       a_stride, p->a_step, &p->beta, p->c, p->c_type, c_stride,
                                       p->c_step, static_cast<int>(p->count), p->compute,
                                       CUBLAS_GEMM_DEFAULT)
            : self->blas->gemm(self->handle, operation(b), operation(a), m, n, k, &p->alpha,
                               b->data, b->type, b_stride, a->data, a->type, a_stride, &p->beta,
                               p->c, p->c_type, c_stride, p->compute, CUBLAS_GEMM_DEFAULT);
    cuda_check_blas(self, verb, status);
}
