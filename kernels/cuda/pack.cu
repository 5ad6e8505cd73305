/* SPDX-License-Identifier: MIT
 * kernels/cuda/pack.cu - codes as words, as they are stored: a thread a word, which has the bits of
 * all codes that lie in it. Reads a byte a code, writes `bits` bits. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/verbs.h"

/* The word of a row whose first bit is the row's `first`-th. */
__device__ static inline uint32_t word_at(const uint8_t *codes, int in, int bits, int64_t first)
{
    uint32_t word = 0;
    for (int64_t i = first / bits; i < in && i * bits < first + 32; i++) {
        int shift = static_cast<int>(i * bits - first);
        uint32_t code = codes[i];
        word |= shift < 0 ? code >> -shift : code << shift;
    }
    return word;
}

/* A row of the grid's blocks a row, or every gridDim.y-th. */
__global__ static void pack_kernel(uint32_t *words, const uint8_t *codes, awq_extent extent,
                                   int64_t row_words, int bits)
{
    int64_t word = grid_thread(), in = extent.in;
    if (word >= row_words) return;
    for (int64_t row = blockIdx.y; row < extent.out; row += gridDim.y)
        words[row * row_words + word] =
            word_at(codes + row * in, static_cast<int>(in), bits, 32 * word);
}

void pack_cuda(awq_device *device, uint32_t *words, const uint8_t *codes, awq_extent extent,
               int bits)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return;
    int64_t row_words = awq_words_count(extent.in, bits);
    dim3 grid(static_cast<unsigned>(cuda_blocks(row_words, ELEMENT_THREADS)),
              static_cast<unsigned>(cuda_min(extent.out, AWQ_CUDA_MOST_GRID)));
    CUDA_LAUNCH(self, "pack", pack_kernel, grid, ELEMENT_THREADS, words, codes, extent, row_words,
                bits);
}
