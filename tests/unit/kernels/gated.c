/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/gated.c - the functions that a gate goes through, with and without what it
 * multiplies, against float64 references; torch's numbers, extremes, and what is not finite. */
#include <math.h>

#include "tests/unit/kernels/bench.h"

static const awq_activation activations[] = {AWQ_SILU,    AWQ_GELU_TANH, AWQ_GELU,      AWQ_RELU2,
                                             AWQ_SIGMOID, AWQ_CLAMP,     AWQ_SWIGLU_OAI};
enum { ACTIVATIONS = sizeof activations / sizeof *activations };

static double activated(double x, awq_activation act)
{
    switch (act) {
    case AWQ_SILU:
        return x / (1 + exp(-x));
    case AWQ_GELU_TANH:
        return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
    case AWQ_GELU:
        return 0.5 * x * erfc(-x / sqrt(2));
    case AWQ_RELU2:
        return x > 0 ? x * x : 0;
    case AWQ_SIGMOID:
        return 1 / (1 + exp(-x));
    case AWQ_CLAMP: /* the caller cuts */
        return x;
    case AWQ_SWIGLU_OAI:
        return x / (1 + exp(-1.702 * x));
    }
    return NAN;
}

/* limit 0: none. */
static double reference_of(double gate, double up, awq_activation act, double limit)
{
    if (limit > 0) gate = fmin(gate, limit);
    if (limit > 0) up = fmax(fmin(up, limit), -limit);
    return activated(gate, act) * (act == AWQ_SWIGLU_OAI ? up + 1 : up);
}

static void check_gated(awq_activation act, float magnitude, float limit)
{
    int64_t count = 20011;
    size_t bytes = compute_bytes(count);
    double *reference = host_doubles(count);
    float *gate = host_activations(count, magnitude), *up = host_activations(count, 2);
    for (int64_t i = 0; i < count; i++)
        reference[i] = reference_of((double)gate[i], (double)up[i], act, (double)limit);
    void *g = device_compute(gate, count), *u = device_compute(up, count);
    void *y = device_array(bytes);
    be->gated(device, y, g, u, (size_t)count, act, limit);
    assert_close(fetch_compute(y, count), reference, count, product_tolerance(6));
    be->gated(device, g, g, u, (size_t)count, act, limit);
    assert_memory_equal(fetch_bytes(g, bytes), fetch_bytes(y, bytes), bytes);
    g = device_compute(gate, count);
    be->gated(device, u, g, u, (size_t)count, act, limit);
    assert_memory_equal(fetch_bytes(u, bytes), fetch_bytes(y, bytes), bytes);
    bench_clear(&under_test);
}

/* Of gates as they come, and of small ones alone: errors are relative to the largest. */
static void gated_may_overwrite_either_argument(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * ACTIVATIONS; i++)
        check_gated(activations[i / 2], i % 2 ? 20 : 0.02f, 0);
}

static void a_limit_cuts_gate_and_up(void **state)
{
    (void)state;
    check_gated(AWQ_SILU, 20, 1.5f);
    check_gated(AWQ_SWIGLU_OAI, 20, 1.5f);
    check_gated(AWQ_SWIGLU_OAI, 20, 7);
}

static void a_gate_may_stand_alone(void **state)
{
    (void)state;
    int64_t count = 20011;
    size_t bytes = compute_bytes(count);
    for (int i = 0; i < ACTIVATIONS; i++) {
        double *reference = host_doubles(count);
        float *gate = host_activations(count, 9);
        for (int64_t j = 0; j < count; j++)
            reference[j] = activated((double)gate[j], activations[i]);
        void *g = device_compute(gate, count), *y = device_array(bytes);
        be->gated(device, y, g, NULL, (size_t)count, activations[i], 0);
        assert_close(fetch_compute(y, count), reference, count, product_tolerance(6));
        be->gated(device, g, g, NULL, (size_t)count, activations[i], 0);
        assert_memory_equal(fetch_bytes(g, bytes), fetch_bytes(y, bytes), bytes);
        bench_clear(&under_test);
    }
}

/* torch 2.6 in float64: gelu(x), relu(x)^2; and for the gates g and what they multiply u, gpt_oss's
 * (u' + 1) g' sigmoid(1.702 g') and silu(g') u', of g and u limited to 7. */
