/* SPDX-License-Identifier: MIT
 * kernels/cuda/sums.cuh - sums of float64 parts on the device, in an order that their number
 * fixes. */
#ifndef AWQ_KERNELS_CUDA_SUMS_CUH
#define AWQ_KERNELS_CUDA_SUMS_CUH

#include "kernels/cuda/device.cuh"

/* sum[c] += sum over parts of part[parts, cols]. */
void cuda_add_parts(cuda_device *self, const char *verb, double *sum, const double *part,
                    int64_t parts, int64_t cols);

/* All parts, to the host. Waits. Destroys part[0]. */
awq_status cuda_sum(cuda_device *self, const char *verb, double *part, int64_t count, double *sum,
                    awq_error *err);

#endif
