/* SPDX-License-Identifier: MIT
 * tests/unit/kernels/cpu.c - what the CPU backend promises beyond the table: the same bytes with
 * any number of threads, exp and tanh within 2 ulp, GELU within 6, and a pool that two callers may
 * share. */
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "kernels/backend_list.h"
#include "kernels/cpu/erf.h"
#include "kernels/cpu/exp.h"
#include "kernels/cpu/pool.h"
#include "kernels/cpu/tanh.h"
#include "tests/unit/kernels/bench.h"

/* ---- the same bytes ---- */

enum { ROWS = 530, OUT = 1032, IN = 640, LENGTH = 265, GROUP = 64 };

/* Every result of one pass over all verbs that compute. */
typedef struct outputs {
    float *hidden, *normed, *turned, *attended, *narrowed, *gated, *gated_again, *centered;
    float *weights; /* of the experts */
    float *recalled, *convolved;
    float *gram, *error, *folded, *coded, *factor;
    double *sum, *scores, *forms[2];
    int32_t top[ROWS], *chosen;
    uint8_t *codes, *cuts, *fed_back;
} outputs;

static void forward_verbs(outputs *o, const float *x, const float *w, const float *bias)
{
    awq_extent extent = {OUT, IN};
    const float *norm = device_floats(host_random(IN, 1), IN);
    void *weight = device_compute(w, OUT * IN), *y = device_array(compute_bytes(ROWS * OUT));
    void *normed = device_array(compute_bytes(ROWS * IN)), *attended = device_array(ROWS * IN * 4);
    void *narrowed = device_array(ROWS * IN * 4), *centered = device_array(ROWS * IN * 4);
    float *sum = device_floats(host_random(ROWS * OUT, 1), ROWS * OUT);
    const float *dx = device_floats(x, ROWS * IN), *b = device_floats(bias, OUT);
    const float *angle = device_floats(host_random(LENGTH * 32, 1), LENGTH * 32);
    be->norm(device, normed, dx, norm, NULL, &(awq_norm_shape){ROWS, IN, 1, 1e-5f, false});
    be->norm(device, centered, dx, norm, norm, &(awq_norm_shape){ROWS, IN, 1, 1e-5f, true});
    o->centered = fetch_compute(centered, ROWS * IN);
    o->normed = fetch_compute(normed, ROWS * IN);
    be->linear(device, y, normed, weight, b, ROWS, extent);
    be->gated(device, y, y, y, ROWS * OUT, AWQ_SILU, 0);
    o->gated = fetch_compute(y, ROWS * OUT);
    be->gated(device, y, y, y, ROWS * OUT, AWQ_GELU_TANH, 0);
    o->gated_again = fetch_compute(y, ROWS * OUT);
    be->gated(device, y, y, NULL, ROWS * OUT, AWQ_GELU, 0);
    be->linear_add(device, sum, normed, weight, b, 0.22f, ROWS, extent);
    const awq_attention_shape shape = {
        .heads = 10, .kv_heads = 10, .head_dim = 64, .value_dim = 64, .scale = 0.125f};
    const awq_attention_shape narrow = {.heads = 10,
                                        .kv_heads = 10,
                                        .head_dim = 64,
                                        .value_dim = 64,
                                        .scale = 0.125f,
                                        .softcap = 3,
                                        .window = 70};
    be->attention(device, attended, normed, normed, dx, 2, LENGTH, &shape);
    be->attention(device, narrowed, normed, normed, dx, 2, LENGTH, &narrow);
    be->rope(device, normed, angle, angle, ROWS, &(awq_rope_shape){10, 64, 64, LENGTH, false, 0});
    be->norm_heads(device, normed, norm, NULL, &(awq_norm_shape){ROWS * 10, 64, 1, 1e-5f, false});
    be->norm_add(device, sum, y, b, NULL, &(awq_norm_shape){ROWS, OUT, 1, 1e-5f, false});
    be->softcap(device, sum, 9, ROWS * OUT);
    o->hidden = fetch_floats(sum, ROWS * OUT);
    o->attended = fetch_compute(attended, ROWS * IN);
    o->narrowed = fetch_compute(narrowed, ROWS * IN);
    o->turned = fetch_compute(normed, ROWS * IN);
}

