/* SPDX-License-Identifier: MIT
 * io/checkpoint/stored.h - which tensors a linear is stored in, of those that there are, and of
 * which shape they must be. Inside io only. */
#ifndef AWQ_IO_CHECKPOINT_STORED_H
#define AWQ_IO_CHECKPOINT_STORED_H

#include "io/checkpoint/parts.h"
#include "io/checkpoint/weight.h"

/* A tensor that there must be. */
typedef struct awq_expected {
    awq_part_type type; /* EXACT: tensor.dtype */
    awq_tensor tensor;  /* name, dtype, dims and shape are set; the name lives during the visit */
    const char *of;     /* the tensor that it is the scales of; NULL: of none */
} awq_expected;

/* The weight of a linear of a model that is not quantized; false: it has none. */
bool awq_weight_find(const awq_checkpoint_tensors *tensors, const awq_model *model, int64_t layer,
                     int linear, awq_weight *out);
bool awq_bias_find(const awq_checkpoint_tensors *tensors, const awq_model *model, int64_t layer,
                   int linear, awq_weight *out);

/* A piece of a layer's vector, under its name or its alias; NULL: there is none. */
const awq_tensor *awq_vector_find(const awq_checkpoint_tensors *tensors, const awq_model *model,
                                  int64_t layer, int vector, int piece);

/* The index-th tensor that it must have; false: there are no more. `name` is room for one that is
 * missing. Integers are checked with the quantized model that they are of. */
bool awq_weight_expected(const awq_weight *weight, int64_t index, awq_expected *out,
                         char name[AWQ_NAME_BYTES]);
/* The same for a bias. */
awq_expected awq_bias_expected(const awq_weight *bias);

/* Whether a tensor is called a linear's scales, and what it would scale is missing, or no float8.
 */
bool awq_weight_is_stray_scale(const awq_checkpoint_tensors *tensors, const char *name);

#endif
