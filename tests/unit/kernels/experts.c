/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/experts.c - the verbs of mixtures of experts against naive float64 references
 * and transformers' own numbers: choices exactly, the rest within a few roundings of float32. */
#include <math.h>
#include <string.h>

#include "tests/unit/kernels/bench.h"

static const double tolerance = 0x1p-21;

/* ---- choices ---- */

static awq_routing_rule plain(int64_t experts, int64_t active)
{
    return (awq_routing_rule){
        .score = AWQ_SCORE_SOFTMAX, .experts = experts, .active = active, .factor = 1};
}

static const int32_t *choose_by(const awq_routing_rule *rule, const float *logits,
                                const float *correction, int64_t rows)
{
    int64_t count = rows * rule->active;
    int32_t *expert = device_array((size_t)count * sizeof *expert);
    be->top_experts(device, expert, device_floats(logits, rows * rule->experts),
                    correction ? device_floats(correction, rule->experts) : NULL, rows, rule);
    return fetch_bytes(expert, (size_t)count * sizeof *expert);
}

static const int32_t *choose(const float *logits, int64_t rows, int64_t experts, int64_t top)
{
    awq_routing_rule rule = plain(experts, top);
    return choose_by(&rule, logits, NULL, rows);
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

/* scale NULL: ones. */
static float *weigh_scaled(const awq_routing_rule *rule, const float *logits, const int32_t *expert,
                           const float *scale, int64_t rows)
{
    int64_t count = rows * rule->active;
    float *weight = device_array((size_t)count * sizeof *weight);
    const int32_t *given = device_bytes(expert, (size_t)count * sizeof *expert);
    be->expert_weights(device, weight, device_floats(logits, rows * rule->experts), given,
                       scale ? device_floats(scale, rule->experts) : NULL, rows, rule);
    return fetch_floats(weight, count);
}

static float *weigh_by(const awq_routing_rule *rule, const float *logits, const int32_t *expert,
                       int64_t rows)
{
    return weigh_scaled(rule, logits, expert, NULL, rows);
}

static float *weigh(const float *logits, const int32_t *expert, int64_t rows, int64_t experts,
                    int64_t top, bool normalized)
{
    awq_routing_rule rule = plain(experts, top);
    rule.normalized = normalized;
    return weigh_by(&rule, logits, expert, rows);
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

/* ---- corrections and groups ---- */

/* What a row's experts are chosen by, in float64. */
static void score_row(const awq_routing_rule *rule, const float *logits, const float *correction,
                      double *score)
{
    double total = 0;
    for (int64_t e = 0; e < rule->experts; e++) total += exp((double)logits[e]);
    for (int64_t e = 0; e < rule->experts; e++)
        score[e] = (rule->score == AWQ_SCORE_SIGMOID ? 1 / (1 + exp(-(double)logits[e]))
                                                     : exp((double)logits[e]) / total) +
                   (correction ? (double)correction[e] : 0);
}

/* The index of the largest of `count` values, the first of equals; it becomes -infinity. */
static int64_t take_largest(double *value, int64_t count)
{
    int64_t best = 0;
    for (int64_t i = 1; i < count; i++)
        if (value[i] > value[best]) best = i;
    value[best] = -INFINITY;
    return best;
}

/* The groups that take part keep their scores. */
static void leave_groups(const awq_routing_rule *rule, double *score)
{
    double sum[64] = {0}, kept[1024];
    int64_t width = rule->experts / rule->groups;
    memcpy(kept, score, (size_t)rule->experts * sizeof *kept);
    for (int64_t g = 0; g < rule->groups; g++)
        for (int64_t k = 0; k < rule->group_best; k++) {
            double before[1024], *group = score + g * width;
            memcpy(before, group, (size_t)width * sizeof *before);
            sum[g] += before[take_largest(group, width)];
        }
    for (int64_t e = 0; e < rule->experts; e++) score[e] = -INFINITY;
    for (int64_t k = 0; k < rule->active_groups; k++) {
        int64_t first = take_largest(sum, rule->groups) * width;
        memcpy(score + first, kept + first, (size_t)width * sizeof *kept);
    }
}

static void check_routes(awq_routing_rule rule, int64_t rows, bool corrected)
{
    float *logits = host_random(rows * rule.experts, 4);
    float *correction = corrected ? host_random(rule.experts, 0.6f) : NULL;
    double *score = host_doubles(rule.experts);
    const int32_t *expert = choose_by(&rule, logits, correction, rows);
    for (int64_t r = 0; r < rows; r++) {
        score_row(&rule, logits + r * rule.experts, correction, score);
        if (rule.groups > 1) leave_groups(&rule, score);
        for (int64_t k = 0; k < rule.active; k++)
            assert_int_equal(expert[r * rule.active + k], take_largest(score, rule.experts));
    }
    bench_clear(&under_test);
}

static awq_routing_rule grouped(int64_t experts, int64_t active, int64_t groups, int64_t best)
{
    return (awq_routing_rule){.score = AWQ_SCORE_SIGMOID,
                              .experts = experts,
                              .active = active,
                              .groups = groups,
                              .active_groups = (groups + 1) / 2,
                              .group_best = best,
                              .factor = 1};
}

static void a_correction_counts_in_the_choice(void **state)
{
    (void)state;
    for (int softmax = 0; softmax < 2; softmax++) {
        awq_routing_rule rule = grouped(60, 6, 0, 0);
        if (softmax) rule.score = AWQ_SCORE_SOFTMAX;
        check_routes(rule, 37, true);
        rule.groups = 1;
        check_routes(rule, 37, true);
    }
}

/* Corrections are negative too: an expert of a group that takes part comes before others however
 * small its score is. */
static void only_the_best_groups_take_part(void **state)
{
    (void)state;
    check_routes(grouped(64, 8, 8, 2), 37, true);
    check_routes(grouped(64, 8, 8, 2), 37, false);
    check_routes(grouped(160, 6, 40, 1), 19, true);
    check_routes(grouped(12, 6, 2, 6), 19, true); /* all of the one group */
    awq_routing_rule rule = grouped(60, 5, 3, 1);
    rule.score = AWQ_SCORE_SOFTMAX;
    check_routes(rule, 19, false);
}

static void of_equal_groups_the_lower_is_chosen(void **state)
{
    (void)state;
    const float logits[8] = {1, 1, 1, 1, 1, 1, 1, 1}, correction[8] = {0, 0, 0, 0, 2, 0, 2, 0};
    awq_routing_rule rule = grouped(8, 3, 4, 2);
    rule.active_groups = 2;
    const int32_t *expert = choose_by(&rule, logits, NULL, 1);
    assert_true(expert[0] == 0 && expert[1] == 1 && expert[2] == 2);
    expert = choose_by(&rule, logits, correction, 1);
    assert_true(expert[0] == 4 && expert[1] == 6 && expert[2] == 5);
}

static void a_row_with_nan_chooses_each_expert_of_its_groups_once(void **state)
{
    (void)state;
    float logits[40];
    for (int i = 0; i < 40; i++) logits[i] = i % 3 ? NAN : (float)i;
    awq_routing_rule rule = grouped(40, 8, 4, 2);
    const int32_t *expert = choose_by(&rule, logits, NULL, 1);
    for (int k = 0; k < 8; k++) {
        assert_in_range(expert[k], 0, 39);
        for (int other = 0; other < k; other++) assert_int_not_equal(expert[k], expert[other]);
    }
}

/* Glm4MoeTopkRouter of transformers 5.23: 12 experts in 4 groups, of which the best 2; top 4,
 * normalized, times 2.5. Its order is that of the score with correction. */
static void routing_by_sigmoid_is_that_of_transformers(void **state)
{
    (void)state;
    enum { ROWS = 4, EXPERTS = 12, TOP = 4 };
    const float logits[ROWS * EXPERTS] = {
        -2.5f,   -1.25f,  0.75f,   -1.625f, 1.875f, 1.0f,   0.875f,  1.5f,   -2.25f,  -0.125f,
        -2.375f, 1.25f,   -1.875f, -0.25f,  -2.25f, 2.375f, -1.75f,  0.75f,  -0.375f, 0.0f,
        1.875f,  0.125f,  -0.125f, 1.125f,  0.0f,   2.0f,   1.125f,  2.5f,   1.0f,    1.75f,
        -0.375f, -0.25f,  2.125f,  1.625f,  -1.75f, 2.25f,  -2.0f,   0.375f, 0.625f,  -1.25f,
        -0.125f, -1.125f, 0.875f,  0.75f,   -1.5f,  -0.75f, -2.125f, -0.5f};
    const float correction[EXPERTS] = {-0.5f,   0.1875f, -0.1875f, -0.5625f, 0.125f, -0.25f,
                                       -0.625f, 0.0625f, -0.3125f, -0.6875f, 0.0f,   -0.375f};
    const int32_t chosen[ROWS * TOP] = {4, 7, 5, 6, 7, 8, 10, 11, 1, 4, 5, 2, 1, 7, 2, 6};
    const double weights[ROWS * TOP] = {0.694416642, 0.654802620, 0.585511327, 0.565269470,
                                        0.482487381, 0.836667538, 0.452371091, 0.728473902,
                                        0.684119821, 0.567817211, 0.661716342, 0.586346626,
                                        0.563588738, 0.645856321, 0.619397640, 0.671157241};
    awq_routing_rule rule = grouped(EXPERTS, TOP, 4, 2);
    rule.normalized = true;
    rule.factor = 2.5f;
    const int32_t *expert = choose_by(&rule, logits, correction, ROWS);
    assert_memory_equal(expert, chosen, sizeof chosen);
    assert_close(weigh_by(&rule, logits, expert, ROWS), weights, ROWS * TOP, tolerance);
}

/* ---- weights of sigmoids, and the sparse mixer ---- */

static void weights_may_be_sigmoids(void **state)
{
    (void)state;
    enum { ROWS = 37, EXPERTS = 20, TOP = 3 };
    for (int normalized = 0; normalized < 2; normalized++) {
        float *logits = host_random(ROWS * EXPERTS, 6);
        int32_t *expert = host_array(ROWS * TOP * sizeof *expert);
        double *reference = host_doubles(ROWS * TOP);
        for (int r = 0; r < ROWS; r++) {
            double sum = 0;
            for (int k = 0; k < TOP; k++) {
                expert[r * TOP + k] = (r + 7 * k) % EXPERTS;
                double logit = (double)logits[r * EXPERTS + (r + 7 * k) % EXPERTS];
                sum += reference[r * TOP + k] = 1 / (1 + exp(-logit));
            }
            for (int k = 0; k < TOP; k++)
                reference[r * TOP + k] *= 1.75 / (normalized ? sum + 1e-20 : 1);
        }
        awq_routing_rule rule = {.score = AWQ_SCORE_SIGMOID,
                                 .experts = EXPERTS,
                                 .active = TOP,
                                 .normalized = normalized,
                                 .factor = 1.75f};
        assert_close(weigh_by(&rule, logits, expert, ROWS), reference, ROWS * TOP, tolerance);
        bench_clear(&under_test);
    }
}

/* Normalized before, so that they need not sum to anything. */
static void weights_are_scaled_by_their_expert_last_of_all(void **state)
{
    (void)state;
    enum { ROWS = 37, EXPERTS = 20, TOP = 3 };
    static const awq_router_score scores[] = {AWQ_SCORE_SOFTMAX, AWQ_SCORE_SIGMOID};
    for (int i = 0; i < 4; i++) {
        float *logits = host_random(ROWS * EXPERTS, 6), *scale = host_random(EXPERTS, 2);
        int32_t *expert = host_array(ROWS * TOP * sizeof *expert);
        for (int j = 0; j < ROWS * TOP; j++) expert[j] = (j / TOP + 7 * (j % TOP)) % EXPERTS;
        awq_routing_rule rule = plain(EXPERTS, TOP);
        rule.score = scores[i / 2];
        rule.normalized = i % 2;
        rule.factor = 1.75f;
        const float *before = weigh_by(&rule, logits, expert, ROWS);
        const float *result = weigh_scaled(&rule, logits, expert, scale, ROWS);
        for (int j = 0; j < ROWS * TOP; j++) assert_true(result[j] == before[j] * scale[expert[j]]);
        bench_clear(&under_test);
    }
}

/* 1e-20 keeps the quotient of scores that are all 0. */
static void normalized_sigmoids_of_nothing_are_nothing(void **state)
{
    (void)state;
    const float logits[] = {-200, -300, -400};
    const int32_t expert[] = {0, 1};
    awq_routing_rule rule = grouped(3, 2, 0, 0);
    rule.normalized = true;
    const float *weight = weigh_by(&rule, logits, expert, 1);
    assert_true(weight[0] == 0 && weight[1] == 0);
}

/* sparsemixer(logits, margin, training=False) of transformers 5.23's phimoe in float64: negative
 * and equal logits, 0 / 0, and expert numbers out of order. */
static void the_sparse_mixer_is_that_of_transformers(void **state)
{
    (void)state;
    const float logits[] = {1.0f,   0.995f, 0.5f,    0.985f, -2.0f, -1.0f, -1.01f,
                            -1.03f, -3.0f,  -1.015f, 0.0f,   0.0f,  -0.5f, 0.25f,
                            0.251f, 5.0f,   4.95f,   4.88f,  -5.0f, 4.9f};
    const int32_t chosen[] = {0, 1, 0, 1, 4, 3, 0, 1};
    const double narrow[] = {0.335556459889, 0.502499979167, 0.336116176591, 0.336110598120,
                             0.500249999979, 1.000000000000, 0.350131861449, 0.346785940896};
    const double wide[] = {0.335556459889, 0.502499979167, 0.253446408174, 0.336110598120,
                           0.500249999979, 1.000000000000, 0.267166283343, 0.346785940896};
    awq_routing_rule rule = {
        .score = AWQ_SCORE_SPARSEMIXER, .experts = 5, .active = 2, .factor = 1, .margin = 0.01f};
    const int32_t *expert = choose_by(&rule, logits, NULL, 4);
    assert_memory_equal(expert, chosen, sizeof chosen);
    assert_close(weigh_by(&rule, logits, expert, 4), narrow, 8, tolerance);
    rule.margin = 0.05f;
    assert_close(weigh_by(&rule, logits, expert, 4), wide, 8, tolerance);
}

/* For a choice that is held: the second is not the largest that is left. */
static void the_sparse_mixer_weighs_any_choice(void **state)
{
    (void)state;
    const float logits[] = {2, 2.125f, 1.9375f, -4};
    const int32_t expert[] = {0, 2};
    const double near = exp(-0.0625), above = exp(0.125);
    const double expected[] = {1 / (1 + above + near), 1 / (1 + exp(0.1875))};
    awq_routing_rule rule = {
        .score = AWQ_SCORE_SPARSEMIXER, .experts = 4, .active = 2, .factor = 1, .margin = 0.05f};
    assert_close(weigh_by(&rule, logits, expert, 1), expected, 2, tolerance);
}

static void other_weights_show_nan_and_survive_large_logits(void **state)
{
    (void)state;
    const float logits[] = {300, 299, -300, 0, 1, NAN, 2, 3, NAN, 1, 0, 0};
    const int32_t expert[] = {0, 2, 3, 0, 0, 1};
    awq_routing_rule rule = grouped(4, 2, 0, 0);
    const float *weight = weigh_by(&rule, logits, expert, 3);
    assert_true(weight[0] == 1 && weight[1] == 0 && isfinite(weight[2]) && isnan(weight[4]));
    rule.normalized = true;
    weight = weigh_by(&rule, logits, expert, 3);
    assert_true(weight[0] == 1 && weight[1] == 0 && isnan(weight[4]) && isnan(weight[5]));
    rule = (awq_routing_rule){
        .score = AWQ_SCORE_SPARSEMIXER, .experts = 4, .active = 2, .factor = 1, .margin = 0.01f};
    weight = weigh_by(&rule, logits, expert, 3);
    assert_true(fabsf(weight[0] - 1 / (1 + expf(-1))) < 1e-6f && weight[1] == 0);
    for (int i = 2; i < 5; i++) assert_true(isnan(weight[i]));
    assert_true(weight[5] == 1); /* the NaN was chosen before it */
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
        cmocka_unit_test(a_correction_counts_in_the_choice),
        cmocka_unit_test(only_the_best_groups_take_part),
        cmocka_unit_test(of_equal_groups_the_lower_is_chosen),
        cmocka_unit_test(a_row_with_nan_chooses_each_expert_of_its_groups_once),
        cmocka_unit_test(routing_by_sigmoid_is_that_of_transformers),
        cmocka_unit_test(weights_may_be_sigmoids),
        cmocka_unit_test(weights_are_scaled_by_their_expert_last_of_all),
        cmocka_unit_test(normalized_sigmoids_of_nothing_are_nothing),
        cmocka_unit_test(the_sparse_mixer_is_that_of_transformers),
        cmocka_unit_test(the_sparse_mixer_weighs_any_choice),
        cmocka_unit_test(other_weights_show_nan_and_survive_large_logits),
        cmocka_unit_test(sigmoid_may_work_in_place),
        cmocka_unit_test(sigmoid_shows_nan),
    };
    return BENCH_RUN(experts);
}
