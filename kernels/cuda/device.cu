/* SPDX-License-Identifier: MIT
 * kernels/cuda/device.cu - opening and closing a GPU, its first error, its scratch. */
#include "kernels/cuda/device.cuh"

#include <stdio.h>
#include <stdlib.h>

#include "kernels/cuda/verbs.h"

/* What cuBLAS's documentation recommends for Hopper. */
enum { WORKSPACE_BYTES = 32 << 20 };

/* ---- errors ---- */

static void keep_error(cuda_device *self, awq_status status, const char *verb, const char *cause)
{
    pthread_mutex_lock(&self->error_lock);
    if (!self->failed) {
        awq_fail(&self->error, status, "GPU %d: %s: %s", self->index, verb, cause);
        __atomic_store_n(&self->failed, true, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&self->error_lock);
}

bool cuda_check(cuda_device *self, const char *verb, cudaError_t error)
{
    if (error == cudaSuccess) return true;
    awq_status status = error == cudaErrorMemoryAllocation ? AWQ_ERR_MEMORY : AWQ_ERR_DEVICE;
    keep_error(self, status, verb, cudaGetErrorString(error));
    return false;
}

bool cuda_check_blas(cuda_device *self, const char *verb, cublasStatus_t status)
{
    if (status == CUBLAS_STATUS_SUCCESS) return true;
    keep_error(self, AWQ_ERR_DEVICE, verb, self->blas->status_text(status));
    return false;
}

void cuda_refuse(cuda_device *self, const char *verb, const char *why)
{
    keep_error(self, AWQ_ERR_INPUT, verb, why);
}

awq_status cuda_status(const cuda_device *self, awq_error *err)
{
    if (!__atomic_load_n(&self->failed, __ATOMIC_ACQUIRE)) return AWQ_OK;
    *err = self->error;
    return err->status;
}

cuda_device *cuda_begin(awq_device *device)
{
    cuda_device *self = reinterpret_cast<cuda_device *>(device);
    if (__atomic_load_n(&self->failed, __ATOMIC_ACQUIRE)) return NULL;
    return cuda_check(self, "choosing the device", cudaSetDevice(self->index)) ? self : NULL;
}

/* ---- opening ---- */

/* A GPU that this can run on: compiled for some kinds from 8.0 on, and from there on for what is
 * yet to come; and some virtual GPUs have no memory that is allocated in stream order. */
static awq_status find_device(int index, cudaDeviceProp *properties, awq_error *err)
{
    awq_error none;
    int count = cuda_count_devices(&none), pools = 0;
    if (!count) return awq_fail(err, none.status, "%s, or run with --backend cpu", none.text);
    if (index >= count)
        return awq_fail(err, AWQ_ERR_DEVICE, "GPU %d: there %s %d here", index,
                        count == 1 ? "is" : "are", count);
    cudaError_t error = cudaGetDeviceProperties(properties, index);
    if (error == cudaSuccess) error = cudaSetDevice(index);
    if (error == cudaSuccess && properties->major < 8)
        return awq_fail(err, AWQ_ERR_DEVICE,
                        "GPU %d (%s) has compute capability %d.%d, and the CUDA backend needs "
                        "8.0; run with --backend cpu",
                        index, properties->name, properties->major, properties->minor);
    if (error == cudaSuccess)
        error = cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, index);
    if (error != cudaSuccess)
        return awq_fail(err, AWQ_ERR_DEVICE, "GPU %d: %s", index, cudaGetErrorString(error));
    if (pools) return AWQ_OK;
    return awq_fail(err, AWQ_ERR_DEVICE,
                    "GPU %d (%s) has no memory pools, as virtual GPUs without unified memory; ask "
                    "the administrator to turn that on, or run with --backend cpu",
                    index, properties->name);
}

static void open_staging(cuda_device *self)
{
    cuda_staging *staging = &self->staging;
    for (int i = 0; i < STAGING_SLOTS; i++) {
        void *slot = NULL;
        if (!cuda_check(self, "opening", cudaMallocHost(&slot, STAGING_BYTES))) return;
        staging->host[i] = static_cast<char *>(slot);
        if (!cuda_check(self, "opening",
                        cudaEventCreateWithFlags(&staging->read[i], cudaEventDisableTiming)))
            return;
    }
    cuda_check(self, "opening", cudaMalloc(&staging->device, STAGING_BYTES));
}

static void open_copies(cuda_device *self)
{
    cuda_copies *copies = &self->copies;
    if (cuda_check(self, "opening",
                   cudaStreamCreateWithFlags(&copies->stream, cudaStreamNonBlocking)) &&
        cuda_check(self, "opening",
                   cudaEventCreateWithFlags(&copies->begun, cudaEventDisableTiming)))
        cuda_check(self, "opening",
                   cudaEventCreateWithFlags(&copies->ended, cudaEventDisableTiming));
}

/* One stream and one workspace: cuBLAS then gives the same bits each time. Results of 16 bits are
 * summed in float32 to the end; by default cuBLAS may add the parts of a split sum in 16. */
static void open_blas(cuda_device *self)
{
    if (!cuda_check_blas(self, "opening cuBLAS", self->blas->create(&self->handle))) return;
    cuda_check_blas(self, "opening cuBLAS", self->blas->set_stream(self->handle, self->stream));
    cuda_check_blas(self, "opening cuBLAS",
                    self->blas->set_workspace(self->handle, self->workspace, WORKSPACE_BYTES));
    cuda_check_blas(self, "opening cuBLAS",
                    self->blas->set_math_mode(
                        self->handle, static_cast<cublasMath_t>(
                                          CUBLAS_DEFAULT_MATH |
                                          CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)));
}

