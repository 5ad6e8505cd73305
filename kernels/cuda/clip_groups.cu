/* SPDX-License-Identifier: MIT
 * kernels/cuda/clip_groups.cu - clip_search of groups of up to CLIP_GROUP weights, in one kernel:
 * the cut that has the least e^T H e, e = w - Q(w clamped to the cut range), H = G_gg / (s_i s_j).
 *
 * A block has one group of some rows, and H in shared memory as TF32. A warp takes 16 rows at a
 * time, their weights and the errors of one cut in registers, and goes through the cuts: e^T H e =
 * sum over j of e_j (H_jj e_j + sum over i < j of 2 H_ij e_i) in squares of 8 x 8, the sums in
 * brackets on tensor cores. Nothing but the steps goes to memory. Strictly smaller wins; a NaN
 * never does. Rows and groups stand alone: what is chosen does not depend on the grid.
 *
 * Factors are rounded to 11 bits, e on both sides: a cut's error is off by at most 3 2^-11 |e|^T
 * |H| |e|, sums are float32. No choice was worse than the best in the tests, nor were they as three
 * passes through memory.
 *
 * A sweep of ten cuts: 10 (g + 8) out in flops, 9 instructions a weight and cut, 2 a product. w is
 * read once, 4 bytes a weight, G_gg once for each block of 64 to 256 rows. Bound by instructions:
 * for 16 rows of 128 and a cut some 1,100 of a warp, counted in PTX, beside 136 products that take
 * a tensor core of 9.0 some 870 cycles. Estimates for the 0.78e9 weights of a 70B layer on an H200:
 * 4.5 ms if nothing else waits, 8 to 15 ms expected. */
#include <math.h>

#include "kernels/cuda/clip_cuts.cuh"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/quantizer.cuh"

extern "C" {
#include "kernels/gram.h"
}

#ifndef AWQ_CUDA_ENOUGH_BLOCKS /* the emulator has less, so that blocks have many rows */
#define AWQ_CUDA_ENOUGH_BLOCKS 1024
#endif

enum {
    WIDTH = 8, /* of a product's factors and sums */
    TILES = CLIP_GROUP / WIDTH,
    SQUARES = TILES * (TILES + 1) / 2, /* of H, on its diagonal and above it */
    CLIP_THREADS = 128,
    CLIP_WARPS = CLIP_THREADS / WARP,
    ROWS = 16, /* of a warp at a time: a product's */
    LEAST_ROWS = ROWS * CLIP_WARPS,
    MOST_ROWS = 4 * LEAST_ROWS,            /* of a block */
    ENOUGH_BLOCKS = AWQ_CUDA_ENOUGH_BLOCKS /* to have that many */
};

typedef struct group_job {
    const float *w, *gram, *s; /* w [rows, in], folded */
    uint8_t *above, *below;    /* [rows, groups]; below: of an asymmetric clip */
    int64_t rows, in;
    int block_rows, sweeps;
    awq_clip_shape shape;
    awq_grid grid;
} group_job;

/* A row's quantizer for one cut: from `least` to `most` steps of the scale. */
typedef struct row_code {
    float scale, reciprocal;
    float least, most;
} row_code;

/* What a lane has of its warp's 16 rows: of two of them, lane / 4 and 8 further, two neighbours of
 * eight columns. They lie as in a product's factor: both rows' first, both rows' second. So
 * columns 0, 2, 4, 6, 1, 3, 5, 7 of eight are what the product calls 0 to 7. */
typedef struct lane_rows {
    float w[TILES][4];
    group_range range[2];
    clip_cut best[2];
    float error[2]; /* of the best */
} lane_rows;

/* H as the factors of products, the squares of a column together; above the diagonal doubled, so
 * that what is below is not needed. */
typedef struct alignas(8) gram_factor {
    uint32_t of[2];
} gram_factor;

typedef gram_factor gram_factors[SQUARES][WARP];