/* 5 heads of 128 channels; gates and values are what there is. */
static void delta_verbs(outputs *o, const float *x)
{
    void *dx = device_compute(x, ROWS * IN), *y = device_array(ROWS * IN * 4);
    const float *heads = device_floats(x, 5);
    const awq_delta_shape shape = {5, 5, 128, 128, heads, heads};
    be->gated_delta(device, y, dx, dx, dx, dx, dx, 2, LENGTH, &shape);
    o->recalled = fetch_compute(y, ROWS * IN);
    be->convolve(device, dx, device_floats(x, IN * 4), 2, LENGTH, IN, 4);
    o->convolved = fetch_compute(dx, ROWS * IN);
}

enum { EXPERTS = 120, ACTIVE = 7 };

static void routing_verbs(outputs *o, const float *x, const float *correction)
{
    const awq_routing_rule rule = {.score = AWQ_SCORE_SIGMOID,
                                   .experts = EXPERTS,
                                   .active = ACTIVE,
                                   .groups = 6,
                                   .active_groups = 3,
                                   .group_best = 2,
                                   .normalized = true,
                                   .factor = 2.5f};
    size_t count = ROWS * ACTIVE;
    const float *logits = device_floats(x, ROWS * EXPERTS);
    int32_t *expert = device_array(count * sizeof *expert);
    float *weight = device_array(count * sizeof *weight);
    be->top_experts(device, expert, logits, device_floats(correction, EXPERTS), ROWS, &rule);
    be->expert_weights(device, weight, logits, expert, NULL, ROWS, &rule);
    o->chosen = fetch_bytes(expert, count * sizeof *expert);
    o->weights = fetch_floats(weight, ROWS * ACTIVE);
}

static void search_verbs(outputs *o, const float *x, const float *w, double *sums)
{
    awq_error err;
    awq_extent extent = {OUT, IN};
    awq_grid grid = {4, GROUP, true, false};
    int64_t groups = OUT * IN / GROUP;
    float *s = host_random(IN, 1);
    for (int i = 0; i < IN; i++) s[i] = 1.5f + s[i];
    float *scales = device_floats(s, IN), *gram = device_array(IN * IN * 4);
    double *sum = device_array(IN * sizeof(double)), *forms = device_array(OUT * sizeof(double));
    void *dx = device_compute(x, ROWS * IN), *weight = device_compute(w, OUT * IN);
    void *d = device_array(compute_bytes(OUT * IN));
    float *folded = device_array(OUT * IN * 4);
    awq_clip clip = {AWQ_CLIP_ASYMMETRIC, device_array((size_t)(2 * groups))};
    uint8_t *codes = device_array(OUT * IN), *zeros = device_array((size_t)groups);
    uint16_t *steps = device_array((size_t)groups * 2);
    be->zero(device, gram, IN * IN * 4);
    be->zero(device, sum, IN * sizeof(double));
    be->abs_sum(device, sum, dx, NULL, ROWS, IN);
    be->gram(device, gram, dx, NULL, ROWS, IN);
    be->gram_finish(device, gram, IN);
    be->rounding_error(device, d, weight, scales, 1, extent, &grid);
    o->error = fetch_compute(d, OUT * IN);
    be->quadratic_form(device, forms, d, gram, NULL, OUT, IN);
    o->forms[0] = fetch_bytes(forms, OUT * sizeof *forms);
    must(be->squared_error(device, weight, d, NULL, OUT, IN, &sums[1], &err));
    be->fold(device, folded, weight, scales, NULL, extent);
    be->clip_search(device, &clip, folded, gram, scales, extent, &grid);
    be->quantize(device, codes, steps, zeros, folded, &clip, extent, &grid);
    be->coded_error(device, d, folded, codes, steps, zeros, scales, extent, &grid);
    be->quadratic_form(device, forms, d, gram, NULL, OUT, IN);
    o->forms[1] = fetch_bytes(forms, OUT * sizeof *forms);
    float *factor = device_array(IN * IN * 4);
    int32_t *order = device_array(IN * 4);
    bool positive;
    o->codes = fetch_bytes(codes, OUT * IN);
    o->coded = fetch_compute(d, OUT * IN);
    be->zero(device, factor, IN * IN * 4); /* its lower triangle is whatever it was */
    must(be->feedback_factor(device, factor, order, gram, scales, IN, 0.01, &positive, &err));
    assert_true(positive);
    o->folded = fetch_floats(folded, OUT * IN);
    be->feedback(device, codes, d, folded, factor, order, steps, zeros, scales, extent, &grid);
    o->factor = fetch_floats(factor, IN * IN);
    o->fed_back = fetch_bytes(codes, OUT * IN);
    o->sum = fetch_bytes(sum, IN * sizeof(double));
    o->gram = fetch_floats(gram, IN * IN);
    o->cuts = fetch_bytes(clip.steps, (size_t)(2 * groups));
}

