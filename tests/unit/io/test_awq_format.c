/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "io/awq_format.h"
#include "scratch.h"

static void the_check_values_of_the_layout(void **state)
{
    (void)state;
    const uint8_t natural[] = {0, 1, 2, 3, 4, 5, 6, 7}, mixed[] = {15, 0, 8, 7, 3, 12, 1, 9};
    uint32_t word;
    awq_gemm_pack(&word, natural, 8, 1);
    assert_int_equal(word, 0x75316420u);
    awq_gemm_pack(&word, mixed, 8, 1);
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
        for (size_t i = 0; i < count; i++) values[i] = (uint8_t)(i * 2654435761u >> 20) & 15;
        awq_gemm_pack(words, values, out, n);
        pack_plainly(expected, values, out, n);
        assert_memory_equal(words, expected, count / 2);
        awq_gemm_unpack(back, words, out, n);
        assert_memory_equal(back, values, count);
        free(values);
        free(back);
        free(words);
        free(expected);
    }
}

static void scales_transpose_and_return(void **state)
{
    (void)state;
    enum { ROWS = 70, COLS = 33 };
    uint16_t from[ROWS * COLS], to[ROWS * COLS], back[ROWS * COLS];
    for (int i = 0; i < ROWS * COLS; i++) from[i] = (uint16_t)i;
    awq_gemm_transpose_scales(to, from, ROWS, COLS);
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLS; c++) assert_int_equal(to[c * ROWS + r], from[r * COLS + c]);
    awq_gemm_transpose_scales(back, to, COLS, ROWS);
    assert_memory_equal(back, from, sizeof from);
}

static void the_config_gains_its_quantization(void **state)
{
    (void)state;
    json_t *source = json_pack("{s:s, s:s}", "model_type", "llama", "quantization_config", "old");
    json_t *config = awq_format_config(source, 4, 128, true);
    char *text = json_dumps(config, JSON_COMPACT);
    assert_string_equal(
        text, "{\"model_type\":\"llama\",\"quantization_config\":{\"quant_method\":\"awq\","
              "\"bits\":4,\"group_size\":128,\"zero_point\":true,\"version\":\"gemm\","
              "\"modules_to_not_convert\":null}}");
    assert_string_equal(json_string_value(json_object_get(source, "quantization_config")), "old");
    free(text);
    json_decref(config);
    json_decref(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_check_values_of_the_layout),
        cmocka_unit_test(packing_follows_the_definition_at_any_size),
        cmocka_unit_test(scales_transpose_and_return),
        cmocka_unit_test(the_config_gains_its_quantization),
    };
    return cmocka_run_group_tests_name("awq_format", tests, NULL, NULL);
}
