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

/* A call on a communicator that does not block has been taken, or is being done. */
static void check_taken(const cuda_nccl *nccl, ncclResult_t result, const char *what)
{
    check(result == ncclSuccess || result == ncclInProgress, what, nccl->error_text(result));
}

/* Until NCCL has done on the host what it was asked for. */
static void wait_ready(const cuda_nccl *nccl, ncclComm_t comm, const char *what)
{
    const struct timespec moment = {0, 1000000};
    time_t end = time(NULL) + PATIENCE_SECONDS;
    ncclResult_t state = ncclInProgress;
    while (state == ncclInProgress) {
        ncclResult_t result = nccl->get_async_error(comm, &state);
        check(result == ncclSuccess, what, nccl->error_text(result));
        check(time(NULL) < end, what, "takes more than a minute");
        if (state == ncclInProgress) nanosleep(&moment, NULL);
    }
    check(state == ncclSuccess, what, nccl->error_text(state));
}

/* Groups are not in the program's table: a link only sends or only receives. */
static ncclResult_t group(const char *name)
{
    typedef ncclResult_t group_call(void);
    void *library = dlopen("libnccl.so.2", RTLD_NOW);
    if (!library) library = dlopen(AWQ_NCCL_FOLDER "/libnccl.so.2", RTLD_NOW);
    void *found = library ? dlsym(library, name) : NULL;
    check(found, name, "not in libnccl.so.2");
    return reinterpret_cast<group_call *>(found)();
}

/* `comm` may be read only once init has returned; it can be used for nothing but asking how far it
 * is until it is ready. */
static ncclComm_t connect(const cuda_nccl *nccl)
{
    ncclComm_t comm = NULL;
    ncclUniqueId id;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclResult_t result = nccl->get_unique_id(&id);
    check(result == ncclSuccess, "ncclGetUniqueId", nccl->error_text(result));
    result = nccl->init(&comm, 1, id, 0, &config);
    check_taken(nccl, result, "ncclCommInitRankConfig");
    wait_ready(nccl, comm, "connecting");
    return comm;
}

/* The group's end may return before its work is on the stream. */
static void exchange(const cuda_nccl *nccl, ncclComm_t comm, cudaStream_t stream, const char *from,
                     char *to)
{
    check_taken(nccl, group("ncclGroupStart"), "ncclGroupStart");
    check_taken(nccl, nccl->send(from, BYTES, ncclChar, 0, comm, stream), "ncclSend");
    check_taken(nccl, nccl->receive(to, BYTES, ncclChar, 0, comm, stream), "ncclRecv");
    check_taken(nccl, group("ncclGroupEnd"), "ncclGroupEnd");
    wait_ready(nccl, comm, "sending to oneself");
    check_cuda(cudaStreamSynchronize(stream), "waiting for the stream");
}

static void disconnect(const cuda_nccl *nccl, ncclComm_t comm)
{
    check_taken(nccl, nccl->finalize(comm), "ncclCommFinalize");
    wait_ready(nccl, comm, "closing");
    check_taken(nccl, nccl->destroy(comm), "ncclCommDestroy");
}

static void *allocate(void)
{
    void *memory = calloc(1, BYTES);
    check(memory, "memory", "there is none");
    return memory;
}

int main(void)
{
    const cuda_nccl *nccl = NULL;
    awq_error err;
    cudaStream_t stream;
    char *from = NULL, *to = NULL, *sent = static_cast<char *>(allocate()),
         *came = static_cast<char *>(allocate());
    for (int i = 0; i < BYTES; i++) sent[i] = static_cast<char>((i * 2654435761u) >> 24);
    check(!cuda_nccl_load(&nccl, &err), "loading", err.text);
    check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a stream");
    check_cuda(cudaMallocAsync(&from, BYTES, stream), "memory");
    check_cuda(cudaMallocAsync(&to, BYTES, stream), "memory");
    check_cuda(cudaMemcpyAsync(from, sent, BYTES, cudaMemcpyHostToDevice, stream), "a copy");
    check_cuda(cudaStreamSynchronize(stream), "waiting for the stream");
    ncclComm_t comm = connect(nccl);
    exchange(nccl, comm, stream, from, to);
    check_cuda(cudaMemcpyAsync(came, to, BYTES, cudaMemcpyDeviceToHost, stream), "a copy");
    check_cuda(cudaStreamSynchronize(stream), "waiting for the stream");
    check(!memcmp(sent, came, BYTES), "what came", "is not what was sent");
    disconnect(nccl, comm);
    check_cuda(cudaFreeAsync(from, stream), "freeing");
    check_cuda(cudaFreeAsync(to, stream), "freeing");
    check_cuda(cudaStreamSynchronize(stream), "waiting for the stream");
    check_cuda(cudaStreamDestroy(stream), "closing the stream");
    free(sent);
    free(came);
    printf("nccl_self: %d MiB sent to oneself came back\n", BYTES >> 20);
    return 0;
}
