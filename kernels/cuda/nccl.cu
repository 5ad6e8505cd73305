/* SPDX-License-Identifier: MIT */
#include "kernels/cuda/nccl.cuh"

#include <dlfcn.h>
#include <pthread.h>

#include "kernels/cuda/library.cuh"

static pthread_mutex_t load_lock = PTHREAD_MUTEX_INITIALIZER;
static cuda_nccl table; /* whole once `loaded` */
static bool loaded;

static awq_status load(awq_error *err)
{
    static const char name[] = "libnccl.so.2";
    void *library = cuda_open_library(name, AWQ_NCCL_FOLDER);
    if (!library)
        return awq_fail(err, AWQ_ERR_DEVICE,
                        "cannot load '%s'; install NCCL 2.18 or later, or add its folder to "
                        "LD_LIBRARY_PATH",
                        name);
    bool whole = true;
#define LINK(member, function)                                                                     \
    table.member = reinterpret_cast<decltype(table.member)>(dlsym(library, #function));            \
    whole = whole && table.member;
    CUDA_NCCL_LIST(LINK)
#undef LINK
    if (whole) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_DEVICE, "'%s' lacks a function; install NCCL 2.18 or later", name);
}

awq_status cuda_nccl_load(const cuda_nccl **out, awq_error *err)
{
    pthread_mutex_lock(&load_lock);
    awq_status status = loaded ? AWQ_OK : load(err);
    loaded = status == AWQ_OK;
    pthread_mutex_unlock(&load_lock);
    if (!status) *out = &table;
    return status;
}
