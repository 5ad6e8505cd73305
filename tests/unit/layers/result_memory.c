/* SPDX-License-Identifier: MIT
 * tests/unit/layers/result_memory.c - pieces of memory in turn, as a worker's compute thread takes
 * them and its publisher gives them back. */
#include <pthread.h>
#include <string.h>

#include "layers/result_memory.h"
#include "tests/unit/layers/check.h"

static awq_device *device;
static awq_result_memory *memory;

static int open_memory(void **state)
{
    (void)state;
    awq_error err;
    awq_device_options options = {.threads = 1, .compute = AWQ_F32};
    must(awq_backend_find("cpu")->open(&options, &device, &err));
    must(awq_result_memory_create(device, &memory, &err));
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

static void two_pieces_are_used_again_and_again(void **state)
{
    (void)state;
    void *piece[2] = {take(1 << 20), take(1 << 20)};
    assert_ptr_not_equal(piece[0], piece[1]);
    for (int i = 0; i < 6; i++) {
        pthread_t publisher;
        assert_int_equal(pthread_create(&publisher, NULL, give, piece[i % 2]), 0);
        pthread_join(publisher, NULL);
        assert_ptr_equal(take(1 << 19), piece[i % 2]);
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

static void a_larger_layer_gets_a_larger_piece(void **state)
{
    (void)state;
    give(take(100));
    void *large = take(1 << 20);
    give(large);
    assert_ptr_equal(take(200), large);
}

static void memory_that_is_not_there_leaves_the_piece_free(void **state)
{
    (void)state;
    awq_error err;
    void *piece;
    for (int i = 0; i < 3; i++)
        assert_int_equal(awq_result_memory_take(memory, SIZE_MAX - 4096, &piece, &err),
                         AWQ_ERR_MEMORY);
    take(100);
}

int main(void)
{
#define MEMORY_TEST(name) cmocka_unit_test_setup_teardown(name, open_memory, close_memory)
    const struct CMUnitTest tests[] = {
        MEMORY_TEST(two_pieces_are_used_again_and_again),
        MEMORY_TEST(a_third_is_refused),
        MEMORY_TEST(a_larger_layer_gets_a_larger_piece),
        MEMORY_TEST(memory_that_is_not_there_leaves_the_piece_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
