/* SPDX-License-Identifier: MIT
 * kernels/cuda/feedback.cu - codes whose rounding errors make up for one another (docs/awq.md 2.9).
 *
 *   t_j = w_j + sum over i < j of e_i U_ij, q_j = the code of t_j, e_j = w_j - its value
 *
 * All rows at a time: the weights are put in the order of the columns where they are, and errors
 * take the place of those that are rounded. Columns go in panels of PANEL, whose sums over all
 * earlier panels are one product, and within a panel in tiles of TILE, whose sums over the panel's
 * earlier tiles are another. A tile is a kernel, a warp a row: each lane has COLUMNS columns'
 * targets, and the lane whose column is next tells the others its error. out in (in + TILE) flops.
 *
 * The products are TF32's, on tensor cores: sums are off by 2^-10 of their terms at most. Errors do
 * not add up: e_j is made of w_j and its code in float32, whatever the target was, so that a sum
 * that is off can turn a code only where its target is that near to the middle of two, where
 * neither is worse. Within a tile sums are float32's. */
#include "kernels/cuda/quantizer.cuh"
#include "kernels/cuda/verbs.h"

enum {
    PANEL = 512,
    TILE = 128,
    SORT_ROWS = 256, /* that are on their way into the order at a time */
    SORT_THREADS = 1024,
    COLUMNS = TILE / WARP,
    FEEDBACK_THREADS = 256,
    FEEDBACK_WARPS = FEEDBACK_THREADS / WARP
};

typedef struct feedback_job {
    uint8_t *codes;         /* [rows, in] */
    uint16_t *d;            /* [rows, in], compute type */
    const float *factor;    /* [in, in] */
    const float *s;         /* [in] */
    const int32_t *order;   /* [in] */
    const uint16_t *scales; /* [rows, groups] */
    const uint8_t *zeros;
    float *e;    /* [rows, in], in the order: weights, then the errors that are left of them */
    float *sums; /* [rows, PANEL]: what earlier columns ask of the panel's */
    float *row;  /* [SORT_ROWS, in] */
    int64_t rows, in;
    awq_grid grid;
} feedback_job;

/* A row after the other, by way of the block's own: e[:, place] = e[:, order[place]]. */
__global__ static void __launch_bounds__(SORT_THREADS) sort_kernel(feedback_job job)
{
    float *own = job.row + blockIdx.x * job.in;
    for (int64_t row = blockIdx.x; row < job.rows; row += gridDim.x) {
        float *e = job.e + row * job.in;
        for (int64_t i = threadIdx.x; i < job.in; i += blockDim.x) own[i] = e[i];
        __syncthreads();
        for (int64_t i = threadIdx.x; i < job.in; i += blockDim.x) e[i] = own[job.order[i]];
        __syncthreads();
    }
}

/* One column of a row. */
typedef struct feedback_column {
    float w, t, scale, zero;
    int64_t at; /* in the weight's row; -1: past the last */
} feedback_column;

/* sum: where earlier columns' is; -1: there are none. */
__device__ static inline feedback_column load_column(const feedback_job &job, int64_t row,
                                                     int64_t place, int64_t sum)
{
    feedback_column column = {0, 0, 1, 0, -1};
    if (row >= job.rows || place >= job.in) return column;
    int64_t groups = job.in / job.grid.group_size;
    int64_t at = job.order[place], group = row * groups + at / job.grid.group_size;
    column.at = at;
    column.w = job.e[row * job.in + place];
    column.t = sum < 0 ? column.w : column.w + job.sums[sum];
    column.scale = half_value(job.scales[group]);
    column.zero = static_cast<float>(job.zeros[group]);
    return column;
}

/* The code of a column's target. One far outside the range is cut before it is rounded, as the
 * CPU's is. */
__device__ static inline float code_of(const feedback_column &column, float qmax)
{
    float steps = rintf(clamp_between(__fdiv_rn(column.t, column.scale), -1024.0f, 1024.0f));
    return clamp_between(steps + column.zero, 0.0f, qmax);
}

__device__ static inline float error_of(const feedback_column &column, float code)
{
    return column.w - code_value(code, column.zero, column.scale);
}

/* WARP rows of the factor, from `first` on, the tile's columns; zeros past the last. */
__device__ static inline void load_factor(float (*factor)[TILE], const feedback_job &job,
                                          int64_t first, int64_t tile)
{
    for (int i = threadIdx.x; i < WARP * TILE; i += blockDim.x) {
        int64_t row = first + i / TILE, column = tile + i % TILE;
        bool inside = row < job.in && column < job.in && row < column;
        factor[i / TILE][i % TILE] = inside ? job.factor[row * job.in + column] : 0.0f;
    }
}

/* The WARP columns of `piece`, one after the other: each lane has one of them, and others later. */
__device__ static inline void round_piece(feedback_column column[COLUMNS], int piece,
                                          float (*factor)[TILE], float qmax)
{
    int lane = threadIdx.x % WARP;
    for (int i = 0; i < WARP; i++) {
        float own = 0;
        for (int c = 0; c < COLUMNS; c++)
            if (c == piece) own = error_of(column[c], code_of(column[c], qmax));
        float e = __shfl_sync(ALL_LANES, own, i);
        for (int c = 0; c < COLUMNS; c++) /* the factor is 0 for columns that are done */
            if (c >= piece) column[c].t = fmaf(e, factor[i][c * WARP + lane], column[c].t);
    }
}

