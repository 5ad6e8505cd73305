/* SPDX-License-Identifier: MIT
 * kernels/cuda/launch.cuh - where the CUDA runtime, cuBLAS and the 16-bit types come from, and how
 * a kernel is launched. No other file includes them, so that a build with AWQ_CUDA_EMULATED runs
 * the same kernels on the CPU (tests/cuda_emulator).
 *
 * What kernels may use is what that emulates: static shared memory, __syncthreads, warp shuffles
 * that all 32 lanes take part in, mma.cuh. No atomics: sums have a fixed order. A block's threads
 * are a multiple of WARP. */
#ifndef AWQ_KERNELS_CUDA_LAUNCH_CUH
#define AWQ_KERNELS_CUDA_LAUNCH_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#ifdef AWQ_CUDA_EMULATED
#include <cuda_emulator.h>
#define CUDA_UNROLL
#else
#include <cublas_v2.h>
#include <cuda_runtime.h>
#define CUDA_UNROLL _Pragma("unroll")
/* A template's kernel is given in parentheses: (kernel<T>). */
#define AWQ_LAUNCH(kernel, grid, block, stream, ...)                                               \
    kernel<<<(grid), (block), 0, (stream)>>>(__VA_ARGS__)
#endif

enum { WARP = 32 };

/* Blocks along a grid's z. */
#ifndef AWQ_CUDA_MOST_GRID /* the emulator has less, so that its few sequences are cut too */
#define AWQ_CUDA_MOST_GRID 65535
#endif

#define ALL_LANES 0xffffffffu

#endif
