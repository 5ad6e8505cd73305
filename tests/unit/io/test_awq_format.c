/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "io/formats/layouts.h"
#include "scratch.h"

/* Nibbles [out, n] to rows of words. */
static void pack_rows(uint32_t *words, const uint8_t *values, int64_t out, int64_t n)
{
    for (int64_t row = 0; row < out; row++)
        awq_words_pack(words + row * awq_words_count(n, 4), values + row * n, n, 4);
}

static void the_check_values_of_the_layout(void **state)
{
    (void)state;
    const uint8_t natural[] = {0, 1, 2, 3, 4, 5, 6, 7}, mixed[] = {15, 0, 8, 7, 3, 12, 1, 9};
    uint32_t word, rows[8];
    pack_rows(rows, natural, 8, 1);
    awq_gemm_pack(&word, rows, 8, 1);
    assert_int_equal(word, 0x75316420u);
    pack_rows(rows, mixed, 8, 1);
    awq_gemm_pack(&word, rows, 8, 1);
    assert_int_equal(word, 0x9c70138fu);
}

/* The definition: word (r, c), nibble i is column 8c + {0,2,4,6,1,3,5,7}[i] of input row r. */
static void pack_plainly(uint32_t *words, const uint8_t *values, int64_t out, int64_t n)
{
    static const int order[] = {0, 2, 4, 6, 1, 3, 5, 7};
    for (int64_t r = 0; r < n; r++)
        for (int64_t c = 0; c < out / 8; c++) {
            uint32_t word = 0;
            for (int i = 0; i < 8; i++)
                word |= (uint32_t)values[(8 * c + order[i]) * n + r] << 4 * i;
            words[r * (out / 8) + c] = word;
        }
}

static void packing_follows_the_definition_at_any_size(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{8, 1},    {8, 64},    {16, 3},   {128, 64},
                                       {136, 65}, {264, 130}, {24, 129}, {1032, 7}};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int64_t out = sizes[s][0], n = sizes[s][1];
        size_t count = (size_t)(out * n);
        uint8_t *values = malloc(count), *back = malloc(count);
        uint32_t *words = malloc(count / 2), *expected = malloc(count / 2);
        uint32_t *rows = malloc((size_t)(out * awq_words_count(n, 4)) * sizeof *rows);
        for (size_t i = 0; i < count; i++) values[i] = (uint8_t)(i * 2654435761u >> 20) & 15;
        pack_rows(rows, values, out, n);
        awq_gemm_pack(words, rows, out, n);
        pack_plainly(expected, values, out, n);
        assert_memory_equal(words, expected, count / 2);
        awq_gemm_unpack(back, words, out, n);
        assert_memory_equal(back, values, count);
        free(values);
        free(back);
        free(words);
        free(expected);
        free(rows);
    }
}

/* ---- words ---- */

static void words_hold_values_in_natural_order(void **state)
{
    (void)state;
    const uint8_t nibbles[] = {0, 1, 2, 3, 4, 5, 6, 7};
    uint32_t word;
    awq_words_pack(&word, nibbles, 8, 4);
    assert_int_equal(word, 0x76543210u);
}

static void three_bits_run_over_words(void **state)
{
    (void)state;
    const uint8_t values[] = {7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 5}; /* value 10 has bits 30..32 */
    uint8_t back[12];
    uint32_t words[2];
    awq_words_pack(words, values, 12, 3);
    assert_int_equal(words[0], 0x80000007u); /* 6 is 110: its low bits 0 and 1 are bits 30, 31 */
    assert_int_equal(words[1], 0xbu);        /* its high bit, then 5 */
    awq_words_unpack(back, words, 12, 3);
    assert_memory_equal(back, values, 12);
}

/* ---- what formats hold ---- */

