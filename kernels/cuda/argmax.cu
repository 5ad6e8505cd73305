/* SPDX-License-Identifier: MIT
 * kernels/cuda/argmax.cu - the likeliest token of each row of logits: the first of the largest. A
 * block a row. Reads a row twice, the second time from the cache. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/verbs.h"

enum { ARGMAX_THREADS = 256 };

/* -1 when the row holds a NaN. Zeros of both signs are equal: -0 counts as 0. */
__global__ static void argmax_kernel(int32_t *index, const float *logits, int64_t vocab)
{
    const float *x = logits + blockIdx.x * vocab;
    int32_t key = INT32_MIN, nans = 0, first = INT32_MIN; /* minus the index: a maximum finds it */
    for (int64_t i = threadIdx.x; i < vocab; i += blockDim.x) {
        int32_t bits = ordered_bits(__float_as_int(x[i] + 0.0f));
        nans |= x[i] != x[i];
        key = bits > key ? bits : key;
    }
    nans = block_max(nans);
    float largest = __int_as_float(ordered_bits(block_max(key)));
    for (int64_t i = threadIdx.x; i < vocab && first == INT32_MIN; i += blockDim.x)
        if (x[i] == largest) first = -static_cast<int32_t>(i);
    first = block_max(first);
    if (threadIdx.x == 0) index[blockIdx.x] = nans ? -1 : -first;
}

awq_status argmax_cuda(awq_device *device, int32_t *index, const float *logits, int64_t rows,
                       int64_t vocab, awq_error *err)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return cuda_status(reinterpret_cast<cuda_device *>(device), err);
    size_t count = static_cast<size_t>(rows);
    char *scratch = cuda_reserve(self, "argmax", count * sizeof *index);
    if (!scratch) return cuda_status(self, err);
    int32_t *result = cuda_carve<int32_t>(&scratch, count);
    CUDA_LAUNCH(self, "argmax", argmax_kernel, static_cast<unsigned>(rows), ARGMAX_THREADS, result,
                logits, vocab);
    return cuda_fetch(self, "argmax", index, result, count * sizeof *index, err);
}
