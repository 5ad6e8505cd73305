/* SPDX-License-Identifier: MIT
 * kernels/cpu/triangle.h - numbering the blocks (i, j), i <= j, of an upper triangle. */
#ifndef AWQ_KERNELS_CPU_TRIANGLE_H
#define AWQ_KERNELS_CPU_TRIANGLE_H

#include <stdint.h>

/* How many there are with `side` blocks on the diagonal. */
static inline int64_t triangle_blocks(int64_t side)
{
    return side * (side + 1) / 2;
}

/* Block number to (i, j), by columns. */
static inline void triangle_position(int64_t block, int64_t *i, int64_t *j)
{
    int64_t column = 0;
    while (triangle_blocks(column + 1) <= block) column++;
    *j = column;
    *i = block - triangle_blocks(column);
}

#endif
