/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/search.c - statistics, search and quantizing verbs against naive references.
 * Codes, scales and zeros must be exactly those of the float32 formula of AWQ.md 2.4; sums within
 * terms * 2^-24. */
#include <math.h>
#include <string.h>

#include "tests/unit/kernels/bench.h"

/* ---- AWQ.md 2.4, written a second time ---- */

typedef struct reference_group {
    uint16_t half;
    float scale, zero;
} reference_group;

static reference_group reference_quantizer(const float *w, const awq_grid *grid)
{
    float mx = 0, mn = 0, levels = (float)((1 << grid->bits) - 1);
    for (int64_t i = 0; i < grid->group_size; i++) {
        mx = fmaxf(mx, w[i]);
        mn = fminf(mn, w[i]);
    }
    float exact = grid->zero_point ? fmaxf(mx - mn, 1e-5f) / levels
                                   : fmaxf(mx, -mn) / (float)((1 << (grid->bits - 1)) - 1);
    reference_group group = {.half = awq_f16_from_float(exact)};
    group.scale = awq_float_from_f16(group.half);
    if (group.scale < 0x1p-14f) {
        group.scale = 0x1p-14f;
        group.half = awq_f16_from_float(group.scale);
    }
    group.zero = grid->zero_point ? fminf(fmaxf(-rintf(mn / group.scale), 0), levels)
                                  : (float)(1 << (grid->bits - 1));
    return group;
}

static float reference_code(float w, reference_group group, const awq_grid *grid)
{
    float levels = (float)((1 << grid->bits) - 1);
    return fminf(fmaxf(rintf(w / group.scale) + group.zero, 0), levels);
}

static float reference_value(float w, reference_group group, const awq_grid *grid)
{
    return (reference_code(w, group, grid) - group.zero) * group.scale;
}

/* ---- helpers ---- */

/* x^T x over the rows that count, full. */
static double *reference_gram(const float *x, const uint8_t *mask, int64_t rows, int64_t cols)
{
    double *gram = host_doubles(cols * cols);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; (!mask || mask[r]) && i < cols; i++)
            for (int64_t j = 0; j < cols; j++)
                gram[i * cols + j] += (double)x[r * cols + i] * (double)x[r * cols + j];
    return gram;
}

static float *random_gram(int64_t cols)
{
    int64_t rows = 24;
    const double *gram = reference_gram(host_random(rows * cols, 1), NULL, rows, cols);
    float *narrow = host_array((size_t)(cols * cols) * sizeof *narrow);
    for (int64_t i = 0; i < cols * cols; i++) narrow[i] = (float)gram[i];
    return narrow;
}

/* Scales around 1, away from 0. */
static float *random_scales(int64_t count)
{
    float *s = host_random(count, 1);
    for (int64_t i = 0; i < count; i++) s[i] = 0.2f + 3 * s[i] * s[i];
    return s;
}

static double form(const double *d, const float *gram, int64_t in)
{
    double sum = 0;
    for (int64_t i = 0; i < in; i++)
        for (int64_t j = 0; j < in; j++) sum += d[i] * (double)gram[i * in + j] * d[j];
    return sum;
}

/* ---- statistics ---- */

static void check_statistics(int64_t rows, int64_t cols, bool masked)
{
    float *x = host_activations(rows * cols, 2);
    uint8_t *mask = masked ? host_array((size_t)rows) : NULL;
    for (int64_t r = 0; masked && r < rows; r++) mask[r] = r % 3 != 1;
    double *sum = host_doubles(cols), *gram = reference_gram(x, mask, rows, cols);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; (!mask || mask[r]) && c < cols; c++)
            sum[c] += fabs((double)x[r * cols + c]);
    if (masked) x[cols] = NAN; /* of a row that does not count */

    double *device_sum = device_array((size_t)cols * sizeof(double));
    float *device_gram = device_array((size_t)(cols * cols) * sizeof(float));
    void *device_x = device_compute(x, rows * cols);
    uint8_t *device_mask = masked ? device_bytes(mask, (size_t)rows) : NULL;
    be->zero(device, device_sum, (size_t)cols * sizeof(double));
    be->zero(device, device_gram, (size_t)(cols * cols) * sizeof(float));
    for (int tile = 0; tile < 2; tile++) {
        be->abs_sum(device, device_sum, device_x, device_mask, rows, cols);
        be->gram(device, device_gram, device_x, device_mask, rows, cols);
    }
    be->gram_finish(device, device_gram, cols);

    for (int64_t i = 0; i < cols * cols; i++) gram[i] *= 2;
    assert_close(fetch_floats(device_gram, cols * cols), gram, cols * cols, (double)rows * 0x1p-23);
    const double *result = fetch_bytes(device_sum, (size_t)cols * sizeof(double));
    for (int64_t c = 0; c < cols; c++)
        assert_true(fabs(result[c] - 2 * sum[c]) <= 1e-9 * (1 + sum[c]));
}

