/* SPDX-License-Identifier: MIT
 * kernels/cuda/memory.cu - device memory, and copies between it and the host's.
 *
 * Arrays come from the device's pool, in stream order: cudaMalloc and cudaFree would wait for all
 * of the device, and with it for the other end of a link (link.cu).
 *
 * Most host memory is pageable; its bytes go through two pinned slots in turn, so that upload
 * returns when it has read them, not when the device has them. Small uploads share a slot: a host
 * that is ahead of the device waits only where both are full. A large download to memory of
 * alloc_host goes there straight. */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/verbs.h"

awq_status alloc_cuda(awq_device *device, size_t bytes, const char *what, void **out,
                      awq_error *err)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return cuda_status(reinterpret_cast<cuda_device *>(device), err);
    size_t available = 0, total = 0;
    void *array = NULL;
    cudaError_t error = cudaMallocAsync(&array, bytes ? bytes : 1, self->stream);
    if (error == cudaSuccess) {
        *out = array;
        return AWQ_OK;
    }
    (void)cudaGetLastError(); /* told to the caller: it is not to be found by the next launch */
    if (error != cudaErrorMemoryAllocation || cudaMemGetInfo(&available, &total) != cudaSuccess)
        return awq_fail(err, AWQ_ERR_DEVICE, "GPU %d: allocating %s: %s", self->index, what,
                        cudaGetErrorString(error));
    return awq_fail(
        err, AWQ_ERR_MEMORY,
        "no memory on GPU %d for %s: %.2f GB are needed, %.2f of %.2f GB are free; lower "
        "--device-memory, so that a stage has fewer layers, or --tile-tokens, and see "
        "with nvidia-smi who else is on it",
        self->index, what, 1e-9 * static_cast<double>(bytes), 1e-9 * static_cast<double>(available),
        1e-9 * static_cast<double>(total));
}

void release_cuda(awq_device *device, void *array)
{
    cuda_device *self = reinterpret_cast<cuda_device *>(device);
    if (array && cudaSetDevice(self->index) == cudaSuccess)
        cuda_check(self, "release", cudaFreeAsync(array, self->stream));
}

/* Page-locked, so that the GPU writes to it by itself. Getting it and giving it back may wait for
 * all of the device: callers do so while no link is open. */
awq_status alloc_host_cuda(awq_device *device, size_t bytes, const char *what, void **out,
                           awq_error *err)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return cuda_status(reinterpret_cast<cuda_device *>(device), err);
    void *memory = NULL;
    cudaError_t error = cudaMallocHost(&memory, bytes ? bytes : 1);
    if (error == cudaSuccess) {
        *out = memory;
        return AWQ_OK;
    }
    (void)cudaGetLastError();
    return awq_fail(err, AWQ_ERR_MEMORY,
                    "no page-locked memory of the node for %s: %.2f GB are needed: %s; ask the "
                    "scheduler for more memory",
                    what, 1e-9 * static_cast<double>(bytes), cudaGetErrorString(error));
}

void release_host_cuda(awq_device *device, void *memory)
{
    cuda_device *self = reinterpret_cast<cuda_device *>(device);
    if (memory && cudaSetDevice(self->index) == cudaSuccess)
        cuda_check(self, "release_host", cudaFreeHost(memory));
}

void zero_cuda(awq_device *device, void *array, size_t bytes)
{
    cuda_device *self = cuda_begin(device);
    if (self) cuda_check(self, "zero", cudaMemsetAsync(array, 0, bytes, self->stream));
}

void copy_cuda(awq_device *device, void *to, const void *from, size_t bytes)
{
    cuda_device *self = cuda_begin(device);
    if (self)
        cuda_check(self, "copy",
                   cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, self->stream));
}

/* ---- to the device ---- */

/* Room for a piece in a slot; small ones share it. Waits where the next slot is still being read.
 */
static char *take_slot(cuda_device *self, const char *verb, size_t bytes)
{
    cuda_staging *staging = &self->staging;
    if (staging->used + bytes > STAGING_BYTES) {
        staging->slot = (staging->slot + 1) % STAGING_SLOTS;
        staging->used = 0;
        if (!cuda_check(self, verb, cudaEventSynchronize(staging->read[staging->slot])))
            return NULL;
    }
    char *piece = staging->host[staging->slot] + staging->used;
    staging->used += cuda_aligned(bytes);
    return piece;
}

void cuda_send(cuda_device *self, const char *verb, void *to, const void *host, size_t bytes)
{
    for (size_t done = 0; done < bytes; done += STAGING_BYTES) {
        size_t piece = bytes - done < STAGING_BYTES ? bytes - done : STAGING_BYTES;
        char *slot = take_slot(self, verb, piece);
        if (!slot) return;
        memcpy(slot, static_cast<const char *>(host) + done, piece);
        if (!cuda_check(self, verb,
                        cudaMemcpyAsync(static_cast<char *>(to) + done, slot, piece,
                                        cudaMemcpyHostToDevice, self->stream)) ||
            !cuda_check(self, verb,
                        cudaEventRecord(self->staging.read[self->staging.slot], self->stream)))
            return;
    }
}

