/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/rows.c - rows and columns of a matrix, out of it and back: copies to the bit,
 * what is weighted within a rounding. */
#include "tests/unit/kernels/bench.h"

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

static void columns_are_taken_run_by_run_bit_for_bit(void **state)
{
    (void)state;
    static const awq_runs some[] = {{0, 64, 64, 1}, {7, 1, 1, 57}, {0, 8, 16, 4},
                                    {8, 8, 16, 4},  {3, 5, 20, 3}, {63, 1, 9, 1}};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        const awq_runs *runs = &some[i];
        int64_t cols = 64, taken = runs->count * runs->times;
        float *x = host_activations(ALL * cols, 5);
        void *y = device_array(compute_bytes(ALL * taken));
        be->take_columns(device, y, device_compute(x, ALL * cols), ALL, cols, runs);
        const float *result = fetch_compute(y, ALL * taken);
        for (int64_t r = 0; r < ALL; r++)
            for (int64_t c = 0; c < taken; c++) {
                int64_t at = runs->first + c / runs->count * runs->period + c % runs->count;
                assert_true(awq_float_bits(result[r * taken + c]) ==
                            awq_float_bits(x[r * cols + at]));
            }
        bench_clear(&under_test);
    }
}

int main(void)
{
    const struct CMUnitTest rows[] = {
        cmocka_unit_test(rows_are_gathered_bit_for_bit),
        cmocka_unit_test(gathered_rows_may_be_weighted),
        cmocka_unit_test(without_a_list_rows_are_weighted_in_place),
        cmocka_unit_test(weighted_rows_are_added_where_they_came_from),
        cmocka_unit_test(rows_without_weights_are_added_as_they_are),
        cmocka_unit_test(without_a_list_all_rows_are_added_in_turn),
        cmocka_unit_test(no_rows_change_nothing),
        cmocka_unit_test(columns_are_taken_run_by_run_bit_for_bit),
    };
    return BENCH_RUN(rows);
}