static void statistics_add_tiles(void **state)
{
    (void)state;
    check_statistics(37, 96, false);
    check_statistics(1, 40, false);
}

static void statistics_leave_masked_rows_out(void **state)
{
    (void)state;
    check_statistics(37, 72, true);
}

static void statistics_work_across_blocks(void **state)
{
    (void)state;
    check_statistics(19, 1100, true);
}

static void gram_shows_nan(void **state)
{
    (void)state;
    float *x = host_activations(5 * 16, 1);
    x[3] = NAN;
    float *gram = device_array(16 * 16 * sizeof(float));
    be->zero(device, gram, 16 * 16 * sizeof(float));
    be->gram(device, gram, device_compute(x, 5 * 16), NULL, 5, 16);
    be->gram_finish(device, gram, 16);
    const float *result = fetch_floats(gram, 16 * 16);
    for (int i = 0; i < 16 * 16; i++) assert_true(isnan(result[i]) == (i / 16 == 3 || i % 16 == 3));
}

/* ---- rounding error and the quadratic form ---- */

static void check_rounding_error(awq_extent extent, awq_grid grid)
{
    int64_t count = extent.out * extent.in;
    float *w = host_activations(count, 0.3f), *s = random_scales(extent.in);
    float *scaled = host_array((size_t)count * sizeof *scaled);
    double *reference = host_doubles(count);
    for (int64_t i = 0; i < count; i++) scaled[i] = w[i] * s[i % extent.in];
    for (int64_t i = 0; i < count; i++) {
        reference_group group =
            reference_quantizer(scaled + i / grid.group_size * grid.group_size, &grid);
        reference[i] = (double)(w[i] - reference_value(scaled[i], group, &grid) / s[i % extent.in]);
    }
    void *d = device_array(compute_bytes(count));
    be->rounding_error(device, d, device_compute(w, count), device_floats(s, extent.in), extent,
                       &grid);
    assert_close(fetch_compute(d, count), reference, count, product_tolerance(2));
}

static void rounding_error_is_what_the_quantizer_loses(void **state)
{
    (void)state;
    check_rounding_error((awq_extent){33, 96}, (awq_grid){4, 32, true});
    check_rounding_error((awq_extent){8, 72}, (awq_grid){3, 24, true});
    check_rounding_error((awq_extent){1, 40}, (awq_grid){8, 40, true});
    check_rounding_error((awq_extent){9, 64}, (awq_grid){4, 64, false});
    check_rounding_error((awq_extent){5, 12}, (awq_grid){2, 3, false});
}

static void rounding_error_of_an_overflowing_scale_is_nan(void **state)
{
    (void)state;
    awq_grid grid = {4, 16, true};
    float *w = host_activations(32, 1), *s = random_scales(32);
    w[3] = 3e4f; /* times s: beyond 15 * 65504, in float16's reach itself */
    s[3] = 1e3f;
    void *d = device_array(compute_bytes(32));
    be->rounding_error(device, d, device_compute(w, 32), device_floats(s, 32), (awq_extent){1, 32},
                       &grid);
    const float *result = fetch_compute(d, 32);
    for (int i = 0; i < 32; i++) assert_true(isnan(result[i]) == (i < 16));
}

