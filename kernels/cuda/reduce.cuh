/* SPDX-License-Identifier: MIT
 * kernels/cuda/reduce.cuh - sums and maxima over a warp and over a block, in the same tree always.
 * Every thread of the warp or block calls them and gets the result. */
#ifndef AWQ_KERNELS_CUDA_REDUCE_CUH
#define AWQ_KERNELS_CUDA_REDUCE_CUH

#include <stdint.h>

#include "kernels/cuda/launch.cuh"

template <typename T> __device__ static inline T warp_sum(T x)
{
    for (int width = WARP / 2; width; width /= 2) x += __shfl_xor_sync(ALL_LANES, x, width);
    return x;
}

template <typename T> __device__ static inline T warp_max(T x)
{
    for (int width = WARP / 2; width; width /= 2) {
        T other = __shfl_xor_sync(ALL_LANES, x, width);
        x = other > x ? other : x;
    }
    return x;
}

/* Block of at most 1024 threads. May be called again at once. */
template <typename T> __device__ static inline T block_sum(T x)
{
    __shared__ T part[WARP];
    int warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    x = warp_sum(x);
    __syncthreads(); /* the last call's parts have been read */
    if (threadIdx.x % WARP == 0) part[warp] = x;
    __syncthreads();
    T sum = part[0];
    for (int i = 1; i < warps; i++) sum += part[i];
    return sum;
}

template <typename T> __device__ static inline T block_max(T x)
{
    __shared__ T part[WARP];
    int warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    x = warp_max(x);
    __syncthreads();
    if (threadIdx.x % WARP == 0) part[warp] = x;
    __syncthreads();
    T largest = part[0];
    for (int i = 1; i < warps; i++) largest = part[i] > largest ? part[i] : largest;
    return largest;
}

/* Float bits as an integer in the same order, and back. As integers NaN is beyond infinity, so a
 * maximum does not lose it. */
__device__ static inline int32_t ordered_bits(int32_t bits)
{
    return bits < 0 ? bits ^ INT32_MAX : bits;
}

#endif