static outputs run_everything(void)
{
    awq_error err;
    outputs o;
    int32_t target[ROWS] = {0};
    float *x = host_random(ROWS * IN, 2), *w = host_random(OUT * IN, 1),
          *bias = host_random(OUT, 1);
    double *scores = host_doubles(2 * ROWS + 2);
    forward_verbs(&o, x, w, bias);
    delta_verbs(&o, x);
    routing_verbs(&o, x, bias);
    search_verbs(&o, x, w, scores + 2 * ROWS);
    const float *logits = device_floats(o.hidden, ROWS * OUT);
    const float *others = device_floats(o.hidden + OUT, (ROWS - 1) * OUT);
    must(be->nll(device, scores, logits, target, ROWS, OUT, &err));
    must(be->kl(device, scores + ROWS, logits, others, ROWS - 1, OUT, &err));
    must(be->squared_distance(device, logits, others, ROWS - 1, OUT, scores + 2 * ROWS, &err));
    must(be->argmax(device, o.top, logits, ROWS, OUT, &err));
    o.scores = scores;
    return o;
}

static void assert_same(const outputs *a, const outputs *b)
{
    assert_memory_equal(a->normed, b->normed, ROWS * IN * 4);
    assert_memory_equal(a->gated, b->gated, ROWS * OUT * 4);
    assert_memory_equal(a->gated_again, b->gated_again, ROWS * OUT * 4);
    assert_memory_equal(a->centered, b->centered, ROWS * IN * 4);
    assert_memory_equal(a->recalled, b->recalled, ROWS * IN * 4);
    assert_memory_equal(a->convolved, b->convolved, ROWS * IN * 4);
    assert_memory_equal(a->chosen, b->chosen, ROWS * ACTIVE * 4);
    assert_memory_equal(a->weights, b->weights, ROWS * ACTIVE * 4);
    assert_memory_equal(a->hidden, b->hidden, ROWS * OUT * 4);
    assert_memory_equal(a->turned, b->turned, ROWS * IN * 4);
    assert_memory_equal(a->attended, b->attended, ROWS * IN * 4);
    assert_memory_equal(a->narrowed, b->narrowed, ROWS * IN * 4);
    assert_memory_equal(a->gram, b->gram, IN * IN * 4);
    assert_memory_equal(a->sum, b->sum, IN * sizeof(double));
    assert_memory_equal(a->error, b->error, OUT * IN * 4);
    assert_memory_equal(a->folded, b->folded, OUT * IN * 4);
    assert_memory_equal(a->cuts, b->cuts, 2 * OUT * IN / GROUP);
    assert_memory_equal(a->codes, b->codes, OUT * IN);
    assert_memory_equal(a->coded, b->coded, OUT * IN * 4);
    assert_memory_equal(a->factor, b->factor, IN * IN * 4);
    assert_memory_equal(a->fed_back, b->fed_back, OUT * IN);
    assert_memory_equal(a->scores, b->scores, (2 * ROWS + 2) * sizeof(double));
    for (int i = 0; i < 2; i++) assert_memory_equal(a->forms[i], b->forms[i], OUT * sizeof(double));
    assert_memory_equal(a->top, b->top, sizeof a->top);
}

