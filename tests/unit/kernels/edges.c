/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/edges.c - what is not finite, and the smallest shapes: of the verbs whose own
 * tests do not have them. What is NaN or infinite shows in the output that it has a part in, and
 * nowhere else. */
#include <math.h>
#include <string.h>

#include "tests/unit/kernels/bench.h"
#include "tests/unit/kernels/reference.h"

/* The values that must surface. */
static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
enum { BAD = sizeof bad / sizeof *bad };

/* Of [rows, cols], exactly the elements of this row are not finite. */
static void assert_only_row(const float *x, int64_t rows, int64_t cols, int64_t row)
{
    for (int64_t i = 0; i < rows * cols; i++) assert_true(isfinite(x[i]) == (i / cols != row));
}

static void assert_only_element(const float *x, int64_t count, int64_t element)
{
    for (int64_t i = 0; i < count; i++) assert_true(isfinite(x[i]) == (i != element));
}

/* ---- forward pass ---- */

enum { ROWS = 3, OUT = 8, IN = 16 };

/* Inputs away from zero: 0 times infinity is a different story. */
static float *away_from_zero(int64_t count)
{
    float *x = host_activations(count, 0.5f);
    for (int64_t i = 0; i < count; i++) x[i] = x[i] < 0 ? -1 : 1;
    return x;
}

static void check_linear(const float *x, const float *w, int64_t row, int64_t column)
{
    awq_extent extent = {OUT, IN};
    void *y = device_array(compute_bytes(ROWS * OUT));
    void *dx = device_compute(x, ROWS * IN), *dw = device_compute(w, OUT * IN);
    float *sum = device_floats(host_random(ROWS * OUT, 1), ROWS * OUT);
    be->linear(device, y, dx, dw, NULL, ROWS, extent);
    be->linear_add(device, sum, dx, dw, NULL, 1, ROWS, extent);
    const float *of_linear = fetch_compute(y, ROWS * OUT), *added = fetch_floats(sum, ROWS * OUT);
    for (int64_t i = 0; i < ROWS * OUT; i++) {
        bool reached = i / OUT == row || i % OUT == column;
        assert_true(isfinite(of_linear[i]) == !reached && isfinite(added[i]) == !reached);
    }
}

static void linear_shows_what_is_not_finite(void **state)
{
    (void)state;
    for (int i = 0; i < BAD; i++) {
        float *x = away_from_zero(ROWS * IN), *w = away_from_zero(OUT * IN);
        x[IN + 3] = bad[i];
        check_linear(x, w, 1, -1);
        x[IN + 3] = 1;
        w[5 * IN + 15] = bad[i];
        check_linear(x, w, -1, 5);
        bench_clear(&under_test);
    }
}

static void norm_heads_shows_what_is_not_finite(void **state)
{
    (void)state;
    for (int i = 0; i < BAD; i++) {
        float *x = away_from_zero(ROWS * IN);
        x[IN + 3] = bad[i];
        void *y = device_compute(x, ROWS * IN);
        be->norm_heads(device, y, device_floats(host_random(IN, 1), IN), NULL,
                       &(awq_norm_shape){ROWS, IN, 1, 1e-6f, false});
        const float *result = fetch_compute(y, ROWS * IN);
        assert_true(isnan(result[IN + 3]));
        for (int64_t c = 0; c < IN; c++)
            assert_true(isfinite(result[c]) && isfinite(result[2 * IN + c]));
    }
}

static void norm_heads_works_on_one_head(void **state)
{
    (void)state;
    float x[] = {3, -4}, w[] = {1, 2};
    const double expected[] = {3 / sqrt(12.5), -8 / sqrt(12.5)};
    void *y = device_compute(x, 2);
    be->norm_heads(device, y, device_floats(w, 2), NULL, &(awq_norm_shape){1, 2, 1, 0, false});
    assert_close(fetch_compute(y, 2), expected, 2, product_tolerance(4));
}

