/* SPDX-License-Identifier: MIT
 * kernels/cuda/find_nonfinite.cu - the first NaN or infinity: exponent bits all ones. Reads 2 bytes
 * an element. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/verbs.h"

/* Blocks that look at once; each has a place for what it found. */
enum { FIND_BLOCKS = 1024, FIND_HALF = 0x7c00, FIND_BF16 = 0x7f80 };

/* Minus the least index, so that a maximum finds it; -count: none. */
__global__ static void find_kernel(int64_t *found, const uint16_t *array, int64_t count,
                                   uint16_t exponent)
{
    int64_t largest = -count;
    for (int64_t i = grid_thread(); i < count && largest == -count; i += grid_stride())
        if ((array[i] & exponent) == exponent) largest = -i;
    largest = block_max(largest);
    if (threadIdx.x == 0) found[blockIdx.x] = largest;
}

awq_status find_nonfinite_cuda(awq_device *device, const void *array, size_t count, int64_t *index,
                               awq_error *err)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return cuda_status(reinterpret_cast<cuda_device *>(device), err);
    *index = -1;
    if (!count) return AWQ_OK;
    int64_t found[FIND_BLOCKS], first = static_cast<int64_t>(count);
    int64_t *places = static_cast<int64_t *>(self->staging.device);
    uint16_t exponent = self->bf16 ? FIND_BF16 : FIND_HALF;
    int64_t blocks = cuda_min(cuda_blocks(first, ELEMENT_THREADS), FIND_BLOCKS);
    CUDA_LAUNCH(self, "find_nonfinite", find_kernel, blocks, ELEMENT_THREADS, places,
                static_cast<const uint16_t *>(array), first, exponent);
    awq_status status = cuda_fetch(self, "find_nonfinite", found, places,
                                   static_cast<size_t>(blocks) * sizeof *found, err);
    if (status) return status;
    for (int64_t i = 0; i < blocks; i++) first = cuda_min(first, -found[i]);
    if (first < static_cast<int64_t>(count)) *index = first;
    return AWQ_OK;
}
