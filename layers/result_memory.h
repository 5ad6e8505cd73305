/* SPDX-License-Identifier: MIT
 * layers/result_memory.h - host memory for the codes of a layer, kept from one layer to the next.
 *
 * A layer has hundreds of megabytes of codes. New memory is faulted in page by page, which took
 * 0.7 s of a 70B layer on an H200's host, and a device copies to it by way of a buffer. This is
 * asked of the device, which copies straight to it, and there are two pieces: one is written to
 * disk while the other is filled. */
#ifndef AWQ_LAYERS_RESULT_MEMORY_H
#define AWQ_LAYERS_RESULT_MEMORY_H

#include "kernels/backend.h"

typedef struct awq_result_memory awq_result_memory;

/* By the thread that the device belongs to, like _take and _free; the device is borrowed until
 * then. Allocates nothing yet. */
awq_status awq_result_memory_create(awq_device *device, awq_result_memory **out, awq_error *err);
/* All pieces are back. NULL is fine. */
void awq_result_memory_free(awq_result_memory *memory);

/* A piece of at least `bytes`, contents undefined, until it is given back; at most two at a time.
 */
awq_status awq_result_memory_take(awq_result_memory *memory, size_t bytes, void **out,
                                  awq_error *err);
/* By any thread. */
void awq_result_memory_give(awq_result_memory *memory, void *piece);

#endif
