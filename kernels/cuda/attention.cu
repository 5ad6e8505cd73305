/* SPDX-License-Identifier: MIT
 * kernels/cuda/attention.cu - causal attention: y = softmax(cap(scale q k^T)) v, each sequence
 * alone.
 *
 * A block is (TILE queries, head, sequence): it goes through the keys in tiles from its first
 * query's window up to its last query, with the running maximum and sum of each query (online
 * softmax; flash attention's), so that no score leaves the chip. A sink is what they begin with. A
 * warp has QUERIES queries; of a tile's scores each lane computes one key, of the output each lane
 * has every 32nd pair of columns: shared memory is read in pairs, since its loads are what this
 * kernel waits for. Heads of more than 256 channels come in slices, and so do the queries, once for
 * each tile of keys. Float32 throughout, on plain cores. length^2 (head_dim + value_dim) flops a
 * head and sequence, with a window at most 2 length (window + TILE) (head_dim + value_dim); reads k
 * and v length / TILE / 2 times at most, from L2. A NaN or infinity in v reaches every query of its
 * block (0 times NaN): visible, never hidden. */
#include <math.h>

#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/verbs.h"

enum {
    TILE = 32, /* queries of a block, keys of a step */
    ATTENTION_THREADS = 256,
    BLOCKS = 3,                                  /* of a multiprocessor: 80 registers a thread */
    QUERIES = TILE / (ATTENTION_THREADS / WARP), /* of a warp */
    MOST_SEQUENCES = AWQ_CUDA_MOST_GRID,
    SLICE = 128,           /* pairs of columns that are in shared memory at a time */
    PIECES = SLICE / WARP, /* of them a lane's */
    PITCH = SLICE + 1,     /* so that a column's rows lie in different banks */
    MOST_SLICES = 2        /* of the values, which are in registers */
};

/* Two elements that are next to each other, in one load. */
template <typename T> struct alignas(4) pair {
    T first, second;
};

typedef struct attention_shape {
    int64_t length, heads, kv_heads, head_dim, value_dim, window; /* none: the length */
    int pairs, value_pairs;                                       /* of a head */
    float scale, softcap;
    bool chunked;
    const float *sinks; /* [heads], or NULL */
} attention_shape;

/* What a warp knows of its queries. */
template <int SLICES> struct attention_state {
    float largest[QUERIES], sum[QUERIES];
    float y[QUERIES][SLICES * PIECES][2];
};

/* Pairs of a head of `pairs`, from `begin` on. */
__device__ static inline int slice_pairs(int pairs, int begin)
{
    return pairs - begin < SLICE ? pairs - begin : SLICE;
}

/* `pairs` of TILE rows of a sequence, from `first` on, zeros past its end. */
template <typename T>
__device__ static inline void load_tile(pair<T> (*tile)[PITCH], const T *from, int64_t stride,
                                        int64_t first, int pairs, const attention_shape &shape)
{
    const pair<T> zeros = {narrow<T>(0.0f), narrow<T>(0.0f)};
    for (int row = threadIdx.x / WARP; row < TILE; row += ATTENTION_THREADS / WARP) {
        const T *source = from + (first + row) * stride;
        bool inside = first + row < shape.length;
        for (int c = threadIdx.x % WARP; c < pairs; c += WARP)
            tile[row][c] = inside ? reinterpret_cast<const pair<T> *>(source)[c] : zeros;
    }
}

/* This lane's key against the warp's queries. */
template <typename T>
__device__ static inline void score_keys(float score[QUERIES], pair<T> (*q)[PITCH],
                                         pair<T> (*k)[PITCH], int pairs)
{
    int lane = threadIdx.x % WARP, first = threadIdx.x / WARP * QUERIES;
    for (int c = 0; c < pairs; c++) {
        pair<T> both = k[lane][c];
        float key = widen(both.first), next = widen(both.second);
        for (int i = 0; i < QUERIES; i++) {
            both = q[first + i][c];
            score[i] = fmaf(widen(both.first), key, score[i]);
            score[i] = fmaf(widen(both.second), next, score[i]);
        }
    }
}

__device__ static inline void scale_scores(float score[QUERIES], const attention_shape &shape)
{
    for (int i = 0; i < QUERIES; i++) score[i] *= shape.scale;
    for (int i = 0; shape.softcap > 0 && i < QUERIES; i++)
        score[i] = shape.softcap * tanhf(score[i] / shape.softcap);
}

