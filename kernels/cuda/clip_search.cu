/* SPDX-License-Identifier: MIT
 * kernels/cuda/clip_search.cu - per row and group, the cut of the range that has the least e^T G_gg
 * e, e = (w - Q(w clamped to the cut range)) / s (docs/awq.md 2.8; kernels/cpu/clip_search.c).
 *
 * Of groups of up to CLIP_GROUP weights by one kernel, clip_groups.cu. Of larger ones a sweep tries
 * AWQ_CLIP_STEPS cuts of some rows at a time: their errors [rows, 10, in] in scratch, times the
 * blocks G_gg by one batched product on tensor cores, then a warp a group for the dot products in
 * float64. 20 out in g flops and 200 bytes a weight a sweep. Strictly smaller wins; a NaN never
 * does.
 *
 * The product's factors are TF32, 11 bits, its sums float32. A factor is off by 2^-11 of itself
 * where cuBLAS rounds it, by 2^-10 where it cuts it; so a cut's error by at most 2^-9 |e|^T |G|
 * |e|, in groups of up to 512 with what the sums lose. The cut that is chosen may be worse than the
 * best by those two bounds together, no more; and only where two cuts are so near to each other,
 * which is seldom: over all groups the excess is of second order, below 1e-5 in the tests. */
#include <math.h>

#include "kernels/cuda/clip_cuts.cuh"
#include "kernels/cuda/quantizer.cuh"
#include "kernels/cuda/verbs.h"

extern "C" {
#include "kernels/gram.h"
}

/* Some rows, and their best cuts so far. */
typedef struct clip_job {
    const float *w; /* [rows, in] folded */
    const float *gram, *s;
    uint8_t *above, *below; /* [rows, groups]; below: asymmetric */
    double *error;          /* [rows, groups] of the best cut */
    float *e, *ge;          /* [rows, AWQ_CLIP_STEPS, in] */
    int64_t rows, in;
    awq_clip_shape shape;
    awq_grid grid;
} clip_job;

__device__ static inline clip_cut best_cut(const clip_job &job, int64_t group, int sweep)
{
    clip_cut best = {0, 0};
    if (sweep == SWEEP_BOTH) return best;
    best.above = job.above[group];
    best.below = job.below[group];
    return best;
}

/* The errors of one cut of a group; s is the group's. */
__device__ static inline void cut_errors(float *e, const float *w, const float *s,
                                         group_range range, const awq_grid &grid)
{
    group_code code = group_code_of(range, grid);
    for (int64_t i = threadIdx.x % WARP; i < grid.group_size; i += WARP) {
        float clamped = clamp_between(w[i], -range.below, range.above);
        float value = code_value(value_code(clamped, code), code.zero, code.scale);
        e[i] = __fdiv_rn(w[i] - value, s[i]);
    }
}

__global__ static void errors_kernel(clip_job job, int sweep)
{
    int64_t size = job.grid.group_size, groups = job.in / size, group = warp_group();
    if (group >= job.rows * groups) return; /* the whole warp */
    int64_t row = group / groups, first = group % groups * size;
    const float *w = job.w + row * job.in + first;
    range_bits seen = {0, 0};
    for (int64_t i = threadIdx.x % WARP; i < size; i += WARP) see_weight(&seen, w[i]);
    group_range whole = warp_range(seen);
    clip_cut best = best_cut(job, group, sweep);
    for (int step = 0; step < AWQ_CLIP_STEPS; step++) {
        clip_cut tried = cut_tried(best, sweep, step);
        group_range range = range_cut(whole, job.shape, tried.above, tried.below);
        float *e = job.e + (row * AWQ_CLIP_STEPS + step) * job.in + first;
        cut_errors(e, w, job.s + first, range, job.grid);
    }
}

__global__ static void choose_kernel(clip_job job, int sweep)
{
    int64_t size = job.grid.group_size, groups = job.in / size, group = warp_group();
    if (group >= job.rows * groups) return; /* the whole warp */
    int64_t row = group / groups, first = group % groups * size;
    clip_cut best = best_cut(job, group, sweep);
    double least = sweep == SWEEP_BOTH ? static_cast<double>(INFINITY) : job.error[group];
    for (int step = 0; step < AWQ_CLIP_STEPS; step++) {
        int64_t at = (row * AWQ_CLIP_STEPS + step) * job.in + first;
        double error = 0;
        for (int64_t i = threadIdx.x % WARP; i < size; i += WARP)
            error += static_cast<double>(job.e[at + i]) * static_cast<double>(job.ge[at + i]);
        error = warp_sum(error);
        if (!(error < least)) continue; /* the same in all lanes */
        least = error;
        best = cut_tried(best, sweep, step);
    }
    if (threadIdx.x % WARP) return;
    job.error[group] = least;
    job.above[group] = static_cast<uint8_t>(best.above);
    if (job.shape == AWQ_CLIP_ASYMMETRIC) job.below[group] = static_cast<uint8_t>(best.below);
}

