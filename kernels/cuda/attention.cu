/* SPDX-License-Identifier: MIT
 * kernels/cuda/attention.cu - causal attention: y = softmax(cap(scale q k^T)) v, each sequence
 * alone.
 *
 * Flash attention: a block is (TILE queries, head, sequence, columns of the values), a warp has 16
 * of the queries. It goes through the keys in tiles from its first query's window up to its last
 * query, with the running maximum and sum of each query in float32, in powers of two (online
 * softmax), so that no score leaves the chip. A sink is what they begin with. Both products are on
 * tensor cores, with float32 sums. Keys and values come in chunks of TILE columns, whatever a
 * head's width, one on its way while the last is multiplied; what a head lacks of whole products
 * is zeros. A warp leaves out keys past its last query, and beyond those p is 0: a NaN or infinity
 * in v reaches every query that sees it and may reach those of its 16 (0 times NaN): visible, never
 * hidden.
 *
 * p goes to the products as head and tail, each of the compute type: the rms error of y is that of
 * rounding y, as with p in float32. The head alone would add 1 to 6 % to it, 27 % where p is flat
 * and v of mean 0, in both types, and send a token of a small mixture to another expert (measured
 * on the emulator); the tail costs a product more, but no load.
 *
 * length^2 (head_dim + 2 value_dim) flops a head and sequence, with a window at most 2 length
 * (window + TILE) times that; values of more than WIDE columns have the scores computed once for
 * each WIDE of them. Reads a byte from L2 for 64 to 96 flops, of queries wider than RESIDENT chunks
 * up to twice as much, and a byte of shared memory for 20. Estimates: bound by shared memory and by
 * tensor cores alike, some 1,200 cycles of a multiprocessor of 9.0 for a tile of heads of 128; 150
 * to 220 TFLOP/s of length^2 (head_dim + value_dim) expected of an H200 on long sequences, where
 * plain cores had 10 to 12. */
#include <math.h>

#include "kernels/cuda/attention_chunks.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/verbs.h"

enum {
    QUERIES = TILE / (ATTENTION_THREADS / WARP), /* of a warp: a product's 16 */
    WIDTH = 8,                                   /* columns of a product */
    DEPTH = 16,                                  /* what it sums over */
    PIECES = TILE / WIDTH,                       /* products side by side in a chunk */
    PARTS = 2,                                   /* of p: head and tail */
    NARROW = 2 * TILE, /* columns of values that a block has at most, 168 registers a thread */
    WIDE = 4 * TILE,   /* .. and 255 */
    MOST_SEQUENCES = AWQ_CUDA_MOST_GRID
};

static const float LOG2_E = 1.44269504f;

/* What a warp knows of its queries. A lane has two, lane / 4 and 8 further; of each, two of eight
 * columns of y, and a part of the sum. */
template <int CHUNKS> struct attention_state {
    float largest[2], sum[2];
    float y[CHUNKS * PIECES][4];
};

/* ---- a step ---- */

/* score += q k^T over the channels of a chunk, for the first `keys` of them. */
template <typename T>
__device__ static inline void score_keys(float (*score)[4], const T (*q)[PITCH],
                                         const T (*k)[PITCH], int channels, int keys)
{
    int lane = threadIdx.x % WARP, row = threadIdx.x / WARP * QUERIES + lane % 16;
    CUDA_UNROLL for (int step = 0; step < TILE; step += DEPTH)
    {
        if (step >= channels) break;
        uint32_t a[4], b[4];
        load_matrices(a, &q[row][step + lane / 16 * 8]);
        CUDA_UNROLL for (int n = 0; n < PIECES; n += 2)
        {
            if (n * WIDTH >= keys) break;
            load_matrices(b, &k[n * WIDTH + lane / 16 * 8 + lane % 8][step + lane / 8 % 2 * 8]);
            mma<T>(score[n], a, b);
            mma<T>(score[n + 1], a, b + 2);
        }
    }
}