template <typename T>
__device__ static inline void store_column(const feedback_job &job, const feedback_column &column,
                                           int64_t row, int64_t place, float qmax)
{
    if (column.at < 0) return;
    int64_t to = row * job.in + column.at;
    float code = code_of(column, qmax), e = error_of(column, code);
    job.codes[to] = code_byte(code);
    reinterpret_cast<T *>(job.d)[to] = narrow<T>(__fdiv_rn(e, job.s[column.at]));
    job.e[row * job.in + place] = e;
}

/* `tile`: its first column in the order; `panel`: the panel's. */
template <typename T>
__global__ static void feedback_kernel(feedback_job job, int64_t tile, int64_t panel)
{
    __shared__ float factor[WARP][TILE];
    int64_t row = static_cast<int64_t>(blockIdx.x) * FEEDBACK_WARPS + threadIdx.x / WARP;
    int lane = threadIdx.x % WARP;
    float qmax = static_cast<float>((1 << job.grid.bits) - 1);
    feedback_column column[COLUMNS];
    for (int c = 0; c < COLUMNS; c++) {
        int64_t place = tile + c * WARP + lane;
        column[c] = load_column(job, row, place, tile ? row * PANEL + place - panel : -1);
    }
    for (int piece = 0; piece < COLUMNS; piece++) {
        __syncthreads(); /* the last rows have been read */
        load_factor(factor, job, tile + piece * WARP, tile);
        __syncthreads();
        round_piece(column, piece, factor, qmax);
    }
    for (int c = 0; c < COLUMNS; c++)
        store_column<T>(job, column[c], row, tile + c * WARP + lane, qmax);
}

/* sums[:, to : to + n] (+)= e[:, from : from + k] factor[from : from + k, to : to + n]. */
static void multiply(cuda_device *self, const feedback_job *job, int64_t from, int64_t k,
                     int64_t to, int64_t n, bool add)
{
    cuda_product product = {};
    product.a = cuda_floats(job->e + from, job->in, false);
    product.b = cuda_floats(job->factor + from * job->in + to, job->in, false);
    product.c = job->sums + to % PANEL;
    product.c_type = CUDA_R_32F;
    product.c_stride = PANEL;
    product.m = job->rows;
    product.n = n;
    product.k = k;
    product.alpha = 1;
    product.beta = add ? 1 : 0;
    product.compute = CUBLAS_COMPUTE_32F_FAST_TF32;
    cuda_multiply(self, "feedback", &product);
}

template <typename T>
static void run_panel(cuda_device *self, const feedback_job *job, int64_t panel)
{
    unsigned blocks = static_cast<unsigned>(cuda_blocks(job->rows, FEEDBACK_WARPS));
    int64_t end = cuda_min(panel + PANEL, job->in);
    multiply(self, job, 0, panel, panel, end - panel, false);
    for (int64_t tile = panel; tile < end; tile += TILE) {
        multiply(self, job, panel, tile - panel, tile, cuda_min(TILE, end - tile), panel > 0);
        CUDA_LAUNCH(self, "feedback", (feedback_kernel<T>), blocks, FEEDBACK_THREADS, *job, tile,
                    panel);
    }
}

static void run(cuda_device *self, const feedback_job *job)
{
    unsigned blocks = static_cast<unsigned>(cuda_min(SORT_ROWS, job->rows));
    CUDA_LAUNCH(self, "feedback", sort_kernel, blocks, SORT_THREADS, *job);
    for (int64_t panel = 0; panel < job->in; panel += PANEL)
        AWQ_BY_COMPUTE(self, run_panel, job, panel);
}

static bool reserve(cuda_device *self, feedback_job *job, int64_t most)
{
    size_t row = static_cast<size_t>(cuda_min(SORT_ROWS, most) * job->in);
    size_t sums = static_cast<size_t>(most * PANEL);
    char *scratch = cuda_reserve(
        self, "feedback", cuda_aligned(row * sizeof(float)) + cuda_aligned(sums * sizeof(float)));
    if (!scratch) return false;
    job->row = cuda_carve<float>(&scratch, row);
    job->sums = cuda_carve<float>(&scratch, sums);
    return true;
}

void feedback_cuda(awq_device *device, uint8_t *codes, void *d, float *folded, const float *factor,
                   const int32_t *order, const uint16_t *scales, const uint8_t *zeros,
                   const float *s, awq_extent extent, const awq_grid *grid)
{
    cuda_device *self = cuda_begin(device);
    if (!self) return;
    int64_t in = extent.in, groups = in / grid->group_size;
    int64_t most = cuda_min(cuda_scratch_rows(PANEL, 256), extent.out); /* all but of the widest */
    feedback_job job = {};
    job.factor = factor;
    job.order = order;
    job.s = s;
    job.in = in;
    job.grid = *grid;
    if (!reserve(self, &job, most)) return;
    for (int64_t row = 0; row < extent.out; row += most) {
        job.codes = codes + row * in;
        job.d = static_cast<uint16_t *>(d) + row * in;
        job.e = folded + row * in;
        job.scales = scales + row * groups;
        job.zeros = zeros + row * groups;
        job.rows = cuda_min(most, extent.out - row);
        run(self, &job);
    }
}