/* How many keys the query at a position may see, its own the last. */
__device__ static inline int64_t reach(const attention_shape &shape, int64_t position)
{
    return shape.chunked ? position % shape.window + 1 : shape.window;
}

/* Scores to e^(score - largest); what is there already shrinks as the largest grows. `ahead`: how
 * far this lane's key is past the warp's first query; `seen_by`: the reach of the warp's. Of a tile
 * a query may see no key: all of it lies before its window. */
template <int SLICES>
__device__ static inline void soften(float score[QUERIES], attention_state<SLICES> *state,
                                     int64_t ahead, const int64_t *seen_by)
{
    for (int i = 0; i < QUERIES; i++) {
        bool seen = ahead <= i && i - ahead < seen_by[i];
        float largest = warp_max(seen ? score[i] : -INFINITY);
        largest = state->largest[i] > largest ? state->largest[i] : largest;
        float shrink = state->largest[i] == largest ? 1.0f : expf(state->largest[i] - largest);
        score[i] = seen ? expf(score[i] - largest) : 0.0f;
        state->sum[i] = state->sum[i] * shrink + warp_sum(score[i]);
        state->largest[i] = largest;
        for (int c = 0; c < SLICES * PIECES; c++) {
            state->y[i][c][0] *= shrink;
            state->y[i][c][1] *= shrink;
        }
    }
}

template <int SLICES, typename T>
__device__ static inline void add_values(attention_state<SLICES> *state, int slice,
                                         float (*p)[TILE], pair<T> (*v)[PITCH], int pairs)
{
    int lane = threadIdx.x % WARP, first = threadIdx.x / WARP * QUERIES;
    for (int t = 0; t < TILE; t++)
        for (int piece = 0; piece < PIECES; piece++) {
            int c = piece * WARP + lane;
            if (piece * WARP >= pairs) break;
            pair<T> both = v[t][c < pairs ? c : 0];
            float value = widen(both.first), next = widen(both.second);
            for (int i = 0; i < QUERIES; i++) {
                float *y = state->y[i][slice * PIECES + piece];
                y[0] = fmaf(p[first + i][t], value, y[0]);
                y[1] = fmaf(p[first + i][t], next, y[1]);
            }
        }
}

template <int SLICES, typename T>
__device__ static inline void store_queries(T *y, const attention_state<SLICES> &state,
                                            int64_t query, int64_t stride,
                                            const attention_shape &shape)
{
    int lane = threadIdx.x % WARP;
    for (int i = 0; i < QUERIES && query + i < shape.length; i++)
        for (int piece = 0; piece < SLICES * PIECES; piece++) {
            int c = piece * WARP + lane;
            const float *sum = state.y[i][piece];
            pair<T> both = {narrow<T>(sum[0] / state.sum[i]), narrow<T>(sum[1] / state.sum[i])};
            if (c < shape.value_pairs)
                reinterpret_cast<pair<T> *>(y + (query + i) * stride)[c] = both;
        }
}