/* y += p v of a chunk's columns, over the first `keys` keys; p: heads, then tails. */
template <typename T>
__device__ static inline void add_values(float (*y)[4], const uint32_t (*p)[PIECES][2],
                                         const T (*v)[PITCH], int columns, int keys)
{
    int lane = threadIdx.x % WARP;
    CUDA_UNROLL for (int step = 0; step < TILE; step += DEPTH)
    {
        if (step >= keys) break;
        CUDA_UNROLL for (int n = 0; n < PIECES; n += 2)
        {
            uint32_t b[4];
            if (n * WIDTH >= columns) break;
            load_transposed(b, &v[step + lane % 16][n * WIDTH + lane / 16 * 8]);
            CUDA_UNROLL for (int part = 0; part < PARTS; part++)
            {
                mma<T>(y[n], p[part][step / WIDTH], b);
                mma<T>(y[n + 1], p[part][step / WIDTH], b + 2);
            }
        }
    }
}

/* The first key that the query at a position sees. */
__device__ static inline int first_seen(const attention_shape &shape, int position)
{
    if (shape.chunked) return position / shape.window * shape.window;
    return position < shape.window ? 0 : position + 1 - shape.window;
}

/* To powers of two. */
__device__ static inline void scale_scores(float (*score)[4], const attention_shape &shape)
{
    bool capped = shape.softcap > 0;
    float factor = capped ? shape.scale : shape.scale * LOG2_E;
    CUDA_UNROLL for (int i = 0; i < 4 * PIECES; i++)
    {
        float *own = &score[i / 4][i % 4];
        *own *= factor;
        if (capped) *own = shape.softcap * LOG2_E * tanhf(*own / shape.softcap);
    }
}

/* Minus infinity where a query, the warp's first at `query`, does not see a key, the first of them
 * at `key`. */
__device__ static inline void mask_scores(float (*score)[4], int query, int key,
                                          const attention_shape &shape)
{
    if (key + TILE - 1 <= query && first_seen(shape, query + QUERIES - 1) <= key) return;
    int lane = threadIdx.x % WARP;
    CUDA_UNROLL for (int row = 0; row < 2; row++)
    {
        int position = query + lane / 4 + 8 * row, first = first_seen(shape, position);
        CUDA_UNROLL for (int i = 0; i < 2 * PIECES; i++)
        {
            int its = key + i / 2 * WIDTH + lane % 4 * 2 + i % 2;
            if (its < first || its > position) score[i / 2][2 * row + i % 2] = -INFINITY;
        }
    }
}

/* Of the four lanes that have a query. */
__device__ static inline float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 1));
    return fmaxf(x, __shfl_xor_sync(ALL_LANES, x, 2));
}

__device__ static inline float quad_sum(float x)
{
    x += __shfl_xor_sync(ALL_LANES, x, 1);
    return x + __shfl_xor_sync(ALL_LANES, x, 2);
}

/* p = 2^(score - largest) of a lane's first or second query, heads and tails. What is there already
 * shrinks as the largest grows. */
template <typename T, int CHUNKS>
__device__ static inline void soften(uint32_t (*p)[PIECES][2], float (*score)[4],
                                     attention_state<CHUNKS> *state, int row)
{
    float largest = state->largest[row], sum = 0;
    CUDA_UNROLL for (int n = 0; n < PIECES; n++) largest =
        fmaxf(largest, fmaxf(score[n][2 * row], score[n][2 * row + 1]));
    largest = quad_max(largest);
    float base = largest > -INFINITY ? largest : 0.0f; /* it has seen no key yet */
    float shrink = exp2f(state->largest[row] - base);
    CUDA_UNROLL for (int n = 0; n < PIECES; n++)
    {
        float first = exp2f(score[n][2 * row] - base), second = exp2f(score[n][2 * row + 1] - base);
        uint32_t head = pack<T>(first, second);
        p[0][n][row] = head;
        p[1][n][row] = pack<T>(first - unpack<T>(head, 0), second - unpack<T>(head, 1));
        sum += first + second;
    }
    state->largest[row] = largest;
    state->sum[row] = state->sum[row] * shrink + sum;
    CUDA_UNROLL for (int n = 0; n < CHUNKS * PIECES; n++)
    {
        state->y[n][2 * row] *= shrink;
        state->y[n][2 * row + 1] *= shrink;
    }
}

