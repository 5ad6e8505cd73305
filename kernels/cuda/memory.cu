/* SPDX-License-Identifier: MIT
 * kernels/cuda/memory.cu - device memory, and copies between it and the host's.
 *
 * Arrays come from the device's pool, in stream order: cudaMalloc and cudaFree would wait for all
 * of the device, and with it for the other end of a link (link.cu).
 *
 * Host memory is pageable; bytes go through two pinned slots in turn, so that upload returns when
 * it has read them, not when the device has them. */
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/staging.cuh"
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

/* One piece of at most STAGING_BYTES. Under the staging's lock. */
static bool send_piece(cuda_device *self, const char *verb, void *to, const char *host,
                       size_t bytes)
{
    cuda_staging *staging = &self->staging;
    int slot = staging->next;
    staging->next = (slot + 1) % STAGING_SLOTS;
    if (!cuda_check(self, verb, cudaEventSynchronize(staging->read[slot]))) return false;
    memcpy(staging->host[slot], host, bytes);
    return cuda_check(self, verb,
                      cudaMemcpyAsync(to, staging->host[slot], bytes, cudaMemcpyHostToDevice,
                                      self->stream)) &&
           cuda_check(self, verb, cudaEventRecord(staging->read[slot], self->stream));
}

void cuda_send_locked(cuda_device *self, const char *verb, void *to, const void *host, size_t bytes)
{
    const char *from = static_cast<const char *>(host);
    char *target = static_cast<char *>(to);
    for (size_t done = 0; done < bytes; done += STAGING_BYTES) {
        size_t piece = bytes - done < STAGING_BYTES ? bytes - done : STAGING_BYTES;
        if (!send_piece(self, verb, target + done, from + done, piece)) return;
    }
}

void cuda_send(cuda_device *self, const char *verb, void *to, const void *host, size_t bytes)
{
    pthread_mutex_lock(&self->staging.lock);
    cuda_send_locked(self, verb, to, host, bytes);
    pthread_mutex_unlock(&self->staging.lock);
}

void upload_cuda(awq_device *device, void *to, const void *host, size_t bytes)
{
    cuda_device *self = cuda_begin(device);
    if (self) cuda_send(self, "upload", to, host, bytes);
}

/* ---- to the host ---- */

static bool fetch_piece(cuda_device *self, const char *verb, char *host, const char *from,
                        size_t bytes)
{
    cuda_staging *staging = &self->staging;
    int slot = staging->next;
    if (!cuda_check(self, verb, cudaEventSynchronize(staging->read[slot])) ||
        !cuda_check(self, verb,
                    cudaMemcpyAsync(staging->host[slot], from, bytes, cudaMemcpyDeviceToHost,
                                    self->stream)) ||
        !cuda_check(self, verb, cudaStreamSynchronize(self->stream)))
        return false;
    memcpy(host, staging->host[slot], bytes);
    return true;
}

awq_status cuda_fetch_locked(cuda_device *self, const char *verb, void *host, const void *from,
                             size_t bytes, awq_error *err)
{
    char *target = static_cast<char *>(host);
    const char *source = static_cast<const char *>(from);
    bool well = true;
    for (size_t done = 0; well && done < bytes; done += STAGING_BYTES) {
        size_t piece = bytes - done < STAGING_BYTES ? bytes - done : STAGING_BYTES;
        well = fetch_piece(self, verb, target + done, source + done, piece);
    }
    return cuda_status(self, err);
}

awq_status cuda_fetch(cuda_device *self, const char *verb, void *host, const void *from,
                      size_t bytes, awq_error *err)
{
    pthread_mutex_lock(&self->staging.lock);
    awq_status status = cuda_fetch_locked(self, verb, host, from, bytes, err);
    pthread_mutex_unlock(&self->staging.lock);
    return status;
}

awq_status download_cuda(awq_device *device, void *host, const void *from, size_t bytes,
                         awq_error *err)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return cuda_status(reinterpret_cast<cuda_device *>(device), err);
    return cuda_fetch(self, "download", host, from, bytes, err);
}

awq_status sync_cuda(awq_device *device, awq_error *err)
{
    cuda_device *self = cuda_begin(device);
    if (self) cuda_check(self, "sync", cudaStreamSynchronize(self->stream));
    return cuda_status(reinterpret_cast<cuda_device *>(device), err);
}
