/* SPDX-License-Identifier: MIT
 * kernels/gram.h - how a Gram matrix [n, n] lies in memory: its upper triangle alone, by block
 * columns of AWQ_GRAM_BLOCK, one after the other; a block column has the rows from 0 to the end of
 * its diagonal block, [rows, width], contiguous. The diagonal blocks are squares.
 *
 * So of n^2 floats (1 + BLOCK / n) / 2 are stored, and what is above a column block, or a square on
 * the diagonal that lies in one block, is a plain matrix with the block column's width as stride.
 */
#ifndef AWQ_KERNELS_GRAM_H
#define AWQ_KERNELS_GRAM_H

#include <stdint.h>

enum { AWQ_GRAM_BLOCK = 1024 };

#ifdef __CUDACC__
#define AWQ_HOST_AND_DEVICE __host__ __device__
#else
#define AWQ_HOST_AND_DEVICE
#endif

/* Of the block column that a column is in. */
AWQ_HOST_AND_DEVICE static inline int64_t awq_gram_width(int64_t n, int64_t column)
{
    int64_t left = n - column / AWQ_GRAM_BLOCK * AWQ_GRAM_BLOCK;
    return left < AWQ_GRAM_BLOCK ? left : (int64_t)AWQ_GRAM_BLOCK;
}

/* Where an element is: row <= column, or both in one diagonal block. */
AWQ_HOST_AND_DEVICE static inline int64_t awq_gram_index(int64_t n, int64_t row, int64_t column)
{
    int64_t block = column / AWQ_GRAM_BLOCK;
    int64_t before = block * (block + 1) / 2 * AWQ_GRAM_BLOCK * AWQ_GRAM_BLOCK;
    return before + row * awq_gram_width(n, column) + column % AWQ_GRAM_BLOCK;
}

/* Of a finished one, any element. */
AWQ_HOST_AND_DEVICE static inline float awq_gram_at(const float *gram, int64_t n, int64_t row,
                                                    int64_t column)
{
    return gram[row <= column ? awq_gram_index(n, row, column) : awq_gram_index(n, column, row)];
}

/* Floats in all. */
static inline int64_t awq_gram_elements(int64_t n)
{
    return n ? awq_gram_index(n, n - 1, n - 1) + 1 : 0;
}

/* Of what prepare_form makes of one: where products take 16 bits, its elements in float16, as they
 * lie, and an exponent for each row. */
static inline uint64_t awq_form_bytes(int64_t n, uint64_t compute_bytes)
{
    uint64_t elements = (uint64_t)awq_gram_elements(n);
    return compute_bytes < sizeof(float)
               ? elements * sizeof(uint16_t) + (uint64_t)n * sizeof(int32_t)
               : 0;
}

#endif
