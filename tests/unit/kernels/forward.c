/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/forward.c - the forward pass's verbs against naive float64 references.
 * Tolerances: one rounding to the compute type, plus terms * 2^-24 for a sum of float32 products
 * (product_tolerance), relative to the largest element. */
#include <math.h>

#include "tests/unit/kernels/bench.h"

/* ---- linear ---- */

static void check_linear(int64_t rows, int64_t out, int64_t in, bool with_bias, float scale)
{
    double *reference = host_doubles(rows * out);
    float *x = host_activations(rows * in, 2), *w = host_activations(out * in, 1);
    float *bias = with_bias ? host_random(out, 3) : NULL, *sum = host_random(rows * out, 5);
    awq_extent extent = {out, in};
    void *dx = device_compute(x, rows * in), *dw = device_compute(w, out * in);
    void *y = device_array(compute_bytes(rows * out));
    float *dsum = device_floats(sum, rows * out), *dbias = bias ? device_floats(bias, out) : NULL;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < out; c++) {
            double dot = bias ? (double)bias[c] : 0;
            for (int64_t i = 0; i < in; i++) dot += (double)x[r * in + i] * (double)w[c * in + i];
            reference[r * out + c] = dot;
        }
    be->linear(device, y, dx, dw, dbias, rows, extent);
    assert_close(fetch_compute(y, rows * out), reference, rows * out, product_tolerance(in));
    be->linear_add(device, dsum, dx, dw, dbias, scale, rows, extent);
    for (int64_t i = 0; i < rows * out; i++)
        reference[i] = (double)scale * reference[i] + (double)sum[i];
    assert_close(fetch_floats(dsum, rows * out), reference, rows * out, product_tolerance(in));
}

static void linear_is_a_product_with_the_transposed_weight(void **state)
{
    (void)state;
    check_linear(37, 40, 96, false, 1);
}

static void linear_adds_its_bias(void **state)
{
    (void)state;
    check_linear(5, 24, 64, true, 1);
}

static void linear_works_on_one_row(void **state)
{
    (void)state;
    check_linear(1, 8, 16, true, 1);
}

static void linear_works_across_blocks(void **state)
{
    (void)state;
    check_linear(523, 1032, 72, true, 1);
}

static void linear_scales_what_it_adds(void **state)
{
    (void)state;
    check_linear(37, 40, 96, false, 0.22f);
    check_linear(523, 1032, 72, true, 3);
}

/* ---- positions ---- */

static void check_rope(int64_t rows, awq_rope_shape shape)
{
    int64_t heads = shape.heads, d = shape.head_dim, half = shape.rope_dim / 2;
    int64_t length = shape.length, step = shape.interleaved ? 2 : 1;
    int64_t apart = shape.interleaved ? 1 : half;
    double *reference = host_doubles(rows * heads * d);
    float *x = host_activations(rows * heads * d, 2);
    float *cosine = host_random(length * half, 1), *sine = host_random(length * half, 1);
    for (int64_t i = 0; i < rows * heads * d; i++) reference[i] = (double)x[i];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t j = 0; j < half; j++) {
                int64_t at = (r * heads + h) * d + shape.first + j * step,
                        angle = r % length * half + j;
                double a = (double)x[at], b = (double)x[at + apart];
                double c = (double)cosine[angle], s = (double)sine[angle];
                reference[at] = a * c - b * s;
                reference[at + apart] = b * c + a * s;
            }
    void *y = device_compute(x, rows * heads * d);
    be->rope(device, y, device_floats(cosine, length * half), device_floats(sine, length * half),
             rows, &shape);
    const float *result = fetch_compute(y, rows * heads * d);
    assert_close(result, reference, rows * heads * d, product_tolerance(2));
    for (int64_t i = 0; i < rows * heads * d; i++)
        if (i % d < shape.first || i % d >= shape.first + 2 * half)
            assert_true(awq_float_bits(result[i]) == awq_float_bits(x[i]));
}

static void rope_rotates_halves_by_the_position(void **state)
{
    (void)state;
    check_rope(21, (awq_rope_shape){3, 16, 16, 7, false, 0});
    check_rope(10, (awq_rope_shape){2, 128, 128, 5, false, 0});
}

static void rope_rotates_neighbours_if_they_are_pairs(void **state)
{
    (void)state;
    check_rope(21, (awq_rope_shape){3, 16, 16, 7, true, 0});
    check_rope(10, (awq_rope_shape){2, 128, 128, 5, true, 0});
}

static void rope_leaves_channels_beyond_its_own_as_they_are(void **state)
{
    (void)state;
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        check_rope(21, (awq_rope_shape){3, 16, 12, 7, interleaved, 0});
        check_rope(10, (awq_rope_shape){2, 80, 20, 5, interleaved, 0});
        check_rope(1, (awq_rope_shape){1, 5, 2, 1, interleaved, 0});
    }
}

