/* SPDX-License-Identifier: MIT
 * The formats against the tools they are for: tests/data/formats holds small linears as plain codes
 * and as AutoAWQ and compressed-tensors store them (tests/peers/make_formats.py). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/formats/format.h"
#include "scratch.h"

enum { IN = 256 };

typedef struct fixture {
    const char *name;
    awq_quantization quantization;
} fixture;

static const fixture fixtures[] = {
    {"gemm-4-64", {AWQ_FORMAT_GEMM, 4, 64, false, AWQ_F16}},
    {"gemm-4-0", {AWQ_FORMAT_GEMM, 4, -1, false, AWQ_F16}},
    {"gemv-4-32", {AWQ_FORMAT_GEMV, 4, 32, false, AWQ_F16}},
    {"gemv-4-64", {AWQ_FORMAT_GEMV, 4, 64, false, AWQ_F16}},
    {"gemv-4-128", {AWQ_FORMAT_GEMV, 4, 128, false, AWQ_F16}},
    {"gemv-fast-4-64", {AWQ_FORMAT_GEMV_FAST, 4, 64, false, AWQ_F16}},
    {"gemv-fast-4-128", {AWQ_FORMAT_GEMV_FAST, 4, 128, false, AWQ_F16}},
    {"compressed-tensors-4-32", {AWQ_FORMAT_COMPRESSED, 4, 32, false, AWQ_BF16}},
    {"compressed-tensors-3-64", {AWQ_FORMAT_COMPRESSED, 3, 64, false, AWQ_F16}},
    {"compressed-tensors-3-0-symmetric", {AWQ_FORMAT_COMPRESSED, 3, -1, true, AWQ_BF16}},
    {"compressed-tensors-8-128", {AWQ_FORMAT_COMPRESSED, 8, 128, false, AWQ_F32}},
    {"compressed-tensors-8-0-symmetric", {AWQ_FORMAT_COMPRESSED, 8, -1, true, AWQ_BF16}},
};
enum { FIXTURES = sizeof fixtures / sizeof *fixtures };

static awq_safetensors *open_fixture(const fixture *f)
{
    char path[512];
    awq_safetensors *file;
    awq_error err;
    snprintf(path, sizeof path, AWQ_TEST_DATA "/formats/%s.safetensors", f->name);
    if (awq_safetensors_open(path, &file, &err)) fail_msg("%s", err.text);
    return file;
}

static int64_t rows_of(const awq_safetensors *file)
{
    return awq_safetensors_find(file, "plain.codes")->shape[0];
}

/* The plain codes of a file; the arrays are on the heap. */
static awq_linear_codes plain_codes(const fixture *f, const awq_safetensors *file)
{
    awq_linear_codes codes;
    awq_error err;
    int64_t out = rows_of(file);
    if (awq_linear_codes_init(&codes, &f->quantization, out, IN, &err)) fail_msg("%s", err.text);
    const awq_tensor *from[] = {awq_safetensors_find(file, "plain.codes"),
                                awq_safetensors_find(file, "plain.zeros"),
                                awq_safetensors_find(file, "plain.scales")};
    assert_int_equal(from[0]->bytes, out * IN);
    assert_int_equal(from[1]->bytes, out * codes.groups);
    assert_int_equal(from[2]->bytes, out * codes.groups * 4);
    memcpy(codes.codes, from[0]->data, from[0]->bytes);
    memcpy(codes.zeros, from[1]->data, from[1]->bytes);
    memcpy(codes.scales, from[2]->data, from[2]->bytes);
    return codes;
}

static int find_parts(const fixture *f, const awq_safetensors *file,
                      const awq_tensor *tensors[AWQ_MAX_PARTS], awq_part parts[AWQ_MAX_PARTS])
{
    int count = awq_format_parts(&f->quantization, rows_of(file), IN, parts);
    for (int i = 0; i < count; i++)
        if (!(tensors[i] = awq_safetensors_find(file, parts[i].suffix)))
            fail_msg("%s lacks %s", f->name, parts[i].suffix);
    return count;
}

