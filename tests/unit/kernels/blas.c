/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/blas.c - which kernels of OpenBLAS are chosen, and that they run and are
 * right. */
#include "kernels/cpu/blas.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "kernels/backend_list.h"
#include "tests/unit/kernels/bench.h"

static void the_best_that_every_processor_can_run_is_chosen(void **state)
{
    (void)state;
    assert_string_equal(cpu_blas_choose(CPU_AVX512, NULL), "SkylakeX");
    assert_string_equal(cpu_blas_choose(CPU_AVX2, ""), "Haswell");
    assert_string_equal(cpu_blas_choose(CPU_BASE, NULL), ""); /* OpenBLAS's own choice */
}

static void those_that_a_job_was_begun_with_are_kept_where_they_can_be(void **state)
{
    (void)state;
    const char *haswell = "cpu on OpenBLAS 0.3.21 Haswell";
    const char *skylake = "cpu on OpenBLAS 0.3.21 SkylakeX";
    assert_string_equal(cpu_blas_choose(CPU_AVX512, haswell), "Haswell");
    assert_string_equal(cpu_blas_choose(CPU_AVX2, haswell), "Haswell");
    assert_string_equal(cpu_blas_choose(CPU_BASE, haswell), "");
    assert_string_equal(cpu_blas_choose(CPU_AVX2, skylake),
                        "Haswell"); /* and refused: jobs/plan/job.h */
    assert_string_equal(cpu_blas_choose(CPU_AVX512, "cpu"), "SkylakeX");
    assert_string_equal(cpu_blas_choose(CPU_AVX512, "cpu on OpenBLAS 0.3.21 Prescott"), "SkylakeX");
}

static int open_cpu_device(void **state)
{
    (void)state;
    return !bench_open(&under_test, &awq_backend_cpu, AWQ_F32, 1);
}

static int close_cpu_device(void **state)
{
    (void)state;
    bench_close(&under_test);
    return 0;
}

static void what_is_chosen_is_what_runs(void **state)
{
    (void)state;
    const char *chosen = cpu_blas_choose(awq_processor(), NULL);
    const char *of_user = getenv("OPENBLAS_CORETYPE"); /* also ours, once it is loaded */
    if (of_user && *of_user) chosen = of_user;
    if (!*chosen) return;
    assert_int_equal(strcasecmp(cpu_blas.core(), chosen), 0);
    assert_non_null(strstr(under_test.device->type, cpu_blas.core()));
}

/* Blocks that are no multiple of a kernel's tile, with strides longer than rows. */
static void check_product(int m, int n, int k, bool a_across, bool b_across)
{
    int a_stride = (a_across ? m : k) + 3, b_stride = (b_across ? k : n) + 5, stride = n + 1;
    const float *a = host_random(a_stride * (a_across ? k : m), 1);
    const float *b = host_random(b_stride * (b_across ? n : k), 1);
    float *c = host_random(stride * m, 1), *was = host_random(stride * m, 1);
    memcpy(was, c, sizeof(float) * (size_t)(stride * m));
    cpu_blas.sgemm(CblasRowMajor, a_across ? CblasTrans : CblasNoTrans,
                   b_across ? CblasTrans : CblasNoTrans, m, n, k, 1.0f, a, a_stride, b, b_stride,
                   1.0f, c, stride);
    for (int row = 0; row < m; row++) {
        for (int col = 0; col < n; col++) {
            double sum = (double)was[row * stride + col];
            for (int i = 0; i < k; i++)
                sum += (double)a[a_across ? i * a_stride + row : row * a_stride + i] *
                       (double)b[b_across ? col * b_stride + i : i * b_stride + col];
            assert_true(fabs((double)c[row * stride + col] - sum) < 1e-6 + 1e-7 * k);
        }
        assert_true(c[row * stride + n] == was[row * stride + n]);
    }
    bench_clear(&under_test);
}

static void products_of_every_shape_are_right(void **state)
{
    (void)state;
    static const int shapes[][3] = {{1, 1, 1},     {3, 5, 7},    {17, 33, 65},   {31, 257, 129},
                                    {1, 256, 300}, {256, 1, 77}, {64, 48, 1000}, {7, 13, 4099}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int across = 0; across < 4; across++)
            check_product(shapes[i][0], shapes[i][1], shapes[i][2], across & 1, across & 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_that_every_processor_can_run_is_chosen),
        cmocka_unit_test(those_that_a_job_was_begun_with_are_kept_where_they_can_be),
        cmocka_unit_test(what_is_chosen_is_what_runs),
        cmocka_unit_test(products_of_every_shape_are_right),
    };
    return cmocka_run_group_tests(tests, open_cpu_device, close_cpu_device);
}
