/* SPDX-License-Identifier: MIT
 * tests/cuda_emulator/tensor_core.h - what kernels/cuda/mma.cuh has of a tensor core, by the layout
 * of fragments that PTX documents: a lane shows the others its part, and sums its own elements in
 * float32, in one order. Copies to shared memory are made when they are waited for, and not before.
 */
#ifndef AWQ_TESTS_CUDA_EMULATOR_TENSOR_CORE_H
#define AWQ_TESTS_CUDA_EMULATOR_TENSOR_CORE_H

#include "tests/cuda_emulator/cuda_emulator.h"

namespace emulator
{

#define EMULATOR_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

/* c += a b of the warp, of factors that are widened: a [16, 16], b [16, 8]. */
void multiply_16(site place, float c[4], const float a[8], const float b[4]);
/* a [16, 8], b [8, 8]. */
void multiply_8(site place, float c[4], const float a[4], const float b[2]);

template <typename T> void widen_pairs(float *to, const uint32_t *pairs, int count)
{
    T both[2];
    for (int i = 0; i < count; i++) {
        std::memcpy((void *)both, pairs + i, sizeof both);
        to[2 * i] = (float)both[0];
        to[2 * i + 1] = (float)both[1];
    }
}

template <typename T> void mma(float c[4], const uint32_t a[4], const uint32_t b[2], EMULATOR_PLACE)
{
    float wide_a[8], wide_b[4];
    widen_pairs<T>(wide_a, a, 4);
    widen_pairs<T>(wide_b, b, 2);
    multiply_16({"mma", file, line}, c, wide_a, wide_b);
}

/* Reports factors that are not TF32. */
void mma_tf32(float c[4], const uint32_t a[4], const uint32_t b[2], EMULATOR_PLACE);
uint32_t tf32_bits(float x);

/* Report rows that do not begin on 16 bytes. */
void load_matrices(uint32_t out[4], const void *row, EMULATOR_PLACE);
void load_transposed(uint32_t out[4], const void *row, EMULATOR_PLACE);

/* Reports what is not aligned; a kernel that ends with copies that nothing has waited for is
 * reported too. */
void copy_async(void *to, const void *from, int bytes, bool inside);
void copies_commit();
void wait_for_copies(int pending);

template <int PENDING> void copies_wait()
{
    wait_for_copies(PENDING);
}

#undef EMULATOR_PLACE

} // namespace emulator

#endif
