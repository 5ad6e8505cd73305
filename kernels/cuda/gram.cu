/* SPDX-License-Identifier: MIT
 * kernels/cuda/gram.cu - gram += x^T x, upper triangle by block columns (kernels/gram.h).
 *
 * rows cols (cols + BLOCK) flops by cuBLAS on tensor cores, from 16-bit x, summed in float32 with
 * beta = 1. With a mask, x goes through scratch, with zeros in the rows that do not count. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/verbs.h"

extern "C" {
#include "kernels/gram.h"
}

enum { MIRROR_TILE = 32, MIRROR_ROWS = 8 };

/* 16-bit elements: a copy, or 0. */
__global__ static void mask_kernel(uint16_t *to, const uint16_t *x, const uint8_t *mask,
                                   int64_t count, int64_t cols)
{
    for (int64_t i = grid_thread(); i < count; i += grid_stride())
        to[i] = mask[i / cols] ? x[i] : 0;
}

static void add_rows(cuda_device *self, float *gram, const void *x, int64_t rows, int64_t cols)
{
    cudaDataType type = self->bf16 ? CUDA_R_16BF : CUDA_R_16F;
    for (int64_t left = 0; left < cols; left += AWQ_GRAM_BLOCK) {
        const uint16_t *from = static_cast<const uint16_t *>(x);
        int64_t width = awq_gram_width(cols, left);
        cuda_product product = {};
        product.a = {from, type, cols, true};
        product.b = {from + left, type, cols, false};
        product.c = gram + awq_gram_index(cols, 0, left);
        product.c_type = CUDA_R_32F;
        product.c_stride = product.n = width;
        product.m = left + width;
        product.k = rows;
        product.alpha = product.beta = 1;
        product.compute = CUBLAS_COMPUTE_32F;
        cuda_multiply(self, "gram", &product);
    }
}

/* As many rows at a time as scratch holds. */
static void add_masked(cuda_device *self, float *gram, const uint16_t *x, const uint8_t *mask,
                       int64_t rows, int64_t cols)
{
    int64_t most = cuda_min(cuda_scratch_rows(cols, 16) * 2, rows);
    char *scratch = cuda_reserve(self, "gram", static_cast<size_t>(most * cols) * sizeof *x);
    if (!scratch) return;
    uint16_t *kept = cuda_carve<uint16_t>(&scratch, static_cast<size_t>(most * cols));
    for (int64_t row = 0; row < rows; row += most) {
        int64_t count = cuda_min(most, rows - row);
        CUDA_LAUNCH(self, "gram", mask_kernel, element_blocks(count * cols), ELEMENT_THREADS, kept,
                    x + row * cols, mask + row, count * cols, cols);
        add_rows(self, gram, kept, count, cols);
    }
}

void gram_cuda(awq_device *device, float *gram, const void *x, const uint8_t *mask, int64_t rows,
               int64_t cols)
{
    cuda_device *self = cuda_begin(device);
    if (!self || !rows) return;
    if (mask)
        add_masked(self, gram, static_cast<const uint16_t *>(x), mask, rows, cols);
    else
        add_rows(self, gram, x, rows, cols);
}

/* Of a block on the diagonal the tile at row y, column x <= y, from its mirror image. */
__global__ static void mirror_kernel(float *gram, int64_t cols)
{
    __shared__ float tile[MIRROR_TILE][MIRROR_TILE + 1];
    int64_t first = static_cast<int64_t>(blockIdx.z) * AWQ_GRAM_BLOCK;
    int64_t width = awq_gram_width(cols, first);
    float *square = gram + awq_gram_index(cols, first, first);
    if (blockIdx.x > blockIdx.y) return; /* the whole block */
    int64_t top = static_cast<int64_t>(blockIdx.y) * MIRROR_TILE;
    int64_t left = static_cast<int64_t>(blockIdx.x) * MIRROR_TILE;
    int column = threadIdx.x % MIRROR_TILE, row = threadIdx.x / MIRROR_TILE;
    for (int i = row; i < MIRROR_TILE; i += MIRROR_ROWS)
        if (left + i < width && top + column < width)
            tile[i][column] = square[(left + i) * width + top + column];
    __syncthreads();
    for (int i = row; i < MIRROR_TILE; i += MIRROR_ROWS)
        if (top + i < width && left + column < top + i)
            square[(top + i) * width + left + column] = tile[column][i];
}

void gram_finish_cuda(awq_device *device, float *gram, int64_t cols)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return;
    unsigned side = static_cast<unsigned>(cuda_blocks(awq_gram_width(cols, 0), MIRROR_TILE));
    unsigned blocks = static_cast<unsigned>(cuda_blocks(cols, AWQ_GRAM_BLOCK));
    CUDA_LAUNCH(self, "gram_finish", mirror_kernel, dim3(side, side, blocks),
                MIRROR_TILE * MIRROR_ROWS, gram, cols);
}
