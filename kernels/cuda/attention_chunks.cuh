/* SPDX-License-Identifier: MIT
 * kernels/cuda/attention_chunks.cuh - a block of attention, and how what it reads comes to shared
 * memory: chunks of TILE rows and columns of q, k and v, zeros beyond their ends, one on its way
 * while the one before it is multiplied. */
#ifndef AWQ_KERNELS_CUDA_ATTENTION_CHUNKS_CUH
#define AWQ_KERNELS_CUDA_ATTENTION_CHUNKS_CUH

#include "kernels/cuda/mma.cuh"

enum {
    TILE = 64, /* queries of a block, keys of a step, columns of a chunk */
    ATTENTION_THREADS = 128,
    PITCH = TILE + 8, /* so that 16 bytes of eight rows lie in different banks */
    BUFFERS = 2,      /* one is read, the next chunk is on its way to the other */
    RESIDENT = 3      /* chunks of queries that stay: of wider heads they come with the keys' */
};

typedef struct attention_shape {
    int64_t heads, kv_heads, head_dim, value_dim;
    int length, window; /* none: the length */
    int key_chunks;     /* of a head */
    float scale, softcap;
    bool chunked;
    bool aligned;       /* rows begin on 16 bytes */
    const float *sinks; /* [heads], or NULL */
} attention_shape;

template <typename T> struct alignas(16) attention_memory {
    T queries[RESIDENT][TILE][PITCH];
    T chunks[BUFFERS][TILE][PITCH];
};

/* A block's: a tile of queries of one head, and some columns of its values. */
template <typename T> struct attention_part {
    attention_memory<T> *memory;
    const T *q, *k, *v; /* of the sequence's first token */
    T *y;
    int64_t q_stride, k_stride, v_stride, y_stride;
    int tile, first_key; /* positions */
    int columns;         /* of the values, from v on */
    int chunks;          /* of a step: keys', then values' */
};

typedef struct chunk_place {
    int key, chunk; /* of a step's */
    int buffer;
} chunk_place;

/* [TILE, TILE] of a matrix that has `rows` and `columns` left; zeros beyond them. */
template <int BYTES, typename T>
__device__ static inline void copy_pieces(T (*to)[PITCH], const T *from, int64_t stride, int rows,
                                          int columns)
{
    const int piece = BYTES / sizeof(T), pieces = TILE / piece;
    for (int i = threadIdx.x; i < TILE * pieces; i += ATTENTION_THREADS) {
        int row = i / pieces, column = i % pieces * piece;
        bool inside = row < rows && column < columns;
        copy_async<BYTES>(&to[row][column], inside ? from + row * stride + column : from, inside);
    }
}

template <typename T>
__device__ static inline void copy_chunk(T (*to)[PITCH], const T *from, int64_t stride, int rows,
                                         int columns, bool aligned)
{
    if (aligned)
        copy_pieces<16>(to, from, stride, rows, columns);
    else
        copy_pieces<4>(to, from, stride, rows, columns);
}

/* Where a chunk of the queries is while `buffer` has the keys'. */
__device__ static inline int query_place(const attention_shape &shape, int chunk, int buffer)
{
    return shape.key_chunks <= RESIDENT ? chunk : buffer;
}

template <typename T>
__device__ static inline void start_chunk(const attention_part<T> &part, chunk_place next,
                                          const attention_shape &shape)
{
    int rows = shape.length - next.key, column = next.chunk * TILE;
    T(*to)[PITCH] = part.memory->chunks[next.buffer];
    if (next.chunk < shape.key_chunks) {
        int columns = static_cast<int>(shape.head_dim) - column;
        copy_chunk(to, part.k + next.key * part.k_stride + column, part.k_stride, rows, columns,
                   shape.aligned);
        if (next.key == part.first_key || shape.key_chunks > RESIDENT)
            copy_chunk(part.memory->queries[query_place(shape, next.chunk, next.buffer)],
                       part.q + part.tile * part.q_stride + column, part.q_stride,
                       shape.length - part.tile, columns, shape.aligned);
    } else {
        column -= shape.key_chunks * TILE;
        copy_chunk(to, part.v + next.key * part.v_stride + column, part.v_stride, rows,
                   part.columns - column, shape.aligned);
    }
    copies_commit();
}

/* Waits for the chunk that is on its way, sends for the one after it, and returns the buffer. */
template <typename T>
__device__ static inline int next_chunk(const attention_part<T> &part, chunk_place *coming,
                                        const attention_shape &shape)
{
    int buffer = coming->buffer;
    copies_wait<0>();
    __syncthreads(); /* all of it is there, and the other buffer has been read */
    coming->buffer ^= 1;
    if (++coming->chunk == part.chunks) {
        coming->chunk = 0;
        coming->key += TILE;
    }
    if (coming->key <= part.tile) start_chunk(part, *coming, shape);
    return buffer;
}

#endif
