/* SPDX-License-Identifier: MIT
 * kernels/cuda/rope.cu - rotary embedding, in place on d = rope_dim channels of each head of
 * x [rows, heads, head_dim], from `first` on: a pair (a, b), x[j] and x[j + d/2] or x[2j] and
 * x[2j + 1], becomes (a cos - b sin, b cos + a sin). Moves 4 bytes an element. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/verbs.h"

typedef struct rope_shape {
    int64_t pairs, heads, head_dim, half, length, first;
    int64_t step, apart; /* from pair to pair, and of a pair */
} rope_shape;

/* A thread a pair. */
template <typename T>
__global__ static void rope_kernel(T *x, const float *cosine, const float *sine, rope_shape shape)
{
    for (int64_t i = grid_thread(); i < shape.pairs; i += grid_stride()) {
        int64_t j = i % shape.half, head = i / shape.half; /* of all rows' heads */
        int64_t angle = head / shape.heads % shape.length * shape.half + j;
        T *a = x + head * shape.head_dim + shape.first + j * shape.step, *b = a + shape.apart;
        float first = widen(*a), second = widen(*b), c = cosine[angle], s = sine[angle];
        *a = narrow<T>(first * c - second * s);
        *b = narrow<T>(second * c + first * s);
    }
}

template <typename T>
static void launch_rope(cuda_device *self, void *x, const float *cosine, const float *sine,
                        rope_shape shape)
{
    CUDA_LAUNCH(self, "rope", (rope_kernel<T>), element_blocks(shape.pairs), ELEMENT_THREADS,
                static_cast<T *>(x), cosine, sine, shape);
}

void rope_cuda(awq_device *device, void *x, const float *cos, const float *sin, int64_t rows,
               const awq_rope_shape *shape)
{
    cuda_device *self = cuda_begin(device);
    int64_t turned = shape->rope_dim / 2;
    rope_shape own = {rows * shape->heads * turned,
                      shape->heads,
                      shape->head_dim,
                      turned,
                      shape->length,
                      shape->first,
                      shape->interleaved ? 2 : 1,
                      shape->interleaved ? 1 : turned};
    if (self && rows) AWQ_BY_COMPUTE(self, launch_rope, x, cos, sin, own);
}
