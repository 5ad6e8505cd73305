/* SPDX-License-Identifier: MIT */
#include <hdf5.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/files/file.h"
#include "io/text/tokens.h"
#include "scratch.h"

#define DEMO AWQ_TEST_DATA "/demo-llama-outliers"

/* Puts a dataset into a new or existing HDF5 file. */
static void put(const char *path, const char *name, hid_t type, int dims, const hsize_t *shape,
                const void *data)
{
    hid_t file = access(path, F_OK) ? H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)
                                    : H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(file >= 0);
    hid_t space = H5Screate_simple(dims, shape, NULL);
    hid_t set = H5Dcreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(set >= 0);
    assert_true(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    H5Dclose(set);
    H5Sclose(space);
    H5Fclose(file);
}

static void expect_refusal(const char *path, int64_t limit, awq_status status, const char *part)
{
    awq_error err;
    awq_tokens tokens;
    assert_int_equal(awq_tokens_read(path, limit, &tokens, &err), status);
    assert_contains(err.text, part);
    assert_contains(err.text, path);
}

static void a_file_of_h5py_is_read(void **state)
{
    (void)state;
    awq_error err;
    awq_tokens tokens;
    assert_int_equal(awq_tokens_read(DEMO "/calib.h5", 0, &tokens, &err), AWQ_OK);
    assert_int_equal(tokens.sequences, 256);
    assert_int_equal(tokens.length, 512);
    assert_null(tokens.mask);
    assert_int_equal(tokens.crc, awq_crc32(0, tokens.ids, 256 * 512 * 4));
    uint32_t all = tokens.crc;
    awq_tokens_release(&tokens);
    assert_int_equal(awq_tokens_read(DEMO "/calib.h5", 3, &tokens, &err), AWQ_OK);
    assert_int_equal(tokens.sequences, 3);
    assert_int_not_equal(tokens.crc, all);
    awq_tokens_release(&tokens);
    expect_refusal(DEMO "/calib.h5", 257, AWQ_ERR_INPUT, "holds 256 sequences, 257 are asked for");
}

static void what_is_written_reads_back_and_is_the_same_bytes_again(void **state)
{
    awq_error err;
    int32_t ids[] = {1, 2, 3, INT32_MAX, 0, -1};
    uint8_t mask[] = {1, 1, 0, 1, 0, 1};
    awq_tokens back, tokens = {.ids = ids, .mask = mask, .sequences = 2, .length = 3};
    const char *path = scratch_path(state, "a.h5");
    assert_int_equal(awq_tokens_write(path, &tokens, &err), AWQ_OK);
    assert_int_equal(awq_tokens_read(path, 0, &back, &err), AWQ_OK);
    assert_int_equal(back.sequences, 2);
    assert_int_equal(back.length, 3);
    assert_memory_equal(back.ids, ids, sizeof ids);
    assert_memory_equal(back.mask, mask, sizeof mask);
    assert_int_equal(back.crc, awq_crc32(awq_crc32(0, ids, sizeof ids), mask, sizeof mask));
    awq_tokens_release(&back);
    size_t bytes, again_bytes;
    sleep(1); /* a time in the file would differ */
    assert_int_equal(awq_tokens_write(scratch_path(state, "b.h5"), &tokens, &err), AWQ_OK);
    char *first = scratch_read(path, &bytes);
    char *again = scratch_read(scratch_path(state, "b.h5"), &again_bytes);
    assert_int_equal(bytes, again_bytes);
    assert_memory_equal(first, again, bytes);
    free(first);
    free(again);
    assert_int_equal(scratch_count(*state), 2);
}

static void any_integer_type_that_fits_is_read(void **state)
{
    awq_error err;
    awq_tokens tokens;
    const hsize_t shape[2] = {1, 3};
    const char *path = scratch_path(state, "a.h5");
    put(path, "input_ids", H5T_NATIVE_UINT64, 2, shape, (uint64_t[]){7, 8, 2147483647});
    put(path, "mask", H5T_NATIVE_INT64, 2, shape, (int64_t[]){0, 5, 1});
    assert_int_equal(awq_tokens_read(path, 0, &tokens, &err), AWQ_OK);
    assert_int_equal(tokens.ids[2], INT32_MAX);
    assert_memory_equal(tokens.mask, "\0\1\1", 3);
    awq_tokens_release(&tokens);
    path = scratch_path(state, "b.h5");
    put(path, "input_ids", H5T_STD_I16BE, 2, shape, (int16_t[]){0x0100, 0x0200, -1});
    assert_int_equal(awq_tokens_read(path, 0, &tokens, &err), AWQ_OK);
    assert_int_equal(tokens.ids[0], 1);
    awq_tokens_release(&tokens);
}

static void ids_beyond_int32_are_named(void **state)
{
    const hsize_t shape[2] = {1, 2};
    const char *path = scratch_path(state, "a.h5");
    put(path, "input_ids", H5T_NATIVE_INT64, 2, shape, (int64_t[]){1, 2147483648});
    expect_refusal(path, 0, AWQ_ERR_INPUT, "token id 2147483648 is not an int32");
    path = scratch_path(state, "b.h5");
    put(path, "input_ids", H5T_NATIVE_UINT64, 2, shape, (uint64_t[]){1, UINT64_MAX});
    expect_refusal(path, 0, AWQ_ERR_INPUT, "is not an int32");
}

