/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/feedback.c - error feedback against GPTQ as its paper has it (arXiv
 * 2210.17323), in float64 by way of the inverse, which the backend never computes; and against
 * cases that were worked out by hand. */
#include <math.h>
#include <string.h>

#include "tests/unit/kernels/bench.h"
#include "tests/unit/kernels/reference.h"

typedef struct factored {
    float *factor;       /* device */
    int32_t *order;      /* device */
    const float *u;      /* host copies */
    const int32_t *list; /* of the order */
    bool positive;
} factored;

static factored factorize(const float *gram, const float *s, int64_t in, double damp)
{
    awq_error err;
    factored f = {.factor = device_array((size_t)(in * in) * sizeof(float)),
                  .order = device_array((size_t)in * sizeof(int32_t))};
    must(be->feedback_factor(device, f.factor, f.order, device_gram(gram, in), device_floats(s, in),
                             in, damp, &f.positive, &err));
    f.u = fetch_floats(f.factor, in * in);
    f.list = fetch_bytes(f.order, (size_t)in * sizeof(int32_t));
    return f;
}

static float *ones(int64_t count)
{
    float *s = host_array((size_t)count * sizeof *s);
    for (int64_t i = 0; i < count; i++) s[i] = 1;
    return s;
}

/* ---- the factor ---- */

/* H [in, in] in the given order, from the formula. */
static double *reference_h(const float *gram, const float *s, const int32_t *order, int64_t in,
                           double damp)
{
    double *h = host_doubles(in * in), mean = 0;
    for (int64_t i = 0; i < in; i++)
        mean += (double)gram[i * in + i] / ((double)s[i] * (double)s[i]) / (double)in;
    for (int64_t i = 0; i < in; i++)
        for (int64_t j = 0; j < in; j++) {
            int64_t a = order[i], b = order[j];
            h[i * in + j] = (double)gram[a * in + b] / ((double)s[a] * (double)s[b]);
            if (i == j) h[i * in + j] += damp * mean;
        }
    return h;
}

static void assert_falling(const double *h, const int32_t *order, int64_t in)
{
    uint8_t *seen = host_array((size_t)in);
    for (int64_t i = 0; i < in; i++) {
        assert_in_range(order[i], 0, in - 1);
        assert_int_equal(seen[order[i]]++, 0);
        if (i) assert_true(h[i * in + i] <= h[(i - 1) * in + i - 1] * (1 + 1e-6));
    }
}

/* U^-1 H U^-T is diagonal, where U is unit upper triangular: from the last column on, H loses its
 * part in it. */
static void assert_factor(double *h, const float *u, int64_t in, double least)
{
    double largest = 0, off = 0;
    for (int64_t i = 0; i < in; i++) largest = fmax(largest, h[i * in + i]);
    for (int64_t j = in - 1; j >= 0; j--) {
        double pivot = h[j * in + j];
        assert_true(u[j * in + j] == 1);
        assert_true(pivot >= 0.99 * least);
        for (int64_t i = 0; i < j; i++)
            off = fmax(off, fabs(h[i * in + j] - pivot * (double)u[i * in + j]));
        for (int64_t i = 0; i < j; i++)
            for (int64_t l = 0; l < j; l++)
                h[i * in + l] -= pivot * (double)u[i * in + j] * (double)u[l * in + j];
    }
    if (!(off <= 2e-5 * largest)) fail_msg("%lld columns: off by %g", (long long)in, off / largest);
}

static void the_factor_is_that_of_the_damped_scaled_gram_matrix(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 33, 256, 257, 600};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t in = sizes[i];
        float *gram = random_gram(in), *s = random_scales(in);
        factored f = factorize(gram, s, in, 0.01);
        double *h = reference_h(gram, s, f.list, in, 0.01), trace = 0;
        assert_true(f.positive);
        assert_falling(h, f.list, in);
        for (int64_t j = 0; j < in; j++) trace += h[j * in + j];
        assert_factor(h, f.u, in, 0.01 / 1.01 * trace / (double)in);
        bench_clear(&under_test);
    }
}

static void equal_columns_keep_their_order(void **state)
{
    (void)state;
    enum { IN = 300 };
    float *gram = host_array(IN * IN * sizeof *gram);
    for (int i = 0; i < IN; i++) gram[i * IN + i] = i % 2 ? 4 : 1;
    factored f = factorize(gram, ones(IN), IN, 0.01);
    assert_true(f.positive);
    for (int i = 0; i < IN; i++) assert_int_equal(f.list[i], i < IN / 2 ? 2 * i + 1 : 2 * i - IN);
    for (int i = 0; i < IN; i++)
        for (int j = i; j < IN; j++) assert_true(f.u[i * IN + j] == (i == j));
}

