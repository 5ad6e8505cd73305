/* SPDX-License-Identifier: MIT
 * layers/forward/tensor_load.h - from a checkpoint's tensors to device arrays. */
#ifndef AWQ_LAYERS_FORWARD_TENSOR_LOAD_H
#define AWQ_LAYERS_FORWARD_TENSOR_LOAD_H

#include "io/checkpoint/checkpoint.h"
#include "kernels/backend.h"

/* Device arrays for one linear of a quantized checkpoint on its way to weights. */
typedef struct awq_staging {
    uint8_t *codes;   /* [out, in] */
    uint8_t *zeros;   /* [out, groups] */
    uint16_t *scales; /* [out, groups] */
} awq_staging;

/* A quantized linear's weight to a device matrix of the compute type, refused if a scale is not
 * finite. */
awq_status awq_packed_load(awq_device *device, const awq_checkpoint *checkpoint, int64_t layer,
                           int linear, const awq_staging *staging, void *weight, awq_error *err);

/* A tensor of any weight dtype, plus `offset`, to a device vector of float32, refused if it is not
 * finite. */
awq_status awq_vector_load(awq_device *device, const awq_tensor *tensor, float offset, float *to,
                           awq_error *err);

/* A tensor [rows, columns] to a device matrix of the compute type, likewise. */
awq_status awq_matrix_load(awq_device *device, const awq_tensor *tensor, void *to, awq_error *err);

/* The same of a linear of a checkpoint that is not quantized, however it is stored; through a small
 * buffer where it cannot be read in place. */
awq_status awq_weight_load(awq_device *device, const awq_weight *weight, void *to, awq_error *err);

/* Its bias to a device vector of float32, likewise. */
awq_status awq_bias_load(awq_device *device, const awq_weight *bias, float *to, awq_error *err);

/* A tensor that is copied rather than loaded, likewise. */
awq_status awq_tensor_check_finite(const awq_tensor *tensor, awq_error *err);

#endif