static void select_bench(bench *b)
{
    under_test = *b;
    be = b->be;
    device = b->device;
}

static void results_do_not_depend_on_the_number_of_threads(void **state)
{
    (void)state;
    bench benches[3];
    outputs results[3];
    for (int i = 0; i < 3; i++) {
        assert_true(bench_open(&benches[i], &awq_backend_cpu, AWQ_F32, i + 1));
        select_bench(&benches[i]);
        results[i] = run_everything();
        benches[i] = under_test;
        assert_same(&results[0], &results[i]);
    }
    for (int i = 0; i < 3; i++) bench_close(&benches[i]);
}

/* ---- exp and tanh ---- */

static double ulps(float value, double exact)
{
    float nearest = (float)exact;
    double step = (double)nextafterf(nearest, INFINITY) - (double)nearest;
    return fabs((double)value - exact) / step;
}

static void exp_is_within_two_ulps(void **state)
{
    (void)state;
    double worst = 0;
    for (float x = -87.3f; x < 88.7f; x += 0.000973f) {
        double error = ulps(exp_float(x), exp((double)x));
        worst = fmax(worst, error);
    }
    print_message("worst error of exp: %.2f ulp\n", worst);
    assert_true(worst <= 2);
}

static void exp_handles_the_ends_of_its_range(void **state)
{
    (void)state;
    assert_true(exp_float(0) == 1);
    assert_true(isnan(exp_float(NAN)) && isnan(exp_float(-NAN)));
    assert_true(isinf(exp_float(INFINITY)) && isinf(exp_float(88.8f)) && isinf(exp_float(1e30f)));
    assert_true(isfinite(exp_float(88.7f)));
    assert_true(exp_float(-INFINITY) == 0 && exp_float(-104) == 0 && exp_float(-1e30f) == 0);
    for (float x = -103; x < -87; x += 0.37f)
        assert_true(fabs((double)exp_float(x) - exp((double)x)) <=
                    0x1p-149 + 2e-7 * exp((double)x));
}

/* Of subnormal results too: steps are theirs. */
static void gelu_is_within_six_ulps(void **state)
{
    (void)state;
    double worst = 0;
    for (float x = -14.3f; x < 14; x += 0.000173f)
        worst = fmax(worst, ulps(gelu_erf(x), 0.5 * (double)x * erfc(-(double)x * sqrt(0.5))));
    for (float x = 1e-30f; x < 1; x *= 1.001f)
        worst = fmax(worst, ulps(gelu_erf(-x), 0.5 * (double)-x * erfc((double)x * sqrt(0.5))));
    print_message("worst error of GELU: %.2f ulp\n", worst);
    assert_true(worst <= 6);
}

static void gelu_handles_the_ends_of_its_range(void **state)
{
    (void)state;
    assert_true(gelu_erf(0) == 0 && signbit(gelu_erf(-0.0f)));
    assert_true(isnan(gelu_erf(NAN)) && isnan(gelu_erf(-NAN)) && isnan(gelu_erf(-INFINITY)));
    assert_true(isinf(gelu_erf(INFINITY)) && gelu_erf(3e38f) == 3e38f && gelu_erf(-3e38f) == 0);
    assert_true(gelu_erf(20) == 20 && gelu_erf(1e-45f) == 0);
}

static void tanh_is_within_two_ulps(void **state)
{
    (void)state;
    double worst = 0;
    for (float x = 0x1p-40f; x < 20; x *= 1.00003f) {
        worst = fmax(worst, ulps(tanh_float(x), tanh((double)x)));
        assert_true(tanh_float(-x) == -tanh_float(x));
    }
    print_message("worst error of tanh: %.2f ulp\n", worst);
    assert_true(worst <= 2);
}

static void tanh_handles_the_ends_of_its_range(void **state)
{
    (void)state;
    assert_true(tanh_float(0) == 0 && signbit(tanh_float(-0.0f)));
    assert_true(isnan(tanh_float(NAN)) && isnan(tanh_float(-NAN)));
    assert_true(tanh_float(INFINITY) == 1 && tanh_float(-INFINITY) == -1);
    assert_true(tanh_float(3e38f) == 1 && tanh_float(-45) == -1);
    assert_true(tanh_float(1e-45f) == 1e-45f && tanh_float(-1e-38f) == -1e-38f);
}

