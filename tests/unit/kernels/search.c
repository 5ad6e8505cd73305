/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/search.c - rounding error, its quadratic form and folding. What the
 * quantizer does to a weight must be exact, sums within terms * 2^-24. */
#include <math.h>
#include <string.h>

#include "kernels/gram.h"
#include "tests/unit/kernels/bench.h"
#include "tests/unit/kernels/reference.h"

static double form(const double *d, const float *gram, int64_t in)
{
    double sum = 0;
    for (int64_t i = 0; i < in; i++)
        for (int64_t j = 0; j < in; j++) sum += d[i] * (double)gram[i * in + j] * d[j];
    return sum;
}

/* Of each row of d, on the device as the finished Gram matrix is. */
static const double *row_forms(const void *d, const float *gram, awq_extent extent)
{
    void *form_of = device_array(awq_form_bytes(extent.in, compute_bytes(1)));
    double *sums = device_array((size_t)extent.out * sizeof *sums);
    be->prepare_form(device, form_of, gram, extent.in);
    be->quadratic_form(device, sums, d, gram, form_of, extent.out, extent.in);
    return fetch_bytes(sums, (size_t)extent.out * sizeof *sums);
}

static double row_forms_sum(const void *d, const float *gram, awq_extent extent)
{
    const double *forms = row_forms(d, gram, extent);
    double sum = 0;
    for (int64_t r = 0; r < extent.out; r++) sum += forms[r];
    return sum;
}

/* ---- rounding error and the quadratic form ---- */

/* At so many vectors of scales, one after the other. */
static void check_rounding_errors(awq_extent extent, awq_grid grid, int64_t candidates)
{
    int64_t count = extent.out * extent.in, all = candidates * count;
    float *w = host_activations(count, 0.3f), *s = random_scales(candidates * extent.in);
    float *scaled = host_array((size_t)count * sizeof *scaled);
    double *reference = host_doubles(all);
    for (int64_t c = 0; c < candidates; c++) {
        const float *own = s + c * extent.in;
        for (int64_t i = 0; i < count; i++) scaled[i] = w[i] * own[i % extent.in];
        for (int64_t i = 0; i < count; i++) {
            reference_group group =
                reference_quantizer(scaled + i / grid.group_size * grid.group_size, &grid);
            float value = reference_value(scaled[i], group, &grid);
            reference[c * count + i] = (double)(w[i] - value / own[i % extent.in]);
        }
    }
    void *d = device_array(compute_bytes(all));
    be->rounding_error(device, d, device_compute(w, count),
                       device_floats(s, candidates * extent.in), candidates, extent, &grid);
    assert_close(fetch_compute(d, all), reference, all, product_tolerance(2));
}

static void check_rounding_error(awq_extent extent, awq_grid grid)
{
    check_rounding_errors(extent, grid, 1);
}

static void rounding_error_is_what_the_quantizer_loses(void **state)
{
    (void)state;
    check_rounding_error((awq_extent){33, 96}, (awq_grid){4, 32, true, false});
    check_rounding_error((awq_extent){8, 72}, (awq_grid){3, 24, true, false});
    check_rounding_error((awq_extent){1, 40}, (awq_grid){8, 40, true, false});
    check_rounding_error((awq_extent){9, 64}, (awq_grid){4, 64, false, false});
    check_rounding_error((awq_extent){5, 12}, (awq_grid){2, 3, false, false});
    check_rounding_errors((awq_extent){7, 96}, (awq_grid){4, 32, true, false}, 3);
}

static void rounding_error_of_an_overflowing_scale_is_nan(void **state)
{
    (void)state;
    awq_grid grid = {4, 16, true, false};
    float *w = host_activations(32, 1), *s = random_scales(32);
    w[3] = 3e4f; /* times s: beyond 15 * 65504, in float16's reach itself */
    s[3] = 1e3f;
    void *d = device_array(compute_bytes(32));
    be->rounding_error(device, d, device_compute(w, 32), device_floats(s, 32), 1,
                       (awq_extent){1, 32}, &grid);
    const float *result = fetch_compute(d, 32);
    for (int i = 0; i < 32; i++) assert_true(isnan(result[i]) == (i < 16));
}

