/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/rows.c - what is done row by row: RMSNorm and LayerNorm against a naive
 * float64 reference, with and without weights and biases, shared by all rows or not, to the compute
 * type, in it, and added; rows and columns out of a matrix and back, copies to the bit, what is
 * weighted within a rounding. */
#include <math.h>

#include "tests/unit/kernels/bench.h"

/* ---- norms ---- */

static awq_norm_shape plain(int64_t rows, int64_t cols)
{
    return (awq_norm_shape){.rows = rows, .cols = cols, .period = 1, .eps = 1e-5f};
}

/* Weights and biases [period, cols]; NULL: none. */
static double *normalized(const float *x, const float *w, const float *b, const awq_norm_shape *s)
{
    double *y = host_doubles(s->rows * s->cols);
    for (int64_t r = 0; r < s->rows; r++) {
        const float *row = x + r * s->cols;
        int64_t own = r % s->period * s->cols;
        double mean = 0, square = 0;
        for (int64_t c = 0; s->centered && c < s->cols; c++) mean += (double)row[c];
        mean /= (double)s->cols;
        for (int64_t c = 0; c < s->cols; c++) square += pow((double)row[c] - mean, 2);
        double size = sqrt(square / (double)s->cols + (double)s->eps);
        for (int64_t c = 0; c < s->cols; c++)
            y[r * s->cols + c] = ((double)row[c] - mean) / size * (w ? (double)w[own + c] : 1) +
                                 (b ? (double)b[own + c] : 0);
    }
    return y;
}

/* All three verbs; bits 1 and 2 of `given`: weights, biases. */
static void check_norm(awq_norm_shape shape, int given, float mean)
{
    int64_t count = shape.rows * shape.cols, weights = shape.period * shape.cols;
    float *x = host_activations(count, 4), *sum = host_random(count, 5);
    for (int64_t i = 0; i < count; i++) x[i] += mean;
    float *w = given & 1 ? host_random(weights, 2) : NULL;
    float *b = given & 2 ? host_random(weights, 3) : NULL;
    double *reference = normalized(x, w, b, &shape);
    float *dx = device_floats(x, count), *dw = w ? device_floats(w, weights) : NULL;
    float *db = b ? device_floats(b, weights) : NULL, *added = device_floats(sum, count);
    void *y = device_array(compute_bytes(count)), *heads = device_compute(x, count);
    be->norm(device, y, dx, dw, db, &shape);
    assert_close(fetch_compute(y, count), reference, count, product_tolerance(4));
    be->norm_heads(device, heads, dw, db, &shape);
    if (mean == 0) /* or x is not of the compute type */
        assert_close(fetch_compute(heads, count), reference, count, product_tolerance(4));
    be->norm_add(device, added, dx, dw, db, &shape);
    for (int64_t i = 0; i < count; i++) reference[i] += (double)sum[i];
    assert_close(fetch_floats(added, count), reference, count, 0x1p-22);
    bench_clear(&under_test);
}

static void a_norm_divides_by_the_root_mean_square(void **state)
{
    (void)state;
    check_norm(plain(37, 257), 1, 0);
    check_norm(plain(1, 16), 1, 0);
    check_norm(plain(3, 4099), 1, 0);
    check_norm(plain(77, 32), 1, 0);
}

static void a_centered_norm_takes_the_mean_off_first(void **state)
{
    (void)state;
    static const int64_t shapes[][2] = {{37, 257}, {1, 16}, {3, 4099}, {77, 32}};
    for (int i = 0; i < 4; i++) {
        awq_norm_shape shape = plain(shapes[i][0], shapes[i][1]);
        shape.centered = true;
        check_norm(shape, 3, 0);
        check_norm(shape, 1, 2.5f);
    }
}

/* Which float32's own mean would round: its last bit is worth more than what is left. */
static void a_mean_far_from_zero_costs_no_accuracy(void **state)
{
    (void)state;
    awq_norm_shape shape = plain(5, 999);
    shape.centered = true;
    check_norm(shape, 3, 8192.25f);
}

static void weights_and_biases_may_be_missing(void **state)
{
    (void)state;
    for (int given = 0; given < 4; given++) {
        awq_norm_shape shape = plain(21, 100);
        check_norm(shape, given, 0);
        shape.centered = true;
        check_norm(shape, given, 0);
    }
}

static void rows_take_the_weights_of_their_turn(void **state)
{
    (void)state;
    for (int given = 1; given < 4; given++) {
        awq_norm_shape shape = plain(42, 40);
        shape.period = 6;
        check_norm(shape, given, 0);
        shape.centered = true;
        shape.period = 42;
        check_norm(shape, given, 0);
    }
}

