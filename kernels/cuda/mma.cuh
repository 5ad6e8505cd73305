/* SPDX-License-Identifier: MIT
 * kernels/cuda/mma.cuh - tensor cores as a warp sees them, and what feeds them: products of small
 * matrices (mma.sync), their fragments from shared memory (ldmatrix), and copies from global to
 * shared memory that run beside the arithmetic (cp.async). From 8.0 on.
 *
 * All 32 lanes of a warp call these together. A matrix is spread over the lanes in registers, as
 * PTX's "Matrix Fragments for mma" has it. With row = lane / 4 and pair = lane % 4 a lane has
 *
 *   c [16, 8]   float32: [row][2 pair], [row][2 pair + 1], the same of row + 8
 *   a [16, 16]  16 bits, two a register: [row][2 pair ..], [row + 8][2 pair ..], the same two of
 *               columns 8 further; so two c side by side, narrowed, are an a
 *   b [16, 8]   16 bits: [2 pair ..][row], [2 pair + 8 ..][row]
 *   a [16, 8]   TF32: [row][pair], [row + 8][pair], [row][pair + 4], [row + 8][pair + 4]
 *   b [8, 8]    TF32: [pair][row], [pair + 4][row]
 *
 * Factors are exact in the products, sums are float32; in which order a tensor core adds is its
 * own, and the same always. */
#ifndef AWQ_KERNELS_CUDA_MMA_CUH
#define AWQ_KERNELS_CUDA_MMA_CUH

#include <stdint.h>

#include "kernels/cuda/launch.cuh"

/* ---- elements ---- */

/* Two floats to 16 bits each, the first in the lower half. */
template <typename T> __device__ static inline uint32_t pack(float first, float second);

template <> __device__ inline uint32_t pack<__half>(float first, float second)
{
    __half2_raw both = __floats2half2_rn(first, second);
    return both.x | static_cast<uint32_t>(both.y) << 16;
}

template <> __device__ inline uint32_t pack<__nv_bfloat16>(float first, float second)
{
    __nv_bfloat162_raw both = __floats2bfloat162_rn(first, second);
    return both.x | static_cast<uint32_t>(both.y) << 16;
}

/* The first, 0, or the second, 1. */
template <typename T> __device__ static inline float unpack(uint32_t both, int which);

template <> __device__ inline float unpack<__half>(uint32_t both, int which)
{
    __half_raw one;
    one.x = static_cast<uint16_t>(both >> 16 * which);
    return __half2float(__half(one));
}

template <> __device__ inline float unpack<__nv_bfloat16>(uint32_t both, int which)
{
    return __uint_as_float(which ? both & 0xffff0000 : both << 16);
}

#ifdef AWQ_CUDA_EMULATED

using emulator::copies_commit;
using emulator::copies_wait;
using emulator::load_matrices;
using emulator::load_transposed;
using emulator::mma;
using emulator::mma_tf32;
using emulator::tf32_bits;

template <int BYTES> static inline void copy_async(void *to, const void *from, bool inside)
{
    emulator::copy_async(to, from, BYTES, inside);
}

#else

/* To the nearest of 11 bits, halves away from zero. */
__device__ static inline uint32_t tf32_bits(float x)
{
    uint32_t bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
}

/* ---- products ---- */

/* c += a b, m16n8k16. */
template <typename T>
__device__ static inline void mma(float c[4], const uint32_t a[4], const uint32_t b[2]);

template <> __device__ inline void mma<__half>(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <>
__device__ inline void mma<__nv_bfloat16>(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* c += a b, m16n8k8, of factors that are TF32. */
__device__ static inline void mma_tf32(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* ---- shared memory ---- */

__device__ static inline uint32_t shared_address(const void *p)
{
    return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

/* Four matrices [8, 8] of 16 bits from shared memory. Lane i says where row i % 8 of matrix i / 8
 * begins, on 16 bytes; of each it gets the two elements [lane / 4][2 (lane % 4) ..]. */
__device__ static inline void load_matrices(uint32_t out[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/* The same of their transposes. */
__device__ static inline void load_transposed(uint32_t out[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/* Begins to copy BYTES, 16 or 4, aligned to as many, to shared memory; zeros unless `inside`:
 * `from` is then not read. */
template <int BYTES>
__device__ static inline void copy_async(void *to, const void *from, bool inside)
{
    static_assert(BYTES == 16 || BYTES == 4, "what cp.async has");
    uint32_t address = shared_address(to), read = inside ? BYTES : 0;
    if (BYTES == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
                     "r"(read)
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(from),
                     "r"(read)
                     : "memory");
}

/* What this thread began to copy since the last one is a group. */
__device__ static inline void copies_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Waits for this thread's groups, but for the last `pending` of them; other threads see what was
 * copied after the next __syncthreads. */
template <int PENDING> __device__ static inline void copies_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

#endif

#endif
