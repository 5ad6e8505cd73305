/* SPDX-License-Identifier: MIT
 * kernels/cuda/attention.cu - causal attention: y = softmax(cap(scale q k^T)) v, each sequence
 * alone.
 *
 * A block is (TILE queries, head, sequence): it goes through the keys in tiles from its first
 * query's window up to its last query, with the running maximum and sum of each query (online
 * softmax; flash attention's), so that no score leaves the chip. A sink is what they begin with. A
 * warp has QUERIES queries; of a tile's scores each lane computes one key, of the output each lane
 * has every 32nd pair of columns: shared memory is read in pairs, since its loads are what this
 * kernel waits for. Float32 throughout, on plain cores. 2 length^2 d flops a head and sequence,
 * with a window at most 4 length (window + TILE) d; reads k and v length / TILE / 2 times at most,
 * from L2. A NaN or infinity in v reaches every query of its block (0 times NaN): visible, never
 * hidden. */
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
    MOST_DIM = 256,
    PIECES = MOST_DIM / 2 / WARP, /* pairs of columns of a lane */
    PITCH = MOST_DIM / 2 + 1      /* pairs; so that a column's rows lie in different banks */
};

/* Two elements that are next to each other, in one load. */
template <typename T> struct alignas(4) pair {
    T first, second;
};

typedef struct attention_shape {
    int64_t length, heads, kv_heads, head_dim, window; /* none: the length */
    int pairs;                                         /* of a head */
    float scale, softcap;
    bool chunked;
    const float *sinks; /* [heads], or NULL */
} attention_shape;

/* What a warp knows of its queries. */
typedef struct attention_state {
    float largest[QUERIES], sum[QUERIES];
    float y[QUERIES][PIECES][2];
} attention_state;

/* TILE rows from `first` on, zeros past the sequence's end. */
template <typename T>
__device__ static inline void load_tile(pair<T> (*tile)[PITCH], const T *from, int64_t stride,
                                        int64_t first, const attention_shape &shape)
{
    const pair<T> zeros = {narrow<T>(0.0f), narrow<T>(0.0f)};
    for (int row = threadIdx.x / WARP; row < TILE; row += ATTENTION_THREADS / WARP) {
        const T *source = from + (first + row) * stride;
        bool inside = first + row < shape.length;
        for (int c = threadIdx.x % WARP; c < shape.pairs; c += WARP)
            tile[row][c] = inside ? reinterpret_cast<const pair<T> *>(source)[c] : zeros;
    }
}