/* Memory that is given back stays with the process, for the next layer: mapping 5 GB anew at each
 * took 18 ms on an H200. */
static void keep_pool(cuda_device *self)
{
    cudaMemPool_t pool;
    uint64_t all = UINT64_MAX;
    if (cuda_check(self, "opening", cudaDeviceGetDefaultMemPool(&pool, self->index)))
        cuda_check(self, "opening",
                   cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &all));
}

static awq_status open_parts(cuda_device *self, bool reads_only, awq_error *err)
{
    if (cuda_check(self, "opening",
                   cudaStreamCreateWithFlags(&self->stream, cudaStreamNonBlocking)) &&
        !reads_only && cuda_check(self, "opening", cudaMalloc(&self->workspace, WORKSPACE_BYTES)))
        open_blas(self);
    if (!self->failed) open_staging(self);
    if (!self->failed) open_copies(self);
    if (!self->failed) keep_pool(self);
    return cuda_status(self, err);
}

/* "GPU-" and 32 hex digits in five groups, as nvidia-smi has it. */
static void print_id(char *out, size_t bytes, const cudaUUID_t *uuid)
{
    size_t used = static_cast<size_t>(snprintf(out, bytes, "GPU"));
    for (int i = 0; i < 16 && used < bytes; i++)
        used += static_cast<size_t>(
            snprintf(out + used, bytes - used,
                     i == 0 || i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
                     static_cast<unsigned char>(uuid->bytes[i])));
}

/* What this is: results depend on the GPU, on the rows that it works on at a time, and on cuBLAS.
 */
static void describe(cuda_device *self, const cudaDeviceProp *properties)
{
    size_t total = 0, available = 0;
    self->base.memory_bytes = properties->totalGlobalMem;
    if (cuda_check(self, "opening", cudaMemGetInfo(&available, &total)))
        self->base.free_bytes = available;
    snprintf(self->base.type, sizeof self->base.type, "%.58s, scratch %d MiB, cuBLAS %d.%d.%d",
             properties->name, static_cast<int>(awq_gpu_large_bytes(self->base.memory_bytes) >> 20),
             cuda_blas_version(self->blas, MAJOR_VERSION),
             cuda_blas_version(self->blas, MINOR_VERSION),
             cuda_blas_version(self->blas, PATCH_LEVEL));
    snprintf(self->base.name, sizeof self->base.name, "GPU %d, %.79s", self->index,
             properties->name);
    print_id(self->base.id, sizeof self->base.id, &properties->uuid);
}

awq_status open_cuda(const awq_device_options *options, awq_device **out, awq_error *err)
{
    cudaDeviceProp properties;
    const cuda_blas *blas = NULL;
    if (options->compute != AWQ_F16 && options->compute != AWQ_BF16)
        return awq_fail(err, AWQ_ERR_USAGE, "the CUDA backend computes in F16 or BF16, not %s",
                        awq_dtype_name(options->compute));
    if (find_device(options->index, &properties, err) || cuda_blas_load(&blas, err))
        return err->status;
    cuda_device *self = static_cast<cuda_device *>(calloc(1, sizeof *self));
    if (!self) return awq_fail(err, AWQ_ERR_MEMORY, "no memory for the CUDA backend");
    self->base.backend = &awq_backend_cuda;
    self->index = options->index;
    self->base.compute = options->compute;
    self->bf16 = options->compute == AWQ_BF16;
    self->blas = blas;
    pthread_mutex_init(&self->error_lock, NULL);
    describe(self, &properties);
    if (open_parts(self, options->reads_only, err)) {
        close_cuda(&self->base);
        return err->status;
    }
    *out = &self->base;
    return AWQ_OK;
}

/* Nothing can be done about errors here; after a failure there will be some. cudaFree and
 * cudaFreeHost wait for all of the GPU, other threads' links too: those have a patience of their
 * own, after which their communicator is aborted. */
void close_cuda(awq_device *device)
{
    if (!device) return;
    cuda_device *self = reinterpret_cast<cuda_device *>(device);
    cudaSetDevice(self->index);
    if (self->copies.stream) cudaStreamSynchronize(self->copies.stream);
    if (self->stream) cudaStreamSynchronize(self->stream);
    cuda_close_laps(self);
    if (self->copies.begun) cudaEventDestroy(self->copies.begun);
    if (self->copies.ended) cudaEventDestroy(self->copies.ended);
    if (self->copies.stream) cudaStreamDestroy(self->copies.stream);
    if (self->handle) self->blas->destroy(self->handle);
    for (int i = 0; i < STAGING_SLOTS; i++) {
        if (self->staging.read[i]) cudaEventDestroy(self->staging.read[i]);
        cudaFreeHost(self->staging.host[i]);
    }
    cudaFree(self->staging.device);
    cudaFree(self->workspace);
    cudaFree(self->scratch);
    if (self->stream) cudaStreamDestroy(self->stream);
    pthread_mutex_destroy(&self->error_lock);
    free(self);
}

/* ---- scratch ---- */

/* In stream order: the verbs that use the old scratch come first. */
char *cuda_reserve(cuda_device *self, const char *verb, size_t bytes)
{
    if (bytes <= self->scratch_bytes) return static_cast<char *>(self->scratch);
    if (self->scratch) cuda_check(self, verb, cudaFreeAsync(self->scratch, self->stream));
    self->scratch = NULL;
    self->scratch_bytes = 0;
    if (!cuda_check(self, verb, cudaMallocAsync(&self->scratch, bytes, self->stream))) return NULL;
    self->scratch_bytes = bytes;
    return static_cast<char *>(self->scratch);
}