static void rounding_error_shows_nan_of_either_sign(void **state)
{
    (void)state;
    awq_grid grid = {4, 16, true}, symmetric = {4, 16, false};
    float *w = host_activations(48, 1), *s = random_scales(48);
    w[3] = NAN;
    w[16 + 9] = -NAN;
    void *d = device_array(compute_bytes(48)), *weights = device_compute(w, 48);
    float *scales = device_floats(s, 48);
    for (int pass = 0; pass < 2; pass++) {
        be->rounding_error(device, d, weights, scales, (awq_extent){1, 48},
                           pass ? &symmetric : &grid);
        const float *result = fetch_compute(d, 48);
        for (int i = 0; i < 48; i++) assert_true(isnan(result[i]) == (i < 32));
    }
}

static void check_quadratic_form(awq_extent extent)
{
    awq_error err;
    double sum = 0, reference = 0;
    int64_t count = extent.out * extent.in;
    float *d = host_activations(count, 0.1f), *gram = random_gram(extent.in);
    double *row = host_doubles(extent.in);
    for (int64_t r = 0; r < extent.out; r++) {
        for (int64_t i = 0; i < extent.in; i++) row[i] = (double)d[r * extent.in + i];
        reference += form(row, gram, extent.in);
    }
    must(be->quadratic_form(device, device_compute(d, count),
                            device_floats(gram, extent.in * extent.in), extent, &sum, &err));
    double tolerance = under_test.compute == AWQ_F32 ? 1e-5 : 1e-2;
    if (!(fabs(sum / reference - 1) < tolerance))
        fail_msg("quadratic form is %.12g, should be %.12g", sum, reference);
}

static void quadratic_form_is_the_trace(void **state)
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

