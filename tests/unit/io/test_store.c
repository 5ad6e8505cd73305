/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "io/files/store.h"
#include "scratch.h"

enum { BYTES = 10000 };

/* Pieces in any order, and over one another. */
static void check(const char *directory)
{
    awq_error err;
    awq_store *store = NULL;
    char data[BYTES], back[BYTES];
    for (int i = 0; i < BYTES; i++) data[i] = (char)(i * 7 + i / 256);
    assert_int_equal(awq_store_create(directory, BYTES, &store, &err), AWQ_OK);
    for (int offset = BYTES - 1000; offset >= 0; offset -= 1000)
        assert_int_equal(awq_store_write(store, (uint64_t)offset, data + offset, 1000, &err),
                         AWQ_OK);
    assert_int_equal(awq_store_write(store, 2500, data, 1000, &err), AWQ_OK);
    assert_int_equal(awq_store_read(store, 0, back, BYTES, &err), AWQ_OK);
    assert_memory_equal(back, data, 2500);
    assert_memory_equal(back + 2500, data, 1000);
    assert_memory_equal(back + 3500, data + 3500, BYTES - 3500);
    assert_int_equal(awq_store_read(store, 9999, back, 1, &err), AWQ_OK);
    assert_int_equal(back[0], data[9999]);
    awq_store_free(store);
}

static void memory_keeps_what_is_written(void **state)
{
    (void)state;
    check(NULL);
}

static void a_file_keeps_it_and_has_no_name(void **state)
{
    awq_error err;
    awq_store *store = NULL;
    check(*state);
    assert_int_equal(awq_store_create(*state, 10, &store, &err), AWQ_OK);
    assert_int_equal(awq_store_write(store, 0, "0123456789", 10, &err), AWQ_OK);
    assert_int_equal(scratch_count(*state), 0);
    awq_store_free(store);
}

static void a_directory_that_is_not_there_is_named(void **state)
{
    awq_error err;
    awq_store *store = NULL;
    const char *nowhere = scratch_path(state, "nowhere");
    assert_int_equal(awq_store_create(nowhere, 10, &store, &err), AWQ_ERR_IO);
    assert_contains(err.text, nowhere);
    assert_null(store);
}

static void what_was_never_written_cannot_be_read(void **state)
{
    awq_error err;
    awq_store *store = NULL;
    char back[8];
    assert_int_equal(awq_store_create(*state, 100, &store, &err), AWQ_OK);
    assert_int_equal(awq_store_read(store, 50, back, 8, &err), AWQ_ERR_IO);
    assert_contains(err.text, "it ends too early");
    awq_store_free(store);
}

#ifdef AWQ_SANITIZED
/* Or the sanitizer stops the program that asks for too much. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
#endif

/* More memory than there are addresses for. */
static void memory_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    awq_error err;
    awq_store *store = NULL;
    assert_int_equal(awq_store_create(NULL, UINT64_MAX / 4, &store, &err), AWQ_ERR_MEMORY);
    assert_contains(err.text, "no memory for");
    awq_store_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_keeps_what_is_written),
        scratch_test(a_file_keeps_it_and_has_no_name),
        scratch_test(a_directory_that_is_not_there_is_named),
        scratch_test(what_was_never_written_cannot_be_read),
        cmocka_unit_test(memory_that_is_not_there_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
