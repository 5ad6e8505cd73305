/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/unit/io/scratch.h"
#include "worker/flow/lane.h"

enum { THREADS = 4, ITEMS = 2000 };

static awq_lanes *lanes;

static int setup(void **state)
{
    (void)state;
    lanes = awq_lanes_create();
    return lanes ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    awq_lanes_free(lanes);
    return 0;
}

static awq_lane *make(awq_until until, size_t capacity)
{
    awq_lane *lane = awq_lane_create(lanes, until, capacity, sizeof(int));
    assert_non_null(lane);
    return lane;
}

static void put(awq_lane *lane, int64_t a, int64_t b, int item)
{
    awq_error err;
    assert_int_equal(awq_lane_put(lane, a, b, &item, &err), AWQ_OK);
}

static void expect(awq_lane *lane, int item)
{
    awq_error err;
    int taken = -1;
    assert_int_equal(awq_lane_take(lane, &taken, &err), AWQ_OK);
    assert_int_equal(taken, item);
}

static void expect_numbered(awq_lane *lane, int64_t a, int64_t b, int item)
{
    awq_error err;
    int taken = -1;
    assert_int_equal(awq_lane_take_numbered(lane, a, b, &taken, &err), AWQ_OK);
    assert_int_equal(taken, item);
}

static void expect_closed(awq_lane *lane)
{
    awq_error err;
    int item = 7;
    assert_int_equal(awq_lane_take(lane, &item, &err), AWQ_ERR_INTERRUPTED);
    assert_int_equal(awq_lane_take_numbered(lane, 1, 1, &item, &err), AWQ_ERR_INTERRUPTED);
    assert_int_equal(awq_lane_put(lane, 1, 1, &item, &err), AWQ_ERR_INTERRUPTED);
    assert_int_equal(item, 7);
}

