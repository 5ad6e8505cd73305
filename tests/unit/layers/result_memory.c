/* SPDX-License-Identifier: MIT
 * tests/unit/layers/result_memory.c - pieces of memory in turn, as a worker's compute thread takes
 * them and its publisher gives them back. */
#include <pthread.h>
#include <string.h>

#include "layers/search/result_memory.h"
#include "tests/unit/layers/check.h"

enum { SIZE = 1 << 20 };

static awq_device *device;
static awq_result_memory *memory;

static int open_memory(void **state)
{
    (void)state;
    awq_error err;
    awq_device_options options = {.threads = 1, .compute = AWQ_F32};
    must(awq_backend_find("cpu")->open(&options, &device, &err));
    must(awq_result_memory_create(device, SIZE, &memory, &err));
    return 0;
}

static int close_memory(void **state)
{
    (void)state;
    awq_result_memory_free(memory);
    device->backend->close(device);
    return 0;
}

static void *take(size_t bytes)
{
    awq_error err;
    void *piece;
    must(awq_result_memory_take(memory, bytes, &piece, &err));
    memset(piece, 1, bytes);
    return piece;
}

static void *give(void *piece)
{
    awq_result_memory_give(memory, piece);
    return NULL;
}

/* While one is given back the other is asked for, and only that one can be had. */
static void two_pieces_are_used_again_and_again(void **state)
{
    (void)state;
    void *piece[2] = {take(SIZE), take(SIZE)};
    assert_ptr_not_equal(piece[0], piece[1]);
    for (int i = 0; i < 200; i++) {
        awq_error err;
        pthread_t publisher;
        void *next;
        assert_int_equal(pthread_create(&publisher, NULL, give, piece[i % 2]), 0);
        while (awq_result_memory_take(memory, SIZE / 2, &next, &err)) continue;
        assert_ptr_equal(next, piece[i % 2]);
        pthread_join(publisher, NULL);
    }
}

static void a_third_is_refused(void **state)
{
    (void)state;
    awq_error err;
    void *first = take(100), *third;
    take(100);
    assert_int_equal(awq_result_memory_take(memory, 100, &third, &err), AWQ_ERR_INTERNAL);
    give(first);
    assert_ptr_equal(take(100), first);
}

static void more_than_was_meant_is_refused_and_takes_nothing(void **state)
{
    (void)state;
    awq_error err;
    void *piece;
    for (int i = 0; i < 3; i++)
        assert_int_equal(awq_result_memory_take(memory, SIZE + 1, &piece, &err), AWQ_ERR_INTERNAL);
    take(100);
    take(100);
}

int main(void)
{
#define MEMORY_TEST(name) cmocka_unit_test_setup_teardown(name, open_memory, close_memory)
    const struct CMUnitTest tests[] = {
        MEMORY_TEST(two_pieces_are_used_again_and_again),
        MEMORY_TEST(a_third_is_refused),
        MEMORY_TEST(more_than_was_meant_is_refused_and_takes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
