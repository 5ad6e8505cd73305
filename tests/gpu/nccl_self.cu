/* SPDX-License-Identifier: MIT
 * tests/gpu/nccl_self.cu - the real NCCL on one GPU, which takes one rank: a communicator of one
 * rank, through the program's own table of functions, sends to itself. What links rest on
 * (kernels/cuda/link.cu): NCCL loads, does not block, and moves what it is given. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/cuda/nccl.cuh"

enum { BYTES = 64 << 20, PATIENCE_SECONDS = 60 };

static void check(bool well, const char *what, const char *why)
{
    if (well) return;
    fprintf(stderr, "nccl_self: %s: %s\n", what, why);
    exit(1);
}

static void check_cuda(cudaError_t error, const char *what)
{
    check(error == cudaSuccess, what, cudaGetErrorString(error));
}

static void wait_ready(const cuda_nccl *nccl, ncclComm_t comm, ncclResult_t result,
                       const char *what)
{
    const struct timespec moment = {0, 1000000};
    time_t end = time(NULL) + PATIENCE_SECONDS;
    while (result == ncclSuccess || result == ncclInProgress) {
        ncclResult_t state = ncclSuccess;
        result = nccl->get_async_error(comm, &state);
        if (result == ncclSuccess) result = state;
        if (result == ncclSuccess) return;
        check(time(NULL) < end, what, "takes more than a minute");
        nanosleep(&moment, NULL);
    }
    check(false, what, nccl->error_text(result));
}

static void *function(const char *name)
{
    void *library = dlopen("libnccl.so.2", RTLD_NOW);
    if (!library) library = dlopen(AWQ_NCCL_FOLDER "/libnccl.so.2", RTLD_NOW);
    void *found = library ? dlsym(library, name) : NULL;
    check(found, name, "not in libnccl.so.2");
    return found;
}

static void exchange(const cuda_nccl *nccl, ncclComm_t comm, cudaStream_t stream, char *from,
                     char *to)
{
    typedef ncclResult_t group(void);
    group *begin = reinterpret_cast<group *>(function("ncclGroupStart"));
    group *end = reinterpret_cast<group *>(function("ncclGroupEnd"));
    check(begin() == ncclSuccess, "ncclGroupStart", "failed");
    nccl->send(from, BYTES, ncclChar, 0, comm, stream);
    nccl->receive(to, BYTES, ncclChar, 0, comm, stream);
    wait_ready(nccl, comm, end(), "sending to oneself");
    check_cuda(cudaStreamSynchronize(stream), "waiting for the stream");
}

int main(void)
{
    const cuda_nccl *nccl = NULL;
    awq_error err;
    cudaStream_t stream;
    ncclComm_t comm = NULL;
    ncclUniqueId id;
    char *from = NULL, *to = NULL, *sent = static_cast<char *>(malloc(BYTES)),
         *came = static_cast<char *>(calloc(1, BYTES));
    for (int i = 0; i < BYTES; i++) sent[i] = static_cast<char>((i * 2654435761u) >> 24);
    check(!cuda_nccl_load(&nccl, &err), "loading", err.text);
    check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a stream");
    check_cuda(cudaMallocAsync(&from, BYTES, stream), "memory");
    check_cuda(cudaMallocAsync(&to, BYTES, stream), "memory");
    check_cuda(cudaMemcpyAsync(from, sent, BYTES, cudaMemcpyHostToDevice, stream), "a copy");
    check_cuda(cudaStreamSynchronize(stream), "waiting for the stream");
    check(nccl->get_unique_id(&id) == ncclSuccess, "ncclGetUniqueId", "failed");
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    wait_ready(nccl, comm, nccl->init(&comm, 1, id, 0, &config), "connecting");
    exchange(nccl, comm, stream, from, to);
    check_cuda(cudaMemcpyAsync(came, to, BYTES, cudaMemcpyDeviceToHost, stream), "a copy");
    check_cuda(cudaStreamSynchronize(stream), "waiting for the stream");
    check(!memcmp(sent, came, BYTES), "what came", "is not what was sent");
    wait_ready(nccl, comm, nccl->finalize(comm), "closing");
    nccl->destroy(comm);
    puts("nccl_self: passed");
    return 0;
}