static void a_moment(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

/* ---- one thread ---- */

static void items_come_out_as_they_went_in(void **state)
{
    (void)state;
    awq_lane *lane = make(AWQ_UNTIL_STOP, 0);
    for (int i = 0; i < 5; i++) put(lane, 0, 0, i);
    for (int i = 0; i < 5; i++) expect(lane, i);
    put(lane, 7, 7, 7);
    expect(lane, 7);
    awq_lane_free(lane);
}

static void numbered_items_are_found_anywhere(void **state)
{
    (void)state;
    int item = -1;
    awq_lane *lane = make(AWQ_UNTIL_STOP, 0);
    for (int i = 0; i < 4; i++) put(lane, i / 2, i % 2, i);
    expect_numbered(lane, 1, 1, 3); /* the last */
    put(lane, 9, 9, 9);
    assert_false(awq_lane_find(lane, 1, 1, &item));
    assert_true(awq_lane_find(lane, 0, 1, &item)); /* in the middle */
    assert_int_equal(item, 1);
    expect_numbered(lane, 0, 0, 0); /* the first */
    expect(lane, 2);
    expect(lane, 9);
    put(lane, 5, 5, 5);
    expect_numbered(lane, 5, 5, 5); /* the only one */
    put(lane, 6, 6, 6);
    expect(lane, 6);
    awq_lane_free(lane);
}

static void of_equal_numbers_the_oldest_comes_first(void **state)
{
    (void)state;
    awq_lane *lane = make(AWQ_UNTIL_STOP, 0);
    for (int i = 0; i < 3; i++) put(lane, 1, 2, i);
    for (int i = 0; i < 3; i++) expect_numbered(lane, 1, 2, i);
    awq_lane_free(lane);
}

static void an_item_may_be_nothing(void **state)
{
    (void)state;
    awq_error err;
    awq_lane *lane = awq_lane_create(lanes, AWQ_UNTIL_STOP, 0, 0);
    assert_int_equal(awq_lane_put(lane, 0, 0, NULL, &err), AWQ_OK);
    assert_int_equal(awq_lane_take(lane, NULL, &err), AWQ_OK);
    assert_false(awq_lane_drain(lane, NULL));
    awq_lane_free(lane);
    awq_lane_free(NULL);
    assert_false(awq_lane_drain(NULL, NULL));
}

static void an_order_closes_the_lanes_that_end_with_it(void **state)
{
    (void)state;
    int left = -1;
    awq_lane *flow = make(AWQ_UNTIL_DRAIN, 0), *tasks = make(AWQ_UNTIL_STOP, 0);
    put(flow, 1, 1, 1);
    put(tasks, 1, 1, 2);
    assert_int_equal(awq_lanes_order(lanes), AWQ_CARRY_ON);
    awq_lanes_close(lanes, AWQ_DRAIN);
    expect_closed(flow);
    put(tasks, 1, 1, 3);
    expect(tasks, 2);
    awq_lanes_close(lanes, AWQ_STOP);
    awq_lanes_close(lanes, AWQ_DRAIN);
    assert_int_equal(awq_lanes_order(lanes), AWQ_STOP);
    expect_closed(tasks);
    assert_true(awq_lane_drain(tasks, &left));
    assert_int_equal(left, 3);
    assert_false(awq_lane_drain(tasks, &left));
    awq_lane_free(flow); /* with what is in it */
    awq_lane_free(tasks);
}

static void a_lane_made_after_stop_is_closed(void **state)
{
    (void)state;
    awq_lanes_close(lanes, AWQ_STOP);
    awq_lane *lane = make(AWQ_UNTIL_DRAIN, 1);
    expect_closed(lane);
    awq_lane_free(lane);
}

static void a_lane_until_empty_gives_what_it_has_after_stop(void **state)
{
    (void)state;
    awq_lane *lane = make(AWQ_UNTIL_EMPTY, 0);
    put(lane, 1, 1, 1);
    awq_lanes_close(lanes, AWQ_DRAIN);
    put(lane, 1, 1, 2);
    awq_lanes_close(lanes, AWQ_STOP);
    expect(lane, 1);
    expect(lane, 2);
    expect_closed(lane);
    awq_lane_free(lane);
}

static void a_failed_lane_gives_what_it_has_and_then_says_why(void **state)
{
    (void)state;
    awq_error why, err;
    int item = 0;
    awq_lane *lane = make(AWQ_UNTIL_STOP, 0);
    put(lane, 3, 3, 3);
    awq_fail(&why, AWQ_ERR_IO, "the disk is gone");
    awq_lane_fail(lane, &why);
    awq_lane_end(lane); /* the first counts */
    assert_int_equal(awq_lane_put(lane, 0, 0, &item, &err), AWQ_ERR_IO);
    assert_int_equal(awq_lane_take_numbered(lane, 0, 0, &item, &err), AWQ_ERR_IO);
    expect(lane, 3);
    assert_int_equal(awq_lane_take(lane, &item, &err), AWQ_ERR_IO);
    assert_string_equal(err.text, "the disk is gone");
    awq_lane_free(lane);
}

static void waiting_for_an_order_ends_in_time(void **state)
{
    (void)state;
    assert_false(awq_lanes_wait(lanes, 0.02));
    awq_lanes_close(lanes, AWQ_DRAIN);
    assert_true(awq_lanes_wait(lanes, 60));
}

/* ---- several threads ---- */

typedef struct party {
    awq_lane *lane;
    int64_t number;
    atomic_int *got; /* [THREADS * ITEMS] */
    awq_error err;
    atomic_int wrong;
    atomic_bool returned;
} party;

static void *produce(void *argument)
{
    party *self = argument;
    for (int i = 0; i < ITEMS; i++) {
        int item = (int)self->number * ITEMS + i;
        if (awq_lane_put(self->lane, self->number, i, &item, &self->err)) self->wrong++;
    }
    return NULL;
}

/* What one consumer sees of one producer is in order. */
static void *consume(void *argument)
{
    party *self = argument;
    int last[THREADS] = {-1, -1, -1, -1}, item;
    while (!awq_lane_take(self->lane, &item, &self->err)) {
        if (item <= last[item / ITEMS]) self->wrong++;
        last[item / ITEMS] = item;
        self->got[item]++;
        awq_lane_done(self->lane);
    }
    return NULL;
}

/* Waits for the items of one number, from the last to the first. */
static void *consume_backwards(void *argument)
{
    party *self = argument;
    for (int i = ITEMS; i-- > 0;) {
        int item = -1;
        if (awq_lane_take_numbered(self->lane, self->number, i, &item, &self->err)) self->wrong++;
        if (item != (int)self->number * ITEMS + i) self->wrong++;
    }
    return NULL;
}

static void *take_one(void *argument)
{
    party *self = argument;
    int item;
    if (self->number < 0)
        awq_lane_take(self->lane, &item, &self->err);
    else
        awq_lane_take_numbered(self->lane, self->number, 0, &item, &self->err);
    atomic_store(&self->returned, true);
    return NULL;
}

static void *put_one(void *argument)
{
    party *self = argument;
    int item = (int)self->number;
    if (!awq_lane_put(self->lane, self->number, 0, &item, &self->err)) self->err.status = AWQ_OK;
    atomic_store(&self->returned, true);
    return NULL;
}

static void start(pthread_t *thread, void *(*run)(void *), party *self)
{
    assert_int_equal(pthread_create(thread, NULL, run, self), 0);
}

static void join_all(pthread_t *threads, party *parties, int count)
{
    for (int i = 0; i < count; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(parties[i].wrong, 0);
    }
}

/* capacity 0: any number. */
static void pass_through(size_t capacity)
{
    pthread_t producers[THREADS], consumers[THREADS];
    party out[THREADS] = {0}, in[THREADS] = {0};
    atomic_int *got = calloc(THREADS * ITEMS, sizeof *got);
    awq_lane *lane = make(AWQ_UNTIL_STOP, capacity);
    assert_non_null(got);
    for (int i = 0; i < THREADS; i++) {
        in[i].lane = out[i].lane = lane;
        in[i].got = got;
        out[i].number = i;
        start(&consumers[i], consume, &in[i]);
        start(&producers[i], produce, &out[i]);
    }
    join_all(producers, out, THREADS);
    awq_lane_end(lane);
    join_all(consumers, in, THREADS);
    for (int i = 0; i < THREADS * ITEMS; i++) assert_int_equal(got[i], 1);
    awq_lane_free(lane);
    free(got);
}

static void every_item_of_many_threads_is_taken_once(void **state)
{
    (void)state;
    pass_through(0);
    pass_through(1);
    pass_through(3);
}

static void who_waits_for_a_number_gets_no_other(void **state)
{
    (void)state;
    pthread_t producers[THREADS], consumers[THREADS];
    party out[THREADS] = {0}, in[THREADS] = {0};
    awq_lane *lane = make(AWQ_UNTIL_STOP, 0);
    for (int i = 0; i < THREADS; i++) {
        in[i].lane = out[i].lane = lane;
        in[i].number = out[i].number = i;
        start(&consumers[i], consume_backwards, &in[i]);
        start(&producers[i], produce, &out[i]);
    }
    join_all(producers, out, THREADS);
    join_all(consumers, in, THREADS);
    awq_lane_free(lane);
}

static void a_full_lane_has_room_when_an_item_is_done(void **state)
{
    (void)state;
    pthread_t thread;
    awq_lane *lane = make(AWQ_UNTIL_STOP, 2);
    party third = {.lane = lane, .number = 3};
    put(lane, 1, 0, 1);
    put(lane, 2, 0, 2);
    start(&thread, put_one, &third);
    a_moment();
    assert_false(third.returned);
    expect(lane, 1); /* taken, and in use */
    a_moment();
    assert_false(third.returned);
    awq_lane_done(lane);
    join_all(&thread, &third, 1);
    assert_int_equal(third.err.status, AWQ_OK);
    expect(lane, 2);
    expect(lane, 3);
    awq_lane_free(lane);
}

/* Two wait for any item, two for a number, and on a full lane four to put. */
static void all_who_wait_are_woken_by(void (*end)(awq_lane *lane), awq_status status)
{
    pthread_t takers[THREADS], putters[THREADS];
    party in[THREADS] = {0}, out[THREADS] = {0};
    awq_lane *empty = make(AWQ_UNTIL_STOP, 0), *full = make(AWQ_UNTIL_EMPTY, 1);
    put(full, 0, 0, 0);
    for (int i = 0; i < THREADS; i++) {
        in[i] = (party){.lane = empty, .number = i - 2};
        out[i] = (party){.lane = full, .number = i};
        start(&takers[i], take_one, &in[i]);
        start(&putters[i], put_one, &out[i]);
    }
    a_moment();
    for (int i = 0; i < THREADS; i++) assert_false(in[i].returned || out[i].returned);
    end(empty);
    end(full);
    join_all(takers, in, THREADS);
    join_all(putters, out, THREADS);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(in[i].err.status, status);
        assert_int_equal(out[i].err.status, status);
    }
    awq_lane_free(empty);
    awq_lane_free(full);
}

