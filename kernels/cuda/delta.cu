/* SPDX-License-Identifier: MIT
 * kernels/cuda/delta.cu - the gated delta rule, token by token: S *= e^g, u = beta (v - S^T k),
 * S += k u^T, y = S^T q, with a state S [key_dim, value_dim] for each head of each sequence.
 *
 * A block is (SLICE columns of S, which have nothing to do with each other, head, sequence). S
 * stays in registers: COLUMNS columns are PARTS lanes', each with every PARTS-th row of them. The
 * tokens come by TOKENS through shared memory. Float32 throughout, on plain cores.
 *
 * 7 key_dim value_dim flops a token and head, for 4 (key_dim + value_dim) bytes: 2 to 6 % of the
 * flops of the layer's linears in published models. The chunked form (WY) pays on tensor cores
 * alone: 6 key_dim value_dim flops and, for chunks of C tokens, about 3.5 C (key_dim + value_dim)
 * more, and a triangular system of C rows. There q, k, u and S would be rounded to 11 bits or 8, S
 * once a chunk all along the sequence; this is the definition itself. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/verbs.h"

enum {
    DELTA_THREADS = 128,
    TOKENS = 16,
    MOST_KEYS = 128, /* rows of S */
    PARTS = 8,       /* lanes that share a column */
    ROWS = MOST_KEYS / PARTS,
    COLUMNS = 4, /* of a lane */
    SLICE = DELTA_THREADS / PARTS * COLUMNS
};

typedef struct delta_shape {
    int64_t length, heads, key_heads, key_dim, value_dim;
    const float *decay, *step;
} delta_shape;

template <typename T> struct delta_input {
    const T *q, *k, *v, *b, *a;
};

/* A head's next tokens. */
typedef struct delta_chunk {
    float q[TOKENS][MOST_KEYS], k[TOKENS][MOST_KEYS]; /* normalized, zeros beyond key_dim */
    float v[TOKENS][SLICE];                           /* zeros beyond value_dim */
    float beta[TOKENS], shrink[TOKENS];               /* shrink is e^g */
} delta_chunk;

/* One head of a row of q or k, times scale, over its length. A warp calls it. */
template <typename T>
__device__ static inline void normalize_head(float *to, const T *from, int64_t dim, float scale)
{
    int lane = threadIdx.x % WARP;
    float x[MOST_KEYS / WARP], sum = 0;
    CUDA_UNROLL for (int i = 0; i < MOST_KEYS / WARP; i++)
    {
        int c = i * WARP + lane;
        x[i] = c < dim ? widen(from[c]) : 0.0f;
        sum = fmaf(x[i], x[i], sum);
    }
    float factor = scale / sqrtf(warp_sum(sum) + 1e-6f);
    CUDA_UNROLL for (int i = 0; i < MOST_KEYS / WARP; i++) to[i * WARP + lane] = x[i] * factor;
}

__device__ static inline float softplus(float x)
{
    return x > 20.0f ? x : log1pf(expf(x));
}

/* The `count` tokens from `row` on. */
template <typename T>
__device__ static inline void load_chunk(delta_chunk *chunk, const delta_input<T> &in, int64_t row,
                                         int64_t count, const delta_shape &shape)
{
    int64_t head = blockIdx.y, key_head = head / (shape.heads / shape.key_heads);
    int64_t first = static_cast<int64_t>(blockIdx.z) * SLICE;
    float scale = 1.0f / sqrtf(static_cast<float>(shape.key_dim));
    for (int t = threadIdx.x / WARP; t < count; t += DELTA_THREADS / WARP) {
        int64_t at = ((row + t) * shape.key_heads + key_head) * shape.key_dim;
        normalize_head(chunk->q[t], in.q + at, shape.key_dim, scale);
        normalize_head(chunk->k[t], in.k + at, shape.key_dim, 1.0f);
    }
    for (int i = threadIdx.x; i < count * SLICE; i += DELTA_THREADS) {
        int t = i / SLICE, c = i % SLICE;
        const T *v = in.v + ((row + t) * shape.heads + head) * shape.value_dim + first;
        chunk->v[t][c] = first + c < shape.value_dim ? widen(v[c]) : 0.0f;
    }
    if (threadIdx.x < count) {
        int64_t at = (row + threadIdx.x) * shape.heads + head;
        float g = -expf(shape.decay[head]) * softplus(widen(in.a[at]) + shape.step[head]);
        chunk->beta[threadIdx.x] = 1.0f / (1.0f + expf(-widen(in.b[at])));
        chunk->shrink[threadIdx.x] = expf(g);
    }
}