/* ge += e G_jk of columns from j and k on, j <= k, each in one block column of G: `height` and
 * `width` of them; or its transpose. `fresh`: nothing is there to be added to. */
static cuda_product product_of(const clip_job *job, int64_t j, int64_t height, int64_t k,
                               int64_t width, bool transposed, bool fresh)
{
    cuda_product product = {};
    const float *gram = job->gram + awq_gram_index(job->in, j, k);
    product.a = cuda_floats(job->e + (transposed ? k : j), job->in, false);
    product.b = cuda_floats(gram, awq_gram_width(job->in, k), transposed);
    product.c = job->ge + (transposed ? j : k);
    product.c_type = CUDA_R_32F;
    product.c_stride = job->in;
    product.m = job->rows * AWQ_CLIP_STEPS;
    product.n = transposed ? height : width;
    product.k = transposed ? width : height;
    product.alpha = 1;
    product.beta = fresh ? 0 : 1;
    product.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
    return product;
}

/* A group that block columns divide. */
static void multiply_pieces(cuda_device *self, const clip_job *job, int64_t first, int64_t end)
{
    for (int64_t j = first, j_end; j < end; j = j_end) {
        j_end = cuda_min((j / AWQ_GRAM_BLOCK + 1) * AWQ_GRAM_BLOCK, end);
        for (int64_t k = j, k_end; k < end; k = k_end) {
            k_end = cuda_min((k / AWQ_GRAM_BLOCK + 1) * AWQ_GRAM_BLOCK, end);
            cuda_product product = product_of(job, j, j_end - j, k, k_end - k, false, j == first);
            cuda_multiply(self, "clip_search", &product);
            if (j == k) continue;
            product = product_of(job, j, j_end - j, k, k_end - k, true, false);
            cuda_multiply(self, "clip_search", &product);
        }
    }
}

/* ge = e G_gg: a batch a block column, where it has whole groups. */
static void multiply(cuda_device *self, const clip_job *job)
{
    int64_t size = job->grid.group_size, step = AWQ_GRAM_BLOCK;
    if (AWQ_GRAM_BLOCK % size) step = size;
    for (int64_t first = 0; first < job->in; first += step) {
        if (step == size) {
            multiply_pieces(self, job, first, first + size);
            continue;
        }
        int64_t width = awq_gram_width(job->in, first);
        cuda_product product = product_of(job, first, size, first, size, false, true);
        product.a_step = product.c_step = size;
        product.b_step = size * width + size;
        product.count = width / size;
        cuda_multiply(self, "clip_search", &product);
    }
}

static void run_sweeps(cuda_device *self, const clip_job *job)
{
    unsigned blocks = group_blocks(job->rows * job->in / job->grid.group_size);
    for (int sweep = 0; sweep < clip_sweeps(job->shape); sweep++) {
        CUDA_LAUNCH(self, "clip_search", errors_kernel, blocks, GROUP_THREADS, *job, sweep);
        multiply(self, job);
        CUDA_LAUNCH(self, "clip_search", choose_kernel, blocks, GROUP_THREADS, *job, sweep);
    }
}

static bool reserve(cuda_device *self, clip_job *job, int64_t most)
{
    size_t errors = static_cast<size_t>(most * AWQ_CLIP_STEPS * job->in);
    size_t groups = static_cast<size_t>(most * job->in / job->grid.group_size);
    char *scratch = cuda_reserve(self, "clip_search",
                                 2 * cuda_aligned(errors * sizeof(float)) +
                                     cuda_aligned(groups * sizeof(double)));
    if (!scratch) return false;
    job->e = cuda_carve<float>(&scratch, errors);
    job->ge = cuda_carve<float>(&scratch, errors);
    job->error = cuda_carve<double>(&scratch, groups);
    return true;
}

static void search_rows(cuda_device *self, const awq_clip *clip, const float *folded,
                        const float *gram, const float *s, awq_extent extent, const awq_grid *grid)
{
    int64_t groups = extent.in / grid->group_size;
    int64_t most = cuda_min(cuda_scratch_rows(AWQ_CLIP_STEPS * extent.in, 16), extent.out);
    clip_job job = {};
    job.gram = gram;
    job.s = s;
    job.in = extent.in;
    job.shape = clip->shape;
    job.grid = *grid;
    if (!reserve(self, &job, most)) return;
    for (int64_t row = 0; row < extent.out; row += most) {
        job.w = folded + row * extent.in;
        job.above = clip->steps + row * groups;
        job.below =
            clip->shape == AWQ_CLIP_ASYMMETRIC ? job.above + extent.out * groups : job.above;
        job.rows = cuda_min(most, extent.out - row);
        run_sweeps(self, &job);
    }
}

void clip_search_cuda(awq_device *device, const awq_clip *clip, const float *folded,
                      const float *gram, const float *s, awq_extent extent, const awq_grid *grid)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return;
    auto search = grid->group_size <= CLIP_GROUP ? clip_groups : search_rows;
    search(self, clip, folded, gram, s, extent, grid);
}
