/* SPDX-License-Identifier: MIT
 * io/records/tensor_sums_layout.h - the writer's side of io/records/tensor_sums.h. Inside io only.
 */
#ifndef AWQ_IO_RECORDS_TENSOR_SUMS_LAYOUT_H
#define AWQ_IO_RECORDS_TENSOR_SUMS_LAYOUT_H

#include "io/files/h5.h"
#include "io/records/tensor_sums.h"

#define AWQ_STATISTICS_EXPECTED "the statistics of a checkpoint"

/* Writes /tensors into an open file. */
bool awq_tensor_sums_put(hid_t file, const awq_tensor_sums *sums);

#endif