static bool is_positive(const float *gram, int64_t in, double damp)
{
    return factorize(gram, ones(in), in, damp).positive;
}

static void what_is_not_positive_definite_is_told(void **state)
{
    (void)state;
    /* Eigenvalues 2.05 and -0.05: the mean of the diagonal is 1. */
    static const float indefinite[] = {1, 1.05f, 1.05f, 1}, nothing[4] = {0};
    static const float broken[] = {1, NAN, NAN, 1}, endless[] = {INFINITY, 0, 0, 1};
    assert_false(is_positive(indefinite, 2, 0.01));
    assert_true(is_positive(indefinite, 2, 0.2));
    assert_false(is_positive(nothing, 2, 1));
    assert_false(is_positive(broken, 2, 1));
    assert_false(is_positive(endless, 2, 1));
}

static void a_late_bad_pivot_is_told(void **state)
{
    (void)state;
    enum { IN = 520 };
    float *gram = host_array(IN * IN * sizeof *gram);
    for (int i = 0; i < IN; i++) gram[i * IN + i] = 1;
    gram[1] = gram[IN] = 1.2f; /* in the block that comes last */
    assert_false(is_positive(gram, IN, 0.01));
    gram[1] = gram[IN] = 0.9f;
    assert_true(is_positive(gram, IN, 0.01));
}

/* ---- codes ---- */

typedef struct problem {
    awq_extent extent;
    awq_grid grid;
    const float *w, *gram, *s;
    uint8_t *codes, *zeros; /* of nearest rounding; device */
    uint16_t *scales;
    const uint8_t *host_zeros;
    const uint16_t *host_scales;
} problem;

static problem make_problem(awq_extent extent, awq_grid grid)
{
    int64_t count = extent.out * extent.in, groups = count / grid.group_size;
    problem p = {.extent = extent,
                 .grid = grid,
                 .w = host_random(count, 0.5f),
                 .gram = random_gram(extent.in),
                 .s = random_scales(extent.in),
                 .codes = device_array((size_t)count),
                 .zeros = device_array((size_t)groups),
                 .scales = device_array((size_t)groups * 2)};
    be->quantize(device, p.codes, p.scales, p.zeros, device_floats(p.w, count), NULL, extent,
                 &grid);
    p.host_zeros = fetch_bytes(p.zeros, (size_t)groups);
    p.host_scales = fetch_bytes(p.scales, (size_t)groups * 2);
    return p;
}

/* d must be what the codes leave. */
static const uint8_t *run_feedback(const problem *p, const factored *f)
{
    int64_t in = p->extent.in, count = p->extent.out * in;
    void *d = device_array(compute_bytes(count));
    be->feedback(device, p->codes, d, device_floats(p->w, count), f->factor, f->order, p->scales,
                 p->zeros, device_floats(p->s, in), p->extent, &p->grid);
    const uint8_t *codes = fetch_bytes(p->codes, (size_t)count);
    double *left = host_doubles(count);
    for (int64_t i = 0; i < count; i++) {
        int64_t g = i / p->grid.group_size;
        double value = ((double)codes[i] - (double)p->host_zeros[g]) *
                       (double)awq_float_from_f16(p->host_scales[g]);
        left[i] = ((double)p->w[i] - value) / (double)p->s[i % in];
    }
    assert_close(fetch_compute(d, count), left, count, product_tolerance(8));
    return codes;
}

/* The inverse of a positive definite matrix, by Gauss-Jordan without pivoting. */
static double *inverse(const double *matrix, int64_t n)
{
    double *a = host_doubles(n * n), *b = host_doubles(n * n);
    memcpy(a, matrix, (size_t)(n * n) * sizeof *a);
    for (int64_t i = 0; i < n; i++) b[i * n + i] = 1;
    for (int64_t k = 0; k < n; k++) {
        double pivot = a[k * n + k];
        for (int64_t j = 0; j < n; j++) a[k * n + j] /= pivot, b[k * n + j] /= pivot;
        for (int64_t i = 0; i < n; i++) {
            double factor = i == k ? 0 : a[i * n + k];
            for (int64_t j = 0; factor != 0 && j < n; j++) {
                a[i * n + j] -= factor * a[k * n + j];
                b[i * n + j] -= factor * b[k * n + j];
            }
        }
    }
    return b;
}

/* U of matrix = U^T U, upper: in place of its upper triangle. */
static void upper_cholesky(double *a, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        double root = sqrt(a[k * n + k]);
        for (int64_t j = k; j < n; j++) a[k * n + j] /= root;
        for (int64_t i = k + 1; i < n; i++)
            for (int64_t j = i; j < n; j++) a[i * n + j] -= a[k * n + i] * a[k * n + j];
    }
}

/* The paper's loop on one row: each error, divided by the diagonal, is taken off the columns that
 * are still to come. */