/* One row, one head, one angle: a quarter turn. */
static void rope_works_on_one_token_and_shows_what_is_not_finite(void **state)
{
    (void)state;
    const float cosine = 0.6f, sine = 0.8f;
    float x[] = {1, 2};
    const double expected[] = {0.6 - 1.6, 1.2 + 0.8};
    float *c = device_floats(&cosine, 1), *s = device_floats(&sine, 1);
    void *y = device_compute(x, 2);
    be->rope(device, y, c, s, 1, &(awq_rope_shape){1, 2, 2, 1, false, 0});
    assert_close(fetch_compute(y, 2), expected, 2, product_tolerance(2));
    for (int i = 0; i < BAD; i++) {
        const float heads[] = {1, 2, 3, bad[i], 5, 6};
        void *three = device_compute(heads, 6);
        be->rope(device, three, c, s, 1, &(awq_rope_shape){3, 2, 2, 1, false, 0});
        assert_only_row(fetch_compute(three, 6), 3, 2, 1);
    }
}

/* ---- attention: what a query reads, and what is after it ---- */

enum { LENGTH = 70, WIDTH = 8, SPOILED = 40 };

static const float *attend(const float *q, const float *k, const float *v)
{
    int64_t count = LENGTH * WIDTH;
    void *y = device_array(compute_bytes(count));
    const awq_attention_shape shape = {
        .heads = 1, .kv_heads = 1, .head_dim = WIDTH, .value_dim = WIDTH, .scale = 0.35f};
    be->attention(device, y, device_compute(q, count), device_compute(k, count),
                  device_compute(v, count), 1, LENGTH, &shape);
    return fetch_compute(y, count);
}

/* From the spoiled key on queries are NaN; before it none is, but for those of its block, which
 * multiply its value by 0. An infinite key is another matter: its score may be minus infinity. */
static void attention_shows_keys_and_values_that_are_not_finite(void **state)
{
    (void)state;
    int64_t count = LENGTH * WIDTH;
    for (int i = 0; i < BAD; i++) {
        float *q = host_activations(count, 1), *k = host_activations(count, 1);
        float *v = host_activations(count, 1);
        v[SPOILED * WIDTH + 2] = bad[i];
        const float *result = attend(q, k, v);
        for (int64_t t = SPOILED; t < LENGTH; t++) assert_false(isfinite(result[t * WIDTH + 2]));
        for (int64_t t = 0; t < LENGTH; t++) assert_true(isfinite(result[t * WIDTH + 3]));
        v[SPOILED * WIDTH + 2] = 1;
        k[SPOILED * WIDTH + 2] = isnan(bad[i]) ? bad[i] : 1;
        result = attend(q, k, v);
        for (int64_t t = 0; t < LENGTH; t++)
            assert_true(isfinite(result[t * WIDTH]) == (t < SPOILED || !isnan(bad[i])));
        bench_clear(&under_test);
    }
}

/* A score of plus infinity is NaN after the softmax. */
static void attention_shows_an_infinite_score(void **state)
{
    (void)state;
    int64_t count = LENGTH * WIDTH;
    float *q = away_from_zero(count), *k = host_activations(count, 1);
    float *v = host_activations(count, 1);
    for (int64_t i = 0; i < count; i++) q[i] = 1;
    k[SPOILED * WIDTH] = INFINITY;
    const float *result = attend(q, k, v);
    for (int64_t t = 0; t < LENGTH; t++) assert_true(isfinite(result[t * WIDTH]) == (t < SPOILED));
}

/* A device of its own: one that refuses is of no more use. */
static void check_refused(int64_t head_dim, int64_t value_dim, const char *why)
{
    awq_error err;
    bench own;
    void *x;
    assert_true(bench_open(&own, be, under_test.compute, 1));
    must(be->alloc(own.device, 2 * 8 * sizeof(float), "a test", &x, &err));
    be->zero(own.device, x, 2 * 8 * sizeof(float));
    const awq_attention_shape shape = {
        .heads = 1, .kv_heads = 1, .head_dim = head_dim, .value_dim = value_dim, .scale = 1};
    be->attention(own.device, x, x, x, x, 1, 1, &shape);
    awq_status status = be->sync(own.device, &err);
    if (under_test.compute == AWQ_F32)
        must(status);
    else
        assert_true(status == AWQ_ERR_INPUT && strstr(err.text, why));
    be->release(own.device, x);
    bench_close(&own);
}

static void attention_says_which_heads_it_does_not_take(void **state)
{
    (void)state;
    check_refused(7, 8, "attention: heads of an odd number of channels");
    check_refused(8, 7, "attention: heads of an odd number of channels");
}

/* ---- more groups of experts than a GPU has bits for ---- */