static void rope_may_begin_within_a_head(void **state)
{
    (void)state;
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        check_rope(21, (awq_rope_shape){3, 16, 12, 7, interleaved, 4});
        check_rope(10, (awq_rope_shape){2, 192, 64, 5, interleaved, 128});
        check_rope(10, (awq_rope_shape){2, 80, 20, 5, interleaved, 31});
    }
}

/* ---- softcap, scale, narrow, load, find_nonfinite ---- */

/* Each element's own error: a capped logit near 0 is no less exact. */
static void softcap_bends_towards_the_cap(void **state)
{
    (void)state;
    int64_t count = 20011;
    float cap = 7.5f, *x = host_random(count, 20);
    for (int64_t i = 0; i < count; i += 3) x[i] *= 0x1p-12f;
    float *y = device_floats(x, count);
    be->softcap(device, y, cap, (size_t)count);
    const float *result = fetch_floats(y, count);
    for (int64_t i = 0; i < count; i++) {
        double expected = (double)cap * tanh((double)x[i] / (double)cap);
        assert_true(fabs((double)result[i] - expected) <= 0x1p-21 * fabs(expected));
    }
}

static void softcap_shows_nan_and_survives_extremes(void **state)
{
    (void)state;
    const float x[] = {NAN, -NAN, INFINITY, -INFINITY, 1e30f, -1e30f, 0, 1e-40f};
    float *y = device_floats(x, 8);
    be->softcap(device, y, 30, 8);
    const float *result = fetch_floats(y, 8);
    assert_true(isnan(result[0]) && isnan(result[1]));
    assert_true(result[2] == 30 && result[3] == -30 && result[4] == 30 && result[5] == -30);
    assert_true(result[6] == 0 && fabsf(result[7]) <= 1.1e-40f);
}

static void scale_multiplies_to_the_bit(void **state)
{
    (void)state;
    int64_t count = 20011;
    float *x = host_random(count, 20);
    x[7] = NAN;
    x[count - 1] = -INFINITY;
    float *y = device_floats(x, count);
    be->scale(device, y, 0.7f, (size_t)count);
    const float *result = fetch_floats(y, count);
    for (int64_t i = 0; i < count; i++)
        assert_true(i == 7 ? isnan(result[i]) : result[i] == x[i] * 0.7f);
}

static void load_widens_every_half_exactly_from_any_address(void **state)
{
    (void)state;
    enum { COUNT = 65536 };
    unsigned char *bytes = host_array(2 * COUNT + 1);
    for (uint32_t i = 0; i < COUNT; i++) {
        bytes[2 * i + 1] = (unsigned char)i;
        bytes[2 * i + 2] = (unsigned char)(i >> 8);
    }
    const awq_dtype types[] = {AWQ_F16, AWQ_BF16};
    for (int t = 0; t < 2; t++) {
        float *expected = host_array(COUNT * sizeof *expected);
        awq_widen(expected, bytes + 1, types[t], COUNT);
        void *array = device_array(compute_bytes(COUNT));
        be->load(device, array, bytes + 1, types[t], COUNT);
        float *result = fetch_compute(array, COUNT);
        if (under_test.compute != AWQ_F32 && under_test.compute != types[t]) continue;
        for (int i = 0; i < COUNT; i++)
            assert_true(isnan(expected[i])
                            ? isnan(result[i])
                            : awq_float_bits(expected[i]) == awq_float_bits(result[i]));
    }
}

static void narrow_rounds_to_the_compute_type(void **state)
{
    (void)state;
    int64_t count = 1001;
    float *x = host_random(count, 3), *expected = host_array((size_t)count * sizeof *expected);
    void *narrow = host_array((size_t)count * sizeof(float)),
         *y = device_array(compute_bytes(count));
    awq_narrow(narrow, x, under_test.compute, (size_t)count);
    awq_widen(expected, narrow, under_test.compute, (size_t)count);
    be->narrow(device, y, device_floats(x, count), (size_t)count);
    assert_memory_equal(fetch_compute(y, count), expected, (size_t)count * sizeof *expected);
}

static void find_nonfinite_returns_the_first(void **state)
{
    (void)state;
    awq_error err;
    int64_t count = 300007, index = 0;
    float *x = host_activations(count, 3);
    must(be->find_nonfinite(device, device_compute(x, count), (size_t)count, &index, &err));
    assert_int_equal(index, -1);
    x[count - 1] = NAN;
    must(be->find_nonfinite(device, device_compute(x, count), (size_t)count, &index, &err));
    assert_int_equal(index, count - 1);
    x[131] = -INFINITY;
    x[70000] = NAN;
    must(be->find_nonfinite(device, device_compute(x, count), (size_t)count, &index, &err));
    assert_int_equal(index, 131);
}

/* ---- scores ---- */

static double log_sum(const float *x, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += exp((double)x[i]);
    return log(sum);
}