static void lose_the_disk(awq_lane *lane)
{
    awq_error why;
    awq_fail(&why, AWQ_ERR_IO, "the disk is gone");
    awq_lane_fail(lane, &why);
}

static void stop_all(awq_lane *lane)
{
    (void)lane;
    awq_lanes_close(lanes, AWQ_STOP);
}

static void failing_wakes_takers_and_putters(void **state)
{
    (void)state;
    all_who_wait_are_woken_by(lose_the_disk, AWQ_ERR_IO);
}

static void ending_wakes_takers_and_putters(void **state)
{
    (void)state;
    all_who_wait_are_woken_by(awq_lane_end, AWQ_ERR_INTERRUPTED);
}

static void stop_wakes_takers_and_putters_of_all_lanes(void **state)
{
    (void)state;
    all_who_wait_are_woken_by(stop_all, AWQ_ERR_INTERRUPTED);
}

#define lane_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        lane_test(items_come_out_as_they_went_in),
        lane_test(numbered_items_are_found_anywhere),
        lane_test(of_equal_numbers_the_oldest_comes_first),
        lane_test(an_item_may_be_nothing),
        lane_test(an_order_closes_the_lanes_that_end_with_it),
        lane_test(a_lane_made_after_stop_is_closed),
        lane_test(a_lane_until_empty_gives_what_it_has_after_stop),
        lane_test(a_failed_lane_gives_what_it_has_and_then_says_why),
        lane_test(waiting_for_an_order_ends_in_time),
        lane_test(every_item_of_many_threads_is_taken_once),
        lane_test(who_waits_for_a_number_gets_no_other),
        lane_test(a_full_lane_has_room_when_an_item_is_done),
        lane_test(failing_wakes_takers_and_putters),
        lane_test(ending_wakes_takers_and_putters),
        lane_test(stop_wakes_takers_and_putters_of_all_lanes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
