/* SPDX-License-Identifier: MIT
 * kernels/cuda/fold.cu - folded[o, i] = w[o, i] * columns[i] / rows[o], and back. Moves 6 bytes an
 * element. */
#include "kernels/cuda/compute.cuh"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/verbs.h"

template <typename T>
__global__ static void fold_kernel(float *folded, const T *w, const float *columns,
                                   const float *rows, awq_extent extent)
{
    int64_t count = extent.out * extent.in;
    for (int64_t i = grid_thread(); i < count; i += grid_stride()) {
        float value = widen(w[i]);
        if (columns) value = __fmul_rn(value, columns[i % extent.in]);
        folded[i] = rows ? __fdiv_rn(value, rows[i / extent.in]) : value;
    }
}

template <typename T>
static void launch_fold(cuda_device *self, float *folded, const void *w, const float *columns,
                        const float *rows, awq_extent extent)
{
    CUDA_LAUNCH(self, "fold", (fold_kernel<T>), element_blocks(extent.out * extent.in),
                ELEMENT_THREADS, folded, static_cast<const T *>(w), columns, rows, extent);
}

void fold_cuda(awq_device *device, float *folded, const void *w, const float *columns,
               const float *rows, awq_extent extent)
{
    cuda_device *self = cuda_begin(device);
    if (self) AWQ_BY_COMPUTE(self, launch_fold, folded, w, columns, rows, extent);
}

template <typename T>
__global__ static void unfold_kernel(T *w, const float *folded, const float *columns,
                                     const float *rows, awq_extent extent)
{
    int64_t count = extent.out * extent.in;
    for (int64_t i = grid_thread(); i < count; i += grid_stride()) {
        float value = folded[i];
        if (columns) value = __fdiv_rn(value, columns[i % extent.in]);
        w[i] = narrow<T>(rows ? __fmul_rn(value, rows[i / extent.in]) : value);
    }
}

template <typename T>
static void launch_unfold(cuda_device *self, void *w, const float *folded, const float *columns,
                          const float *rows, awq_extent extent)
{
    CUDA_LAUNCH(self, "unfold", (unfold_kernel<T>), element_blocks(extent.out * extent.in),
                ELEMENT_THREADS, static_cast<T *>(w), folded, columns, rows, extent);
}

void unfold_cuda(awq_device *device, void *w, const float *folded, const float *columns,
                 const float *rows, awq_extent extent)
{
    cuda_device *self = cuda_begin(device);
    if (self) AWQ_BY_COMPUTE(self, launch_unfold, w, folded, columns, rows, extent);
}
