/* SPDX-License-Identifier: MIT
 * worker/flow/lane.h - a hand-over from one thread to another: all that threads of a worker wait
 * for each other by.
 *
 * A lane holds items of one size, copied in and out, each with two numbers. All lanes of a worker
 * share one order, which STOP and DRAIN give: it wakes whoever waits, at once. */
#ifndef AWQ_WORKER_FLOW_LANE_H
#define AWQ_WORKER_FLOW_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/core/error.h"

typedef enum awq_order { AWQ_CARRY_ON, AWQ_DRAIN, AWQ_STOP } awq_order;

typedef struct awq_lanes awq_lanes; /* all of a worker's */

/* NULL: no memory. */
awq_lanes *awq_lanes_create(void);
/* Its lanes are freed. NULL is fine. */
void awq_lanes_free(awq_lanes *lanes);
/* Closes the lanes that end with this order, those made later too; an order is never taken back. */
void awq_lanes_close(awq_lanes *lanes, awq_order order);
awq_order awq_lanes_order(awq_lanes *lanes);
/* Waits until told to drain or stop, at most `seconds`; false: it was not. */
bool awq_lanes_wait(awq_lanes *lanes, double seconds);

/* Until when a lane works. A closed one gives AWQ_ERR_INTERRUPTED to those who put and take. */
typedef enum awq_until {
    AWQ_UNTIL_DRAIN,
    AWQ_UNTIL_STOP,
    AWQ_UNTIL_EMPTY /* nothing is put after STOP, but what is there is taken */
} awq_until;

typedef struct awq_lane awq_lane;

/* `capacity`: items at most, from when they are put until whoever took one says that it is done; 0:
 * any number, and nobody says so. NULL: no memory. */
awq_lane *awq_lane_create(awq_lanes *lanes, awq_until until, size_t capacity, size_t item_bytes);
/* Drain it first, if items own anything; no thread may be waiting. NULL is fine. */
void awq_lane_free(awq_lane *lane);

/* Waits while there is no room. On failure the item remains the caller's. */
awq_status awq_lane_put(awq_lane *lane, int64_t a, int64_t b, const void *item, awq_error *err);
/* Waits for the oldest item. */
awq_status awq_lane_take(awq_lane *lane, void *out, awq_error *err);
/* Waits for the oldest item with these two numbers. */
awq_status awq_lane_take_numbered(awq_lane *lane, int64_t a, int64_t b, void *out, awq_error *err);
/* The same if it is there; never waits. */
bool awq_lane_find(awq_lane *lane, int64_t a, int64_t b, void *out);
/* An item is finished with that was taken from a lane with a capacity. */
void awq_lane_done(awq_lane *lane);

/* Nothing more is put. What is there may be taken; then, and to whoever puts, the lane gives `why`,
 * the first one. */
void awq_lane_fail(awq_lane *lane, const awq_error *why);
/* The same with AWQ_ERR_INTERRUPTED: all has been put, or nobody is there to take it. */
void awq_lane_end(awq_lane *lane);
/* Takes what is left, whether closed or not; false: nothing. */
bool awq_lane_drain(awq_lane *lane, void *out);

#endif