/* ---- a block ---- */

template <typename T>
__device__ static inline attention_part<T> part_of(T *y, const T *q, const T *k, const T *v,
                                                   int most, const attention_shape &shape)
{
    int slices = static_cast<int>((shape.value_dim + most - 1) / most);
    int slice = blockIdx.x % slices, column = slice * most;
    int64_t head = blockIdx.y, kv_head = head / (shape.heads / shape.kv_heads);
    int64_t row = static_cast<int64_t>(blockIdx.z) * shape.length;
    attention_part<T> part = {};
    part.q_stride = shape.heads * shape.head_dim;
    part.k_stride = shape.kv_heads * shape.head_dim;
    part.v_stride = shape.kv_heads * shape.value_dim;
    part.y_stride = shape.heads * shape.value_dim;
    part.q = q + row * part.q_stride + head * shape.head_dim;
    part.k = k + row * part.k_stride + kv_head * shape.head_dim;
    part.v = v + row * part.v_stride + kv_head * shape.value_dim + column;
    part.y = y + row * part.y_stride + head * shape.value_dim + column;
    part.columns = static_cast<int>(shape.value_dim) - column;
    if (part.columns > most) part.columns = most;
    part.chunks = shape.key_chunks + (part.columns + TILE - 1) / TILE;
    /* The longest go first. */
    part.tile = static_cast<int>(gridDim.x / slices - 1 - blockIdx.x / slices) * TILE;
    part.first_key = first_seen(shape, part.tile) / TILE * TILE;
    return part;
}

/* Of no keys yet. A sink that is not finite makes the sum NaN. */
template <int CHUNKS>
__device__ static inline attention_state<CHUNKS> first_state(const attention_shape &shape)
{
    attention_state<CHUNKS> state = {};
    float sink = shape.sinks ? shape.sinks[blockIdx.y] : -INFINITY;
    bool counts = sink != -INFINITY && threadIdx.x % 4 == 0;
    for (int row = 0; row < 2; row++) {
        state.largest[row] = sink * LOG2_E;
        state.sum[row] = counts ? sink - sink + 1 : 0;
    }
    return state;
}

template <typename T, int CHUNKS>
__device__ static inline void store_queries(const attention_part<T> &part,
                                            const attention_state<CHUNKS> &state, int query,
                                            const attention_shape &shape)
{
    int lane = threadIdx.x % WARP;
    CUDA_UNROLL for (int row = 0; row < 2; row++)
    {
        int position = query + lane / 4 + 8 * row;
        float sum = quad_sum(state.sum[row]);
        T *y = part.y + position * part.y_stride;
        CUDA_UNROLL for (int n = 0; n < CHUNKS * PIECES; n++)
        {
            int column = n * WIDTH + lane % 4 * 2;
            const float *own = state.y[n] + 2 * row;
            if (position < shape.length && column < part.columns)
                *reinterpret_cast<uint32_t *>(y + column) = pack<T>(own[0] / sum, own[1] / sum);
        }
    }
}

