/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "tests/unit/io/scratch.h"
#include "worker/queue.h"

enum { THREADS = 4, LETTERS = 2000 };

static int setup(void **state)
{
    *state = awq_queue_create();
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    awq_queue_free(*state);
    return 0;
}

static void put(awq_queue *queue, int64_t a, int64_t b)
{
    awq_letter *letter = awq_letter_create(1, a, b, 16);
    assert_non_null(letter);
    assert_true(awq_queue_put(queue, letter));
}

static void expect(awq_letter *letter, int64_t a, int64_t b)
{
    assert_non_null(letter);
    assert_int_equal(letter->a, a);
    assert_int_equal(letter->b, b);
    awq_letter_free(letter);
}

static void a_moment(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

/* ---- one thread ---- */

static void letters_come_out_as_they_went_in(void **state)
{
    for (int i = 0; i < 5; i++) put(*state, i, -i);
    for (int i = 0; i < 5; i++) expect(awq_queue_take(*state), i, -i);
    put(*state, 7, 7);
    expect(awq_queue_take(*state), 7, 7);
}

static void numbered_letters_are_found_anywhere(void **state)
{
    for (int i = 0; i < 4; i++) put(*state, i / 2, i % 2);
    expect(awq_queue_take_numbered(*state, 1, 1), 1, 1); /* the last */
    put(*state, 9, 9);
    expect(awq_queue_take_numbered(*state, 0, 1), 0, 1); /* in the middle */
    expect(awq_queue_take_numbered(*state, 0, 0), 0, 0); /* the first */
    expect(awq_queue_take(*state), 1, 0);
    expect(awq_queue_take(*state), 9, 9);
    put(*state, 5, 5);
    expect(awq_queue_take_numbered(*state, 5, 5), 5, 5); /* the only one */
    put(*state, 6, 6);
    expect(awq_queue_take(*state), 6, 6);
}

static void of_equal_numbers_the_oldest_comes_first(void **state)
{
    for (int i = 0; i < 3; i++) {
        awq_letter *letter = awq_letter_create(i, 1, 2, 0);
        assert_true(awq_queue_put(*state, letter));
    }
    for (int i = 0; i < 3; i++) {
        awq_letter *letter = awq_queue_take_numbered(*state, 1, 2);
        assert_int_equal(letter->kind, i);
        awq_letter_free(letter);
    }
}

static void a_closed_queue_gives_nothing_and_frees_what_it_has(void **state)
{
    put(*state, 1, 1);
    awq_queue_close(*state);
    assert_null(awq_queue_take(*state));
    assert_null(awq_queue_take_numbered(*state, 1, 1));
    put(*state, 2, 2); /* taken over all the same */
    awq_queue_close(*state);
    assert_null(awq_queue_take(*state));
    awq_queue_free(NULL);
}

static void a_shared_letter_may_be_in_two_queues(void **state)
{
    awq_queue *other = awq_queue_create();
    awq_letter *letter = awq_letter_write(3, 1, 2, "payload", 8);
    assert_true(awq_queue_put(*state, awq_letter_share(letter)));
    assert_true(awq_queue_put(other, letter));
    awq_letter *first = awq_queue_take(*state);
    assert_ptr_equal(first, letter);
    awq_letter_free(first);
    awq_letter *second = awq_queue_take(other);
    assert_string_equal((const char *)second->payload, "payload");
    awq_letter_free(second);
    awq_queue_free(other);
}

/* ---- several threads ---- */

typedef struct party {
    awq_queue *queue;
    int64_t number;
    atomic_int *got; /* [THREADS * LETTERS] */
    atomic_int wrong;
    atomic_bool returned;
} party;

static void *produce(void *argument)
{
    party *self = argument;
    for (int64_t i = 0; i < LETTERS; i++) {
        awq_letter *letter = awq_letter_create(1, self->number, i, 0);
        if (!letter || !awq_queue_put(self->queue, letter)) atomic_fetch_add(&self->wrong, 1);
    }
    return NULL;
}

/* What one consumer sees of one producer is in order. */
static void *consume(void *argument)
{
    party *self = argument;
    int64_t last[THREADS] = {-1, -1, -1, -1};
    for (awq_letter *letter; (letter = awq_queue_take(self->queue));) {
        if (letter->b <= last[letter->a]) atomic_fetch_add(&self->wrong, 1);
        last[letter->a] = letter->b;
        atomic_fetch_add(&self->got[letter->a * LETTERS + letter->b], 1);
        awq_letter_free(letter);
    }
    return NULL;
}

/* Waits for the letters of one number, from the last to the first. */
static void *consume_backwards(void *argument)
{
    party *self = argument;
    for (int64_t i = LETTERS; i-- > 0;) {
        awq_letter *letter = awq_queue_take_numbered(self->queue, self->number, i);
        if (!letter || letter->a != self->number || letter->b != i)
            atomic_fetch_add(&self->wrong, 1);
        awq_letter_free(letter);
    }
    return NULL;
}

static void *wait_for_one(void *argument)
{
    party *self = argument;
    awq_letter *letter = self->number < 0 ? awq_queue_take(self->queue)
                                          : awq_queue_take_numbered(self->queue, self->number, 0);
    if (letter) atomic_fetch_add(&self->wrong, 1);
    awq_letter_free(letter);
    atomic_store(&self->returned, true);
    return NULL;
}

static void start(pthread_t *thread, void *(*run)(void *), party *self)
{
    assert_int_equal(pthread_create(thread, NULL, run, self), 0);
}

static void join_all(pthread_t *threads, party *parties)
{
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(parties[i].wrong, 0);
    }
}

