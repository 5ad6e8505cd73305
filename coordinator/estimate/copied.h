/* SPDX-License-Identifier: MIT
 * coordinator/estimate/copied.h - what stands beside the text model and is copied as it is: a line
 * of the plan, or all of it (`awqrun plan --copied`). */
#ifndef AWQ_COORDINATOR_ESTIMATE_COPIED_H
#define AWQ_COORDINATOR_ESTIMATE_COPIED_H

#include <stdio.h>

#include "io/checkpoint/checkpoint.h"

/* "copied  412 tensors, 1.30 GB, as they are: vision_tower, ..."; nothing where there are none. */
void awq_copied_print(FILE *file, const awq_checkpoint *checkpoint);
/* A line each, in the order in which they are written, and the sum. */
void awq_copied_print_list(FILE *file, const awq_checkpoint *checkpoint);
/* {"tensors", "bytes"}, and with `list` "list": [{"name", "dtype", "shape", "bytes"}]; NULL: no
 * memory. */
json_t *awq_copied_json(const awq_checkpoint *checkpoint, bool list);

#endif
