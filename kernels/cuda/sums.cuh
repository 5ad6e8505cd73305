/* SPDX-License-Identifier: MIT
 * kernels/cuda/sums.cuh - sums of float64 parts on the device, in an order that their number
 * fixes. */
#ifndef AWQ_KERNELS_CUDA_SUMS_CUH
#define AWQ_KERNELS_CUDA_SUMS_CUH

#include "kernels/cuda/device.cuh"

/* sum[c] += sum over parts of part[parts, cols]. */
void cuda_add_parts(cuda_device *self, const char *verb, double *sum, const double *part,
                    int64_t parts, int64_t cols);

/* sum[i], host, = the sum of the i-th `each` parts, by way of to [count] on the device, which may
 * be `part` where count is 1. Waits. */
awq_status cuda_sums(cuda_device *self, const char *verb, double *to, const double *part,
                     int64_t each, int64_t count, double *sum, awq_error *err);

#endif
