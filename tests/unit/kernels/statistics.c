/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/statistics.c - mean|x| and Gram matrices against float64 sums, within terms *
 * 2^-23 for two tiles of float32 products. */
#include <math.h>

#include "kernels/gram.h"
#include "tests/unit/kernels/bench.h"
#include "tests/unit/kernels/reference.h"

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
    size_t gram_bytes = (size_t)awq_gram_elements(cols) * sizeof(float);
    float *on_device = device_array(gram_bytes);
    void *device_x = device_compute(x, rows * cols);
    uint8_t *device_mask = masked ? device_bytes(mask, (size_t)rows) : NULL;
    be->zero(device, device_sum, (size_t)cols * sizeof(double));
    be->zero(device, on_device, gram_bytes);
    for (int tile = 0; tile < 2; tile++) {
        be->abs_sum(device, device_sum, device_x, device_mask, rows, cols);
        be->gram(device, on_device, device_x, device_mask, rows, cols);
    }
    be->gram_finish(device, on_device, cols);

    for (int64_t i = 0; i < cols * cols; i++) gram[i] *= 2;
    assert_close(fetch_gram(on_device, cols), gram, cols * cols, (double)rows * 0x1p-23);
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
    check_statistics(9, 2056, false);
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
    const float *result = fetch_gram(gram, 16);
    for (int i = 0; i < 16 * 16; i++) assert_true(isnan(result[i]) == (i / 16 == 3 || i % 16 == 3));
}

static void check_relative_sum(awq_extent extent, int64_t group_size)
{
    int64_t in = extent.in, count = extent.out * in;
    float *w = host_activations(count, 0.3f);
    double *sum = host_doubles(in), *on_device = device_array((size_t)in * sizeof *sum);
    w[count / 2] = 0;
    void *weight = device_compute(w, count);
    be->zero(device, on_device, (size_t)in * sizeof *sum);
    for (int pass = 0; pass < 2; pass++)
        be->relative_sum(device, on_device, weight, extent, group_size);
    for (int64_t first = 0; first < count; first += group_size) {
        double largest = 0;
        for (int64_t i = first; i < first + group_size; i++)
            largest = fmax(largest, fabs((double)w[i]));
        for (int64_t i = first; i < first + group_size; i++)
            sum[i % in] += 2 * fabs((double)w[i]) / (largest + 1e-6);
    }
    const double *found = fetch_bytes(on_device, (size_t)in * sizeof *sum);
    for (int64_t c = 0; c < in; c++) assert_true(fabs(found[c] - sum[c]) <= 1e-12 * (1 + sum[c]));
}

static void relative_sums_are_shares_of_the_groups_largest(void **state)
{
    (void)state;
    check_relative_sum((awq_extent){33, 96}, 32);
    check_relative_sum((awq_extent){8, 40}, 40);
    check_relative_sum((awq_extent){1, 35}, 5);
    check_relative_sum((awq_extent){300, 264}, 8); /* several blocks of rows */
}

static void relative_sum_shows_nan_in_its_own_column(void **state)
{
    (void)state;
    float *w = host_activations(8 * 16, 1);
    double *sum = device_array(16 * sizeof *sum);
    w[3 * 16 + 5] = NAN;
    be->zero(device, sum, 16 * sizeof *sum);
    be->relative_sum(device, sum, device_compute(w, 8 * 16), (awq_extent){8, 16}, 8);
    const double *found = fetch_bytes(sum, 16 * sizeof *sum);
    for (int c = 0; c < 16; c++) assert_true(isnan(found[c]) == (c == 5));
}

int main(void)
{
    const struct CMUnitTest statistics[] = {
        cmocka_unit_test(statistics_add_tiles),
        cmocka_unit_test(statistics_leave_masked_rows_out),
        cmocka_unit_test(statistics_work_across_blocks),
        cmocka_unit_test(gram_shows_nan),
        cmocka_unit_test(relative_sums_are_shares_of_the_groups_largest),
        cmocka_unit_test(relative_sum_shows_nan_in_its_own_column),
    };
    return BENCH_RUN(statistics);
}