void upload_cuda(awq_device *device, void *to, const void *host, size_t bytes)
{
    cuda_device *self = cuda_begin(device);
    if (self) cuda_send(self, "upload", to, host, bytes);
}

/* ---- to the host ---- */

/* The piece at `done` of `bytes`, which has a slot in turn with its neighbours. */
typedef struct fetched_piece {
    int slot;
    size_t bytes;
} fetched_piece;

static fetched_piece piece_at(size_t done, size_t bytes)
{
    fetched_piece piece = {static_cast<int>(done / STAGING_BYTES % STAGING_SLOTS), bytes - done};
    if (piece.bytes > STAGING_BYTES) piece.bytes = STAGING_BYTES;
    return piece;
}

/* What uploads have left in the slot is read before, in stream order. */
static bool begin_piece(cuda_device *self, const char *verb, fetched_piece piece, const char *from)
{
    cuda_staging *staging = &self->staging;
    return cuda_check(self, verb,
                      cudaMemcpyAsync(staging->host[piece.slot], from, piece.bytes,
                                      cudaMemcpyDeviceToHost, self->stream)) &&
           cuda_check(self, verb, cudaEventRecord(staging->read[piece.slot], self->stream));
}

static bool end_piece(cuda_device *self, const char *verb, fetched_piece piece, char *host)
{
    cuda_staging *staging = &self->staging;
    if (!cuda_check(self, verb, cudaEventSynchronize(staging->read[piece.slot]))) return false;
    memcpy(host, staging->host[piece.slot], piece.bytes);
    return true;
}

/* While one piece goes from its slot to the host's memory, the next comes from the device. After
 * the last one nothing is on its way, and both slots are free. */
awq_status cuda_fetch(cuda_device *self, const char *verb, void *host, const void *from,
                      size_t bytes, awq_error *err)
{
    char *target = static_cast<char *>(host);
    const char *source = static_cast<const char *>(from);
    size_t begun = 0;
    bool well = true;
    for (size_t done = 0; well && done < bytes; done += STAGING_BYTES) {
        for (; well && begun < bytes && begun < done + STAGING_SLOTS * STAGING_BYTES;
             begun += STAGING_BYTES)
            well = begin_piece(self, verb, piece_at(begun, bytes), source + begun);
        well = well && end_piece(self, verb, piece_at(done, bytes), target + done);
    }
    if (!well) return cuda_status(self, err);
    if (bytes) self->staging.used = 0;
    if (bytes) cuda_book_laps(self);
    return cuda_status(self, err);
}

/* Whether all of it is does not need to be asked: pieces are cut from one allocation. */
static bool is_page_locked(const void *host)
{
    cudaPointerAttributes attributes = {};
    if (cudaPointerGetAttributes(&attributes, host) != cudaSuccess) {
        (void)cudaGetLastError();
        return false;
    }
    return attributes.type == cudaMemoryTypeHost;
}

awq_status download_cuda(awq_device *device, void *host, const void *from, size_t bytes,
                         awq_error *err)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return cuda_status(reinterpret_cast<cuda_device *>(device), err);
    if (bytes <= STAGING_BYTES || !is_page_locked(host))
        return cuda_fetch(self, "download", host, from, bytes, err);
    if (cuda_check(self, "download",
                   cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, self->stream)) &&
        cuda_check(self, "download", cudaStreamSynchronize(self->stream)))
        cuda_book_laps(self);
    return cuda_status(self, err);
}

/* ---- to the host, beside the work: a stream of its own, which waits for what is there so far.
 * What is fetched is not in the way of the verbs that follow; `fetched` makes them wait. ---- */

void fetch_cuda(awq_device *device, void *host, const void *from, size_t bytes)
{
    cuda_device *self = cuda_begin(device);
    if (!self || !bytes) return;
    cuda_copies *copies = &self->copies;
    if (cuda_check(self, "fetch", cudaEventRecord(copies->begun, self->stream)) &&
        cuda_check(self, "fetch", cudaStreamWaitEvent(copies->stream, copies->begun, 0)) &&
        cuda_check(self, "fetch",
                   cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, copies->stream)))
        cuda_check(self, "fetch", cudaEventRecord(copies->ended, copies->stream));
}

void fetched_cuda(awq_device *device)
{
    cuda_device *self = cuda_begin(device);
    if (self) cuda_check(self, "fetched", cudaStreamWaitEvent(self->stream, self->copies.ended, 0));
}

/* After a failure too nothing is on its way to the host's memory. */
awq_status sync_cuda(awq_device *device, awq_error *err)
{
    fetched_cuda(device);
    cuda_device *self = cuda_begin(device);
    if (!self) cudaStreamSynchronize(reinterpret_cast<cuda_device *>(device)->copies.stream);
    if (self && cuda_check(self, "sync", cudaStreamSynchronize(self->stream))) cuda_book_laps(self);
    return cuda_status(reinterpret_cast<cuda_device *>(device), err);
}