static void rounding_error_shows_nan_of_either_sign(void **state)
{
    (void)state;
    awq_grid grid = {4, 16, true, false}, symmetric = {4, 16, false, false};
    float *w = host_activations(48, 1), *s = random_scales(48);
    w[3] = NAN;
    w[16 + 9] = -NAN;
    void *d = device_array(compute_bytes(48)), *weights = device_compute(w, 48);
    float *scales = device_floats(s, 48);
    for (int pass = 0; pass < 2; pass++) {
        be->rounding_error(device, d, weights, scales, 1, (awq_extent){1, 48},
                           pass ? &symmetric : &grid);
        const float *result = fetch_compute(d, 48);
        for (int i = 0; i < 48; i++) assert_true(isnan(result[i]) == (i < 32));
    }
}

static void check_quadratic_form(awq_extent extent)
{
    int64_t count = extent.out * extent.in;
    float *d = host_activations(count, 0.1f), *gram = random_gram(extent.in);
    double *row = host_doubles(extent.in);
    const double *found = row_forms(device_compute(d, count), device_gram(gram, extent.in), extent);
    for (int64_t r = 0; r < extent.out; r++) {
        for (int64_t i = 0; i < extent.in; i++) row[i] = (double)d[r * extent.in + i];
        double reference = form(row, gram, extent.in);
        double tolerance = under_test.compute == AWQ_F32 ? 1e-5 : 1e-3;
        if (!(fabs(found[r] / reference - 1) < tolerance))
            fail_msg("row %d's form is %.12g, should be %.12g", (int)r, found[r], reference);
    }
}

static void quadratic_form_is_that_of_each_row(void **state)
{
    (void)state;
    check_quadratic_form((awq_extent){33, 40});
    check_quadratic_form((awq_extent){1, 16});
    check_quadratic_form((awq_extent){8, 8});
}

static void quadratic_form_works_across_blocks(void **state)
{
    (void)state;
    check_quadratic_form((awq_extent){519, 328});
    check_quadratic_form((awq_extent){8, 1040});
}

/* What others there are is nothing to a row, but for roundings. */
static void rows_do_not_depend_on_others(void **state)
{
    (void)state;
    enum { ROWS = 530, FIRST = 515 };
    const awq_extent extent = {ROWS, 264};
    float *d = host_activations(ROWS * extent.in, 0.1f);
    float *gram = device_gram(random_gram(extent.in), extent.in);
    for (int64_t i = 0; i < extent.in; i++) d[2 * extent.in + i] = 0;
    d[3 * extent.in + 7] = NAN;
    void *all = device_compute(d, ROWS * extent.in);
    const double *together = row_forms(all, gram, extent);
    const double *alone = row_forms((char *)all + compute_bytes(FIRST * extent.in), gram,
                                    (awq_extent){ROWS - FIRST, extent.in});
    for (int64_t r = 0; r < ROWS; r++) assert_true(isnan(together[r]) == (r == 3));
    for (int64_t r = FIRST; r < ROWS; r++)
        assert_true(fabs(together[r] - alone[r - FIRST]) <= 1e-6 * alone[r - FIRST]);
    assert_true(together[2] == 0);
}

/* Channels whose activations are 2^-12 to 2^12 of the others', as outliers are, and errors that are
 * as much smaller; a dead one; Gram matrices of any size. */