static void quadratic_form_passes_nan_and_infinity(void **state)
{
    (void)state;
    awq_error err;
    double sum = 0;
    int64_t in = 600;
    awq_extent extent = {9, in};
    float *d = host_activations(9 * in, 1), *gram = random_gram(in);
    for (int64_t i = 0; i < 9 * in; i++) d[i] += 1.5f; /* no zeros to hide behind */
    float *good = device_floats(gram, in * in);
    d[8 * in + 599] = NAN;
    must(be->quadratic_form(device, device_compute(d, 9 * in), good, extent, &sum, &err));
    assert_true(isnan(sum));
    d[8 * in + 599] = INFINITY;
    must(be->quadratic_form(device, device_compute(d, 9 * in), good, extent, &sum, &err));
    assert_false(isfinite(sum));
    d[8 * in + 599] = 1;
    gram[2 * in + 599] = gram[599 * in + 2] = NAN;
    must(be->quadratic_form(device, device_compute(d, 9 * in), device_floats(gram, in * in), extent,
                            &sum, &err));
    assert_true(isnan(sum));
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

/* ---- quantize, dequantize, coded error ---- */

typedef struct coded {
    uint8_t *codes, *zeros; /* device */
    uint16_t *scales;
    const uint8_t *host_codes, *host_zeros;
    const uint16_t *host_scales;
} coded;

static coded quantize(const float *w, const float *limit, awq_extent extent, const awq_grid *grid)
{
    int64_t count = extent.out * extent.in, groups = count / grid->group_size;
    coded c = {.codes = device_array((size_t)count),
               .zeros = device_array((size_t)groups),
               .scales = device_array((size_t)groups * 2)};
    be->quantize(device, c.codes, c.scales, c.zeros, device_floats(w, count),
                 limit ? device_floats(limit, groups) : NULL, extent, grid);
    c.host_codes = fetch_bytes(c.codes, (size_t)count);
    c.host_zeros = fetch_bytes(c.zeros, (size_t)groups);
    c.host_scales = fetch_bytes(c.scales, (size_t)groups * 2);
    return c;
}

static void check_quantize(awq_extent extent, awq_grid grid, bool clipped)
{
    int64_t count = extent.out * extent.in, groups = count / grid.group_size;
    float *w = host_random(count, 0.5f), *limit = clipped ? random_scales(groups) : NULL;
    for (int64_t g = 0; clipped && g < groups; g++) limit[g] = g % 3 ? 0.2f * limit[g] : INFINITY;
    coded c = quantize(w, limit, extent, &grid);
    for (int64_t i = 0; clipped && i < count; i++) {
        float m = limit[i / grid.group_size];
        w[i] = fminf(fmaxf(w[i], -m), m);
    }
    for (int64_t g = 0; g < groups; g++) {
        const float *group = w + g * grid.group_size;
        reference_group reference = reference_quantizer(group, &grid);
        assert_int_equal(c.host_scales[g], reference.half);
        assert_int_equal(c.host_zeros[g], (int)reference.zero);
        for (int64_t i = 0; i < grid.group_size; i++)
            assert_int_equal(c.host_codes[g * grid.group_size + i],
                             (int)reference_code(group[i], reference, &grid));
    }
}

static void quantize_is_the_quantizer_to_the_bit(void **state)
{
    (void)state;
    check_quantize((awq_extent){33, 256}, (awq_grid){4, 128, true}, false);
    check_quantize((awq_extent){8, 96}, (awq_grid){4, 32, false}, false);
    check_quantize((awq_extent){1, 56}, (awq_grid){3, 56, true}, false);
    check_quantize((awq_extent){8, 35}, (awq_grid){8, 5, true}, false);
    check_quantize((awq_extent){8, 64}, (awq_grid){2, 64, false}, false);
}

static void quantize_clamps_to_the_limit(void **state)
{
    (void)state;
    check_quantize((awq_extent){17, 96}, (awq_grid){4, 32, true}, true);
    check_quantize((awq_extent){17, 96}, (awq_grid){4, 32, false}, true);
}

/* One group of four weights, by hand. */
static void check_by_hand(awq_grid grid, const float w[4], float scale, int zero,
                          const int codes[4])
{
    grid.group_size = 4;
    coded c = quantize(w, NULL, (awq_extent){1, 4}, &grid);
    assert_int_equal(c.host_scales[0], awq_f16_from_float(scale));
    assert_int_equal(c.host_zeros[0], zero);
    for (int i = 0; i < 4; i++) assert_int_equal(c.host_codes[i], codes[i]);
}

static const awq_grid asymmetric = {4, 4, true}, symmetric = {4, 4, false};

static void both_signs_use_the_whole_range(void **state)
{
    (void)state;
    check_by_hand(asymmetric, (float[]){-5, 10, 0, 2.5f}, 1, 5, (int[]){0, 15, 5, 7});
}

static void one_signed_groups_keep_zero_in_range(void **state)
{
    (void)state;
    check_by_hand(asymmetric, (float[]){15, 14, 13, 12}, 1, 0, (int[]){15, 14, 13, 12});
    check_by_hand(asymmetric, (float[]){-15, -14, -13, -12}, 1, 15, (int[]){0, 1, 2, 3});
}

static void constants_are_kept(void **state)
{
    (void)state;
    check_by_hand(asymmetric, (float[]){30, 30, 30, 30}, 2, 0, (int[]){15, 15, 15, 15});
    check_by_hand(asymmetric, (float[]){-30, -30, -30, -30}, 2, 15, (int[]){0, 0, 0, 0});
    check_by_hand(symmetric, (float[]){7, 7, 7, 7}, 1, 8, (int[]){15, 15, 15, 15});
}

static void zeros_are_zero_at_the_smallest_normal_scale(void **state)
{
    (void)state;
    check_by_hand(asymmetric, (float[]){0, 0, 0, 0}, 0x1p-14f, 0, (int[]){0, 0, 0, 0});
    check_by_hand(symmetric, (float[]){0, 0, 0, 0}, 0x1p-14f, 8, (int[]){8, 8, 8, 8});
}

static void an_underflowing_scale_is_the_smallest_normal(void **state)
{
    (void)state;
    check_by_hand(asymmetric, (float[]){0x1p-13f, -0x1p-14f, 0, 0}, 0x1p-14f, 1,
                  (int[]){3, 0, 1, 1});
    check_by_hand(symmetric, (float[]){0x1p-14f, -0x1p-13f, 0, 0}, 0x1p-14f, 8,
                  (int[]){9, 6, 8, 8});
}

static void halves_round_to_even(void **state)
{
    (void)state;
    check_by_hand(asymmetric, (float[]){15, 0.5f, 1.5f, 2.5f}, 1, 0, (int[]){15, 0, 2, 2});
    check_by_hand(asymmetric, (float[]){-2.5f, 12.5f, -0.5f, -1.5f}, 1, 2, (int[]){0, 14, 2, 0});
}

static void symmetric_codes_are_centred(void **state)
{
    (void)state;
    check_by_hand(symmetric, (float[]){7, -7, 0, -3}, 1, 8, (int[]){15, 1, 8, 5});
    check_by_hand(symmetric, (float[]){-14, 13, 1, 3}, 2, 8, (int[]){1, 14, 8, 10});
}

static void the_scale_is_rounded_before_the_codes(void **state)
{
    (void)state;
    /* 15.01 / 15 rounds down to 1: 15.01 / 1 is 15, and the code stays in range. */
    check_by_hand(asymmetric, (float[]){15.003f, 7.5f, 6.5f, 0}, 1, 0, (int[]){15, 8, 6, 0});
    /* 2^-14 * 15 * 1.0004 is within half a step of 2^-14. */
    check_by_hand(asymmetric, (float[]){15.006f * 0x1p-14f, 0, 0, 0}, 0x1p-14f, 0,
                  (int[]){15, 0, 0, 0});
}

static void an_overflowing_scale_is_stored_as_infinity(void **state)
{
    (void)state;
    const float w[] = {1e6f, -1e6f, 1, 0}, nan[] = {NAN, 1, 2, 3};
    coded c = quantize(w, NULL, (awq_extent){1, 4}, &asymmetric);
    assert_int_equal(c.host_scales[0], 0x7c00);
    c = quantize(nan, NULL, (awq_extent){1, 4}, &asymmetric);
    assert_true(isnan(awq_float_from_f16(c.host_scales[0])));
}

static void dequantize_and_coded_error_follow_the_codes(void **state)
{
    (void)state;
    awq_extent extent = {13, 96};
    awq_grid grid = {4, 32, true};
    int64_t count = extent.out * extent.in;
    float *w = host_random(count, 0.5f), *s = random_scales(extent.in);
    double *values = host_doubles(count), *errors = host_doubles(count);
    coded c = quantize(w, NULL, extent, &grid);
    for (int64_t i = 0; i < count; i++) {
        int64_t g = i / grid.group_size;
        values[i] = (double)((float)c.host_codes[i] - (float)c.host_zeros[g]) *
                    (double)awq_float_from_f16(c.host_scales[g]);
        errors[i] = ((double)w[i] - values[i]) / (double)s[i % extent.in];
    }
    void *result = device_array(compute_bytes(count));
    be->dequantize(device, result, c.codes, c.scales, c.zeros, extent, &grid);
    assert_close(fetch_compute(result, count), values, count, product_tolerance(1));
    be->coded_error(device, result, device_floats(w, count), c.codes, c.scales, c.zeros,
                    device_floats(s, extent.in), extent, &grid);
    assert_close(fetch_compute(result, count), errors, count, product_tolerance(8));
}

/* ---- clip ---- */

/* Error of one group clamped to `limit`, in float64 from the float32 quantizer. */
static double clipped_error(const float *w, float limit, const float *gram, int64_t in,
                            const float *s, const awq_grid *grid)
{
    int64_t size = grid->group_size;
    float clamped[256] = {0};
    double error = 0, d[256];
    for (int64_t i = 0; i < size; i++) clamped[i] = fminf(fmaxf(w[i], -limit), limit);
    reference_group group = reference_quantizer(clamped, grid);
    for (int64_t i = 0; i < size; i++)
        d[i] = ((double)w[i] - (double)reference_value(clamped[i], group, grid)) / (double)s[i];
    for (int64_t i = 0; i < size; i++)
        for (int64_t j = 0; j < size; j++) error += d[i] * (double)gram[i * in + j] * d[j];
    return error;
}

/* The chosen limit is one of the ten, and none of the others is better by more than rounding. */
static int check_clip(awq_extent extent, awq_grid grid)
{
    int64_t count = extent.out * extent.in, per_row = extent.in / grid.group_size, cut = 0;
    float *w = host_random(count, 0.5f), *s = random_scales(extent.in);
    for (int64_t i = 0; i < count; i++) w[i] = w[i] * w[i] * w[i]; /* heavy tails */
    float *gram = random_gram(extent.in);
    float *limit = device_array((size_t)(extent.out * per_row) * sizeof *limit);
    be->clip_search(device, limit, device_floats(w, count),
                    device_floats(gram, extent.in * extent.in), device_floats(s, extent.in), extent,
                    &grid);
    const float *chosen = fetch_floats(limit, extent.out * per_row);
    for (int64_t g = 0; g < extent.out * per_row; g++) {
        const float *group = w + g * grid.group_size;
        int64_t first = g % per_row * grid.group_size;
        const float *block = gram + first * extent.in + first;
        float magnitude = 0;
        for (int64_t i = 0; i < grid.group_size; i++) magnitude = fmaxf(magnitude, fabsf(group[i]));
        double error = clipped_error(group, chosen[g], block, extent.in, s + first, &grid);
        bool listed = isinf(chosen[g]);
        for (int j = 0; j < 10; j++) {
            float m = magnitude * (1.0f - (float)j / 20.0f);
            listed = listed || (j && m == chosen[g]);
            double other = clipped_error(group, m, block, extent.in, s + first, &grid);
            assert_true(error <= other * (1 + 1e-3));
        }
        assert_true(listed);
        cut += isfinite(chosen[g]) != 0;
    }
    return (int)cut;
}

static void clip_search_finds_the_least_error(void **state)
{
    (void)state;
    assert_true(check_clip((awq_extent){33, 128}, (awq_grid){4, 64, true}) > 10);
    assert_true(check_clip((awq_extent){9, 96}, (awq_grid){3, 32, false}) > 2);
    check_clip((awq_extent){1, 40}, (awq_grid){4, 40, true});
    check_clip((awq_extent){130, 24}, (awq_grid){2, 8, true});
}

static void clip_search_leaves_constant_groups_alone(void **state)
{
    (void)state;
    awq_grid grid = {4, 16, true};
    float w[16], s[16], *gram = random_gram(16);
    for (int i = 0; i < 16; i++) {
        w[i] = i % 2 ? 1 : -1;
        s[i] = 1;
    }
    float *limit = device_array(sizeof *limit);
    be->clip_search(device, limit, device_floats(w, 16), device_floats(gram, 256),
                    device_floats(s, 16), (awq_extent){1, 16}, &grid);
    assert_true(isinf(*fetch_floats(limit, 1)));
}

int main(void)
{
    const struct CMUnitTest search[] = {
        cmocka_unit_test(statistics_add_tiles),
        cmocka_unit_test(statistics_leave_masked_rows_out),
        cmocka_unit_test(statistics_work_across_blocks),
        cmocka_unit_test(gram_shows_nan),
        cmocka_unit_test(rounding_error_is_what_the_quantizer_loses),
        cmocka_unit_test(rounding_error_of_an_overflowing_scale_is_nan),
        cmocka_unit_test(rounding_error_shows_nan_of_either_sign),
        cmocka_unit_test(quadratic_form_is_the_trace),
        cmocka_unit_test(quadratic_form_works_across_blocks),
        cmocka_unit_test(quadratic_form_passes_nan_and_infinity),
        cmocka_unit_test(fold_multiplies_columns_and_divides_rows),
        cmocka_unit_test(quantize_is_the_quantizer_to_the_bit),
        cmocka_unit_test(quantize_clamps_to_the_limit),
        cmocka_unit_test(both_signs_use_the_whole_range),
        cmocka_unit_test(one_signed_groups_keep_zero_in_range),
        cmocka_unit_test(constants_are_kept),
        cmocka_unit_test(zeros_are_zero_at_the_smallest_normal_scale),
        cmocka_unit_test(an_underflowing_scale_is_the_smallest_normal),
        cmocka_unit_test(halves_round_to_even),
        cmocka_unit_test(symmetric_codes_are_centred),
        cmocka_unit_test(the_scale_is_rounded_before_the_codes),
        cmocka_unit_test(an_overflowing_scale_is_stored_as_infinity),
        cmocka_unit_test(dequantize_and_coded_error_follow_the_codes),
        cmocka_unit_test(clip_search_finds_the_least_error),
        cmocka_unit_test(clip_search_leaves_constant_groups_alone),
    };
    return BENCH_RUN(search);
}