__device__ static inline float scaled_gram(const group_job &job, int64_t first, int i, int j)
{
    int size = static_cast<int>(job.grid.group_size);
    if (i >= size || j >= size) return 0;
    float g = awq_gram_at(job.gram, job.in, first + i, first + j);
    g = __fdiv_rn(g, __fmul_rn(job.s[first + i], job.s[first + j]));
    return i / WIDTH < j / WIDTH ? 2 * g : g;
}

__device__ static inline void load_gram(gram_factors h, const group_job &job, int64_t first)
{
    int tiles = (static_cast<int>(job.grid.group_size) + WIDTH - 1) / WIDTH;
    int lane = threadIdx.x % WARP;
    for (int row = threadIdx.x / WARP, column = 0;; row += CLIP_WARPS) {
        for (; row > column; column++) row -= column + 1;
        if (column >= tiles) return;
        int i = row * WIDTH + lane % 4 * 2, j = column * WIDTH + lane / 4;
        uint32_t *to = h[column * (column + 1) / 2 + row][lane].of;
        to[0] = tf32_bits(scaled_gram(job, first, i, j));
        to[1] = tf32_bits(scaled_gram(job, first, i + 1, j));
    }
}

/* ---- a warp's rows ---- */

template <typename T> __device__ static inline T quad_max(T x)
{
    T other = __shfl_xor_sync(ALL_LANES, x, 1);
    x = other > x ? other : x;
    other = __shfl_xor_sync(ALL_LANES, x, 2);
    return other > x ? other : x;
}

/* Zeros beyond the last row and the group. */
__device__ static inline void load_rows(lane_rows *own, const group_job &job, int64_t row,
                                        int64_t first)
{
    int lane = threadIdx.x % WARP, size = static_cast<int>(job.grid.group_size);
    range_bits seen[2] = {};
    const float *w = job.w + row * job.in + first;
    CUDA_UNROLL for (int i = 0; i < TILES * 4; i++)
    {
        int its = lane / 4 + i % 2 * 8, column = i / 4 * WIDTH + lane % 4 * 2 + i / 2 % 2;
        float value = row + its < job.rows && column < size ? w[its * job.in + column] : 0.0f;
        own->w[i / 4][i % 4] = value;
        see_weight(&seen[i % 2], value);
    }
    for (int i = 0; i < 2; i++) {
        own->range[i].above = __int_as_float(quad_max(seen[i].above));
        own->range[i].below = __int_as_float(quad_max(seen[i].below));
        own->best[i] = {0, 0};
        own->error[i] = INFINITY;
    }
}

/* w / scale, rounded. What the reciprocal's quotient lacks is added, so that a tie is one here. */
__device__ static inline float steps_of(float w, float scale, float reciprocal)
{
    float steps = __fmul_rn(w, reciprocal);
    return rintf(fmaf(fmaf(-steps, scale, w), reciprocal, steps));
}

/* Rounding keeps the order, so that steps are clamped where weights would be. */
__device__ static inline row_code row_code_of(group_range whole, clip_cut tried,
                                              const group_job &job)
{
    group_range range = range_cut(whole, job.shape, tried.above, tried.below);
    group_code code = group_code_of(range, job.grid);
    row_code own = {code.scale, __fdiv_rn(1.0f, code.scale), 0, 0};
    own.least = fmaxf(-code.zero, steps_of(-range.below, own.scale, own.reciprocal));
    own.most = fminf(code.qmax - code.zero, steps_of(range.above, own.scale, own.reciprocal));
    return own;
}

/* w - Q(w); of a w that is not finite not finite. */
__device__ static inline float cut_error(float w, const row_code &code)
{
    float steps = steps_of(w, code.scale, code.reciprocal);
    return w - __fmul_rn(fminf(fmaxf(steps, code.least), code.most), code.scale);
}