static void formats_hold_their_bits_and_shapes(void **state)
{
    (void)state;
    static const struct {
        awq_quantization quantization;
        int64_t out, in;
        const char *reason; /* NULL: held */
    } cases[] = {
        {{AWQ_FORMAT_GEMM, 4, 8, false, AWQ_F16}, 8, 8, NULL},
        {{AWQ_FORMAT_GEMM, 4, 8, false, AWQ_F16}, 12, 8, "has 12 outputs"},
        {{AWQ_FORMAT_GEMV, 4, 32, false, AWQ_F16}, 8, 32, NULL},
        {{AWQ_FORMAT_GEMV, 4, -1, false, AWQ_F16}, 8, 136, NULL},
        {{AWQ_FORMAT_GEMV, 4, -1, false, AWQ_F16}, 8, 130, "has 130 inputs"},
        {{AWQ_FORMAT_GEMV, 4, 16, false, AWQ_F16}, 8, 64, "has groups of 16"},
        {{AWQ_FORMAT_GEMV, 4, -1, false, AWQ_F16}, 8, 96, "has groups of 96"},
        {{AWQ_FORMAT_GEMV_FAST, 4, 32, false, AWQ_F16}, 8, 64, NULL},
        {{AWQ_FORMAT_GEMV_FAST, 4, 32, false, AWQ_F16}, 8, 96, "a multiple of 64"},
        {{AWQ_FORMAT_GEMV_FAST, 4, 32, false, AWQ_F16}, 4, 64, "has 4 outputs"},
        {{AWQ_FORMAT_COMPRESSED, 3, 5, false, AWQ_BF16}, 7, 5, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char reason[AWQ_REASON_BYTES] = "";
        bool held =
            awq_format_holds_linear(&cases[i].quantization, cases[i].out, cases[i].in, reason);
        assert_int_equal(held, !cases[i].reason);
        if (cases[i].reason) assert_contains(reason, cases[i].reason);
    }
    for (int bits = 2; bits <= 8; bits++)
        for (awq_format format = 0; format < AWQ_FORMATS; format++) {
            char reason[AWQ_REASON_BYTES];
            awq_quantization quantization = {.format = format, .bits = bits};
            bool compressed = format == AWQ_FORMAT_COMPRESSED && (bits == 3 || bits == 8);
            assert_int_equal(awq_format_holds(&quantization, reason), bits == 4 || compressed);
        }
}

/* ---- what cannot be stored exactly ---- */

/* Packs one row of 128 codes in one group; returns the error's text, or "". */
static const char *pack_one(awq_format format, bool symmetric, awq_dtype scales, uint8_t zero,
                            float scale)
{
    static awq_error err;
    uint32_t words[8 * 16] = {0};
    uint8_t zeros[8];
    float steps[8];
    uint32_t room[AWQ_MAX_PARTS][4096];
    void *to[] = {room[0], room[1], room[2], room[3]};
    for (int i = 0; i < 8; i++) zeros[i] = zero;
    for (int i = 0; i < 8; i++) steps[i] = scale;
    awq_linear_words linear = {8, 128, 1, words, zeros, steps};
    awq_quantization quantization = {format, 4, 128, symmetric, scales};
    return awq_format_pack(&quantization, &linear, to, &err) ? err.text : "";
}

static void what_a_format_cannot_hold_exactly_is_refused(void **state)
{
    (void)state;
    assert_string_equal(pack_one(AWQ_FORMAT_GEMM, false, AWQ_F16, 3, 0.25f), "");
    for (awq_format format = 0; format < AWQ_FORMATS; format++)
        assert_contains(pack_one(format, false, AWQ_F16, 3, 0.1f), "is not exact in F16");
    assert_contains(pack_one(AWQ_FORMAT_COMPRESSED, false, AWQ_BF16, 3, 1.001953125f),
                    "is not exact in BF16");
    assert_string_equal(pack_one(AWQ_FORMAT_COMPRESSED, false, AWQ_F16, 3, 1.001953125f), "");
    assert_string_equal(pack_one(AWQ_FORMAT_COMPRESSED, true, AWQ_F16, 8, 0.25f), "");
    assert_contains(pack_one(AWQ_FORMAT_COMPRESSED, true, AWQ_F16, 9, 0.25f),
                    "has the zero point 9, and symmetric groups have 8");
    assert_string_equal(pack_one(AWQ_FORMAT_GEMV_FAST, false, AWQ_F16, 1, 32768), "");
    assert_contains(pack_one(AWQ_FORMAT_GEMV_FAST, false, AWQ_F16, 2, 32768), "does not fit");
}

/* Every float16 scale and zero point: -scale * zero is rounded, and the zero comes back. */
static void gemv_fast_gives_every_zero_point_back(void **state)
{
    (void)state;
    for (uint32_t half = 1; half < 0x7c00; half++) {
        float scale = awq_float_from_f16((uint16_t)half);
        for (uint8_t zero = half % 3 ? 15 : 0; zero < 16; zero++)
            if (scale * (float)zero < 65504 &&
                *pack_one(AWQ_FORMAT_GEMV_FAST, false, AWQ_F16, zero, scale))
                fail_msg("scale %g, zero %d", (double)scale, zero);
    }
}

/* Tensors of one group in gemv-fast, of which `product` is -scale * zero. */
static void a_product_that_is_of_no_zero_point_is_named(void **state)
{
    (void)state;
    uint16_t words[2 * 128] = {0}, scales[8 * 8] = {0}, products[8 * 8] = {0};
    for (int i = 0; i < 8; i++) scales[i] = awq_f16_from_float(0.5f);
    for (int i = 0; i < 8; i++) products[i] = awq_f16_from_float(-1.5f);
    awq_tensor tensors[] = {{.name = "P.qweight", .data = words},
                            {.name = "P.qzeros", .data = products},
                            {.name = "P.scales", .data = scales}};
    const awq_tensor *parts[AWQ_MAX_PARTS] = {&tensors[0], &tensors[1], &tensors[2]};
    awq_quantization quantization = {AWQ_FORMAT_GEMV_FAST, 4, 128, false, AWQ_F16};
    awq_linear_codes codes;
    awq_error err;
    assert_int_equal(awq_linear_codes_init(&codes, &quantization, 8, 128, &err), AWQ_OK);
    assert_int_equal(awq_format_unpack(&quantization, parts, &codes, &err), AWQ_OK);
    assert_int_equal(codes.zeros[5], 3);
    products[5] = awq_f16_from_float(-1.6f);
    assert_int_equal(awq_format_unpack(&quantization, parts, &codes, &err), AWQ_ERR_INPUT);
    assert_contains(err.text, "'P.qzeros' holds");
    assert_contains(err.text, "at row 0, column 5");
    awq_linear_codes_release(&codes);
}

static void a_shape_that_lies_is_named(void **state)
{
    (void)state;
    uint32_t words[4] = {0}, zeros[1] = {0};
    uint16_t scale[1] = {0x3c00};
    int64_t shape[2] = {1, 31};
    int32_t narrow[2] = {1, 32};
    awq_tensor tensors[] = {{.name = "P.weight_packed", .data = words},
                            {.name = "P.weight_scale", .dtype = AWQ_F16, .data = scale},
                            {.name = "P.weight_shape", .dtype = AWQ_I64, .data = shape},
                            {.name = "P.weight_zero_point", .data = zeros}};
    const awq_tensor *parts[AWQ_MAX_PARTS] = {&tensors[0], &tensors[1], &tensors[2], &tensors[3]};
    awq_quantization quantization = {AWQ_FORMAT_COMPRESSED, 4, 32, false, AWQ_F16};
    awq_linear_codes codes;
    awq_error err;
    assert_int_equal(awq_linear_codes_init(&codes, &quantization, 1, 32, &err), AWQ_OK);
    assert_int_equal(awq_format_unpack(&quantization, parts, &codes, &err), AWQ_ERR_INPUT);
    assert_string_equal(err.text, "'P.weight_shape' says [1, 31], expected [1, 32]");
    tensors[2].dtype = AWQ_I32;
    tensors[2].data = narrow;
    assert_int_equal(awq_format_unpack(&quantization, parts, &codes, &err), AWQ_OK);
    awq_linear_codes_release(&codes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_check_values_of_the_layout),
        cmocka_unit_test(packing_follows_the_definition_at_any_size),
        cmocka_unit_test(words_hold_values_in_natural_order),
        cmocka_unit_test(three_bits_run_over_words),
        cmocka_unit_test(formats_hold_their_bits_and_shapes),
        cmocka_unit_test(what_a_format_cannot_hold_exactly_is_refused),
        cmocka_unit_test(gemv_fast_gives_every_zero_point_back),
        cmocka_unit_test(a_product_that_is_of_no_zero_point_is_named),
        cmocka_unit_test(a_shape_that_lies_is_named),
    };
    return cmocka_run_group_tests_name("awq_format", tests, NULL, NULL);
}
