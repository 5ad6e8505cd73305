/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/norm.c - RMSNorm and LayerNorm against a naive float64 reference: with and
 * without weights and biases, shared by all rows or not; to the compute type, in it, and added. */
#include <math.h>

#include "tests/unit/kernels/bench.h"

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

/* ---- what is not finite ---- */

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

int main(void)
{
    const struct CMUnitTest norms[] = {
        cmocka_unit_test(a_norm_divides_by_the_root_mean_square),
        cmocka_unit_test(a_centered_norm_takes_the_mean_off_first),
        cmocka_unit_test(a_mean_far_from_zero_costs_no_accuracy),
        cmocka_unit_test(weights_and_biases_may_be_missing),
        cmocka_unit_test(rows_take_the_weights_of_their_turn),
        cmocka_unit_test(a_centered_norm_is_torch_layer_norm),
        cmocka_unit_test(norms_show_nan_and_infinity),
        cmocka_unit_test(added_norms_show_nan_and_infinity),
    };
    return BENCH_RUN(norms);
}
