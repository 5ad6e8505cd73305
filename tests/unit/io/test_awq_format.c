/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "io/awq_format_layouts.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_check_values_of_the_layout),
        cmocka_unit_test(packing_follows_the_definition_at_any_size),
    };
    return cmocka_run_group_tests_name("awq_format", tests, NULL, NULL);
}