static void activations_are_those_of_torch(void **state)
{
    (void)state;
    const float x[] = {-5.5f, -3, -1, -0.25f, 0, 0.5f, 2, 6};
    const double gelu[] = {
        -1.044425936291837e-07, -0.00404969409489031, -0.158655253931457, -0.1003234185792691, 0,
        0.3457312306370066,     1.954499736103642,    5.999999994080474};
    const double relu2[] = {0, 0, 0, 0, 0, 0.25, 4, 36};
    const float g[] = {-8, -1, 0.5f, 3, 7.5f, 9}, u[] = {-9, 2, 0.25f, -3, 1, 8};
    const double oai[] = {5.859857319438229e-05, -0.4626127022015361, 0.4379855457579752,
                          -5.963857380584428,    13.99990625660664,   55.99962502642654};
    const double clamped[] = {0.01877960730612277, -0.5378828427399902, 0.07780741640023182,
                              -8.5731671414019,    6.993622641639196,   48.95535849147437};
    void *dx = device_compute(x, 8), *dg = device_compute(g, 6), *du = device_compute(u, 6);
    void *y = device_array(compute_bytes(8));
    be->gated(device, y, dx, NULL, 8, AWQ_GELU, 0);
    assert_close(fetch_compute(y, 8), gelu, 8, product_tolerance(2));
    be->gated(device, y, dx, NULL, 8, AWQ_RELU2, 0);
    assert_close(fetch_compute(y, 8), relu2, 8, product_tolerance(2));
    be->gated(device, y, dg, du, 6, AWQ_SWIGLU_OAI, 7);
    assert_close(fetch_compute(y, 6), oai, 6, product_tolerance(4));
    be->gated(device, y, dg, du, 6, AWQ_SILU, 7);
    assert_close(fetch_compute(y, 6), clamped, 6, product_tolerance(4));
}

/* Linear far above 0, and 0 far below, with what they multiply: 2 and 1 / 2. */
static void linear_activations_survive_extremes(void **state)
{
    (void)state;
    static const awq_activation linear[] = {AWQ_SILU, AWQ_GELU_TANH, AWQ_GELU};
    const float gate[] = {NAN, INFINITY, 100, -100, -1e4f, 0, 3e4f};
    const float up[] = {1, 1, 2, 2, 2, NAN, 0.5f};
    for (int i = 0; i < 3; i++) {
        void *y = device_array(compute_bytes(7));
        be->gated(device, y, device_compute(gate, 7), device_compute(up, 7), 7, linear[i], 0);
        const float *result = fetch_compute(y, 7),
                    *given = fetch_compute(device_compute(gate, 7), 7);
        assert_true(isnan(result[0]) && isinf(result[1]) && result[2] == 200);
        assert_true(result[3] <= 0 && result[3] > -1e-30f && result[4] == 0 && isnan(result[5]));
        assert_true(result[6] == given[6] / 2);
    }
}

/* Limited or not: a comparison that NaN fails must not replace it by the limit. */
static void no_activation_hides_nan(void **state)
{
    (void)state;
    const float gate[] = {NAN, 2, -NAN, 3}, up[] = {1, NAN, 1, -NAN};
    for (int i = 0; i < 2 * ACTIVATIONS; i++) {
        void *y = device_array(compute_bytes(4)), *g = device_compute(gate, 4);
        float limit = i % 2 ? 1.5f : 0;
        be->gated(device, y, g, device_compute(up, 4), 4, activations[i / 2], limit);
        const float *result = fetch_compute(y, 4);
        for (int j = 0; j < 4; j++) assert_true(isnan(result[j]));
        be->gated(device, y, g, NULL, 4, activations[i / 2], limit);
        result = fetch_compute(y, 4);
        assert_true(isnan(result[0]) && isnan(result[2]));
        bench_clear(&under_test);
    }
}

static void the_others_survive_extremes(void **state)
{
    (void)state;
    const float gate[] = {INFINITY, -INFINITY, 200, -200};
    void *y = device_array(compute_bytes(4)), *g = device_compute(gate, 4);
    const float up[] = {INFINITY, 1, -INFINITY, 1};
    be->gated(device, y, g, NULL, 4, AWQ_SIGMOID, 0);
    const float *result = fetch_compute(y, 4);
    assert_true(result[0] == 1 && result[1] == 0 && result[2] == 1 && result[3] == 0);
    be->gated(device, y, g, NULL, 4, AWQ_RELU2, 0);
    result = fetch_compute(y, 4);
    assert_true(isinf(result[0]) && result[1] == 0 && result[3] == 0);
    be->gated(device, y, g, device_compute(up, 4), 4, AWQ_SWIGLU_OAI, 7);
    result = fetch_compute(y, 4);
    assert_true(fabsf(result[0] - 56) < 0.25f && fabsf(result[2] + 42) < 0.25f);
}

int main(void)
{
    const struct CMUnitTest gated[] = {
        cmocka_unit_test(gated_may_overwrite_either_argument),
        cmocka_unit_test(a_limit_cuts_gate_and_up),
        cmocka_unit_test(a_gate_may_stand_alone),
        cmocka_unit_test(activations_are_those_of_torch),
        cmocka_unit_test(linear_activations_survive_extremes),
        cmocka_unit_test(no_activation_hides_nan),
        cmocka_unit_test(the_others_survive_extremes),
    };
    return BENCH_RUN(gated);
}
