/* SPDX-License-Identifier: MIT
 * kernels/cuda/attention.cu - causal attention: y = softmax(q k^T / sqrt(d)) v, each sequence
 * alone.
 *
 * A block is (TILE queries, head, sequence): it goes through the keys in tiles up to its last
 * query's, with the running maximum and sum of each query (online softmax; flash attention's), so
 * that no score leaves the chip. A warp has QUERIES queries; of a tile's scores each lane computes
 * one key, of the output each lane has every 32nd column. Float32 throughout, on plain cores.
 * 2 length^2 d flops a head and sequence; reads k and v length / TILE / 2 times, from L2.
 * A NaN or infinity in v reaches every query of its block (0 times NaN): visible, never hidden. */
#include <math.h>

#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/verbs.h"

enum {
    TILE = 32, /* queries of a block, keys of a step */
    ATTENTION_THREADS = 256,
    QUERIES = TILE / (ATTENTION_THREADS / WARP), /* of a warp */
    MOST_DIM = 256,
    PIECES = MOST_DIM / WARP, /* columns of a lane */
    PITCH = MOST_DIM + 2      /* so that a column's rows lie in different banks */
};

typedef struct attention_shape {
    int64_t length, heads, kv_heads, head_dim;
    float scale;
} attention_shape;

/* What a warp knows of its queries. */
typedef struct attention_state {
    float largest[QUERIES], sum[QUERIES];
    float y[QUERIES][PIECES];
} attention_state;

/* TILE rows of `dim` elements from `first` on, zeros past the sequence's end. */
template <typename T>
__device__ static inline void load_tile(T (*tile)[PITCH], const T *from, int64_t stride,
                                        int64_t first, const attention_shape &shape)
{
    for (int row = threadIdx.x / WARP; row < TILE; row += ATTENTION_THREADS / WARP) {
        const T *source = from + (first + row) * stride;
        bool inside = first + row < shape.length;
        for (int c = threadIdx.x % WARP; c < shape.head_dim; c += WARP)
            tile[row][c] = inside ? source[c] : narrow<T>(0.0f);
    }
}

/* This lane's key against the warp's queries. */
template <typename T>
__device__ static inline void score_keys(float score[QUERIES], T (*q)[PITCH], T (*k)[PITCH],
                                         const attention_shape &shape)
{
    int lane = threadIdx.x % WARP, first = threadIdx.x / WARP * QUERIES;
    for (int i = 0; i < QUERIES; i++) score[i] = 0;
    for (int c = 0; c < shape.head_dim; c++) {
        float key = widen(k[lane][c]);
        for (int i = 0; i < QUERIES; i++) score[i] = fmaf(widen(q[first + i][c]), key, score[i]);
    }
    for (int i = 0; i < QUERIES; i++) score[i] *= shape.scale;
}

/* Scores to e^(score - largest); what is there already shrinks as the largest grows. `ahead`: how
 * far this lane's key is past the warp's first query. */
__device__ static inline void soften(float score[QUERIES], attention_state *state, int64_t ahead)
{
    for (int i = 0; i < QUERIES; i++) {
        bool past = ahead <= i;
        float largest = warp_max(past ? score[i] : -INFINITY);
        largest = state->largest[i] > largest ? state->largest[i] : largest;
        float shrink = state->largest[i] == largest ? 1.0f : expf(state->largest[i] - largest);
        score[i] = past ? expf(score[i] - largest) : 0.0f;
        state->sum[i] = state->sum[i] * shrink + warp_sum(score[i]);
        state->largest[i] = largest;
        for (int c = 0; c < PIECES; c++) state->y[i][c] *= shrink;
    }
}

template <typename T>
__device__ static inline void add_values(attention_state *state, float (*p)[TILE], T (*v)[PITCH],
                                         const attention_shape &shape)
{
    int lane = threadIdx.x % WARP, first = threadIdx.x / WARP * QUERIES;
    for (int t = 0; t < TILE; t++)
        for (int piece = 0; piece < PIECES; piece++) {
            int c = piece * WARP + lane;
            if (piece * WARP >= shape.head_dim) break;
            float value = c < shape.head_dim ? widen(v[t][c]) : 0.0f;
            for (int i = 0; i < QUERIES; i++)
                state->y[i][piece] = fmaf(p[first + i][t], value, state->y[i][piece]);
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
            if (c < shape.head_dim)
                y[(query + i) * stride + c] = narrow<T>(state.y[i][piece] / state.sum[i]);
        }
}

template <typename T>
__global__ static void __launch_bounds__(ATTENTION_THREADS)
    attention_kernel(T *y, const T *q, const T *k, const T *v, attention_shape shape)
{
    __shared__ T queries[TILE][PITCH];
    __shared__ T keys[TILE][PITCH]; /* then the values */
    __shared__ float p[TILE][TILE];
    int64_t kv_head = blockIdx.y / (shape.heads / shape.kv_heads);
    int64_t stride = shape.heads * shape.head_dim, kv_stride = shape.kv_heads * shape.head_dim;
    int64_t at = blockIdx.z * shape.length * stride + blockIdx.y * shape.head_dim;
    int64_t kv_at = blockIdx.z * shape.length * kv_stride + kv_head * shape.head_dim;
    /* The longest go first. */
    int64_t tile = (gridDim.x - 1 - static_cast<int64_t>(blockIdx.x)) * TILE;
    int warp_first = threadIdx.x / WARP * QUERIES, lane = threadIdx.x % WARP;
    attention_state state = {};
    for (int i = 0; i < QUERIES; i++) state.largest[i] = -INFINITY;
    load_tile(queries, q + at, stride, tile, shape);
    for (int64_t key = 0; key <= tile; key += TILE) {
        float score[QUERIES];
        load_tile(keys, k + kv_at, kv_stride, key, shape);
        __syncthreads();
        score_keys(score, queries, keys, shape);
        soften(score, &state, key + lane - tile - warp_first);
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
    dim3 grid(static_cast<unsigned>(cuda_blocks(shape.length, TILE)),
              static_cast<unsigned>(shape.heads), static_cast<unsigned>(sequences));
    CUDA_LAUNCH(self, "attention", (attention_kernel<T>), grid, ATTENTION_THREADS,
                static_cast<T *>(y), static_cast<const T *>(q), static_cast<const T *>(k),
                static_cast<const T *>(v), shape);
}

void attention_cuda(awq_device *device, void *y, const void *q, const void *k, const void *v,
                    int64_t sequences, int64_t length, int64_t heads, int64_t kv_heads,
                    int64_t head_dim)
{
    cuda_device *self = cuda_begin(device);
    if (!self || !sequences || !length) return;
    attention_shape shape = {length, heads, kv_heads, head_dim,
                             static_cast<float>(1.0 / sqrt(static_cast<double>(head_dim)))};
    if (head_dim > MOST_DIM)
        cuda_refuse(self, "attention", "heads of more than 256 channels; run with --backend cpu");
    else
        AWQ_BY_COMPUTE(self, launch_attention, y, q, k, v, sequences, shape);
}
