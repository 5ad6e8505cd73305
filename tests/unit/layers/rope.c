/* SPDX-License-Identifier: MIT
 * tests/unit/layers/rope.c - the rotary table against docs/awq.md 4's formulas. */
#include "layers/rope.h"

#include <math.h>

#include "tests/unit/layers/check.h"

static void default_frequencies_are_powers_of_theta(void **state)
{
    (void)state;
    awq_rope rope = {.type = AWQ_ROPE_DEFAULT, .theta = 10000};
    assert_true(awq_rope_frequency(&rope, 128, 0) == 1);
    assert_true(fabs(awq_rope_frequency(&rope, 128, 32) - 0.01) < 1e-15);
    assert_true(fabs(awq_rope_frequency(&rope, 4, 1) - 0.01) < 1e-15);
}

static void linear_scaling_divides_every_frequency(void **state)
{
    (void)state;
    awq_rope plain = {.type = AWQ_ROPE_DEFAULT, .theta = 500000};
    awq_rope linear = {.type = AWQ_ROPE_LINEAR, .theta = 500000, .factor = 4};
    for (int64_t j = 0; j < 64; j++)
        assert_true(
            fabs(awq_rope_frequency(&linear, 128, j) * 4 / awq_rope_frequency(&plain, 128, j) - 1) <
            1e-14);
}

/* Llama 3.1's own numbers: factor 8, low 1, high 4, 8192 positions. */
static void llama3_stretches_long_waves_only(void **state)
{
    (void)state;
    awq_rope plain = {.type = AWQ_ROPE_DEFAULT, .theta = 500000};
    awq_rope rope = {AWQ_ROPE_LLAMA3, 500000, 8, 1, 4, 8192};
    int kept = 0, stretched = 0, between = 0;
    for (int64_t j = 0; j < 64; j++) {
        double inverse = awq_rope_frequency(&plain, 128, j);
        double wavelength = 2 * 3.14159265358979323846 / inverse;
        double ratio = awq_rope_frequency(&rope, 128, j) / inverse, t = (8192 / wavelength - 1) / 3;
        double expected = wavelength > 8192 ? 0.125 : wavelength < 2048 ? 1 : (1 - t) / 8 + t;
        assert_true(fabs(ratio - expected) < 1e-12);
        kept += ratio == 1;
        stretched += ratio == 0.125;
        between += ratio > 0.1251 && ratio < 0.9999;
    }
    assert_true(kept > 20 && stretched > 20 && between > 3);
}

static void the_table_holds_cosines_and_sines_by_position(void **state)
{
    (void)state;
    awq_rope rope = {.type = AWQ_ROPE_DEFAULT, .theta = 10000};
    float cosine[600 * 4], sine[600 * 4];
    awq_rope_table(&rope, 8, 600, cosine, sine);
    for (int position = 0; position < 600; position++)
        for (int j = 0; j < 4; j++) {
            double angle = position * pow(10000, -j / 4.0);
            assert_true(fabs((double)cosine[position * 4 + j] - cos(angle)) < 1e-7);
            assert_true(fabs((double)sine[position * 4 + j] - sin(angle)) < 1e-7);
        }
}

int main(void)
{
    const struct CMUnitTest rope[] = {
        cmocka_unit_test(default_frequencies_are_powers_of_theta),
        cmocka_unit_test(linear_scaling_divides_every_frequency),
        cmocka_unit_test(llama3_stretches_long_waves_only),
        cmocka_unit_test(the_table_holds_cosines_and_sines_by_position),
    };
    return cmocka_run_group_tests(rope, NULL, NULL);
}