static void nll_and_kl_are_those_of_softmax(void **state)
{
    (void)state;
    awq_error err;
    enum { ROWS = 5, VOCAB = 1003 };
    double nll[ROWS], kl[ROWS];
    int32_t target[ROWS] = {0, 1002, 17, 500, 3};
    float *p = host_random(ROWS * VOCAB, 8), *q = host_random(ROWS * VOCAB, 8);
    float *dp = device_floats(p, ROWS * VOCAB), *dq = device_floats(q, ROWS * VOCAB);
    must(be->nll(device, nll, dp, target, ROWS, VOCAB, &err));
    must(be->kl(device, kl, dp, dq, ROWS, VOCAB, &err));
    for (int r = 0; r < ROWS; r++) {
        const float *a = p + r * VOCAB, *b = q + r * VOCAB;
        double a_log = log_sum(a, VOCAB), b_log = log_sum(b, VOCAB), sum = 0;
        for (int i = 0; i < VOCAB; i++)
            sum += exp((double)a[i] - a_log) * ((double)a[i] - a_log - (double)b[i] + b_log);
        assert_true(fabs(nll[r] - (a_log - (double)a[target[r]])) < 1e-6 * fabs(nll[r]) + 1e-7);
        assert_true(fabs(kl[r] - sum) < 1e-6 * fabs(sum));
    }
    must(be->kl(device, kl, dp, dp, ROWS, VOCAB, &err));
    for (int r = 0; r < ROWS; r++) assert_true(kl[r] == 0);
}

static void nll_shows_nan(void **state)
{
    (void)state;
    awq_error err;
    double nll[2];
    const int32_t target[] = {0, 0};
    float *x = host_random(2 * 33, 1);
    x[20] = NAN;
    must(be->nll(device, nll, device_floats(x, 2 * 33), target, 2, 33, &err));
    assert_true(isnan(nll[0]) && isfinite(nll[1]));
}

static void argmax_is_the_first_of_the_largest(void **state)
{
    (void)state;
    awq_error err;
    enum { ROWS = 6, VOCAB = 1003 };
    int32_t index[ROWS];
    float *x = host_random(ROWS * VOCAB, 8);
    x[0 * VOCAB + 1002] = 9; /* the last, beyond whole vectors */
    x[1 * VOCAB + 40] = x[1 * VOCAB + 700] = 9;
    for (int i = 0; i < VOCAB; i++) {
        x[2 * VOCAB + i] = -3 - (float)(i != 17); /* all negative */
        x[3 * VOCAB + i] = i % 2 ? 0.0F : -0.0F;  /* equal, of both signs */
    }
    x[4 * VOCAB + 5] = INFINITY;
    x[5 * VOCAB + 900] = -NAN;
    must(be->argmax(device, index, device_floats(x, ROWS * VOCAB), ROWS, VOCAB, &err));
    const int32_t expected[ROWS] = {1002, 40, 17, 0, 5, -1};
    assert_memory_equal(index, expected, sizeof index);
}

/* The largest at any place, the second largest at any other. */
static void argmax_is_found_wherever_it_is(void **state)
{
    (void)state;
    awq_error err;
    enum { ROWS = 97, VOCAB = 1003 };
    int32_t index[ROWS];
    float *x = host_random(ROWS * VOCAB, 8);
    for (int r = 0; r < ROWS; r++) {
        x[r * VOCAB + r * 593 % VOCAB] = 8.5f;
        x[r * VOCAB + r * 151 % VOCAB] = 9;
    }
    must(be->argmax(device, index, device_floats(x, ROWS * VOCAB), ROWS, VOCAB, &err));
    for (int r = 0; r < ROWS; r++) assert_int_equal(index[r], r * 151 % VOCAB);
}

int main(void)
{
    const struct CMUnitTest forward[] = {
        cmocka_unit_test(linear_is_a_product_with_the_transposed_weight),
        cmocka_unit_test(linear_adds_its_bias),
        cmocka_unit_test(linear_works_on_one_row),
        cmocka_unit_test(linear_works_across_blocks),
        cmocka_unit_test(linear_scales_what_it_adds),
        cmocka_unit_test(rope_rotates_halves_by_the_position),
        cmocka_unit_test(rope_rotates_neighbours_if_they_are_pairs),
        cmocka_unit_test(rope_leaves_channels_beyond_its_own_as_they_are),
        cmocka_unit_test(rope_may_begin_within_a_head),
        cmocka_unit_test(softcap_bends_towards_the_cap),
        cmocka_unit_test(softcap_shows_nan_and_survives_extremes),
        cmocka_unit_test(scale_multiplies_to_the_bit),
        cmocka_unit_test(load_widens_every_half_exactly_from_any_address),
        cmocka_unit_test(narrow_rounds_to_the_compute_type),
        cmocka_unit_test(find_nonfinite_returns_the_first),
        cmocka_unit_test(nll_and_kl_are_those_of_softmax),
        cmocka_unit_test(nll_shows_nan),
        cmocka_unit_test(argmax_is_the_first_of_the_largest),
        cmocka_unit_test(argmax_is_found_wherever_it_is),
    };
    return BENCH_RUN(forward);
}