static void other_files_say_what_is_expected(void **state)
{
    const hsize_t shape[3] = {1, 2, 1};
    const char *path = scratch_path(state, "a.h5");
    expect_refusal(path, 0, AWQ_ERR_IO, "No such file or directory");
    scratch_write_text(path, "text");
    expect_refusal(path, 0, AWQ_ERR_CORRUPT,
                   "is not an HDF5 file; expected a token file with "
                   "/input_ids int32 [sequences, length]");
    unlink(path);
    put(path, "tokens", H5T_NATIVE_INT, 2, shape, (int[]){1, 2});
    expect_refusal(path, 0, AWQ_ERR_INPUT, "has no dataset /input_ids; expected");
    put(path, "input_ids", H5T_NATIVE_INT, 3, shape, (int[]){1, 2});
    expect_refusal(path, 0, AWQ_ERR_INPUT, "not a two-dimensional dataset of integers");
    path = scratch_path(state, "b.h5");
    put(path, "input_ids", H5T_NATIVE_FLOAT, 2, shape, (float[]){1, 2});
    expect_refusal(path, 0, AWQ_ERR_INPUT, "not a two-dimensional dataset of integers");
    path = scratch_path(state, "c.h5");
    put(path, "input_ids", H5T_NATIVE_INT, 2, (hsize_t[]){0, 4}, (int[]){1});
    expect_refusal(path, 0, AWQ_ERR_INPUT, "[0, 4] holds no tokens");
}

static void a_mask_must_fit(void **state)
{
    const hsize_t shape[2] = {1, 2};
    const char *path = scratch_path(state, "a.h5");
    put(path, "input_ids", H5T_NATIVE_INT, 2, shape, (int[]){1, 2});
    put(path, "mask", H5T_NATIVE_UINT8, 2, (hsize_t[]){1, 3}, "\1\1\1");
    expect_refusal(path, 0, AWQ_ERR_INPUT, "/mask does not fit /input_ids; expected uint8 [1, 2]");
    path = scratch_path(state, "b.h5");
    put(path, "input_ids", H5T_NATIVE_INT, 2, shape, (int[]){1, 2});
    put(path, "mask", H5T_NATIVE_FLOAT, 2, shape, (float[]){1, 1});
    expect_refusal(path, 0, AWQ_ERR_INPUT, "/mask does not fit");
}

static void truncated_files_are_refused(void **state)
{
    awq_error err;
    awq_tokens read;
    int32_t ids[64] = {0};
    awq_tokens tokens = {.ids = ids, .sequences = 8, .length = 8};
    const char *path = scratch_path(state, "a.h5");
    size_t bytes;
    assert_int_equal(awq_tokens_write(path, &tokens, &err), AWQ_OK);
    char *whole = scratch_read(path, &bytes);
    for (size_t cut = 0; cut < bytes; cut += 7) {
        scratch_write(path, whole, cut);
        assert_int_not_equal(awq_tokens_read(path, 0, &read, &err), AWQ_OK);
    }
    free(whole);
}

static void writing_to_a_missing_directory_fails_in_words(void **state)
{
    awq_error err;
    int32_t id = 1;
    awq_tokens tokens = {.ids = &id, .sequences = 1, .length = 1};
    assert_int_equal(awq_tokens_write(scratch_path(state, "no/a.h5"), &tokens, &err), AWQ_ERR_IO);
    assert_contains(err.text, "no/a.h5': No such file or directory");
}

static void checks_name_the_first_bad_id_and_count_them(void **state)
{
    (void)state;
    awq_problems problems;
    awq_problems_init(&problems);
    int32_t ids[] = {0, 9, 10, -1, 3, 10};
    awq_tokens tokens = {.ids = ids, .sequences = 2, .length = 3};
    awq_tokens_check(&tokens, "t.h5", 11, 3, &problems);
    assert_int_equal(problems.count, 1);
    assert_contains(problems.items[0].text, "'t.h5': 1 token ids are outside the vocabulary of 11, "
                                            "the first is -1 (sequence 1, position 0)");
    awq_tokens_check(&tokens, "t.h5", 10, 3, &problems);
    assert_contains(problems.items[1].text, "3 token ids");
    assert_contains(problems.items[1].text, "the first is 10 (sequence 0, position 2)");
    awq_problems_release(&problems);
}

static void checks_find_long_sequences_and_empty_masks(void **state)
{
    (void)state;
    awq_problems problems;
    awq_problems_init(&problems);
    int32_t ids[] = {0, 1, 2, 3};
    uint8_t mask[] = {0, 0, 0, 0};
    awq_tokens tokens = {.ids = ids, .mask = mask, .sequences = 2, .length = 2};
    awq_tokens_check(&tokens, "t.h5", 4, 1, &problems);
    assert_int_equal(problems.count, 2);
    assert_contains(problems.items[0].text, "2 tokens are longer than the model's 1 positions");
    assert_contains(problems.items[1].text, "/mask leaves no token");
    mask[3] = 1;
    awq_tokens_check(&tokens, "t.h5", 4, 2, &problems);
    assert_int_equal(problems.count, 2);
    awq_problems_release(&problems);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_of_h5py_is_read),
        scratch_test(what_is_written_reads_back_and_is_the_same_bytes_again),
        scratch_test(any_integer_type_that_fits_is_read),
        scratch_test(ids_beyond_int32_are_named),
        scratch_test(other_files_say_what_is_expected),
        scratch_test(a_mask_must_fit),
        scratch_test(truncated_files_are_refused),
        scratch_test(writing_to_a_missing_directory_fails_in_words),
        cmocka_unit_test(checks_name_the_first_bad_id_and_count_them),
        cmocka_unit_test(checks_find_long_sequences_and_empty_masks),
    };
    return cmocka_run_group_tests_name("tokens", tests, NULL, NULL);
}