static void check_uneven_form(float size)
{
    enum { OUT = 40, COLS = 300, TOKENS = 24 };
    awq_extent extent = {OUT, COLS};
    float *x = host_random(TOKENS * COLS, size), *d = host_random(OUT * COLS, 0.05f);
    float *gram = host_array(COLS * COLS * sizeof *gram), *at = host_array(COLS * sizeof *at);
    double *row = host_doubles(COLS), reference = 0;
    for (int c = 0; c < COLS; c++) at[c] = c == 77 ? 0 : ldexpf(1, c % 5 * 6 - 12);
    for (int i = 0; i < TOKENS * COLS; i++) x[i] *= at[i % COLS];
    for (int i = 0; i < OUT * COLS; i++) d[i] /= at[i % COLS] + (i % COLS == 77);
    void *on_device = device_compute(d, OUT * COLS);
    const float *kept = fetch_compute(on_device, OUT * COLS);
    const double *exact = reference_gram(x, NULL, TOKENS, COLS);
    for (int i = 0; i < COLS * COLS; i++) gram[i] = (float)exact[i];
    for (int r = 0; r < OUT; r++) {
        for (int c = 0; c < COLS; c++) row[c] = (double)kept[r * COLS + c];
        reference += form(row, gram, COLS);
    }
    double sum = row_forms_sum(on_device, device_gram(gram, COLS), extent);
    double tolerance = under_test.compute == AWQ_F32 ? 1e-5 : 1e-3;
    if (!(fabs(sum / reference - 1) < tolerance))
        fail_msg("quadratic form is %.12g, should be %.12g", sum, reference);
    bench_clear(&under_test);
}

static void quadratic_form_takes_uneven_channels(void **state)
{
    (void)state;
    check_uneven_form(1);
    check_uneven_form(1e9f);
    check_uneven_form(1e-9f);
}

static void quadratic_form_passes_nan_and_infinity(void **state)
{
    (void)state;
    int64_t in = 600;
    awq_extent extent = {9, in};
    float *d = host_activations(9 * in, 1), *gram = random_gram(in);
    for (int64_t i = 0; i < 9 * in; i++) d[i] += 1.5f; /* no zeros to hide behind */
    float *good = device_gram(gram, in);
    d[8 * in + 599] = NAN;
    assert_true(isnan(row_forms(device_compute(d, 9 * in), good, extent)[8]));
    d[8 * in + 599] = INFINITY;
    assert_false(isfinite(row_forms(device_compute(d, 9 * in), good, extent)[8]));
    d[8 * in + 599] = 1;
    gram[2 * in + 599] = gram[599 * in + 2] = NAN;
    const double *sums = row_forms(device_compute(d, 9 * in), device_gram(gram, in), extent);
    for (int64_t r = 0; r < extent.out; r++) assert_true(isnan(sums[r]));
}

/* ---- squared error ---- */

static void check_squared_error(int64_t rows, int64_t cols, bool masked)
{
    awq_error err;
    int64_t count = rows * cols;
    float *a = host_random(count, 3), *b = host_random(count, 3);
    uint8_t *mask = host_array((size_t)rows);
    double sum = 0, reference = 0;
    for (int64_t r = 0; r < rows; r++) mask[r] = !masked || r % 3 != 1;
    for (int64_t i = 0; i < count; i++) {
        double difference = (double)(a[i] - b[i]);
        if (mask[i / cols]) reference += difference * difference;
        if (!mask[i / cols]) a[i] = NAN;
    }
    must(be->squared_error(device, device_floats(a, count), device_floats(b, count),
                           masked ? device_bytes(mask, (size_t)rows) : NULL, rows, cols, &sum,
                           &err));
    assert_true(fabs(sum / reference - 1) < 1e-12);
}

static void squared_error_sums_the_rows_that_count(void **state)
{
    (void)state;
    check_squared_error(37, 96, false);
    check_squared_error(130, 41, true);
    check_squared_error(1, 7, false);
}

static void squared_error_shows_nan(void **state)
{
    (void)state;
    awq_error err;
    double sum = 0;
    float *a = host_random(200, 1), *b = device_floats(a, 200);
    a[199] = NAN;
    must(be->squared_error(device, device_floats(a, 200), b, NULL, 4, 50, &sum, &err));
    assert_true(isnan(sum));
    must(be->squared_error(device, b, b, NULL, 4, 50, &sum, &err));
    assert_true(sum == 0);
}

/* ---- fold ---- */

