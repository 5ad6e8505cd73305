/* SPDX-License-Identifier: MIT
 * io/checkpoint/expected.h - the tensors that a model must have, one after another. Inside io
 * only. */
#ifndef AWQ_IO_CHECKPOINT_EXPECTED_H
#define AWQ_IO_CHECKPOINT_EXPECTED_H

#include <stdbool.h>

#include "io/checkpoint/stored.h"

/* Visits every tensor of the model, full precision or quantized, in the order of the forward
 * pass. Which there must be follows from those that there are: experts one by one or stacked, a
 * weight alone or with its scales. */
void awq_expected_visit(const awq_model *model, const awq_checkpoint_tensors *tensors,
                        void (*visit)(const awq_expected *expected, void *context), void *context);

/* Whether the model has a tensor of this name: a visit of them all. */
bool awq_expected_has(const awq_model *model, const awq_checkpoint_tensors *tensors,
                      const char *name);

bool awq_expected_dtype_fits(const awq_expected *expected, awq_dtype dtype);
/* "F32, F16 or BF16" */
const char *awq_expected_dtype_text(const awq_expected *expected);

/* Buffers that old exporters wrote into the model, the head of a tied one, and what stands in
 * layers that read an earlier layer's: there or not, not read. */
bool awq_expected_ignores(const awq_model *model, const char *name);
/* What a float8 checkpoint holds for activations and the cache: likewise. */
bool awq_expected_scales_activations(const char *name);

#endif
