/* SPDX-License-Identifier: MIT
 * jobs/mail on as many ranks as mpiexec starts. No loop here waits for ever: what does not come
 * within a minute is missing. */
#include <mpi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "io/core/clock.h"
#include "jobs/mail/mail.h"
#include "together.h"

enum { MAX_RANKS = 8, SMALL = 100, BIGGEST = 20 * 1000 * 1000 };

static const double patience_seconds = 60;

static int setup(void **state)
{
    awq_error err;
    awq_mail *mail = NULL;
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    uint64_t cores = rank == 2 ? 7 : 1; /* rank 2 pretends to be bound elsewhere */
    if (awq_mail_open(MPI_COMM_WORLD, cores, rank ? 10 - rank : 1, &mail, &err)) return -1;
    *state = mail;
    return awq_mail_size(mail) <= MAX_RANKS ? 0 : -1;
}

static int teardown(void **state)
{
    awq_mail_close(*state, false);
    return 0;
}

static void sleep_milliseconds(long milliseconds)
{
    nanosleep(&(struct timespec){.tv_nsec = milliseconds * 1000000}, NULL);
}

/* Pumps once; NULL also when that fails, which `ok` then tells. */
static awq_letter *pump(awq_mail *mail, bool *ok)
{
    awq_error err;
    awq_letter *letter = NULL;
    if (!awq_mail_pump(mail, &letter, &err)) return letter;
    print_error("%s\n", err.text);
    *ok = false;
    return NULL;
}

/* Pumps until a letter comes. */
static awq_letter *await_letter(awq_mail *mail, bool *ok)
{
    double end = awq_clock_seconds() + patience_seconds;
    awq_letter *letter = NULL;
    while (*ok && !letter && awq_clock_seconds() < end) letter = pump(mail, ok);
    return letter;
}

/* Sends what is left, then makes sure that nothing comes any more. */
static void finish(awq_mail *mail)
{
    awq_error err;
    bool ok = true;
    int late = 0;
    together_true(!awq_mail_flush(mail, -1, patience_seconds, &err));
    MPI_Barrier(MPI_COMM_WORLD);
    for (int i = 0; i < 50; i++) {
        awq_letter *letter = pump(mail, &ok);
        late += letter != NULL;
        awq_letter_free(letter);
    }
    together_true(ok);
    together_true(!late);
}

/* ---- everybody to everybody ---- */

enum { KIND_LARGE = 1, KIND_SMALL };

/* Around a letter's head, a unit, and the limits between MPI's ways of sending. */
static const size_t large_sizes[] = {0,    1,    63,    64,    65,     1000,    4032,   4096,
                                     5000, 8192, 65535, 65536, 262144, 1000003, BIGGEST};
enum { LARGE = sizeof large_sizes / sizeof *large_sizes };

/* The largest goes to two ranks only, or five ranks would need a gigabyte. */
static bool is_sent(int index, int from, int to, int size)
{
    return large_sizes[index] < BIGGEST || to == from || to == (from + 1) % size;
}

static unsigned char content(int from, int64_t index, size_t at)
{
    return (unsigned char)(31 * from + 7 * index + (int64_t)at * 13 + (int64_t)(at >> 8));
}

static void post_large(awq_mail *mail, int to, int index)
{
    int rank = awq_mail_rank(mail);
    size_t bytes = large_sizes[index];
    awq_letter *letter = awq_letter_create(KIND_LARGE, index, -to, bytes);
    for (size_t i = 0; letter && i < bytes; i++) letter->payload[i] = content(rank, index, i);
    awq_mail_post(mail, to, letter);
}

static bool is_whole(const awq_letter *letter, int rank)
{
    if (letter->b != -rank || letter->bytes != large_sizes[letter->a]) return false;
    for (size_t i = 0; i < letter->bytes; i++)
        if (letter->payload[i] != content(letter->from, letter->a, i)) return false;
    return true;
}

/* What a rank has received; small letters are counted, since they come in order. */
typedef struct received {
    int large[MAX_RANKS][LARGE];
    int64_t small[MAX_RANKS];
    int wrong;
} received;