/* The sum over the lanes that share columns. */
__device__ static inline float parts_sum(float x)
{
    for (int width = PARTS / 2; width; width /= 2) x += __shfl_xor_sync(ALL_LANES, x, width);
    return x;
}

/* One token: y of this lane's columns, in all lanes that share them. */
__device__ static inline void delta_step(float y[COLUMNS], float state[ROWS][COLUMNS],
                                         const delta_chunk &chunk, int token, int column)
{
    int part = threadIdx.x % PARTS;
    float k[ROWS], u[COLUMNS] = {}, beta = chunk.beta[token], shrink = chunk.shrink[token];
    CUDA_UNROLL for (int i = 0; i < ROWS; i++)
    {
        k[i] = chunk.k[token][i * PARTS + part];
        CUDA_UNROLL for (int c = 0; c < COLUMNS; c++)
        {
            state[i][c] *= shrink;
            u[c] = fmaf(state[i][c], k[i], u[c]);
        }
    }
    CUDA_UNROLL for (int c = 0; c < COLUMNS; c++)
    {
        u[c] = beta * (chunk.v[token][column + c] - parts_sum(u[c]));
        y[c] = 0;
    }
    CUDA_UNROLL for (int i = 0; i < ROWS; i++)
    {
        float q = chunk.q[token][i * PARTS + part];
        CUDA_UNROLL for (int c = 0; c < COLUMNS; c++)
        {
            state[i][c] = fmaf(k[i], u[c], state[i][c]);
            y[c] = fmaf(state[i][c], q, y[c]);
        }
    }
    CUDA_UNROLL for (int c = 0; c < COLUMNS; c++) y[c] = parts_sum(y[c]);
}

template <typename T>
__global__ static void __launch_bounds__(DELTA_THREADS)
    delta_kernel(T *all, delta_input<T> in, delta_shape shape)
{
    __shared__ delta_chunk chunk;
    float state[ROWS][COLUMNS] = {};
    int part = threadIdx.x % PARTS, column = threadIdx.x / PARTS * COLUMNS;
    int64_t begin = blockIdx.x * shape.length, own = blockIdx.z * SLICE + column + part;
    for (int64_t first = 0; first < shape.length; first += TOKENS) {
        int64_t row = begin + first, left = shape.length - first, most = TOKENS;
        int count = static_cast<int>(left < most ? left : most);
        __syncthreads(); /* the last chunk has been read */
        load_chunk(&chunk, in, row, count, shape);
        __syncthreads();
        for (int t = 0; t < count; t++) {
            float y[COLUMNS];
            delta_step(y, state, chunk, t, column);
            float value = y[0];
            CUDA_UNROLL for (int c = 1; c < COLUMNS; c++) value = part == c ? y[c] : value;
            T *to = all + ((row + t) * shape.heads + blockIdx.y) * shape.value_dim;
            if (part < COLUMNS && own < shape.value_dim) to[own] = narrow<T>(value);
        }
    }
}

template <typename T>
static void launch_delta(cuda_device *self, void *y, const void *const in[5], int64_t sequences,
                         delta_shape shape)
{
    delta_input<T> input = {static_cast<const T *>(in[0]), static_cast<const T *>(in[1]),
                            static_cast<const T *>(in[2]), static_cast<const T *>(in[3]),
                            static_cast<const T *>(in[4])};
    dim3 grid(static_cast<unsigned>(sequences), static_cast<unsigned>(shape.heads),
              static_cast<unsigned>(cuda_blocks(shape.value_dim, SLICE)));
    CUDA_LAUNCH(self, "gated_delta", (delta_kernel<T>), grid, DELTA_THREADS, static_cast<T *>(y),
                input, shape);
}

void gated_delta_cuda(awq_device *device, void *y, const void *q, const void *k, const void *v,
                      const void *b, const void *a, int64_t sequences, int64_t length,
                      const awq_delta_shape *shape)
{
    cuda_device *self = cuda_begin(device);
    const void *const in[] = {q, k, v, b, a};
    delta_shape own = {length,           shape->heads, shape->key_heads, shape->key_dim,
                       shape->value_dim, shape->decay, shape->step};
    if (!self) return;
    if (shape->key_dim > MOST_KEYS)
        cuda_refuse(self, "gated_delta", "keys of more than 128 channels; run with --backend cpu");
    else
        AWQ_BY_COMPUTE(self, launch_delta, y, in, sequences, own);
}
