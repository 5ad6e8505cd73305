/* SPDX-License-Identifier: MIT */
#include "worker/flow/lane.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A few items a second pass, so that one mutex and one condition do for all lanes; and so an order
 * wakes everybody, whatever lanes there are. */
struct awq_lanes {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    awq_order order;
};

typedef struct node {
    struct node *next;
    int64_t a, b;
    max_align_t item[];
} node;

struct awq_lane {
    awq_lanes *lanes;
    awq_until until;
    size_t capacity, item_bytes;

    /* under the lanes' mutex */
    node *first, **end;
    size_t occupied;
    awq_error why; /* status AWQ_OK: not ended */
};

awq_lanes *awq_lanes_create(void)
{
    awq_lanes *lanes = calloc(1, sizeof *lanes);
    if (!lanes) return NULL;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&lanes->mutex, NULL);
    pthread_cond_init(&lanes->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return lanes;
}

void awq_lanes_free(awq_lanes *lanes)
{
    if (!lanes) return;
    pthread_cond_destroy(&lanes->changed);
    pthread_mutex_destroy(&lanes->mutex);
    free(lanes);
}

static void lock(awq_lanes *lanes)
{
    pthread_mutex_lock(&lanes->mutex);
}

static void unlock(awq_lanes *lanes, bool changed)
{
    if (changed) pthread_cond_broadcast(&lanes->changed);
    pthread_mutex_unlock(&lanes->mutex);
}

void awq_lanes_close(awq_lanes *lanes, awq_order order)
{
    lock(lanes);
    if (order > lanes->order) lanes->order = order;
    unlock(lanes, true);
}

awq_order awq_lanes_order(awq_lanes *lanes)
{
    lock(lanes);
    awq_order order = lanes->order;
    unlock(lanes, false);
    return order;
}

bool awq_lanes_wait(awq_lanes *lanes, double seconds)
{
    struct timespec end;
    int late = 0;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += (time_t)seconds;
    end.tv_nsec += (long)(1e9 * (seconds - (double)(time_t)seconds));
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    lock(lanes);
    while (!lanes->order && !late)
        late = pthread_cond_timedwait(&lanes->changed, &lanes->mutex, &end);
    bool told = lanes->order != AWQ_CARRY_ON;
    unlock(lanes, false);
    return told;
}

awq_lane *awq_lane_create(awq_lanes *lanes, awq_until until, size_t capacity, size_t item_bytes)
{
    awq_lane *lane = calloc(1, sizeof *lane);
    if (!lane) return NULL;
    *lane =
        (awq_lane){.lanes = lanes, .until = until, .capacity = capacity, .item_bytes = item_bytes};
    lane->end = &lane->first;
    return lane;
}

void awq_lane_free(awq_lane *lane)
{
    if (!lane) return;
    while (lane->first) {
        node *next = lane->first->next;
        free(lane->first);
        lane->first = next;
    }
    free(lane);
}

/* ---- putting and taking; the mutex is held ---- */

static bool is_closed(const awq_lane *lane)
{
    return lane->lanes->order >= (lane->until == AWQ_UNTIL_DRAIN ? AWQ_DRAIN : AWQ_STOP);
}

/* Whether a lane that has nothing for the caller will never have; *err says why. */
static bool is_over(const awq_lane *lane, awq_error *err)
{
    if (lane->why.status)
        *err = lane->why;
    else if (is_closed(lane))
        awq_fail(err, AWQ_ERR_INTERRUPTED, "stopped by the coordinator");
    else
        return false;
    return true;
}

/* What is asked of a lane: any item, or one with these numbers. */
typedef struct item_wanted {
    bool any;
    int64_t a, b;
} item_wanted;

/* Moves the oldest such item to `out`. */
static bool move_out(awq_lane *lane, const item_wanted *wanted, void *out)
{
    node **link = &lane->first, *found;
    while (*link && !wanted->any && ((*link)->a != wanted->a || (*link)->b != wanted->b))
        link = &(*link)->next;
    if (!(found = *link)) return false;
    *link = found->next;
    if (!*link) lane->end = link;
    if (lane->item_bytes) memcpy(out, found->item, lane->item_bytes);
    free(found);
    return true;
}

static awq_status take(awq_lane *lane, const item_wanted *wanted, void *out, awq_error *err)
{
    bool taken = false, over = false;
    lock(lane->lanes);
    while (!taken && !over) {
        bool gives = lane->until == AWQ_UNTIL_EMPTY || !is_closed(lane);
        taken = gives && move_out(lane, wanted, out);
        over = !taken && is_over(lane, err);
        if (!taken && !over) pthread_cond_wait(&lane->lanes->changed, &lane->lanes->mutex);
    }
    unlock(lane->lanes, false);
    return taken ? AWQ_OK : err->status;
}

static bool take_at_once(awq_lane *lane, const item_wanted *wanted, void *out)
{
    lock(lane->lanes);
    bool taken = move_out(lane, wanted, out);
    unlock(lane->lanes, false);
    return taken;
}

awq_status awq_lane_put(awq_lane *lane, int64_t a, int64_t b, const void *item, awq_error *err)
{
    node *added = malloc(sizeof *added + lane->item_bytes);
    if (!added) return awq_fail(err, AWQ_ERR_MEMORY, "no memory to hand something over");
    *added = (node){.a = a, .b = b};
    if (lane->item_bytes) memcpy(added->item, item, lane->item_bytes);
    bool over;
    lock(lane->lanes);
    while (!(over = is_over(lane, err)) && lane->capacity && lane->occupied == lane->capacity)
        pthread_cond_wait(&lane->lanes->changed, &lane->lanes->mutex);
    if (!over) {
        *lane->end = added;
        lane->end = &added->next;
        lane->occupied++;
    }
    unlock(lane->lanes, !over);
    if (over) free(added);
    return over ? err->status : AWQ_OK;
}

awq_status awq_lane_take(awq_lane *lane, void *out, awq_error *err)
{
    return take(lane, &(item_wanted){.any = true}, out, err);
}

awq_status awq_lane_take_numbered(awq_lane *lane, int64_t a, int64_t b, void *out, awq_error *err)
{
    return take(lane, &(item_wanted){.a = a, .b = b}, out, err);
}

bool awq_lane_find(awq_lane *lane, int64_t a, int64_t b, void *out)
{
    return take_at_once(lane, &(item_wanted){.a = a, .b = b}, out);
}

bool awq_lane_drain(awq_lane *lane, void *out)
{
    return lane && take_at_once(lane, &(item_wanted){.any = true}, out);
}

void awq_lane_done(awq_lane *lane)
{
    lock(lane->lanes);
    lane->occupied--;
    unlock(lane->lanes, true);
}

void awq_lane_fail(awq_lane *lane, const awq_error *why)
{
    lock(lane->lanes);
    if (!lane->why.status) lane->why = *why;
    unlock(lane->lanes, true);
}

void awq_lane_end(awq_lane *lane)
{
    awq_error why;
    awq_fail(&why, AWQ_ERR_INTERRUPTED, "nothing more comes");
    awq_lane_fail(lane, &why);
}
