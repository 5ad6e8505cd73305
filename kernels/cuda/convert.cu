/* SPDX-License-Identifier: MIT
 * kernels/cuda/convert.cu - to the compute type: a checkpoint's elements of another type (load) and
 * float (narrow). Reads 2 or 4 bytes an element, writes 2. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/verbs.h"

template <typename T, typename From>
__global__ static void convert_kernel(T *to, const From *from, int64_t count)
{
    for (int64_t i = grid_thread(); i < count; i += grid_stride())
        to[i] = narrow<T>(widen(from[i]));
}

template <typename T>
static void launch_narrow(cuda_device *self, const char *verb, void *to, const float *from,
                          int64_t count)
{
    CUDA_LAUNCH(self, verb, (convert_kernel<T, float>), element_blocks(count), ELEMENT_THREADS,
                static_cast<T *>(to), from, count);
}

template <typename T>
static void launch_load(cuda_device *self, void *to, const void *from, awq_dtype dtype,
                        int64_t count)
{
    T *target = static_cast<T *>(to);
    unsigned blocks = element_blocks(count);
    if (dtype == AWQ_F32)
        CUDA_LAUNCH(self, "load", (convert_kernel<T, float>), blocks, ELEMENT_THREADS, target,
                    static_cast<const float *>(from), count);
    else if (dtype == AWQ_F16)
        CUDA_LAUNCH(self, "load", (convert_kernel<T, __half>), blocks, ELEMENT_THREADS, target,
                    static_cast<const __half *>(from), count);
    else
        CUDA_LAUNCH(self, "load", (convert_kernel<T, __nv_bfloat16>), blocks, ELEMENT_THREADS,
                    target, static_cast<const __nv_bfloat16 *>(from), count);
}

void load_cuda(awq_device *device, void *to, const void *host, awq_dtype dtype, size_t count)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return;
    if (dtype == (self->bf16 ? AWQ_BF16 : AWQ_F16)) {
        cuda_send(self, "load", to, host, count * 2);
        return;
    }
    /* by way of the staging's device memory, a piece at a time */
    size_t bytes = dtype == AWQ_F32 ? 4 : 2, most = STAGING_BYTES / bytes;
    const char *from = static_cast<const char *>(host);
    for (size_t done = 0; done < count; done += most) {
        size_t piece = count - done < most ? count - done : most;
        cuda_send(self, "load", self->staging.device, from + done * bytes, piece * bytes);
        AWQ_BY_COMPUTE(self, launch_load, static_cast<char *>(to) + done * 2, self->staging.device,
                       dtype, static_cast<int64_t>(piece));
    }
}

void narrow_cuda(awq_device *device, void *to, const float *from, size_t count)
{
    cuda_device *self = cuda_begin(device);
    if (self && count)
        AWQ_BY_COMPUTE(self, launch_narrow, "narrow", to, from, static_cast<int64_t>(count));
}
