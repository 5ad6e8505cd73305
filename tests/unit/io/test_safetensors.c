/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/files/file.h"
#include "io/files/safetensors.h"
#include "scratch.h"

/* Writes a file of a header and data_bytes bytes 0, 1, 2, ... */
static const char *write_file(void **state, const char *header, size_t data_bytes)
{
    const char *path = scratch_path(state, "a.safetensors");
    size_t length = strlen(header);
    unsigned char *bytes = calloc(1, 8 + length + data_bytes);
    assert_non_null(bytes);
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(length >> 8 * i);
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data_bytes; i++) bytes[8 + length + i] = (unsigned char)i;
    scratch_write(path, bytes, 8 + length + data_bytes);
    free(bytes);
    return path;
}

static void expect_refusal(void **state, const char *header, size_t data_bytes, const char *part)
{
    awq_error err;
    awq_safetensors *file;
    const char *path = write_file(state, header, data_bytes);
    assert_int_equal(awq_safetensors_open(path, &file, &err), AWQ_ERR_CORRUPT);
    assert_contains(err.text, part);
    assert_contains(err.text, path);
}

#define ENTRY(dtype, shape, begin, end)                                                            \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

static void tensors_are_found_and_point_into_the_file(void **state)
{
    awq_error err;
    awq_safetensors *file;
    const char *path = write_file(
        state,
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"b\":" ENTRY("U8", "[2]", 8,
                       10) ","
                           "\"a\":" ENTRY("F32", "[2, 1]", 0,
                                          8) ","
                                             "\"z\":" ENTRY("F16", "[3, 0]", 8,
                                                            8) ","
                                                               "\"s\":" ENTRY("BF16", "[]", 10,
                                                                              12) "}     ",
        12);
    assert_int_equal(awq_safetensors_open(path, &file, &err), AWQ_OK);
    assert_int_equal(awq_safetensors_count(file), 4);
    static const char *const order[] = {"a", "z", "b", "s"};
    for (size_t i = 0; i < 4; i++) assert_string_equal(awq_safetensors_at(file, i)->name, order[i]);
    const awq_tensor *b = awq_safetensors_find(file, "b");
    assert_non_null(b);
    assert_int_equal(b->bytes, 2);
    assert_int_equal(((const unsigned char *)b->data)[1], 9);
    const awq_tensor *a = awq_safetensors_find(file, "a");
    assert_int_equal(a->dims, 2);
    assert_int_equal(a->dtype, AWQ_F32);
    assert_int_equal(awq_tensor_elements(a), 2);
    assert_int_equal(awq_tensor_elements(awq_safetensors_find(file, "z")), 0);
    assert_int_equal(awq_tensor_elements(awq_safetensors_find(file, "s")), 1);
    assert_null(awq_safetensors_find(file, "c"));
    assert_string_equal(awq_safetensors_path(file), path);
    for (size_t i = 0; i < 4; i++) awq_safetensors_dont_need(awq_safetensors_at(file, i));
    awq_safetensors_close(file);
    awq_safetensors_close(NULL);
}

static void the_header_has_a_checksum(void **state)
{
    awq_error err;
    awq_safetensors *file;
    uint64_t bytes;
    const char *path = write_file(state, "{\"a\":" ENTRY("U8", "[2]", 0, 2) "}", 2);
    assert_int_equal(awq_safetensors_open(path, &file, &err), AWQ_OK);
    const void *all = awq_safetensors_bytes(file, &bytes);
    assert_int_equal(awq_safetensors_header_crc(file), awq_crc32(0, all, bytes - 2));
    awq_safetensors_close(file);
}

static void a_file_without_tensors_is_fine(void **state)
{
    awq_error err;
    awq_safetensors *file;
    assert_int_equal(awq_safetensors_open(write_file(state, "{}", 0), &file, &err), AWQ_OK);
    assert_int_equal(awq_safetensors_count(file), 0);
    assert_null(awq_safetensors_find(file, ""));
    awq_safetensors_close(file);
    expect_refusal(state, "{}", 3, "3 bytes follow the last tensor");
}

static void shapes_print_as_people_write_them(void **state)
{
    (void)state;
    char text[AWQ_SHAPE_TEXT_BYTES];
    awq_tensor tensor = {.dims = 2, .shape = {4096, 11008}};
    assert_string_equal(awq_tensor_shape_text(text, &tensor), "[4096, 11008]");
    tensor.dims = 0;
    assert_string_equal(awq_tensor_shape_text(text, &tensor), "[]");
    tensor.dims = AWQ_MAX_DIMS;
    for (int i = 0; i < AWQ_MAX_DIMS; i++) tensor.shape[i] = INT64_MAX;
    assert_int_equal(strlen(awq_tensor_shape_text(text, &tensor)), 8 * 19 + 7 * 2 + 2);
}