static void top_experts_says_how_many_groups_it_does_not_take(void **state)
{
    (void)state;
    awq_error err;
    bench own;
    void *x;
    enum { GROUPS = 65 };
    const awq_routing_rule rule = {.score = AWQ_SCORE_SIGMOID,
                                   .experts = GROUPS,
                                   .active = 1,
                                   .groups = GROUPS,
                                   .active_groups = 1,
                                   .group_best = 1,
                                   .factor = 1};
    assert_true(bench_open(&own, be, under_test.compute, 1));
    must(be->alloc(own.device, 2 * GROUPS * sizeof(float), "a test", &x, &err));
    be->zero(own.device, x, 2 * GROUPS * sizeof(float));
    be->top_experts(own.device, (int32_t *)x + GROUPS, x, NULL, 1, &rule);
    awq_status status = be->sync(own.device, &err);
    if (under_test.compute == AWQ_F32)
        must(status);
    else
        assert_true(status == AWQ_ERR_INPUT &&
                    strstr(err.text, "top_experts: more than 64 groups"));
    be->release(own.device, x);
    bench_close(&own);
}

/* ---- copies, which a GPU cuts to pieces ---- */

static void copies_of_any_size_are_whole(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 4 << 20, (4 << 20) + 1, (13 << 20) + 7, 3};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t *bytes = host_array(sizes[i]);
        for (size_t j = 0; j < sizes[i]; j++) bytes[j] = (uint8_t)(j * 2654435761u >> 13);
        void *there = device_bytes(bytes, sizes[i]), *copied = device_array(sizes[i]);
        be->copy(device, copied, there, sizes[i]);
        be->zero(device, there, sizes[i]);
        assert_memory_equal(fetch_bytes(copied, sizes[i]), bytes, sizes[i]);
        memset(bytes, 0, sizes[i]);
        assert_memory_equal(fetch_bytes(there, sizes[i]), bytes, sizes[i]);
    }
}

/* ---- conversions ---- */

/* More than a staging buffer holds, from the middle of the memory on. */
static void downloads_to_memory_of_alloc_host_are_whole(void **state)
{
    (void)state;
    enum { COUNT = (9 << 20) + 3, FIRST = 64 };
    awq_error err;
    uint8_t *sent = host_array(COUNT), *array = device_array(COUNT), *came;
    void *memory;
    for (size_t i = 0; i < COUNT; i++) sent[i] = (uint8_t)(i * 2654435761u >> 24);
    assert_int_equal(be->alloc_host(device, FIRST + COUNT, "a test", &memory, &err), AWQ_OK);
    came = (uint8_t *)memory + FIRST;
    memset(came, 0, COUNT);
    be->upload(device, array, sent, COUNT);
    assert_int_equal(be->download(device, came, array, COUNT, &err), AWQ_OK);
    assert_memory_equal(came, sent, COUNT);
    be->release_host(device, memory);
    be->release_host(device, NULL);
    bench_clear(&under_test);
}

static void narrow_keeps_what_is_not_finite(void **state)
{
    (void)state;
    const float x[] = {NAN, -NAN, INFINITY, -INFINITY, 1, 3e38f, -3e38f, 0};
    void *y = device_array(compute_bytes(8));
    be->narrow(device, y, device_floats(x, 8), 8);
    const float *result = fetch_compute(y, 8);
    assert_true(isnan(result[0]) && isnan(result[1]));
    assert_true(result[2] == INFINITY && result[3] == -INFINITY && result[4] == 1);
    assert_true(isinf(result[5]) == (under_test.compute == AWQ_F16));
    assert_true(result[5] > 2.9e38f && result[6] < -2.9e38f && result[7] == 0);
}

static void find_nonfinite_works_on_one_element(void **state)
{
    (void)state;
    awq_error err;
    int64_t index = 7;
    float one = 1;
    must(be->find_nonfinite(device, device_compute(&one, 1), 1, &index, &err));
    assert_int_equal(index, -1);
    for (int i = 0; i < BAD; i++) {
        must(be->find_nonfinite(device, device_compute(&bad[i], 1), 1, &index, &err));
        assert_int_equal(index, 0);
    }
}

/* ---- statistics ---- */