static void note(received *in, const awq_letter *letter, int rank)
{
    if (letter->kind == KIND_LARGE && letter->a >= 0 && letter->a < LARGE) {
        in->large[letter->from][letter->a]++;
        in->wrong += !is_whole(letter, rank);
    } else {
        in->wrong += letter->kind != KIND_SMALL || letter->a != in->small[letter->from]++ ||
                     memcmp(letter->payload, &letter->a, sizeof letter->a) != 0;
    }
}

static bool is_complete(const received *in, int rank, int size)
{
    for (int from = 0; from < size; from++) {
        if (in->small[from] != SMALL) return false;
        for (int i = 0; i < LARGE; i++)
            if (in->large[from][i] != is_sent(i, from, rank, size)) return false;
    }
    return true;
}

static void receive_all(awq_mail *mail, received *in, bool *ok)
{
    int rank = awq_mail_rank(mail), size = awq_mail_size(mail);
    double end = awq_clock_seconds() + patience_seconds;
    while (*ok && !is_complete(in, rank, size) && awq_clock_seconds() < end) {
        awq_letter *letter = pump(mail, ok);
        if (letter) note(in, letter, rank);
        awq_letter_free(letter);
    }
}

static void all_letters_of_all_sizes_arrive_once_and_small_ones_in_order(void **state)
{
    awq_mail *mail = *state;
    int rank = awq_mail_rank(mail), size = awq_mail_size(mail);
    bool ok = true;
    static received in;
    memset(&in, 0, sizeof in);
    for (int64_t i = 0; i < SMALL; i++)
        for (int to = 0; to < size; to++) {
            awq_mail_post(mail, to, awq_letter_write(KIND_SMALL, i, 0, &i, sizeof i));
            int large = (int)i / 5; /* in between, each rank in another order */
            if (i % 5 || large >= LARGE) continue;
            large = (large + 4 * rank) % LARGE;
            if (is_sent(large, rank, to, size)) post_large(mail, to, large);
        }
    receive_all(mail, &in, &ok);
    together_true(ok);
    together_true(in.wrong == 0);
    together_true(is_complete(&in, rank, size));
    finish(mail);
}

static void payloads_are_aligned_and_padded(void **state)
{
    awq_mail *mail = *state;
    int rank = awq_mail_rank(mail), size = awq_mail_size(mail);
    bool ok = true;
    awq_mail_post(mail, (rank + 1) % size, awq_letter_write(5, -1, 1LL << 60, "abc", 3));
    awq_letter *letter = await_letter(mail, &ok);
    together_true(ok && letter);
    together_true((uintptr_t)letter->payload % 64 == 0);
    together_true(letter->kind == 5 && letter->a == -1 && letter->b == 1LL << 60);
    together_true(letter->bytes == 3 && !memcmp(letter->payload, "abc", 3));
    together_true(letter->from == (rank + size - 1) % size);
    awq_letter_free(letter);
    finish(mail);
}

/* ---- several threads post ---- */

enum { POSTERS = 3, POSTS = 200 };

typedef struct poster {
    pthread_t thread;
    awq_mail *mail;
    int number;
} poster;

/* To every rank in turn, never far ahead of what is sent. */
static void *post_many(void *argument)
{
    poster *self = argument;
    for (int64_t i = 0; i < POSTS; i++)
        for (int to = 0; to < awq_mail_size(self->mail); to++) {
            awq_mail_wait_below(self->mail, 16);
            awq_mail_post(self->mail, to, awq_letter_create(1, self->number, i, 8));
        }
    return NULL;
}

static void any_thread_may_post_while_one_pumps(void **state)
{
    awq_mail *mail = *state;
    int size = awq_mail_size(mail), left = size * POSTERS * POSTS, wrong = 0;
    int64_t next[MAX_RANKS][POSTERS] = {{0}};
    poster posters[POSTERS];
    bool ok = true;
    for (int i = 0; i < POSTERS; i++) {
        posters[i] = (poster){.mail = mail, .number = i};
        ok = !pthread_create(&posters[i].thread, NULL, post_many, &posters[i]) && ok;
    }
    together_true(ok);
    for (awq_letter *letter; left && (letter = await_letter(mail, &ok)); left--) {
        wrong += letter->b != next[letter->from][letter->a]++;
        awq_letter_free(letter);
    }
    if (left) awq_mail_release_waiters(mail);
    for (int i = 0; i < POSTERS; i++) pthread_join(posters[i].thread, NULL);
    together_true(ok && !left);
    together_true(!wrong);
    finish(mail);
}

