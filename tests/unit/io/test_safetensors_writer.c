/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/files/file.h"
#include "io/files/path.h"
#include "io/files/safetensors.h"
#include "scratch.h"

static const awq_tensor tensors[] = {
    {.name = "model.a", .dtype = AWQ_I32, .dims = 2, .shape = {2, 3}},
    {.name = "empty", .dtype = AWQ_F16, .dims = 2, .shape = {0, 7}},
    {.name = "scalar", .dtype = AWQ_F16, .dims = 0},
};

enum { DATA_BYTES = 26 };

static void pieces_are_put_in_any_order(void **state)
{
    awq_error err;
    awq_safetensors_writer *writer;
    uint32_t crc;
    size_t bytes, put_bytes;
    const char *data = "abcdefghijklmnopqrstuvwxyz";
    const char *path = scratch_path(state, "a.safetensors"), *put = scratch_path(state, "b");
    assert_int_equal(awq_safetensors_create(path, tensors, 3, &writer, &err), AWQ_OK);
    assert_int_equal(awq_safetensors_append(writer, data, DATA_BYTES, &err), AWQ_OK);
    assert_int_equal(awq_safetensors_commit(writer, NULL, NULL, &err), AWQ_OK);
    awq_safetensors_writer_free(writer);
    assert_int_equal(awq_safetensors_create(put, tensors, 3, &writer, &err), AWQ_OK);
    assert_int_equal(awq_safetensors_put(writer, 7, data + 7, DATA_BYTES - 7, &crc, &err), AWQ_OK);
    assert_int_equal(crc, awq_crc32(0, data + 7, DATA_BYTES - 7));
    assert_int_equal(awq_safetensors_commit(writer, NULL, NULL, &err), AWQ_ERR_INTERNAL);
    assert_int_equal(awq_safetensors_put(writer, 0, data, DATA_BYTES + 1, &crc, &err),
                     AWQ_ERR_INTERNAL);
    assert_int_equal(awq_safetensors_put(writer, 0, data, 7, &crc, &err), AWQ_OK);
    assert_int_equal(awq_safetensors_commit(writer, NULL, NULL, &err), AWQ_OK);
    awq_safetensors_writer_free(writer);
    char *appended = scratch_read(path, &bytes), *whole = scratch_read(put, &put_bytes);
    assert_int_equal(bytes, put_bytes);
    assert_memory_equal(appended, whole, bytes);
    free(appended);
    free(whole);
}

static void what_is_written_reads_back(void **state)
{
    awq_error err;
    awq_safetensors_writer *writer;
    awq_safetensors *file;
    uint32_t crc, file_crc;
    uint64_t bytes, file_bytes;
    const char *data = "abcdefghijklmnopqrstuvwxyz";
    const char *path = scratch_path(state, "a.safetensors");
    assert_int_equal(awq_safetensors_create(path, tensors, 3, &writer, &err), AWQ_OK);
    assert_int_equal(awq_safetensors_append(writer, data, 1, &err), AWQ_OK);
    assert_int_equal(awq_safetensors_append(writer, data + 1, DATA_BYTES - 1, &err), AWQ_OK);
    assert_int_equal(awq_safetensors_commit(writer, &crc, &bytes, &err), AWQ_OK);
    awq_safetensors_writer_free(writer);

    assert_int_equal(awq_file_crc32(path, &file_crc, &file_bytes, &err), AWQ_OK);
    assert_int_equal(crc, file_crc);
    assert_int_equal(bytes, file_bytes);
    assert_int_equal(bytes, awq_safetensors_file_bytes(tensors, 3));
    assert_int_equal((bytes - DATA_BYTES) % 8, 0);
    assert_int_equal(awq_safetensors_open(path, &file, &err), AWQ_OK);
    assert_int_equal(awq_safetensors_count(file), 3);
    const awq_tensor *scalar = awq_safetensors_find(file, "scalar");
    assert_non_null(scalar);
    assert_memory_equal(scalar->data, "yz", 2);
    const awq_tensor *first = awq_safetensors_at(file, 0);
    assert_string_equal(first->name, "model.a");
    assert_int_equal(first->shape[1], 3);
    awq_safetensors_close(file);
}