static void gptq_row(const problem *p, const double *u, const int32_t *order, int64_t row,
                     uint8_t *codes)
{
    int64_t in = p->extent.in, groups = in / p->grid.group_size;
    double *w = host_doubles(in), qmax = (1 << p->grid.bits) - 1;
    for (int64_t j = 0; j < in; j++) w[j] = (double)p->w[row * in + order[j]];
    for (int64_t j = 0; j < in; j++) {
        int64_t group = row * groups + order[j] / p->grid.group_size;
        double scale = (double)awq_float_from_f16(p->host_scales[group]);
        double zero = p->host_zeros[group];
        double q = fmin(fmax(rint(w[j] / scale) + zero, 0), qmax);
        double error = (w[j] - (q - zero) * scale) / u[j * in + j];
        codes[order[j]] = (uint8_t)q;
        for (int64_t l = j; l < in; l++) w[l] -= error * u[j * in + l];
    }
}

/* d H d^T of a row's codes, H in the order. */
static double row_loss(const problem *p, const double *h, const int32_t *order, int64_t row,
                       const uint8_t *codes)
{
    int64_t in = p->extent.in, groups = in / p->grid.group_size;
    double *d = host_doubles(in), sum = 0;
    for (int64_t j = 0; j < in; j++) {
        int64_t group = row * groups + order[j] / p->grid.group_size;
        double scale = (double)awq_float_from_f16(p->host_scales[group]);
        double q = (double)codes[order[j]] - (double)p->host_zeros[group];
        d[j] = (double)p->w[row * in + order[j]] - q * scale;
    }
    for (int64_t i = 0; i < in; i++)
        for (int64_t j = 0; j < in; j++) sum += d[i] * h[i * in + j] * d[j];
    return sum;
}

enum { REFERENCE_ROWS = 8 }; /* spread over the weight: each costs host arrays */

/* A target that falls between two codes by less than float32 can tell may go either way, and takes
 * the rest of its row with it: then the row must be as good. */
static void check_gptq(awq_extent extent, awq_grid grid)
{
    int64_t in = extent.in, same = 0;
    problem p = make_problem(extent, grid);
    const uint8_t *nearest = fetch_bytes(p.codes, (size_t)(extent.out * in));
    factored f = factorize(p.gram, p.s, in, 0.01);
    assert_true(f.positive);
    const uint8_t *codes = run_feedback(&p, &f);
    const double *h = reference_h(p.gram, p.s, f.list, in, 0.01);
    double *u = inverse(h, in), loss = 0, best = 0, rounding = 0;
    upper_cholesky(u, in);
    uint8_t *expected = host_array((size_t)in);
    for (int64_t i = 0; i < REFERENCE_ROWS; i++) {
        int64_t row = i * (extent.out - 1) / (REFERENCE_ROWS - 1);
        gptq_row(&p, u, f.list, row, expected);
        same += memcmp(expected, codes + row * in, (size_t)in) == 0;
        loss += row_loss(&p, h, f.list, row, codes + row * in);
        best += row_loss(&p, h, f.list, row, expected);
        rounding += row_loss(&p, h, f.list, row, nearest + row * in);
    }
    if (under_test.compute == AWQ_F32) assert_true(same >= REFERENCE_ROWS - 1);
    assert_true(fabs(loss / best - 1) < 0.02);
    assert_true(loss < rounding);
    for (int64_t i = 0; i < extent.out * in; i++)
        assert_in_range(codes[i], 0, (1 << grid.bits) - 1);
    bench_clear(&under_test);
}

static void feedback_is_the_rounding_of_gptq(void **state)
{
    (void)state;
    check_gptq((awq_extent){300, 288}, (awq_grid){4, 32, true, false}); /* several blocks of both */
    check_gptq((awq_extent){8, 96}, (awq_grid){4, 96, true, false});
    check_gptq((awq_extent){130, 35}, (awq_grid){8, 5, true, false});
    check_gptq((awq_extent){9, 512}, (awq_grid){3, 128, true, false});
    check_gptq((awq_extent){12, 704}, (awq_grid){4, 64, true, false});
    check_gptq((awq_extent){8, 1056}, (awq_grid){4, 96, true, false}); /* block columns of G */
}

static void feedback_follows_symmetric_grids(void **state)
{
    (void)state;
    check_gptq((awq_extent){33, 128}, (awq_grid){4, 64, false, false});
    check_gptq((awq_extent){16, 64}, (awq_grid){2, 64, false, false});
    check_gptq((awq_extent){16, 64}, (awq_grid){8, 32, false, false});
}