/* ---- waiting ---- */

typedef struct waiting {
    awq_mail *mail;
    int limit;
    atomic_bool through;
} waiting;

static void *wait_below(void *argument)
{
    waiting *self = argument;
    awq_mail_wait_below(self->mail, self->limit);
    atomic_store(&self->through, true);
    return NULL;
}

static void wait_below_blocks_until_letters_are_sent(void **state)
{
    awq_mail *mail = *state;
    int rank = awq_mail_rank(mail), size = awq_mail_size(mail);
    waiting waiter = {.mail = mail, .limit = 3};
    pthread_t thread;
    bool ok = true;
    awq_mail_wait_below(mail, 1); /* nothing is unsent */
    for (int i = 0; i < 3; i++)
        awq_mail_post(mail, (rank + i) % size, awq_letter_create(1, i, 0, 100000));
    awq_mail_wait_below(mail, 4);
    together_true(!pthread_create(&thread, NULL, wait_below, &waiter));
    sleep_milliseconds(50);
    bool blocked = !atomic_load(&waiter.through);
    for (int i = 0; i < 3; i++) awq_letter_free(await_letter(mail, &ok));
    awq_error err;
    ok = !awq_mail_flush(mail, -1, patience_seconds, &err) && ok;
    if (!ok) awq_mail_release_waiters(mail);
    pthread_join(thread, NULL);
    together_true(ok);
    together_true(blocked);
    finish(mail);
}

static void released_waiters_go_on_now_and_later(void **state)
{
    awq_mail *mail = *state;
    waiting waiter = {.mail = mail, .limit = 1};
    pthread_t thread;
    awq_mail_post(mail, awq_mail_rank(mail), awq_letter_create(1, 0, 0, 0));
    together_true(!pthread_create(&thread, NULL, wait_below, &waiter));
    sleep_milliseconds(20);
    bool blocked = !atomic_load(&waiter.through);
    awq_mail_release_waiters(mail);
    pthread_join(thread, NULL);
    awq_mail_wait_below(mail, 1);
    together_true(blocked);
}

/* ---- shared letters ---- */

static void a_posted_letter_that_is_shared_stays_readable(void **state)
{
    awq_mail *mail = *state;
    int rank = awq_mail_rank(mail), size = awq_mail_size(mail);
    bool ok = true;
    awq_letter *letter = awq_letter_create(1, 0, 0, 100000);
    memset(letter->payload, rank + 1, 100000);
    awq_letter *kept = awq_letter_share(letter);
    awq_mail_post(mail, (rank + 1) % size, letter);
    awq_letter *came = await_letter(mail, &ok);
    awq_error err;
    ok = !awq_mail_flush(mail, -1, patience_seconds, &err) && ok;
    together_true(ok && came);
    together_true(kept->payload[99999] == rank + 1);
    together_true(came->payload[99999] == (rank + size - 1) % size + 1);
    awq_letter *shared = awq_letter_share(came); /* its count on the wire means nothing here */
    awq_letter_free(came);
    together_true(shared->payload[0] == shared->from + 1);
    awq_letter_free(shared);
    awq_letter_free(kept);
    awq_letter_free(NULL);
    finish(mail);
}

/* ---- flush ---- */

