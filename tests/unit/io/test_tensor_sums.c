/* SPDX-License-Identifier: MIT
 * tests/unit/io/test_tensor_sums.c - names, sizes and checksums of tensors, into a checkpoint's
 * statistics and out of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/records/layer_record.h"
#include "io/records/tensor_sums.h"
#include "tests/unit/io/scratch.h"

enum { TENSORS = 40 };

static char names[TENSORS][64];

/* Layers 0..TENSORS-1, so that their order is not that of their names: 10 comes before 9. */
static void make(awq_tensor_sums *sums)
{
    awq_error err;
    awq_tensor tensors[TENSORS] = {{0}};
    for (int i = 0; i < TENSORS; i++) {
        snprintf(names[i], sizeof names[i], "model.layers.%d.mlp.%s", i,
                 i % 3 ? "up" : "down_proj");
        tensors[i].name = names[i];
        tensors[i].bytes = ((uint64_t)i << 33) + 1;
    }
    assert_int_equal(awq_tensor_sums_create(tensors, TENSORS, sums, &err), AWQ_OK);
    for (int i = 0; i < TENSORS; i++) sums->crc[i] = 0xfffffff0u + (uint32_t)i;
}

static void check(const awq_tensor_sums *sums)
{
    assert_int_equal(sums->count, TENSORS);
    for (size_t i = 0; i < TENSORS; i++) {
        assert_string_equal(awq_tensor_sums_name(sums, i), names[i]);
        assert_int_equal(awq_tensor_sums_find(sums, names[i]), i);
        assert_true(sums->bytes[i] == ((uint64_t)i << 33) + 1);
        assert_int_equal(sums->crc[i], 0xfffffff0u + (uint32_t)i);
    }
    assert_int_equal(awq_tensor_sums_find(sums, "model.layers.1.mlp"), TENSORS);
    assert_int_equal(awq_tensor_sums_find(sums, ""), TENSORS);
    assert_int_equal(awq_tensor_sums_find(sums, "zzz"), TENSORS);
}

static void must(awq_status status, const awq_error *err)
{
    if (status) fail_msg("%s", err->text);
}

static void sums_are_read_as_they_were_written(void **state)
{
    awq_error err;
    awq_tensor_sums made, read;
    const char *path = scratch_path(state, "awqrun.h5");
    make(&made);
    check(&made);
    awq_gathered head = {.layers = 0, .version = "0", .job = "{}", .sums = &made};
    must(awq_layer_records_gather(*state, &head, path, &err), &err);
    must(awq_tensor_sums_read(path, &read, &err), &err);
    check(&read);
    awq_tensor_sums_release(&made);
    awq_tensor_sums_release(&read);
}

static void a_file_without_sums_has_none(void **state)
{
    awq_error err;
    awq_tensor_sums read;
    const char *path = scratch_path(state, "awqrun.h5");
    awq_gathered head = {.layers = 0, .version = "0", .job = "{}"};
    must(awq_layer_records_gather(*state, &head, path, &err), &err);
    must(awq_tensor_sums_read(path, &read, &err), &err);
    assert_int_equal(read.count, 0);
    assert_int_equal(awq_tensor_sums_find(&read, "x"), 0);
    awq_tensor_sums_release(&read);
}

static void every_flipped_byte_is_corrupt(void **state)
{
    awq_error err;
    awq_tensor_sums made, read;
    const char *path = scratch_path(state, "awqrun.h5");
    make(&made);
    awq_gathered head = {.layers = 0, .version = "0", .job = "{}", .sums = &made};
    must(awq_layer_records_gather(*state, &head, path, &err), &err);
    awq_tensor_sums_release(&made);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    for (long at = 512; at < size; at += 61) {
        for (int again = 0; again < 2; again++) { /* there and back */
            fseek(file, at, SEEK_SET);
            int byte = fgetc(file);
            fseek(file, at, SEEK_SET);
            fputc(byte ^ 16, file);
            fflush(file);
            if (!again) assert_int_equal(awq_tensor_sums_read(path, &read, &err), AWQ_ERR_CORRUPT);
        }
    }
    fclose(file);
    must(awq_tensor_sums_read(path, &read, &err), &err);
    awq_tensor_sums_release(&read);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(sums_are_read_as_they_were_written),
        scratch_test(a_file_without_sums_has_none),
        scratch_test(every_flipped_byte_is_corrupt),
    };
    return cmocka_run_group_tests_name("tensor_sums", tests, NULL, NULL);
}
