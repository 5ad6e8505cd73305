/* SPDX-License-Identifier: MIT
 * io/checkpoint/expected.h - the tensors that a model must have, one after another. Inside io
 * only. */
#ifndef AWQ_IO_CHECKPOINT_EXPECTED_H
#define AWQ_IO_CHECKPOINT_EXPECTED_H

#include <stdbool.h>

#include "io/files/safetensors.h"
#include "io/formats/format.h"
#include "io/model/model.h"

typedef struct awq_expected {
    awq_part_type type; /* EXACT: tensor.dtype */
    awq_tensor tensor;  /* name, dtype, dims and shape are set; the name lives during the visit */
} awq_expected;

/* Visits every tensor of the model, full precision or quantized, in the order of the forward
 * pass. */
void awq_expected_visit(const awq_model *model,
                        void (*visit)(const awq_expected *expected, void *context), void *context);

/* Whether the model has a tensor of this name: a visit of them all. */
bool awq_expected_has(const awq_model *model, const char *name);

bool awq_expected_dtype_fits(const awq_expected *expected, awq_dtype dtype);
/* "F32, F16 or BF16" */
const char *awq_expected_dtype_text(const awq_expected *expected);

/* Buffers that old exporters wrote into the model, and the head of a tied one: there or not, not
 * read. */
bool awq_expected_ignores(const awq_model *model, const char *name);

#endif
