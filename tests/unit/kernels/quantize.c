/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/quantize.c - codes, scales and zeros are those of docs/awq.md 2.4 to the bit,
 * also where it was worked out by hand; and what they stand for. */
#include <math.h>

#include "tests/unit/kernels/bench.h"
#include "tests/unit/kernels/reference.h"

typedef struct coded {
    uint8_t *codes, *zeros; /* device */
    uint16_t *scales;
    const uint8_t *host_codes, *host_zeros;
    const uint16_t *host_scales;
} coded;

static coded quantize(const float *w, const awq_clip *clip, awq_extent extent, const awq_grid *grid)
{
    int64_t count = extent.out * extent.in, groups = count / grid->group_size;
    coded c = {.codes = device_array((size_t)count),
               .zeros = device_array((size_t)groups),
               .scales = device_array((size_t)groups * 2)};
    be->quantize(device, c.codes, c.scales, c.zeros, device_floats(w, count), clip, extent, grid);
    c.host_codes = fetch_bytes(c.codes, (size_t)count);
    c.host_zeros = fetch_bytes(c.zeros, (size_t)groups);
    c.host_scales = fetch_bytes(c.scales, (size_t)groups * 2);
    return c;
}

/* The weights, of at most `magnitude`, cut to a range by reference_cut and quantized must be what
 * `clip` makes of them. */