static void short_and_lying_files_are_refused(void **state)
{
    awq_error err;
    awq_safetensors *file;
    const char *path = scratch_path(state, "a.safetensors");
    for (size_t bytes = 0; bytes < 8; bytes++) {
        scratch_write(path, "\0\0\0\0\0\0\0\0", bytes);
        assert_int_equal(awq_safetensors_open(path, &file, &err), AWQ_ERR_CORRUPT);
        assert_contains(err.text, "too short for a header");
    }
    scratch_write(path, "\x03\0\0\0\0\0\0\0{}", 10);
    assert_int_equal(awq_safetensors_open(path, &file, &err), AWQ_ERR_CORRUPT);
    assert_contains(err.text, "its header claims 3 bytes of 10");
    scratch_write(path, "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    assert_int_equal(awq_safetensors_open(path, &file, &err), AWQ_ERR_CORRUPT);
    assert_int_equal(awq_safetensors_open(scratch_path(state, "none"), &file, &err), AWQ_ERR_IO);
    assert_contains(err.text, "No such file");
    assert_int_equal(awq_safetensors_open(*state, &file, &err), AWQ_ERR_INPUT);
    assert_contains(err.text, "not a regular file");
}

static void headers_that_are_no_object_are_refused(void **state)
{
    expect_refusal(state, "", 4, "its header is not a JSON object");
    expect_refusal(state, "[]", 0, "its header is not a JSON object");
    expect_refusal(state, " {}", 0, "its header is not a JSON object");
    expect_refusal(state, "{\"a\":", 0, "is not valid JSON");
    expect_refusal(state, "{\"a\":1,\"a\":1}", 0, "is not valid JSON");
    expect_refusal(state, "{\"__metadata__\":3}", 0, "__metadata__ is not an object");
    expect_refusal(state, "{\"__metadata__\":{\"k\":3}}", 0, "__metadata__ 'k' is not a string");
}

static void entries_that_are_off_are_named(void **state)
{
    expect_refusal(state, "{\"a\":3}", 0, "tensor 'a': its entry is not an object");
    expect_refusal(state, "{\"a\":{}}", 0, "tensor 'a': dtype is not a string");
    expect_refusal(state, "{\"a\":" ENTRY("F128", "[1]", 0, 16) "}", 16, "dtype 'F128' is unknown");
    expect_refusal(state, "{\"a\":" ENTRY("U8", "3", 0, 3) "}", 3, "shape is not an array");
    expect_refusal(state, "{\"a\":" ENTRY("U8", "[-1]", 0, 1) "}", 1, "other than sizes");
    expect_refusal(state, "{\"a\":" ENTRY("U8", "[1.0]", 0, 1) "}", 1, "other than sizes");
    expect_refusal(state, "{\"a\":" ENTRY("U8", "[1,1,1,1,1,1,1,1,1]", 0, 1) "}", 1,
                   "9 dimensions");
    expect_refusal(state, "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1,
                   "not a pair of integers");
    expect_refusal(state, "{\"a\":" ENTRY("U8", "[1]", 1, 0) "}", 1, "is not a range");
    expect_refusal(state, "{\"a\":" ENTRY("U8", "[1]", -1, 0) "}", 1, "is not a range");
}

static void products_that_overflow_are_refused(void **state)
{
    expect_refusal(state, "{\"a\":" ENTRY("U8", "[4294967296,4294967296]", 0, 0) "}", 0,
                   "shape overflows");
    expect_refusal(state, "{\"a\":" ENTRY("F64", "[1152921504606846976]", 0, 0) "}", 0,
                   "shape overflows");
    expect_refusal(state, "{\"a\":" ENTRY("U8", "[9223372036854775807,2,0]", 0, 0) "}", 0,
                   "shape overflows");
}

static void ranges_must_cover_the_data(void **state)
{
    expect_refusal(state, "{\"a\":" ENTRY("U8", "[4]", 0, 4) "}", 3,
                   "data ends at byte 4, but the file holds 3: it is truncated");
    expect_refusal(state, "{\"a\":" ENTRY("F32", "[2]", 0, 4) "}", 4,
                   "shape [2] of F32 needs 8 bytes, has 4");
    expect_refusal(state, "{\"a\":" ENTRY("U8", "[1]", 1, 2) "}", 2, "a gap before its data");
    expect_refusal(state, "{\"a\":" ENTRY("U8", "[2]", 0, 2) ",\"b\":" ENTRY("U8", "[2]", 1, 3) "}",
                   3, "tensor 'b': its data overlaps");
    expect_refusal(state, "{\"a\":" ENTRY("U8", "[1]", 0, 1) "}", 2, "1 bytes follow the last");
}

static void a_name_of_any_length_fits_the_error(void **state)
{
    char header[3000], name[2000];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    snprintf(header, sizeof header, "{\"%s\":{}}", name);
    expect_refusal(state, header, 0, "dtype is not a string");
}

static void every_truncation_of_a_file_is_refused(void **state)
{
    awq_error err;
    awq_safetensors *file;
    size_t bytes;
    const char *path = write_file(state, "{\"a\":" ENTRY("F32", "[3]", 0, 12) "}", 12);
    char *whole = scratch_read(path, &bytes);
    for (size_t cut = 0; cut < bytes; cut++) {
        scratch_write(path, whole, cut);
        assert_int_equal(awq_safetensors_open(path, &file, &err), AWQ_ERR_CORRUPT);
    }
    free(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(tensors_are_found_and_point_into_the_file),
        scratch_test(the_header_has_a_checksum),
        scratch_test(a_file_without_tensors_is_fine),
        cmocka_unit_test(shapes_print_as_people_write_them),
        scratch_test(short_and_lying_files_are_refused),
        scratch_test(headers_that_are_no_object_are_refused),
        scratch_test(entries_that_are_off_are_named),
        scratch_test(products_that_overflow_are_refused),
        scratch_test(ranges_must_cover_the_data),
        scratch_test(a_name_of_any_length_fits_the_error),
        scratch_test(every_truncation_of_a_file_is_refused),
    };
    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
