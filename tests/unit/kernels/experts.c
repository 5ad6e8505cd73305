/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/experts.c - the verbs of mixtures of experts against naive float64 references:
 * choices exactly, the rest within a few roundings of float32. */
#include <math.h>

#include "tests/unit/kernels/bench.h"

static const double tolerance = 0x1p-21;

/* ---- choices ---- */

static awq_routing_rule plain(int64_t experts, int64_t active)
{
    return (awq_routing_rule){
        .score = AWQ_SCORE_SOFTMAX, .experts = experts, .active = active, .factor = 1};
}

static const int32_t *choose(const float *logits, int64_t rows, int64_t experts, int64_t top)
{
    int32_t *expert = device_array((size_t)(rows * top) * sizeof *expert);
    awq_routing_rule rule = plain(experts, top);
    be->top_experts(device, expert, device_floats(logits, rows * experts), NULL, rows, &rule);
    return fetch_bytes(expert, (size_t)(rows * top) * sizeof *expert);
}

/* How many experts come before `expert` in a row: larger logits, and equal ones of lower number. */
static int64_t rank_of(const float *logits, int64_t experts, int64_t expert)
{
    int64_t before = 0;
    for (int64_t e = 0; e < experts; e++)
        before += logits[e] > logits[expert] || (logits[e] == logits[expert] && e < expert);
    return before;
}

static void check_choices(int64_t rows, int64_t experts, int64_t top, float step)
{
    float *logits = host_random(rows * experts, 3);
    for (int64_t i = 0; step > 0 && i < rows * experts; i++)
        logits[i] = rintf(logits[i] / step) * step; /* ties */
    const int32_t *expert = choose(logits, rows, experts, top);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < top; k++) {
            assert_in_range(expert[r * top + k], 0, experts - 1);
            assert_int_equal(rank_of(logits + r * experts, experts, expert[r * top + k]), k);
        }
}

static void the_experts_of_the_largest_logits_are_chosen(void **state)
{
    (void)state;
    check_choices(37, 8, 2, 0);
    check_choices(70, 128, 8, 0);
    check_choices(3, 60, 4, 0);
}

static void of_equal_logits_the_lower_expert_is_chosen(void **state)
{
    (void)state;
    check_choices(33, 40, 5, 1.0f);
    check_choices(5, 64, 8, 100.0f); /* all are 0 */
}

static void all_experts_may_be_chosen_and_one_may_be_all(void **state)
{
    (void)state;
    check_choices(9, 4, 4, 0);
    check_choices(9, 1, 1, 0);
}

static void a_row_with_nan_chooses_each_expert_once(void **state)
{
    (void)state;
    float logits[40];
    for (int i = 0; i < 40; i++) logits[i] = i % 3 ? NAN : (float)i;
    const int32_t *expert = choose(logits, 1, 40, 8);
    for (int k = 0; k < 8; k++) {
        assert_in_range(expert[k], 0, 39);
        for (int other = 0; other < k; other++) assert_int_not_equal(expert[k], expert[other]);
    }
}

/* ---- weights ---- */

static float *weigh(const float *logits, const int32_t *expert, int64_t rows, int64_t experts,
                    int64_t top, bool normalized)
{
    float *weight = device_array((size_t)(rows * top) * sizeof *weight);
    const int32_t *given = device_bytes(expert, (size_t)(rows * top) * sizeof *expert);
    awq_routing_rule rule = plain(experts, top);
    rule.normalized = normalized;
    be->expert_weights(device, weight, device_floats(logits, rows * experts), given, rows, &rule);
    return fetch_floats(weight, rows * top);
}

/* For experts that need not be the largest: a check holds choices. */
static void check_weights(int64_t rows, int64_t experts, int64_t top, bool normalized)
{
    float *logits = host_random(rows * experts, 6);
    int32_t *expert = host_array((size_t)(rows * top) * sizeof *expert);
    double *reference = host_doubles(rows * top);
    for (int64_t r = 0; r < rows; r++) {
        double total = 0, chosen = 0;
        for (int64_t e = 0; e < experts; e++) total += exp((double)logits[r * experts + e]);
        for (int64_t k = 0; k < top; k++) {
            expert[r * top + k] = (int32_t)((r + 3 * k) % experts);
            reference[r * top + k] = exp((double)logits[r * experts + (r + 3 * k) % experts]);
            chosen += reference[r * top + k];
        }
        for (int64_t k = 0; k < top; k++) reference[r * top + k] /= normalized ? chosen : total;
    }
    assert_close(weigh(logits, expert, rows, experts, top, normalized), reference, rows * top,
                 tolerance);
}

static void weights_are_the_softmax_over_all_experts(void **state)
{
    (void)state;
    check_weights(37, 8, 2, false);
    check_weights(19, 128, 8, false);
}

static void normalized_weights_add_up_to_one(void **state)
{
    (void)state;
    check_weights(37, 8, 2, true);
    check_weights(19, 100, 7, true);
    check_weights(5, 16, 1, true);
}