/* MOST columns of the values a block. */
template <typename T, int MOST>
__global__ static void __launch_bounds__(ATTENTION_THREADS, MOST == NARROW ? 3 : 2)
    attention_kernel(T *y, const T *q, const T *k, const T *v, attention_shape shape)
{
    enum { CHUNKS = MOST / TILE };
    __shared__ attention_memory<T> memory;
    attention_part<T> part = part_of(y, q, k, v, MOST, shape);
    part.memory = &memory;
    int query = part.tile + threadIdx.x / WARP * QUERIES;
    attention_state<CHUNKS> state = first_state<CHUNKS>(shape);
    chunk_place coming = {part.first_key, 0, 0};
    start_chunk(part, coming, shape);
    for (int key = part.first_key; key <= part.tile; key += TILE) {
        float score[PIECES][4] = {};
        uint32_t p[PARTS][PIECES][2];
        int keys = query + QUERIES - key; /* that one of the warp's queries may see */
        for (int c = 0; c < shape.key_chunks; c++) {
            int buffer = next_chunk(part, &coming, shape);
            score_keys(score, memory.queries[query_place(shape, c, buffer)], memory.chunks[buffer],
                       static_cast<int>(shape.head_dim) - c * TILE, keys);
        }
        scale_scores(score, shape);
        mask_scores(score, query, key, shape);
        soften<T>(p, score, &state, 0);
        soften<T>(p, score, &state, 1);
        CUDA_UNROLL for (int c = 0; c < CHUNKS; c++)
        {
            if (c * TILE >= part.columns) break;
            int buffer = next_chunk(part, &coming, shape);
            add_values(state.y + c * PIECES, p, memory.chunks[buffer], part.columns - c * TILE,
                       keys);
        }
    }
    store_queries(part, state, query, shape);
}

template <typename T, int MOST>
static void launch_parts(cuda_device *self, T *y, const T *q, const T *k, const T *v,
                         int64_t sequences, attention_shape shape)
{
    int64_t kv_rows = shape.length * shape.kv_heads, rows = shape.length * shape.heads;
    int64_t parts = cuda_blocks(shape.length, TILE) * cuda_blocks(shape.value_dim, MOST);
    for (int64_t first = 0; first < sequences; first += MOST_SEQUENCES) {
        dim3 grid(static_cast<unsigned>(parts), static_cast<unsigned>(shape.heads),
                  static_cast<unsigned>(cuda_min(MOST_SEQUENCES, sequences - first)));
        CUDA_LAUNCH(self, "attention", (attention_kernel<T, MOST>), grid, ATTENTION_THREADS,
                    y + first * rows * shape.value_dim, q + first * rows * shape.head_dim,
                    k + first * kv_rows * shape.head_dim, v + first * kv_rows * shape.value_dim,
                    shape);
    }
}

template <typename T>
static void launch_attention(cuda_device *self, void *y, const void *q, const void *k,
                             const void *v, int64_t sequences, attention_shape shape)
{
    auto launch = shape.value_dim <= NARROW ? launch_parts<T, NARROW> : launch_parts<T, WIDE>;
    launch(self, static_cast<T *>(y), static_cast<const T *>(q), static_cast<const T *>(k),
           static_cast<const T *>(v), sequences, shape);
}

static bool aligned(const void *array)
{
    return reinterpret_cast<uintptr_t>(array) % 16 == 0;
}

void attention_cuda(awq_device *device, void *y, const void *q, const void *k, const void *v,
                    int64_t sequences, int64_t length, const awq_attention_shape *shape)
{
    cuda_device *self = cuda_begin(device);
    if (!self || !sequences || !length) return;
    attention_shape own = {
        shape->heads,
        shape->kv_heads,
        shape->head_dim,
        shape->value_dim,
        static_cast<int>(length),
        static_cast<int>(shape->window ? cuda_min(shape->window, length) : length),
        static_cast<int>(cuda_blocks(shape->head_dim, TILE)),
        shape->scale,
        shape->softcap,
        shape->chunked && shape->window && shape->window < length,
        shape->head_dim % 8 == 0 && shape->value_dim % 8 == 0 && aligned(q) && aligned(k) &&
            aligned(v),
        shape->sinks};
    if (shape->head_dim % 2 || shape->value_dim % 2)
        cuda_refuse(self, "attention", "heads of an odd number of channels");
    else
        AWQ_BY_COMPUTE(self, launch_attention, y, q, k, v, sequences, own);
}
