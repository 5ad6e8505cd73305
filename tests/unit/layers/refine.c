/* SPDX-License-Identifier: MIT
 * tests/unit/layers/refine.c - golden section search against functions whose least value is known.
 */
#include "layers/search/candidates.h"

#include <math.h>

#include "tests/unit/layers/check.h"

/* The alpha of the least loss after `steps`, and how many were tried inside the interval. */
static double least_of(double (*loss)(double alpha), double one, double other, int steps)
{
    double best = NAN, least = INFINITY;
    awq_refine refine = awq_refine_between(one, other);
    for (int i = 0; i < steps; i++) {
        double alpha = awq_refine_next(&refine), found = loss(alpha);
        assert_true(alpha > fmin(one, other) && alpha < fmax(one, other));
        assert_true(alpha == awq_refine_next(&refine));
        if (found < least) {
            least = found;
            best = alpha;
        }
        awq_refine_tell(&refine, found);
    }
    return best;
}

static double parabola(double alpha)
{
    return (alpha - 0.437) * (alpha - 0.437);
}

static double falling(double alpha)
{
    return -alpha;
}

static double never_finite(double alpha)
{
    return alpha < 0.47 ? NAN : INFINITY;
}

static double nan_beyond(double alpha)
{
    return alpha > 0.44 ? NAN : parabola(alpha);
}

static void the_first_two_alphas_divide_the_interval_in_the_golden_ratio(void **state)
{
    (void)state;
    awq_refine refine = awq_refine_between(0.5, 0.4);
    double ratio = (sqrt(5) - 1) / 2;
    assert_true(fabs(awq_refine_next(&refine) - (0.5 - 0.1 * ratio)) < 1e-12);
    awq_refine_tell(&refine, 1);
    assert_true(fabs(awq_refine_next(&refine) - (0.4 + 0.1 * ratio)) < 1e-12);
}

static void each_step_comes_nearer_to_the_least_loss(void **state)
{
    (void)state;
    for (int steps = 2; steps <= 20; steps++) {
        double left = 0.1 * pow((sqrt(5) - 1) / 2, steps - 1);
        assert_true(fabs(least_of(parabola, 0.4, 0.5, steps) - 0.437) <= left);
        assert_true(fabs(least_of(parabola, 0.5, 0.4, steps) - 0.437) <= left);
    }
}

static void a_loss_without_a_minimum_leads_to_the_end(void **state)
{
    (void)state;
    assert_true(least_of(falling, 0.4, 0.5, 20) > 0.4999);
}

static void what_is_not_finite_is_the_largest(void **state)
{
    (void)state;
    assert_true(isnan(least_of(never_finite, 0.4, 0.5, 10)));
    assert_true(fabs(least_of(nan_beyond, 0.4, 0.5, 20) - 0.437) < 1e-4);
}

int main(void)
{
    const struct CMUnitTest refine[] = {
        cmocka_unit_test(the_first_two_alphas_divide_the_interval_in_the_golden_ratio),
        cmocka_unit_test(each_step_comes_nearer_to_the_least_loss),
        cmocka_unit_test(a_loss_without_a_minimum_leads_to_the_end),
        cmocka_unit_test(what_is_not_finite_is_the_largest),
    };
    return cmocka_run_group_tests(refine, NULL, NULL);
}