/* This lane's key against the warp's queries. */
template <typename T>
__device__ static inline void score_keys(float score[QUERIES], pair<T> (*q)[PITCH],
                                         pair<T> (*k)[PITCH], const attention_shape &shape)
{
    int lane = threadIdx.x % WARP, first = threadIdx.x / WARP * QUERIES;
    for (int i = 0; i < QUERIES; i++) score[i] = 0;
    for (int c = 0; c < shape.pairs; c++) {
        pair<T> both = k[lane][c];
        float key = widen(both.first), next = widen(both.second);
        for (int i = 0; i < QUERIES; i++) {
            both = q[first + i][c];
            score[i] = fmaf(widen(both.first), key, score[i]);
            score[i] = fmaf(widen(both.second), next, score[i]);
        }
    }
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
__device__ static inline void soften(float score[QUERIES], attention_state *state, int64_t ahead,
                                     const int64_t *seen_by)
{
    for (int i = 0; i < QUERIES; i++) {
        bool seen = ahead <= i && i - ahead < seen_by[i];
        float largest = warp_max(seen ? score[i] : -INFINITY);
        largest = state->largest[i] > largest ? state->largest[i] : largest;
        float shrink = state->largest[i] == largest ? 1.0f : expf(state->largest[i] - largest);
        score[i] = seen ? expf(score[i] - largest) : 0.0f;
        state->sum[i] = state->sum[i] * shrink + warp_sum(score[i]);
        state->largest[i] = largest;
        for (int c = 0; c < PIECES; c++) {
            state->y[i][c][0] *= shrink;
            state->y[i][c][1] *= shrink;
        }
    }
}

template <typename T>
__device__ static inline void add_values(attention_state *state, float (*p)[TILE],
                                         pair<T> (*v)[PITCH], const attention_shape &shape)
{
    int lane = threadIdx.x % WARP, first = threadIdx.x / WARP * QUERIES;
    for (int t = 0; t < TILE; t++)
        for (int piece = 0; piece < PIECES; piece++) {
            int c = piece * WARP + lane;
            if (piece * WARP >= shape.pairs) break;
            pair<T> both = v[t][c < shape.pairs ? c : 0];
            float value = widen(both.first), next = widen(both.second);
            for (int i = 0; i < QUERIES; i++) {
                float *y = state->y[i][piece];
                y[0] = fmaf(p[first + i][t], value, y[0]);
                y[1] = fmaf(p[first + i][t], next, y[1]);
            }
        }
}

template <typename T>
__device__ static inline void store_queries(T *y, const attention_state &state, int64_t query,
                                            int64_t stride, const attention_shape &shape)
{
    int lane = threadIdx.x % WARP;
    for (int i = 0; i < QUERIES && query + i < shape.length; i++)
        for (int piece = 0; piece < PIECES; piece++) {
            int c = piece * WARP + lane;
            const float *sum = state.y[i][piece];
            pair<T> both = {narrow<T>(sum[0] / state.sum[i]), narrow<T>(sum[1] / state.sum[i])};
            if (c < shape.pairs) reinterpret_cast<pair<T> *>(y + (query + i) * stride)[c] = both;
        }
}

template <typename T>
__global__ static void __launch_bounds__(ATTENTION_THREADS, BLOCKS)
    attention_kernel(T *y, const T *q, const T *k, const T *v, attention_shape shape)
{
    __shared__ pair<T> queries[TILE][PITCH];
    __shared__ pair<T> keys[TILE][PITCH]; /* then the values */
    __shared__ float p[TILE][TILE];
    __shared__ int64_t seen_by[TILE];
    int64_t kv_head = blockIdx.y / (shape.heads / shape.kv_heads);
    int64_t stride = shape.heads * shape.head_dim, kv_stride = shape.kv_heads * shape.head_dim;
    int64_t at = blockIdx.z * shape.length * stride + blockIdx.y * shape.head_dim;
    int64_t kv_at = blockIdx.z * shape.length * kv_stride + kv_head * shape.head_dim;
    /* The longest go first. */
    int64_t tile = (gridDim.x - 1 - static_cast<int64_t>(blockIdx.x)) * TILE;
    int warp_first = threadIdx.x / WARP * QUERIES, lane = threadIdx.x % WARP;
    attention_state state = {};
    float sink = shape.sinks ? shape.sinks[blockIdx.y] : -INFINITY;
    for (int i = 0; i < QUERIES; i++) {
        state.largest[i] = sink;
        state.sum[i] = sink > -INFINITY ? sink - sink + 1 : 0; /* of an infinite one NaN */
    }
    if (threadIdx.x < TILE) seen_by[threadIdx.x] = reach(shape, tile + threadIdx.x);
    load_tile(queries, q + at, stride, tile, shape);
    int64_t first = tile < shape.window ? 0 : (tile + 1 - reach(shape, tile)) / TILE * TILE;
    for (int64_t key = first; key <= tile; key += TILE) {
        float score[QUERIES];
        load_tile(keys, k + kv_at, kv_stride, key, shape);
        __syncthreads();
        score_keys(score, queries, keys, shape);
        soften(score, &state, key + lane - tile - warp_first, seen_by + warp_first);
        __syncthreads(); /* the keys have been read */
        for (int i = 0; i < QUERIES; i++) p[warp_first + i][lane] = score[i];
        load_tile(keys, v + kv_at, kv_stride, key, shape);
        __syncthreads();
        add_values(&state, p, keys, shape);
        __syncthreads();
    }
    store_queries(y + at, state, tile + warp_first, stride, shape);
}

template <typename T>
static void launch_attention(cuda_device *self, void *y, const void *q, const void *k,
                             const void *v, int64_t sequences, attention_shape shape)
{
    int64_t q_step = shape.length * shape.heads * shape.head_dim;
    int64_t kv_step = shape.length * shape.kv_heads * shape.head_dim;
    for (int64_t first = 0; first < sequences; first += MOST_SEQUENCES) {
        dim3 grid(static_cast<unsigned>(cuda_blocks(shape.length, TILE)),
                  static_cast<unsigned>(shape.heads),
                  static_cast<unsigned>(cuda_min(MOST_SEQUENCES, sequences - first)));
        CUDA_LAUNCH(self, "attention", (attention_kernel<T>), grid, ATTENTION_THREADS,
                    static_cast<T *>(y) + first * q_step,
                    static_cast<const T *>(q) + first * q_step,
                    static_cast<const T *>(k) + first * kv_step,
                    static_cast<const T *>(v) + first * kv_step, shape);
    }
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
                           shape->window ? cuda_min(shape->window, length) : length,
                           static_cast<int>(shape->head_dim / 2),
                           shape->scale,
                           shape->softcap,
                           shape->chunked && shape->window && shape->window < length,
                           shape->sinks};
    if (shape->head_dim % 2)
        cuda_refuse(self, "attention", "heads of an odd number of channels");
    else if (shape->head_dim > MOST_DIM)
        cuda_refuse(self, "attention", "heads of more than 256 channels; run with --backend cpu");
    else
        AWQ_BY_COMPUTE(self, launch_attention, y, q, k, v, sequences, own);
}
