/* SPDX-License-Identifier: MIT
 * tests/unit/layers/candidates.c - which scales are tried (docs/awq.md 2.3). */
#include "layers/search/candidates.h"

#include <math.h>

#include "tests/unit/layers/check.h"

static awq_candidate list[AWQ_MAX_CANDIDATES];

static void plain_alphas_run_from_identity_to_one(void **state)
{
    (void)state;
    assert_int_equal(awq_candidates_list(20, AWQ_DUO_OFF, list), 21);
    for (int i = 0; i <= 20; i++) {
        assert_true(fabs(list[i].alpha - i / 20.0) < 1e-15);
        assert_false(list[i].duo);
    }
}

static void duo_keeps_the_identity_first(void **state)
{
    (void)state;
    assert_int_equal(awq_candidates_list(20, AWQ_DUO_ON, list), 22);
    assert_true(list[0].alpha == 0 && !list[0].duo);
    assert_true(list[1].alpha == 0 && list[1].duo);
    assert_true(list[21].alpha == 1 && list[21].duo);
}

static void duo_both_lists_plain_alphas_then_duo(void **state)
{
    (void)state;
    assert_int_equal(awq_candidates_list(4, AWQ_DUO_BOTH, list), 10);
    assert_true(list[4].alpha == 1 && !list[4].duo);
    assert_true(list[5].alpha == 0 && list[5].duo);
    assert_int_equal(awq_candidates_list(AWQ_MAX_ALPHA_STEPS, AWQ_DUO_BOTH, list),
                     AWQ_MAX_CANDIDATES - 1);
}

static void no_steps_leave_the_identity_only(void **state)
{
    (void)state;
    assert_int_equal(awq_candidates_list(0, AWQ_DUO_OFF, list), 1);
    assert_int_equal(awq_candidates_list(0, AWQ_DUO_ON, list), 1);
    assert_int_equal(awq_candidates_list(0, AWQ_DUO_BOTH, list), 1);
    assert_true(list[0].alpha == 0 && !list[0].duo);
}

static void alpha_zero_is_the_identity(void **state)
{
    (void)state;
    const double m[] = {log(0), log(1e-30), log(3), log(1e10)};
    float s[4];
    double raw[4];
    awq_candidate_scales(&(awq_candidate){0, false}, m, NULL, 4, raw, s);
    for (int i = 0; i < 4; i++) assert_true(s[i] == 1);
}

static void scales_are_powers_normalised_by_the_geometric_middle(void **state)
{
    (void)state;
    const double m[] = {log(16), log(1), log(4), log(0.25)};
    float s[4];
    double raw[4];
    awq_candidate_scales(&(awq_candidate){0.5, false}, m, NULL, 4, raw, s);
    double middle = sqrt(4 * 0.5);
    const double expected[] = {4, 1, 2, 0.5};
    for (int i = 0; i < 4; i++) assert_true(fabs((double)s[i] - expected[i] / middle) < 1e-6);
}

static void duo_divides_by_the_weights(void **state)
{
    (void)state;
    const double m[] = {log(16), log(1)}, w[] = {log(0.04), log(0.64)};
    float s[2];
    double raw[2];
    awq_candidate_scales(&(awq_candidate){0.5, true}, m, w, 2, raw, s);
    double a = 4 / (0.2 + 1e-4), b = 1 / (0.8 + 1e-4), middle = sqrt(a * b);
    assert_true(fabs((double)s[0] - a / middle) < 1e-5 && fabs((double)s[1] - b / middle) < 1e-5);
}

static void dead_channels_take_the_least_scale(void **state)
{
    (void)state;
    const double m[] = {log(0), log(1), log(100)};
    float s[3];
    double raw[3];
    awq_candidate_scales(&(awq_candidate){1, false}, m, NULL, 3, raw, s);
    double middle = sqrt(100 * 1e-4);
    assert_true(fabs((double)s[0] - 1e-4 / middle) < 1e-9);
    assert_true(fabs((double)s[2] - 100 / middle) < 1e-3);
}

static void what_is_not_finite_becomes_one(void **state)
{
    (void)state;
    const double m[] = {log(NAN), log(INFINITY), log(4), log(1)};
    float s[4];
    double raw[4];
    awq_candidate_scales(&(awq_candidate){1, false}, m, NULL, 4, raw, s);
    assert_true(s[0] == 1 && s[1] == 1);
    assert_true(fabsf(s[2] - 2) < 1e-6f && fabsf(s[3] - 0.5f) < 1e-6f);
}

int main(void)
{
    const struct CMUnitTest candidates[] = {
        cmocka_unit_test(plain_alphas_run_from_identity_to_one),
        cmocka_unit_test(duo_keeps_the_identity_first),
        cmocka_unit_test(duo_both_lists_plain_alphas_then_duo),
        cmocka_unit_test(no_steps_leave_the_identity_only),
        cmocka_unit_test(alpha_zero_is_the_identity),
        cmocka_unit_test(scales_are_powers_normalised_by_the_geometric_middle),
        cmocka_unit_test(duo_divides_by_the_weights),
        cmocka_unit_test(dead_channels_take_the_least_scale),
        cmocka_unit_test(what_is_not_finite_becomes_one),
    };
    return cmocka_run_group_tests(candidates, NULL, NULL);
}
