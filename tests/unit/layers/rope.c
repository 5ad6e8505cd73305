/* SPDX-License-Identifier: MIT
 * tests/unit/layers/rope.c - the rotary table against docs/awq.md 4's formulas. */
#include "layers/forward/rope.h"

#include <math.h>

#include "tests/unit/layers/check.h"

/* In sequences of any length: but for longrope it does not matter. */
static double frequency(const awq_rope *of, int64_t rope_dim, int64_t j)
{
    awq_rope rope = *of;
    rope.dim = rope_dim;
    double found = awq_rope_frequency(&rope, 1, j);
    assert_true(awq_rope_frequency(&rope, 1 << 20, j) == found);
    return found;
}

static void default_frequencies_are_powers_of_theta(void **state)
{
    (void)state;
    awq_rope rope = {.type = AWQ_ROPE_DEFAULT, .theta = 10000};
    assert_true(frequency(&rope, 128, 0) == 1);
    assert_true(fabs(frequency(&rope, 128, 32) - 0.01) < 1e-15);
    assert_true(fabs(frequency(&rope, 4, 1) - 0.01) < 1e-15);
}

static void linear_scaling_divides_every_frequency(void **state)
{
    (void)state;
    awq_rope plain = {.type = AWQ_ROPE_DEFAULT, .theta = 500000};
    awq_rope linear = {.type = AWQ_ROPE_LINEAR, .theta = 500000, .factor = 4};
    for (int64_t j = 0; j < 64; j++)
        assert_true(fabs(frequency(&linear, 128, j) * 4 / frequency(&plain, 128, j) - 1) < 1e-14);
}

/* Llama 3.1's own numbers: factor 8, low 1, high 4, 8192 positions. */
static void llama3_stretches_long_waves_only(void **state)
{
    (void)state;
    awq_rope plain = {.type = AWQ_ROPE_DEFAULT, .theta = 500000};
    awq_rope rope = {.type = AWQ_ROPE_LLAMA3,
                     .theta = 500000,
                     .factor = 8,
                     .low_freq_factor = 1,
                     .high_freq_factor = 4,
                     .original_positions = 8192};
    int kept = 0, stretched = 0, between = 0;
    for (int64_t j = 0; j < 64; j++) {
        double inverse = frequency(&plain, 128, j);
        double wavelength = 2 * 3.14159265358979323846 / inverse;
        double ratio = frequency(&rope, 128, j) / inverse, t = (8192 / wavelength - 1) / 3;
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
    awq_rope rope = {.type = AWQ_ROPE_DEFAULT, .dim = 8, .theta = 10000};
    float cosine[600 * 4], sine[600 * 4];
    awq_rope_table(&rope, 600, cosine, sine);
    for (int position = 0; position < 600; position++)
        for (int j = 0; j < 4; j++) {
            double angle = position * pow(10000, -j / 4.0);
            assert_true(fabs((double)cosine[position * 4 + j] - cos(angle)) < 1e-7);
            assert_true(fabs((double)sine[position * 4 + j] - sin(angle)) < 1e-7);
        }
}

static const awq_rope longrope = {.type = AWQ_ROPE_LONGROPE,
                                  .dim = 8,
                                  .theta = 10000,
                                  .original_positions = 600,
                                  .attention_factor = 1.25,
                                  .long_attention_factor = 1.25,
                                  .short_factor = {1, 1.5, 2, 3},
                                  .long_factor = {2, 4, 8, 64}};

/* The original length itself is not longer. */
static void longrope_divides_by_other_factors_in_longer_sequences(void **state)
{
    (void)state;
    for (int64_t j = 0; j < 4; j++) {
        double plain = pow(10000, (double)-j / 4);
        double in_short = awq_rope_frequency(&longrope, 600, j);
        double in_long = awq_rope_frequency(&longrope, 601, j);
        assert_true(fabs(in_short * longrope.short_factor[j] / plain - 1) < 1e-14);
        assert_true(fabs(in_long * longrope.long_factor[j] / plain - 1) < 1e-14);
        assert_true(awq_rope_frequency(&longrope, 1, j) == in_short);
    }
}

static void longropes_table_is_multiplied_by_its_attention_factor(void **state)
{
    (void)state;
    static const int64_t lengths[] = {600, 601};
    float cosine[601 * 4], sine[601 * 4];
    for (int i = 0; i < 2; i++) {
        awq_rope_table(&longrope, lengths[i], cosine, sine);
        for (int position = 0; position < lengths[i]; position++)
            for (int j = 0; j < 4; j++) {
                double factor = i ? longrope.long_factor[j] : longrope.short_factor[j];
                double angle = position * pow(10000, -j / 4.0) / factor;
                assert_true(fabs((double)cosine[position * 4 + j] - 1.25 * cos(angle)) < 1e-7);
                assert_true(fabs((double)sine[position * 4 + j] - 1.25 * sin(angle)) < 1e-7);
            }
    }
}

int main(void)
{
    const struct CMUnitTest rope[] = {
        cmocka_unit_test(default_frequencies_are_powers_of_theta),
        cmocka_unit_test(linear_scaling_divides_every_frequency),
        cmocka_unit_test(llama3_stretches_long_waves_only),
        cmocka_unit_test(the_table_holds_cosines_and_sines_by_position),
        cmocka_unit_test(longrope_divides_by_other_factors_in_longer_sequences),
        cmocka_unit_test(longropes_table_is_multiplied_by_its_attention_factor),
    };
    return cmocka_run_group_tests(rope, NULL, NULL);
}
