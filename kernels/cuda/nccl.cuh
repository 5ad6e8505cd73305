/* SPDX-License-Identifier: MIT
 * kernels/cuda/nccl.cuh - NCCL, loaded when the first link is wanted: a job on one GPU does not
 * need it, and a machine may not have it. Its functions are called through this table. */
#ifndef AWQ_KERNELS_CUDA_NCCL_CUH
#define AWQ_KERNELS_CUDA_NCCL_CUH

#include <nccl.h>

extern "C" {
#include "io/core/error.h"
}

#define AWQ_NCCL_TEXT(x)  #x
#define AWQ_NCCL_TEXTS(x) AWQ_NCCL_TEXT(x)
#define AWQ_NCCL_VERSION                                                                           \
    AWQ_NCCL_TEXTS(NCCL_MAJOR) "." AWQ_NCCL_TEXTS(NCCL_MINOR) "." AWQ_NCCL_TEXTS(NCCL_PATCH)

/* X(member, function) */
#define CUDA_NCCL_LIST(X)                                                                          \
    X(get_unique_id, ncclGetUniqueId)                                                              \
    X(init, ncclCommInitRankConfig)                                                                \
    X(finalize, ncclCommFinalize)                                                                  \
    X(destroy, ncclCommDestroy)                                                                    \
    X(break_off, ncclCommAbort)                                                                    \
    X(get_async_error, ncclCommGetAsyncError)                                                      \
    X(send, ncclSend)                                                                              \
    X(receive, ncclRecv)                                                                           \
    X(error_text, ncclGetErrorString)                                                              \
    X(last_error, ncclGetLastError)

typedef struct cuda_nccl {
#define MEMBER(member, function) decltype(&function) member;
    CUDA_NCCL_LIST(MEMBER)
#undef MEMBER
} cuda_nccl;

/* The table, the same one each time; it is never unloaded. */
awq_status cuda_nccl_load(const cuda_nccl **out, awq_error *err);

#endif