static void weights_show_nan_and_survive_large_logits(void **state)
{
    (void)state;
    const float logits[] = {300, 299, -300, 0, 1, NAN, 2, 3};
    const int32_t expert[] = {0, 2, 0, 2};
    for (int normalized = 0; normalized < 2; normalized++) {
        const float *weight = weigh(logits, expert, 2, 4, 2, normalized);
        assert_true(fabsf(weight[0] - (normalized ? 1 : 1 / (1 + expf(-1)))) < 1e-6f);
        assert_true(weight[1] == 0);
        assert_true(isnan(weight[2]) && isnan(weight[3]));
    }
}

static void sigmoid_may_work_in_place(void **state)
{
    (void)state;
    int64_t count = 1000;
    float *x = host_random(count, 10);
    x[0] = 200;
    x[1] = -200;
    double *reference = host_doubles(count);
    for (int64_t i = 0; i < count; i++) reference[i] = 1 / (1 + exp(-(double)x[i]));
    float *y = device_floats(x, count);
    be->sigmoid(device, y, y, (size_t)count);
    assert_close(fetch_floats(y, count), reference, count, tolerance);
}

static void sigmoid_shows_nan(void **state)
{
    (void)state;
    const float x = NAN;
    float *y = device_floats(&x, 1);
    be->sigmoid(device, y, y, 1);
    assert_true(isnan(fetch_floats(y, 1)[0]));
}

/* ---- rows ---- */

static const int32_t some_rows[] = {40, 2, 39, 7, 8, 9, 0, 33, 34, 35, 36, 11, 21, 31, 1, 3, 5, 30};
enum { SOME = sizeof some_rows / sizeof *some_rows, ALL = 41 };

static void rows_are_gathered_bit_for_bit(void **state)
{
    (void)state;
    int64_t cols = 77;
    float *x = host_activations(ALL * cols, 5);
    void *y = device_array(compute_bytes(SOME * cols));
    be->gather_rows(device, y, device_compute(x, ALL * cols),
                    device_bytes(some_rows, sizeof some_rows), NULL, SOME, cols);
    const float *result = fetch_compute(y, SOME * cols);
    for (int i = 0; i < SOME; i++)
        assert_memory_equal(result + i * cols, x + some_rows[i] * cols, (size_t)cols * sizeof *x);
}

static void check_scatter(const int32_t *rows, int64_t count, int64_t cols)
{
    float *x = host_random(count * cols, 2), *weight = host_random(count, 1);
    float *sum = host_random(ALL * cols, 3);
    double *reference = host_doubles(ALL * cols);
    for (int64_t i = 0; i < ALL * cols; i++) reference[i] = (double)sum[i];
    for (int64_t i = 0; i < count * cols; i++)
        reference[(rows ? rows[i / cols] : i / cols) * cols + i % cols] +=
            (double)weight[i / cols] * (double)x[i];
    float *on_device = device_floats(sum, ALL * cols);
    const int32_t *given = rows ? device_bytes(rows, (size_t)count * sizeof *rows) : NULL;
    be->scatter_add(device, on_device, device_floats(x, count * cols), given,
                    device_floats(weight, count), count, cols);
    assert_close(fetch_floats(on_device, ALL * cols), reference, ALL * cols, tolerance);
}

static void weighted_rows_are_added_where_they_came_from(void **state)
{
    (void)state;
    check_scatter(some_rows, SOME, 77);
    check_scatter(some_rows, 1, 300);
}

static void without_a_list_all_rows_are_added_in_turn(void **state)
{
    (void)state;
    check_scatter(NULL, ALL, 64);
}

static void no_rows_change_nothing(void **state)
{
    (void)state;
    check_scatter(some_rows, 0, 64);
}

int main(void)
{
    const struct CMUnitTest experts[] = {
        cmocka_unit_test(the_experts_of_the_largest_logits_are_chosen),
        cmocka_unit_test(of_equal_logits_the_lower_expert_is_chosen),
        cmocka_unit_test(all_experts_may_be_chosen_and_one_may_be_all),
        cmocka_unit_test(a_row_with_nan_chooses_each_expert_once),
        cmocka_unit_test(weights_are_the_softmax_over_all_experts),
        cmocka_unit_test(normalized_weights_add_up_to_one),
        cmocka_unit_test(weights_show_nan_and_survive_large_logits),
        cmocka_unit_test(sigmoid_may_work_in_place),
        cmocka_unit_test(sigmoid_shows_nan),
        cmocka_unit_test(rows_are_gathered_bit_for_bit),
        cmocka_unit_test(weighted_rows_are_added_where_they_came_from),
        cmocka_unit_test(without_a_list_all_rows_are_added_in_turn),
        cmocka_unit_test(no_rows_change_nothing),
    };
    return BENCH_RUN(experts);
}
