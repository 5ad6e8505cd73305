/* SPDX-License-Identifier: MIT
 * kernels/cuda/compute.cuh - elements of the compute type to float and back (to nearest, ties to
 * even, as awq_narrow), and a thread's place in a one-dimensional grid. */
#ifndef AWQ_KERNELS_CUDA_COMPUTE_CUH
#define AWQ_KERNELS_CUDA_COMPUTE_CUH

#include <stdint.h>

#include "kernels/cuda/launch.cuh"

enum { ELEMENT_THREADS = 256 };

__device__ static inline float widen(float x)
{
    return x;
}

__device__ static inline float widen(__half x)
{
    return __half2float(x);
}

__device__ static inline float widen(__nv_bfloat16 x)
{
    return __bfloat162float(x);
}

template <typename T> __device__ static inline T narrow(float x);

template <> __device__ inline float narrow<float>(float x)
{
    return x;
}

template <> __device__ inline __half narrow<__half>(float x)
{
    return __float2half_rn(x);
}

template <> __device__ inline __nv_bfloat16 narrow<__nv_bfloat16>(float x)
{
    return __float2bfloat16_rn(x);
}

/* Elementwise kernels: each thread takes every grid_stride()-th element from grid_thread(). */
__device__ static inline int64_t grid_thread(void)
{
    return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ static inline int64_t grid_stride(void)
{
    return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

static inline unsigned element_blocks(int64_t count)
{
    int64_t blocks = (count + ELEMENT_THREADS - 1) / ELEMENT_THREADS;
    const int64_t most = 4096; /* which fills any GPU */
    return static_cast<unsigned>(blocks < most ? blocks : most);
}

#endif