static void fold_multiplies_columns_and_divides_rows(void **state)
{
    (void)state;
    int64_t out = 9, in = 41;
    float *w = host_activations(out * in, 1), *columns = random_scales(in);
    float *rows = random_scales(out), *expected = host_array((size_t)(out * in) * sizeof *expected);
    float *folded = device_array((size_t)(out * in) * sizeof *folded);
    void *weight = device_compute(w, out * in);
    float *c = device_floats(columns, in), *r = device_floats(rows, out);
    for (int given = 0; given < 4; given++) {
        for (int64_t i = 0; i < out * in; i++) {
            expected[i] = given & 1 ? w[i] * columns[i % in] : w[i];
            if (given & 2) expected[i] /= rows[i / in];
        }
        be->fold(device, folded, weight, given & 1 ? c : NULL, given & 2 ? r : NULL,
                 (awq_extent){out, in});
        assert_memory_equal(fetch_floats(folded, out * in), expected,
                            (size_t)(out * in) * sizeof *expected);
    }
}

static void unfold_divides_columns_and_multiplies_rows(void **state)
{
    (void)state;
    int64_t out = 9, in = 41, count = out * in;
    float *folded = host_random(count, 1), *columns = random_scales(in);
    float *rows = random_scales(out), *expected = host_array((size_t)count * sizeof *expected);
    void *w = device_array(compute_bytes(count)), *narrow = host_array(compute_bytes(count));
    float *c = device_floats(columns, in), *r = device_floats(rows, out);
    float *from = device_floats(folded, count);
    for (int given = 0; given < 4; given++) {
        for (int64_t i = 0; i < count; i++) {
            expected[i] = given & 1 ? folded[i] / columns[i % in] : folded[i];
            if (given & 2) expected[i] *= rows[i / in];
        }
        awq_narrow(narrow, expected, under_test.compute, (size_t)count);
        be->unfold(device, w, from, given & 1 ? c : NULL, given & 2 ? r : NULL,
                   (awq_extent){out, in});
        assert_memory_equal(fetch_bytes(w, compute_bytes(count)), narrow, compute_bytes(count));
    }
}

/* The folding check stands on this: a power of two is all that is left of the scales, and 16 bits
 * hold it. */
static void unfold_gives_weights_of_sixteen_bits_back_exactly(void **state)
{
    (void)state;
    int64_t out = 40, in = 96, count = out * in;
    float *w = host_activations(count, 0.3f), *columns = random_scales(in);
    float *rows = random_scales(out);
    float *folded = device_array((size_t)count * sizeof *folded);
    float *c = device_floats(columns, in), *r = device_floats(rows, out);
    void *weight = device_compute(w, count);
    be->fold(device, folded, weight, c, r, (awq_extent){out, in});
    be->unfold(device, weight, folded, c, r, (awq_extent){out, in});
    const float *back = fetch_compute(weight, count);
    float exact = under_test.compute == AWQ_F32 ? 0x1p-22f : 0;
    for (int64_t i = 0; i < count; i++) assert_true(fabsf(back[i] - w[i]) <= exact * fabsf(w[i]));
}

int main(void)
{
    const struct CMUnitTest search[] = {
        cmocka_unit_test(rounding_error_is_what_the_quantizer_loses),
        cmocka_unit_test(rounding_error_of_an_overflowing_scale_is_nan),
        cmocka_unit_test(rounding_error_shows_nan_of_either_sign),
        cmocka_unit_test(quadratic_form_is_that_of_each_row),
        cmocka_unit_test(quadratic_form_works_across_blocks),
        cmocka_unit_test(rows_do_not_depend_on_others),
        cmocka_unit_test(quadratic_form_takes_uneven_channels),
        cmocka_unit_test(quadratic_form_passes_nan_and_infinity),
        cmocka_unit_test(squared_error_sums_the_rows_that_count),
        cmocka_unit_test(squared_error_shows_nan),
        cmocka_unit_test(fold_multiplies_columns_and_divides_rows),
        cmocka_unit_test(unfold_divides_columns_and_multiplies_rows),
        cmocka_unit_test(unfold_gives_weights_of_sixteen_bits_back_exactly),
    };
    return BENCH_RUN(search);
}
