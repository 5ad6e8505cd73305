/* SPDX-License-Identifier: MIT
 * kernels/cuda/link.cu - links by NCCL (kernels/link.h): a communicator of two ranks for each, the
 * sender rank 0.
 *
 * Two for two neighbours rather than one for all: ends of one link cannot wait for those of
 * another. Calls do not block (ncclConfig_t.blocking = 0); who waits polls the communicator's state
 * and the stream's, so that a peer that hangs or is gone ends as an error here. Nothing in this
 * backend waits for a whole device, as cudaFree would: a transfer under way on one end must not
 * keep the other end from beginning its own (kernels/cuda/memory.cu). */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/nccl.cuh"
#include "kernels/cuda/verbs.h"

static_assert(sizeof(awq_link_id) == sizeof(ncclUniqueId), "an id is NCCL's");

static const long look_nanoseconds = 200000;
static const int last_looks = 50000; /* ten seconds, to take leave of the other end */

struct awq_link {
    cuda_device *device;
    const cuda_nccl *nccl;
    ncclComm_t comm;
    cudaEvent_t done; /* the transfer that was enqueued last */
    int peer;         /* rank of the other end */
    bool broken;
};

static awq_status failed(awq_link *link, const char *what, ncclResult_t result, awq_error *err)
{
    const char *more = link->nccl->last_error(link->comm);
    link->broken = true;
    return awq_fail(err, AWQ_ERR_DEVICE, "GPU %d: NCCL, %s: %s%s%.200s", link->device->index, what,
                    link->nccl->error_text(result), more && *more ? ": " : "", more ? more : "");
}

/* A moment, if there is still patience. */
static awq_status wait_a_moment(awq_link *link, const awq_patience *patience, awq_error *err)
{
    const struct timespec moment = {0, look_nanoseconds};
    if (patience->ask(patience->context, err)) {
        link->broken = true;
        return err->status;
    }
    nanosleep(&moment, NULL);
    return AWQ_OK;
}

/* Until NCCL has done on the host what it was asked for. */
static awq_status wait_ready(awq_link *link, const char *what, const awq_patience *patience,
                             awq_error *err)
{
    for (;;) {
        ncclResult_t state = ncclSuccess;
        ncclResult_t result = link->nccl->get_async_error(link->comm, &state);
        if (result != ncclSuccess) return failed(link, what, result, err);
        if (state == ncclSuccess) return AWQ_OK;
        if (state != ncclInProgress) return failed(link, what, state, err);
        if (wait_a_moment(link, patience, err)) return err->status;
    }
}

/* Until the device has done it. */
static awq_status wait_done(awq_link *link, const char *what, const awq_patience *patience,
                            awq_error *err)
{
    cudaError_t state;
    if (!cuda_check(link->device, what, cudaEventRecord(link->done, link->device->stream)))
        return cuda_status(link->device, err);
    while ((state = cudaEventQuery(link->done)) == cudaErrorNotReady) {
        (void)cudaGetLastError(); /* it is no error */
        if (wait_ready(link, what, patience, err) || wait_a_moment(link, patience, err))
            return err->status;
    }
    if (cuda_check(link->device, what, state)) return AWQ_OK;
    link->broken = true;
    return cuda_status(link->device, err);
}

static awq_status finish(awq_link *link, const char *what, ncclResult_t result,
                         const awq_patience *patience, awq_error *err)
{
    if (result != ncclSuccess && result != ncclInProgress) return failed(link, what, result, err);
    return wait_ready(link, what, patience, err) ? err->status
                                                 : wait_done(link, what, patience, err);
}

static awq_status load_links(awq_error *err)
{
    const cuda_nccl *nccl;
    return cuda_nccl_load(&nccl, err);
}

static awq_status make_id(awq_link_id *out, awq_error *err)
{
    const cuda_nccl *nccl = NULL;
    ncclUniqueId id;
    if (cuda_nccl_load(&nccl, err)) return err->status;
    ncclResult_t result = nccl->get_unique_id(&id);
    if (result != ncclSuccess)
        return awq_fail(err, AWQ_ERR_DEVICE, "NCCL, making an id: %s", nccl->error_text(result));
    memcpy(out, &id, sizeof id);
    return AWQ_OK;
}

static void close_link(awq_link *link, bool orderly);

static awq_status open_link(struct awq_device *device, const awq_link_id *id, awq_link_end end,
                            const awq_patience *patience, awq_link **out, awq_error *err)
{
    cuda_device *self = cuda_begin(device);
    const cuda_nccl *nccl = NULL;
    if (!self) return cuda_status(reinterpret_cast<cuda_device *>(device), err);
    if (cuda_nccl_load(&nccl, err)) return err->status;
    awq_link *link = static_cast<awq_link *>(calloc(1, sizeof *link));
    if (!link) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for a link");
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId name;
    config.blocking = 0;
    memcpy(&name, id, sizeof name);
    link->device = self;
    link->nccl = nccl;
    link->peer = end == AWQ_LINK_SENDS ? 1 : 0;
    awq_status status = AWQ_OK;
    if (!cuda_check(self, "opening a link",
                    cudaEventCreateWithFlags(&link->done, cudaEventDisableTiming)))
        status = cuda_status(self, err);
    if (!status) {
        ncclResult_t result = nccl->init(&link->comm, 2, name, 1 - link->peer, &config);
        status = result == ncclSuccess || result == ncclInProgress
                     ? wait_ready(link, "connecting", patience, err)
                     : failed(link, "connecting", result, err);
    }
    if (status)
        close_link(link, false);
    else
        *out = link;
    return status;
}

static awq_status send_array(awq_link *link, const void *array, size_t bytes,
                             const awq_patience *patience, awq_error *err)
{
    if (!cuda_begin(&link->device->base)) return cuda_status(link->device, err);
    ncclResult_t result =
        link->nccl->send(array, bytes, ncclChar, link->peer, link->comm, link->device->stream);
    return finish(link, "sending", result, patience, err);
}

static awq_status receive_array(awq_link *link, void *array, size_t bytes,
                                const awq_patience *patience, awq_error *err)
{
    if (!cuda_begin(&link->device->base)) return cuda_status(link->device, err);
    ncclResult_t result =
        link->nccl->receive(array, bytes, ncclChar, link->peer, link->comm, link->device->stream);
    return finish(link, "receiving", result, patience, err);
}

static awq_status ask_leaving(void *context, awq_error *err)
{
    int *looks = static_cast<int *>(context);
    return ++*looks < last_looks ? AWQ_OK : awq_fail(err, AWQ_ERR_DEVICE, "no answer");
}

/* Both ends leave together, or else this one breaks off. */
static void close_link(awq_link *link, bool orderly)
{
    if (!link) return;
    int looks = 0;
    const awq_patience patience = {ask_leaving, &looks};
    awq_error ignored;
    if (!orderly) link->broken = true;
    if (link->comm && !link->broken) {
        ncclResult_t result = link->nccl->finalize(link->comm);
        if ((result != ncclSuccess && result != ncclInProgress) ||
            wait_ready(link, "closing", &patience, &ignored))
            link->broken = true;
    }
    if (link->comm && link->broken)
        link->nccl->break_off(link->comm);
    else if (link->comm)
        link->nccl->destroy(link->comm);
    if (link->done) cudaEventDestroy(link->done);
    free(link);
}

const awq_links awq_links_cuda = {
    load_links, make_id, open_link, send_array, receive_array, close_link,
};