/* error[i] = e^T H e of this lane's columns of the i-th row. */
__device__ static inline void cut_errors(float error[2], const lane_rows &own,
                                         const row_code code[2], const gram_factors h, int size)
{
    uint32_t e[TILES][4];
    int lane = threadIdx.x % WARP;
    error[0] = error[1] = 0;
    CUDA_UNROLL for (int column = 0; column < TILES; column++)
    {
        if (column * WIDTH >= size) break;
        float sum[2][4] = {}; /* two, so that products need not wait for each other */
        for (int i = 0; i < 4; i++)
            e[column][i] = tf32_bits(cut_error(own.w[column][i], code[i % 2]));
        CUDA_UNROLL for (int row = 0; row <= column; row++)
            mma_tf32(sum[row % 2], e[row], h[column * (column + 1) / 2 + row][lane].of);
        for (int i = 0; i < 4; i++) /* sums have a row's two columns side by side */
            error[i / 2] = fmaf(sum[0][i] + sum[1][i],
                                __uint_as_float(e[column][i / 2 + i % 2 * 2]), error[i / 2]);
    }
}

__device__ static inline float quad_sum(float x)
{
    x += __shfl_xor_sync(ALL_LANES, x, 1);
    return x + __shfl_xor_sync(ALL_LANES, x, 2);
}

__device__ static inline void sweep_cuts(lane_rows *own, const group_job &job, const gram_factors h,
                                         int sweep)
{
    for (int step = 0; step < AWQ_CLIP_STEPS; step++) {
        row_code code[2];
        float error[2];
        for (int i = 0; i < 2; i++)
            code[i] = row_code_of(own->range[i], cut_tried(own->best[i], sweep, step), job);
        cut_errors(error, *own, code, h, static_cast<int>(job.grid.group_size));
        for (int i = 0; i < 2; i++) error[i] = quad_sum(error[i]);
        for (int i = 0; i < 2; i++) {
            bool less = error[i] < own->error[i]; /* the same in all lanes of a row */
            own->error[i] = less ? error[i] : own->error[i];
            own->best[i] = less ? cut_tried(own->best[i], sweep, step) : own->best[i];
        }
    }
}

__device__ static inline void store_cuts(const lane_rows &own, const group_job &job, int64_t row,
                                         int64_t group)
{
    int lane = threadIdx.x % WARP;
    for (int i = 0; i < 2; i++) {
        int64_t its = row + lane / 4 + i * 8, groups = job.in / job.grid.group_size;
        if (lane % 4 || its >= job.rows) continue;
        job.above[its * groups + group] = static_cast<uint8_t>(own.best[i].above);
        if (job.sweeps > 1)
            job.below[its * groups + group] = static_cast<uint8_t>(own.best[i].below);
    }
}

__global__ static void __launch_bounds__(CLIP_THREADS, 3) clip_groups_kernel(group_job job)
{
    __shared__ gram_factors h;
    int64_t group = blockIdx.x, first = group * job.grid.group_size;
    int64_t begin = static_cast<int64_t>(blockIdx.y) * job.block_rows;
    load_gram(h, job, first);
    __syncthreads();
    for (int i = threadIdx.x / WARP * ROWS; i < job.block_rows; i += LEAST_ROWS) {
        lane_rows own;
        if (begin + i >= job.rows) break; /* the whole warp */
        load_rows(&own, job, begin + i, first);
        for (int sweep = 0; sweep < job.sweeps; sweep++) sweep_cuts(&own, job, h, sweep);
        store_cuts(own, job, begin + i, group);
    }
}

void clip_groups(cuda_device *self, const awq_clip *clip, const float *folded, const float *gram,
                 const float *s, awq_extent extent, const awq_grid *grid)
{
    int64_t groups = extent.in / grid->group_size;
    group_job job = {folded,
                     gram,
                     s,
                     clip->steps,
                     clip->steps + extent.out * groups,
                     extent.out,
                     extent.in,
                     MOST_ROWS,
                     clip_sweeps(clip->shape),
                     clip->shape,
                     *grid};
    while (job.block_rows > LEAST_ROWS &&
           cuda_blocks(extent.out, job.block_rows) * groups < ENOUGH_BLOCKS)
        job.block_rows /= 2;
    dim3 blocks(static_cast<unsigned>(groups),
                static_cast<unsigned>(cuda_blocks(extent.out, job.block_rows)));
    CUDA_LAUNCH(self, "clip_search", clip_groups_kernel, blocks, CLIP_THREADS, job);
}