/* torch.nn.functional.layer_norm(x, [6], w, b, 1e-5) of torch 2.6, in float64. */
static void a_centered_norm_is_torch_layer_norm(void **state)
{
    (void)state;
    const float x[] = {1, -2, 0.5f, 4, 3, -1}, w[] = {1, 0.5f, -2, 1, 3, 0.25f};
    const float b[] = {0, 1, -1, 0.5f, 0, 2};
    const double expected[] = {0.0398725655003787, 0.302230103743374, -0.601274344996213,
                               1.97528492351401,   2.9904424125284,   1.77073274837282};
    awq_norm_shape shape = plain(1, 6);
    shape.centered = true;
    void *y = device_array(compute_bytes(6));
    be->norm(device, y, device_floats(x, 6), device_floats(w, 6), device_floats(b, 6), &shape);
    assert_close(fetch_compute(y, 6), expected, 6, product_tolerance(4));
}

/* ---- norms of what is not finite ---- */

static void norms_show_nan_and_infinity(void **state)
{
    (void)state;
    for (int centered = 0; centered < 2; centered++) {
        int64_t cols = 40;
        awq_norm_shape shape = plain(3, cols);
        shape.centered = centered;
        float *x = host_random(3 * cols, 1), *w = host_random(cols, 1);
        x[5] = NAN;
        x[cols + 7] = INFINITY;
        void *y = device_array(compute_bytes(3 * cols));
        be->norm(device, y, device_floats(x, 3 * cols), device_floats(w, cols), NULL, &shape);
        float *result = fetch_compute(y, 3 * cols);
        assert_true(isnan(result[5]) && isnan(result[0]));
        assert_true(isnan(result[cols + 7]));
        for (int64_t c = 0; c < cols; c++) assert_true(isfinite(result[2 * cols + c]));
    }
}