static bool all_taken(const atomic_int *got)
{
    for (int i = 0; i < THREADS * LETTERS; i++)
        if (!atomic_load(&got[i])) return false;
    return true;
}

static void every_letter_of_many_threads_is_taken_once(void **state)
{
    pthread_t producers[THREADS], consumers[THREADS];
    party out[THREADS] = {0}, in[THREADS] = {0};
    atomic_int *got = calloc(THREADS * LETTERS, sizeof *got);
    assert_non_null(got);
    for (int i = 0; i < THREADS; i++) {
        in[i].queue = out[i].queue = *state;
        in[i].got = got;
        out[i].number = i;
        start(&consumers[i], consume, &in[i]);
        start(&producers[i], produce, &out[i]);
    }
    join_all(producers, out);
    while (!all_taken(got)) a_moment();
    awq_queue_close(*state);
    join_all(consumers, in);
    for (int i = 0; i < THREADS * LETTERS; i++) assert_int_equal(got[i], 1);
    free(got);
}

static void who_waits_for_a_number_gets_no_other(void **state)
{
    pthread_t producers[THREADS], consumers[THREADS];
    party out[THREADS] = {0}, in[THREADS] = {0};
    for (int i = 0; i < THREADS; i++) {
        in[i].queue = out[i].queue = *state;
        in[i].number = out[i].number = i;
        start(&consumers[i], consume_backwards, &in[i]);
        start(&producers[i], produce, &out[i]);
    }
    join_all(producers, out);
    join_all(consumers, in);
}

static void closing_wakes_all_who_wait(void **state)
{
    pthread_t threads[THREADS];
    party parties[THREADS] = {0};
    for (int i = 0; i < THREADS; i++) {
        parties[i].queue = *state;
        parties[i].number = i - 2; /* two wait for any, two for a number */
        start(&threads[i], wait_for_one, &parties[i]);
    }
    a_moment();
    for (int i = 0; i < THREADS; i++) assert_false(parties[i].returned);
    awq_queue_close(*state);
    join_all(threads, parties);
}

#define queue_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        queue_test(letters_come_out_as_they_went_in),
        queue_test(numbered_letters_are_found_anywhere),
        queue_test(of_equal_numbers_the_oldest_comes_first),
        queue_test(a_closed_queue_gives_nothing_and_frees_what_it_has),
        queue_test(a_shared_letter_may_be_in_two_queues),
        queue_test(every_letter_of_many_threads_is_taken_once),
        queue_test(who_waits_for_a_number_gets_no_other),
        queue_test(closing_wakes_all_who_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