static void statistics_show_what_is_not_finite(void **state)
{
    (void)state;
    enum { COLS = 41 };
    for (int i = 0; i < BAD; i++) {
        float *x = away_from_zero(5 * COLS);
        double *sum = device_array(COLS * sizeof *sum);
        float *gram = device_array(COLS * COLS * sizeof *gram);
        x[2 * COLS + 40] = bad[i];
        void *dx = device_compute(x, 5 * COLS);
        be->zero(device, sum, COLS * sizeof *sum);
        be->zero(device, gram, COLS * COLS * sizeof *gram);
        be->abs_sum(device, sum, dx, NULL, 5, COLS);
        be->gram(device, gram, dx, NULL, 5, COLS);
        be->gram_finish(device, gram, COLS);
        const double *sums = fetch_bytes(sum, COLS * sizeof *sum);
        const float *result = fetch_gram(gram, COLS);
        for (int c = 0; c < COLS; c++) assert_true(isfinite(sums[c]) == (c != 40));
        for (int c = 0; c < COLS * COLS; c++)
            assert_true(isfinite(result[c]) == (c / COLS != 40 && c % COLS != 40));
        bench_clear(&under_test);
    }
}

static void squared_sums_show_infinity(void **state)
{
    (void)state;
    awq_error err;
    for (int i = 0; i < BAD; i++) {
        double distance = 0, error = 0;
        float *x = host_activations(3 * 41, 1), *zero = host_array(3 * 41 * sizeof *zero);
        x[77] = bad[i];
        must(be->squared_distance(device, device_compute(x, 3 * 41), NULL, 3, 41, &distance, &err));
        must(be->squared_error(device, device_floats(x, 3 * 41), device_floats(zero, 3 * 41), NULL,
                               3, 41, &error, &err));
        assert_false(isfinite(distance) || isfinite(error));
    }
}

/* ---- weights ---- */

static void folds_keep_what_is_not_finite(void **state)
{
    (void)state;
    awq_extent extent = {OUT, IN};
    float *columns = device_floats(random_scales(IN), IN);
    float *rows = device_floats(random_scales(OUT), OUT);
    for (int i = 0; i < BAD; i++) {
        float *w = away_from_zero(OUT * IN);
        float *folded = device_array(OUT * IN * sizeof *folded);
        w[3 * IN + 7] = bad[i];
        void *weight = device_compute(w, OUT * IN);
        be->fold(device, folded, weight, columns, rows, extent);
        assert_only_element(fetch_floats(folded, OUT * IN), OUT * IN, 3 * IN + 7);
        be->unfold(device, weight, folded, columns, rows, extent);
        assert_only_element(fetch_compute(weight, OUT * IN), OUT * IN, 3 * IN + 7);
    }
}

/* One group a row; row 2's scale is NaN, row 5's infinite. */
static void codes_of_a_scale_that_is_not_finite_stand_for_no_number(void **state)
{
    (void)state;
    awq_extent extent = {OUT, IN};
    awq_grid grid = {4, IN, true, false};
    uint16_t scales[OUT];
    uint8_t *codes = host_array(OUT * IN), zeros[OUT] = {0};
    for (int i = 0; i < OUT; i++) scales[i] = 0x3c00;
    scales[2] = 0x7e00;
    scales[5] = 0x7c00;
    memset(codes, 3, OUT * IN);
    uint8_t *c = device_bytes(codes, OUT * IN), *z = device_bytes(zeros, OUT);
    uint16_t *s = device_bytes(scales, sizeof scales);
    void *w = device_array(compute_bytes(OUT * IN)), *d = device_array(compute_bytes(OUT * IN));
    be->dequantize(device, w, c, s, z, extent, &grid);
    be->coded_error(device, d, device_floats(host_random(OUT * IN, 1), OUT * IN), c, s, z,
                    device_floats(random_scales(IN), IN), extent, &grid);
    const float *value = fetch_compute(w, OUT * IN), *error = fetch_compute(d, OUT * IN);
    for (int i = 0; i < OUT * IN; i++) {
        bool number = i / IN != 2 && i / IN != 5;
        assert_true(number ? value[i] == 3 : !isfinite(value[i]));
        assert_true(isfinite(error[i]) == number);
    }
}

