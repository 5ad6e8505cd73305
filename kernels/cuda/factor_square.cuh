/* SPDX-License-Identifier: MIT
 * kernels/cuda/factor_square.cuh - squares of BLOCK rows and columns, as feedback_factor cuts a
 * matrix into them. A block of threads, SIDE by SIDE of them, has a square, each thread a patch of
 * it: the rows row + i SIDE and the columns column + l SIDE. */
#ifndef AWQ_KERNELS_CUDA_FACTOR_SQUARE_CUH
#define AWQ_KERNELS_CUDA_FACTOR_SQUARE_CUH

#include <stdint.h>

#include "kernels/cuda/launch.cuh"

enum { BLOCK = 64, SIDE = 16, SQUARE_THREADS = SIDE * SIDE, PATCH = BLOCK / SIDE };

/* In shared memory: a column more, against bank conflicts. */
typedef float square[BLOCK][BLOCK + 1];

/* sum += a b^T of two squares. */
__device__ static inline void multiply_squares(float sum[PATCH][PATCH], const square a,
                                               const square b)
{
    int row = threadIdx.x / SIDE, column = threadIdx.x % SIDE;
    for (int k = 0; k < BLOCK; k++) {
        CUDA_UNROLL
        for (int i = 0; i < PATCH; i++) {
            CUDA_UNROLL
            for (int l = 0; l < PATCH; l++)
                sum[i][l] = fmaf(a[row + i * SIDE][k], b[column + l * SIDE][k], sum[i][l]);
        }
    }
}

/* H = U diag(p) U^T of the square [n, n], with V = U^-1: of H's upper triangle the columns of U
 * times their pivots are left, p on the diagonal, below it V^T. From the last column j on, each row
 * loses its part in it, h_il -= u_ij h_lj, and the rows of V alike, v_il -= u_ij v_jl. Numbers stay
 * in registers; one column after the other goes to all threads, by turns in two places, so that
 * there is one barrier each. */
__device__ static inline void factor_square(double h[PATCH][PATCH], double (*place)[BLOCK], int n,
                                            double least, int32_t *refused)
{
    int row = threadIdx.x / SIDE, column = threadIdx.x % SIDE;
    for (int j = n - 1; j >= 0; j--) {
        double *of_column = place[j % 2];
        CUDA_UNROLL
        for (int i = 0; i < PATCH; i++) {
            CUDA_UNROLL
            for (int l = 0; l < PATCH; l++)
                if (column + l * SIDE == j) of_column[row + i * SIDE] = h[i][l];
        }
        __syncthreads();
        double pivot = of_column[j], inverse = 1 / pivot;
        if (threadIdx.x == 0 && !(pivot >= least)) *refused = 1;
        CUDA_UNROLL
        for (int i = 0; i < PATCH; i++) {
            CUDA_UNROLL
            for (int l = 0; l < PATCH; l++) {
                int r = row + i * SIDE, c = column + l * SIDE;
                double u = of_column[c] * inverse;
                if (c < j && r == j) h[i][l] = -u;
                if (c < j && (r <= c || r > j)) h[i][l] -= u * of_column[r];
            }
        }
    }
}

#endif
