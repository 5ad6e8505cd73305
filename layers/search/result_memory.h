/* SPDX-License-Identifier: MIT
 * layers/search/result_memory.h - host memory for the codes of layers: two pieces in turn, of which
 * one is packed and written while the other is filled.
 *
 * A layer has hundreds of megabytes of packed codes. New memory is faulted in page by page, at 1.2
 * GB/s on the host of an H200, and a device copies to it by way of a buffer. This is asked of the
 * device, which copies straight to it, and once: getting 0.9 GB took 0.4 s there, and may wait for
 * all of the GPU, so it is done before links between workers are open. */
#ifndef AWQ_LAYERS_SEARCH_RESULT_MEMORY_H
#define AWQ_LAYERS_SEARCH_RESULT_MEMORY_H

#include "kernels/backend.h"

typedef struct awq_result_memory awq_result_memory;

/* Two pieces of `bytes`. By the thread that the device belongs to, like _free; the device is
 * borrowed until then. */
awq_status awq_result_memory_create(awq_device *device, size_t bytes, awq_result_memory **out,
                                    awq_error *err);
/* All pieces are back. NULL is fine. */
void awq_result_memory_free(awq_result_memory *memory);

/* A piece of at least `bytes`, contents undefined, until it is given back. By any thread, both. */
awq_status awq_result_memory_take(awq_result_memory *memory, size_t bytes, void **out,
                                  awq_error *err);
void awq_result_memory_give(awq_result_memory *memory, void *piece);

#endif