/* A row whose weights are not numbers gets some codes; the others get theirs. */
static void feedback_keeps_a_row_that_is_not_finite_to_itself(void **state)
{
    (void)state;
    awq_error err;
    awq_extent extent = {OUT, IN};
    awq_grid grid = {4, IN, true, false};
    float *w = host_random(OUT * IN, 0.5f), *factor = device_array(IN * IN * sizeof *factor);
    int32_t *order = device_array(IN * sizeof *order);
    float *gram = device_gram(random_gram(IN), IN), *s = device_floats(random_scales(IN), IN);
    uint8_t *codes[2], *z = device_array(OUT);
    uint16_t *scales = device_array(OUT * sizeof *scales);
    bool positive = false;
    must(be->feedback_factor(device, factor, order, gram, s, IN, 0.01, &positive, &err));
    assert_true(positive);
    for (int pass = 0; pass < 2; pass++) {
        uint8_t *found = device_array(OUT * IN);
        if (pass) w[3 * IN + 7] = NAN;
        float *folded = device_floats(w, OUT * IN);
        be->quantize(device, found, scales, z, folded, NULL, extent, &grid);
        be->feedback(device, found, device_array(compute_bytes(OUT * IN)), folded, factor, order,
                     scales, z, s, extent, &grid);
        codes[pass] = fetch_bytes(found, OUT * IN);
    }
    for (int i = 0; i < OUT * IN; i++)
        assert_true(i / IN == 3 ? codes[1][i] < 16 : codes[0][i] == codes[1][i]);
}

/* ---- scores ---- */

static void scores_show_what_is_not_finite(void **state)
{
    (void)state;
    awq_error err;
    enum { VOCAB = 33 };
    const int32_t target[] = {0, 0};
    for (int i = 0; i < BAD - 1; i++) { /* minus infinity is a token that cannot be */
        double nll[2], kl[2];
        float *p = host_random(2 * VOCAB, 1), *q = host_random(2 * VOCAB, 1);
        float *good = device_floats(p, 2 * VOCAB);
        q[20] = bad[i];
        float *spoiled = device_floats(q, 2 * VOCAB);
        must(be->nll(device, nll, spoiled, target, 2, VOCAB, &err));
        assert_true(!isfinite(nll[0]) && isfinite(nll[1]));
        must(be->kl(device, kl, good, spoiled, 2, VOCAB, &err));
        assert_true(!isfinite(kl[0]) && isfinite(kl[1]));
        must(be->kl(device, kl, spoiled, good, 2, VOCAB, &err));
        assert_true(!isfinite(kl[0]) && isfinite(kl[1]));
    }
}

static void scores_work_on_one_row_of_one_token(void **state)
{
    (void)state;
    awq_error err;
    double nll = 1, kl = 1;
    int32_t target = 0, index = 7;
    const float logit = -3;
    float *x = device_floats(&logit, 1);
    must(be->nll(device, &nll, x, &target, 1, 1, &err));
    must(be->kl(device, &kl, x, x, 1, 1, &err));
    must(be->argmax(device, &index, x, 1, 1, &err));
    assert_true(nll == 0 && kl == 0 && index == 0);
}

int main(void)
{
    const struct CMUnitTest edges[] = {
        cmocka_unit_test(linear_shows_what_is_not_finite),
        cmocka_unit_test(norm_heads_shows_what_is_not_finite),
        cmocka_unit_test(norm_heads_works_on_one_head),
        cmocka_unit_test(rope_works_on_one_token_and_shows_what_is_not_finite),
        cmocka_unit_test(attention_shows_keys_and_values_that_are_not_finite),
        cmocka_unit_test(attention_shows_an_infinite_score),
        cmocka_unit_test(attention_says_which_heads_it_does_not_take),
        cmocka_unit_test(top_experts_says_how_many_groups_it_does_not_take),
        cmocka_unit_test(copies_of_any_size_are_whole),
        cmocka_unit_test(downloads_to_memory_of_alloc_host_are_whole),
        cmocka_unit_test(narrow_keeps_what_is_not_finite),
        cmocka_unit_test(find_nonfinite_works_on_one_element),
        cmocka_unit_test(statistics_show_what_is_not_finite),
        cmocka_unit_test(squared_sums_show_infinity),
        cmocka_unit_test(folds_keep_what_is_not_finite),
        cmocka_unit_test(codes_of_a_scale_that_is_not_finite_stand_for_no_number),
        cmocka_unit_test(feedback_keeps_a_row_that_is_not_finite_to_itself),
        cmocka_unit_test(scores_show_what_is_not_finite),
        cmocka_unit_test(scores_work_on_one_row_of_one_token),
    };
    return BENCH_RUN(edges);
}