static void added_norms_show_nan_and_infinity(void **state)
{
    (void)state;
    for (int centered = 0; centered < 2; centered++) {
        int64_t cols = 40;
        awq_norm_shape shape = plain(4, cols);
        shape.centered = centered;
        float *x = host_random(4 * cols, 1), *w = host_random(cols, 1);
        float *sum = host_random(4 * cols, 1);
        x[5] = NAN;
        x[cols + 7] = INFINITY;
        sum[2 * cols + 9] = -INFINITY;
        float *y = device_floats(sum, 4 * cols);
        be->norm_add(device, y, device_floats(x, 4 * cols), device_floats(w, cols), NULL, &shape);
        const float *result = fetch_floats(y, 4 * cols);
        assert_true(isnan(result[5]) && isnan(result[0]));
        assert_true(isnan(result[cols + 7]));
        for (int64_t i = 2 * cols; i < 4 * cols; i++)
            assert_true(isfinite(result[i]) == (i != 2 * cols + 9));
    }
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

/* The weighted row i of x is row rows[i] times weight[i]; rows NULL: i, in place. */
static void check_weighted(const int32_t *rows, int64_t count, int64_t cols)
{
    float *x = host_activations(ALL * cols, 5), *weight = host_random(count, 2);
    double *reference = host_doubles(count * cols);
    for (int64_t i = 0; i < count * cols; i++)
        reference[i] = (double)weight[i / cols] *
                       (double)x[(rows ? rows[i / cols] : i / cols) * cols + i % cols];
    void *dx = device_compute(x, ALL * cols);
    void *y = rows ? device_array(compute_bytes(count * cols)) : dx;
    const int32_t *given = rows ? device_bytes(rows, (size_t)count * sizeof *rows) : NULL;
    be->gather_rows(device, y, dx, given, device_floats(weight, count), count, cols);
    assert_close(fetch_compute(y, count * cols), reference, count * cols, product_tolerance(1));
}

static void gathered_rows_may_be_weighted(void **state)
{
    (void)state;
    check_weighted(some_rows, SOME, 77);
    check_weighted(some_rows, 1, 300);
}

static void without_a_list_rows_are_weighted_in_place(void **state)
{
    (void)state;
    check_weighted(NULL, ALL, 77);
    check_weighted(NULL, 0, 8);
}

/* weighted: by random numbers, else by ones. */
static void check_scatter(const int32_t *rows, int64_t count, int64_t cols, bool weighted)
{
    float *x = host_random(count * cols, 2), *weight = weighted ? host_random(count, 1) : NULL;
    float *sum = host_random(ALL * cols, 3);
    double *reference = host_doubles(ALL * cols);
    for (int64_t i = 0; i < ALL * cols; i++) reference[i] = (double)sum[i];
    for (int64_t i = 0; i < count * cols; i++)
        reference[(rows ? rows[i / cols] : i / cols) * cols + i % cols] +=
            (weight ? (double)weight[i / cols] : 1) * (double)x[i];
    float *on_device = device_floats(sum, ALL * cols);
    const int32_t *given = rows ? device_bytes(rows, (size_t)count * sizeof *rows) : NULL;
    be->scatter_add(device, on_device, device_floats(x, count * cols), given,
                    weight ? device_floats(weight, count) : NULL, count, cols);
    assert_close(fetch_floats(on_device, ALL * cols), reference, ALL * cols, 0x1p-21);
}

static void weighted_rows_are_added_where_they_came_from(void **state)
{
    (void)state;
    check_scatter(some_rows, SOME, 77, true);
    check_scatter(some_rows, 1, 300, true);
}

static void rows_without_weights_are_added_as_they_are(void **state)
{
    (void)state;
    check_scatter(some_rows, SOME, 77, false);
    check_scatter(NULL, ALL, 64, false);
}

static void without_a_list_all_rows_are_added_in_turn(void **state)
{
    (void)state;
    check_scatter(NULL, ALL, 64, true);
}

static void no_rows_change_nothing(void **state)
{
    (void)state;
    check_scatter(some_rows, 0, 64, true);
}

/* ---- columns ---- */

typedef struct column_case {
    int64_t cols;
    awq_runs runs;
} column_case;

/* The last two: a head's half of two, and the part of each head that has positions. */
static const column_case column_cases[] = {{64, {0, 64, 64, 1}},       {64, {7, 1, 1, 57}},
                                           {64, {0, 8, 16, 4}},        {64, {8, 8, 16, 4}},
                                           {64, {3, 5, 20, 3}},        {64, {63, 1, 9, 1}},
                                           {1024, {128, 128, 256, 4}}, {576, {128, 64, 192, 3}}};
enum { COLUMN_CASES = sizeof column_cases / sizeof *column_cases };

/* The column of the i-th of the runs'. */
static int64_t column_of(const awq_runs *runs, int64_t i)
{
    return runs->first + i / runs->count * runs->period + i % runs->count;
}

static void columns_are_taken_run_by_run_bit_for_bit(void **state)
{
    (void)state;
    for (int i = 0; i < COLUMN_CASES; i++) {
        const awq_runs *runs = &column_cases[i].runs;
        int64_t cols = column_cases[i].cols, taken = runs->count * runs->times;
        float *x = host_activations(ALL * cols, 5);
        void *y = device_array(compute_bytes(ALL * taken));
        be->take_columns(device, y, device_compute(x, ALL * cols), ALL, cols, runs);
        const float *result = fetch_compute(y, ALL * taken);
        for (int64_t r = 0; r < ALL; r++)
            for (int64_t c = 0; c < taken; c++)
                assert_true(awq_float_bits(result[r * taken + c]) ==
                            awq_float_bits(x[r * cols + column_of(runs, c)]));
        bench_clear(&under_test);
    }
}

static void check_put(const column_case *given, bool repeated)
{
    const awq_runs *runs = &given->runs;
    int64_t cols = given->cols, all = runs->count * runs->times;
    int64_t own = repeated ? runs->count : all;
    float *x = host_activations(ALL * own, 5), *expected = host_activations(ALL * cols, 5);
    void *y = device_compute(expected, ALL * cols);
    be->put_columns(device, y, device_compute(x, ALL * own), ALL, cols, runs, repeated);
    for (int64_t r = 0; r < ALL; r++)
        for (int64_t c = 0; c < all; c++)
            expected[r * cols + column_of(runs, c)] = x[r * own + c % own];
    assert_memory_equal(fetch_compute(y, ALL * cols), expected,
                        (size_t)(ALL * cols) * sizeof *expected);
    bench_clear(&under_test);
}

static void columns_are_put_where_they_came_from_and_no_others_change(void **state)
{
    (void)state;
    for (int i = 0; i < COLUMN_CASES; i++) check_put(&column_cases[i], false);
}

static void each_run_may_be_given_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < COLUMN_CASES; i++) check_put(&column_cases[i], true);
}

int main(void)
{
    const struct CMUnitTest rows[] = {
        cmocka_unit_test(a_norm_divides_by_the_root_mean_square),
        cmocka_unit_test(a_centered_norm_takes_the_mean_off_first),
        cmocka_unit_test(a_mean_far_from_zero_costs_no_accuracy),
        cmocka_unit_test(weights_and_biases_may_be_missing),
        cmocka_unit_test(rows_take_the_weights_of_their_turn),
        cmocka_unit_test(a_centered_norm_is_torch_layer_norm),
        cmocka_unit_test(norms_show_nan_and_infinity),
        cmocka_unit_test(added_norms_show_nan_and_infinity),
        cmocka_unit_test(rows_are_gathered_bit_for_bit),
        cmocka_unit_test(gathered_rows_may_be_weighted),
        cmocka_unit_test(without_a_list_rows_are_weighted_in_place),
        cmocka_unit_test(weighted_rows_are_added_where_they_came_from),
        cmocka_unit_test(rows_without_weights_are_added_as_they_are),
        cmocka_unit_test(without_a_list_all_rows_are_added_in_turn),
        cmocka_unit_test(no_rows_change_nothing),
        cmocka_unit_test(columns_are_taken_run_by_run_bit_for_bit),
        cmocka_unit_test(columns_are_put_where_they_came_from_and_no_others_change),
        cmocka_unit_test(each_run_may_be_given_the_same),
    };
    return BENCH_RUN(rows);
}