/* SLICES: of the values, at most. With one, heads have one too. */
template <typename T, int SLICES>
__global__ static void __launch_bounds__(ATTENTION_THREADS, SLICES == 1 ? BLOCKS : 1)
    attention_kernel(T *y, const T *q, const T *k, const T *v, attention_shape shape)
{
    __shared__ pair<T> queries[TILE][PITCH];
    __shared__ pair<T> keys[TILE][PITCH]; /* then the values */
    __shared__ float p[TILE][TILE];
    __shared__ int64_t seen_by[TILE];
    int64_t kv_head = blockIdx.y / (shape.heads / shape.kv_heads);
    int64_t stride = shape.heads * shape.head_dim, y_stride = shape.heads * shape.value_dim;
    int64_t k_stride = shape.kv_heads * shape.head_dim;
    int64_t v_stride = shape.kv_heads * shape.value_dim, row = blockIdx.z * shape.length;
    q += row * stride + blockIdx.y * shape.head_dim;
    k += row * k_stride + kv_head * shape.head_dim;
    v += row * v_stride + kv_head * shape.value_dim;
    y += row * y_stride + blockIdx.y * shape.value_dim;
    /* The longest go first. */
    int64_t tile = (gridDim.x - 1 - static_cast<int64_t>(blockIdx.x)) * TILE;
    int warp_first = threadIdx.x / WARP * QUERIES, lane = threadIdx.x % WARP;
    attention_state<SLICES> state = {};
    float sink = shape.sinks ? shape.sinks[blockIdx.y] : -INFINITY;
    for (int i = 0; i < QUERIES; i++) {
        state.largest[i] = sink;
        state.sum[i] = sink > -INFINITY ? sink - sink + 1 : 0; /* of an infinite one NaN */
    }
    if (threadIdx.x < TILE) seen_by[threadIdx.x] = reach(shape, tile + threadIdx.x);
    if (SLICES == 1) load_tile(queries, q, stride, tile, shape.pairs, shape);
    int64_t first = tile < shape.window ? 0 : (tile + 1 - reach(shape, tile)) / TILE * TILE;
    for (int64_t key = first; key <= tile; key += TILE) {
        float score[QUERIES] = {};
        for (int begin = 0; begin < (SLICES == 1 ? 1 : shape.pairs); begin += SLICE) {
            int pairs = slice_pairs(shape.pairs, begin);
            if (begin) __syncthreads(); /* the last slice has been read */
            if (SLICES > 1) load_tile(queries, q + 2 * begin, stride, tile, pairs, shape);
            load_tile(keys, k + 2 * begin, k_stride, key, pairs, shape);
            __syncthreads();
            score_keys(score, queries, keys, pairs);
        }
        scale_scores(score, shape);
        soften(score, &state, key + lane - tile - warp_first, seen_by + warp_first);
        __syncthreads(); /* the keys have been read */
        for (int i = 0; i < QUERIES; i++) p[warp_first + i][lane] = score[i];
        CUDA_UNROLL for (int slice = 0; slice < SLICES; slice++)
        {
            int begin = slice * SLICE, pairs = slice_pairs(shape.value_pairs, begin);
            load_tile(keys, v + 2 * begin, v_stride, key, pairs, shape);
            __syncthreads();
            add_values(&state, slice, p, keys, pairs);
            __syncthreads();
        }
    }
    store_queries(y, state, tile + warp_first, y_stride, shape);
}

template <typename T, int SLICES>
static void launch_slices(cuda_device *self, T *y, const T *q, const T *k, const T *v,
                          int64_t sequences, attention_shape shape)
{
    int64_t kv_rows = shape.length * shape.kv_heads, rows = shape.length * shape.heads;
    for (int64_t first = 0; first < sequences; first += MOST_SEQUENCES) {
        dim3 grid(static_cast<unsigned>(cuda_blocks(shape.length, TILE)),
                  static_cast<unsigned>(shape.heads),
                  static_cast<unsigned>(cuda_min(MOST_SEQUENCES, sequences - first)));
        CUDA_LAUNCH(self, "attention", (attention_kernel<T, SLICES>), grid, ATTENTION_THREADS,
                    y + first * rows * shape.value_dim, q + first * rows * shape.head_dim,
                    k + first * kv_rows * shape.head_dim, v + first * kv_rows * shape.value_dim,
                    shape);
    }
}

template <typename T>
static void launch_attention(cuda_device *self, void *y, const void *q, const void *k,
                             const void *v, int64_t sequences, attention_shape shape)
{
    bool one = shape.pairs <= SLICE && shape.value_pairs <= SLICE;
    auto launch = one ? launch_slices<T, 1> : launch_slices<T, MOST_SLICES>;
    launch(self, static_cast<T *>(y), static_cast<const T *>(q), static_cast<const T *>(k),
           static_cast<const T *>(v), sequences, shape);
}

void attention_cuda(awq_device *device, void *y, const void *q, const void *k, const void *v,
                    int64_t sequences, int64_t length, const awq_attention_shape *shape)
{
    cuda_device *self = cuda_begin(device);
    if (!self || !sequences || !length) return;
    attention_shape own = {length,
                           shape->heads,
                           shape->kv_heads,
                           shape->head_dim,
                           shape->value_dim,
                           shape->window ? cuda_min(shape->window, length) : length,
                           static_cast<int>(shape->head_dim / 2),
                           static_cast<int>(shape->value_dim / 2),
                           shape->scale,
                           shape->softcap,
                           shape->chunked && shape->window && shape->window < length,
                           shape->sinks};
    if (shape->head_dim % 2 || shape->value_dim % 2)
        cuda_refuse(self, "attention", "heads of an odd number of channels");
    else if (own.value_pairs > MOST_SLICES * SLICE)
        cuda_refuse(self, "attention", "values of more than 512 channels; run with --backend cpu");
    else
        AWQ_BY_COMPUTE(self, launch_attention, y, q, k, v, sequences, own);
}