static void check_quantize_of(float magnitude, awq_extent extent, awq_grid grid,
                              const awq_clip_shape *shape)
{
    int64_t count = extent.out * extent.in, groups = count / grid.group_size;
    float *w = host_random(count, magnitude);
    uint8_t *steps = host_array((size_t)(2 * groups));
    for (int64_t g = 0; g < 2 * groups; g++) steps[g] = (uint8_t)(g * 7 / 3 % AWQ_CLIP_STEPS);
    awq_clip clip = {.steps = device_bytes(steps, (size_t)(2 * groups))};
    if (shape) clip.shape = *shape;
    coded c = quantize(w, shape ? &clip : NULL, extent, &grid);
    for (int64_t g = 0; shape && g < groups; g++)
        reference_cut(w + g * grid.group_size, grid.group_size, clip.shape, steps[g],
                      steps[groups + g]);
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

static void check_quantize_clipped(awq_extent extent, awq_grid grid, const awq_clip_shape *shape)
{
    check_quantize_of(0.5f, extent, grid, shape);
}

static void check_quantize(awq_extent extent, awq_grid grid)
{
    check_quantize_clipped(extent, grid, NULL);
}

static void quantize_is_the_quantizer_to_the_bit(void **state)
{
    (void)state;
    check_quantize((awq_extent){33, 256}, (awq_grid){4, 128, true, false});
    check_quantize((awq_extent){8, 96}, (awq_grid){4, 32, false, false});
    check_quantize((awq_extent){1, 56}, (awq_grid){3, 56, true, false});
    check_quantize((awq_extent){8, 35}, (awq_grid){8, 5, true, false});
    check_quantize((awq_extent){8, 64}, (awq_grid){2, 64, false, false});
}

static void quantize_clamps_to_the_cut_range(void **state)
{
    (void)state;
    const awq_clip_shape shapes[] = {AWQ_CLIP_SYMMETRIC, AWQ_CLIP_ASYMMETRIC};
    for (int i = 0; i < 2; i++) {
        check_quantize_clipped((awq_extent){17, 96}, (awq_grid){4, 32, true, false}, &shapes[i]);
        check_quantize_clipped((awq_extent){17, 96}, (awq_grid){4, 32, false, false}, &shapes[i]);
        check_quantize_clipped((awq_extent){3, 40}, (awq_grid){3, 40, true, false}, &shapes[i]);
    }
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

static const awq_grid asymmetric = {4, 4, true, false}, symmetric = {4, 4, false, false};

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

static void small_scales_are_subnormal(void **state)
{
    (void)state;
    check_by_hand(asymmetric, (float[]){10 * 0x1p-18f, -5 * 0x1p-18f, 0, 0x1p-18f}, 0x1p-18f, 5,
                  (int[]){15, 0, 5, 6});
    check_by_hand(symmetric, (float[]){7 * 0x1p-20f, -0x1p-19f, 0, 0}, 0x1p-20f, 8,
                  (int[]){15, 6, 8, 8});
    /* 3 1/3 multiples are rounded up */
    check_by_hand(asymmetric, (float[]){40 * 0x1p-24f, -10 * 0x1p-24f, 0, 0}, 4 * 0x1p-24f, 2,
                  (int[]){12, 0, 2, 2});
    check_by_hand(symmetric, (float[]){0x1.fffp-15f * 7, 0, 0, 0}, 0x1p-14f, 8,
                  (int[]){15, 8, 8, 8});
}

static void the_smallest_scale_is_float16s(void **state)
{
    (void)state;
    check_by_hand(asymmetric, (float[]){0x1p-24f, -0x1p-24f, 0x1p-26f, 0}, 0x1p-24f, 1,
                  (int[]){2, 0, 1, 1});
    check_by_hand(symmetric, (float[]){0x1p-24f, -0x1p-30f, 0, 0}, 0x1p-24f, 8,
                  (int[]){9, 8, 8, 8});
    check_by_hand(asymmetric, (float[]){0x1p-100f, 0, 0, 0}, 0x1p-24f, 0, (int[]){0, 0, 0, 0});
}

/* Of bfloat16's 8 bits float16 holds those that are multiples of 2^-24, and both types the result.
 */
static void small_scales_are_exact_in_bfloat16_too(void **state)
{
    (void)state;
    static const awq_grid rounded = {4, 4, true, true};
    check_by_hand(rounded, (float[]){15 * 257 * 0x1p-24f, 0, 0, 0}, 256 * 0x1p-24f, 0,
                  (int[]){15, 0, 0, 0});
    check_by_hand(rounded, (float[]){15 * 129 * 0x1p-25f, 0, 0, 0}, 65 * 0x1p-24f, 0,
                  (int[]){15, 0, 0, 0});
}

static void small_weights_are_quantized_to_the_bit(void **state)
{
    (void)state;
    const awq_clip_shape shapes[] = {AWQ_CLIP_SYMMETRIC, AWQ_CLIP_ASYMMETRIC};
    for (int i = 0; i < 2; i++) {
        float magnitude = ldexpf(1, -16 - 6 * i);
        check_quantize_of(magnitude, (awq_extent){9, 96}, (awq_grid){4, 32, true, false}, NULL);
        check_quantize_of(magnitude, (awq_extent){9, 96}, (awq_grid){8, 48, false, false}, NULL);
        check_quantize_of(magnitude, (awq_extent){3, 40}, (awq_grid){3, 40, true, false},
                          &shapes[i]);
    }
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
    awq_grid grid = {4, 32, true, false};
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

/* On both sides of whole vectors; compute types of 16 bits hold these values exactly. */
static void squared_distance_is_that_of_float64(void **state)
{
    (void)state;
    awq_error err;
    static const int64_t shapes[][2] = {{1, 1}, {5, 37}, {3, 128}, {200, 3}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int64_t rows = shapes[i][0], cols = shapes[i][1], count = rows * cols;
        float *x = host_array((size_t)count * sizeof *x),
              *y = host_array((size_t)count * sizeof *y);
        double expected = 0, norm = 0, found;
        for (int64_t j = 0; j < count; j++) {
            x[j] = (float)(j * 7 % 41 - 20) / 8;
            y[j] = (float)(j * 5 % 29 - 11) / 4;
            expected += ((double)x[j] - (double)y[j]) * ((double)x[j] - (double)y[j]);
            norm += (double)x[j] * (double)x[j];
        }
        void *dx = device_compute(x, count), *dy = device_compute(y, count);
        must(be->squared_distance(device, dx, dy, rows, cols, &found, &err));
        assert_true(fabs(found - expected) <= 1e-12 * expected);
        must(be->squared_distance(device, dx, NULL, rows, cols, &found, &err));
        assert_true(fabs(found - norm) <= 1e-12 * norm);
    }
}

static void squared_distance_shows_nan(void **state)
{
    (void)state;
    awq_error err;
    double found;
    float *x = host_random(3 * 40, 1);
    x[85] = NAN;
    void *dx = device_compute(x, 3 * 40), *dy = device_compute(host_random(3 * 40, 1), 3 * 40);
    must(be->squared_distance(device, dx, dy, 3, 40, &found, &err));
    assert_true(isnan(found));
    must(be->squared_distance(device, dx, NULL, 3, 40, &found, &err));
    assert_true(isnan(found));
}

int main(void)
{
    const struct CMUnitTest quantize_tests[] = {
        cmocka_unit_test(quantize_is_the_quantizer_to_the_bit),
        cmocka_unit_test(quantize_clamps_to_the_cut_range),
        cmocka_unit_test(both_signs_use_the_whole_range),
        cmocka_unit_test(one_signed_groups_keep_zero_in_range),
        cmocka_unit_test(constants_are_kept),
        cmocka_unit_test(zeros_are_zero_at_the_smallest_normal_scale),
        cmocka_unit_test(small_scales_are_subnormal),
        cmocka_unit_test(the_smallest_scale_is_float16s),
        cmocka_unit_test(small_scales_are_exact_in_bfloat16_too),
        cmocka_unit_test(small_weights_are_quantized_to_the_bit),
        cmocka_unit_test(halves_round_to_even),
        cmocka_unit_test(symmetric_codes_are_centred),
        cmocka_unit_test(the_scale_is_rounded_before_the_codes),
        cmocka_unit_test(an_overflowing_scale_is_stored_as_infinity),
        cmocka_unit_test(dequantize_and_coded_error_follow_the_codes),
        cmocka_unit_test(squared_distance_is_that_of_float64),
        cmocka_unit_test(squared_distance_shows_nan),
    };
    return BENCH_RUN(quantize_tests);
}