static void the_header_is_as_the_format_says(void **state)
{
    awq_error err;
    awq_safetensors_writer *writer;
    const char *path = scratch_path(state, "a.safetensors");
    const awq_tensor one = {.name = "x", .dtype = AWQ_BF16, .dims = 2, .shape = {1, 2}};
    assert_int_equal(awq_safetensors_create(path, &one, 1, &writer, &err), AWQ_OK);
    assert_int_equal(awq_safetensors_append(writer, "1234", 4, &err), AWQ_OK);
    assert_int_equal(awq_safetensors_commit(writer, NULL, NULL, &err), AWQ_OK);
    awq_safetensors_writer_free(writer);
    char *content = scratch_read(path, NULL);
    const char *expected = "{\"__metadata__\":{\"format\":\"pt\"},\"x\":{\"dtype\":\"BF16\","
                           "\"shape\":[1,2],\"data_offsets\":[0,4]}} ";
    assert_int_equal((unsigned char)content[0], strlen(expected) / 8 * 8);
    assert_memory_equal(content + 8, expected, strlen(expected) - 1);
    free(content);
}

static void too_much_and_too_little_data_are_bugs(void **state)
{
    awq_error err;
    awq_safetensors_writer *writer;
    const char *path = scratch_path(state, "a.safetensors");
    assert_int_equal(awq_safetensors_create(path, tensors, 3, &writer, &err), AWQ_OK);
    assert_int_equal(awq_safetensors_append(writer, "0123456789", 10, &err), AWQ_OK);
    assert_int_equal(awq_safetensors_append(writer, "01234567890123456789", 20, &err),
                     AWQ_ERR_INTERNAL);
    assert_int_equal(awq_safetensors_commit(writer, NULL, NULL, &err), AWQ_ERR_INTERNAL);
    assert_contains(err.text, "lacks 16 bytes");
    awq_safetensors_writer_free(writer);
    awq_safetensors_writer_free(NULL);
    assert_int_equal(scratch_count(*state), 0);
}

static void bad_names_are_refused(void **state)
{
    static const char *const names[] = {"", "a\"b", "a\\b", "a\nb", "\xc3\xa4", "__metadata__"};
    awq_error err;
    awq_safetensors_writer *writer;
    const char *path = scratch_path(state, "a.safetensors");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        awq_tensor tensor = {.name = names[i], .dtype = AWQ_U8, .dims = 1, .shape = {1}};
        assert_int_equal(awq_safetensors_create(path, &tensor, 1, &writer, &err), AWQ_ERR_INPUT);
        assert_contains(err.text, "is no tensor name");
    }
    const awq_tensor twice[] = {tensors[0], tensors[1], tensors[0]};
    assert_int_equal(awq_safetensors_create(path, twice, 3, &writer, &err), AWQ_ERR_INPUT);
    assert_contains(err.text, "'model.a' is there twice");
    assert_int_equal(awq_safetensors_create(scratch_path(state, "no/x"), tensors, 3, &writer, &err),
                     AWQ_ERR_IO);
}

static void sizes_are_exact_for_any_number_of_digits(void **state)
{
    const char *path = scratch_path(state, "a.safetensors");
    for (int64_t size = 1; size < 2000; size = size * 3 + 1) {
        awq_error err;
        awq_safetensors_writer *writer;
        awq_tensor pair[] = {{.name = "a", .dtype = AWQ_U8, .dims = 1, .shape = {size}},
                             {.name = "b", .dtype = AWQ_F32, .dims = 3, .shape = {1, size, 1}}};
        char *data = calloc(5, (size_t)size);
        uint64_t bytes;
        assert_int_equal(awq_safetensors_create(path, pair, 2, &writer, &err), AWQ_OK);
        assert_int_equal(awq_safetensors_append(writer, data, 5 * (size_t)size, &err), AWQ_OK);
        assert_int_equal(awq_safetensors_commit(writer, NULL, &bytes, &err), AWQ_OK);
        awq_safetensors_writer_free(writer);
        free(data);
        assert_int_equal(bytes, awq_safetensors_file_bytes(pair, 2));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(what_is_written_reads_back),
        scratch_test(pieces_are_put_in_any_order),
        scratch_test(the_header_is_as_the_format_says),
        scratch_test(too_much_and_too_little_data_are_bugs),
        scratch_test(bad_names_are_refused),
        scratch_test(sizes_are_exact_for_any_number_of_digits),
    };
    return cmocka_run_group_tests_name("safetensors_writer", tests, NULL, NULL);
}