/* The last rank reads nothing until the barrier; rank 0 writes to it and to another one. */
static void a_flush_to_one_rank_does_not_wait_for_others(void **state)
{
    awq_mail *mail = *state;
    int rank = awq_mail_rank(mail), size = awq_mail_size(mail);
    int deaf = size - 1, other = size > 2 ? 1 : 0;
    awq_error err = {AWQ_OK, ""};
    bool ok = true;
    if (rank == 0 && size > 1) {
        awq_mail_post(mail, deaf, awq_letter_create(1, 0, 0, BIGGEST));
        awq_mail_post(mail, other, awq_letter_create(2, 0, 0, 8));
        ok = !awq_mail_flush(mail, other, patience_seconds, &err) &&
             awq_mail_flush(mail, deaf, 0.2, &err) == AWQ_ERR_MPI;
    }
    together_true(ok);
    if (rank == deaf && size > 1) {
        awq_letter *letter = await_letter(mail, &ok);
        ok = ok && letter && letter->kind == 1 && letter->bytes == BIGGEST;
        awq_letter_free(letter);
    }
    if (rank == other && rank != 0) awq_letter_free(await_letter(mail, &ok));
    if (rank == 0) ok = !awq_mail_flush(mail, -1, patience_seconds, &err) && ok;
    together_true(ok);
    finish(mail);
}

static void an_empty_mail_is_flushed_at_once(void **state)
{
    awq_error err;
    together_true(!awq_mail_flush(*state, -1, 0, &err));
    together_true(!awq_mail_flush(*state, 0, 0, &err));
}

/* ---- what breaks ---- */

static void a_letter_that_could_not_be_made_breaks_the_mail(void **state)
{
    awq_error err;
    awq_letter *letter;
    awq_mail_post(*state, 0, awq_letter_create(1, 0, 0, 8));
    awq_mail_post(*state, 0, NULL);
    together_true(awq_mail_pump(*state, &letter, &err) == AWQ_ERR_MEMORY);
    together_true(awq_mail_flush(*state, -1, 1, &err) != AWQ_ERR_INTERNAL);
}

static void an_mpi_error_is_returned_with_its_words(void **state)
{
    awq_error err;
    awq_letter *letter;
    awq_mail_post(*state, awq_mail_size(*state), awq_letter_create(1, 0, 0, 8));
    together_true(awq_mail_pump(*state, &letter, &err) == AWQ_ERR_MPI);
    together_true(strstr(err.text, "MPI_Isend failed: ") && strlen(err.text) > 20);
}

static void what_was_not_sent_is_dropped_at_the_end(void **state)
{
    awq_mail_post(*state, 0, awq_letter_create(1, 0, 0, 1000));
    awq_mail_post(*state, awq_mail_rank(*state), awq_letter_create(1, 0, 0, 1000));
}

/* ---- neighbours ---- */

static void workers_of_a_node_count_from_zero_without_the_coordinator(void **state)
{
    int rank = awq_mail_rank(*state), size = awq_mail_size(*state);
    int workers = size == 1 ? 1 : size - 1;
    awq_neighbours neighbours = awq_mail_neighbours(*state);
    together_true(neighbours.workers == workers);
    together_true(neighbours.index == (rank > 0 ? rank - 1 : 0));
    together_true(neighbours.sharing == (rank == 2 ? 1 : size > 2 ? workers - 1 : workers));
}

static void the_least_processor_is_that_of_a_worker(void **state)
{
    int size = awq_mail_size(*state);
    together_true(awq_mail_processor(*state) == (size == 1 ? 1 : 10 - (size - 1)));
}

#define mail_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        mail_test(all_letters_of_all_sizes_arrive_once_and_small_ones_in_order),
        mail_test(payloads_are_aligned_and_padded),
        mail_test(any_thread_may_post_while_one_pumps),
        mail_test(wait_below_blocks_until_letters_are_sent),
        mail_test(released_waiters_go_on_now_and_later),
        mail_test(a_posted_letter_that_is_shared_stays_readable),
        mail_test(a_flush_to_one_rank_does_not_wait_for_others),
        mail_test(an_empty_mail_is_flushed_at_once),
        mail_test(a_letter_that_could_not_be_made_breaks_the_mail),
        mail_test(an_mpi_error_is_returned_with_its_words),
        mail_test(what_was_not_sent_is_dropped_at_the_end),
        mail_test(the_least_processor_is_that_of_a_worker),
        mail_test(workers_of_a_node_count_from_zero_without_the_coordinator),
    };
    int provided;
    if (MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    MPI_Finalize();
    return failed;
}