/* One row of four weights, scale 1, zero 0, codes 0..15; s = 1. */
static void check_by_hand(const float gram[16], double damp, const float w[4],
                          const uint8_t expected[4])
{
    static const uint16_t one = 0x3c00;
    static const uint8_t zero = 0;
    awq_extent extent = {1, 4};
    awq_grid grid = {4, 4, true, false};
    factored f = factorize(gram, ones(4), 4, damp);
    uint8_t *codes = device_array(4);
    assert_true(f.positive);
    be->feedback(device, codes, device_array(compute_bytes(4)), device_floats(w, 4), f.factor,
                 f.order, device_bytes(&one, 2), device_bytes(&zero, 1), device_floats(ones(4), 4),
                 extent, &grid);
    assert_memory_equal(fetch_bytes(codes, 4), expected, 4);
}

static void uncorrelated_columns_are_rounded_to_nearest(void **state)
{
    (void)state;
    static const float gram[] = {9, 0, 0, 0, 0, 4, 0, 0, 0, 0, 1, 0, 0, 0, 0, 16};
    check_by_hand(gram, 0.01, (float[]){0.4f, 1.6f, 2.5f, 14.3f}, (uint8_t[]){0, 2, 2, 14});
}

/* Columns 0 and 1 nearly say the same: U_01 = 0.9 / 1.01 = 0.891. Column 0 loses 0.4, so 1 aims at
 * 0.4 + 0.356 = 0.756. Columns 2 and 3 contradict each other: 2 loses 0.4, so 3 aims at
 * 5.3 - 0.356 = 4.944. */
static void a_neighbour_makes_up_for_an_error(void **state)
{
    (void)state;
    static const float gram[] = {1, 0.9f, 0, 0, 0.9f, 1, 0, 0, 0, 0, 1, -0.9f, 0, 0, -0.9f, 1};
    check_by_hand(gram, 0.01, (float[]){0.4f, 0.4f, 7.4f, 5.3f}, (uint8_t[]){0, 1, 7, 5});
    check_by_hand(gram, 0.01, (float[]){0.4f, 0.1f, 7.4f, 5.9f}, (uint8_t[]){0, 0, 7, 6});
    check_by_hand(gram, 0.01, (float[]){1.6f, 1.8f, 7.6f, 5.4f}, (uint8_t[]){2, 1, 8, 6});
}

/* Column 3 has four times the say, so it is first, and column 0 makes up for it: U of (0, 3) in
 * that order is G_03 / (G_00 + shift) = 1.8 / (1 + 0.01 * 7 / 4), so 0.4 of error is 0.71 more. */
static void the_loudest_column_is_first(void **state)
{
    (void)state;
    static const float gram[] = {1, 0, 0, 1.8f, 0, 1, 0, 0, 0, 0, 1, 0, 1.8f, 0, 0, 4};
    check_by_hand(gram, 0.01, (float[]){0.3f, 0.4f, 0.4f, 0.4f}, (uint8_t[]){1, 0, 0, 0});
}

static void codes_end_with_the_range(void **state)
{
    (void)state;
    static const float gram[] = {1, 0.9f, 0, 0, 0.9f, 1, 0, 0, 0, 0, 1, 0.9f, 0, 0, 0.9f, 1};
    check_by_hand(gram, 0.01, (float[]){40, 15, -30, 1}, (uint8_t[]){15, 15, 0, 0});
    check_by_hand(gram, 0.01, (float[]){17, 12, -2, 3}, (uint8_t[]){15, 14, 0, 1});
}

/* A channel that is always 0 costs nothing, takes nothing from others and gives them nothing. */
static void a_dead_column_is_rounded_to_nearest(void **state)
{
    (void)state;
    static const float gram[] = {1, 0, 0.9f, 0, 0, 0, 0, 0, 0.9f, 0, 1, 0, 0, 0, 0, 0};
    check_by_hand(gram, 0.01, (float[]){0.4f, 3.4f, 0.4f, 2.6f}, (uint8_t[]){0, 3, 1, 3});
}

int main(void)
{
    const struct CMUnitTest feedback_tests[] = {
        cmocka_unit_test(the_factor_is_that_of_the_damped_scaled_gram_matrix),
        cmocka_unit_test(equal_columns_keep_their_order),
        cmocka_unit_test(what_is_not_positive_definite_is_told),
        cmocka_unit_test(a_late_bad_pivot_is_told),
        cmocka_unit_test(feedback_is_the_rounding_of_gptq),
        cmocka_unit_test(feedback_follows_symmetric_grids),
        cmocka_unit_test(uncorrelated_columns_are_rounded_to_nearest),
        cmocka_unit_test(a_neighbour_makes_up_for_an_error),
        cmocka_unit_test(the_loudest_column_is_first),
        cmocka_unit_test(codes_end_with_the_range),
        cmocka_unit_test(a_dead_column_is_rounded_to_nearest),
    };
    return BENCH_RUN(feedback_tests);
}
