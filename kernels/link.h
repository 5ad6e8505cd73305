/* SPDX-License-Identifier: MIT
 * kernels/link.h - a one-way link from one process's GPU to another's, past host memory.
 *
 * A backend that has links fills in awq_backend.links (NCCL: kernels/cuda/link.cu). The receiving
 * process makes an id and brings it to the sending one by other means; then both open their end,
 * and every send meets a receive of as many bytes, in the same order. An end belongs to one thread
 * and to that thread's own handle on its device. After an error an end can only be closed, which
 * the other end then hears of. */
#ifndef AWQ_KERNELS_LINK_H
#define AWQ_KERNELS_LINK_H

#include <stdbool.h>
#include <stddef.h>

#include "io/core/error.h"

struct awq_device;

typedef struct awq_link awq_link;

typedef enum awq_link_end { AWQ_LINK_SENDS, AWQ_LINK_RECEIVES } awq_link_end;

enum { AWQ_LINK_ID_BYTES = 128 };

typedef struct awq_link_id {
    char bytes[AWQ_LINK_ID_BYTES];
} awq_link_id;

/* Whether to go on waiting for the other end: asked several times a millisecond. Anything but
 * AWQ_OK, with *err, is what the waiting ends with. */
typedef struct awq_patience {
    awq_status (*ask)(void *context, awq_error *err);
    void *context;
} awq_patience;

typedef struct awq_links {
    /* Whether the library is here; AWQ_ERR_DEVICE says what is missing. */
    awq_status (*load)(awq_error *err);
    awq_status (*make_id)(awq_link_id *out, awq_error *err);
    /* Waits for the other end. */
    awq_status (*open)(struct awq_device *device, const awq_link_id *id, awq_link_end end,
                       const awq_patience *patience, awq_link **out, awq_error *err);
    /* `array` is on the device, and complete: no verb is still at work on it. Returns when it has
     * been sent, or received. */
    awq_status (*send)(awq_link *link, const void *array, size_t bytes,
                       const awq_patience *patience, awq_error *err);
    awq_status (*receive)(awq_link *link, void *array, size_t bytes, const awq_patience *patience,
                          awq_error *err);
    /* orderly: both ends have done all that they will; else the other end is cut off. NULL is fine.
     */
    void (*close)(awq_link *link, bool orderly);
} awq_links;

#endif