static void tensors_have_the_shapes_of_the_tools(void **state)
{
    (void)state;
    for (int i = 0; i < FIXTURES; i++) {
        awq_safetensors *file = open_fixture(&fixtures[i]);
        const awq_tensor *tensors[AWQ_MAX_PARTS];
        awq_part parts[AWQ_MAX_PARTS];
        int count = find_parts(&fixtures[i], file, tensors, parts);
        assert_int_equal(awq_safetensors_count(file), count + 3); /* no part is left out */
        for (int p = 0; p < count; p++) {
            assert_int_equal(parts[p].dtype, tensors[p]->dtype);
            assert_int_equal(parts[p].dims, tensors[p]->dims);
            assert_memory_equal(parts[p].shape, tensors[p]->shape,
                                (size_t)parts[p].dims * sizeof parts[p].shape[0]);
        }
        awq_safetensors_close(file);
    }
}

static void packing_gives_the_bytes_of_the_tools(void **state)
{
    (void)state;
    for (int i = 0; i < FIXTURES; i++) {
        awq_safetensors *file = open_fixture(&fixtures[i]);
        awq_linear_codes codes = plain_codes(&fixtures[i], file);
        const awq_tensor *tensors[AWQ_MAX_PARTS];
        awq_part parts[AWQ_MAX_PARTS];
        void *to[AWQ_MAX_PARTS];
        awq_error err;
        int count = find_parts(&fixtures[i], file, tensors, parts);
        for (int p = 0; p < count; p++) {
            to[p] = malloc(tensors[p]->bytes);
            memset(to[p], 0xa5, tensors[p]->bytes);
        }
        uint32_t *words = awq_linear_codes_words(&codes, fixtures[i].quantization.bits);
        awq_linear_words linear = {codes.out, codes.in,    codes.groups,
                                   words,     codes.zeros, codes.scales};
        if (awq_format_pack(&fixtures[i].quantization, &linear, to, &err))
            fail_msg("%s: %s", fixtures[i].name, err.text);
        free(words);
        for (int p = 0; p < count; p++) {
            if (memcmp(to[p], tensors[p]->data, tensors[p]->bytes) != 0)
                fail_msg("%s: %s differs", fixtures[i].name, tensors[p]->name);
            free(to[p]);
        }
        awq_linear_codes_release(&codes);
        awq_safetensors_close(file);
    }
}

static void unpacking_gives_the_codes_back(void **state)
{
    (void)state;
    for (int i = 0; i < FIXTURES; i++) {
        awq_safetensors *file = open_fixture(&fixtures[i]);
        awq_linear_codes plain = plain_codes(&fixtures[i], file), codes;
        const awq_tensor *tensors[AWQ_MAX_PARTS];
        awq_part parts[AWQ_MAX_PARTS];
        awq_error err;
        find_parts(&fixtures[i], file, tensors, parts);
        if (awq_linear_codes_init(&codes, &fixtures[i].quantization, plain.out, IN, &err))
            fail_msg("%s", err.text);
        if (awq_format_unpack(&fixtures[i].quantization, tensors, &codes, &err))
            fail_msg("%s: %s", fixtures[i].name, err.text);
        assert_memory_equal(codes.codes, plain.codes, (size_t)(plain.out * IN));
        assert_memory_equal(codes.zeros, plain.zeros, (size_t)(plain.out * plain.groups));
        assert_memory_equal(codes.scales, plain.scales, (size_t)(plain.out * plain.groups) * 4);
        awq_linear_codes_release(&codes);
        awq_linear_codes_release(&plain);
        awq_safetensors_close(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_have_the_shapes_of_the_tools),
        cmocka_unit_test(packing_gives_the_bytes_of_the_tools),
        cmocka_unit_test(unpacking_gives_the_codes_back),
    };
    return cmocka_run_group_tests_name("format_fixtures", tests, NULL, NULL);
}