/* ---- the pool ---- */

typedef struct tally {
    int64_t counts[1000];
} tally;

static void count_block(void *context, int64_t block, int thread)
{
    (void)thread;
    tally *t = context;
    t->counts[block]++;
}

static void *run_often(void *argument)
{
    static tally t;
    memset(&t, 0, sizeof t);
    for (int i = 0; i < 300; i++) cpu_pool_run(argument, 1000, count_block, &t);
    for (int i = 0; i < 1000; i++)
        if (t.counts[i] != 300) return argument;
    return NULL;
}

static void a_second_thread_may_use_the_pool(void **state)
{
    (void)state;
    awq_error err;
    cpu_pool *pool;
    pthread_t thread;
    void *result;
    must(cpu_pool_create(3, &pool, &err));
    assert_int_equal(pthread_create(&thread, NULL, run_often, pool), 0);
    tally t = {0};
    for (int i = 0; i < 300; i++) cpu_pool_run(pool, 1000, count_block, &t);
    for (int i = 0; i < 1000; i++) assert_int_equal(t.counts[i], 300);
    pthread_join(thread, &result);
    assert_null(result);
    cpu_pool_free(pool);
}

static void no_threads_are_refused(void **state)
{
    (void)state;
    awq_error err;
    awq_device *unopened;
    awq_device_options options = {.threads = 0};
    assert_int_equal(awq_backend_cpu.open(&options, &unopened, &err), AWQ_ERR_USAGE);
    assert_string_equal(err.text, "0 CPU threads: at least 1");
}

#ifdef AWQ_SANITIZED
/* Or the sanitizer stops the program that asks for too much. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
#endif

static void a_failed_allocation_names_the_array(void **state)
{
    (void)state;
    awq_error err;
    bench b;
    void *array;
    assert_true(bench_open(&b, &awq_backend_cpu, AWQ_F32, 1));
    assert_int_equal(b.be->alloc(b.device, SIZE_MAX - 4096, "the weights", &array, &err),
                     AWQ_ERR_MEMORY);
    assert_non_null(strstr(err.text, "no memory for the weights: "));
    bench_close(&b);
}

static void the_first_failure_sticks(void **state)
{
    (void)state;
    awq_error err;
    bench b;
    float x[4] = {1, 2, 3, 4}, y[4] = {0};
    assert_true(bench_open(&b, &awq_backend_cpu, AWQ_F32, 2));
    const awq_attention_shape shape = {
        .heads = 1, .kv_heads = 1, .head_dim = 1, .value_dim = 1, .scale = 1};
    b.be->attention(b.device, y, x, x, x, 1, (int64_t)1 << 40, &shape); /* scratch fails */
    b.be->gated(b.device, y, x, x, 4, AWQ_SILU, 0);
    assert_true(y[0] == 0);
    assert_int_equal(b.be->sync(b.device, &err), AWQ_ERR_MEMORY);
    assert_non_null(strstr(err.text, "attention"));
    assert_int_equal(b.be->download(b.device, y, x, sizeof y, &err), AWQ_ERR_MEMORY);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest cpu[] = {
        cmocka_unit_test(results_do_not_depend_on_the_number_of_threads),
        cmocka_unit_test(exp_is_within_two_ulps),
        cmocka_unit_test(exp_handles_the_ends_of_its_range),
        cmocka_unit_test(gelu_is_within_six_ulps),
        cmocka_unit_test(gelu_handles_the_ends_of_its_range),
        cmocka_unit_test(tanh_is_within_two_ulps),
        cmocka_unit_test(tanh_handles_the_ends_of_its_range),
        cmocka_unit_test(a_second_thread_may_use_the_pool),
        cmocka_unit_test(no_threads_are_refused),
        cmocka_unit_test(a_failed_allocation_names_the_array),
        cmocka_unit_test(the_first_failure_sticks),
    };
    return cmocka_run_group_tests(cpu, NULL, NULL);
}
